//! Blocks and transfers of EVM chains, as their JSON-RPC nodes show them.
//!
//! [`EvmChain`] implements the payment host's [`ChainSource`](xthonpay_payments::port::chain::ChainSource). It is the only
//! place that talks to nodes, and it trusts none of them: an answer counts only when it is well-formed to the letter and
//! agrees with itself; everything else is an error, never an empty block.
//!
//! What is credited rests on no single node where the operator's quorum is two or more. Blocks are final only by the word of
//! that many nodes. What is in a block comes from one node if its roots prove that the block's hash covers it; where no node's
//! blocks can be proved, that many nodes must show the same. A node that proves less than another gives votes alone. With a
//! quorum of one, each of these is one node's word.
//!
//! It keeps no state about the chain: cursors, reorganisations and the crediting of deposits belong to the scanner. It does
//! not know which addresses are ours either; it reports every transfer of a configured asset.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what the operator says, refused at construction when it contradicts itself |
//! | `source` | the port: which question to ask, and what the answers mean |
//! | `pool` | which node is asked, and who else when it does not answer |
//! | `finality` | which blocks are final, by the word of several nodes |
//! | `self_check` | whether a node serves what the config says |
//! | `heads` | new blocks as nodes announce them: a wake-up |
//! | `node` | one node's typed calls, and what its conduct means for its use |
//! | `rpc` | JSON-RPC over HTTP: limits, ids, errors |
//! | `wire` | the shape of blocks, transactions, receipts and logs in JSON |
//! | `agreement` | whether a block and its receipts fit together |
//! | `decode` | which transfers a block holds |
//! | `blocks` | one node's blocks, verified as far as the node allows |
//! | `proofs` | whether one node's word about what is in a block is enough |
//! | `roots` | whether a block is the one that its hash names |
//! | `logs` | blocks of a node without receipts, from their logs |
//! | `ranges` | long runs of blocks, for catching up |
//! | `pace` | how much one node takes at a time |
//! | `transaction` | the transfers of one transaction |
//! | `balances` | what addresses hold in the chain's own coin |
//! | `token_balances` | what addresses hold of a token at a block |

mod agreement;
mod balances;
mod blocks;
mod config;
mod decode;
mod finality;
mod heads;
mod large_block;
mod logs;
#[cfg(test)]
mod no_random;
mod node;
mod pace;
mod pool;
mod proofs;
mod ranges;
mod read_blocks;
mod roots;
mod rpc;
mod self_check;
mod source;
mod token_balances;
mod transaction;
mod wire;

pub use config::{CatchUp, Checkpoint, EvmChainConfig, EvmChainError, FALLBACK_AFTER, FALLBACK_DEPTH_MIN, Finality};
pub use rpc::BODY_BYTES_MAX;
pub use source::EvmChain;

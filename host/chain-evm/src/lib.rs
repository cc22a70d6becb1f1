//! Blocks and transfers of EVM chains, as their JSON-RPC nodes show them.
//!
//! [`EvmChain`] implements the payment host's [`ChainSource`](xthonpay_payments::port::chain::ChainSource). It is the only
//! place that talks to nodes, and it trusts none of them: an answer counts only when it is well-formed to the letter and
//! agrees with itself; everything else is an error, never an empty block.
//!
//! It keeps no state about the chain: cursors, reorganisations and the crediting of deposits belong to the scanner. It does
//! not know which addresses are ours either; it reports every transfer of a configured asset.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what the operator says, refused at construction when it contradicts itself |
//! | `source` | the port: which question to ask, and what the answers mean |
//! | `pool` | which node is asked |
//! | `node` | one node's typed calls |
//! | `rpc` | JSON-RPC over HTTP: limits, ids, errors |
//! | `wire` | the shape of blocks, transactions, receipts and logs in JSON |
//! | `agreement` | whether a block and its receipts fit together |
//! | `decode` | which transfers a block holds |

mod agreement;
mod config;
mod decode;
mod node;
mod pool;
mod rpc;
mod source;
mod wire;

pub use config::{EvmChainConfig, EvmChainError, Finality};
pub use rpc::BODY_BYTES_MAX;
pub use source::EvmChain;

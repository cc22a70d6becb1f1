//! The chain source against a scripted node on a local socket.
//!
//! What a real node does is tested elsewhere; here a node lies, stalls and stutters.

mod bad_answers;
mod balances;
mod canned;
mod content;
mod failover;
mod finality;
mod heads;
mod large_block;
mod puppet;
mod quorum;
mod ranges;
mod real_node;
mod roots;
mod scripted;
mod self_check;
mod sound;
mod token_balances;

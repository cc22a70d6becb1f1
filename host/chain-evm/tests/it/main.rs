//! The chain source against a scripted node on a local socket.
//!
//! What a real node does is tested elsewhere; here a node lies, stalls and stutters.

mod bad_answers;
mod failover;
mod finality;
mod scripted;
mod self_check;
mod sound;

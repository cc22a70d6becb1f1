//! The same as `raw_rate`, with the memory allocator of the host: what of the host's rate is the allocator's.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[path = "raw_rate/main.rs"]
mod raw_rate;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    raw_rate::main()
}

//! The `xthonpay` binary: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xthonpay_app::cli::main()
}

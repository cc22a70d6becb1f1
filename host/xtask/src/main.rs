//! `cargo xtask`: the tasks of this repository. Run without arguments it lists them.
//!
//! Owns the order in which tools are installed, things are built and checks are run. It holds no logic of the product,
//! and it is written with the standard library and a JSON reader alone, because everyone waits for it to compile.

mod commands;
mod fault;
mod guest;
mod mutants;
mod run;
mod setup;
mod tidy;
mod workspace;

use std::env;
use std::process::ExitCode;

/// Exit code for a wrong command line, as the shells use it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        run::print(&commands::overview());
        return ExitCode::SUCCESS;
    };
    if is_help(name) || name == "help" {
        run::print(&commands::overview());
        return ExitCode::SUCCESS;
    }
    let Some(command) = commands::find(name) else {
        run::say(&format!("There is no command `{name}`.\n\n{}", commands::overview()));
        return ExitCode::from(EXIT_USAGE);
    };
    // Behind `--` everything belongs to the program that the command starts.
    if rest.iter().take_while(|arg| *arg != "--").any(|arg| is_help(arg)) {
        run::print(&command.help());
        return ExitCode::SUCCESS;
    }
    match command.run(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            run::say(&format!("\n{fault}"));
            ExitCode::FAILURE
        }
    }
}

fn is_help(arg: &str) -> bool {
    matches!(arg, "-h" | "--help")
}

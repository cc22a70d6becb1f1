//! What the programs of this package have in common: how they begin, what they say where, and with which code they end.
//!
//! Standard output is for results alone; everything else goes to standard error. Codes: 0 when all is well, 1 when it is not
//! or could not be found out, 2 when the arguments make no sense.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use crate::BoxError;

/// Runs a program called `name`. `arguments` are what was read of the command line, nothing when help was asked for; `work`
/// prints its results and tells whether they are what they should be.
pub fn run<A>(
    name: &str,
    usage: &str,
    arguments: Result<Option<A>, impl Display>,
    work: impl FnOnce(&A) -> Result<bool, BoxError>,
) -> ExitCode {
    match arguments {
        Ok(Some(arguments)) => match work(&arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                tell(&format!("{name}: {error}"));
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            // A reader that has gone away does not want the rest.
            let _ = writeln!(std::io::stdout(), "{usage}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            tell(&format!("{problem}\n{usage}"));
            ExitCode::from(2)
        }
    }
}

/// The outcome of `work`, unless Ctrl-C comes first: then it is dropped, which ends every process that it started.
///
/// # Errors
/// Those of `work`, and the interruption.
pub async fn unless_interrupted<T>(work: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    tokio::select! {
        outcome = work => outcome,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(BoxError::from, |()| "interrupted".into())),
    }
}

/// A line for whoever waits.
pub fn tell(line: &str) {
    // Nothing is left to do when even that fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

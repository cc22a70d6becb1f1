//! Standard output and standard error.

use std::error::Error;
use std::io::{self, Write as _};

use serde::Serialize;

use super::CliError;

/// One JSON object on standard output.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let written = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")?;
        out.flush()
    };
    written().map_err(failed)
}

/// Lines on standard output.
pub(super) fn lines(lines: &[String]) -> Result<(), CliError> {
    let written = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()
    };
    written().map_err(failed)
}

fn failed(source: io::Error) -> CliError {
    CliError::System { what: "standard output", source }
}

/// A failure on standard error, with its causes. Nothing is left to do when even that fails.
pub(super) fn complain(error: &CliError) {
    let mut text = format!("xthonpay: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let told = inner.to_string();
        // Many errors repeat their source in their own text.
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = inner.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
}

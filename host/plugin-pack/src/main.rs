//! `xthonpay-plugin-pack IN.wasm OUT.wasm`: the command line of [`xthonpay_plugin_pack::pack`].
//!
//! It reads one file and replaces another in one step; a reader of the output never sees half a file.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a wrong command line, as the shells use it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let [input, output] = args.as_slice() else {
        complain("usage: xthonpay-plugin-pack IN.wasm OUT.wasm");
        return ExitCode::from(EXIT_USAGE);
    };
    match run(Path::new(input), Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("xthonpay-plugin-pack: {}: {error}", Path::new(input).display()));
            ExitCode::FAILURE
        }
    }
}

fn run(input: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let component = xthonpay_plugin_pack::pack(&fs::read(input)?)?;
    // A bare file name has an empty parent, which means the current folder.
    let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
    file.write_all(&component)?;
    file.as_file().sync_all()?;
    file.persist(output)?;
    Ok(())
}

/// A component holds no secret: others than its owner may read it.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o644)
}

/// Writes a line to the standard error stream. Nothing is left to do when even that fails.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

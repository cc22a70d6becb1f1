//! Debian's packages. Only `apt-get` is used, and only as root; nobody is asked for a password.

use std::path::Path;

use crate::fault::Fault;
use crate::run::{Program, say};

/// Whether packages can be installed here.
pub(super) fn can_install() -> bool {
    Path::new("/usr/bin/apt-get").exists()
        && Program::new("id").arg("-u").output("").is_ok_and(|number| number.trim() == "0")
}

/// Installs packages. The package lists are renewed only when they do not suffice.
///
/// # Errors
/// When apt-get cannot be used or does not succeed.
pub(super) fn install(packages: &[&str]) -> Result<(), Fault> {
    let names = packages.join(" ");
    let fix = format!("run as root: apt-get update && apt-get install --no-install-recommends {names}");
    if !can_install() {
        return Err(Fault::new(
            format!("{names}: not installed, and only root can install packages with apt-get"),
            fix,
        ));
    }
    say(&format!("    installing {names}"));
    if apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages).run(&fix).is_ok() {
        return Ok(());
    }
    say("    the package lists are missing or out of date: renewing them");
    apt_get().arg("update").run("check the network and the sources of apt")?;
    apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages).run(&fix)
}

fn apt_get() -> Program {
    Program::new("apt-get").arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive")
}

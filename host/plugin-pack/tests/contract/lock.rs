//! `wit/contract.lock`: what the contract of each version is, so that none changes by accident.
//!
//! A line is a version and the SHA-256 of the contract without its descriptions. Before 1.0.0 the contract may change: the line is
//! written anew, and the changelog names the first twelve digits of the digest beside what changed. From 1.0.0 on a line never
//! changes, and the released files stay in `wit/frozen/VERSION/`.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest as _, Sha256};
use wit_component::WitPrinter;
use wit_parser::{PackageId, Resolve};

/// Digits of a digest that the changelog names.
const CHANGELOG_DIGITS: usize = 12;

/// What a contract is, in one number.
pub(crate) fn digest(resolve: &Resolve) -> String {
    let mut packages: Vec<(String, PackageId)> =
        resolve.package_names.iter().map(|(name, id)| (name.to_string(), *id)).collect();
    packages.sort();
    let mut hasher = Sha256::new();
    for (_, id) in packages {
        let mut printer = WitPrinter::default();
        printer.emit_docs(false);
        printer.print(resolve, id, &[]).expect("a contract that was parsed can be printed");
        hasher.update(printer.output.to_string());
    }
    hex::encode(hasher.finalize())
}

/// The version of the packages, which is one.
pub(crate) fn version(resolve: &Resolve) -> String {
    let mut versions: Vec<_> = resolve.package_names.keys().map(|name| name.version.clone()).collect();
    versions.dedup();
    assert_eq!(versions.len(), 1, "both packages have one version");
    versions.remove(0).map(|version| version.to_string()).expect("the packages have a version")
}

/// The lines of the lock.
pub(crate) fn read(path: &std::path::Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parted = lines.map(|line| line.split_once(' ').expect("a version and a digest"));
    parted.map(|(version, digest)| (version.to_owned(), digest.to_owned())).collect()
}

/// Whether a version may never change.
pub(crate) fn is_frozen(version: &str) -> bool {
    !version.starts_with("0.")
}

/// What the changelog has to name.
pub(crate) fn changelog_word(digest: &str) -> &str {
    digest.get(..CHANGELOG_DIGITS).unwrap_or(digest)
}

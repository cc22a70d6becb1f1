//! The rule that keeps builds short: a dependency for tests must not add features to what normal builds compile.
//!
//! `cargo build` leaves out the dependencies of tests, `cargo test` does not. When only the second asks for a feature of a
//! package, that package and everything on top of it is compiled twice, which is minutes for the heavy ones.

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::fault::Fault;
use crate::run::Program;
use crate::workspace::Workspace;

/// Checks the dependencies of the workspace, as cargo resolves them.
///
/// # Errors
/// When cargo cannot resolve them.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>, Fault> {
    let normal = resolved(workspace, "normal,build")?;
    let with_tests = resolved(workspace, "normal,build,dev")?;
    Ok(differences(&normal, &with_tests))
}

fn resolved(workspace: &Workspace, edges: &str) -> Result<String, Fault> {
    let tree: Program = workspace.cargo();
    tree.args(["tree", "--workspace", "--prefix", "none", "--format", "{p}\t{f}", "--edges", edges])
        .output("run `cargo check` and correct what it names")
}

/// A package of the first list that has more features in the second.
fn differences(normal: &str, with_tests: &str) -> Vec<Finding> {
    let normal = features(normal);
    let mut findings = Vec::new();
    for (package, all) in features(with_tests) {
        let Some(known) = normal.get(package) else { continue };
        let added: Vec<&str> = all
            .iter()
            .flat_map(|set| set.split(','))
            .filter(|name| !known.iter().any(|set| set.split(',').any(|one| one == *name)))
            .collect();
        if !added.is_empty() {
            let text = format!(
                "{package} gets `{}` from a dependency for tests alone, so it is compiled twice: name the feature in the \
                 normal dependencies of tests/Cargo.toml, which no shipped program depends on",
                added.join("`, `")
            );
            findings.push(Finding::new("tests/Cargo.toml", 1, text));
        }
    }
    findings
}

/// The sets of features of each package; a package may be built with several.
fn features(tree: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let Some((package, features)) = line.split_once('\t') else { continue };
        // `(*)` marks a package whose own dependencies were listed before.
        let features = features.trim_end_matches("(*)").trim();
        let sets = packages.entry(package).or_default();
        if !sets.contains(&features) {
            sets.push(features);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_only_tests_ask_for_is_found() {
        let normal = "tokio v1.0.0\trt,net\nserde v1.0.0\tstd (*)\n";
        let with_tests = "tokio v1.0.0\trt,net,test-util (*)\nserde v1.0.0\tstd\nproptest v1.0.0\tstd\n";
        let found = differences(normal, with_tests);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.starts_with("tokio v1.0.0 gets `test-util`"), "{found:?}");
    }

    #[test]
    fn equal_features_and_packages_of_tests_alone_are_fine() {
        let normal = "tokio v1.0.0\trt\n";
        assert_eq!(differences(normal, "tokio v1.0.0\trt (*)\nproptest v1.0.0\tstd\n"), []);
    }
}

//! Rules for the words in all tracked files: no paths of one machine, no hosts of package registries, and a `.gitignore`
//! that keeps out what is built.

use super::finding::Finding;
use super::tree::{File, Tree};

/// Hosts of registries, in two parts so that this file does not find itself. Whoever builds may use a mirror, and lock files
/// work without them.
const REGISTRY_HOSTS: [(&str, &str); 6] = [
    ("registry.npmjs", ".org"),
    ("pypi", ".org"),
    ("files.pythonhosted", ".org"),
    ("deb.debian", ".org"),
    ("static.crates", ".io"),
    ("index.crates", ".io"),
];

/// The first folder of a path that exists on one machine only, without its slashes.
const MACHINE_FOLDERS: [&str; 4] = ["work", "root", "tmp", "home"];

/// Checks all files.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        findings.extend(hosts(file));
        findings.extend(machine_paths(file));
    }
    findings.extend(ignores_what_is_built(tree));
    findings
}

fn hosts(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for (head, tail) in REGISTRY_HOSTS {
            let host = format!("{head}{tail}");
            if line.contains(&host) {
                let text =
                    format!("names the registry host {host}: remove it (npm: --omit-lockfile-registry-resolved)");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

fn machine_paths(file: &File) -> Vec<Finding> {
    let tests_from = file.tests_from();
    let mut findings = Vec::new();
    for (number, line) in file.lines().take_while(|(number, _)| *number < tests_from) {
        for folder in MACHINE_FOLDERS {
            if names_path(line, &format!("/{folder}/")) {
                let text = format!("names a path below /{folder}: use one relative to the checkout, or ask the system");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

/// Whether the line names a path that begins so, as opposed to a longer path or address with these letters inside.
fn names_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|letter| letter.is_whitespace() || "\"'`(<=:,;[".contains(letter))
    })
}

fn ignores_what_is_built(tree: &Tree) -> Option<Finding> {
    let covered = tree.text(".gitignore").is_some_and(|text| text.lines().any(|line| line == "/target"));
    (!covered).then(|| Finding::new(".gitignore", 1, "does not keep out what is built: add the line `/target`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(".gitignore", "/target\n"), (path, text)])).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn hosts_of_registries_are_found_in_any_file() {
        for (head, tail) in REGISTRY_HOSTS {
            let found = found("a/package-lock.json", &format!("{{\n\"resolved\": \"https://{head}{tail}/x.tgz\"}}\n"));
            assert_eq!(found.len(), 1, "{head}");
            assert!(found[0].starts_with("a/package-lock.json:2: names the registry host"), "{found:?}");
        }
    }

    #[test]
    fn the_index_that_every_cargo_lock_names_is_fine() {
        assert_eq!(
            found("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"),
            [""; 0]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found_outside_of_tests() {
        let text = "see `/home/someone/checkout`\n";
        assert_eq!(found("README.md", text).len(), 1);
        assert_eq!(found("host/a/src/lib.rs", "let path = \"/tmp/x\";\n").len(), 1);
        assert_eq!(found("host/a/tests/it.rs", text), [""; 0]);
        assert_eq!(found("host/a/src/lib.rs", "//! A.\n#[cfg(test)]\nmod tests {\n// /root/x\n}\n"), [""; 0]);
    }

    #[test]
    fn parts_of_longer_paths_are_no_machine_paths() {
        for text in ["https://example.com/home/list", "target/tmp/x", "$HOME/root/", "/rootless/"] {
            assert_eq!(found("README.md", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_gitignore_that_forgets_the_target_directory_is_found() {
        assert_eq!(check(&Tree::of(&[(".gitignore", "node_modules/\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}

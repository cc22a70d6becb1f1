//! Rules for Rust sources: they open with their purpose, stay short, have telling names, and leave nothing unfinished.

use super::finding::Finding;
use super::tree::{File, Tree};

/// A longer file is refused.
const LINES_MAX: usize = 800;

/// A longer file should be split by meaning.
const LINES_QUESTIONED: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "misc", "manager", "managers", "stuff", "shared"];

/// What must not be left behind, in two parts so that this file does not find itself, and what to do instead.
const LEFTOVERS: [(&str, &str, &str); 6] = [
    ("to", "do!(", "write it, or return a typed error"),
    ("unimplement", "ed!(", "write it, or return a typed error"),
    ("db", "g!(", "remove it; use tracing for what should stay"),
    ("#[igno", "re", "make the test run, or remove it"),
    ("TO", "DO", "do it, or write an issue and FIXME(#number)"),
    ("XX", "X", "do it, or write an issue and FIXME(#number)"),
];

/// Checks all Rust sources.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".rs") {
        findings.extend(purpose(file));
        findings.extend(length(file));
        findings.extend(name(file));
        findings.extend(leftovers(file));
    }
    findings
}

fn purpose(file: &File) -> Option<Finding> {
    // A crate may open with its README.
    let opens = file.text.starts_with("//!") || file.text.starts_with("#![doc = include_str!");
    (!opens).then(|| {
        Finding::new(&file.path, 1, "does not open with `//!`: say what the file owns, and what it does not do")
    })
}

fn length(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        Some(Finding::new(&file.path, lines, format!("longer than {LINES_MAX} lines: split it by meaning")))
    } else if lines > LINES_QUESTIONED {
        Some(Finding::hint(&file.path, lines, format!("longer than {LINES_QUESTIONED} lines: could it be two?")))
    } else {
        None
    }
}

fn name(file: &File) -> Option<Finding> {
    let stem = file.path.rsplit('/').next()?.strip_suffix(".rs")?;
    if stem == "mod" {
        let folder = file.path.strip_suffix("/mod.rs").unwrap_or(&file.path);
        return Some(Finding::new(&file.path, 1, format!("move it to {folder}.rs, beside the folder")));
    }
    let empty = file.path.split(['/', '_', '-', '.']).find(|word| EMPTY_NAMES.contains(word))?;
    Some(Finding::new(&file.path, 1, format!("`{empty}` says nothing: name it after what is inside")))
}

fn leftovers(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for (head, tail, instead) in LEFTOVERS {
            if line.contains(&format!("{head}{tail}")) {
                findings.push(Finding::new(&file.path, number, format!("`{head}{tail}` is left over: {instead}")));
            }
        }
        let fixme = concat!("FIX", "ME");
        let is_open = |rest: &str| !rest.starts_with("(#");
        if line.match_indices(fixme).any(|(at, _)| line.get(at + fixme.len()..).is_some_and(is_open)) {
            findings.push(Finding::new(
                &file.path,
                number,
                format!("`{fixme}` without an issue: write {fixme}(#number)"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_file_that_opens_with_its_purpose_is_fine() {
        assert_eq!(texts("host/a/src/lib.rs", "//! Adds.\n"), [""; 0]);
        assert_eq!(texts("sdk/rust/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n"), [""; 0]);
    }

    #[test]
    fn a_file_without_purpose_is_found() {
        for text in ["", "use std::io;\n", "// Adds.\n", "\n//! Adds.\n"] {
            let found = texts("host/a/build.rs", text);
            assert_eq!(found.len(), 1, "{text:?}");
            assert!(found[0].starts_with("host/a/build.rs:1: does not open"), "{found:?}");
        }
    }

    #[test]
    fn length_is_questioned_and_then_refused() {
        let lines = |number: usize| "//! Long.\n".repeat(number);
        assert_eq!(texts("a.rs", &lines(600)), [""; 0]);
        assert_eq!(texts("a.rs", &lines(601)), ["a.rs:601: hint: longer than 600 lines: could it be two?"]);
        assert_eq!(texts("a.rs", &lines(801)), ["a.rs:801: longer than 800 lines: split it by meaning"]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(
            texts("host/a/src/b/mod.rs", "//! B.\n"),
            ["host/a/src/b/mod.rs:1: move it to host/a/src/b.rs, beside the folder"]
        );
        for path in ["src/utils.rs", "src/string_helpers.rs", "src/common/a.rs"] {
            assert_eq!(texts(path, "//! A.\n").len(), 1, "{path}");
        }
        // Only whole words count.
        assert_eq!(texts("src/commonwealth.rs", "//! A.\n"), [""; 0]);
    }

    #[test]
    fn what_is_unfinished_is_found_with_its_line() {
        for left in [
            concat!("to", "do!()"),
            concat!("db", "g!(x)"),
            concat!("#[igno", "re = \"slow\"]"),
            concat!("// FIX", "ME: later"),
        ] {
            let found = texts("a.rs", &format!("//! A.\n{left}\n"));
            assert_eq!(found.len(), 1, "{left}: {found:?}");
            assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
        }
        assert_eq!(texts("a.rs", concat!("//! A.\n// FIX", "ME(#12): later\n")), [""; 0]);
    }
}

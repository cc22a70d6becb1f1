//! The files that are looked at, with their text.

use std::fs;
use std::path::Path;

use crate::fault::Fault;
use crate::run::Program;

/// The text files of the checkout.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the order of their paths.
    pub(super) files: Vec<File>,
}

/// A text file.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the checkout, with `/` between folders.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
}

impl Tree {
    /// Reads what git knows and what it would take on; files that are not text are left out.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub(super) fn read(root: &Path) -> Result<Self, Fault> {
        let list = Program::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .within(root)
            .output("run it in a clone made by git, with git installed")?;
        let mut paths: Vec<&str> = list.split('\0').filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        paths.dedup();
        // A file that is deleted but still in the index cannot be read, and need not be.
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let files =
            paths.into_iter().filter_map(|path| Some(File { path: path.to_owned(), text: read(path)? })).collect();
        Ok(Self { files })
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The files whose name ends so.
    pub(super) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }
}

impl File {
    /// Its lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The number of the first line from which on the file is a test: 1 for files of tests.
    ///
    /// `#[cfg(test)] mod tests` stands at the end of a file.
    pub(super) fn tests_from(&self) -> usize {
        let of_tests = self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/test_support.rs");
        if of_tests {
            return 1;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let begins = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
        begins.map_or(usize::MAX, |index| index + 1)
    }
}

#[cfg(test)]
impl Tree {
    /// A tree made up for a test.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
        Self { files: files.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_file_and_nothing_that_is_built() {
        let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("the checkout is a clone");
        assert!(tree.text("host/xtask/src/tidy/tree.rs").is_some());
        assert!(tree.files.iter().all(|file| !file.path.starts_with("target/")));
    }

    #[test]
    fn a_file_is_a_test_from_its_last_module_on_or_by_its_name() {
        let tree = Tree::of(&[
            ("host/a/src/lib.rs", "//! A.\n\n#[cfg(test)]\nmod tests {}\n"),
            ("host/a/src/b.rs", "//! B.\n"),
            ("host/a/tests/c.rs", "//! C.\n"),
        ]);
        assert_eq!(tree.files.iter().map(File::tests_from).collect::<Vec<_>>(), [3, usize::MAX, 1]);
    }
}

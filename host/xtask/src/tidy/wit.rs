//! The rule for the contract: every item of `wit/` is documented, with `///` on the line before it.
//!
//! A reader by lines is enough, because the contract has one item a line; that the contract resolves is tested where
//! components are packed.

use super::finding::Finding;
use super::tree::{File, Tree};

/// Words that open an item with a body of more items.
const WITH_BODY: [&str; 7] = ["interface", "world", "record", "variant", "enum", "flags", "resource"];

/// Checks all files of the contract.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.ending(".wit").flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut documented = false;
    // Parameters of a function may go over several lines; they are described with their function.
    let mut open_parentheses = 0_usize;
    for (number, line) in file.lines() {
        let code = line.trim();
        if code.starts_with("///") {
            documented = true;
            continue;
        }
        let inside_parameters = open_parentheses > 0;
        open_parentheses = (open_parentheses + code.matches('(').count()).saturating_sub(code.matches(')').count());
        if inside_parameters || code.is_empty() || code.starts_with("//") || code.starts_with('}') {
            documented = false;
            continue;
        }
        if code.starts_with('@') {
            // A gate such as `@since` stands between the description and its item.
            continue;
        }
        if let Some(item) = item(code).filter(|_| !documented) {
            findings.push(Finding::new(
                &file.path,
                number,
                format!("`{item}` has no description: write `///` before it"),
            ));
        }
        documented = false;
    }
    findings
}

/// The name of the item that the line opens, if it opens one that needs a description.
fn item(code: &str) -> Option<&str> {
    let mut words =
        code.split(|letter: char| letter.is_whitespace() || "{:;=,(".contains(letter)).filter(|word| !word.is_empty());
    let first = words.next()?;
    match first {
        "package" | "use" | "import" | "export" | "include" => None,
        "type" => words.next(),
        word if WITH_BODY.contains(&word) && !code.contains(": ") => words.next(),
        name => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undescribed(text: &str) -> Vec<String> {
        check(&Tree::of(&[("wit/a.wit", text)])).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn an_interface_with_every_item_described_is_fine() {
        let text = "\
/// A.
package a:b@0.1.0;

/// Keeps values.
interface store {
  use types.{error};

  /// A value.
  record item {
    /// Its bytes.
    bytes: list<u8>,
  }

  /// Why not.
  variant refusal {
    /// Too much.
    over-limit,
    /// Else.
    other(string),
  }

  /// Reads.
  get: func(
    key: string,
    max: u32,
  ) -> option<item>;

  /// An opened store.
  resource space {
    /// Opens it.
    constructor(label: string);
    /// Its name.
    name: func() -> string;
  }
}

/// A world.
world w {
  import store;
  export hook;
}
";
        assert_eq!(undescribed(text), [""; 0]);
    }

    #[test]
    fn each_kind_of_item_is_missed_with_its_name_and_line() {
        for (text, name) in [
            ("interface store {}", "store"),
            ("record item {", "item"),
            ("  bytes: list<u8>,", "bytes"),
            ("  over-limit,", "over-limit"),
            ("  other(string),", "other"),
            ("  get: func(key: string);", "get"),
            ("  type millis = u64;", "millis"),
            ("  constructor(label: string);", "constructor"),
            ("  record: string,", "record"),
        ] {
            assert_eq!(
                undescribed(&format!("\n{text}\n")),
                [format!("wit/a.wit:2: `{name}` has no description: write `///` before it")]
            );
        }
    }

    #[test]
    fn a_description_counts_for_the_next_line_only() {
        assert_eq!(undescribed("/// One.\none: u8,\ntwo: u8,\n").len(), 1);
        assert_eq!(undescribed("/// One.\n\none: u8,\n").len(), 1);
        assert_eq!(undescribed("/// One.\n@since(version = 0.1.0)\none: func();\n"), [""; 0]);
    }
}

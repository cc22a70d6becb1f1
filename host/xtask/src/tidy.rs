//! The style that a program can check. Each rule is plain code with its own tests; a finding says where and what to do.
//!
//! Looked at are the files that git knows, and new ones that it does not ignore. Nothing is changed.

mod features;
mod finding;
mod manifests;
mod sources;
mod tree;
mod wit;
mod words;

use crate::fault::Fault;
use crate::run::say;
use crate::workspace::Workspace;

use finding::Weight;
use tree::Tree;

/// Runs every rule and prints what it finds.
///
/// # Errors
/// When a rule is broken; what is only worth a thought does not count.
pub(crate) fn tidy(workspace: &Workspace) -> Result<(), Fault> {
    let tree = Tree::read(&workspace.root)?;
    let mut findings = Vec::new();
    findings.extend(sources::check(&tree));
    findings.extend(words::check(&tree));
    findings.extend(wit::check(&tree));
    findings.extend(manifests::check(&tree, &workspace.packages));
    findings.extend(features::check(workspace)?);
    findings.sort();
    for finding in &findings {
        say(&finding.to_string());
    }
    let broken = findings.iter().filter(|finding| finding.weight == Weight::Rule).count();
    say(&format!("    {} files, {broken} broken rules, {} hints", tree.files.len(), findings.len() - broken));
    if broken == 0 { Ok(()) } else { Err(broken_rules(broken)) }
}

fn broken_rules(number: usize) -> Fault {
    Fault::new(
        format!("{number} broken rules of style"),
        "each line above says what to do; then run `cargo xtask tidy` again",
    )
}

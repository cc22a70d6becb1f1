//! Whether the simulation would notice: mistakes that a programmer could make are built into a copy of the use cases, one is
//! chosen at a time, and random lives are led until one goes wrong.
//!
//! The mistakes exist in the copy alone, which stands below the target directory and is built by nobody else: no source that
//! ships has a place for them, and no switch can let them loose. The copy is compiled once; which mistake is made is an
//! environment variable of the run. A mistake whose place in the source is no longer found stops the command, so that the
//! list stays true to the code.

mod table;
mod workshop;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::run::{Program, print, say, step};
use crate::workspace::Workspace;
use table::{MISTAKES, Mistake};

/// The environment variable that chooses the mistake; the copy reads it.
const VARIABLE: &str = "XTHONPAY_MISTAKE";
/// Lives that a mistake may survive: as many as the gate leads.
const LIVES_MAX: usize = 2_000;
/// The seed of all runs, so that the numbers can be compared.
const SEED: &str = "1";
/// Lives without any mistake, which must be clean: else a finding says nothing about the mistake.
const CONTROL_LIVES: usize = 200;
/// How long one run may take, in seconds: several times what all the lives of a run take.
const RUN_S_MAX: &str = "600";

/// `cargo xtask mutants [--json] [NAME...]`
///
/// # Errors
/// When the copy cannot be made or built, finds something without a mistake, or a mistake is not caught.
pub(crate) fn mutants(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    let json = args.iter().any(|arg| arg == "--json");
    let chosen = chosen(args.iter().filter(|arg| *arg != "--json"))?;
    step("copy", || workshop::assemble(workspace))?;
    let program = step("build", || workshop::build(workspace))?;
    step("control", || match lead(&program, None, CONTROL_LIVES)? {
        Outcome::Survived => Ok(()),
        Outcome::Caught { .. } => Err(Fault::new(
            "lives without any mistake go wrong",
            "run `cargo xtask chaos`; until it is clean, nothing can be said about mistakes",
        )),
    })?;
    let mut missed = Vec::new();
    for mistake in &chosen {
        match lead(&program, Some(mistake), LIVES_MAX)? {
            Outcome::Caught { lives, what } => {
                say(&format!("caught    {:28} life {lives:4}: {what}", mistake.name));
            }
            Outcome::Survived => {
                say(&format!("SURVIVED  {:28} {LIVES_MAX} lives: {}", mistake.name, mistake.what));
                missed.push(mistake.name);
            }
        }
    }
    if json {
        let caught = chosen.len().saturating_sub(missed.len());
        print(&json!({ "mutants": chosen.len(), "caught": caught }).to_string());
    }
    if missed.is_empty() {
        say(&format!("All {} mistakes were caught.", chosen.len()));
        return Ok(());
    }
    Err(Fault::new(
        format!("the simulation does not notice: {}", missed.join(", ")),
        "teach it what these mistakes do, in tests/chaos",
    ))
}

fn chosen<'a>(names: impl Iterator<Item = &'a String>) -> Result<Vec<&'static Mistake>, Fault> {
    let find = |name: &String| {
        let found = MISTAKES.iter().find(|mistake| mistake.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.name).collect();
            Fault::new(format!("there is no mistake `{name}`"), format!("choose among {}", known.join(", ")))
        })
    };
    let named: Vec<&Mistake> = names.map(find).collect::<Result<_, _>>()?;
    Ok(if named.is_empty() { MISTAKES.iter().collect() } else { named })
}

/// What came of a run.
enum Outcome {
    /// A life went wrong, the one of this number, in this way.
    Caught { lives: u64, what: String },
    /// None did.
    Survived,
}

/// Leads lives with a mistake until one goes wrong.
fn lead(program: &std::path::Path, mistake: Option<&Mistake>, lives: usize) -> Result<Outcome, Fault> {
    let run = Program::new("timeout")
        .arg(RUN_S_MAX)
        .arg(program)
        .args(["--until-found", "--json", "--seed", SEED, "--scenarios", &lives.to_string()])
        .env(VARIABLE, mistake.map_or("", |mistake| mistake.name));
    let (code, printed) = run.outcome()?;
    let broken = || {
        let name = mistake.map_or("no mistake", |mistake| mistake.name);
        Fault::new(format!("the run with {name} ended without a result"), "run it by hand and read what it says")
    };
    let result: Value = serde_json::from_str(printed.trim()).map_err(|_| broken())?;
    match code {
        Some(0) => Ok(Outcome::Survived),
        Some(1) => {
            let found = ["lost", "doubled", "premature"].into_iter().filter(|kind| result[kind].as_u64() > Some(0));
            let found: Vec<&str> = found.collect();
            let what = if found.is_empty() { "wrong".to_owned() } else { found.join(", ") };
            Ok(Outcome::Caught { lives: result["scenarios"].as_u64().ok_or_else(broken)?, what })
        }
        _ => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_names_of_their_own_and_say_what_they_are() {
        let mut names: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MISTAKES.len());
        assert!(MISTAKES.iter().all(|mistake| !mistake.what.is_empty() && !mistake.edits.is_empty()));
    }

    #[test]
    fn an_unknown_mistake_is_refused_with_the_known_ones() {
        let fault = chosen([&"typo".to_owned()].into_iter()).expect_err("there is none").to_string();
        assert!(fault.contains(MISTAKES[0].name), "{fault}");
    }
}

//! The commands, what each does, and their help.
//!
//! The order inside them keeps builds short. Dependencies are compiled once per profile as long as every build selects the
//! whole workspace: cargo unites features over the packages that are selected, so a build of one package alone would
//! compile the heavy ones again. `cargo xtask tidy` guards the rest of that.

use std::fmt::Write as _;

use crate::fault::Fault;
use crate::guest::{self, Locking};
use crate::mutants;
use crate::run::{Stopwatch, say, step};
use crate::setup::setup;
use crate::tidy::tidy;
use crate::workspace::{Profile, Workspace};

/// A command of `cargo xtask`.
pub(crate) struct Command {
    name: &'static str,
    /// What may stand behind the name.
    args: &'static str,
    summary: &'static str,
    details: &'static str,
    run: fn(&Workspace, &[String]) -> Result<(), Fault>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        args: "[--once] [--json]",
        summary: "show the product at work: chain, host, invoice, payment, webhook",
        details: "\
Installs what is missing, builds everything, starts a chain node, the host and a webhook receiver, pays an invoice and
tells what happens. Stays up and prints commands to try, until Ctrl-C.

  --once   stop after the first payment
  --json   print one line with the timings to the standard output; all else goes to the standard error",
        run: demo,
    },
    Command {
        name: "test",
        args: "[FILTER] [-- ARGS...]",
        summary: "run every test",
        details: "\
Installs what is missing, builds everything and the plugins, and runs all tests. Arguments are those of `cargo test`:
`cargo xtask test amount` runs the tests with `amount` in their name, `cargo xtask test --test it -- --nocapture`
those from end to end, with what they print.",
        run: test,
    },
    Command {
        name: "bench",
        args: "NAME [--json]",
        summary: "measure, in release builds",
        details: "\
Builds everything optimised and runs the benchmark NAME (`backfill`, `detect`, `hooks`, `rest`, `rpc`, `start` or `webhooks`).
Figures are ratios to a limit that is measured in the same run, where there is one. Without NAME, the benchmarks are listed. The
first build takes long.",
        run: bench,
    },
    Command {
        name: "crash",
        args: "[--kills N] [--seed S] [--json] [--debug]",
        summary: "kill the host at random moments under a stream of deposits, and count what is lost",
        details: "\
Builds everything optimised, starts a chain node, the host, a shop and its customers, kills the host with `kill -9` again and
again, and at the end holds the chain against balances, payments, webhooks and the host's own audit. Exit code 1 when
anything is lost or doubled, or when a start takes longer than 5 s (p99).

  --kills N  how often (20); a kill takes about two seconds
  --seed S   repeats the choices of a run
  --json     print one line {\"kills\",\"deposits\",\"lost\",\"doubled\",\"ready_p99_s\"} to the standard output
  --debug    with the quick build, which `cargo xtask test` has made",
        run: crash,
    },
    Command {
        name: "hostile",
        args: "[--rounds N] [--json] [--debug]",
        summary: "load hostile plugins into a host under load, and see whether each is contained",
        details: "\
Builds everything optimised, starts a chain node and a host with a victim, whose requests are timed, and an attacker, whose
orders call one hostile plugin after the other: loops, floods, leaks, lies, other merchants' ids, files that are no plugins. Exit
code 1 when one is not contained.

  --rounds N  how often each is loaded and called anew (3)
  --json      print one line {\"rows\",\"contained\",\"rest_p99_ratio\",\"rss_growth_mib\", ...} to the standard output
  --debug     with the quick build, which `cargo xtask test` has made",
        run: hostile,
    },
    Command {
        name: "chaos",
        args: "[--scenarios N] [--seed S] [--replay SEED] [--json] [--release]",
        summary: "lead random lives of a deployment under faults, and hold its books against the chain",
        details: "\
Payments, forks, nodes that fail or lie, a store that fails, processes that die at named points: each life is drawn from a
seed, runs the scanner, the settlement, the routing and the ledger as the host does, and ends with every book recomputed from
the chain alone. Exit code 1 when anything is lost, doubled, credited too early or otherwise wrong. See tests/chaos/README.md.

  --scenarios N        how many lives (2000, which `cargo xtask test` leads too)
  --seed S             repeats the lives of a run
  --replay SEED        leads one life again, by the seed that a run has told
  --list-crash-points  the points at which processes die
  --json               print one line {\"scenarios\",\"seed\",\"lost\",\"doubled\",\"premature\"} to the standard output
  --release            with an optimised build",
        run: chaos,
    },
    Command {
        name: "mutants",
        args: "[--json] [NAME...]",
        summary: "build mistakes into a copy of the use cases, and see that the random lives notice each",
        details: "\
Copies the domain, the use cases and the simulation below the target directory, builds the mistakes that are listed in
host/xtask/src/mutants/table.rs into the copy, compiles it once, and leads lives with one mistake at a time until one goes
wrong. Exit code 1 when a mistake survives as many lives as the gate leads. With names, only those mistakes.

  --json  print one line {\"mutants\",\"caught\"} to the standard output",
        run: mutants::mutants,
    },
    Command {
        name: "plugins",
        args: "[--locked]",
        summary: "build the plugins to target/plugins",
        details: "\
Builds each crate in plugins/ and examples/plugins/ as a component: target/plugins/NAME.wasm, beside a copy of its
plugin.toml. Prints their sizes.

  --locked   fail when host/xtask/guests.lock would change, as the gate does",
        run: plugins,
    },
    Command {
        name: "setup",
        args: "",
        summary: "install the tools that the other commands need",
        details: "\
Installs a wasm target (Debian's packages rustc-web, cargo-web, rust-web-src and lld, or rustup's target) and, below
target/tools, a chain node, the Solidity compiler and the `standardwebhooks` package of npm, and schemathesis of Python's
registry. Leaves alone what is there.
The other commands do this by themselves.",
        run: |workspace, args| nothing_behind("setup", args).and_then(|()| setup(workspace)),
    },
    Command {
        name: "tidy",
        args: "",
        summary: "check the style that can be checked",
        details: "\
Checks sources, manifests, the contract in wit/ and the words in use, and says for each finding where it is and what to
do. Takes a moment.",
        run: |workspace, args| nothing_behind("tidy", args).and_then(|()| tidy(workspace)),
    },
    Command {
        name: "ci",
        args: "",
        summary: "run the whole gate: format, tidy, clippy, test",
        details: "\
Runs what a change must pass, the cheap checks first, and stops at the first that fails.",
        run: ci,
    },
];

/// The program that leads random lives.
const CHAOS: &str = "xthonpay-chaos";

/// The command of that name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// All commands, a line each.
pub(crate) fn overview() -> String {
    let mut text = "Usage: cargo xtask COMMAND [ARGS]\n\nCommands:\n".to_owned();
    for command in COMMANDS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:8} {}", command.name, command.summary);
    }
    text.push_str("\n`cargo xtask COMMAND --help` says more.");
    text
}

impl Command {
    /// What the command does, at length.
    pub(crate) fn help(&self) -> String {
        format!("Usage: cargo xtask {} {}\n\n{}", self.name, self.args, self.details)
    }

    /// Runs it.
    ///
    /// # Errors
    /// Those of its first part that fails.
    pub(crate) fn run(&self, args: &[String]) -> Result<(), Fault> {
        (self.run)(&Workspace::load()?, args)
    }
}

fn demo(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    prepare(workspace, Profile::Debug, Locking::Free)?;
    hand_over(workspace, Profile::Debug, "xthonpay-demo", args)
}

fn bench(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    prepare(workspace, Profile::Release, Locking::Free)?;
    hand_over(workspace, Profile::Release, "xthonpay-bench", args)
}

fn crash(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    optimised(workspace, "xthonpay-crash", args)
}

fn hostile(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    optimised(workspace, "xthonpay-hostile", args)
}

/// Runs a program of the tests with an optimised host, or with the quick build where `--debug` asks for it.
fn optimised(workspace: &Workspace, program: &str, args: &[String]) -> Result<(), Fault> {
    let (debug, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--debug");
    let profile = if debug.is_empty() { Profile::Release } else { Profile::Debug };
    prepare(workspace, profile, Locking::Free)?;
    hand_over(workspace, profile, program, &args)
}

fn chaos(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    let (release, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--release");
    let profile = if release.is_empty() { Profile::Debug } else { Profile::Release };
    step("build", || {
        workspace
            .cargo()
            // The whole workspace is selected, so that its dependencies have the features that every other build gives them.
            .args(["build", "--workspace", "--bin", CHAOS])
            .args(profile.flags())
            .run("correct what the compiler names above")
    })?;
    hand_over(workspace, profile, CHAOS, &args)
}

fn plugins(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    let locking = match args {
        [] => Locking::Free,
        [flag] if flag == "--locked" => Locking::Locked,
        _ => return Err(Fault::new("`plugins` takes nothing but `--locked`", "see `cargo xtask plugins --help`")),
    };
    step("setup", || setup(workspace))?;
    step("plugins", || guest::build(workspace, Profile::Debug, locking))
}

fn test(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    prepare(workspace, Profile::Debug, Locking::Free)?;
    tests(workspace, args)
}

fn ci(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    nothing_behind("ci", args)?;
    let watch = Stopwatch::start();
    step("format", || workspace.cargo().args(["fmt", "--all", "--check"]).run("run `cargo fmt --all`"))?;
    step("tidy", || tidy(workspace))?;
    step("clippy", || {
        workspace
            .cargo()
            .args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
            .run("correct what clippy names above; if it is about Cargo.lock, run `cargo check` and commit the file")
    })?;
    prepare(workspace, Profile::Debug, Locking::Locked)?;
    tests(workspace, &[])?;
    say(&format!("The gate is passed, after {watch}."));
    Ok(())
}

/// Installs and builds everything: the host and all programs of the workspace, then the plugins.
fn prepare(workspace: &Workspace, profile: Profile, locking: Locking) -> Result<(), Fault> {
    step("setup", || setup(workspace))?;
    step("build", || {
        workspace
            .cargo()
            // With the examples, since a benchmark's baseline is one. One call for all: a second one would choose other
            // features for the dependencies and compile them again.
            .args(["build", "--workspace", "--lib", "--bins", "--examples"])
            .args(profile.flags())
            .run("correct what the compiler names above")
    })?;
    step("plugins", || guest::build(workspace, profile, locking))
}

fn tests(workspace: &Workspace, args: &[String]) -> Result<(), Fault> {
    step("test", || {
        workspace
            .cargo()
            .args(["test", "--workspace"])
            .args(args)
            .envs(workspace.places(Profile::Debug))
            .on_standard_output()
            .run("correct what fails above; `cargo xtask test NAME` runs a single test")
    })
}

/// Becomes a program of the workspace that knows where everything is.
fn hand_over(workspace: &Workspace, profile: Profile, name: &str, args: &[String]) -> Result<(), Fault> {
    let program = crate::run::Program::new(workspace.program(profile, name));
    Err(program.args(args).envs(workspace.places(profile)).replace_this_process())
}

fn nothing_behind(name: &str, args: &[String]) -> Result<(), Fault> {
    match args {
        [] => Ok(()),
        [first, ..] => {
            Err(Fault::new(format!("`{name}` takes no `{first}`"), format!("see `cargo xtask {name} --help`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_names_every_command() {
        let overview = overview();
        for command in COMMANDS {
            assert!(overview.contains(&format!("\n  {} ", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn a_command_is_found_by_its_whole_name_only() {
        assert!(find("test").is_some());
        assert!(find("tes").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        let fault = nothing_behind("ci", &["--fast".to_owned()]).expect_err("it takes none").to_string();
        assert!(fault.contains("`ci` takes no `--fast`"), "{fault}");
    }
}

//! Runs other programs, and says on the standard error stream what runs and how long it took.
//!
//! The standard output stream stays free for results: a program writes there only when its caller asks for it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;

/// How often a program that runs long is mentioned, so that silence never looks like a hang.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// A call of another program.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    line: String,
}

impl Program {
    /// A call of `program`. Its input is empty, and what it prints goes to the standard error stream.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.stdin(Stdio::null()).stdout(io::stderr());
        Self { command, line: program.as_ref().to_string_lossy().into_owned() }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets variables of its environment.
    pub(crate) fn envs(mut self, variables: impl IntoIterator<Item = (&'static str, OsString)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// Keeps a variable of ours from it.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the folder that it runs in.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Lets it write to our standard output stream.
    pub(crate) fn on_standard_output(mut self) -> Self {
        self.command.stdout(Stdio::inherit());
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed; `fix` is then the remedy.
    pub(crate) fn run(mut self, fix: &str) -> Result<(), Fault> {
        say(&format!("    $ {}", self.line));
        let mut child = self.command.spawn().map_err(|error| self.not_started(&error))?;
        let (ended, end) = sync_channel::<()>(1);
        let beats = thread::spawn(move || {
            let watch = Stopwatch::start();
            while end.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                say(&format!("    ... still running after {watch}"));
            }
        });
        let status = child.wait();
        drop(ended);
        // The thread only ever prints; were it to panic, the program's own result would still count.
        let _ = beats.join();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Fault::new(format!("`{}` ended with {status}", self.line), fix)),
            Err(error) => Err(self.not_started(&error)),
        }
    }

    /// Runs it to its end and gives what it printed, silently.
    ///
    /// # Errors
    /// When it cannot be started, does not succeed, or prints what is not text.
    pub(crate) fn output(mut self, fix: &str) -> Result<String, Fault> {
        let output = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| self.not_started(&error))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(Fault::new(format!("`{}` ended with {}: {}", self.line, output.status, complaint.trim()), fix));
        }
        String::from_utf8(output.stdout).map_err(|_| Fault::new(format!("`{}` printed no text", self.line), fix))
    }

    /// Runs it to its end and gives its exit code, `None` when a signal ended it, and what it printed, silently.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn outcome(mut self) -> Result<(Option<i32>, String), Fault> {
        let output = self.command.stdout(Stdio::piped()).stderr(Stdio::null()).output();
        let output = output.map_err(|error| self.not_started(&error))?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Becomes the program, so that signals and its exit code are its own. Comes back only when that fails.
    pub(crate) fn replace_this_process(mut self) -> Fault {
        say(&format!("    $ {}", self.line));
        let error = self.command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).exec();
        self.not_started(&error)
    }

    fn not_started(&self, error: &io::Error) -> Fault {
        Fault::new(
            format!("`{}` cannot be started: {error}", self.line),
            "check that the program is installed, is on the PATH, and may be executed",
        )
    }
}

/// Runs a named part of a task and says how long it took.
///
/// # Errors
/// Those of the part.
pub(crate) fn step<T>(name: &str, part: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    say(&format!("==> {name}"));
    let watch = Stopwatch::start();
    let result = part();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    say(&format!("<== {name}: {verdict} after {watch}"));
    result
}

/// Writes a line to the standard error stream. Nothing is left to do when even that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to the standard output stream. A reader that has gone away does not want the rest.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Time since its start; prints as `4.2 s` or `3 m 07 s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "a build tool measures real time, and nothing is decided by it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl std::fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let elapsed = self.0.elapsed();
        let whole_s = elapsed.as_secs();
        if whole_s < 60 {
            write!(f, "{whole_s}.{} s", elapsed.subsec_millis() / 100)
        } else {
            write!(f, "{} m {:02} s", whole_s / 60, whole_s % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_names_itself_and_the_fix() {
        let fault = Program::new("false").arg("now").run("try true").expect_err("`false` fails").to_string();
        assert!(fault.contains("`false now` ended with exit status: 1"), "{fault}");
        assert!(fault.ends_with("fix: try true"), "{fault}");
    }

    #[test]
    fn a_program_that_is_missing_says_so() {
        let fault = Program::new("no-such-program").run("").expect_err("it does not exist").to_string();
        assert!(fault.contains("`no-such-program` cannot be started"), "{fault}");
    }

    #[test]
    fn output_is_what_was_printed() {
        let printed = Program::new("echo").args(["one", "two"]).output("").expect("echo works");
        assert_eq!(printed, "one two\n");
    }
}

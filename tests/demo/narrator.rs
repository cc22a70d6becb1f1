//! What the demo says, and where: to people on the standard output, or to the standard error when a program reads along.

use std::io::{Write as _, stderr, stdout};

use serde_json::json;
use tokio::time::Instant;
use xthonpay_tests::BoxError;

use crate::sale::Timings;

/// Writes the story.
pub(crate) struct Narrator {
    json: bool,
    started: Instant,
}

impl Narrator {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, started: Instant::now() }
    }

    /// A line of the story. A reader that has gone away does not want the rest.
    pub(crate) fn say(&self, line: &str) {
        let _ = if self.json { writeln!(stderr(), "{line}") } else { writeln!(stdout(), "{line}") };
    }

    /// A step that is done, with the time since the start.
    pub(crate) fn step(&self, word: &str, detail: &str) {
        let elapsed = self.started.elapsed();
        self.say(&format!("{:>4}.{:03} s  {word:<10} {detail}", elapsed.as_secs(), elapsed.subsec_millis()));
    }

    /// The measured times: for people a table, for programs the one line of JSON.
    pub(crate) fn result(&self, timings: &Timings) {
        for (what, millis) in timings.rows() {
            self.say(&format!("            {what:<34} {millis:>6} ms"));
        }
        if self.json {
            let _ = writeln!(stdout(), "{}", timings.to_json());
        }
    }

    /// Why the demo ends early.
    pub(crate) fn failed(&self, error: &BoxError) {
        let _ = writeln!(stderr(), "demo: {error}");
        if self.json {
            let _ = writeln!(stdout(), "{}", json!({"ok": false, "error": error.to_string()}));
        }
    }
}

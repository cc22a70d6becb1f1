//! Figures and how they are shown: a table for people, a line of JSON each for programs.
//!
//! A figure is a whole number of thousandths, so that no ratio depends on how a float was rounded. Whether an aim is met is
//! shown and changes nothing: on a busy machine a miss is no defect.

use core::fmt;
use core::time::Duration;
use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

/// A number of thousandths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thousandths(pub(crate) u64);

impl Thousandths {
    /// A whole number.
    pub(crate) const fn whole(number: u64) -> Self {
        Self(number.saturating_mul(1_000))
    }

    /// How often per second, when `count` things took `elapsed`; zero for no time at all.
    pub(crate) fn per_second(count: usize, elapsed: Duration) -> Self {
        let count = u128::try_from(count).unwrap_or(u128::MAX);
        let rate = count.saturating_mul(1_000_000_000_000).checked_div(elapsed.as_nanos()).unwrap_or(0);
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// A duration in microseconds.
    pub(crate) fn micros(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// A duration in milliseconds.
    pub(crate) fn millis(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    /// KiB as MiB.
    pub(crate) fn mib(kib: u64) -> Self {
        Self(kib.saturating_mul(1_000) / 1_024)
    }

    /// KiB as MB.
    pub(crate) fn mb(kib: u64) -> Self {
        Self(kib.saturating_mul(1_024) / 1_000)
    }

    /// How many times `other` this is; `None` when that is zero.
    pub(crate) fn over(self, other: Self) -> Option<Self> {
        self.0.saturating_mul(1_000).checked_div(other.0).map(Self)
    }

    /// The same number for JSON.
    fn json(self) -> Value {
        // Digits with a point and three more are always a JSON number.
        serde_json::from_str(&self.to_string()).unwrap_or_default()
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a text, so that a width given by the caller counts.
        f.pad(&format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000))
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The value is at most this.
    ValueAtMost(Thousandths),
    /// The value is at least this.
    ValueAtLeast(Thousandths),
    /// The value is at least this many times the baseline.
    RatioAtLeast(Thousandths),
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: Thousandths,
    pub(crate) unit: &'static str,
    /// The limit that was measured in the same run, in the same unit.
    pub(crate) baseline: Option<Thousandths>,
    pub(crate) aim: Option<Aim>,
}

impl Figure {
    /// A figure without a limit and without an aim.
    pub(crate) fn new(name: impl Into<String>, value: Thousandths, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, baseline: None, aim: None }
    }

    /// The same beside a limit.
    pub(crate) fn beside(mut self, baseline: Thousandths) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// The same with an aim.
    pub(crate) fn aiming(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    fn ratio(&self) -> Option<Thousandths> {
        self.value.over(self.baseline?)
    }

    fn meets(&self, aim: Aim) -> bool {
        match aim {
            Aim::ValueAtMost(most) => self.value <= most,
            Aim::ValueAtLeast(least) => self.value >= least,
            Aim::RatioAtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= least),
        }
    }

    /// The aim in words, and whether it is met.
    fn verdict(&self) -> String {
        let Some(aim) = self.aim else { return String::new() };
        let wanted = match aim {
            Aim::ValueAtMost(most) => format!("at most {most} {}", self.unit),
            Aim::ValueAtLeast(least) => format!("at least {least} {}", self.unit),
            Aim::RatioAtLeast(least) => format!("ratio at least {least}"),
        };
        format!("{wanted}: {}", if self.meets(aim) { "met" } else { "missed" })
    }

    fn line<'a>(&'a self, bench: &'a str, debug_build: bool) -> Line<'a> {
        Line {
            bench,
            name: &self.name,
            value: self.value.json(),
            unit: self.unit,
            baseline: self.baseline.map(Thousandths::json),
            ratio: self.ratio().map(Thousandths::json),
            build: debug_build.then_some("debug"),
        }
    }
}

/// A figure for programs. The order of the members is that of the output.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    name: &'a str,
    value: Value,
    unit: &'a str,
    baseline: Option<Value>,
    ratio: Option<Value>,
    /// Only there when the figure is worth nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<&'a str>,
}

/// The figures of one benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) bench: &'static str,
    /// How it was measured, and what the baseline is.
    pub(crate) method: String,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// Writes the figures to the standard output. A reader that has gone away does not want the rest.
    pub(crate) fn print(&self, json: bool) {
        let debug_build = cfg!(debug_assertions);
        let text = if json { self.to_json_lines(debug_build) } else { self.to_table(debug_build) };
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn to_json_lines(&self, debug_build: bool) -> String {
        let line = |figure: &Figure| serde_json::to_string(&figure.line(self.bench, debug_build));
        // Texts and numbers can always be written.
        self.figures.iter().filter_map(|figure| line(figure).ok()).map(|line| line + "\n").collect()
    }

    fn to_table(&self, debug_build: bool) -> String {
        let optional = |number: Option<Thousandths>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let build = if debug_build { " (DEBUG BUILD)" } else { "" };
        let mut text = format!("{}{build}: {}\n\n", self.bench, self.method);
        text += &row(["figure", "value", "unit", "baseline", "ratio", "aim"]);
        for figure in &self.figures {
            let (value, baseline, ratio) =
                (figure.value.to_string(), optional(figure.baseline), optional(figure.ratio()));
            text += &row([&figure.name, &value, figure.unit, &baseline, &ratio, &figure.verdict()]);
        }
        text
    }
}

fn row([name, value, unit, baseline, ratio, aim]: [&str; 6]) -> String {
    let line = format!("{name:<34} {value:>12} {unit:<6} {baseline:>12} {ratio:>10}  {aim}");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_the_agreed_members() {
        let rate = Figure::new("rate", Thousandths(1_250_500), "1/s").beside(Thousandths::whole(1_000));
        let size = Figure::new("size", Thousandths(1), "MiB");
        let report = Report { bench: "rest", method: String::new(), figures: vec![rate, size] };
        let first = r#"{"bench":"rest","name":"rate","value":1250.5,"unit":"1/s","baseline":1000.0,"ratio":1.25}"#;
        let second = r#"{"bench":"rest","name":"size","value":0.001,"unit":"MiB","baseline":null,"ratio":null}"#;
        assert_eq!(report.to_json_lines(false), format!("{first}\n{second}\n"));
        let lines = report.to_json_lines(true);
        assert!(lines.lines().all(|line| line.ends_with(r#","build":"debug"}"#)), "{lines}");
    }

    #[test]
    fn numbers_keep_their_thousandths() {
        assert_eq!(Thousandths(39_042).to_string(), "39.042");
        assert_eq!(Thousandths::micros(Duration::from_nanos(1_500)).to_string(), "1.500");
        assert_eq!(Thousandths::millis(Duration::from_micros(1_500)).to_string(), "1.500");
        assert_eq!(Thousandths::per_second(3, Duration::from_millis(2_000)).to_string(), "1.500");
        assert_eq!(Thousandths::per_second(3, Duration::ZERO), Thousandths(0));
        assert_eq!(
            (Thousandths::mib(1_536).to_string(), Thousandths::mb(1_536).to_string()),
            ("1.500".into(), "1.572".into())
        );
        assert_eq!(Thousandths::whole(1).over(Thousandths::whole(3)), Some(Thousandths(333)));
        assert_eq!(Thousandths::whole(1).over(Thousandths(0)), None);
    }

    #[test]
    fn an_aim_is_met_at_its_edge_and_missed_beyond() {
        let figure = Figure::new("p50", Thousandths::whole(60), "us").beside(Thousandths::whole(60));
        for (aim, met) in [
            (Aim::ValueAtMost(Thousandths::whole(60)), true),
            (Aim::ValueAtMost(Thousandths(59_999)), false),
            (Aim::RatioAtLeast(Thousandths(1_000)), true),
            (Aim::RatioAtLeast(Thousandths(1_001)), false),
        ] {
            assert_eq!(figure.meets(aim), met, "{aim:?}");
        }
        let without_limit = Figure::new("p50", Thousandths::whole(60), "us");
        assert!(!without_limit.meets(Aim::RatioAtLeast(Thousandths(0))));
    }
}

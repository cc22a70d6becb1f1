//! The plugin's own settings: `[plugins.<id>.config]` of the operator, with the manifest's defaults filled in.
//! Read-only; holds no secrets. In native tests the bench answers.

use core::fmt::Display;
use core::ops::RangeInclusive;
use core::str::FromStr;
use std::string::String;
use std::vec::Vec;

use crate::backend;
use crate::plugin::{Attrs, ConfigProblem};

/// The value of a key, or none when nobody sets it.
pub fn get(key: &str) -> Option<String> {
    backend::config_get(key)
}

/// Every key and its value, sorted by key.
pub fn entries() -> Attrs {
    backend::config_entries()
}

/// The value of a key as a `T`, or none when nobody sets it.
///
/// # Errors
/// The problem names the key, the value, and why it is not a `T`.
pub fn parse<T>(key: &str) -> Result<Option<T>, ConfigProblem>
where
    T: FromStr,
    T::Err: Display,
{
    let Some(text) = get(key) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(ConfigProblem::new(key, std::format!("`{text}` does not fit: {error}"))),
    }
}

/// The parts of a value that is a list joined by `,`: trimmed, empty ones left out. Empty when nobody sets the key.
pub fn list(key: &str) -> Vec<String> {
    let text = get(key).unwrap_or_default();
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect()
}

/// Reads several settings and remembers every problem, so that the operator hears of all at once.
///
/// ```
/// use xthonpay_sdk::{ConfigProblem, config};
///
/// struct Settings { tolerance_bps: u32 }
///
/// impl Settings {
///     fn read() -> Result<Self, Vec<ConfigProblem>> {
///         let mut config = config::Reader::default();
///         let settings = Self { tolerance_bps: config.within("tolerance_bps", 0, 0..=10_000) };
///         config.finish(settings)
///     }
/// }
/// # assert_eq!(Settings::read().expect("defaults fit").tolerance_bps, 0);
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    problems: Vec<ConfigProblem>,
}

impl Reader {
    /// The value of a key, or `default` when nobody sets it.
    pub fn or<T>(&mut self, key: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        match parse(key) {
            Ok(value) => value.unwrap_or(default),
            Err(problem) => {
                self.problems.push(problem);
                default
            }
        }
    }

    /// The value of a key, or `default` when nobody sets it; a problem when it lies outside the range.
    pub fn within<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
        T::Err: Display,
    {
        let value = self.or(key, default);
        if !range.contains(&value) {
            let message = std::format!("{value} is not between {} and {}", range.start(), range.end());
            self.problem(key, message);
        }
        value
    }

    /// Remembers a problem that the caller found.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(ConfigProblem::new(key, message));
    }

    /// The settings, if there was no problem.
    ///
    /// # Errors
    /// Every problem, in the order of reading.
    pub fn finish<T>(self, settings: T) -> Result<T, Vec<ConfigProblem>> {
        if self.problems.is_empty() { Ok(settings) } else { Err(self.problems) }
    }
}

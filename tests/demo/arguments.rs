//! The two switches of the demo.

/// What the caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// End after the first sale.
    pub(crate) once: bool,
    /// Print one line of JSON to the standard output, and all else to the standard error.
    pub(crate) json: bool,
}

impl Arguments {
    /// The arguments of the process, or how to use it.
    pub(crate) fn read() -> Result<Self, String> {
        Self::of(std::env::args().skip(1))
    }

    fn of(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        for word in words {
            match word.as_str() {
                "--once" => arguments.once = true,
                "--json" => arguments.json = true,
                other => return Err(format!("unknown argument: {other}\nusage: cargo xtask demo [--once] [--json]")),
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Arguments, String> {
        Arguments::of(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn reads_both_switches_and_nothing_else() {
        assert_eq!(of(&[]), Ok(Arguments { once: false, json: false }));
        assert_eq!(of(&["--json", "--once"]), Ok(Arguments { once: true, json: true }));
        assert!(of(&["--fast"]).is_err_and(|usage| usage.contains("--fast") && usage.contains("usage")));
    }
}

//! Property tests that can be repeated: every seed is printed, and `XTHONPAY_TEST_SEED` sets it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// The variable that repeats a run.
const SEED_VARIABLE: &str = "XTHONPAY_TEST_SEED";
/// Values tried for each law: the whole file stays below a second in a debug build.
const CASES: u32 = 512;

/// Checks that `law` holds for values of `strategy`.
pub(crate) fn holds<S: Strategy>(name: &str, strategy: S, law: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let given = std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("the seed is a number"));
    // The standard library seeds its hash tables from the system.
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let _ = writeln!(std::io::stderr(), "{name}: {SEED_VARIABLE}={seed}");
    let config =
        Config { cases: CASES, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, law);
    assert!(
        outcome.is_ok(),
        "{name}, {SEED_VARIABLE}={seed}: {}",
        outcome.err().map_or_else(String::new, |e| e.to_string())
    );
}

//! Lanes: transactions that are stored side by side.

/// One of two transactions at the same time, which have no record in common. More were not measured to bring anything, see
/// `docs/throughput.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Always there.
    First,
    /// Beside it, when there is enough for two.
    Second,
}

//! What can be made to happen to an invoice.

use core::str::FromStr;

use xthonpay_domain::access::UnknownWord;

/// A case. The words are part of the public contract: they may be added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// What is missing is paid.
    Paid,
    /// Half of the amount due is paid.
    Underpaid,
    /// One and a half times the amount due is paid.
    Overpaid,
    /// The invoice expires, and then what is missing is paid.
    Late,
    /// What is missing is paid in three parts.
    Multi,
    /// What is missing is paid in a block that leaves the chain, and is mined again later.
    Reorg,
    /// The amount due is paid in the other asset.
    WrongAsset,
    /// What is missing is passed on by a contract, so that only the balance of the address shows it.
    InternalBnb,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 8] = [
        Self::Paid,
        Self::Underpaid,
        Self::Overpaid,
        Self::Late,
        Self::Multi,
        Self::Reorg,
        Self::WrongAsset,
        Self::InternalBnb,
    ];

    /// The case's word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Underpaid => "underpaid",
            Self::Overpaid => "overpaid",
            Self::Late => "late",
            Self::Multi => "multi",
            Self::Reorg => "reorg",
            Self::WrongAsset => "wrong_asset",
            Self::InternalBnb => "internal_bnb",
        }
    }
}

impl FromStr for Case {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "paid, underpaid, overpaid, late, multi, reorg, wrong_asset, internal_bnb";
        Self::ALL.into_iter().find(|case| case.name() == text).ok_or(UnknownWord { what: "case", expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_are_named_in_the_refusal() {
        let refusal = "payed".parse::<Case>().expect_err("not a case");
        let named: Vec<&str> = refusal.expected.split(", ").collect();
        assert_eq!(named, Case::ALL.map(Case::name));
        assert!(Case::ALL.into_iter().all(|case| case.name().parse() == Ok(case)));
    }
}

//! Whole numbers from 0 to 2^64 - 1 in a store whose integers end at 2^63 - 1.

use surrealdb::types::{Decimal, Error, Kind, Number, SurrealValue, Value};

/// A whole number, stored as an integer where it fits and as a decimal above. Both compare and sort as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u64);

impl SurrealValue for Whole {
    fn kind_of() -> Kind {
        Kind::Number
    }

    fn into_value(self) -> Value {
        Value::Number(i64::try_from(self.0).map_or_else(|_| Number::Decimal(Decimal::from(self.0)), Number::Int))
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let number = match &value {
            Value::Number(Number::Int(number)) => u64::try_from(*number).ok(),
            Value::Number(Number::Decimal(number)) if number.is_integer() => u64::try_from(*number).ok(),
            _ => None,
        };
        let reason = || Error::serialization("not a whole number from 0 to 2^64 - 1".to_owned(), None);
        number.map(Self).ok_or_else(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_survives_the_store_form() {
        for number in [0, 1, i64::MAX.unsigned_abs(), i64::MAX.unsigned_abs() + 1, u64::MAX] {
            assert_eq!(Whole::from_value(Whole(number).into_value()).expect("its own form"), Whole(number));
        }
    }

    #[test]
    fn refuses_what_is_no_whole_number() {
        let half = Value::Number(Number::Decimal(Decimal::new(5, 1)));
        let huge = Value::Number(Number::Decimal(Decimal::MAX));
        for value in [Value::None, Value::from_int(-1), Value::String("1".to_owned()), half, huge] {
            assert!(Whole::from_value(value.clone()).is_err(), "{value:?}");
        }
    }
}

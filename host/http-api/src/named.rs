//! Values by name, taken one by one until none is left: the fields of a body, the parameters of a query.
//!
//! A name that nobody takes is a misspelling or a wish that this version does not grant. Passing over it in silence would
//! make an invoice that is not what the caller asked for, so it is refused by name, as is a name that occurs twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::str::FromStr;

use crate::error::{ApiError, Fault, echo};

/// Values that are not taken yet.
#[derive(Debug)]
pub(crate) struct Named<V> {
    kind: &'static str,
    values: BTreeMap<String, V>,
}

impl<V> Named<V> {
    /// No value yet; `kind` is what the values are called in refusals.
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, values: BTreeMap::new() }
    }

    /// Adds a value, or refuses a name that is there already.
    pub(crate) fn add(&mut self, name: String, value: V) -> Result<(), ApiError> {
        match self.values.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
            // Two readers of such a text would not agree on its meaning.
            Entry::Occupied(entry) => Err(ApiError::at(
                Fault::InvalidRequest,
                echo(entry.key()),
                format!("this {} is there more than once", self.kind),
            )),
        }
    }

    /// The value of a name, which is then gone from here.
    pub(crate) fn take(&mut self, name: &str) -> Option<V> {
        self.values.remove(name)
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let kind = self.kind;
        self.values.into_keys().next().map_or(Ok(()), |name| {
            Err(ApiError::at(Fault::InvalidRequest, echo(&name), format!("unknown {kind}; check its spelling")))
        })
    }

    /// What is left, in the order of the names.
    pub(crate) fn into_rest(self) -> impl ExactSizeIterator<Item = (String, V)> {
        self.values.into_iter()
    }
}

/// Reads a text as a value, or says what is wrong with it at `param`.
pub(crate) fn parse<T>(fault: Fault, param: &'static str, text: &str) -> Result<T, ApiError>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error: T::Err| ApiError::at(fault, param, format!("{param}: {error}")))
}

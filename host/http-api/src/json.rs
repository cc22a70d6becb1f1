//! Reading JSON as strictly as money asks for.
//!
//! `serde_json` takes the last of two equal keys, numbers of any size as floats, and 128 levels of nesting. Here equal keys
//! are refused at every level, numbers are told apart only as far as a call needs them, and nesting ends early.

use std::cell::Cell;
use std::fmt::{self, Display};
use std::str::FromStr;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{ApiError, Fault};
use crate::named::{Named, parse};

/// Levels of nesting. No call needs more than two; this leaves room and bounds the stack.
const DEPTH_MAX: usize = 16;

/// A value, as far as a call looks into it.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// A whole number from 0 to 2^64 - 1.
    Unsigned(u64),
    /// Any other number. Its value is not kept: no call takes one.
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(Named<Json>),
}

/// The fields of a request's body, which must be one JSON object.
pub(crate) fn fields(headers: &HeaderMap, body: &Bytes) -> Result<Named<Json>, ApiError> {
    check_media_type(headers)?;
    let text = str::from_utf8(body).map_err(|_| ApiError::caller(Fault::InvalidRequest, "the body is not UTF-8"))?;
    match read(text)? {
        Json::Object(fields) => Ok(fields),
        _ => Err(ApiError::caller(Fault::InvalidRequest, "the body must be a JSON object")),
    }
}

/// A field that is there and not `null`.
pub(crate) fn take(fields: &mut Named<Json>, name: &str) -> Option<Json> {
    fields.take(name).filter(|value| !matches!(value, Json::Null))
}

/// A field that is a text and reads as `T`, or is not there.
pub(crate) fn optional_text<T>(
    fields: &mut Named<Json>,
    fault: Fault,
    name: &'static str,
) -> Result<Option<T>, ApiError>
where
    T: FromStr<Err: Display>,
{
    match take(fields, name) {
        None => Ok(None),
        Some(Json::Text(text)) => parse(fault, name, &text).map(Some),
        Some(_) => Err(ApiError::at(fault, name, format!("{name} must be a string"))),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |param, message| Err(ApiError::at(Fault::UnsupportedMediaType, param, message));
    if headers.contains_key(CONTENT_ENCODING) {
        return refuse("Content-Encoding", "send the body as it is, not compressed");
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    let is_single = headers.get_all(CONTENT_TYPE).iter().nth(1).is_none();
    if is_json && is_utf8 && is_single {
        Ok(())
    } else {
        refuse("Content-Type", "the body must be application/json in UTF-8")
    }
}

fn read(text: &str) -> Result<Json, ApiError> {
    let refusal = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, refusal: &refusal }.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        refusal.take().unwrap_or_else(|| {
            let (line, column) = (error.line(), error.column());
            ApiError::caller(Fault::InvalidRequest, format!("the body is not JSON: see line {line}, column {column}"))
        })
    })
}

/// Reads one value at some depth. A refusal of ours is left in `refusal`, because serde's errors carry only text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    refusal: &'a Cell<Option<ApiError>>,
}

impl Strict<'_> {
    fn refuse<T, E: serde::de::Error>(self, refusal: ApiError) -> Result<T, E> {
        self.refusal.set(Some(refusal));
        Err(E::custom("refused"))
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            let message = format!("the body is nested deeper than {DEPTH_MAX} levels");
            return self.refuse(ApiError::caller(Fault::InvalidRequest, message));
        }
        Ok(Self { depth: self.depth.saturating_add(1), ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.try_into().map_or(Json::OtherNumber, Json::Unsigned))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Named::new("field");
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if let Err(refusal) = fields.add(name, value) {
                return self.refuse(refusal);
            }
        }
        Ok(Json::Object(fields))
    }
}

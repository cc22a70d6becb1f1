//! Values of the contract as JSON and back: fields and cases by their names in WIT, results as `ok` and `err`, variants as an object
//! with the case as its only key, enums as their word, options as their value or `null`, bytes as text where they are text.

use serde_json::{Map, Number, Value, json};
use wasmtime::component::{Type, Val};

use super::fixture::FixtureError;

/// A value for a parameter. What is left out is empty where the type can be: no option, no list.
pub(super) fn to_val(given: Option<&Value>, ty: &Type, place: &str) -> Result<Val, FixtureError> {
    let refuse = |reason: String| FixtureError::Value { place: place.to_owned(), reason };
    let Some(given) = given else {
        return match ty {
            Type::Option(_) => Ok(Val::Option(None)),
            Type::List(_) => Ok(Val::List(Vec::new())),
            _ => Err(refuse("is missing".to_owned())),
        };
    };
    let expected = |what: &str| refuse(format!("`{}` is not {what}", shortened(given)));
    let whole = || given.as_u64().or_else(|| given.as_str()?.parse().ok());
    match ty {
        Type::Bool => given.as_bool().map(Val::Bool).ok_or_else(|| expected("true or false")),
        Type::U8 => whole().and_then(|number| number.try_into().ok()).map(Val::U8).ok_or_else(|| expected("a byte")),
        Type::U16 => whole().and_then(|number| number.try_into().ok()).map(Val::U16).ok_or_else(|| expected("a u16")),
        Type::U32 => whole().and_then(|number| number.try_into().ok()).map(Val::U32).ok_or_else(|| expected("a u32")),
        Type::U64 => whole().map(Val::U64).ok_or_else(|| expected("a u64")),
        Type::String => given.as_str().map(|text| Val::String(text.to_owned())).ok_or_else(|| expected("a text")),
        Type::Option(_) if given.is_null() => Ok(Val::Option(None)),
        Type::Option(option) => Ok(Val::Option(Some(Box::new(to_val(Some(given), &option.ty(), place)?)))),
        Type::List(list) => list_to_val(given, &list.ty(), place),
        Type::Tuple(tuple) => {
            let items = given.as_array().ok_or_else(|| expected("a list"))?;
            let types: Vec<Type> = tuple.types().collect();
            if items.len() != types.len() {
                return Err(expected(&format!("a list of {}", types.len())));
            }
            let values = items.iter().zip(&types).enumerate();
            let values = values.map(|(at, (item, ty))| to_val(Some(item), ty, &format!("{place}[{at}]")));
            values.collect::<Result<_, _>>().map(Val::Tuple)
        }
        Type::Record(record) => {
            let fields = given.as_object().ok_or_else(|| expected("a table"))?;
            let mut values = Vec::new();
            for field in record.fields() {
                let value = to_val(named(fields, field.name), &field.ty, &format!("{place}.{}", field.name))?;
                values.push((field.name.to_owned(), value));
            }
            let known = |key: &str| record.fields().any(|field| field.name == kebab(key));
            if let Some(stray) = fields.keys().find(|key| !known(key)) {
                let names = record.fields().map(|field| field.name.to_owned()).collect::<Vec<_>>().join(", ");
                return Err(FixtureError::Value {
                    place: format!("{place}.{stray}"),
                    reason: format!("there is no such field; there are {names}"),
                });
            }
            Ok(Val::Record(values))
        }
        Type::Variant(variant) => {
            let (case, payload) = match given {
                Value::String(case) => (case.as_str(), None),
                Value::Object(cases) if cases.len() == 1 => {
                    cases.iter().next().map(|(case, payload)| (case.as_str(), Some(payload))).unwrap_or_default()
                }
                _ => return Err(expected("a case: { name = ... }")),
            };
            let name = kebab(case);
            let Some(found) = variant.cases().find(|known| known.name == name) else {
                let names = variant.cases().map(|case| case.name.to_owned()).collect::<Vec<_>>().join(", ");
                return Err(expected(&format!("one of {names}")));
            };
            let payload = match found.ty {
                None => None,
                Some(ty) => {
                    Some(Box::new(to_val(payload.filter(|given| !given.is_null()), &ty, &format!("{place}.{name}"))?))
                }
            };
            Ok(Val::Variant(name, payload))
        }
        Type::Enum(known) => {
            let name = given.as_str().map(kebab).unwrap_or_default();
            if known.names().any(|word| word == name) {
                Ok(Val::Enum(name))
            } else {
                Err(expected(&format!("one of {}", known.names().collect::<Vec<_>>().join(", "))))
            }
        }
        Type::Result(result) => {
            let (ok, err) = (given.get("ok"), given.get("err"));
            let side = |value: Option<&Value>, ty: Option<Type>| {
                ty.map(|ty| to_val(value, &ty, place).map(Box::new)).transpose()
            };
            match (ok, err) {
                (Some(ok), None) => side(Some(ok), result.ok()).map(|value| Val::Result(Ok(value))),
                (None, Some(err)) => side(Some(err), result.err()).map(|value| Val::Result(Err(value))),
                _ => Err(expected("{ ok = ... } or { err = ... }")),
            }
        }
        _ => Err(refuse("is of a type that no hook has".to_owned())),
    }
}

fn list_to_val(given: &Value, ty: &Type, place: &str) -> Result<Val, FixtureError> {
    if let (Type::U8, Value::String(text)) = (ty, given) {
        return Ok(Val::List(text.bytes().map(Val::U8).collect()));
    }
    // Named values may be a table: an order does not matter to them.
    if let (Type::Tuple(_), Value::Object(fields)) = (ty, given) {
        let pair = |(key, value): (&String, &Value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Val::Tuple(vec![Val::String(key.clone()), Val::String(text)])
        };
        return Ok(Val::List(fields.iter().map(pair).collect()));
    }
    let items = given.as_array().ok_or_else(|| FixtureError::Value {
        place: place.to_owned(),
        reason: format!("`{}` is not a list", shortened(given)),
    })?;
    let values = items.iter().enumerate().map(|(at, item)| to_val(Some(item), ty, &format!("{place}[{at}]")));
    values.collect::<Result<_, _>>().map(Val::List)
}

/// A field by its name in WIT, also where it is written with underscores.
fn named<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).or_else(|| fields.get(&name.replace('-', "_")))
}

/// The name in WIT of a field, a case or a word that is written as in Rust.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (at, character) in name.chars().enumerate() {
        match character {
            '_' => kebab.push('-'),
            character if character.is_ascii_uppercase() => {
                if at > 0 {
                    kebab.push('-');
                }
                kebab.push(character.to_ascii_lowercase());
            }
            character => kebab.push(character),
        }
    }
    kebab
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// A value as people read it.
pub(super) fn shown(value: &Val) -> Value {
    match value {
        Val::Record(fields) => Value::Object(fields.iter().map(|(name, value)| (name.clone(), shown(value))).collect()),
        Val::Variant(case, Some(payload)) => json!({case.as_str(): shown(payload)}),
        Val::Variant(word, None) | Val::Enum(word) => json!(word),
        Val::Option(value) => value.as_ref().map_or(Value::Null, |value| shown(value)),
        Val::Result(Ok(value)) => json!({"ok": value.as_ref().map_or(Value::Null, |value| shown(value))}),
        Val::Result(Err(value)) => json!({"err": value.as_ref().map_or(Value::Null, |value| shown(value))}),
        Val::List(items) => match bytes_of(items) {
            Some(bytes) if !items.is_empty() => bytes_shown(&bytes),
            _ => Value::Array(items.iter().map(shown).collect()),
        },
        Val::Tuple(items) => Value::Array(items.iter().map(shown).collect()),
        plain => plain_shown(plain),
    }
}

/// A value as the generated types read it: fields with underscores, cases in capitals.
pub(super) fn typed(value: &Val) -> Value {
    match value {
        Val::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.replace('-', "_"), typed(value))).collect())
        }
        Val::Variant(case, Some(payload)) => json!({capitals(case): typed(payload)}),
        Val::Variant(word, None) | Val::Enum(word) => json!(capitals(word)),
        Val::Option(value) => value.as_ref().map_or(Value::Null, |value| typed(value)),
        Val::Result(Ok(value)) => json!({"Ok": value.as_ref().map_or(Value::Null, |value| typed(value))}),
        Val::Result(Err(value)) => json!({"Err": value.as_ref().map_or(Value::Null, |value| typed(value))}),
        Val::List(items) | Val::Tuple(items) => Value::Array(items.iter().map(typed).collect()),
        plain => plain_shown(plain),
    }
}

/// Bytes of all texts and byte lists of a value: how the host measures answers.
pub(super) fn bytes(value: &Val) -> usize {
    match value {
        Val::String(text) => text.len(),
        Val::U8(_) => 1,
        Val::Record(fields) => fields.iter().map(|(_, value)| bytes(value)).sum(),
        Val::Variant(_, Some(payload)) | Val::Option(Some(payload)) => bytes(payload),
        Val::Result(Ok(Some(value)) | Err(Some(value))) => bytes(value),
        Val::List(items) | Val::Tuple(items) => items.iter().map(bytes).sum(),
        _ => 0,
    }
}

/// The same of JSON.
pub(super) fn json_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_bytes).sum(),
        Value::Object(fields) => fields.values().map(json_bytes).sum(),
        _ => 0,
    }
}

fn capitals(word: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    word.split('-').map(capital).collect()
}

fn plain_shown(value: &Val) -> Value {
    match value {
        Val::Bool(flag) => Value::Bool(*flag),
        Val::U8(number) => (*number).into(),
        Val::U16(number) => (*number).into(),
        Val::U32(number) => (*number).into(),
        Val::U64(number) => Number::from(*number).into(),
        Val::String(text) => Value::String(text.clone()),
        other => Value::String(format!("{other:?}")),
    }
}

fn bytes_of(items: &[Val]) -> Option<Vec<u8>> {
    let byte = |item: &Val| match item {
        Val::U8(byte) => Some(*byte),
        _ => None,
    };
    items.iter().map(byte).collect()
}

/// Bytes as text where they are text, else as hex digits.
pub(super) fn bytes_shown(bytes: &[u8]) -> Value {
    core::str::from_utf8(bytes).map_or_else(|_| json!({"hex": hex::encode(bytes)}), |text| json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cross_between_the_contract_and_its_bindings() {
        for (wit, fields, cases) in [
            ("accept", "accept", "Accept"),
            ("expires-in-s", "expires_in_s", "ExpiresInS"),
            ("partially-paid", "partially_paid", "PartiallyPaid"),
        ] {
            assert_eq!((kebab(fields).as_str(), kebab(cases).as_str()), (wit, wit));
            assert_eq!(capitals(wit), cases);
        }
    }
}

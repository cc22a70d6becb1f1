//! The words that the document's schemas are made of, so that units, ranges and forms are said in one way everywhere.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use xthonpay_domain::id::ID_BYTES;

/// A schema, or the name of one.
pub(super) type Shape = RefOr<Schema>;

/// A whole number of base units as a decimal: digits, and a fraction where one is needed; no sign, no exponent.
const AMOUNT: &str = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$";
/// 78 digits, which 2^256 has, a point, and the 77 decimals that an asset has at most.
const AMOUNT_CHARS_MAX: usize = 78 + 1 + 77;

/// Any text.
pub(super) fn text(says: impl Into<String>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some(says)).build()
}

/// A text that a caller chooses, from 1 to `bytes_max` bytes of UTF-8.
pub(super) fn words(bytes_max: usize, says: &str) -> Object {
    let says = format!(
        "{says} From 1 to {bytes_max} bytes of UTF-8, without control, invisible and direction-changing characters."
    );
    ObjectBuilder::from(text(says)).min_length(Some(1)).max_length(Some(bytes_max)).build()
}

/// A text of this form.
pub(super) fn pattern(form: impl Into<String>, example: &str, says: impl Into<String>) -> Object {
    ObjectBuilder::from(text(says)).pattern(Some(form)).examples([example]).build()
}

/// One of these words.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>, says: impl Into<String>) -> Object {
    ObjectBuilder::from(text(says)).enum_values(Some(words)).build()
}

/// An amount of an asset.
pub(super) fn amount(example: &str, says: &str) -> Object {
    let says = format!("{says} A decimal string in whole units of the asset, such as dollars, not base units.");
    let text = pattern(AMOUNT, example, says);
    ObjectBuilder::from(text).max_length(Some(AMOUNT_CHARS_MAX)).build()
}

/// An id of this host.
pub(super) fn id(prefix: &str, says: &str) -> Object {
    let digits = ID_BYTES.saturating_mul(2);
    pattern(format!("^{prefix}[0-9a-f]{{{digits}}}$"), &format!("{prefix}{}", "5f".repeat(ID_BYTES)), says)
}

/// An address on a chain.
pub(super) fn address(says: &str) -> Object {
    pattern("^0x[0-9a-fA-F]{40}$", "0x52908400098527886E0F7030069857D2E4169EE7", says)
}

/// The hash of a block or of a transaction.
pub(super) fn hash(says: &str) -> Object {
    pattern("^0x[0-9a-fA-F]{64}$", &format!("0x{}", "8b".repeat(32)), says)
}

/// A moment.
pub(super) fn moment(says: &str) -> Object {
    let says = format!("{says} RFC 3339 in UTC.");
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    ObjectBuilder::from(text(says)).format(Some(format)).examples(["2026-01-31T12:00:00Z"]).build()
}

/// A web address.
pub(super) fn url(says: &str, example: &str) -> Object {
    ObjectBuilder::from(pattern("^https?://.", example, says))
        .max_length(Some(xthonpay_domain::invoice::url_text::CallbackUrl::LEN_MAX))
        .build()
}

/// A whole number of this range.
pub(super) fn whole(min: u64, max: Option<u64>, says: impl Into<String>) -> Object {
    let number = ObjectBuilder::new().schema_type(Type::Integer).description(Some(says)).minimum(Some(min));
    number.maximum(max).build()
}

/// Yes or no.
pub(super) fn flag(says: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(says)).build()
}

/// A JSON object whose fields are told elsewhere.
pub(super) fn any_object(says: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(says)).build()
}

/// A JSON object with texts under names that the caller chose.
pub(super) fn texts_by_name(value: Object, says: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(says))
        .additional_properties(Some(AdditionalProperties::RefOr(value.into())))
        .build()
}

/// A list of these.
pub(super) fn list(of: impl Into<Shape>, says: impl Into<String>) -> Shape {
    let items: Shape = of.into();
    ArrayBuilder::new().items(items).description(Some(says)).into()
}

/// The same, or `null`.
pub(super) fn or_null(mut object: Object) -> Object {
    if let SchemaType::Type(single) = object.schema_type {
        object.schema_type = SchemaType::Array(vec![single, Type::Null]);
    }
    if let Some(words) = &mut object.enum_values {
        words.push(Value::Null);
    }
    object
}

/// One of the schemas that the document names.
pub(super) fn named(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

/// The same, or `null`.
pub(super) fn named_or_null(name: &str, says: &str) -> Shape {
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(nothing).item(named(name)).description(Some(says)).into()
}

/// A list, or `null`.
pub(super) fn or_null_list(list: Shape, says: &str) -> Shape {
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(nothing).item(list).description(Some(says)).into()
}

/// At least one of several schemas.
pub(super) fn either(shapes: impl IntoIterator<Item = Shape>, says: &str) -> Shape {
    let several = shapes.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).description(Some(says)).build();
    RefOr::T(several.into())
}

/// A JSON object, field by field.
pub(super) struct Fields(ObjectBuilder);

impl Fields {
    /// No field yet.
    pub(super) fn new(says: &str) -> Self {
        Self(ObjectBuilder::new().schema_type(Type::Object).description(Some(says)))
    }

    /// A field that is always there.
    pub(super) fn field(self, name: &str, shape: impl Into<Shape>) -> Self {
        Self(self.0.property(name, shape).required(name))
    }

    /// A field that may be missing.
    pub(super) fn optional(self, name: &str, shape: impl Into<Shape>) -> Self {
        Self(self.0.property(name, shape))
    }

    /// An example of the whole.
    pub(super) fn example(self, value: Value) -> Self {
        Self(self.0.examples([value]))
    }

    /// What the host sends: clients pass over fields that they do not know.
    pub(super) fn open(self) -> Shape {
        self.0.into()
    }

    /// What the host takes: a field that it does not know is refused.
    pub(super) fn closed(self) -> Shape {
        self.0.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

/// The envelope of an answer that succeeds.
pub(super) fn success(data: impl Into<Shape>) -> Shape {
    Fields::new("A success.")
        .field("status", one_of(["success"], "Says that the call succeeded."))
        .field("data", data)
        .open()
}

/// One page of a list. Lists that can be polled always name the place behind what they have shown.
pub(super) fn page(of: impl Into<Shape>, polled: bool) -> Shape {
    let place = text("Where to go on: send it as `cursor`, unchanged.");
    let next = if polled { place } else { or_null(place) };
    Fields::new("One page of a list.")
        .field("status", one_of(["success"], "Says that the call succeeded."))
        .field("data", list(of, "The entries of this page."))
        .field("next_cursor", next)
        .field("has_more", flag("Whether another page follows now."))
        .open()
}

//! Schemas as tables of fields.

use maud::{Markup, html};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Object, Schema, SchemaType, Type};

use crate::openapi::schema::Shape;

/// Where the names of schemas begin in references.
const SCHEMAS: &str = "#/components/schemas/";

/// A text of several paragraphs.
pub(super) fn says(text: &str) -> Markup {
    html! {
        @for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            p { (line(paragraph)) }
        }
    }
}

/// A line with `code` in it.
pub(super) fn line(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            // Every second part stands between two marks.
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A named schema, as a link to its table.
pub(super) fn link(name: &str) -> Markup {
    html! { a.type href={ "#shape-" (name) } { (name) } }
}

/// What kind of value it is, in a word or a link.
pub(super) fn type_of(shape: &Shape) -> Markup {
    match shape {
        RefOr::Ref(reference) => link(reference.ref_location.trim_start_matches(SCHEMAS)),
        RefOr::T(Schema::Object(object)) => type_of_object(object),
        RefOr::T(Schema::Array(array)) => match &array.items {
            ArrayItems::RefOrSchema(items) => html! { span.type { "list of " } (type_of(items)) },
            ArrayItems::False => html! { span.type { "list" } },
        },
        RefOr::T(Schema::OneOf(several)) => alternatives(&several.items),
        RefOr::T(Schema::AnyOf(several)) => alternatives(&several.items),
        RefOr::T(Schema::AllOf(several)) => alternatives(several.items.get(..1).unwrap_or_default()),
        RefOr::T(_) => html! { span.type { "any" } },
    }
}

fn alternatives(shapes: &[Shape]) -> Markup {
    html! {
        @for (index, shape) in shapes.iter().enumerate() {
            @if index > 0 { span.type { " or " } }
            (type_of(shape))
        }
    }
}

fn type_of_object(object: &Object) -> Markup {
    // The envelope of answers: what it holds is told instead.
    if let Some(data) = object.properties.get("data")
        && object.properties.contains_key("status")
    {
        return type_of(data);
    }
    html! {
        span.type { (words_of(&object.schema_type)) }
        @if let Some(words) = &object.enum_values {
            @for word in words.iter().filter_map(|word| word.as_str()) { " " code.word { (word) } }
        }
        @if let Some(example) = object.examples.iter().find_map(|example| example.as_str()) {
            " " span.sample { "such as " code { (example) } }
        }
    }
}

fn words_of(schema_type: &SchemaType) -> String {
    let word = |single: &Type| match single {
        Type::Object => "object",
        Type::String => "text",
        Type::Integer => "whole number",
        Type::Number => "number",
        Type::Boolean => "true or false",
        Type::Array => "list",
        Type::Null => "null",
    };
    match schema_type {
        SchemaType::Type(single) => word(single).to_owned(),
        SchemaType::Array(several) => several.iter().map(word).collect::<Vec<_>>().join(" or "),
        SchemaType::AnyValue => "any".to_owned(),
    }
}

/// The fields of an object.
pub(super) fn shape_table(shape: &Shape) -> Markup {
    let RefOr::T(Schema::Object(object)) = shape else { return html! { p { (type_of(shape)) } } };
    let is_closed = matches!(object.additional_properties.as_deref(), Some(AdditionalProperties::FreeForm(false)));
    html! {
        (says(object.description.as_deref().unwrap_or_default()))
        @if is_closed { p { "Other fields are refused." } }
        table.fields { tbody { (rows(object, "")) } }
    }
}

/// The fields of an object that has no name, and so no table of its own elsewhere.
pub(super) fn own_fields(shape: &Shape) -> Markup {
    let RefOr::T(Schema::Object(object)) = shape else { return Markup::default() };
    match object.properties.get("data").filter(|_| object.properties.contains_key("status")) {
        Some(data) => own_fields(data),
        None if object.properties.is_empty() => Markup::default(),
        None => shape_table(shape),
    }
}

/// A row for each field, and for the fields of objects inside.
fn rows(object: &Object, prefix: &str) -> Markup {
    html! {
        @for (field, shape) in &object.properties {
            @let name = format!("{prefix}{field}");
            tr {
                th {
                    code { (name) }
                    @if !object.required.contains(field) { span.missing { "may be missing" } }
                }
                td { (type_of(shape)) (says(description(shape))) }
            }
            @if let Some(inner) = inner(shape) { (rows(inner, &format!("{name}."))) }
        }
    }
}

fn description(shape: &Shape) -> &str {
    let text = match shape {
        RefOr::T(Schema::Object(object)) => object.description.as_deref(),
        RefOr::T(Schema::Array(array)) => array.description.as_deref(),
        RefOr::T(Schema::OneOf(several)) => several.description.as_deref(),
        RefOr::T(Schema::AnyOf(several)) => several.description.as_deref(),
        RefOr::T(_) | RefOr::Ref(_) => None,
    };
    text.unwrap_or_default()
}

/// The object that a field is, or is a list of.
fn inner(shape: &Shape) -> Option<&Object> {
    match shape {
        RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => Some(object),
        RefOr::T(Schema::Array(array)) => match &array.items {
            ArrayItems::RefOrSchema(items) => inner(items),
            ArrayItems::False => None,
        },
        RefOr::T(_) | RefOr::Ref(_) => None,
    }
}

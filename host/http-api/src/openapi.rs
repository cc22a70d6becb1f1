//! The document of the API: OpenAPI 3.1 for programs, and the same as a page for people.
//!
//! Made once, at the start, from the table of calls: a row without words does not compile (`calls`), and what follows from
//! the row itself (scope, signature, refusals of the door) is not written a second time (`operation`). What answers look like
//! is said in `shapes`, and the tests hold every answer against it. Nothing here serves a request but the two handlers of
//! `routes::docs`.

mod calls;
mod faults;
mod operation;
mod page;
mod schema;
mod shapes;

use bytes::Bytes;
use http::HeaderValue;
use url::Url;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::schema::{Components, ComponentsBuilder, Object};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder, Required};
use xthonpay_domain::text::IdempotencyKey;

use crate::policies::TABLE;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};
use operation::Group;
use schema::{pattern, text, url, whole};

/// The names of the three headers, as the document's security schemes.
const API_KEY: &str = "X-API-Key";
const TIMESTAMP: &str = "X-Timestamp";
const SIGNATURE: &str = "X-Signature";
/// The header that makes a call safe to repeat.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What stands above everything else.
const INTRODUCTION: &str = "\
A payment platform for stablecoins. Every invoice gets an address of its own; what arrives there is found within about a \
block, credited when it is final, and told by signed webhooks.

Every path below `/api/v1` also stands below `/v1`. Bodies are JSON in UTF-8 of at most 64 KiB; unknown fields, fields that \
occur twice and unknown query parameters are refused by name. Amounts are decimal strings beside their asset, never numbers. \
Fields, codes, events and words are added, never renamed or removed: pass over what you do not know.";

/// What the API says about itself, ready to be sent.
pub(crate) struct Document {
    /// OpenAPI 3.1 as JSON.
    pub(crate) json: Bytes,
    /// The page, HTML.
    pub(crate) page: Bytes,
    /// What a browser may load for the page: its own style and nothing else.
    pub(crate) page_policy: HeaderValue,
}

impl Document {
    /// The document of a deployment that merchants reach at `public_url`.
    pub(crate) fn new(public_url: &Url) -> Self {
        let base = public_url.as_str().trim_end_matches('/').to_owned();
        let document = describe(&base);
        let page = page::render(&document, &base);
        let json = document.to_json().expect("the document consists of objects, lists, texts and numbers");
        Self { json: json.into(), page: page.html.into(), page_policy: page.policy }
    }
}

/// Every call of the table.
fn describe(base: &str) -> OpenApi {
    let mut paths = PathsBuilder::new();
    for row in &TABLE {
        let path = row.paths().into_iter().next().expect("every call stands somewhere");
        let method = operation::method(&row.method).expect("the table uses five methods");
        paths = paths.path(path, PathItem::new(method, calls::of(row.door).finish(row)));
    }
    let info = InfoBuilder::new()
        .title("xthonpay")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(License::new("Apache-2.0")));
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url(base).description(Some("This deployment")).build()]))
        .paths(paths)
        .components(Some(components()))
        .tags(Some(Group::ALL.map(tag)))
        .build()
}

fn tag(group: Group) -> Tag {
    TagBuilder::new().name(group.name()).description(Some(group.says())).build()
}

fn components() -> Components {
    let mut components = ComponentsBuilder::new();
    for (name, shape) in shapes::all() {
        components = components.schema(name, shape);
    }
    for (name, header) in headers() {
        components = components.header(name, header);
    }
    for (name, says) in [
        (API_KEY, "The id of the key, such as `xpk_live_…`."),
        (
            TIMESTAMP,
            "Unix seconds at which the request was signed, at most 300 s from this host's clock (60 s for keys of the scheme `timestamp`).",
        ),
        (
            SIGNATURE,
            "`hex(HMAC-SHA256(secret, \"{timestamp}\\n{METHOD}\\n{path}\\n\" + body))`, the path without its query; for keys of the \
             scheme `timestamp` `hex(HMAC-SHA256(secret, timestamp))`. Works once for calls that change something.",
        ),
    ] {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, says)));
        components = components.security_scheme(name, scheme);
    }
    components.parameter(IDEMPOTENCY_KEY, idempotency_key()).build()
}

fn idempotency_key() -> Parameter {
    let max = IdempotencyKey::LEN_MAX;
    let mut form = pattern(format!("^[ -~]{{1,{max}}}$"), "7c0e5b7e-order-12345", "");
    form.description = None;
    ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(format!(
            "A name of yours for this one effect: from 1 to {max} printable ASCII characters. The same call under the same name \
             gets the same answer again, for a week, and does nothing again."
        )))
        .schema(Some(form))
        .build()
}

/// The headers of answers.
fn headers() -> Vec<(&'static str, Header)> {
    let header = |object: Object, says: &str| HeaderBuilder::new().schema(Some(object)).description(Some(says)).build();
    let count = || whole(0, None, "");
    vec![
        ("X-Request-Id", header(schema::id("req_", ""), "Names this request in the host's log.")),
        (
            "Location",
            header(url("", "https://pay.example/api/v1/invoices/inv_5f"), "Where the thing that was made can be read."),
        ),
        (
            "RateLimit-Limit",
            header(
                count(),
                "Requests a minute that the key may make. Told as soon as the signature has shown whose key it is.",
            ),
        ),
        ("RateLimit-Remaining", header(count(), "How many of them are left now.")),
        ("RateLimit-Reset", header(count(), "Seconds until all of them are there again.")),
        ("Retry-After", header(whole(1, None, ""), "Seconds after which to try again.")),
        ("WWW-Authenticate", header(text(""), "How requests are signed.")),
        (
            "Idempotent-Replayed",
            header(schema::one_of(["true"], ""), "This answer was given before; nothing was done again."),
        ),
    ]
}

/// How many entries a list shows.
fn limit_parameter() -> Object {
    let range = |limit: usize| u64::try_from(limit).ok();
    let mut object = whole(1, range(LIMIT_MAX), format!("Entries of the page, from 1 to {LIMIT_MAX}."));
    object.default = Some(LIMIT_DEFAULT.into());
    object
}

/// From where on a list goes on.
fn cursor_parameter() -> Object {
    pattern("^[A-Za-z0-9_-]+$", "ZjEuMw", "`next_cursor` of the page before, unchanged.")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        let url = "https://pay.example/x/".parse().expect("a URL");
        serde_json::from_slice(&Document::new(&url).json).expect("JSON")
    }

    #[test]
    fn every_call_is_in_the_document_and_nothing_else() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let documented = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        });
        let mut documented: Vec<_> = documented.collect();
        let mut mounted: Vec<_> =
            TABLE.iter().map(|row| (row.method.to_string(), row.paths().swap_remove(0))).collect();
        documented.sort();
        mounted.sort();
        assert_eq!(documented, mounted);
    }

    #[test]
    fn every_variable_part_of_a_path_is_a_parameter_and_every_name_is_used_once() {
        let document = document();
        let mut ids = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for operation in item.as_object().expect("operations").values() {
                ids.push(operation["operationId"].as_str().expect("an id").to_owned());
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
                let declared: Vec<_> =
                    in_path.map(|one| format!("{{{}}}", one["name"].as_str().unwrap_or_default())).collect();
                let named: Vec<_> = path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
                assert_eq!(declared, named, "{path}");
            }
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn every_reference_points_at_something() {
        fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| walk(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut references = Vec::new();
        walk(&document, &mut references);
        assert!(references.len() > 50, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').expect("inside the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_server_is_the_public_address_without_a_slash_at_its_end() {
        assert_eq!(document()["servers"][0]["url"], "https://pay.example/x");
        assert_eq!(document()["openapi"], "3.1.0");
    }
}

//! The document of the API. Every answer that any test of this crate gets is held against it: a status, a field or a code
//! that the document does not tell fails the test that got it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::ServiceExt as _;
use xthonpay_domain::access::Scope;

use crate::world::{Reply, World};

/// The document, from a deployment of its own: asking for it must not show in those of the tests.
static SERVED: OnceCell<Conformance> = OnceCell::const_new();

/// Checks an answer to a request. One to a method or a path that is not in the document is a plain failure.
pub(crate) async fn check(method: &str, target: &str, reply: &Reply) {
    let served = SERVED.get_or_init(async || Conformance::of(&World::new().router).await);
    served.await.check(method, target, reply);
}

/// A document against which answers are held.
struct Conformance {
    document: Value,
}

impl Conformance {
    /// The document that this deployment serves.
    async fn of(router: &Router) -> Self {
        let served = get(router, "/openapi.json").await;
        let body = to_bytes(served.into_body(), usize::MAX).await.expect("a body in memory");
        Self { document: serde_json::from_slice(&body).expect("JSON") }
    }

    fn check(&self, method: &str, target: &str, reply: &Reply) {
        let Some(place) = self.place_of(method, target) else {
            let known = matches!(reply.outcome(), (404, "NOT_FOUND", _) | (405, "METHOD_NOT_ALLOWED", _));
            assert!(known || method == "HEAD", "{method} {target}: {reply:?}");
            return;
        };
        let pointer = format!("{place}/responses/{}", reply.status);
        let response = self.document.pointer(&pointer);
        assert!(response.is_some(), "the document does not tell {pointer}: {reply:?}");
        let Some(response) = response else { return };
        let told = response["headers"].as_object().cloned().unwrap_or_default();
        for name in ["retry-after", "location", "www-authenticate", "idempotent-replayed", "ratelimit-limit"] {
            let is_told = told.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert!(is_told || !reply.headers.contains_key(name), "the document does not tell {name} at {pointer}");
        }
        let schema = &response["content"]["application/json"]["schema"];
        let fits = Shape { document: &self.document, is_whole: true }.fits(schema, &reply.body, "");
        assert_eq!(fits, Ok(()), "{method} {target}: {:#}", reply.body);
    }

    /// Where in the document the operation of a request stands.
    fn place_of(&self, method: &str, target: &str) -> Option<String> {
        let path = target.split('?').next().unwrap_or_default();
        let path = if path.starts_with("/v1/") { format!("/api{path}") } else { path.to_owned() };
        let method = method.to_lowercase();
        let fits = |template: &str| {
            let (parts, given) = (template.split('/'), path.split('/'));
            parts.clone().count() == given.clone().count()
                && parts.zip(given).all(|(part, given)| part.starts_with('{') || part == given)
        };
        let paths = self.document["paths"].as_object().expect("paths");
        // A path without a variable part comes before one that has one.
        let mut fitting: Vec<_> =
            paths.iter().filter(|(template, item)| fits(template) && item.get(&method).is_some()).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        let (template, _) = fitting.first()?;
        Some(format!("/paths/{}/{method}", template.replace('/', "~1")))
    }
}

/// Holds values against schemas of a document: kinds, fields, words, alternatives. Forms of texts are left to the tests from
/// end to end, which have a whole validator; one of Rust would ask other features of the store's own dependencies, and have
/// all of it compiled twice.
#[derive(Clone, Copy)]
struct Shape<'a> {
    document: &'a Value,
    /// Whether fields that the schema does not tell are wrong. Clients are to pass over such fields; the tests are not.
    is_whole: bool,
}

impl Shape<'_> {
    /// What about a value is wrong, and where.
    fn fits(self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        for (keyword, told) in schema.as_object().ok_or_else(|| format!("{at}: no schema"))? {
            let items = || told.as_array().into_iter().flatten();
            match keyword.as_str() {
                "$ref" => {
                    let place = told.as_str().unwrap_or_default().trim_start_matches('#');
                    let shape = self.document.pointer(place).ok_or_else(|| format!("{at}: {told} is nowhere"))?;
                    self.fits(shape, value, at)?;
                }
                "allOf" => {
                    // The first tells the fields; the others say more about some of them.
                    for (index, part) in items().enumerate() {
                        Self { is_whole: self.is_whole && index == 0, ..self }.fits(part, value, at)?;
                    }
                }
                "oneOf" | "anyOf" => {
                    let wrong: Vec<_> = items().filter_map(|part| self.fits(part, value, at).err()).collect();
                    if wrong.len() == items().count() {
                        return Err(format!("{at}: fits none of {wrong:?}"));
                    }
                }
                "type" => {
                    let is = |kind: &Value| kind == kind_of(value);
                    if !is(told) && !items().any(is) {
                        return Err(format!("{at}: {value} is no {told}"));
                    }
                }
                "enum" if !items().any(|word| word == value) => return Err(format!("{at}: {value} is none of {told}")),
                "minimum" if value.as_u64() < told.as_u64() && value.is_number() => {
                    return Err(format!("{at}: {value} is below {told}"));
                }
                "required" => {
                    let missing = |name: &&Value| value.get(name.as_str().unwrap_or_default()).is_none();
                    if let Some(name) = items().find(missing).filter(|_| value.is_object()) {
                        return Err(format!("{at}: {name} is missing"));
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(told, item, &format!("{at}/{index}"))?;
                    }
                }
                "properties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        match told.get(name) {
                            Some(shape) => self.fits(shape, field, &format!("{at}/{name}"))?,
                            None if self.is_whole => return Err(format!("{at}: {name} is not told")),
                            None => {}
                        }
                    }
                }
                "additionalProperties" if told.is_object() => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        self.fits(told, field, &format!("{at}/{name}"))?;
                    }
                }
                "description"
                | "examples"
                | "enum"
                | "minimum"
                | "maximum"
                | "additionalProperties"
                | "format"
                | "pattern"
                | "minLength"
                | "maxLength"
                | "minItems"
                | "maxProperties"
                | "propertyNames" => {}
                other => return Err(format!("{at}: this check does not know {other}")),
            }
        }
        Ok(())
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

async fn get(router: &Router, path: &str) -> Response<Body> {
    let peer: std::net::SocketAddr = "198.51.100.7:50000".parse().expect("an address");
    let request = Request::get(path).extension(ConnectInfo(peer)).body(Body::empty()).expect("a request");
    router.clone().oneshot(request).await.expect("routers do not fail")
}

#[test]
fn what_the_document_does_not_tell_is_noticed() {
    let document = json!({"components": {"schemas": {"Word": {"type": ["string", "null"], "enum": ["a", "b", null]}}}});
    let list = json!({"type": "array", "items": {"$ref": "#/components/schemas/Word"}});
    let object =
        json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "integer", "minimum": 1}, "y": list}});
    let either = json!({"anyOf": [object, {"type": "null"}]});
    let narrowed = json!({"allOf": [object, {"properties": {"x": {"enum": [1]}}}]});
    for (schema, value, fits) in [
        (&object, json!({"x": 1}), true),
        (&object, json!({"x": 1, "y": ["a", null]}), true),
        (&object, json!({"y": []}), false),
        (&object, json!({"x": 0}), false),
        (&object, json!({"x": "1"}), false),
        (&object, json!({"x": 1, "z": 1}), false),
        (&object, json!({"x": 1, "y": ["c"]}), false),
        (&object, json!(null), false),
        (&either, json!(null), true),
        (&either, json!({"x": 1}), true),
        (&either, json!([]), false),
        (&narrowed, json!({"x": 1, "y": []}), true),
        (&narrowed, json!({"x": 2}), false),
        (&narrowed, json!({"x": 1, "z": 1}), false),
        (&json!({"contains": {}}), json!([]), false),
    ] {
        let found = Shape { document: &document, is_whole: true }.fits(schema, &value, "");
        assert_eq!(found.is_ok(), fits, "{schema} {value}: {found:?}");
    }
}

#[tokio::test]
async fn the_document_is_json_and_anybody_may_read_it() {
    let world = World::new();
    let served = get(&world.router, "/openapi.json").await;
    assert_eq!(served.status(), 200);
    assert_eq!(served.headers()["content-type"], "application/json");
    let body = to_bytes(served.into_body(), usize::MAX).await.expect("a body in memory");
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://pay.example");
}

#[tokio::test]
async fn the_page_may_load_its_own_style_and_nothing_else() {
    let world = World::new();
    let served = get(&world.router, "/docs").await;
    assert_eq!(served.status(), 200);
    assert_eq!(served.headers()["content-type"], "text/html; charset=utf-8");
    let policy = served.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let body = to_bytes(served.into_body(), usize::MAX).await.expect("a body in memory");
    let page = String::from_utf8(body.to_vec()).expect("UTF-8");
    for forbidden in ["<script", "<img", "<link", "style=\"", "src=\"", "@import", "url(", " onclick"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // The one other answer keeps the policy of all.
    let other = get(&world.router, "/healthz").await;
    assert_eq!(other.headers()["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
}

#[tokio::test]
async fn the_page_tells_every_call_and_every_code() {
    let world = World::new();
    let served = get(&world.router, "/docs").await;
    let body = to_bytes(served.into_body(), usize::MAX).await.expect("a body in memory");
    let page = String::from_utf8(body.to_vec()).expect("UTF-8");
    let document = Conformance::of(&world.router).await.document;
    for (path, item) in document["paths"].as_object().expect("paths") {
        assert!(page.contains(&format!("<code class=\"path\">{path}</code>")), "{path}");
        for operation in item.as_object().expect("operations").values() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(page.contains(&format!("<article id=\"{id}\">")), "{id}");
            for response in operation["responses"].as_object().expect("responses").values() {
                let codes =
                    response.pointer("/content/application~1json/schema/allOf/1/properties/error/properties/code/enum");
                for code in codes.and_then(Value::as_array).into_iter().flatten() {
                    let code = code.as_str().expect("a code");
                    assert!(page.contains(&format!("<th><code>{code}</code></th>")), "{code}");
                }
            }
        }
    }
    // Every link inside the page leads somewhere.
    for target in
        page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).filter(|target| !target.is_empty())
    {
        assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
    }
}

#[tokio::test]
async fn the_examples_of_bodies_fit_their_schemas_and_are_taken() {
    let world = World::new();
    let key = world.key(&[Scope::Read, Scope::Write, Scope::Webhooks]).await;
    let document = Conformance::of(&world.router).await.document;
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else { continue };
            let shape = match schema["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("it is there"),
                None => schema,
            };
            assert_eq!(shape["additionalProperties"], false, "{method} {path}: unknown fields are refused");
            let Some(example) = shape["examples"].get(0) else { continue };
            let fits = Shape { document: &document, is_whole: true }.fits(schema, example, "");
            assert_eq!(fits, Ok(()), "{method} {path}");
            if !path.contains('{') {
                let reply = world.post(&key, path, &example.to_string()).await;
                // What the example names may not exist here; what it looks like is right.
                assert!(reply.status < 300 || reply.status == 404, "{method} {path}: {reply:?}");
                sent += 1;
            }
        }
    }
    assert!(sent >= 3, "{sent}");
}

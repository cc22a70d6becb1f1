//! The document as a page for people: one file of HTML with its own style, no script, nothing from elsewhere.
//!
//! What is said about calls and fields comes from the document itself; here stand only the order, the way in (`guide`) and the
//! examples, which are whole programs and are run by the tests as they stand on the page.

mod example;
mod fields;
mod guide;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::path::{Operation, Parameter, PathItem};
use utoipa::openapi::{Content, OpenApi, RefOr};

use self::example::languages;
use self::fields::{line, own_fields, says, shape_table, type_of};
use super::faults::Failure;
use super::operation::Group;
use super::schema::Shape;
use super::shapes;

/// The page's style.
const STYLE: &str = include_str!("page/style.css");

/// A page and what a browser may do with it.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: HeaderValue,
}

/// The page of a document whose deployment is reached at `base`.
pub(super) fn render(document: &OpenApi, base: &str) -> Page {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("base64 and fixed words are a header value");
    Page { html: whole(document, base).into_string(), policy }
}

fn whole(document: &OpenApi, base: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "xthonpay: reference of the API" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (languages())
                div.columns {
                    (navigation(document))
                    main {
                        header {
                            h1 { "xthonpay" span.version { (document.info.version) } }
                            (says(document.info.description.as_deref().unwrap_or_default()))
                            p {
                                "This deployment: " code { (base) } " · the same for programs: "
                                a href="openapi.json" { "openapi.json" }
                            }
                        }
                        (guide::render(base))
                        @for group in Group::ALL { (section(document, group)) }
                        (failures())
                        (shape_sections(document))
                    }
                }
            }
        }
    }
}

fn navigation(document: &OpenApi) -> Markup {
    html! {
        nav {
            a.brand href="#" { "xthonpay" }
            h2 { "Guide" }
            ul {
                @for (anchor, title) in guide::PARTS { li { a href={ "#" (anchor) } { (title) } } }
            }
            @for group in Group::ALL {
                h2 { (group.name()) }
                ul {
                    @for (method, _, operation) in operations(document, group) {
                        li { a href={ "#" (id_of(operation)) } { (badge(method)) (operation.summary.as_deref().unwrap_or_default()) } }
                    }
                }
            }
            h2 { "More" }
            ul {
                li { a href="#errors" { "Codes of failures" } }
                li { a href="#shapes" { "Objects" } }
            }
        }
    }
}

/// The calls of a group: method, path and what is said about them.
fn operations(document: &OpenApi, group: Group) -> impl Iterator<Item = (&'static str, &str, &Operation)> {
    let all = document
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| methods(item).map(move |(method, one)| (method, path.as_str(), one)));
    all.filter(move |(_, _, operation)| {
        operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == group.name()))
    })
}

fn methods(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| operation.as_ref().map(|operation| (method, operation)))
}

fn id_of(operation: &Operation) -> &str {
    operation.operation_id.as_deref().unwrap_or_default()
}

fn badge(method: &str) -> Markup {
    html! { span.method.(method.to_ascii_lowercase()) { (method) } }
}

fn section(document: &OpenApi, group: Group) -> Markup {
    html! {
        section {
            h2.group { (group.name()) }
            p { (group.says()) }
            @for (method, path, operation) in operations(document, group) { (call(method, path, operation)) }
        }
    }
}

fn call(method: &str, path: &str, operation: &Operation) -> Markup {
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let own = parameters.iter().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let own: Vec<&Parameter> = own.collect();
    html! {
        article id=(id_of(operation)) {
            h3 { a href={ "#" (id_of(operation)) } { (operation.summary.as_deref().unwrap_or_default()) } }
            p.line {
                (badge(method))
                code.path { (path) }
                @if let Some(scope) = scope_of(operation) { span.scope { "scope " code { (scope) } } }
            }
            (says(operation.description.as_deref().unwrap_or_default()))
            @if !own.is_empty() {
                h4 { "Parameters" }
                table.fields { tbody {
                    @for parameter in own {
                        tr {
                            th { code { (parameter.name) } }
                            td {
                                @if let Some(schema) = &parameter.schema { (type_of(schema)) }
                                (says(parameter.description.as_deref().unwrap_or_default()))
                            }
                        }
                    }
                } }
            }
            @if let Some(RefOr::T(body)) = &operation.request_body {
                @for schema in schemas(body.content.values()) {
                    p.body { "Body: " (type_of(schema)) }
                    (own_fields(schema))
                }
            }
            (answers(operation))
        }
    }
}

/// The schemas of bodies.
fn schemas<'a>(contents: impl Iterator<Item = &'a RefOr<Content>>) -> impl Iterator<Item = &'a Shape> {
    contents.filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    })
}

/// The scope that a call needs, as its security requirement names it.
fn scope_of(operation: &Operation) -> Option<String> {
    let requirement = operation.security.as_ref()?.first()?;
    let value = serde_json::to_value(requirement).ok()?;
    Some(value.get(super::API_KEY)?.get(0)?.as_str()?.to_owned())
}

fn answers(operation: &Operation) -> Markup {
    html! {
        table.answers { tbody {
            @for (status, response) in &operation.responses.responses {
                @if let RefOr::T(response) = response {
                    tr {
                        th { span.status.good[status.starts_with('2')] { (status) } }
                        td {
                            @if status.starts_with('2') {
                                @for schema in schemas(response.content.values()) {
                                    p { (line(&response.description)) " " (type_of(schema)) }
                                    (own_fields(schema))
                                }
                            } @else {
                                @for line in response.description.split("\n\n") {
                                    @let (code, _) = line.split_once(": ").unwrap_or((line, ""));
                                    a.code href="#errors" { (code.trim_matches('`')) } " "
                                }
                            }
                        }
                    }
                }
            }
        } }
    }
}

const FAILURES_SAY: &str = "\
A failure is never answered with a status below 400. In its body, `code` is for programs, `message` for people, and `request_id` \
finds the request in the host's log.";

fn failures() -> Markup {
    html! {
        section #errors {
            h2.group { "Codes of failures" }
            p { (line(FAILURES_SAY)) " " (fields::link(shapes::ERROR)) }
            table.fields { tbody {
                @for failure in Failure::all() {
                    tr { th { code { (failure.code()) } } td { span.status { (failure.status()) } " " (line(failure.meaning())) } }
                }
            } }
        }
    }
}

fn shape_sections(document: &OpenApi) -> Markup {
    html! {
        section #shapes {
            h2.group { "Objects" }
            p { "Fields without " span.missing { "may be missing" } " are always there." }
            @if let Some(components) = &document.components {
                @for (name, shape) in &components.schemas {
                    article id={ "shape-" (name) } {
                        h3 { a href={ "#shape-" (name) } { (name) } }
                        (shape_table(shape))
                    }
                }
            }
        }
    }
}

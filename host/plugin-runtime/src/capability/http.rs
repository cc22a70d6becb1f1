//! The capability `http`: requests to upstreams that the operator named. Base, credentials and addresses stay with the host.
//!
//! What a guest writes is checked here for being a path, headers and a method that the grant allows; what may be connected to
//! is the upstream's affair.

use core::time::Duration;

use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;
use wasmtime::component::Resource;
use xthonpay_domain::text::LoanLabel;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::upstream::{Method, UpstreamError, UpstreamRequest};

use super::refusal::Refusal;
use crate::bindings::base::xthonpay::host::http as wit;
use crate::grant::Capability;
use crate::instance::{CallState, Effects};
use crate::limits::Limit;

/// Bytes of a path with its query.
const PATH_BYTES_MAX: usize = 2_048;
/// Headers of a request, and bytes of a name and of a value.
const HEADERS_MAX: usize = 32;
const HEADER_NAME_BYTES_MAX: usize = 64;
const HEADER_VALUE_BYTES_MAX: usize = 4_096;

/// Headers that the host drops: those of the connection, those that authenticate, and those by which it or a proxy speaks.
const DROPPED: [&str; 21] = [
    "host",
    "authorization",
    "proxy-authorization",
    "cookie",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "user-agent",
    "forwarded",
    "via",
    "origin",
    "referer",
    "date",
    "traceparent",
    "tracestate",
];
const DROPPED_PREFIXES: [&str; 3] = ["x-xthon-", "x-forwarded-", "proxy-"];

/// An upstream that the guest has opened.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenUpstream {
    label: LoanLabel,
}

impl wit::Host for CallState {}

impl wit::HostEndpoint for CallState {
    async fn open(&mut self, label: String) -> Result<Resource<OpenUpstream>, Refusal> {
        self.ask(Capability::Http, "open")?;
        let granted = self.profile.borrowed.upstreams.keys().find(|known| known.as_str() == label);
        let Some(label) = granted.cloned() else { return Err(self.not_granted(Capability::Http, &label)) };
        Ok(self.table.push(OpenUpstream { label })?)
    }

    async fn send(&mut self, handle: Resource<OpenUpstream>, asked: wit::Request) -> Result<wit::Response, Refusal> {
        self.ask(Capability::Http, "send")?;
        let label = self.table.get(&handle)?.label.clone();
        let borrowed = &self.profile.borrowed;
        let Some(grant) = borrowed.upstreams.get(&label) else {
            return Err(self.not_granted(Capability::Http, label.as_str()));
        };
        let key = |rest: &str| format!("plugins.{}.grants.http.{label}.{rest}", self.profile.name);
        let mut request = self.request(asked)?;
        if !grant.methods.contains(&request.method) {
            let message = format!("the method {} is not among {}", request.method.name(), key("methods"));
            return Err(Refusal::denied("method", message));
        }
        if !grant.paths.is_empty() && !grant.paths.iter().any(|prefix| request.path.starts_with(prefix)) {
            return Err(Refusal::denied("path", format!("the path begins like none of {}", key("paths"))));
        }
        if self.profile.effects == Effects::None && request.method != Method::Get {
            return Err(Refusal::denied("candidate", "a candidate that is only compared may only GET"));
        }
        let allowed = self.profile.limits.get(Limit::HttpRequests);
        if self.requests >= allowed {
            let key = self.limit_key(Limit::HttpRequests);
            return Err(Refusal::over_limit("requests", format!("more than {allowed} requests in one call ({key})")));
        }
        if !borrowed.may_send(&label, grant, self.call.at) {
            let message = format!("more requests in a minute than {} allows", key("per_minute"));
            return Err(Refusal::over_limit("rate", message));
        }
        let upstream = std::sync::Arc::clone(&grant.upstream);
        self.requests = self.requests.saturating_add(1);
        request.headers.push(trace_context(&self.call.id, self.call.at, self.requests));
        let (body_bytes, span) = (request.body.len(), self.usage.span());
        let sent = upstream.send(request).instrument(span).await;
        self.usage.exchange(body_bytes, sent.as_ref().map_or(0, |answer| answer.body.len()));
        let shown = sent.as_ref().map(|answer| (answer.status, answer.body.as_slice())).map_err(ToString::to_string);
        self.notes.answer(label.as_str(), shown.as_ref().map(|answer| *answer).map_err(String::as_str));
        let answer = sent.map_err(|error| match error {
            UpstreamError::Invalid { reason } => Refusal::invalid("request", reason),
            UpstreamError::TooLarge { .. } => {
                let key = self.limit_key(Limit::HttpAnswerKib);
                Refusal::over_limit("answer_size", format!("{error} ({key})"))
            }
            UpstreamError::Unavailable { reason } => Refusal::unavailable("upstream", reason),
        })?;
        let headers = answer.headers.into_iter().filter(|(name, _)| name != "set-cookie").collect();
        Ok(wit::Response { status: answer.status, headers, body: answer.body, attrs: Vec::new() })
    }

    async fn drop(&mut self, handle: Resource<OpenUpstream>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl CallState {
    /// The request, checked.
    fn request(&self, asked: wit::Request) -> Result<UpstreamRequest, Refusal> {
        let method = Method::from_name(&asked.method)
            .ok_or_else(|| Refusal::invalid("method", "the method is none of GET, POST, PUT, PATCH, DELETE"))?;
        check_path(&asked.path)?;
        if asked.headers.len() > HEADERS_MAX {
            return Err(Refusal::invalid("headers", format!("more than {HEADERS_MAX} headers")));
        }
        let mut headers = Vec::new();
        for (name, value) in asked.headers {
            check_header(&name, &value)?;
            if !is_dropped(&name) {
                headers.push((name, value));
            }
        }
        Ok(UpstreamRequest {
            method,
            path: asked.path,
            headers,
            body: asked.body,
            timeout: asked.timeout_ms.map(|millis| Duration::from_millis(millis.into())),
            answer_bytes_max: self.profile.limits.kib(Limit::HttpAnswerKib),
        })
    }
}

/// The header by which an upstream's log and ours can be matched, as W3C Trace Context (version 00) writes it: the trace is the
/// fact that is decided, which stands in the call's id, and the span is one request. Whether it is recorded is left to the upstream.
fn trace_context(call_id: &str, at: Timestamp, request: u64) -> (String, String) {
    let digest = |parts: &[&[u8]]| Sha256::digest(parts.concat());
    let in_id =
        call_id.rsplit(':').next().filter(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let trace = in_id.map_or_else(|| hex::encode(digest(&[call_id.as_bytes()])), str::to_owned);
    let span = digest(&[call_id.as_bytes(), &at.as_millis().to_be_bytes(), &request.to_be_bytes()]);
    let span = hex::encode(span);
    let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    ("traceparent".to_owned(), format!("00-{}-{}-00", cut(&trace, 32), cut(&span, 16)))
}

/// Whether a path stays below the base that it is joined with, however it is read.
fn check_path(path: &str) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::invalid("path", what));
    let (before, _) = path.split_once('?').unwrap_or((path, ""));
    if path.len() > PATH_BYTES_MAX {
        return refuse("the path is too long");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains(['#', '\\', '"', '<', '>', '`', '{', '}']) {
        return refuse("the path holds characters that have to be percent-encoded");
    }
    if before.starts_with('/') || before.contains("//") {
        return refuse("the path begins with `/` or holds `//`");
    }
    // A colon in the first part would make it a scheme.
    if before.split('/').next().is_some_and(|first| first.contains(':')) {
        return refuse("the path names a scheme");
    }
    let lower = before.to_ascii_lowercase();
    let plain = lower.replace("%2e", ".");
    if plain.split('/').any(|part| part == "." || part == "..") || lower.contains("%2f") || lower.contains("%5c") {
        return refuse("the path holds `.`, `..`, or an encoded slash");
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), Refusal> {
    let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(in_name) {
        return Err(Refusal::invalid("headers", "a header's name is lower-case letters, digits, `-` and `_`"));
    }
    if value.len() > HEADER_VALUE_BYTES_MAX || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Refusal::invalid("headers", "a header's value is printable ASCII"));
    }
    Ok(())
}

fn is_dropped(name: &str) -> bool {
    DROPPED.contains(&name) || DROPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_base() {
        for good in [
            "",
            "v1/price?pair=BNBUSD",
            "a/b/c",
            "a?u=//x/../y",
            "a:b/c".split_once(':').map_or("", |(a, _)| a),
            "x/y:z",
        ] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        let bad = [
            "/v1",
            "//evil.example",
            "a//b",
            "..",
            "../x",
            "a/../b",
            "a/%2e%2e/b",
            "a/%2E./b",
            "./a",
            "a/.",
            "a%2fb",
            "a%5Cb",
            "a\\b",
            "https://evil.example/",
            "javascript:x",
            "a b",
            "a\r\nb",
            "a\tb",
            "ä",
            "a#b",
            "a\0",
            "{secret}",
        ];
        for bad in bad {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&"a".repeat(PATH_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_request_names_its_trace() {
        let at = Timestamp::from_secs(1);
        let (name, value) = trace_context("on-draft:b497792594bfe9cb5fe6e7cf42b8f6ec", at, 1);
        assert_eq!(name, "traceparent");
        assert!(value.starts_with("00-b497792594bfe9cb5fe6e7cf42b8f6ec-") && value.ends_with("-00"), "{value}");
        assert_eq!(value.len(), 55);
        let next = trace_context("on-draft:b497792594bfe9cb5fe6e7cf42b8f6ec", at, 2).1;
        assert_eq!((&next[..36], next[36..] == value[36..]), (&value[..36], false), "another span of the same trace");
        assert_eq!(trace_context("describe", at, 1).1.len(), 55);
    }

    #[test]
    fn headers_cannot_split_and_those_of_the_host_are_dropped() {
        for (name, value) in
            [("X-A", "b"), ("", "b"), ("a b", "c"), ("a:", "b"), ("x-a", "b\r\nx-c: d"), ("x-a", "ü"), ("x-a", "\0")]
        {
            assert!(check_header(name, value).is_err(), "{name:?} {value:?}");
        }
        assert!(check_header("accept", "application/json").is_ok());
        for name in
            ["host", "authorization", "cookie", "x-xthon-signature", "content-length", "x-forwarded-for", "traceparent"]
        {
            assert!(is_dropped(name), "{name}");
        }
        assert!(!is_dropped("accept") && !is_dropped("content-type"));
    }
}

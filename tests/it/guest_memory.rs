//! Memory of plugins in Rust: a usual call finds it in what its instance begins with, a large one gets more, up to the limit.

use std::path::Path;

use serde_json::Value;
use wasmparser::{Parser, Payload};
use xthonpay_tests::BoxError;
use xthonpay_tests::places::Places;

use crate::plugin_cli::Author;
use crate::world::Done;

/// KiB of a page of WebAssembly.
const PAGE_KIB: u64 = 64;

const DRAFT: &str = "
function = 'on-draft'
[input.draft]
external-id = 'order-7'
price = { asset = 'bsc:USDT', amount = '50.00' }
metadata = [['basket', 'two coffees and a cake']]
proposed = { expires-in-s = 3600, tolerance-bps = 0, tolerance-amount = '0', confirmations = 0 }
";

/// An event whose data is so many bytes long, and a little more.
fn event(bytes: usize) -> String {
    let note = "n".repeat(bytes);
    format!(
        "function = 'render'\n[input]\ntarget = 'callback'\n[input.event]\nid = 'evt_1'\nkind = 'invoice.paid'\n\
         created = 1_800_000_000_000\nsequence = 3\ndata-json = '{{\"note\":\"{note}\"}}'\n"
    )
}

/// A call of a plugin that ships with the host.
async fn call(plugin: &Path, fixture: &str) -> Result<Value, BoxError> {
    let author = Author::new()?;
    let file = author.path("call.toml");
    std::fs::write(&file, fixture)?;
    let (_, called, told) = author.asked(&["run", &plugin.display().to_string(), "--fixture", &file]).await?;
    if called.is_null() { Err(told.into()) } else { Ok(called) }
}

/// KiB of the memory with which the first module of a component begins: the plugin itself, all others only carry calls to it.
fn first_memory_kib(component: &Path) -> Result<u64, BoxError> {
    let bytes = std::fs::read(component)?;
    for payload in Parser::new(0).parse_all(&bytes) {
        if let Payload::MemorySection(memories) = payload? {
            let memory = memories.into_iter().next().ok_or("a section without a memory")??;
            return Ok(memory.initial * PAGE_KIB);
        }
    }
    Err("the component has no memory".into())
}

#[tokio::test]
async fn a_usual_call_grows_no_memory() -> Done {
    let places = Places::find()?;
    for (name, fixture) in [
        ("default-rules", DRAFT.to_owned()),
        ("loyal-shop", DRAFT.to_owned()),
        ("xthon-json", event(2_000)),
        ("standard-webhooks", event(2_000)),
    ] {
        let plugin = places.plugin(name);
        let called = call(&plugin, &fixture).await?;
        assert!(called["ending"]["answer"]["ok"].is_object(), "{name}: {called}");
        assert_eq!(called["memory_kib"], first_memory_kib(&plugin)?, "{name}: {called}");
    }
    Ok(())
}

#[tokio::test]
async fn a_large_call_grows_it_and_ends_at_the_limit() -> Done {
    let plugin = Places::find()?.plugin("xthon-json");
    // It is there several times, which is more than an instance begins with.
    let large = event(240 * 1_024);
    let called = call(&plugin, &large).await?;
    let body = called["ending"]["answer"]["ok"]["body"].as_str().unwrap_or_default();
    let note = "n".repeat(240 * 1_024);
    assert!(body == format!(r#"{{"event":"invoice.paid","data":{{"note":"{note}"}}}}"#), "{} bytes", body.len());
    let memory = called["memory_kib"].as_u64().unwrap_or_default();
    assert!(memory > first_memory_kib(&plugin)?, "{memory}");

    let limited = format!("{large}[limits]\nmemory_mib = 1\n");
    let refused = call(&plugin, &limited).await.expect_err("an instance begins with more");
    assert!(refused.to_string().contains("memory_mib"), "{refused}");
    let limited = format!("{large}[limits]\nmemory_mib = 2\n");
    let called = call(&plugin, &limited).await?;
    let failure = &called["ending"]["failure"];
    assert!(
        failure["kind"] == "over_limit" && failure["text"].as_str().is_some_and(|text| text.contains("memory_mib")),
        "{failure}"
    );
    Ok(())
}

//! Plugins that fit the contract by type and misbehave when they are called, made from a few lines of WebAssembly text.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use xthonpay_tests::BoxError;
use xthonpay_tests::host::PluginEntry;
use xthonpay_tests::places::checkout;

/// Stops with a trap.
pub(crate) const TRAPS: &str = "unreachable";
/// Never returns.
pub(crate) const LOOPS: &str = "(loop $again (br $again)) unreachable";
/// Takes memory as long as it gets any, and more.
pub(crate) const EATS_MEMORY: &str =
    "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
/// Answers with an address outside of its memory.
pub(crate) const TALKS_NONSENSE: &str = "i32.const -4";

/// Builds a plugin for `hook` whose functions have this body, beside its manifest, and returns its config.
pub(crate) fn plugin(folder: &Path, name: &str, hook: &str, body: &str) -> Result<PluginEntry, BoxError> {
    let functions: &[&str] = if hook == "invoice-rules" { &["on-draft", "on-payment"] } else { &["render"] };
    let file = folder.join(format!("{name}.wasm"));
    std::fs::write(&file, component(hook, functions, body)?)?;
    let manifest = format!(
        "id = \"{name}\"\nversion = \"1.0.0\"\ncontract = \"0.1.0\"\nworld = \"{hook}\"\n\n[wants]\ncapabilities = []\n"
    );
    std::fs::write(folder.join(format!("{name}.toml")), manifest)?;
    Ok(PluginEntry::new(name, file))
}

fn component(hook: &str, functions: &[&str], body: &str) -> Result<Vec<u8>, BoxError> {
    let hooks = functions.iter().map(|function| {
        format!(r#"(func (export "xthonpay:hooks/{hook}@0.1.0#{function}") (param i32) (result i32) {body})"#)
    });
    let mut module = wat::parse_str(module(&hooks.collect::<String>()))?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(checkout().join("wit"))?;
    let world = resolve.select_world(&[package], Some(&format!("{hook}-plugin")))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(ComponentEncoder::default().validate(true).module(&module)?.encode()?)
}

/// A module that says who it is, is content with its settings, and has these hooks.
fn module(hooks: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (global $free (mut i32) (i32.const 4096))
            (data (i32.const 16) "hostile1.0.0")
            ;; The record `about`: address and length of name, version, notes and attrs.
            (data (i32.const 64) "\10\00\00\00\07\00\00\00\17\00\00\00\05\00\00\00")
            (func (export "xthonpay:hooks/plugin@0.1.0#describe") (result i32) i32.const 64)
            ;; Zeros: the case `ok`.
            (func (export "xthonpay:hooks/plugin@0.1.0#check-config") (result i32) i32.const 128)
            {hooks}
            ;; Hands out memory and never takes any back: an instance lives for one call.
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $place i32)
                (local.set $place (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $place) (local.get 3)))
                (local.get $place)))"#
    )
}

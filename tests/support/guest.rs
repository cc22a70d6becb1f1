//! Guests: a small builder of components with a body per function of a hook.
//!
//! Every function of a hook takes one pointer to its arguments and returns one to its answer, so that a guest is a table
//! of constants plus what a test wants to go wrong.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where constants begin. Below is nothing, so that a null pointer reads zeros.
const DATA_START: u32 = 1_024;

/// Where the guest's own memory for arguments begins.
const HEAP_START: u32 = 65_536;

/// The functions of the served capabilities, and what a module calls them.
const IMPORTS: [(&str, &str, &str); 4] = [
    ("xthonpay:host/log@0.1.0", "write", "(func $log (param i32 i32 i32 i32 i32))"),
    ("xthonpay:host/clock@0.1.0", "now", "(func $now (result i64))"),
    ("xthonpay:host/config@0.1.0", "get", "(func $config_get (param i32 i32 i32))"),
    ("xthonpay:host/config@0.1.0", "entries", "(func $config_entries (param i32))"),
];

/// A guest in the making.
#[derive(Clone)]
pub struct Guest {
    hook: &'static str,
    functions: Vec<(String, String)>,
    imports: Vec<String>,
    import_lines: Vec<String>,
    export_lines: Vec<String>,
    more: String,
    data: Vec<u8>,
    pages: u32,
}

impl Guest {
    /// Rules that accept any draft for an hour, and settle.
    #[must_use]
    pub fn rules() -> Self {
        let mut guest = Self::bare("invoice-rules");
        let accept = guest.accept(3_600, 0, "0", 0);
        let settle = guest.advice(0);
        guest.function("on-draft", &accept).function("on-payment", &settle)
    }

    /// A format with the body `{}`.
    #[must_use]
    pub fn format() -> Self {
        let mut guest = Self::bare("webhook-format");
        let message = guest.message("application/json", &[], b"{}");
        guest.function("render", &message)
    }

    /// A policy that allows every withdrawal.
    #[must_use]
    pub fn policy() -> Self {
        let mut guest = Self::bare("withdrawal-policy");
        let allow = guest.verdict(0, "", "");
        guest.function("review", &allow)
    }

    /// A flow that does nothing.
    #[must_use]
    pub fn bot() -> Self {
        let mut guest = Self::bare("bot-flow");
        let nothing = guest.words(&[0, 0, 0]);
        guest.function("handle", &nothing)
    }

    fn bare(hook: &'static str) -> Self {
        let mut guest = Self {
            hook,
            functions: Vec::new(),
            imports: Vec::new(),
            import_lines: Vec::new(),
            export_lines: ["plugin", hook].map(|name| format!("export xthonpay:hooks/{name}@0.1.0;")).to_vec(),
            more: String::new(),
            data: Vec::new(),
            pages: 2,
        };
        let texts = ["Guest", "1.2.3", "for tests"].map(|text| guest.text(text));
        let about = guest.words(&[texts.concat(), vec![0, 0]].concat());
        let fine = guest.words(&[0]);
        guest.function("describe", &about).function("check-config", &fine)
    }

    /// Sets the body of a function; an instruction sequence that leaves a pointer, with the arguments' pointer in `$args`.
    #[must_use]
    pub fn function(mut self, name: &str, body: &str) -> Self {
        self.functions.retain(|(known, _)| known != name);
        self.functions.push((name.to_owned(), body.to_owned()));
        self
    }

    /// Imports a capability's functions under the names of the table above.
    #[must_use]
    pub fn capability(mut self, name: &str) -> Self {
        let module = format!("xthonpay:host/{name}@0.1.0");
        for (_, function, signature) in IMPORTS.iter().filter(|(known, ..)| *known == module) {
            self.imports.push(format!("(import \"{module}\" \"{function}\" {signature})"));
        }
        self.import_lines.push(format!("import {module};"));
        self
    }

    /// Imports any function of any interface.
    #[must_use]
    pub fn import(mut self, module: &str, function: &str, signature: &str) -> Self {
        self.imports.push(format!("(import \"{module}\" \"{function}\" {signature})"));
        self.import_lines.push(format!("import {module};"));
        self
    }

    /// Imports one more function of an interface that is imported already.
    #[must_use]
    pub fn import_again(mut self, module: &str, function: &str, signature: &str) -> Self {
        self.imports.push(format!("(import \"{module}\" \"{function}\" {signature})"));
        self
    }

    /// Leaves out the export of an interface.
    #[must_use]
    pub fn without_export(mut self, interface: &str) -> Self {
        self.export_lines.retain(|line| !line.contains(&format!("/{interface}@")));
        self
    }

    /// Adds items to the module.
    #[must_use]
    pub fn with(mut self, items: &str) -> Self {
        self.more.push_str(items);
        self
    }

    /// Sets how much memory it begins with, in pages of 64 KiB.
    #[must_use]
    pub fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// Puts bytes into the guest's memory, aligned to 8.
    pub fn bytes(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let address = DATA_START + u32::try_from(self.data.len()).expect("small");
        self.data.extend_from_slice(bytes);
        assert!(address + u32::try_from(bytes.len()).expect("small") <= HEAP_START, "too many constants");
        address
    }

    /// Puts a text into memory: pointer and length.
    pub fn text(&mut self, text: &str) -> Vec<u32> {
        vec![self.bytes(text.as_bytes()), u32::try_from(text.len()).expect("small")]
    }

    /// Puts words into memory, and gives the body that returns their address.
    pub fn words(&mut self, words: &[u32]) -> String {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        format!("(i32.const {})", self.bytes(&bytes))
    }

    /// `ok(accept(terms))`.
    pub fn accept(&mut self, expires_in_s: u32, bps: u32, amount: &str, confirmations: u32) -> String {
        let amount = self.text(amount);
        self.words(&[&[0, 0, expires_in_s, bps], amount.as_slice(), &[confirmations, 0, 0]].concat())
    }

    /// `ok(refuse(refusal))`.
    pub fn refuse(&mut self, code: &str, message: &str) -> String {
        let (code, message) = (self.text(code), self.text(message));
        self.words(&[vec![0, 1], code, message, vec![0, 0]].concat())
    }

    /// `ok(advice)`, by the position of the case.
    pub fn advice(&mut self, case: u32) -> String {
        self.words(&[0, case])
    }

    /// `ok(verdict)`, by the position of its ruling.
    pub fn verdict(&mut self, ruling: u32, code: &str, message: &str) -> String {
        let (code, message) = (self.text(code), self.text(message));
        self.words(&[vec![0, ruling], code, message, vec![0, 0]].concat())
    }

    /// `ok(some(message))`.
    pub fn message(&mut self, content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let content_type = self.text(content_type);
        let count = u32::try_from(headers.len()).expect("small");
        let headers = headers.iter().flat_map(|(name, value)| [self.text(name), self.text(value)].concat());
        let headers: Vec<u8> = headers.collect::<Vec<u32>>().iter().flat_map(|word| word.to_le_bytes()).collect();
        let (headers, length) = (self.bytes(&headers), u32::try_from(body.len()).expect("small"));
        let body = self.bytes(body);
        self.words(&[vec![0, 1], content_type, vec![headers, count, body, length, 0, 0]].concat())
    }

    /// `err(hook-error)`, by the position of the case.
    pub fn error(&mut self, case: u32, code: &str, message: &str) -> String {
        let (code, message) = (self.text(code), self.text(message));
        self.words(&[vec![1, case], code, message, vec![0, 0]].concat())
    }

    /// A refusal whose message is what stands at an address that the module computes: pointer and length, two words.
    pub fn echo(&mut self, place: &str) -> String {
        let refusal = self.refuse("echo", "");
        format!(
            "(i32.store (i32.add {refusal} (i32.const 16)) (i32.load {place}))
             (i32.store (i32.add {refusal} (i32.const 20)) (i32.load (i32.add {place} (i32.const 4))))
             {refusal}"
        )
    }

    /// The module as text.
    fn module(&self) -> String {
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let functions: String = self.functions.iter().map(|(name, body)| self.export(name, body)).collect();
        format!(
            "(module
                {imports}
                (memory (export \"memory\") {pages})
                (global $heap (mut i32) (i32.const {HEAP_START}))
                (func $alloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                    (local $place i32)
                    (local.set $place (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                    (global.set $heap (i32.add (local.get $place) (local.get 3)))
                    (block $fits (loop $more
                        (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
                        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
                        (br $more)))
                    (local.get $place))
                {functions}
                {more}
                (data (i32.const {DATA_START}) \"{data}\"))",
            imports = self.imports.join("\n"),
            pages = self.pages,
            more = self.more,
        )
    }

    fn export(&self, name: &str, body: &str) -> String {
        let own = ["describe", "check-config"].contains(&name);
        let (interface, parameter) = if own { ("plugin", "") } else { (self.hook, "(param $args i32)") };
        if !self.export_lines.iter().any(|line| line.contains(&format!("/{interface}@"))) {
            return String::new();
        }
        format!("(func (export \"xthonpay:hooks/{interface}@0.1.0#{name}\") {parameter} (result i32) {body})\n")
    }

    /// The component, made for the contract.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        self.component_of(&contract())
    }

    /// The component, made for any packages.
    #[must_use]
    pub fn component_of(&self, packages: &Resolve) -> Vec<u8> {
        let mut packages = packages.clone();
        let world = format!(
            "package tests:guests; world guest {{ {} {} }}",
            self.import_lines.join(" "),
            self.export_lines.join(" ")
        );
        let package = packages.push_str("world.wit", &world).expect("a well-formed world");
        let world = packages.select_world(&[package], Some("guest")).expect("has one world");
        let mut module = wat::parse_str(self.module()).expect("well-formed text");
        embed_component_metadata(&mut module, &packages, world, StringEncoding::UTF8).expect("embeds");
        let encoder = ComponentEncoder::default();
        encoder.validate(true).module(&module).expect("fits the world").encode().expect("encodes")
    }

    /// The core module alone, which is no component.
    #[must_use]
    pub fn core_module(&self) -> Vec<u8> {
        wat::parse_str(self.module()).expect("well-formed text")
    }
}

/// The contract in `wit/`.
#[must_use]
pub fn contract() -> Resolve {
    let mut packages = Resolve::default();
    packages.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).expect("the contract parses");
    packages
}

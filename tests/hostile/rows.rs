//! The hostile plugins: one for each way to harm that the runtime promises to contain.

use std::fmt::Write as _;

use xthonpay_tests::guest::Guest;

use crate::stage::{good, subject};

/// What has to happen.
pub(crate) enum Expected {
    /// It is not loaded, and the refusal has these words. What served before serves on.
    Refused(&'static [&'static str]),
    /// Its calls end like this, in the word of the metric; `left_alone` after that.
    Outcome(&'static str),
}

/// A hostile plugin.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) component: Vec<u8>,
    pub(crate) manifest: String,
    /// Lines of its table in the config.
    pub(crate) table: &'static str,
    pub(crate) expected: Expected,
}

impl Row {
    /// A plugin that does no harm. Each is another file, so that none comes compiled from the cache.
    pub(crate) fn good(number: u32) -> Self {
        let mut row = of("good", &good(), Expected::Outcome("answered"));
        // A section that nobody reads.
        row.component.extend([0, 6, 1, b'x']);
        row.component.extend(number.to_le_bytes());
        row
    }

    fn wants(mut self, capabilities: &str) -> Self {
        let _ = writeln!(self.manifest, "wants.capabilities = [{capabilities}]");
        self
    }

    fn table(mut self, table: &'static str) -> Self {
        self.table = table;
        self
    }
}

fn manifest(world: &str) -> String {
    format!("id = '{}'\nversion = '1.0.0'\ncontract = '0.1.0'\nworld = '{world}'\n", subject())
}

fn of(name: &'static str, guest: &Guest, expected: Expected) -> Row {
    Row { name, component: guest.component(), manifest: manifest("invoice-rules"), table: "", expected }
}

/// A guest whose `on-draft` does this before it traps.
fn draft(name: &'static str, body: &str, expected: Expected) -> Row {
    of(name, &Guest::rules().function("on-draft", &format!("{body} unreachable")), expected)
}

/// A guest that answers.
fn answers(name: &'static str, make: impl FnOnce(&mut Guest) -> String, expected: Expected) -> Row {
    let mut guest = Guest::rules();
    let body = make(&mut guest);
    of(name, &guest.function("on-draft", &body), expected)
}

/// Every row.
pub(crate) fn all(foreign_invoice: &str) -> Vec<Row> {
    let mut rows = time();
    rows.extend(space());
    rows.extend(calls());
    rows.extend(lies());
    rows.extend(reach(foreign_invoice));
    rows.extend(files());
    rows
}

/// P1: processor time.
fn time() -> Vec<Row> {
    let over = || Expected::Outcome("over_limit");
    let fill = "(loop $again (memory.fill (i32.const 131072) (i32.const 0) (i32.const 1048576)) (br $again))";
    vec![
        draft("spins", "(loop $again (br $again))", over()),
        of(
            "spins in bulk memory",
            &Guest::rules().pages(64).function("on-draft", &format!("{fill} unreachable")),
            over(),
        ),
        of(
            "spins while it is asked who it is",
            &Guest::rules().function("describe", "(loop $again (br $again)) unreachable"),
            Expected::Refused(&["describe", "cpu_ms"]),
        ),
        of(
            "spins before it begins",
            &Guest::rules().with("(func $spin (loop $again (br $again))) (start $spin)"),
            Expected::Refused(&["cpu_ms"]),
        ),
    ]
}

/// P2 and P4: memory, tables, handles, stack.
fn space() -> Vec<Row> {
    let over = || Expected::Outcome("over_limit");
    let eat = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1)) (then unreachable))";
    let deep = "(func $deep (param i32) (result i32) \
                (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let mut leaks = Guest::rules();
    let label = leaks.text("notes");
    let body = format!(
        "(loop $more (call $open (i32.const {}) (i32.const {}) (i32.const 4096)) (br $more)) unreachable",
        label[0], label[1]
    );
    let leaks = leaks
        .import("xthonpay:host/storage@0.1.0", "[static]space.open", "(func $open (param i32 i32 i32))")
        .function("on-draft", &body);
    vec![
        draft("grows its memory", eat, over()),
        of(
            "grows its table",
            &Guest::rules().with("(table $t 1 funcref)").function("on-draft", &format!("{grow} unreachable")),
            over(),
        ),
        of("begins too large", &Guest::rules().pages(1_000), Expected::Refused(&["memory_mib"])),
        of(
            "recurses without an end",
            &Guest::rules().with(deep).function("on-draft", "(call $deep (i32.const 0))"),
            Expected::Outcome("trapped"),
        ),
        draft("traps", "", Expected::Outcome("trapped")),
        of("leaks handles", &leaks, over())
            .wants("'storage'")
            .table("grants = { storage = { notes = {} } }\nlimits = { host_calls = 1000 }"),
    ]
}

/// P3: calls of the host.
fn calls() -> Vec<Row> {
    let flood = Guest::rules()
        .capability("clock")
        .function("on-draft", "(loop $more (drop (call $now)) (br $more)) unreachable");
    let mut logs = Guest::rules().capability("log");
    let (text, accept) = (logs.text(&"x".repeat(4_000)), logs.accept(60, 0, "0", 0));
    let write = format!(
        "(call $log (i32.const 2) (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0))",
        text[0], text[1]
    );
    let body = format!(
        "(local $n i32) (loop $more {write} (local.set $n (i32.add (local.get $n) (i32.const 1))) \
         (br_if $more (i32.lt_u (local.get $n) (i32.const 20000)))) {accept}"
    );
    let logs = logs.function("on-draft", &body);
    let mut hoards = Guest::rules();
    let (label, key, accept) = (hoards.text("notes"), hoards.text("key"), hoards.accept(60, 0, "0", 0));
    let put = format!(
        "(call $open (i32.const {}) (i32.const {}) (i32.const 8192)) \
         (loop $more (call $put (i32.load (i32.const 8196)) (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 60000) \
         (i32.const 0) (i32.const 0) (i32.const 8256)) (br_if $more (i32.eqz (i32.load8_u (i32.const 8256))))) {accept}",
        label[0], label[1], key[0], key[1]
    );
    let hoards = hoards
        .import("xthonpay:host/storage@0.1.0", "[static]space.open", "(func $open (param i32 i32 i32))")
        .import_again(
            "xthonpay:host/storage@0.1.0",
            "[method]space.put",
            "(func $put (param i32 i32 i32 i32 i32 i32 i32 i32))",
        )
        .function("on-draft", &put);
    vec![
        of("floods the host with calls", &flood, Expected::Outcome("over_limit")).wants("'clock'"),
        of("floods the log", &logs, Expected::Outcome("answered")).wants("'log'"),
        of("hoards in its storage", &hoards, Expected::Outcome("answered"))
            .wants("'storage'")
            .table("grants = { storage = { notes = { quota_kib = 64 } } }"),
    ]
}

/// P5: answers.
fn lies() -> Vec<Row> {
    let bad = || Expected::Outcome("bad_output");
    let huge = |guest: &mut Guest, at: usize| {
        // A list whose length is all of the address space.
        let amount = guest.text("0");
        let mut words = [&[0, 0, 60, 0], amount.as_slice(), &[0, 0, 0]].concat();
        words[at] = u32::MAX;
        guest.words(&words)
    };
    let boundary = || Expected::Outcome("bad_boundary");
    vec![
        answers("lies: no time", |guest| guest.accept(0, 0, "0", 0), bad()),
        answers("lies: more tolerance than there is", |guest| guest.accept(60, 10_001, "0", 0), bad()),
        answers("lies: a negative amount", |guest| guest.accept(60, 0, "-1", 0), bad()),
        answers("lies: an amount with an exponent", |guest| guest.accept(60, 0, "1e99", 0), bad()),
        answers("lies: no number", |guest| guest.accept(60, 0, "NaN", 0), bad()),
        answers("lies: an endless amount", |guest| guest.accept(60, 0, &"9".repeat(4_000), 0), bad()),
        answers("lies: a code that is markup", |guest| guest.refuse("<script>", "no"), bad()),
        answers("lies: a sentence that forges lines", |guest| guest.refuse("no", "a\r\nSet-Cookie: b\u{1b}[0m"), bad()),
        answers("lies: a case that does not exist", |guest| guest.words(&[0, 7]), boundary()),
        answers(
            "lies: a text beyond its memory",
            |guest| guest.words(&[0, 0, 60, 0, 4_000_000_000, 9, 0, 0, 0]),
            boundary(),
        ),
        answers("lies: a list without an end", |guest| huge(guest, 8), boundary()),
        answers(
            "lies: a text that is no text",
            |guest| {
                let place = guest.bytes(&[0xff, 0xfe, 0xfd]);
                guest.words(&[0, 0, 60, 0, place, 3, 0, 0, 0])
            },
            boundary(),
        ),
        answers(
            "asks for all confirmations there are",
            |guest| guest.accept(u32::MAX, 10_000, "0", u32::MAX),
            Expected::Outcome("answered"),
        ),
    ]
}

/// P5: what belongs to others.
fn reach(foreign_invoice: &str) -> Vec<Row> {
    let mut spy = Guest::rules();
    let (chain, id, accept) = (spy.text("bsc"), spy.text(foreign_invoice), spy.accept(60, 0, "0", 0));
    // Told anything but an error about another merchant's invoice, it traps.
    let body = format!(
        "(call $open (i32.const {}) (i32.const {}) (i32.const 8192)) \
         (if (i32.load8_u (i32.const 8192)) (then unreachable)) \
         (call $transfers (i32.load (i32.const 8196)) (i32.const {}) (i32.const {}) (i32.const 8256)) \
         (if (i32.eqz (i32.load8_u (i32.const 8256))) (then unreachable)) {accept}",
        chain[0], chain[1], id[0], id[1]
    );
    let spy = spy
        .import("xthonpay:host/chain@0.1.0", "[static]network.open", "(func $open (param i32 i32 i32))")
        .import_again(
            "xthonpay:host/chain@0.1.0",
            "[method]network.transfers",
            "(func $transfers (param i32 i32 i32 i32))",
        )
        .function("on-draft", &body);
    let mut climbs = Guest::rules();
    let (label, method, path) = (climbs.text("shop"), climbs.text("GET"), climbs.text("a/../../admin"));
    let (accept, zeros) = (climbs.accept(60, 0, "0", 0), "(i32.const 0) (i32.const 0)");
    let body = format!(
        "(call $open (i32.const {}) (i32.const {}) (i32.const 8192)) \
         (if (i32.load8_u (i32.const 8192)) (then unreachable)) \
         (call $send (i32.load (i32.const 8196)) (i32.const {}) (i32.const {}) (i32.const {}) (i32.const {}) \
          {zeros} {zeros} {zeros} {zeros} (i32.const 8256)) \
         (if (i32.eqz (i32.load8_u (i32.const 8256))) (then unreachable)) \
         (if (i32.ne (i32.load8_u (i32.const 8260)) (i32.const 1)) (then unreachable)) {accept}",
        label[0], label[1], method[0], method[1], path[0], path[1]
    );
    let climbs = climbs
        .import("xthonpay:host/http@0.1.0", "[static]endpoint.open", "(func $open (param i32 i32 i32))")
        .import_again(
            "xthonpay:host/http@0.1.0",
            "[method]endpoint.send",
            "(func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))",
        )
        .function("on-draft", &body);
    vec![
        of("asks for another merchant's payments", &spy, Expected::Outcome("answered"))
            .wants("'chain'")
            .table("grants = { chain = ['bsc'] }"),
        of("climbs out of its upstream", &climbs, Expected::Outcome("answered"))
            .wants("'http'")
            .table("grants = { http = { shop = { methods = ['GET'] } } }"),
        of("uses what nobody granted", &spy, Expected::Refused(&["plugins.subject.grants.chain"])).wants("'chain'"),
        of("uses what it does not ask for", &spy, Expected::Refused(&["wants.capabilities"]))
            .table("grants = { chain = ['bsc'] }"),
    ]
}

/// P6: what is no plugin, or not the one that was meant.
fn files() -> Vec<Row> {
    let with =
        |name, component, expected| Row { name, component, manifest: manifest("invoice-rules"), table: "", expected };
    let good = good().component();
    let half = good.get(..good.len() / 2).unwrap_or_default().to_vec();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 0x55;
    }
    let many: String = (0..100_000).map(|number| format!("(func (result i32) (i32.const {number}))")).collect();
    let wasi = "(component (import \"wasi:filesystem/types@0.2.0\" (instance)) )";
    let wasi = wat::parse_str(wasi).unwrap_or_default();
    vec![
        with("is no wasm", b"#!/bin/sh\nrm -rf /".to_vec(), Expected::Refused(&["not a component"])),
        with("is empty", Vec::new(), Expected::Refused(&["not a component"])),
        with("is cut short", half, Expected::Refused(&["not a component"])),
        with("is a module, no component", Guest::rules().core_module(), Expected::Refused(&["not a component"])),
        with("is machine code", machine_code(), Expected::Refused(&["subject.wasm"])),
        with("imports WASI", wasi, Expected::Refused(&["wasi:filesystem"])),
        with("serves another hook", Guest::format().component(), Expected::Refused(&["does not export"])),
        Row {
            manifest: manifest("webhook-format"),
            ..with(
                "says that it serves another hook",
                good.clone(),
                Expected::Refused(&["made for the hook webhook-format"]),
            )
        },
        Row {
            manifest: manifest("invoice-rules").replace(subject(), "../../etc/passwd"),
            ..with("has a name that climbs", good.clone(), Expected::Refused(&["id:"]))
        },
        Row {
            table: "sha256 = '0000000000000000000000000000000000000000000000000000000000000000'",
            ..with("is not the pinned one", good, Expected::Refused(&["sha256"]))
        },
        with("is larger than allowed", vec![0; 33 * 1_024 * 1_024], Expected::Refused(&["component_mib"])),
        of("has a hundred thousand functions", &Guest::rules().with(&many), Expected::Refused(&["100", "functions"])),
        of("memories without number", &Guest::rules().with(&"(memory 1)".repeat(9)), Expected::Refused(&["memor"])),
    ]
}

/// The head of an ELF file as the engine writes compiled code.
fn machine_code() -> Vec<u8> {
    let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 200, 0];
    head.resize(64, 0);
    head
}

//! What the host lends: the clock, the settings and the log.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use xthonpay_payments::port::hooks::DraftRuling;

use crate::bench::{Bench, NAME, plain, rules};
use crate::facts::{NOW, draft};
use xthonpay_tests::guest::Guest;

/// A place for the answer of a capability.
fn room(guest: &mut Guest) -> u32 {
    guest.bytes(&[0; 16])
}

async fn message(bench: &Bench) -> String {
    match rules(&bench.host().await).on_draft(&draft()).await.map(plain) {
        Ok(DraftRuling::Refuse { message, .. }) => message,
        other => unreachable!("no echo: {other:?}"),
    }
}

#[tokio::test]
async fn the_clock_stands_at_the_time_of_the_call() {
    let mut guest = Guest::rules().capability("clock");
    let accept = guest.accept(60, 0, "0", 0);
    let body = format!(
        "(if (i64.ne (call $now) (i64.load offset=16 (local.get $args))) (then unreachable))
         (if (i64.ne (call $now) (i64.const {})) (then unreachable))
         {accept}",
        NOW.as_millis()
    );
    let host = Bench::rules(&guest.function("on-draft", &body), "").host().await;
    assert!(matches!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(_))));
}

#[tokio::test]
async fn settings_are_the_operators_with_the_manifests_defaults() {
    for (key, value) in [("chosen", "7"), ("left", "blue"), ("parts", "a,b")] {
        let mut guest = Guest::rules().capability("config");
        let (key, room) = (guest.text(key), room(&mut guest));
        let echo = guest.echo(&format!("(i32.const {})", room + 4));
        let body =
            format!("(call $config_get (i32.const {}) (i32.const {}) (i32.const {room})) {echo}", key[0], key[1]);
        let bench = Bench::rules(&guest.function("on-draft", &body), "config = { chosen = 7, parts = ['a', 'b'] }");
        bench.extend_manifest(
            NAME,
            "[config]\nchosen = { type = 'integer', default = '1' }\n\
             left = { type = 'text', default = 'blue' }\nparts = { type = 'list' }",
        );
        assert_eq!(message(&bench).await, value);
    }
}

#[tokio::test]
async fn settings_are_listed_in_order() {
    let mut guest = Guest::rules().capability("config");
    let room = room(&mut guest);
    let echo = guest.echo(&format!("(i32.load (i32.const {room}))"));
    let body = format!(
        "(call $config_entries (i32.const {room}))
         (if (i32.ne (i32.load (i32.const {})) (i32.const 2)) (then unreachable)) {echo}",
        room + 4
    );
    let bench = Bench::rules(&guest.function("on-draft", &body), "");
    let lines = "[config]\nzeta = { type = 'text', default = 'z' }\nalpha = { type = 'text', default = 'a' }\n\
                 unset = { type = 'text' }";
    bench.extend_manifest(NAME, lines);
    assert_eq!(message(&bench).await, "alpha");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What a host logs while it answers a draft.
async fn logged(guest: &Guest) -> Vec<String> {
    let host = Bench::rules(guest, "").host().await;
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(kept.clone()).finish();
    let scope = tracing::subscriber::set_default(subscriber);
    assert!(matches!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(_))));
    drop(scope);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("is text").lines().map(str::to_owned).collect()
}

/// A guest that writes `text` as often as it is told to, then accepts.
fn writer(text: &str, times: u32) -> Guest {
    let mut guest = Guest::rules().capability("log");
    let (text, key, value) = (guest.text(text), guest.text("order"), guest.text("a\nb"));
    let field: Vec<u8> = [key, value].concat().iter().flat_map(|word| word.to_le_bytes()).collect();
    let (field, accept) = (guest.bytes(&field), guest.accept(60, 0, "0", 0));
    let write = format!(
        "(call $log (i32.const 2) (i32.const {}) (i32.const {}) (i32.const {field}) (i32.const 1))",
        text[0], text[1]
    );
    let body = format!(
        "(local $n i32)
         (loop $more {write}
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const {times}))))
         {accept}"
    );
    guest.function("on-draft", &body)
}

#[tokio::test(flavor = "current_thread")]
async fn lines_of_a_guest_are_one_line_each_and_say_where_they_come_from() {
    let lines = logged(&writer("hello\n2026-01-01 ERROR forged\u{1b}[0m", 1)).await;
    let [line] = &lines[..] else { unreachable!("one line: {lines:?}") };
    for word in
        [" WARN ", " plugin: ", "hello 2026-01-01 ERROR forged", "plugin=\"subject\"", "id=\"on-draft:", "order=a b"]
    {
        assert!(line.contains(word), "no `{word}` in {line:?}");
    }
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_flood_of_lines_is_cut_and_counted_and_ends_no_call() {
    let lines = logged(&writer(&"x".repeat(10_000), 300)).await;
    assert_eq!(lines.len(), 51, "50 lines and the count");
    assert!(lines.iter().all(|line| line.len() < 2_048 + 200), "a line is longer than its limit");
    let last = lines.last().expect("there are lines");
    assert!(last.contains("dropped=250"), "{last}");
}

//! What a plugin has to be before it serves, and what happens to a hook whose plugin is not.

use std::fs;
use std::path::Path;

use xthonpay_payments::port::hooks::{DraftRuling, Hooks as _, OnFailure};
use xthonpay_plugin_runtime::{About, Digest, Hook, LoadError, PluginReport, PluginState};

use crate::bench::{Bench, NAME, assert_failure, assert_words, format, plain, rules};
use crate::facts::{draft, event, review};
use xthonpay_tests::guest::{Guest, contract};

#[tokio::test]
async fn a_good_plugin_serves_and_is_reported() {
    let component = Guest::rules().component();
    let host = Bench::rules(&Guest::rules(), "").host().await;
    let about = About { name: "Guest".to_owned(), version: "1.2.3".to_owned(), notes: "for tests".to_owned() };
    let state = PluginState::Active { digest: Digest::of(&component), about, instead: None };
    assert_eq!(host.report(), [PluginReport { name: NAME.to_owned(), hook: Some(Hook::InvoiceRules), state }]);
    assert!(!host.is_degraded());
    assert!(matches!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(_))));
}

#[tokio::test]
async fn without_bindings_nothing_is_loaded() {
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.config.bindings.invoice_rules.clear();
    let host = bench.host().await;
    assert_eq!(host.report(), [PluginReport { name: NAME.to_owned(), hook: None, state: PluginState::Unbound }]);
    assert!(host.invoice_rules().is_empty());
    assert!(host.webhook_format().is_none());
}

#[tokio::test]
async fn a_plugin_that_is_not_loaded_fails_every_call_with_its_policy() {
    let mut bench = Bench::rules(&Guest::rules(), "on_failure = { on-draft = 'closed', on-payment = 'builtin' }");
    bench.add("other", "webhook-format", &Guest::format().component(), "on_failure = { render = 'hold' }");
    bench.config.bindings.webhook_format = Some("other".to_owned());
    for file in [NAME, "other"] {
        fs::remove_file(bench.path(&format!("{file}.wasm"))).expect("removes");
    }
    let host = bench.load().await.expect("the host starts without them");
    assert!(host.is_degraded());
    let failure = rules(&host).on_draft(&draft()).await.expect_err("not loaded");
    assert_failure(&failure, "on-draft", OnFailure::Closed, true, &["not loaded", "plugins.subject.file"]);
    let failure = rules(&host).on_payment(&review()).await.expect_err("not loaded");
    assert_failure(&failure, "on-payment", OnFailure::Builtin, true, &["not loaded"]);
    let failure = format(&host).render(&event(), "end_1").await.expect_err("not loaded");
    assert_eq!((failure.plugin.as_str(), failure.policy), ("other", OnFailure::Hold), "{failure}");
}

#[tokio::test]
async fn by_default_drafts_go_on_payments_wait_and_webhooks_are_plain() {
    let bench = Bench::rules(&Guest::rules(), "");
    fs::remove_file(bench.path("subject.wasm")).expect("removes");
    let host = bench.load().await.expect("the host starts without it");
    let failure = rules(&host).on_draft(&draft()).await.expect_err("not loaded");
    assert_failure(&failure, "on-draft", OnFailure::Builtin, true, &[]);
    let failure = rules(&host).on_payment(&review()).await.expect_err("not loaded");
    assert_failure(&failure, "on-payment", OnFailure::Hold, true, &[]);
}

#[tokio::test]
async fn refuses_files_that_are_no_components() {
    let component = Guest::rules().component();
    let machine_code = wasmtime::Engine::default().precompile_component(&component).expect("compiles");
    let flipped: Vec<u8> = component.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 4)).collect();
    for (bytes, words) in [
        (b"not wasm at all".to_vec(), "not a component"),
        (Vec::new(), "not a component"),
        (component[..component.len() / 2].to_vec(), "not a component"),
        (component[..8].to_vec(), "does not export"),
        (flipped, "not a component"),
        (Guest::rules().core_module(), "not a component"),
        (machine_code, "machine code"),
    ] {
        let bench = Bench::rules(&Guest::rules(), "");
        fs::write(bench.path("subject.wasm"), bytes).expect("writes");
        assert_words(&bench.refusal().await, &[words]);
    }
}

#[tokio::test]
async fn refuses_paths_that_are_no_files() {
    let bench = Bench::rules(&Guest::rules(), "");
    fs::remove_file(bench.path("subject.wasm")).expect("removes");
    assert_words(&bench.refusal().await, &["subject.wasm is missing", "correct plugins.subject.file"]);
    fs::create_dir(bench.path("subject.wasm")).expect("makes a folder");
    assert_words(&bench.refusal().await, &["is not a file", "Correct plugins.subject.file"]);
}

#[tokio::test]
async fn refuses_a_file_above_its_size() {
    let bench = Bench::rules(&Guest::rules(), "limits = { component_mib = 1 }");
    fs::write(bench.path("subject.wasm"), vec![0; 1_024 * 1_024 + 1]).expect("writes");
    assert_words(&bench.refusal().await, &["larger than 1 MiB", "raise plugins.subject.limits.component_mib"]);
}

#[tokio::test]
async fn checks_the_pinned_digest() {
    let digest = Digest::of(&Guest::rules().component());
    let pinned = format!("sha256 = '{digest}'");
    Bench::rules(&Guest::rules(), &pinned).host().await;
    Bench::rules(&Guest::rules(), &pinned.to_uppercase().replace("SHA256", "sha256")).host().await;
    let other = format!("sha256 = '{}'", Digest::of(b"other"));
    let refusal = Bench::rules(&Guest::rules(), &other).refusal().await;
    assert_words(&refusal, &[&digest.to_string(), "plugins.subject.sha256 asks for another"]);
}

#[tokio::test]
async fn refuses_manifests_that_do_not_fit() {
    const GOOD: &str = "id = 'subject'\nversion = '1.0.0'\ncontract = '0.1.0'\nworld = 'invoice-rules'\n";
    for (manifest, words) in [
        ("", "missing field `id`"),
        ("id = ", "line 1"),
        (&GOOD.replace("'subject'", "'somebody'"), "rename the table to [plugins.somebody]"),
        (&GOOD.replace("0.1.0", "0.2.0"), "this host serves 0.1.x"),
        (&GOOD.replace("invoice-rules", "webhook-format"), "bind it in hooks.webhook-format"),
        (&GOOD.replace("invoice-rules", "teleport"), "none of invoice-rules"),
        (&format!("{GOOD}colour = 'red'"), "unknown field `colour`"),
        (&format!("{GOOD}wants.capabilities = ['teleport']"), "there is no capability `teleport`"),
        (
            &format!("{GOOD}wants.capabilities = ['http']"),
            "plugins.subject.grants.http: the plugin wants `http` and is not granted it",
        ),
    ] {
        let bench = Bench::rules(&Guest::rules(), "");
        bench.manifest(NAME, manifest);
        assert_words(&bench.refusal().await, &[words]);
    }
    let bench = Bench::rules(&Guest::rules(), "");
    fs::remove_file(bench.path("subject.toml")).expect("removes");
    let path = bench.path("subject.toml").display().to_string();
    assert_words(&bench.refusal().await, &[&path, "is missing", "plugin.toml"]);
}

#[tokio::test]
async fn names_every_problem_of_the_configuration_at_once() {
    let table = "
        limits = { cpu_ms = 9999, memory_mib = 0 }
        grants = { http = true, teleport = {} }
        on_failure = { render = 'hold' }
        config = { wait_s = 'long', colour = 'red' }";
    let bench = Bench::rules(&Guest::rules(), table);
    bench.extend_manifest(NAME, "[config.wait_s]\ntype = 'integer'");
    let refusal = bench.refusal().await;
    assert_words(
        &refusal,
        &[
            "plugins.subject.limits.cpu_ms: 9999 is not between 5 and 2000",
            "plugins.subject.limits.memory_mib",
            "plugins.subject.grants.http: is not a table with an entry for each label",
            "plugins.subject.grants.teleport: there is no such capability",
            "plugins.subject.on_failure.render: belongs to webhook-format",
            "plugins.subject.config.wait_s: `long` is not an integer",
            "plugins.subject.config.colour: the plugin has no such setting",
        ],
    );
}

#[tokio::test]
async fn refuses_imports_beyond_the_contract() {
    let mut packages = contract();
    let wasi = "package wasi:cli@0.2.0; interface environment { initial-cwd: func() -> option<string>; }";
    packages.push_str("wasi.wit", wasi).expect("well formed");
    let other = "package shop:secrets@1.0.0; interface keys { read: func() -> u32; }";
    packages.push_str("shop.wit", other).expect("well formed");
    let guest = Guest::rules().import("wasi:cli/environment@0.2.0", "initial-cwd", "(func (param i32))").import(
        "shop:secrets/keys@1.0.0",
        "read",
        "(func (result i32))",
    );
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.add(NAME, "invoice-rules", &guest.component_of(&packages), "");
    let refusal = bench.refusal().await;
    assert_words(&refusal, &["wasi:cli/environment@0.2.0", "wasm32-unknown-unknown", "shop:secrets/keys@1.0.0"]);
}

#[tokio::test]
async fn refuses_capabilities_that_are_not_granted_or_not_asked_for() {
    let rates = "(func (param i32 i32 i32 i32 i32 i32))";
    let guest = Guest::rules().import("xthonpay:host/rates@0.1.0", "latest", rates);
    let not_asked = Bench::rules(&guest, "").refusal().await;
    assert_words(&not_asked, &["`rates`", "add \"rates\" to wants.capabilities"]);
    let bench = Bench::rules(&guest, "");
    bench.manifest(
        NAME,
        "id = 'subject'\nversion = '1'\ncontract = '0.1.0'\nworld = 'invoice-rules'\nwants.capabilities = ['rates']",
    );
    assert_words(&bench.refusal().await, &["plugins.subject.grants.rates", "is not granted it: add `rates = true`"]);

    let bench = Bench::rules(&Guest::rules().capability("clock"), "");
    bench.manifest(
        NAME,
        "id = 'subject'\nversion = '1'\ncontract = '0.1.0'\nworld = 'invoice-rules'\nwants.capabilities = ['log']",
    );
    assert_words(&bench.refusal().await, &["`clock`", "add \"clock\" to wants.capabilities"]);

    let guest = Guest::format().capability("clock");
    assert_words(&Bench::format(&guest, "").refusal().await, &["`clock`", "webhook-format does not offer"]);
}

#[tokio::test]
async fn refuses_a_component_of_another_world() {
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.add(NAME, "invoice-rules", &Guest::format().component(), "");
    let refusal = bench.refusal().await;
    assert_words(&refusal, &["does not export xthonpay:hooks/invoice-rules@0.1.0", "hooks.invoice-rules"]);
    let guest = Guest::rules().without_export("plugin");
    assert_words(&Bench::rules(&guest, "").refusal().await, &["does not export xthonpay:hooks/plugin@0.1.0"]);
}

#[tokio::test]
async fn refuses_an_export_of_another_type() {
    let plain =
        "package xthonpay:hooks@0.1.0; interface plugin { describe: func() -> u32; check-config: func() -> u32; }";
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let real = fs::read_to_string(contract.join("plugin.wit")).expect("reads");
    // Once in what all plugins export, once in the hook alone.
    for plugin in [plain, &real] {
        let mut packages = wit_parser::Resolve::default();
        packages.push_dir(contract.join("deps/host")).expect("parses");
        let hook = "interface invoice-rules { on-draft: func(it: u32) -> u32; on-payment: func(it: u32) -> u32; }";
        packages.push_str("hooks.wit", &format!("{plugin}\n{hook}")).expect("well formed");
        let mut bench = Bench::rules(&Guest::rules(), "");
        bench.add(NAME, "invoice-rules", &Guest::rules().component_of(&packages), "");
        assert_words(&bench.refusal().await, &["does not fit the contract 0.1", "Build it again"]);
    }
}

#[tokio::test]
async fn the_plugins_own_complaints_keep_it_from_loading() {
    let mut guest = Guest::rules();
    let (key, message) = (guest.text("wait_s"), guest.text("must be\nat least 60"));
    let complaint: Vec<u8> = [key, message, vec![0, 0]].concat().iter().flat_map(|word| word.to_le_bytes()).collect();
    let complaints = guest.bytes(&complaint.repeat(2));
    let answer = guest.words(&[1, complaints, 2]);
    let guest = guest.function("check-config", &answer);
    let refusal = Bench::rules(&guest, "").refusal().await;
    let line = "plugins.subject.config.wait_s: must be at least 60";
    assert_words(&refusal, &[&format!("{line}; {line}")]);
}

#[tokio::test]
async fn a_plugin_that_fails_its_rehearsal_is_not_loaded() {
    for (function, body, words) in [
        ("describe", "unreachable", ["describe failed", "unreachable"]),
        ("check-config", "(loop $for_ever (br $for_ever)) unreachable", ["check-config failed", "limits.cpu_ms"]),
        ("check-config", "(i32.const -8)", ["check-config failed", "boundary"]),
    ] {
        let guest = Guest::rules().function(function, body);
        assert_words(&Bench::rules(&guest, "").refusal().await, &words);
    }
}

#[tokio::test]
async fn what_a_plugin_says_about_itself_is_made_plain() {
    let mut guest = Guest::rules();
    let texts = ["Nice\n[ERROR] forged", "1.0\u{202e}", &"n".repeat(5_000)].map(|text| guest.text(text));
    let about = guest.words(&[texts.concat(), vec![0, 0]].concat());
    let host = Bench::rules(&guest.function("describe", &about), "").host().await;
    let [PluginReport { state: PluginState::Active { about, .. }, .. }] = &host.report()[..] else {
        unreachable!("one plugin is active")
    };
    assert_eq!((about.name.as_str(), about.version.as_str()), ("Nice [ERROR] forged", "1.0 "));
    assert!(about.notes.len() <= 300, "{}", about.notes.len());
}

#[tokio::test]
async fn a_required_plugin_that_does_not_load_refuses_the_start() {
    let bench = Bench::rules(&Guest::rules(), "required = true");
    bench.host().await;
    fs::remove_file(bench.path("subject.wasm")).expect("removes");
    let error = bench.load().await.err().expect("refuses");
    assert!(matches!(error, LoadError::Required { .. }), "{error}");
    assert_words(&error.to_string(), &["plugin subject, hook invoice-rules", "plugins.subject.required"]);
}

#[tokio::test]
async fn refuses_bindings_that_make_no_sense() {
    let refusal = async |change: fn(&mut Bench)| {
        let mut bench = Bench::rules(&Guest::rules(), "");
        change(&mut bench);
        bench.load().await.err().expect("refuses").to_string()
    };
    let text = refusal(|bench| bench.config.bindings.bot_flow = Some("nobody".to_owned())).await;
    assert_words(&text, &["hooks.bot-flow", "[plugins.nobody]"]);
    for add in [
        |bench: &mut Bench| bench.config.bindings.withdrawal_policy.extend((0..17).map(|number| format!("p{number}"))),
        |bench: &mut Bench| bench.config.bindings.invoice_rules.extend((0..17).map(|number| format!("p{number}"))),
    ] {
        assert_words(&refusal(add).await, &["plugins, more than 16"]);
    }
    let text = refusal(|bench| bench.config.bindings.webhook_format = Some("nobody".to_owned())).await;
    assert_words(&text, &["hooks.webhook-format", "[plugins.nobody]"]);
    let text = refusal(|bench| bench.config.bindings.invoice_rules.push(NAME.to_owned())).await;
    assert_words(&text, &["twice"]);
    let text = refusal(|bench| {
        bench.config.bindings.invoice_rules.clear();
        bench.config.plugins.values_mut().for_each(|plugin| plugin.required = true);
    });
    assert_words(&text.await, &["no hook names it"]);
}

#[tokio::test]
async fn compiled_code_is_kept_for_the_next_start() {
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.config.cache_dir = Some(bench.path("cache"));
    for _ in 0..2 {
        let host = bench.host().await;
        assert!(matches!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(_))));
    }
    let kept = fs::read_dir(bench.path("cache/modules")).expect("was made").count();
    assert!(kept > 0, "the cache is empty");
}

#[tokio::test]
async fn endpoints_choose_among_the_offered_formats_and_the_bound_one() {
    let mut bench = Bench::rules(&Guest::rules(), "");
    for name in ["bound", "offered", "broken", "apart"] {
        bench.add(name, "webhook-format", &Guest::format().component(), "");
    }
    bench.config.bindings.webhook_format = Some("bound".to_owned());
    bench.config.formats = ["offered", "bound", "broken"].map(|name| name.parse().expect("a name")).into();
    fs::remove_file(bench.path("broken.wasm")).expect("removes");
    let host = bench.load().await.expect("the host starts");
    let serves = async |name: &str| {
        let format = host.webhook_format_named(&name.parse().expect("a name"))?;
        Some(format.render(&event(), "end_1").await.is_ok())
    };
    for (name, expected) in [
        ("bound", Some(true)),
        ("offered", Some(true)),
        ("broken", Some(false)),
        ("apart", None),
        ("nobody", None),
        (NAME, None),
    ] {
        assert_eq!(serves(name).await, expected, "{name}");
    }
    let hooks: Vec<_> = host.report().into_iter().map(|report| (report.name, report.hook)).collect();
    let format = Some(Hook::WebhookFormat);
    let expected =
        [(NAME, Some(Hook::InvoiceRules)), ("bound", format), ("offered", format), ("broken", format), ("apart", None)];
    assert_eq!(hooks, expected.map(|(name, hook)| (name.to_owned(), hook)));
    assert!(host.is_degraded());
    // One that is offered can be exchanged like one that is bound.
    fs::write(bench.path("broken.wasm"), Guest::format().component()).expect("writes");
    host.reload("broken", &bench.config.plugins["broken"], false).await.expect("loads");
    assert_eq!(serves("broken").await, Some(true));
    assert!(!host.is_degraded());
}

#[tokio::test]
async fn offers_that_make_no_sense_stop_the_start() {
    let table = [
        (vec!["nobody"], "webhooks.formats names `nobody`, and there is no table"),
        (vec!["other", "other"], "webhooks.formats names `other` twice"),
        (vec!["other"; 17], "webhooks.formats names 17 plugins, more than 16"),
    ];
    for (formats, told) in table {
        let mut bench = Bench::rules(&Guest::rules(), "");
        bench.add("other", "webhook-format", &Guest::format().component(), "");
        bench.config.formats = formats.iter().map(|name| name.parse().expect("a name")).collect();
        let error = bench.load().await.err().expect("does not start");
        assert!(error.to_string().contains(told), "{error}");
        assert!(!error.is_transient());
    }
}

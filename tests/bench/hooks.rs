//! What a call of a plugin costs: through the port, in the plugin runtime of the host, with all its limits.
//!
//! A call is everything that the host does for one: a place, a fresh store, an instance, the values in, the guest's work, the
//! answer out and checked. The limit is the same code, compiled into this program and called on the SDK's bench.

mod facts;
mod languages;

use core::hint::black_box;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use default_rules::DefaultRules;
use tokio::task::JoinSet;
use tokio::time::Instant;
use xthon_json::XthonJson;
use xthonpay_payments::port::hooks::{DraftRuling, Hooks as _, InvoiceRules, WebhookFormat};
use xthonpay_payments::port::lending::Loans;
use xthonpay_plugin_runtime::{
    HookBindings, LimitsConfig, OnFailureConfig, PluginConfig, PluginHost, RuntimeConfig, Wasi,
};
use xthonpay_sdk::{InvoiceRules as _, WebhookFormat as _};
use xthonpay_tests::BoxError;
use xthonpay_tests::manual_clock::ManualClock;

use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, FORMAT, RULES};
use crate::samples::Samples;
use crate::tell;

/// Calls that are measured. The hundredth part, above the 99th percentile, is still made of hundreds of calls.
const CALLS: usize = if cfg!(debug_assertions) { 2_000 } else { 40_000 };
/// Calls before that: they fill the processor's caches and the allocator's lists.
const WARM_UP_CALLS: usize = CALLS / 10;
/// Callers of a busy host, on at least two cores; below the plugins' own limit of calls at once.
const CALLERS: usize = 4;

const P50_AIM: Aim = Aim::ValueAtMost(Thousandths::whole(60));
const P99_AIM: Aim = Aim::ValueAtMost(Thousandths::whole(500));

/// Runs the benchmark.
pub(crate) async fn run() -> Result<Report, BoxError> {
    let folder = parts::folder()?;
    tell("loading the plugins, first without and then with compiled code of an earlier start");
    let (host, cold) = load(folder.path()).await?;
    drop(host);
    let (host, warm) = load(folder.path()).await?;
    let rules = host.invoice_rules().into_iter().next().ok_or("no rules are bound")?;
    let format = host.webhook_format().ok_or("no format is bound")?;
    check_same_answers(rules.as_ref(), format.as_ref()).await?;

    let mut figures = on_draft(rules).await?;
    figures.extend(render(format).await?);
    figures.push(Figure::new("load_both_compiling", cold, "ms"));
    figures.push(Figure::new("load_both_from_cache", warm, "ms"));
    figures.extend(languages::run().await?);
    let method =
        format!("{CALLS} calls through the port, after {WARM_UP_CALLS}; baseline: the same code called natively");
    Ok(Report { bench: "hooks", method, figures })
}

/// The plugins as the host loads them, and the time that it took.
async fn load(cache: &Path) -> Result<(PluginHost, Thousandths), BoxError> {
    let folder = parts::plugins()?;
    let config = RuntimeConfig {
        plugins: [RULES, FORMAT].map(|name| (name.to_owned(), plugin(&folder, name))).into(),
        bindings: HookBindings {
            invoice_rules: vec![RULES.to_owned()],
            webhook_format: Some(FORMAT.to_owned()),
            ..HookBindings::default()
        },
        cache_dir: Some(cache.join("cache")),
        ..RuntimeConfig::default()
    };
    let started = Instant::now();
    let host = PluginHost::load(config, Arc::new(ManualClock::starting_at(facts::NOW)), Loans::default()).await?;
    Ok((host, Thousandths::millis(started.elapsed())))
}

fn plugin(folder: &Path, name: &str) -> PluginConfig {
    PluginConfig {
        file: folder.join(format!("{name}.wasm")),
        sha256: None,
        minisign: None,
        watch: false,
        shadow: None,
        config: BTreeMap::new(),
        grants: BTreeMap::new(),
        limits: LimitsConfig::default(),
        on_failure: OnFailureConfig::default(),
        // A plugin that does not load must not be measured as a failure policy.
        required: true,
        wasi: Wasi::default(),
    }
}

/// Both sides decide the same, or the comparison is worth nothing.
async fn check_same_answers(rules: &dyn InvoiceRules, format: &dyn WebhookFormat) -> Result<(), BoxError> {
    let DraftRuling::Accept(terms) = rules.on_draft(&facts::draft()?).await?.answer else {
        return Err("the plugin refuses the draft".into());
    };
    let draft = facts::native_draft();
    let ruling = facts::native_bench().run(|call| DefaultRules::on_draft(call, &draft));
    let Ok(xthonpay_sdk::DraftRuling::Accept(native)) = ruling else {
        return Err(format!("the native rules give another answer: {ruling:?}").into());
    };
    let (given, asked) = (terms.expires_in.as_secs(), u64::from(facts::REQUESTED_S));
    if given != asked || u64::from(native.expires_in_s) != asked {
        return Err(format!("{asked} s were asked for; plugin: {given} s, native: {} s", native.expires_in_s).into());
    }
    let rendered = format.render(&facts::event(), facts::TARGET).await?.ok_or("the plugin renders nothing")?;
    let event = facts::native_event();
    let native = facts::native_bench().run(|call| XthonJson::render(call, &event, facts::TARGET));
    match native {
        Ok(Some(native)) if native.body == rendered.body => Ok(()),
        other => Err(format!("plugin and native format give different bodies: {other:?}").into()),
    }
}

async fn on_draft(rules: Arc<dyn InvoiceRules>) -> Result<Vec<Figure>, BoxError> {
    let draft = Arc::new(facts::draft()?);
    let call = move || {
        let (rules, draft) = (Arc::clone(&rules), Arc::clone(&draft));
        async move {
            black_box(rules.on_draft(&draft).await?);
            Ok(())
        }
    };
    let (bench, native_draft) = (facts::native_bench(), facts::native_draft());
    let native = natively(|| drop(black_box(bench.run(|call| DefaultRules::on_draft(call, black_box(&native_draft))))));
    let (alone, together) = alone_and_together("on-draft", call).await?;
    let mut figures = figures("on_draft", &alone, &native);
    figures.iter_mut().zip([P50_AIM, P99_AIM]).for_each(|(figure, aim)| figure.aim = Some(aim));
    figures.extend(self::figures(&format!("on_draft_{CALLERS}_callers"), &together, &native));
    Ok(figures)
}

async fn render(format: Arc<dyn WebhookFormat>) -> Result<Vec<Figure>, BoxError> {
    let event = Arc::new(facts::event());
    let call = move || {
        let (format, event) = (Arc::clone(&format), Arc::clone(&event));
        async move {
            black_box(format.render(&event, facts::TARGET).await?);
            Ok(())
        }
    };
    let (bench, native_event) = (facts::native_bench(), facts::native_event());
    let native = natively(|| {
        drop(black_box(bench.run(|call| XthonJson::render(call, black_box(&native_event), facts::TARGET))))
    });
    let (alone, together) = alone_and_together("render", call).await?;
    let mut figures = figures("render", &alone, &native);
    figures.extend(self::figures(&format!("render_{CALLERS}_callers"), &together, &native));
    Ok(figures)
}

fn figures(name: &str, samples: &Samples, native: &Samples) -> Vec<Figure> {
    let figure = |percent: usize| {
        let [value, limit] = [samples, native].map(|samples| Thousandths::micros(samples.percentile(percent)));
        Figure::new(format!("{name}_p{percent}"), value, "us").beside(limit)
    };
    vec![figure(50), figure(99)]
}

/// The calls of one caller, then of several at once.
async fn alone_and_together<F, C>(name: &str, call: F) -> Result<(Samples, Samples), BoxError>
where
    F: Fn() -> C + Clone + Send + 'static,
    C: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    tell(&format!("{name}: one caller, then {CALLERS}"));
    calls(1, WARM_UP_CALLS, call.clone()).await?;
    let alone = calls(1, CALLS, call.clone()).await?;
    calls(CALLERS, WARM_UP_CALLS, call.clone()).await?;
    Ok((alone, calls(CALLERS, CALLS, call).await?))
}

/// Makes `count` calls, shared among callers. A caller is a task of its own, as a request of the host is.
async fn calls<F, C>(callers: usize, count: usize, call: F) -> Result<Samples, BoxError>
where
    F: Fn() -> C + Clone + Send + 'static,
    C: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let call = call.clone();
        tasks.spawn(async move {
            let mut durations = Vec::with_capacity(count / callers);
            for _ in 0..count / callers {
                let started = Instant::now();
                call().await?;
                durations.push(started.elapsed());
            }
            Ok::<_, BoxError>(durations)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(durations) = tasks.join_next().await {
        all.extend(durations??);
    }
    Ok(Samples::new(all))
}

/// The same number of calls of a function in this program.
fn natively(call: impl Fn()) -> Samples {
    (0..WARM_UP_CALLS).for_each(|_| call());
    let timed = |_| {
        let started = Instant::now();
        call();
        started.elapsed()
    };
    Samples::new((0..CALLS).map(timed).collect())
}

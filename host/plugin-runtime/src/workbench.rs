//! The runtime for those who write plugins: the same engine, linker, limits and checks as in a host, with calls that come from
//! files and loans that a file lays out.

mod fixture;
mod lent;
mod value;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::Instant;
use wasmtime::component::{Component, InstancePre, Val};
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::clock::Clock;

use crate::artefact::Digest;
use crate::capability::log::LogLine;
use crate::config::PluginConfig;
use crate::engine::{EngineError, Sandbox};
use crate::fault::{CallFault, PluginFault};
use crate::hook::{BotFlowHook, Hook, InvoiceRulesHook, Ready, Served, WebhookFormatHook, WithdrawalPolicyHook};
use crate::instance::{Call, CallState, Effects, Traces};
use crate::limits::Limit;
use crate::loader::{About, Loader};
use crate::manifest::{Manifest, ManifestFault};
use crate::policy::OnFailureConfig;
pub use fixture::{Fixture, FixtureError, Mismatch};
use lent::Lent;

/// Decimals with which amounts of answers are judged: those of USDT and BNB on BNB Smart Chain.
const DECIMALS: u8 = 18;

/// What a component is, without running it.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The id of its manifest.
    pub id: String,
    /// The hook that it serves.
    pub hook: Hook,
    /// The SHA-256 of the component.
    pub digest: Digest,
    /// Bytes of the component.
    pub bytes: u64,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// The capabilities that its manifest asks for.
    pub capabilities: Vec<String>,
    /// The labels that its manifest names, by capability.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Its settings with their defaults.
    pub settings: BTreeMap<String, Option<String>>,
    /// What it says about itself.
    pub about: Option<About>,
}

/// How one call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With an answer that the host takes: `{"ok": ...}` or `{"err": ...}`.
    Answer(Value),
    /// With a failure, in the words of the host.
    Failure {
        /// The word of its kind, as in metrics.
        kind: &'static str,
        /// What happened and what to change.
        text: String,
    },
}

/// What came of one call.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// How it ended.
    pub ending: Ending,
    /// What it logged.
    pub lines: Vec<LogLine>,
    /// What it would keep: label, key and value; a value that would be gone is `null`.
    pub kept: BTreeMap<String, BTreeMap<String, Value>>,
    /// Requests that it made: label, method and path.
    pub requests: Vec<(String, String, String)>,
    /// Making the instance.
    pub instantiate: Duration,
    /// The function itself, with what it was lent.
    pub call: Duration,
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Calls of capabilities.
    pub host_calls: usize,
}

/// Something that keeps a call from being made.
#[derive(Debug, Error)]
pub enum WorkbenchError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The plugin does not load.
    #[error(transparent)]
    Plugin(#[from] PluginFault),
    /// The file with the call.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
}

impl WorkbenchError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_transient(),
            Self::Plugin(fault) => fault.is_transient(),
            Self::Fixture(_) => false,
        }
    }
}

/// A place to load plugins and to call them.
pub struct Workbench {
    sandbox: Arc<Sandbox>,
}

/// The time that a file gives.
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A plugin that is loaded for one file.
pub struct Bench {
    ready: AnyReady,
    fixture: Fixture,
    lent: Arc<Lent>,
}

/// A loaded plugin of any hook.
enum AnyReady {
    Rules(Ready<InvoiceRulesHook>),
    Format(Ready<WebhookFormatHook>),
    Policy(Ready<WithdrawalPolicyHook>),
    Bot(Ready<BotFlowHook>),
}

impl Workbench {
    /// A workbench with compiled code kept in a folder, where one is given. Has to be made inside a tokio runtime.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn new(cache_dir: Option<&Path>) -> Result<Self, EngineError> {
        Ok(Self { sandbox: Arc::new(Sandbox::new(cache_dir)?) })
    }

    /// Looks at a component and its manifest, and asks it who it is.
    ///
    /// # Errors
    /// [`WorkbenchError`] when it does not load.
    pub async fn inspect(&self, component: &Path) -> Result<Inspection, WorkbenchError> {
        let (id, hook, manifest) = Manifest::peek(component).map_err(PluginFault::from)?;
        let bytes = std::fs::read(component).map_err(|source| unreadable(component, source))?;
        let (imports, exports) = self.names(component, &bytes);
        let about = match self.open(component, Fixture::empty()).await {
            Ok(bench) => Some(bench.about().clone()),
            Err(_) => None,
        };
        Ok(Inspection {
            id,
            hook,
            digest: Digest::of(&bytes),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            imports,
            exports,
            capabilities: manifest.wanted().capabilities.clone(),
            labels: manifest.wanted().labels.clone(),
            settings: manifest.config.iter().map(|(key, setting)| (key.clone(), setting.default_text())).collect(),
            about,
        })
    }

    /// The names of a component's imports and exports; none of what is no component.
    fn names(&self, _: &Path, bytes: &[u8]) -> (Vec<String>, Vec<String>) {
        let Ok(component) = Component::from_binary(&self.sandbox.engine, bytes) else { return Default::default() };
        let engine = &self.sandbox.engine;
        let ty = component.component_type();
        let imports = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
        (imports, ty.exports(engine).map(|(name, _)| name.to_owned()).collect())
    }

    /// Loads a plugin as a host would that grants all that its manifest and the file name.
    ///
    /// # Errors
    /// [`WorkbenchError`].
    pub async fn open(&self, component: &Path, fixture: Fixture) -> Result<Bench, WorkbenchError> {
        let (id, hook, manifest) = Manifest::peek(component).map_err(PluginFault::from)?;
        let lent = Arc::new(Lent::of(&fixture));
        let labels = &manifest.wanted().labels;
        let loader = Loader {
            sandbox: Arc::clone(&self.sandbox),
            clock: Arc::new(At(fixture.at)),
            tally: Arc::default(),
            loans: Arc::new(lent::loans(&lent, labels)),
            captures: Arc::default(),
            switches: Arc::default(),
            effects: Effects::Granted,
            loaded: Arc::default(),
        };
        let config = PluginConfig {
            file: component.to_owned(),
            sha256: None,
            minisign: None,
            watch: false,
            shadow: None,
            config: fixture.config.clone(),
            grants: grants(&manifest, &fixture),
            limits: fixture.limits.clone(),
            on_failure: OnFailureConfig::default(),
            required: false,
            wasi: manifest.wanted().wasi,
        };
        let ready = match hook {
            Hook::InvoiceRules => AnyReady::Rules(loader.load(&id, &config).await?),
            Hook::WebhookFormat => AnyReady::Format(loader.load(&id, &config).await?),
            Hook::WithdrawalPolicy => AnyReady::Policy(loader.load(&id, &config).await?),
            Hook::BotFlow => AnyReady::Bot(loader.load(&id, &config).await?),
        };
        Ok(Bench { ready, fixture, lent })
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> PluginFault {
    ManifestFault::Io { path: path.to_owned(), source }.into()
}

/// Grants for all that the manifest asks for, and the labels that the file lays something out for.
fn grants(manifest: &Manifest, fixture: &Fixture) -> BTreeMap<String, toml::Value> {
    let wanted = manifest.wanted();
    let labels = |capability: &str, laid_out: Vec<String>| -> BTreeSet<String> {
        wanted.labels.get(capability).into_iter().flatten().cloned().chain(laid_out).collect()
    };
    let table = |labels: BTreeSet<String>, grant: &str| {
        let entry: toml::Value = toml::from_str::<toml::Table>(grant).map(toml::Value::Table).expect("written here");
        toml::Value::Table(labels.into_iter().map(|label| (label, entry.clone())).collect())
    };
    let mut grants = BTreeMap::new();
    for word in &wanted.capabilities {
        let grant = match word.as_str() {
            "storage" => table(labels(word, fixture.storage.keys().cloned().collect()), ""),
            "http" => table(
                labels(word, fixture.http.keys().cloned().collect()),
                "methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']\nper_minute = 60000",
            ),
            "signing" => {
                let mut signers = toml::Table::new();
                for label in labels(word, fixture.signing.keys().cloned().collect()) {
                    let purposes = fixture.signing.get(&label).cloned().unwrap_or_else(|| vec!["receipt".to_owned()]);
                    let mut entry = toml::Table::new();
                    entry.insert("purposes".to_owned(), purposes.into());
                    entry.insert("per_minute".to_owned(), 60_000.into());
                    signers.insert(label, entry.into());
                }
                toml::Value::Table(signers)
            }
            "chain" => {
                let names: Vec<String> = fixture.chain.keys().cloned().collect();
                let names = if names.is_empty() { vec![lent::CHAIN.to_owned()] } else { names };
                names.into()
            }
            "rates" => toml::Value::Boolean(true),
            _ => continue,
        };
        grants.insert(word.clone(), grant);
    }
    grants
}

impl Bench {
    /// What the plugin says about itself.
    #[must_use]
    pub fn about(&self) -> &About {
        match &self.ready {
            AnyReady::Rules(ready) => &ready.about,
            AnyReady::Format(ready) => &ready.about,
            AnyReady::Policy(ready) => &ready.about,
            AnyReady::Bot(ready) => &ready.about,
        }
    }

    /// Makes the call of the file once.
    ///
    /// # Errors
    /// [`FixtureError`] when the file's values do not fit the function.
    pub async fn call(&self) -> Result<CallReport, FixtureError> {
        match &self.ready {
            AnyReady::Rules(ready) => self.call_of(ready).await,
            AnyReady::Format(ready) => self.call_of(ready).await,
            AnyReady::Policy(ready) => self.call_of(ready).await,
            AnyReady::Bot(ready) => self.call_of(ready).await,
        }
    }

    async fn call_of<H: Served>(&self, ready: &Ready<H>) -> Result<CallReport, FixtureError> {
        let fixture = &self.fixture;
        let known = H::FUNCTIONS.iter().find(|name| **name == fixture.function);
        let unknown = || FixtureError::Function { function: fixture.function.clone(), known: H::FUNCTIONS.join(", ") };
        let function: &'static str = known.ok_or_else(unknown)?;
        self.lent.rewind(fixture);
        let id = format!("{function}:fixture");
        let call = Call { function, id: id.clone(), at: fixture.at, merchant: fixture.merchant.clone() };
        let info = json!({
            "call-id": id,
            "merchant-id": fixture.merchant.as_ref().map(ToString::to_string).unwrap_or_default(),
            "at": fixture.at.as_millis(),
            "attempt": fixture.attempt,
            "attrs": [],
        });
        let input_kib = ready.runner.profile().limits.kib(Limit::InputKib);
        let input_bytes = value::json_bytes(&fixture.input);
        let linked = H::linked(&ready.linked).clone();
        let (interface, input) = (format!("xthonpay:hooks/{}@0.1.0", H::HOOK), fixture.input.clone());
        let (ended, traces) = ready
            .runner
            .run_traced(call, move |store| Box::pin(called(store, linked, interface, function, info, input)))
            .await;
        let (ending, times) = match ended {
            Ok(Err(problem)) => return Err(problem),
            Ok(Ok(done)) if input_bytes > input_kib => (
                failure(&ready.runner.fault(crate::meter::LimitHit {
                    limit: Limit::InputKib,
                    used: u64::try_from(input_bytes.div_ceil(1_024)).ok(),
                })),
                done.times,
            ),
            Ok(Ok(done)) => (
                judged::<H>(function, &done, ready.runner.profile().limits.kib(Limit::OutputKib), &ready.runner),
                done.times,
            ),
            Err(fault) => (failure(&fault), (Duration::ZERO, Duration::ZERO)),
        };
        Ok(self.report(ending, times, traces))
    }

    fn report(&self, ending: Ending, (instantiate, call): (Duration, Duration), traces: Traces) -> CallReport {
        let mut kept: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        // What a failed call wrote is not kept.
        if matches!(&ending, Ending::Answer(answer) if answer.get("ok").is_some()) {
            for write in &traces.writes {
                let value = write.becomes.as_ref().map_or(Value::Null, |item| value::bytes_shown(&item.value));
                kept.entry(write.space.label.to_string()).or_default().insert(write.key.to_string(), value);
            }
        }
        let Traces { noted, host_calls, used, .. } = traces;
        let lines = noted.lines;
        let memory_bytes = used.memory_bytes;
        let requests = self.lent.requests();
        CallReport { ending, lines, kept, requests, instantiate, call, memory_bytes, host_calls }
    }
}

/// A call that was carried out.
struct Done {
    /// As it is shown.
    answer: Value,
    /// As the generated types read it; `None` of an `err`.
    typed: Option<Value>,
    /// Bytes of its texts.
    bytes: usize,
    times: (Duration, Duration),
}

/// Makes an instance and calls the function with values made of JSON.
async fn called(
    store: &mut wasmtime::Store<CallState>,
    linked: InstancePre<CallState>,
    interface: String,
    function: &'static str,
    info: Value,
    input: Value,
) -> wasmtime::Result<Result<Done, FixtureError>> {
    let started = Instant::now();
    let instance = linked.instantiate_async(&mut *store).await?;
    store.data_mut().usage.instantiated();
    let instantiated = started.elapsed();
    let missing = || wasmtime::Error::msg(format!("no export {interface}#{function}"));
    let outer = instance.get_export_index(&mut *store, None, &interface).ok_or_else(missing)?;
    let inner = instance.get_export_index(&mut *store, Some(&outer), function).ok_or_else(missing)?;
    let func = instance.get_func(&mut *store, inner).ok_or_else(missing)?;
    let ty = func.ty(&mut *store);
    let mut arguments = Vec::new();
    let mut known = BTreeSet::new();
    for (position, (name, ty)) in ty.params().enumerate() {
        let given = if position == 0 { Some(&info) } else { input.get(name) };
        known.insert(name.to_owned());
        match value::to_val(given, &ty, name) {
            Ok(value) => arguments.push(value),
            Err(problem) => return Ok(Err(problem)),
        }
    }
    if let Some(stray) =
        input.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known.contains(*name))
    {
        let parameters = known.into_iter().skip(1).collect::<Vec<_>>().join(", ");
        return Ok(Err(FixtureError::Value {
            place: format!("input.{stray}"),
            reason: format!("{function} has no such parameter; it has {parameters}"),
        }));
    }
    let mut results = vec![Val::Bool(false)];
    // Each byte of a body is a value of its own here, and one byte in the types of the host. What an answer may hold is
    // checked behind it; a capability is lent more at once than in the host.
    let crossing = store.hostcall_fuel().saturating_mul(size_of::<Val>());
    store.set_hostcall_fuel(crossing);
    let started = Instant::now();
    func.call_async(&mut *store, &arguments, &mut results).await?;
    let times = (instantiated, started.elapsed());
    let answer = results.first().map_or(Value::Null, value::shown);
    let typed = match results.first() {
        Some(Val::Result(Ok(Some(answer)))) => Some(value::typed(answer)),
        _ => None,
    };
    let bytes = results.first().map_or(0, value::bytes);
    Ok(Ok(Done { answer, typed, bytes, times }))
}

/// The answer, unless the host would not take it.
fn judged<H: Served>(function: &str, done: &Done, output_bytes: usize, runner: &crate::instance::Runner) -> Ending {
    let Some(typed) = &done.typed else { return Ending::Answer(done.answer.clone()) };
    if done.bytes > output_bytes {
        let used = u64::try_from(done.bytes.div_ceil(1_024)).ok();
        return failure(&runner.fault(crate::meter::LimitHit { limit: Limit::OutputKib, used }));
    }
    let decimals = Decimals::new(DECIMALS).expect("18 decimals fit");
    match H::judge(function, typed.clone(), decimals) {
        Ok(()) => Ending::Answer(done.answer.clone()),
        Err(fault) => failure(&fault),
    }
}

fn failure(fault: &CallFault) -> Ending {
    Ending::Failure { kind: fault.outcome().name(), text: fault.to_string() }
}

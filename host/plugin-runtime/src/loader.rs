//! From a table of the configuration to a bound plugin: manifest, checks, component, links, and a rehearsal.
//!
//! Every step refuses with what the operator has to do. Nothing of a plugin that fails a step is kept but the reason.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};
use wasmtime::component::{Component, InstancePre, Linker};
use xthonpay_payments::hook_tally::{FunctionTally, HookTally};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::lending::Loans;

use crate::artefact::{Artefact, ArtefactFault, Proof, require_file};
use crate::bindings::base::{Base, BasePre};
use crate::breaker::Breaker;
use crate::capability::{self, wasi};
use crate::capture::Captures;
use crate::config::{PluginConfig, ShadowConfig, Wasi};
use crate::engine::Sandbox;
use crate::fault::{PluginFault, Problem, plugin_key};
use crate::grant::Permitted;
use crate::hook::{Bound, Hook, Ready, Served, State};
use crate::instance::{Call, CallState, Effects, Profile, Runner};
use crate::limits::Limits;
use crate::loan::Borrowed;
use crate::manifest::Manifest;
use crate::plain_text::one_line;
use crate::policy::{self, Policies};
use crate::settings::Settings;
use crate::shadow::Shadow;
use crate::switch::Switches;

/// How long compiling may take: the largest components of Python need about ten seconds. A compilation that takes longer is
/// given up; its thread ends by itself.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(120);

/// Bytes that are kept of each text in which a plugin describes itself, and of each of its complaints.
const TEXT_BYTES_MAX: usize = 300;

/// Complaints of `check-config` that are shown.
const COMPLAINTS_MAX: usize = 32;

/// The functions of the interface `plugin`.
const DESCRIBE: &str = "describe";
const CHECK_CONFIG: &str = "check-config";

/// What a plugin says about itself. One line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name for people.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it does; may be empty.
    pub notes: String,
}

/// Loads plugins into one sandbox.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tally: Arc<HookTally>,
    /// What there is to lend.
    pub(crate) loans: Arc<Loans>,
    /// The last failures of each plugin.
    pub(crate) captures: Arc<Captures>,
    /// What is switched off.
    pub(crate) switches: Arc<Switches>,
    /// Whether what a plugin does has effects.
    pub(crate) effects: Effects,
    /// Plugins that were loaded so far.
    pub(crate) loaded: Arc<AtomicU64>,
}

impl Loader {
    /// A bound plugin, whether it could be loaded or not; with the fault if it could not.
    pub(crate) async fn bind<H: Served>(&self, name: &str, config: &PluginConfig) -> (Bound<H>, Option<PluginFault>) {
        let (state, fault) = match self.load::<H>(name, config).await {
            Ok(ready) => {
                info!(plugin = name, hook = %H::HOOK, digest = %ready.digest, version = ready.about.version, "plugin loaded");
                (State::Ready(Box::new(ready)), None)
            }
            Err(fault) => {
                error!(plugin = name, hook = %H::HOOK, %fault, "plugin not loaded; its failure policy applies");
                (State::Failed(fault.to_string()), Some(fault))
            }
        };
        let shadow = self.shadow::<H>(name, config).await;
        let policies = Policies::from(config.on_failure);
        let bound = Bound {
            name: name.to_owned(),
            policies,
            clock: Arc::clone(&self.clock),
            tallies: self.tallies::<H>(name),
            captures: self.captures.of(name),
            switch: self.switches.of(name),
            shadow,
            instead: None,
            state,
        };
        (bound, fault)
    }

    /// What is counted about each function of a hook, under a name.
    fn tallies<H: Served>(&self, name: &str) -> BTreeMap<&'static str, Arc<FunctionTally>> {
        H::FUNCTIONS.iter().map(|function| (*function, self.tally.of(name, function))).collect()
    }

    /// The candidate that the operator named beside a plugin. One that does not load disturbs nobody.
    async fn shadow<H: Served>(&self, name: &str, config: &PluginConfig) -> Option<Shadow<H>> {
        let ShadowConfig { file, sha256, minisign } = config.shadow.clone()?;
        let minisign = minisign.or_else(|| config.minisign.clone());
        let candidate = PluginConfig { file, sha256, minisign, shadow: None, ..config.clone() };
        let loader = Self { effects: Effects::None, ..self.clone() };
        let loaded = loader.load::<H>(name, &candidate).await.map_err(|fault| fault.to_string());
        match &loaded {
            Ok(ready) => {
                info!(plugin = name, digest = %ready.digest, "candidate loaded; its answers are only compared")
            }
            Err(fault) => warn!(plugin = name, fault, "candidate not loaded"),
        }
        Some(Shadow::new(loaded, self.tallies::<H>(&format!("{name}:shadow"))))
    }

    pub(crate) async fn load<H: Served>(&self, name: &str, config: &PluginConfig) -> Result<Ready<H>, PluginFault> {
        require_file(name, &config.file)?;
        let manifest = Manifest::read(&config.file, name, H::HOOK)?;
        let mut problems = Vec::new();
        let limits = Limits::resolve(name, H::HOOK, &config.limits, &mut problems);
        let settings = Settings::resolve(name, &manifest.config, &config.config, &mut problems);
        let borrowed = Borrowed::resolve(name, &config.grants, &self.loans, &mut problems);
        let permitted = Permitted::resolve(name, H::HOOK, manifest.wanted(), &config.grants, &borrowed, &mut problems);
        if manifest.wanted().wasi == Wasi::Minimal && config.wasi == Wasi::None {
            let message = "the plugin wants `minimal` and is not granted it: set it, or bind another plugin".to_owned();
            problems.push(Problem { key: plugin_key(name, "wasi"), message });
        }
        policy::check(name, H::HOOK, &config.on_failure, &mut problems);
        if !problems.is_empty() {
            return Err(PluginFault::Config(problems));
        }
        if !permitted.unused.is_empty() {
            warn!(plugin = name, grants = ?permitted.unused, "granted and not asked for by the plugin; not linked");
        }
        let Artefact { component, digest } = self.compile(name, config, &limits).await?;
        let linked = self.link(&component, &permitted, name, manifest.wanted().wasi)?;
        check_exports(&component, H::HOOK)?;
        let effects = self.effects;
        let runner = |settings, limits, borrowed| {
            let name = name.to_owned();
            Runner::new(Arc::clone(&self.sandbox), Profile { name, settings, limits, borrowed, effects })
        };
        // What is asked before a plugin serves needs no capability but its settings and the log.
        let rehearsal = runner(settings.clone(), limits.clone().patient(), Borrowed::nothing(name));
        let about = self.describe::<H>(&rehearsal, linked.clone()).await?;
        self.check_config(&rehearsal, linked.clone()).await?;
        let runner = runner(settings, limits, borrowed);
        let linked = H::find_exports(linked).map_err(|error| mismatch(&error))?;
        let now = Instant::now();
        let breakers = H::FUNCTIONS.iter().map(|function| (*function, Breaker::new(now))).collect();
        let generation = self.loaded.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Ok(Ready { runner, linked, digest, generation, about, wants: manifest.wanted().clone(), breakers })
    }

    async fn compile(&self, name: &str, config: &PluginConfig, limits: &Limits) -> Result<Artefact, PluginFault> {
        let (engine, plugin, limits) = (self.sandbox.engine.clone(), name.to_owned(), limits.clone());
        let path = config.file.clone();
        let proof = Proof { sha256: config.sha256, minisign: config.minisign.clone() };
        let task = spawn_blocking(move || Artefact::load(&engine, &plugin, &path, &proof, &limits));
        match timeout(COMPILE_TIME_MAX, task).await {
            Ok(Ok(artefact)) => Ok(artefact?),
            Ok(Err(_)) => {
                let detail = "the compiler gave up on it".to_owned();
                Err(ArtefactFault::NotAComponent { path: config.file.clone(), detail }.into())
            }
            Err(_) => {
                Err(ArtefactFault::TooSlow { path: config.file.clone(), seconds: COMPILE_TIME_MAX.as_secs() }.into())
            }
        }
    }

    /// Links exactly the capabilities that the component imports, each of which has to be permitted.
    fn link(
        &self,
        component: &Component,
        permitted: &Permitted,
        name: &str,
        wasi: Wasi,
    ) -> Result<InstancePre<CallState>, PluginFault> {
        let engine = &self.sandbox.engine;
        let mut linker = Linker::new(engine);
        let mut refused = Vec::new();
        for (import, _) in component.component_type().imports(engine) {
            let import = one_line(import, TEXT_BYTES_MAX);
            if wasi::is_wasi(&import) {
                match wasi::admit(&import, name, wasi) {
                    Ok(()) => wasi::link(&import, &mut linker).map_err(|error| mismatch(&error))?,
                    Err(refusal) => refused.push(refusal),
                }
                continue;
            }
            let linked = match permitted.admit(&import) {
                Ok(Some(capability)) => capability::link(capability, &mut linker),
                Ok(None) => capability::link_types(&mut linker),
                Err(refusal) => {
                    refused.push(refusal);
                    Ok(())
                }
            };
            linked.map_err(|error| mismatch(&error))?;
        }
        if !refused.is_empty() {
            return Err(PluginFault::Imports(refused));
        }
        if wasi == Wasi::Minimal {
            // All imports are admitted by now: what is left are functions of WASI that no plugin has a use for.
            linker.define_unknown_imports_as_traps(component).map_err(|error| mismatch(&error))?;
        }
        linker.instantiate_pre(component).map_err(|error| mismatch(&error))
    }

    /// Makes an instance that is thrown away, checks the types of its exports, and asks it who it is.
    async fn describe<H: Served>(&self, runner: &Runner, linked: InstancePre<CallState>) -> Result<About, PluginFault> {
        let about = runner.run(self.call(DESCRIBE), move |store| {
            Box::pin(async move {
                let instance = linked.instantiate_async(&mut *store).await?;
                let typed = Base::new(&mut *store, &instance)
                    .and_then(|base| H::check_types(&mut *store, &instance).map(|()| base));
                match typed {
                    Ok(base) => base.xthonpay_hooks_plugin().call_describe(store).await.map(Ok),
                    // Not a failure of the call: the plugin was built for something else.
                    Err(error) => Ok(Err(mismatch(&error))),
                }
            })
        });
        let about = about.await.map_err(|fault| PluginFault::Rehearsal { function: DESCRIBE, fault })??;
        let line = |text: &str| one_line(text, TEXT_BYTES_MAX);
        Ok(About { name: line(&about.name), version: line(&about.version), notes: line(&about.notes) })
    }

    /// Asks the plugin, in another instance that is thrown away, whether it can work with its settings.
    async fn check_config(&self, runner: &Runner, linked: InstancePre<CallState>) -> Result<(), PluginFault> {
        let linked = BasePre::new(linked).map_err(|error| mismatch(&error))?;
        let answer = runner.run(self.call(CHECK_CONFIG), move |store| {
            Box::pin(async move {
                let base = linked.instantiate_async(&mut *store).await?;
                base.xthonpay_hooks_plugin().call_check_config(store).await
            })
        });
        let answer = answer.await.map_err(|fault| PluginFault::Rehearsal { function: CHECK_CONFIG, fault })?;
        let plugin = &runner.profile().name;
        answer.map_err(|complaints| {
            let problems = complaints.iter().take(COMPLAINTS_MAX).map(|found| Problem {
                key: setting_key(plugin, &found.key),
                message: one_line(&found.message, TEXT_BYTES_MAX),
            });
            PluginFault::Config(problems.collect())
        })
    }

    fn call(&self, function: &'static str) -> Call {
        Call { function, id: function.to_owned(), at: self.clock.now(), merchant: None }
    }
}

/// The key of a complaint; the plugin itself names only the setting.
fn setting_key(plugin: &str, key: &str) -> String {
    if key.is_empty() {
        return plugin_key(plugin, "config");
    }
    plugin_key(plugin, &format!("config.{}", one_line(key, TEXT_BYTES_MAX)))
}

/// Whether the component exports what a plugin of the hook exports. Their types are checked later.
fn check_exports(component: &Component, hook: Hook) -> Result<(), PluginFault> {
    let needed = ["plugin", hook.name()].map(|interface| format!("xthonpay:hooks/{interface}@0.1.0"));
    let missing: Vec<_> = needed.into_iter().filter(|name| component.get_export_index(None, name).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(PluginFault::ExportsMissing { hook, missing }) }
}

fn mismatch(error: &wasmtime::Error) -> PluginFault {
    PluginFault::TypeMismatch { detail: one_line(&format!("{error:#}"), TEXT_BYTES_MAX) }
}

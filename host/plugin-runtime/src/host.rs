//! The plugins of a host: the bound set behind the port, and what is known about each.
//!
//! The set stands behind one pointer. Calls that began before an exchange end with the plugin that they began with.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tracing::warn;
use xthonpay_domain::text::PluginName;
use xthonpay_payments::hook_tally::HookTally;
use xthonpay_payments::plugin_standing::PluginStanding;
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::hooks::{Hooks, InvoiceRules, WebhookFormat, WithdrawalPolicy};
use xthonpay_payments::port::lending::Loans;

use crate::capture::Capture;
use crate::config::{PluginConfig, RuntimeConfig};
use crate::engine::{EngineError, Sandbox};
use crate::fault::PluginFault;
use crate::hook::{BotFlowHook, Bound, Hook, InvoiceRulesHook, Served, State, WebhookFormatHook, WithdrawalPolicyHook};
use crate::instance::Effects;
use crate::loader::Loader;
use crate::report::{PluginDetails, PluginReport, PluginState, Told};
use crate::switch::Switches;

/// Plugins that may be chained. Every draft waits for all rules, and every withdrawal for all policies.
const CHAIN_MAX: usize = 16;

/// Formats that endpoints may choose from. Each is a plugin in memory.
const FORMATS_MAX: usize = 16;

/// A host that cannot start with these plugins.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A hook names a plugin that has no table.
    #[error("hooks.{hook} names `{plugin}`, and there is no table [plugins.{plugin}]: add it, or correct the name")]
    NotConfigured {
        /// The hook.
        hook: Hook,
        /// The plugin.
        plugin: String,
    },
    /// A hook names a plugin twice.
    #[error("hooks.{hook} names `{plugin}` twice: remove one")]
    BoundTwice {
        /// The hook.
        hook: Hook,
        /// The plugin.
        plugin: String,
    },
    /// A format that endpoints may choose has no table.
    #[error("webhooks.formats names `{plugin}`, and there is no table [plugins.{plugin}]: add it, or correct the name")]
    FormatNotConfigured {
        /// The plugin.
        plugin: String,
    },
    /// A format that endpoints may choose is there twice.
    #[error("webhooks.formats names `{plugin}` twice: remove one")]
    FormatTwice {
        /// The plugin.
        plugin: String,
    },
    /// Too many formats to choose from.
    #[error("webhooks.formats names {count} plugins, more than {FORMATS_MAX}: remove some")]
    TooManyFormats {
        /// How many.
        count: usize,
    },
    /// Too many plugins in a chain.
    #[error("hooks.{hook} names {count} plugins, more than {CHAIN_MAX}: remove some")]
    ChainTooLong {
        /// The hook.
        hook: Hook,
        /// How many.
        count: usize,
    },
    /// A required plugin did not load.
    #[error("plugin {plugin}, hook {hook}: it is required (plugins.{plugin}.required) and did not load: {fault}")]
    Required {
        /// The plugin.
        plugin: String,
        /// The hook.
        hook: Hook,
        /// Why.
        #[source]
        fault: Box<PluginFault>,
    },
    /// A required plugin serves no hook.
    #[error(
        "plugin {plugin} is required (plugins.{plugin}.required), and no hook names it: bind it, or remove `required`"
    )]
    RequiredUnbound {
        /// The plugin.
        plugin: String,
    },
}

impl LoadError {
    /// Whether the same start may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_transient(),
            Self::Required { fault, .. } => fault.is_transient(),
            Self::NotConfigured { .. }
            | Self::BoundTwice { .. }
            | Self::FormatNotConfigured { .. }
            | Self::FormatTwice { .. }
            | Self::TooManyFormats { .. }
            | Self::ChainTooLong { .. }
            | Self::RequiredUnbound { .. } => false,
        }
    }
}

/// A plugin that was not exchanged. The one that served before serves on.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// No hook names it.
    #[error("no hook names the plugin `{plugin}`")]
    NotBound {
        /// The plugin.
        plugin: String,
    },
    /// The candidate asks for more than the one that serves.
    #[error(
        "plugin {plugin}: the new version asks for more than the old one, which serves on: {}. All of it is granted in the \
         config; repeat with `--accept` if you want it", .added.join(", ")
    )]
    WantsMore {
        /// The plugin.
        plugin: String,
        /// Capabilities, and labels as `capability.label`.
        added: Vec<String>,
    },
    /// The candidate did not load.
    #[error("plugin {plugin}, hook {hook}: the new version did not load, and the old one serves on: {fault}")]
    Refused {
        /// The plugin.
        plugin: String,
        /// The hook.
        hook: Hook,
        /// Why.
        #[source]
        fault: Box<PluginFault>,
    },
}

impl ReloadError {
    /// Whether the same exchange may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotBound { .. } | Self::WantsMore { .. } => false,
            Self::Refused { fault, .. } => fault.is_transient(),
        }
    }
}

/// What an exchange changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// What the new version asks for and the old one did not: capabilities, and labels as `capability.label`.
    pub wants_added: Vec<String>,
    /// The reverse.
    pub wants_removed: Vec<String>,
}

/// The bound plugins. Exchanged as a whole.
#[derive(Clone, Default)]
struct Set {
    rules: Vec<Arc<Bound<InvoiceRulesHook>>>,
    format: Option<Arc<Bound<WebhookFormatHook>>>,
    /// What endpoints may choose besides the bound format.
    formats: Vec<Arc<Bound<WebhookFormatHook>>>,
    policies: Vec<Arc<Bound<WithdrawalPolicyHook>>>,
    bot: Option<Arc<Bound<BotFlowHook>>>,
}

/// The plugins of a host.
pub struct PluginHost {
    loader: Loader,
    set: ArcSwap<Set>,
    /// Configured plugins that no hook names.
    unbound: BTreeSet<String>,
}

impl PluginHost {
    /// Loads the plugins that the configuration binds. Has to be called inside a tokio runtime.
    ///
    /// A plugin that does not load is reported and its hook uses its failure policy, unless the plugin is required.
    ///
    /// # Errors
    /// [`LoadError`] for bindings that make no sense, a required plugin that does not load, and an engine that cannot be
    /// set up.
    pub async fn load(config: RuntimeConfig, clock: Arc<dyn Clock>, loans: Loans) -> Result<Self, LoadError> {
        let unbound = check_bindings(&config)?;
        let sandbox = Arc::new(Sandbox::new(config.cache_dir.as_deref())?);
        let loader = Loader {
            sandbox,
            clock,
            tally: Arc::default(),
            loans: Arc::new(loans),
            captures: Arc::default(),
            switches: Arc::new(Switches::with_off(&config.switched_off)),
            effects: Effects::Granted,
            loaded: Arc::default(),
        };
        let mut set = Set::default();
        for name in &config.bindings.invoice_rules {
            set.rules.push(bind(&loader, name, &config).await?);
        }
        if let Some(name) = &config.bindings.webhook_format {
            set.format = Some(bind(&loader, name, &config).await?);
        }
        let is_bound = |name: &str| config.bindings.webhook_format.as_deref() == Some(name);
        for name in config.formats.iter().map(PluginName::as_str).filter(|name| !is_bound(name)) {
            set.formats.push(bind(&loader, name, &config).await?);
        }
        for name in &config.bindings.withdrawal_policy {
            set.policies.push(bind(&loader, name, &config).await?);
        }
        if let Some(name) = &config.bindings.bot_flow {
            set.bot = Some(bind(&loader, name, &config).await?);
        }
        Ok(Self { loader, set: ArcSwap::from_pointee(set), unbound })
    }

    /// Loads a bound plugin anew and exchanges it for the one that serves now. One that asks for more than the one that serves is
    /// exchanged only where that is accepted. May be dropped at any time; then nothing is exchanged.
    ///
    /// # Errors
    /// [`ReloadError`]; the plugin that serves now serves on.
    pub async fn reload(&self, name: &str, config: &PluginConfig, accept: bool) -> Result<Exchanged, ReloadError> {
        self.exchange(name, config, accept, None).await
    }

    /// The same with a version from before, as the operator goes back from the one that serves.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub async fn roll_back(&self, name: &str, config: &PluginConfig, accept: bool) -> Result<Exchanged, ReloadError> {
        self.exchange(name, config, accept, Some(&withdrawn_text(name))).await
    }

    async fn exchange(
        &self,
        name: &str,
        config: &PluginConfig,
        accept: bool,
        instead: Option<&str>,
    ) -> Result<Exchanged, ReloadError> {
        let set = self.set.load_full();
        if let Some(bound) = named(&set.rules, name) {
            let (fresh, exchanged) = self.candidate(bound, config, accept, instead).await?;
            self.set.rcu(|set| set.with_rules(&fresh));
            Ok(exchanged)
        } else if let Some(bound) = named(set.formats_of_endpoints(), name) {
            let (fresh, exchanged) = self.candidate(bound, config, accept, instead).await?;
            self.set.rcu(|set| set.with_format(&fresh));
            Ok(exchanged)
        } else if let Some(bound) = named(&set.policies, name) {
            let (fresh, exchanged) = self.candidate(bound, config, accept, instead).await?;
            self.set.rcu(|set| set.with_policy(&fresh));
            Ok(exchanged)
        } else if let Some(bound) = named(&set.bot, name) {
            let (fresh, exchanged) = self.candidate(bound, config, accept, instead).await?;
            self.set.rcu(|set| set.with_bot(&fresh));
            Ok(exchanged)
        } else {
            Err(ReloadError::NotBound { plugin: name.to_owned() })
        }
    }

    /// The new version of a bound plugin, if it loads and asks for no more than is accepted.
    async fn candidate<H: Served>(
        &self,
        serving: &Bound<H>,
        config: &PluginConfig,
        accept: bool,
        instead: Option<&str>,
    ) -> Result<(Arc<Bound<H>>, Exchanged), ReloadError> {
        let name = serving.name.as_str();
        let (mut fresh, fault) = self.loader.bind::<H>(name, config).await;
        fresh.instead = instead.map(str::to_owned);
        if let Some(fault) = fault {
            warn!(plugin = name, hook = %H::HOOK, "the version that serves now serves on");
            return Err(ReloadError::Refused { plugin: name.to_owned(), hook: H::HOOK, fault: Box::new(fault) });
        }
        let (old, new) = (serving.wants(), fresh.wants());
        let without = |of: &BTreeSet<String>, other: &BTreeSet<String>| of.difference(other).cloned().collect();
        let exchanged = Exchanged { wants_added: without(&new, &old), wants_removed: without(&old, &new) };
        let is_upgrade = matches!(serving.state, State::Ready(_));
        if is_upgrade && !accept && !exchanged.wants_added.is_empty() {
            return Err(ReloadError::WantsMore { plugin: name.to_owned(), added: exchanged.wants_added });
        }
        Ok((Arc::new(fresh), exchanged))
    }

    /// Switches a bound plugin on or off. Its hook uses its failure policy while it is off.
    ///
    /// # Errors
    /// [`ReloadError::NotBound`].
    pub fn switch(&self, name: &str, on: bool) -> Result<(), ReloadError> {
        self.require_bound(name)?;
        self.loader.switches.of(name).set_off(!on);
        Ok(())
    }

    /// The last failures of a bound plugin, the newest first.
    ///
    /// # Errors
    /// [`ReloadError::NotBound`].
    pub fn failures(&self, name: &str) -> Result<Vec<Capture>, ReloadError> {
        self.require_bound(name)?;
        Ok(self.loader.captures.of(name).all())
    }

    /// A bound plugin in detail.
    ///
    /// # Errors
    /// [`ReloadError::NotBound`].
    pub fn inspect(&self, name: &str) -> Result<PluginDetails, ReloadError> {
        let set = self.set.load();
        let details = set.all().find(|bound| bound.name() == name).map(Told::details);
        details.ok_or_else(|| ReloadError::NotBound { plugin: name.to_owned() })
    }

    /// Refuses a name that no hook has.
    ///
    /// # Errors
    /// [`ReloadError::NotBound`].
    pub fn require_bound(&self, name: &str) -> Result<(), ReloadError> {
        let is_bound = self.report().iter().any(|report| report.name == name && report.hook.is_some());
        if is_bound { Ok(()) } else { Err(ReloadError::NotBound { plugin: name.to_owned() }) }
    }

    /// What is counted about calls.
    #[must_use]
    pub fn tally(&self) -> Arc<HookTally> {
        Arc::clone(&self.loader.tally)
    }

    /// How every configured plugin does: the bound ones in the order of their calls, then the others by name.
    #[must_use]
    pub fn report(&self) -> Vec<PluginReport> {
        let set = self.set.load();
        let unbound = |name: &String| PluginReport { name: name.clone(), hook: None, state: PluginState::Unbound };
        set.all().map(Told::report).chain(self.unbound.iter().map(unbound)).collect()
    }

    /// How the bound plugins do, for monitoring.
    #[must_use]
    pub fn standings(&self) -> Vec<PluginStanding> {
        self.set.load().all().map(Told::standing).collect()
    }

    /// Whether a bound plugin is not loaded, switched off, left alone because it failed too often, or a version from before.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        let bad = |state: &PluginState| {
            matches!(
                state,
                PluginState::Failed { .. }
                    | PluginState::LeftAlone { .. }
                    | PluginState::SwitchedOff { .. }
                    | PluginState::Active { instead: Some(_), .. }
            )
        };
        self.report().iter().any(|report| bad(&report.state))
    }
}

impl Hooks for PluginHost {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        self.set.load().rules.iter().map(|bound| Arc::clone(bound) as Arc<dyn InvoiceRules>).collect()
    }

    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>> {
        self.set.load().policies.iter().map(|bound| Arc::clone(bound) as Arc<dyn WithdrawalPolicy>).collect()
    }

    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>> {
        self.set.load().bot.as_ref().map(|bound| Arc::clone(bound) as Arc<dyn BotFlow>)
    }

    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>> {
        self.set.load().format.as_ref().map(|bound| Arc::clone(bound) as Arc<dyn WebhookFormat>)
    }

    fn webhook_format_named(&self, name: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        let set = self.set.load();
        let mut named = set.formats_of_endpoints().filter(|bound| bound.name == name.as_str());
        named.next().map(|bound| Arc::clone(bound) as Arc<dyn WebhookFormat>)
    }
}

impl Set {
    /// Every plugin in the order of the calls.
    fn all(&self) -> impl Iterator<Item = &dyn Told> {
        let rules = self.rules.iter().map(|bound| bound.as_ref() as &dyn Told);
        let formats = self.formats_of_endpoints().map(|bound| bound.as_ref() as &dyn Told);
        let policies = self.policies.iter().map(|bound| bound.as_ref() as &dyn Told);
        rules.chain(formats).chain(policies).chain(self.bot.iter().map(|bound| bound.as_ref() as &dyn Told))
    }

    /// The set with `fresh` in the place of the rules of the same name.
    fn with_rules(&self, fresh: &Arc<Bound<InvoiceRulesHook>>) -> Self {
        Self { rules: exchanged(&self.rules, fresh), ..self.clone() }
    }

    /// The set with `fresh` in the place of the format of the same name.
    fn with_format(&self, fresh: &Arc<Bound<WebhookFormatHook>>) -> Self {
        let format = self.format.iter().map(|bound| newer(bound, fresh)).next();
        Self { format, formats: exchanged(&self.formats, fresh), ..self.clone() }
    }

    /// The set with `fresh` in the place of the policy of the same name.
    fn with_policy(&self, fresh: &Arc<Bound<WithdrawalPolicyHook>>) -> Self {
        Self { policies: exchanged(&self.policies, fresh), ..self.clone() }
    }

    /// The set with `fresh` in the place of the flow of the same name.
    fn with_bot(&self, fresh: &Arc<Bound<BotFlowHook>>) -> Self {
        Self { bot: self.bot.iter().map(|bound| newer(bound, fresh)).next(), ..self.clone() }
    }

    /// What endpoints may choose: the bound format first.
    fn formats_of_endpoints(&self) -> impl Iterator<Item = &Arc<Bound<WebhookFormatHook>>> {
        self.format.iter().chain(&self.formats)
    }
}

/// `fresh` if it has the name of `bound`, which serves on otherwise.
fn newer<H: Served>(bound: &Arc<Bound<H>>, fresh: &Arc<Bound<H>>) -> Arc<Bound<H>> {
    Arc::clone(if bound.name == fresh.name { fresh } else { bound })
}

/// The bound plugin of a name.
fn named<'a, H: Served>(bound: impl IntoIterator<Item = &'a Arc<Bound<H>>>, name: &str) -> Option<&'a Arc<Bound<H>>> {
    bound.into_iter().find(|bound| bound.name == name)
}

fn exchanged<H: Served>(bound: &[Arc<Bound<H>>], fresh: &Arc<Bound<H>>) -> Vec<Arc<Bound<H>>> {
    bound.iter().map(|bound| newer(bound, fresh)).collect()
}

/// Checks that the hooks name configured plugins, and tells which plugins are left over.
fn check_bindings(config: &RuntimeConfig) -> Result<BTreeSet<String>, LoadError> {
    let bindings = &config.bindings;
    let bound: [(Hook, Vec<&String>); 4] = [
        (Hook::InvoiceRules, bindings.invoice_rules.iter().collect()),
        (Hook::WebhookFormat, bindings.webhook_format.iter().collect()),
        (Hook::BotFlow, bindings.bot_flow.iter().collect()),
        (Hook::WithdrawalPolicy, bindings.withdrawal_policy.iter().collect()),
    ];
    let mut unbound: BTreeSet<String> = config.plugins.keys().cloned().collect();
    for (hook, names) in bound {
        if names.len() > CHAIN_MAX {
            return Err(LoadError::ChainTooLong { hook, count: names.len() });
        }
        for (position, name) in names.iter().enumerate() {
            let plugin = || (*name).clone();
            if !config.plugins.contains_key(*name) {
                return Err(LoadError::NotConfigured { hook, plugin: plugin() });
            }
            if names.iter().take(position).any(|earlier| earlier == name) {
                return Err(LoadError::BoundTwice { hook, plugin: plugin() });
            }
            unbound.remove(*name);
        }
    }
    if config.formats.len() > FORMATS_MAX {
        return Err(LoadError::TooManyFormats { count: config.formats.len() });
    }
    for (position, name) in config.formats.iter().enumerate() {
        let plugin = || name.to_string();
        if !config.plugins.contains_key(name.as_str()) {
            return Err(LoadError::FormatNotConfigured { plugin: plugin() });
        }
        if config.formats.iter().take(position).any(|earlier| earlier == name) {
            return Err(LoadError::FormatTwice { plugin: plugin() });
        }
        unbound.remove(name.as_str());
    }
    let required = |name: &&String| config.plugins.get(*name).is_some_and(|plugin| plugin.required);
    match unbound.iter().find(required) {
        Some(plugin) => Err(LoadError::RequiredUnbound { plugin: plugin.clone() }),
        None => Ok(unbound),
    }
}

/// Why the version in a plugin's file does not serve although it loads.
fn withdrawn_text(name: &str) -> String {
    format!("the operator went back from the version in its file: `xthonpay plugins reload {name}` takes it again")
}

/// Binds a plugin at the start. Where the file of the config does not load, or was withdrawn, the newest version serves that has
/// served before and passes everything that a start asks.
async fn bind<H: Served>(loader: &Loader, name: &str, config: &RuntimeConfig) -> Result<Arc<Bound<H>>, LoadError> {
    let Some(plugin) = config.plugins.get(name) else {
        return Err(LoadError::NotConfigured { hook: H::HOOK, plugin: name.to_owned() });
    };
    let last_good = config.last_good.get(name).cloned().unwrap_or_default();
    let is_withdrawn = |bound: &Bound<H>| bound.digest().is_some_and(|digest| last_good.withdrawn == Some(digest));
    let (bound, fault) = loader.bind::<H>(name, plugin).await;
    let problem = match &fault {
        Some(fault) => fault.to_string(),
        None if is_withdrawn(&bound) => withdrawn_text(name),
        None => return Ok(Arc::new(bound)),
    };
    for file in &last_good.files {
        let version = PluginConfig { file: file.clone(), ..plugin.clone() };
        let (kept, None) = loader.bind::<H>(name, &version).await else { continue };
        if !is_withdrawn(&kept) {
            warn!(plugin = name, problem, "a version that has served before serves instead");
            return Ok(Arc::new(Bound { instead: Some(problem), ..kept }));
        }
    }
    match fault {
        Some(fault) if plugin.required => {
            Err(LoadError::Required { plugin: name.to_owned(), hook: H::HOOK, fault: Box::new(fault) })
        }
        _ => Ok(Arc::new(Bound { state: State::Failed(problem), ..bound })),
    }
}

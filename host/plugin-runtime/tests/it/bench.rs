//! A folder with plugins, the configuration that binds them, and the host that loads them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::hooks::{HookFailure, Hooks as _, InvoiceRules, OnFailure, WebhookFormat};
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::lending::storage::Answered;
use xthonpay_plugin_runtime::{LoadError, PluginConfig, PluginHost, PluginState, RuntimeConfig};

use crate::facts::NOW;
use xthonpay_tests::guest::Guest;

/// A clock that stands still.
pub(crate) struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Plugins and their configuration.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) config: RuntimeConfig,
    /// What there is to lend: nothing, unless a test says otherwise.
    pub(crate) loans: Loans,
}

/// The name of the plugin in tests with one.
pub(crate) const NAME: &str = "subject";

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, config: RuntimeConfig::default(), loans: Loans::default() }
    }

    /// A bench with one plugin for `invoice-rules`, and further lines of its table.
    pub(crate) fn rules(guest: &Guest, table: &str) -> Self {
        let mut bench = Self::new();
        bench.add(NAME, "invoice-rules", &guest.component(), table);
        bench.config.bindings.invoice_rules.push(NAME.to_owned());
        bench
    }

    /// A bench with one plugin for `webhook-format`, and further lines of its table.
    pub(crate) fn format(guest: &Guest, table: &str) -> Self {
        let mut bench = Self::new();
        bench.add(NAME, "webhook-format", &guest.component(), table);
        bench.config.bindings.webhook_format = Some(NAME.to_owned());
        bench
    }

    /// A bench with one plugin for `withdrawal-policy`, and further lines of its table.
    pub(crate) fn policy(guest: &Guest, table: &str) -> Self {
        let mut bench = Self::new();
        bench.add(NAME, "withdrawal-policy", &guest.component(), table);
        bench.config.bindings.withdrawal_policy.push(NAME.to_owned());
        bench
    }

    /// Where something of a plugin is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes a component with a manifest that asks for every served capability, and configures it.
    pub(crate) fn add(&mut self, name: &str, world: &str, component: &[u8], table: &str) {
        fs::write(self.path(&format!("{name}.wasm")), component).expect("writes");
        let capabilities = if world == "webhook-format" { "'log', 'config'" } else { "'log', 'clock', 'config'" };
        let manifest = format!(
            "id = '{name}'\nversion = '1.2.3'\ncontract = '0.1.0'\nworld = '{world}'\n\
             wants.capabilities = [{capabilities}]\n"
        );
        self.manifest(name, &manifest);
        self.config.plugins.insert(name.to_owned(), self.table(name, table));
    }

    /// Replaces a manifest.
    pub(crate) fn manifest(&self, name: &str, text: &str) {
        fs::write(self.path(&format!("{name}.toml")), text).expect("writes");
    }

    /// Adds lines to a manifest.
    pub(crate) fn extend_manifest(&self, name: &str, lines: &str) {
        let text = fs::read_to_string(self.path(&format!("{name}.toml"))).expect("reads");
        self.manifest(name, &format!("{text}{lines}\n"));
    }

    /// The table of a plugin, from its text. Unless a test is about wall time there is plenty of it: the machines that
    /// run tests are slow at times.
    pub(crate) fn table(&self, name: &str, table: &str) -> PluginConfig {
        let file = self.path(&format!("{name}.wasm"));
        let table = match table {
            table if table.contains("wall_ms") => table.to_owned(),
            table if table.contains("limits = {") => table.replace("limits = {", "limits = { wall_ms = 30000,"),
            table => format!("{table}\nlimits = {{ wall_ms = 30000 }}"),
        };
        toml::from_str(&format!("file = '{}'\n{table}", file.display())).expect("a well-formed table")
    }

    pub(crate) async fn load(&self) -> Result<PluginHost, LoadError> {
        PluginHost::load(self.config.clone(), Arc::new(Standing), self.loans.clone()).await
    }

    /// A host whose plugins all loaded.
    pub(crate) async fn host(&self) -> PluginHost {
        let host = self.load().await.expect("the host starts");
        for report in host.report() {
            assert!(!matches!(report.state, PluginState::Failed { .. }), "{report:?}");
        }
        host
    }

    /// Why the only plugin did not load, in a host that starts all the same.
    pub(crate) async fn refusal(&self) -> String {
        let host = self.load().await.expect("the host starts without it");
        assert!(host.is_degraded());
        match host.report().into_iter().find(|report| report.name == NAME).map(|report| report.state) {
            Some(PluginState::Failed { reason }) => reason,
            other => unreachable!("not refused: {other:?}"),
        }
    }
}

/// The answer alone, of a guest that keeps nothing.
pub(crate) fn plain<T>(answered: Answered<T>) -> T {
    assert_eq!(answered.writes, []);
    answered.answer
}

/// The only rules of a host.
pub(crate) fn rules(host: &PluginHost) -> Arc<dyn InvoiceRules> {
    host.invoice_rules().into_iter().next().expect("rules are bound")
}

/// The format of a host.
pub(crate) fn format(host: &PluginHost) -> Arc<dyn WebhookFormat> {
    host.webhook_format().expect("a format is bound")
}

/// Checks a failure: plugin, function, policy, whether it may pass, and words of its message.
#[track_caller]
pub(crate) fn assert_failure(
    failure: &HookFailure,
    function: &str,
    policy: OnFailure,
    transient: bool,
    words: &[&str],
) {
    assert_eq!((failure.plugin.as_str(), failure.hook), (NAME, function), "{failure}");
    assert_eq!(failure.policy, policy, "{failure}");
    assert_eq!(failure.is_transient(), transient, "{failure}");
    let text = failure.to_string();
    for word in [NAME, function].iter().chain(words) {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

/// Checks that a text has every word.
#[track_caller]
pub(crate) fn assert_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

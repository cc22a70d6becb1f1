//! Configs as operators write them, right and wrong.

use std::fs;

use tempfile::TempDir;

use super::*;

const SOUND: &str = r#"
[vault]
passphrase_file = "passphrase"

[chains.bsc]
chain_id = 56
nodes = ["http://user:hunter2@127.0.0.1:8545/key"]

[chains.bsc.assets.USDT]
contract = "0x55d398326f99059fF775485246999027B3197955"
decimals = 18

[chains.bsc.assets.BNB]
native = true
decimals = 18
"#;

fn load(text: &str) -> Result<(Config, TempDir), ConfigError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("xthonpay.toml");
    fs::write(&file, text).expect("the folder takes a file");
    Config::load(&file).map(|config| (config, folder))
}

/// What the operator reads about a config that is `SOUND` with one line exchanged.
fn complaint(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from} is not in the sound config");
    load(&SOUND.replacen(from, to, 1)).map_or_else(|error| error.to_string(), |_| format!("accepted: {to}"))
}

#[test]
fn a_sound_config_has_its_paths_below_its_folder() {
    let (config, folder) = load(SOUND).expect("the config is sound");
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!(config.store.endpoint, format!("surrealkv://{}", folder.path().join("data/store").display()));
    assert_eq!(config.vault.passphrase, PassphraseSource::File(folder.path().join("passphrase")));
    assert_eq!(config.chains.len(), 1);
    assert_eq!(config.chains[0].evm.assets.len(), 2);
    assert_eq!(config.webhooks.schedule, Schedule::standard());
    assert_eq!(config.webhooks.disable_after, Duration::from_secs(5 * 86_400));
    assert_eq!((config.server.requests_per_minute.get(), config.server.failed_requests_per_minute.get()), (60, 120));
    assert!(config.test_mode && config.webhooks.formats.is_empty());
}

#[test]
fn endpoints_choose_among_plugins_that_are_there_and_each_once() {
    let with = |formats: &str| {
        let plugin = "[plugins.mine]\nfile = \"mine.wasm\"\n";
        load(&SOUND.replacen("[vault]", &format!("[webhooks]\nformats = {formats}\n{plugin}[vault]"), 1))
    };
    let (config, _folder) = with("[\"mine\"]").expect("the config is sound");
    assert_eq!(config.webhooks.formats.iter().map(ToString::to_string).collect::<Vec<_>>(), ["mine"]);
    let told = with("[\"mine\", \"mine\"]").err().expect("named twice").to_string();
    assert!(told.contains("webhooks.formats") && told.contains("more than once"), "{told}");
}

#[test]
fn two_nodes_must_agree_unless_the_operator_says_otherwise() {
    let with = |line: &str| {
        let text = SOUND.replacen("/key\"]", &format!("/key\", \"http://127.0.0.1:8546\"]{line}"), 1);
        load(&text).expect("the config is sound").0.chains.remove(0).evm
    };
    assert_eq!(load(SOUND).expect("the config is sound").0.chains[0].evm.quorum, 1, "one node cannot be two");
    assert_eq!(with("").quorum, 2);
    assert_eq!(with("\nquorum = 1").quorum, 1);
    let hash = format!("0x{}", "ab".repeat(32));
    let line = format!("\nfallback_depth = 240\ncheckpoint = {{ number = 7, hash = \"{hash}\" }}");
    let evm = with(&line);
    assert_eq!(evm.fallback_depth, Some(240));
    let checkpoint = evm.checkpoint.expect("configured");
    assert_eq!((checkpoint.number.0, checkpoint.hash.to_string()), (7, hash));
}

#[test]
fn logs_alone_take_the_word_of_two_nodes() {
    let with = |nodes: &str, quorum: &str| {
        let text = SOUND.replacen("[chains.bsc.assets.BNB]\nnative = true\ndecimals = 18\n", "", 1);
        let nodes = format!("/key\"{nodes}]\ncatch_up = \"logs\"{quorum}");
        load(&text.replacen("/key\"]", &nodes, 1)).map(|_| ()).map_err(|error| error.to_string())
    };
    let second = ", \"http://127.0.0.1:8546\"";
    assert_eq!(with(second, ""), Ok(()));
    for told in [with("", ""), with(second, "\nquorum = 1")] {
        let told = told.expect_err("one node alone");
        assert!(told.contains("chains.bsc.catch_up") && told.contains("quorum = 2"), "{told}");
    }
}

#[test]
fn what_is_shown_holds_no_credentials_of_nodes() {
    let text = SOUND.replacen("chain_id", "websockets = [\"wss://user:hunter2@127.0.0.1:8546/key\"]\nchain_id", 1);
    let (config, _folder) = load(&text).expect("the config is sound");
    let shown = config.show().to_string();
    assert!(shown.contains("http://127.0.0.1:8545") && shown.contains("wss://127.0.0.1:8546"), "{shown}");
    for secret in ["hunter2", "user", "/key"] {
        assert!(!shown.replace("username", "").contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let told = complaint("[vault]", "[vault]\npassfrase = 1");
    assert!(told.contains("unknown key `vault.passfrase`") && told.contains("passphrase_file"), "{told}");
    let told = complaint("[vault]", "[walnut]\n[vault]");
    assert!(told.contains("unknown key `walnut`"), "{told}");
    let told = complaint("chain_id = 56", "chain_id = 56\nchain_ids = 57");
    assert!(told.contains("unknown key `chains.bsc.chain_ids`"), "{told}");
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    let table = [
        ("chain_id = 56", "chain_id = \"56\"", "chains.bsc.chain_id"),
        ("chain_id = 56", "chain_id = 0", "chains.bsc.chain_id"),
        ("chain_id = 56", "", "chains.bsc.chain_id"),
        ("[vault]", "[chains.alt]\nchain_id = 56\nnodes = []\n[vault]", "is the same as chains.alt.chain_id"),
        ("chain_id = 56", "chain_id = 56\nfinality = \"safe\"", "chains.bsc.finality"),
        ("chain_id = 56", "chain_id = 56\nfinality = 0", "chains.bsc.finality"),
        ("chain_id = 56", "chain_id = 56\nmin_confirmations = 0", "chains.bsc.min_confirmations"),
        ("chain_id = 56", "chain_id = 56\npoll_interval = \"fast\"", "chains.bsc.poll_interval"),
        ("chain_id = 56", "chain_id = 56\npoll_interval = \"1ms\"", "chains.bsc.poll_interval"),
        ("http://user", "ftp://user", "chains.bsc.nodes"),
        ("chain_id = 56", "chain_id = 56\ncatch_up = \"all\"", "chains.bsc.catch_up"),
        ("chain_id = 56", "chain_id = 56\ncatch_up = \"logs\"", "chains.bsc.catch_up"),
        ("chain_id = 56", "chain_id = 56\nquorum = 0", "chains.bsc.quorum"),
        ("chain_id = 56", "chain_id = 56\nquorum = 2", "chains.bsc.quorum: write a number from 1 to 1"),
        ("chain_id = 56", "chain_id = 56\nquorum = \"all\"", "chains.bsc.quorum"),
        ("chain_id = 56", "chain_id = 56\nfallback_depth = 0", "chains.bsc.fallback_depth"),
        ("chain_id = 56", "chain_id = 56\nfallback_depth = 1", "from 32 to"),
        ("/key\"]", "/key\", \"http://127.0.0.1:8545/key\"]", "chains.bsc.nodes: entries 1 and 2 are the same"),
        ("chain_id = 56", "chain_id = 56\nfinality = 12\nfallback_depth = 240", "chains.bsc.fallback_depth"),
        ("chain_id = 56", "chain_id = 56\ncheckpoint = { number = 1 }", "chains.bsc.checkpoint"),
        ("chain_id = 56", "chain_id = 56\ncheckpoint = { number = 1, hash = \"0x12\" }", "chains.bsc.checkpoint.hash"),
        ("chain_id = 56", "chain_id = 56\nwebsockets = [\"http://hunter2@x/\"]", "chains.bsc.websockets"),
        ("chain_id = 56", "chain_id = 56\nwebsockets = [\"ws://a/\", \"ws://b/\"]", "chains.bsc.websockets"),
        ("0x55d398326f99059fF775485246999027B3197955", "0x55D398326f99059fF775485246999027B3197955", "checksum"),
        ("0x55d398326f99059fF775485246999027B3197955", "0x0000000000000000000000000000000000000000", "zero address"),
        ("native = true", "", "chains.bsc.assets.BNB"),
        ("native = true\ndecimals = 18", "native = true\ndecimals = 78", "chains.bsc.assets.BNB.decimals"),
        ("[chains.bsc.assets.BNB]", "[chains.bsc.assets.bnb]", "chains.bsc.assets.bnb"),
        ("passphrase_file = \"passphrase\"", "", "vault.passphrase_file"),
        ("[vault]", "[server]\nlisten = \"localhost\"\n[vault]", "server.listen"),
        ("[vault]", "[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n[vault]", "server.trusted_proxies"),
        ("[vault]", "[server]\nmetrics_networks = [\"localhost\"]\n[vault]", "server.metrics_networks"),
        ("[vault]", "[server]\nrequests_per_minute = 0\n[vault]", "server.requests_per_minute"),
        ("[vault]", "[server]\nrequests_per_minute = 1000001\n[vault]", "server.requests_per_minute"),
        ("[vault]", "[server]\nfailed_requests_per_minute = -1\n[vault]", "server.failed_requests_per_minute"),
        ("[vault]", "[webhooks]\ndisable_after = \"59m\"\n[vault]", "webhooks.disable_after"),
        ("[vault]", "[webhooks]\ndisable_after = \"91d\"\n[vault]", "webhooks.disable_after"),
        ("[vault]", "[webhooks]\nformats = [\"mine\"]\n[vault]", "webhooks.formats: names the plugin `mine`"),
        ("[vault]", "[test_mode]\nenabled = \"yes\"\n[vault]", "test_mode.enabled"),
        ("[chains.bsc]", "[chains.test]\nchain_id = 5\nnodes = []\n[chains.bsc]", "simulated chain"),
        ("[vault]", "[webhooks]\nschedule = \"often\"\n[vault]", "webhooks.schedule"),
        ("[vault]", "[webhooks]\nschedule = [\"2 fortnights\"]\n[vault]", "webhooks.schedule"),
        ("[vault]", "[webhooks]\nschedule = []\n[vault]", "webhooks.schedule"),
        ("[vault]", "[hooks]\ninvoice-rules = [\"mine\"]\n[vault]", "[plugins.mine]"),
        ("[vault]", "[store]\nendpoint = \"mem://\"\n[vault]", "store.endpoint"),
        ("[vault]", "[store]\nusername = \"root\"\n[vault]", "store.password_file"),
        ("[vault]", "[telegram]\nenabled = true\n[vault]", "telegram.enabled"),
        ("[vault]", "[log]\nlevel = \"=\"\n[vault]", "log.level"),
    ];
    for (from, to, named) in table {
        let told = complaint(from, to);
        assert!(told.contains(named) && !told.starts_with("accepted"), "{to:?}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let told =
        complaint("[vault]", "[server]\nlisten = \"x\"\n[log]\nformat = \"xml\"\n[telegram]\nenabled = true\n[vault]");
    for key in ["server.listen", "log.format", "telegram.enabled"] {
        assert!(told.contains(key), "{key} in {told}");
    }
}

#[test]
fn a_missing_file_and_a_file_that_is_no_toml_are_told_apart() {
    let missing = Config::load(Path::new("no-such-folder/xthonpay.toml")).err().expect("there is no such file");
    assert!(matches!(missing, ConfigError::Unreadable { .. }));
    let told = load("[chains.bsc]\nnodes = [\"https://node.example/hunter2]\n").err().expect("this is no TOML");
    assert!(matches!(told, ConfigError::Shape { .. }));
    let told = told.to_string();
    assert!(told.contains("line 2") && !told.contains("hunter2"), "{told}");
}

#[test]
fn the_configs_that_come_with_the_project_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    for name in ["dev.toml", "production.example.toml"] {
        let loaded = Config::load(&folder.join(name));
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
    }
}

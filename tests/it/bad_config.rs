//! Config files that must not start a host: the exit code, the key that the message names, what to do about it, and nothing
//! left behind.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::host::{HostConfig, HostProcess, run};
use xthonpay_tests::places::Places;

use crate::world::Done;

/// A change to a sound config, and what the refusal must say.
struct Case {
    what: &'static str,
    replace: &'static str,
    by: &'static str,
    says: &'static [&'static str],
}

const fn case(what: &'static str, replace: &'static str, by: &'static str, says: &'static [&'static str]) -> Case {
    Case { what, replace, by, says }
}

const CONTRACT: &str = r#"contract = "0x55d398326f99059fF775485246999027B3197955""#;

const CASES: &[Case] = &[
    case("an unknown key", "[log]", "[log]\ncolour = true", &["log.colour", "format, level"]),
    case("an unknown table", "[log]", "[payouts]\nnow = true\n\n[log]", &["payouts"]),
    case("a misspelt key of a chain", "poll_interval", "pol_interval", &["chains.bsc.pol_interval", "poll_interval"]),
    case("a text for a number", "chain_id = 56", "chain_id = \"56\"", &["chains.bsc.chain_id", "expected"]),
    case("a number for a list", "schedule = [\"0s\"", "schedule = 5 # ", &["webhooks.schedule"]),
    case("no TOML", "[server]", "[server", &["xthonpay.toml"]),
    case("a missing key", "chain_id = 56\n", "", &["chain_id", "missing"]),
    case("an address without a port", "\"127.0.0.1:0\"", "\"localhost\"", &["server.listen", "127.0.0.1:8080"]),
    case("a node that is no URL", "nodes = [\"http://", "nodes = [\"ftp://", &["chains.bsc.nodes", "http://"]),
    case("no node", "nodes = [\"http://127.0.0.1:1\"]", "nodes = []", &["chains.bsc.nodes", "at least one"]),
    case("finality some time", "\"finalized\"", "\"soon\"", &["chains.bsc.finality", "finalized"]),
    case("finality at once", "\"finalized\"", "0", &["chains.bsc.finality", "1"]),
    case("no confirmation", "min_confirmations = 1", "min_confirmations = 0", &["chains.bsc.min_confirmations", "1"]),
    case("a pause without a unit", "\"50ms\"", "\"50\"", &["chains.bsc.poll_interval", "250ms"]),
    case("no pause", "\"50ms\"", "\"0s\"", &["chains.bsc.poll_interval"]),
    case("half an address", CONTRACT, "contract = \"0x55d3\"", &["chains.bsc.assets.USDT.contract"]),
    case(
        "an address with a wrong checksum",
        CONTRACT,
        "contract = \"0x55D398326f99059fF775485246999027B3197955\"",
        &["chains.bsc.assets.USDT.contract", "checksum"],
    ),
    case(
        "the zero address",
        CONTRACT,
        "contract = \"0x0000000000000000000000000000000000000000\"",
        &["chains.bsc.assets.USDT.contract"],
    ),
    case(
        "token and coin in one",
        "native = true",
        "native = true\ncontract = \"0x55d398326f99059fF775485246999027B3197955\"",
        &["chains.bsc.assets.BNB", "contract", "native"],
    ),
    case("neither token nor coin", "native = true\n", "", &["chains.bsc.assets.BNB", "contract", "native"]),
    case(
        "too many decimals",
        "native = true\ndecimals = 18",
        "native = true\ndecimals = 99",
        &["chains.bsc.assets.BNB.decimals"],
    ),
    case(
        "one contract twice",
        "[webhooks]",
        "[chains.bsc.assets.USDC]\ncontract = \"0x55d398326f99059fF775485246999027B3197955\"\ndecimals = 18\n\n[webhooks]",
        &["USDT", "USDC"],
    ),
    case("a symbol in small letters", "assets.BNB", "assets.bnb", &["chains.bsc.assets.bnb"]),
    case("no network", "127.0.0.0/8", "127.0.0.0/33", &["webhooks.allow_networks", "127.0.0.0/33", "CIDR"]),
    case(
        "a schedule by an unknown name",
        "schedule = [\"0s\"",
        "schedule = \"often\" # ",
        &["webhooks.schedule", "standard", "xthon"],
    ),
    case(
        "a schedule without attempts",
        "schedule = [\"0s\"",
        "schedule = [] # ",
        &["webhooks.schedule", "at least one"],
    ),
    case(
        "a hook with a plugin that is not there",
        "invoice-rules = []",
        "invoice-rules = [\"ghost\"]",
        &["hooks.invoice-rules", "[plugins.ghost]"],
    ),
    case("an unknown hook", "invoice-rules = []", "invoice-rule = []", &["hooks.invoice-rule", "invoice-rules"]),
    case(
        "a plugin key in the wrong place",
        "[log]",
        "[plugins.mine]\npath = \"a.wasm\"\n\n[log]",
        &["plugins.mine", "path"],
    ),
    case("an unknown log format", "format = \"json\"", "format = \"yaml\"", &["log.format", "text", "json"]),
    case("a bot that is not there yet", "[log]", "[telegram]\nenabled = true\n\n[log]", &["telegram.enabled"]),
    case(
        "no passphrase",
        "passphrase_file = \"passphrase\"",
        "",
        &["vault.passphrase_file", "XTHONPAY_VAULT__PASSPHRASE"],
    ),
    case("a passphrase file that is not there", "\"passphrase\"", "\"nowhere\"", &["vault.passphrase_file", "nowhere"]),
];

fn sound() -> Result<String, BoxError> {
    let usdt: Address = "0x55d398326f99059fF775485246999027B3197955".parse()?;
    Ok(HostConfig::new("http://127.0.0.1:1", usdt).to_toml())
}

/// Starts a host that must refuse, and returns what it said.
async fn refusal(what: &str, host: &HostProcess) -> Result<String, BoxError> {
    let output = host.command(&["serve"]).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{what}: it started: {said}");
    assert!(output.status.code().is_some(), "{what}: it was ended by a signal: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(!host.data().exists(), "{what}: it left something behind");
    Ok(said)
}

/// The words that the refusal does not hold.
fn unsaid(what: &str, says: &[&str], said: &str) -> Option<String> {
    let missing: Vec<&&str> = says.iter().filter(|word| !said.contains(**word)).collect();
    (!missing.is_empty()).then(|| format!("{what}: no {missing:?} in: {said}"))
}

#[tokio::test]
async fn a_config_that_cannot_be_is_refused_by_key_and_with_advice() -> Done {
    let (places, sound) = (Places::find()?, sound()?);
    let mut missing = Vec::new();
    for Case { what, replace, by, says } in CASES {
        let config = sound.replacen(replace, by, 1);
        assert_ne!(config, sound, "{what}: nothing changed");
        let host = HostProcess::prepare(&places, &config)?;
        let said = refusal(what, &host).await?;
        missing.extend(unsaid(what, says, &said));
    }
    assert_eq!(missing, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() -> Done {
    let config = sound()?.replace("\"50ms\"", "\"50\"").replace("127.0.0.0/8", "home");
    let said = refusal("two mistakes", &HostProcess::prepare(&Places::find()?, &config)?).await?;
    assert!(said.contains("chains.bsc.poll_interval") && said.contains("webhooks.allow_networks"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_passphrase_that_protects_nothing_is_refused() -> Done {
    let places = Places::find()?;
    type Spoil = fn(&Path) -> std::io::Result<()>;
    let cases: [(&str, Spoil, &[&str]); 3] = [
        ("an empty passphrase", |file| write(file, "\n"), &["passphrase", "empty"]),
        ("a passphrase that others can read", |file| set_permissions(file, Permissions::from_mode(0o644)), &["600"]),
        ("a passphrase that a group can read", |file| set_permissions(file, Permissions::from_mode(0o640)), &["600"]),
    ];
    for (what, spoil, says) in cases {
        let host = HostProcess::prepare(&places, &sound()?)?;
        spoil(&host.folder().join("passphrase"))?;
        let said = refusal(what, &host).await?;
        assert_eq!(unsaid(what, says, &said), None);
    }
    Ok(())
}

#[tokio::test]
async fn a_config_file_that_is_not_there_is_named() -> Done {
    let places = Places::find()?;
    let output = run(&places.binary, &["serve", "--config", "/nowhere/xthonpay.toml"]).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("/nowhere/xthonpay.toml"), "{said}");
    Ok(())
}

#[tokio::test]
async fn refusals_never_repeat_a_secret() -> Done {
    let node = "ftp://user:hunter2@node.example/v1/hunter2";
    let config = sound()?.replace("http://127.0.0.1:1", node);
    let said = refusal("a node with credentials", &HostProcess::prepare(&Places::find()?, &config)?).await?;
    assert!(!said.contains("hunter2"), "{said}");
    Ok(())
}

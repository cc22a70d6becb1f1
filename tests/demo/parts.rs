//! The parts of the demo: a chain node, a host with the shipped plugins, a webhook receiver, a merchant with a key.

use std::fs::{Permissions, create_dir_all, remove_dir_all, set_permissions, write};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::time::sleep;
use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, TestChain, anvil_binary};
use xthonpay_tests::client::{API, Key, MerchantClient, Scheme};
use xthonpay_tests::host::{HostConfig, HostProcess, Merchant, PluginEntry};
use xthonpay_tests::places::{Places, target_directory};
use xthonpay_tests::receiver::Receiver;
use xthonpay_tests::wait::LOOK_INTERVAL;

use crate::narrator::Narrator;

/// Everything that runs. Dropping it ends every process.
pub(crate) struct Parts {
    pub(crate) places: Places,
    pub(crate) folder: PathBuf,
    pub(crate) chain: TestChain,
    pub(crate) usdt: Address,
    pub(crate) receiver: Receiver,
    pub(crate) host: HostProcess,
    pub(crate) merchant: Merchant,
    pub(crate) client: MerchantClient,
    anvil: Anvil,
}

/// Starts all of them in a fresh folder.
pub(crate) async fn start(narrator: &Narrator) -> Result<Parts, BoxError> {
    let places = Places::find()?;
    let folder = fresh_folder()?;

    let options =
        AnvilOptions { log: Some(folder.join("anvil.log")), ..AnvilOptions::new(anvil_binary(&places.tools)?) };
    let anvil = Anvil::start(options).await?;
    let chain = TestChain::connect(anvil.url()).await?;
    let usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
    narrator.step("chain", &format!("{}: a block every 450 ms, USDT at {usdt}", anvil.url()));

    let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
    let config = HostConfig {
        listen: free_address()?,
        // For a swap by config: the tables are there, and only the hooks have to name them.
        spare: vec![plugin("loyal-shop"), plugin("standard-webhooks")],
        ..HostConfig::new(anvil.url(), usdt)
    };
    let config = config.with_plugins(vec![plugin("default-rules")], Some(plugin("xthon-json")));
    let mut host = HostProcess::prepare_in(&folder, &places, &config.to_toml())?;
    start_host(&mut host).await?;
    narrator.step("host", &format!("{}: ready, with a store of its own in {}", host.base_url(), host.data().display()));

    let receiver = Receiver::start().await?;
    let merchant = host.create_merchant("Demo shop").await?;
    let key = host.create_key(&merchant, "read,write", Scheme::Request, &[]).await?;
    narrator.step("merchant", &format!("{} with the key {}", merchant.id, key.id));
    write_environment(&folder, &host, &merchant, &key)?;
    let client = MerchantClient::new(host.base_url(), key)?;
    Ok(Parts { places, folder, chain, usdt, receiver, host, merchant, client, anvil })
}

impl Parts {
    /// Where the chain's node answers.
    pub(crate) fn node_url(&self) -> &str {
        self.anvil.url()
    }

    /// The file with the variables of the merchant's programs.
    pub(crate) fn environment_file(&self) -> PathBuf {
        environment_file(&self.folder)
    }

    /// The file with the process id of the host.
    pub(crate) fn pid_file(&self) -> PathBuf {
        pid_file(&self.folder)
    }

    /// Waits until the host ends by itself or by a signal.
    pub(crate) async fn host_ended(&mut self) -> Result<(), BoxError> {
        while self.host.ended()?.is_none() {
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Starts the host again, with the config file as it is now.
    pub(crate) async fn restart_host(&mut self) -> Result<(), BoxError> {
        start_host(&mut self.host).await
    }

    /// Ends the host in order; the node ends with this value.
    pub(crate) async fn stop(&mut self) -> Result<(), BoxError> {
        self.host.stop().await
    }
}

async fn start_host(host: &mut HostProcess) -> Result<(), BoxError> {
    host.restart().await?;
    let pid = host.pid().ok_or("the host does not run")?;
    Ok(write(pid_file(host.folder()), pid.to_string())?)
}

/// A port of its own, the same after a restart.
fn free_address() -> Result<String, BoxError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn environment_file(folder: &Path) -> PathBuf {
    folder.join("merchant.env")
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("host.pid")
}

/// `target/demo`, empty.
fn fresh_folder() -> Result<PathBuf, BoxError> {
    let folder = target_directory().join("demo");
    match remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => create_dir_all(&folder)?,
    }
    Ok(folder)
}

/// Writes what `examples/merchant-python` reads from its environment. The secrets are worth nothing outside the demo, and
/// still only the owner can read them.
fn write_environment(folder: &Path, host: &HostProcess, merchant: &Merchant, key: &Key) -> Result<(), BoxError> {
    let file = environment_file(folder);
    write(&file, "")?;
    set_permissions(&file, Permissions::from_mode(0o600))?;
    let lines = [
        ("XTHONPAY_BASE", format!("{}{API}", host.base_url())),
        ("XTHONPAY_KEY", key.id.clone()),
        ("XTHONPAY_SECRET", key.secret.clone()),
        ("XTHONPAY_SCHEME", key.scheme.name().to_owned()),
        ("XTHONPAY_WEBHOOK_SECRET", merchant.webhook_secret.clone()),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    Ok(write(&file, text)?)
}

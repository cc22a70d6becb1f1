//! A shop as a process with a folder of its own, the account that it uses, and a browser's view of it.
//!
//! Dropping it kills the process.

use core::ops::ControlFlow;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use xthonpay_tests::client::{API, Key, MerchantClient, Scheme};
use xthonpay_tests::places::{Places, checkout};
use xthonpay_tests::{BoxError, wait};

use super::delivery::Delivery;
use crate::world::{Done, PATIENCE, World};

/// One of the two shops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
}

pub(super) const BOTH: [Language; 2] = [Language::Python, Language::Node];

impl Language {
    pub(super) fn folder(self) -> PathBuf {
        checkout().join("examples").join(match self {
            Self::Python => "merchant-python",
            Self::Node => "merchant-node",
        })
    }

    pub(super) fn interpreter(self, places: &Places) -> PathBuf {
        match self {
            Self::Python => places.python(),
            Self::Node => PathBuf::from("node"),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Python => "shop.py",
            Self::Node => "shop.mjs",
        }
    }
}

/// What the platform gives to a merchant who tries things out.
pub(super) struct Account {
    pub(super) client: MerchantClient,
    pub(super) webhook_secret: String,
}

impl Account {
    pub(super) async fn new(world: &World) -> Result<Self, BoxError> {
        let merchant = world.host.create_merchant("shop").await?;
        let arguments = ["key", "create", "--merchant", &merchant.id, "--scopes", "read,write", "--test"];
        let made = world.host.command_json(&arguments).await?;
        let key = Key { id: text(&made, "/key_id")?, secret: text(&made, "/secret")?, scheme: Scheme::Request };
        let webhook_secret = text(&made, "/test_merchant/webhook_secret")?;
        Ok(Self { client: MerchantClient::new(world.host.base_url(), key)?, webhook_secret })
    }

    pub(super) async fn simulate(&self, invoice: &str, case: &str) -> Done {
        let path = format!("/test/invoices/{invoice}/simulate");
        self.client.post(&path, &json!({"case": case})).await?.data().map(drop)
    }

    /// The event that paid an invoice, as the feed has it.
    pub(super) async fn paid_event(&self, invoice: &str) -> Result<Value, BoxError> {
        let page = self.client.get("/events?type=invoice.paid").await?.data()?;
        let events = page.as_array().ok_or("no page")?;
        let found: Vec<&Value> = events.iter().filter(|event| event["invoice_id"] == invoice).collect();
        match found.as_slice() {
            [event] => Ok((*event).clone()),
            other => Err(format!("{} events paid {invoice}", other.len()).into()),
        }
    }
}

pub(super) fn text(object: &Value, pointer: &str) -> Result<String, BoxError> {
    let found = object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| format!("no {pointer} in {object}").into())
}

/// A shop with a folder of its own for data, secrets and log.
pub(super) struct Shop {
    language: Language,
    folder: TempDir,
    /// Where it finds the platform, up to the port.
    base: String,
    key_id: String,
    process: Option<Child>,
    /// Where it listens.
    pub(super) url: String,
    http: reqwest::Client,
}

impl Shop {
    /// A shop of this account, not started yet. `base` is where it finds the platform.
    pub(super) fn new(language: Language, base: &str, account: &Account) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let key = account.client.key();
        for (name, secret) in [("secret", &key.secret), ("webhook-secret", &account.webhook_secret)] {
            let file = folder.path().join(name);
            // As an editor leaves it: with a line feed.
            std::fs::write(&file, format!("{secret}\n"))?;
            std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        }
        let (base, key_id) = (base.to_owned(), key.id.clone());
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirects).timeout(PATIENCE).build()?;
        Ok(Self { language, folder, base, key_id, process: None, url: String::new(), http })
    }

    /// The same shop, which finds the platform elsewhere from its next start on.
    pub(super) fn with_platform_at(self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self }
    }

    /// The journal of Node's shop.
    pub(super) fn journal(&self) -> PathBuf {
        self.data().join("shop.jsonl")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it on a port that nobody had before, after killing one that runs, and waits until it listens.
    pub(super) async fn start(&mut self, feed_seconds: &str) -> Done {
        self.start_at("127.0.0.1:0", feed_seconds).await
    }

    pub(super) async fn start_at(&mut self, listen: &str, feed_seconds: &str) -> Done {
        self.kill().await?;
        let places = Places::find()?;
        let program = self.program(&places)?;
        let said_before = self.log()?.len();
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(self.language.interpreter(&places));
        command
            .args((self.language == Language::Python).then_some("-B"))
            .arg(program)
            .env("XTHONPAY_BASE", format!("{}{API}", self.base))
            .env("XTHONPAY_KEY_ID", &self.key_id)
            .env("XTHONPAY_SECRET_FILE", self.folder.path().join("secret"))
            .env("XTHONPAY_WEBHOOK_SECRET_FILE", self.folder.path().join("webhook-secret"))
            .env("SHOP_LISTEN", listen)
            .env("SHOP_DATA", self.data())
            .env("SHOP_FEED_SECONDS", feed_seconds)
            .env("SHOP_BOTH_SIGNATURES", "yes")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        self.process = Some(command.spawn()?);
        let listens = wait::until("the shop to listen", PATIENCE, async || {
            let log = self.log()?;
            let said = log.get(said_before..).unwrap_or_default();
            let url = said.lines().find_map(|line| line.strip_prefix("shop at ")).map(str::to_owned);
            Ok(url.map_or_else(|| ControlFlow::Continue(said.to_owned()), ControlFlow::Break))
        });
        self.url = listens.await?;
        Ok(())
    }

    /// The program; Node looks for packages beside it, so it gets a folder with those of the tools.
    fn program(&self, places: &Places) -> Result<PathBuf, BoxError> {
        let source = self.language.folder();
        if self.language == Language::Python {
            return Ok(source.join(self.language.program()));
        }
        let copy = self.folder.path().join("program");
        if !copy.exists() {
            copy_files(&source, &copy)?;
            std::os::unix::fs::symlink(places.tools.canonicalize()?.join("node_modules"), copy.join("node_modules"))?;
        }
        Ok(copy.join(self.language.program()))
    }

    /// Kills it as a power cut would.
    pub(super) async fn kill(&mut self) -> Done {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("shop.log")
    }

    /// What all runs of the process said.
    pub(super) fn log(&self) -> Result<String, BoxError> {
        let log = self.log_file();
        Ok(if log.exists() { std::fs::read_to_string(log)? } else { String::new() })
    }

    /// How often it said that an order is paid, over all of its runs.
    pub(super) fn times_paid(&self, order: &str) -> Result<usize, BoxError> {
        let line = format!("order {order}: paid");
        Ok(self.log()?.lines().filter(|said| said.starts_with(&line)).count())
    }

    pub(super) async fn get(&self, path: &str) -> Result<String, BoxError> {
        Ok(self.http.get(format!("{}{path}", self.url)).send().await?.error_for_status()?.text().await?)
    }

    /// Orders as a browser does, with the form of the front page; sends it twice. The id of the order.
    pub(super) async fn order(&self, item: &str) -> Result<String, BoxError> {
        let page = self.get("/").await?;
        let (_, rest) = page.split_once(r#"name="order" value=""#).ok_or_else(|| format!("no form: {page}"))?;
        let order = rest.split('"').next().unwrap_or_default().to_owned();
        for time in ["once", "twice"] {
            let form = format!("order={order}&item={item}");
            let typed = ("content-type", "application/x-www-form-urlencoded");
            let sent = self.http.post(format!("{}/orders", self.url)).header(typed.0, typed.1).body(form);
            let answer = sent.send().await?;
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
            assert_eq!(
                (answer.status().as_u16(), location),
                (303, Some(format!("/orders/{order}").as_str())),
                "{time}"
            );
        }
        Ok(order)
    }

    pub(super) async fn look(&self, order: &str) -> Result<Value, BoxError> {
        Ok(serde_json::from_str(&self.get(&format!("/orders/{order}.json")).await?)?)
    }

    pub(super) async fn invoice_of(&self, order: &str) -> Result<String, BoxError> {
        text(&self.look(order).await?, "/invoice/invoice_id")
    }

    /// Waits until the order is as `wanted` says.
    pub(super) async fn wait(
        &self,
        order: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, BoxError> {
        let reached = wait::until(what, PATIENCE, async || {
            let data = self.look(order).await?;
            Ok(if wanted(&data) { ControlFlow::Break(data) } else { ControlFlow::Continue(data.to_string()) })
        });
        let log =
            |error: BoxError| Ok::<_, BoxError>(format!("{:?}: {error}; it said:\n{}", self.language, self.log()?));
        match reached.await {
            Ok(data) => Ok(data),
            Err(error) => Err(log(error)?.into()),
        }
    }

    pub(super) async fn wait_paid(&self, order: &str) -> Result<Value, BoxError> {
        self.wait(order, "the order to be paid", |data| !data["paid"].is_null()).await
    }

    /// The status that it answers to a delivery.
    pub(super) async fn deliver(&self, delivery: &Delivery) -> Result<u16, BoxError> {
        let mut request = self.http.post(format!("{}/webhooks/xthonpay", self.url)).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        Ok(request.send().await?.status().as_u16())
    }
}

pub(super) fn copy_files(from: &Path, to: &Path) -> Done {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

//! `key create`, `list`, `show`, `update`, `rotate` and `revoke`.

use serde::Serialize;

use super::arguments::{CreateKeyArguments, KeyArguments, ListKeysArguments, RotateKeyArguments, UpdateKeyArguments};
use super::ask::{Worker, ask_or_do};
use super::{CliError, merchant, output};
use crate::admin::key::{
    self, CreateKey, KeyCreated, KeyLine, KeyPage, ListKeys, OneKey, RotateKey, Setting, UpdateKey,
};
use crate::config::Config;

/// Keys that are listed; all are counted. Bounds the memory of the command.
const LISTED_MAX: usize = 10_000;

#[derive(Serialize)]
struct Listed {
    keys: Vec<KeyLine>,
    keys_total: usize,
}

/// `key create`.
pub(super) async fn create(asked: CreateKeyArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = CreateKey {
        merchant: asked.merchant,
        test: asked.test,
        label: asked.label,
        scopes: asked.scopes,
        signature: asked.signature,
        ip: asked.ip,
        requests_per_minute: asked.requests_per_minute,
        expires_in: asked.expires_in,
        daily_withdraw_caps: asked.daily_withdraw_cap,
        withdraw_addresses: asked.withdraw_address,
    };
    let made: KeyCreated = ask_or_do(&config, key::CREATE, body, key::create).await?;
    if asked.asked.json { output::json(&made) } else { output::lines(&created_lines(&made)) }
}

/// `key list`.
pub(super) async fn list(asked: ListKeysArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let worker = Worker::find(&config).await?;
    let first = ListKeys { merchant: asked.merchant, test: asked.test, after: None };
    let listed = pages(&worker, first).await;
    worker.end().await;
    let listed = listed?;
    if asked.asked.json {
        return output::json(&listed);
    }
    let mut lines: Vec<String> = listed.keys.iter().map(line).collect();
    lines.push(format!("{} keys", listed.keys_total));
    output::lines(&lines)
}

async fn pages(worker: &Worker, first: ListKeys) -> Result<Listed, CliError> {
    let mut listed = Listed { keys: Vec::new(), keys_total: 0 };
    let mut asked = first;
    loop {
        let page: KeyPage = worker.ask(key::LIST, asked.clone(), key::list).await?;
        listed.keys_total = listed.keys_total.saturating_add(page.keys.len());
        let room = LISTED_MAX.saturating_sub(listed.keys.len());
        listed.keys.extend(page.keys.into_iter().take(room));
        asked.after = page.next;
        if asked.after.is_none() {
            return Ok(listed);
        }
    }
}

/// `key show`.
pub(super) async fn show(asked: KeyArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let shown: KeyLine = ask_or_do(&config, key::SHOW, OneKey { key: asked.key }, key::show).await?;
    if asked.asked.json { output::json(&shown) } else { output::lines(&lines(&shown)) }
}

/// `key update`.
pub(super) async fn update(asked: UpdateKeyArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = UpdateKey {
        key: asked.key,
        label: asked.label,
        ip: replacing(asked.ip, asked.any_ip),
        requests_per_minute: setting(asked.requests_per_minute, asked.default_requests_per_minute),
        expires_in: setting(asked.expires_in, asked.never_expires),
        daily_withdraw_caps: replacing(asked.daily_withdraw_cap, asked.no_daily_withdraw_caps),
        withdraw_addresses: replacing(asked.withdraw_address, asked.no_withdraw_addresses),
    };
    let nothing = body.label.is_none()
        && body.ip.is_none()
        && body.requests_per_minute == Setting::Keep
        && body.expires_in == Setting::Keep
        && body.daily_withdraw_caps.is_none()
        && body.withdraw_addresses.is_none();
    if nothing {
        return Err(CliError::Usage(
            "say what to change, such as --ip or --label; see `xthonpay key update --help`".to_owned(),
        ));
    }
    let changed: KeyLine = ask_or_do(&config, key::UPDATE, body, key::update).await?;
    if asked.asked.json { output::json(&changed) } else { output::lines(&lines(&changed)) }
}

/// `key rotate`.
pub(super) async fn rotate(asked: RotateKeyArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = RotateKey { key: asked.key, overlap: asked.overlap };
    let made: KeyCreated = ask_or_do(&config, key::ROTATE, body, key::rotate).await?;
    if asked.asked.json { output::json(&made) } else { output::lines(&created_lines(&made)) }
}

/// `key revoke`.
pub(super) async fn revoke(asked: KeyArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let revoked: KeyLine = ask_or_do(&config, key::REVOKE, OneKey { key: asked.key }, key::revoke).await?;
    if asked.asked.json {
        return output::json(&revoked);
    }
    let at = revoked.revoked_at.as_deref().unwrap_or_default();
    output::lines(&[format!("key {} is revoked since {at}", revoked.key_id)])
}

/// The new list; an empty one where there shall be none, nothing where it stays.
fn replacing(list: Vec<String>, none: bool) -> Option<Vec<String>> {
    if none || !list.is_empty() { Some(list) } else { None }
}

fn setting<T>(value: Option<T>, remove: bool) -> Setting<T> {
    match (value, remove) {
        (Some(value), _) => Setting::Set(value),
        (None, true) => Setting::Remove,
        (None, false) => Setting::Keep,
    }
}

/// What is shown of a key once, its secret included.
fn created_lines(made: &KeyCreated) -> Vec<String> {
    let mut shown = Vec::new();
    if let Some(twin) = &made.test_merchant {
        shown.push("this is the first test key, so the merchant's test side was made:".to_owned());
        shown.extend(merchant::created_lines(twin));
        shown.push(String::new());
    }
    let mut of_key = lines(&made.key).into_iter();
    shown.extend(of_key.next());
    shown.push(format!("secret     {}   (shown once)", made.secret));
    shown.extend(of_key);
    if let Some(old) = &made.replaces {
        let end = old.expires_at.as_deref().unwrap_or("never");
        shown.push(format!("replaces   {}, which ends {end}", old.key_id));
    }
    shown.extend(made.notes.iter().map(|note| format!("note       {note}")));
    shown
}

fn lines(key: &KeyLine) -> Vec<String> {
    let mut lines = vec![
        format!("key        {}", key.key_id),
        format!("merchant   {}", key.merchant_id),
        format!("label      {}", key.label),
        format!("state      {}", key.state),
        format!("scopes     {}", key.scopes.join(", ")),
        format!("signature  {}", key.signature),
        format!("networks   {}", if key.ip.is_empty() { "any".to_owned() } else { key.ip.join(", ") }),
        format!("created    {}", key.created_at),
    ];
    let optional = [
        ("requests ", key.requests_per_minute.map(|limit| format!("{limit} a minute"))),
        ("expires  ", key.expires_at.clone()),
        ("revoked  ", key.revoked_at.clone()),
        ("successor", key.replaced_by.clone()),
        ("last used", key.last_used_at.clone()),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}  {value}"))));
    lines.extend(key.daily_withdraw_caps.iter().map(|(asset, cap)| format!("daily cap  {cap} {asset}")));
    lines.extend(key.withdraw_addresses.iter().map(|address| format!("pays to    {address}")));
    lines
}

fn line(key: &KeyLine) -> String {
    let KeyLine { key_id, state, signature, label, .. } = key;
    let used = key.last_used_at.as_deref().unwrap_or("never");
    format!("{key_id}  {state:<8}  {:<28}  {signature:<9}  last used {used}  {label}", key.scopes.join(","))
}

//! What to try while the demo runs: commands to paste, with everything filled in.

use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Word;
use xthonpay_tests::places::checkout;

use crate::narrator::Narrator;
use crate::parts::Parts;

/// Prints them.
pub(crate) fn print(parts: &Parts, narrator: &Narrator) -> Result<(), BoxError> {
    let example = checkout().join("examples/merchant-python");
    let (example, environment) = (example.display(), parts.environment_file());
    let environment = environment.display();
    let (binary, config) = (parts.places.binary.display(), parts.host.config_file());
    let config = config.display();
    let swap = swap(parts);
    let pay = payment(parts)?;
    narrator.say(&format!(
        r#"
It runs until Ctrl-C. In another terminal:

# the merchant's variables
. {environment}

# a signed request with curl, and the same in Python
{example}/signed_curl.py GET /balance
{example}/signed_curl.py POST /invoices '{{"amount":"12.50","external_id":"order_2"}}'
{example}/command.py create 20.00 --external-id order_3
{example}/command.py list

# webhooks on your own screen: start this, then make an invoice with --callback-url set to what it prints
{example}/command.py receive

# pay: put an invoice's deposit_address in place of ADDRESS (40 hexadecimal digits, without 0x); this sends 12.5 USDT
{pay}

# how the host is doing
{binary} status --config {config}

# other rules and another webhook body, by config alone: change two lines and restart the host; then make an invoice again
{swap}
"#
    ));
    Ok(())
}

/// A transfer of 12.5 USDT by the node's first unlocked account, as a JSON-RPC call.
fn payment(parts: &Parts) -> Result<String, BoxError> {
    let amount = Word::from(Amount::parse("12.5", Decimals::new(18)?)?);
    let data = format!("0xa9059cbb{}ADDRESS{}", "0".repeat(24), hex::encode(amount.0));
    Ok(format!(
        r#"curl -s {} -H 'content-type: application/json' -d '{{"jsonrpc":"2.0","id":1,"method":"eth_sendTransaction","params":[{{"from":"{}","to":"{}","gas":"0x30d40","data":"{data}"}}]}}'"#,
        parts.node_url(),
        parts.chain.payer().to_lower_hex(),
        parts.usdt.to_lower_hex(),
    ))
}

/// Binds other plugins and lets the host end; the demo starts it again with the new config.
fn swap(parts: &Parts) -> String {
    let hooks = r#"s/^invoice-rules = .*/invoice-rules = ["loyal-shop"]/; s/^webhook-format = .*/webhook-format = "standard-webhooks"/"#;
    format!("sed -i '{hooks}' {} && kill \"$(cat {})\"", parts.host.config_file().display(), parts.pid_file().display())
}

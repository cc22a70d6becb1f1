//! The demo does what it says, on the two streams where it says it.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use xthonpay_tests::BoxError;
use xthonpay_tests::places::Places;

use crate::world::{Done, PATIENCE};

/// Runs the demo in a folder of its own, so that one that runs beside the tests keeps its data.
async fn demo(arguments: &[&str]) -> Result<Output, BoxError> {
    let (places, folder) = (Places::find()?, tempfile::tempdir()?);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xthonpay-demo"));
    command
        .args(arguments)
        .env("CARGO_TARGET_DIR", folder.path())
        .env("XTHONPAY_BIN", places.binary)
        .env("XTHONPAY_PLUGINS", places.plugins)
        .env("XTHONPAY_TOOLS", places.tools)
        .kill_on_drop(true);
    Ok(timeout(PATIENCE, command.output()).await??)
}

#[tokio::test]
async fn one_sale_ends_with_one_line_of_json() -> Done {
    let Output { status, stdout, stderr } = demo(&["--once", "--json"]).await?;
    let (printed, story) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    assert!(status.success(), "{story}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let timings: Value = serde_json::from_str(&printed)?;
    assert_eq!(timings["ok"], true);
    for member in ["block_to_seen_ms", "final_to_paid_ms", "paid_to_webhook_ms", "total_ms"] {
        assert!(timings[member].is_u64(), "{member}: {timings}");
    }
    for word in ["created", "seen", "final", "webhook", "balance    50 USDT"] {
        assert!(story.contains(word), "no {word} in {story}");
    }
    Ok(())
}

#[tokio::test]
async fn an_argument_that_means_nothing_is_refused_with_advice() -> Done {
    let refused = demo(&["--fast"]).await?;
    let said = String::from_utf8(refused.stderr)?;
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("--fast") && said.contains("--once"), "{said}");
    Ok(())
}

//! The log: lines on standard error, for people or for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};

/// What libraries may say unless the config names them: their warnings. Their lower levels speak of their own internals.
const QUIET: [&str; 7] = ["surrealdb", "surrealkv", "hyper", "reqwest", "wasmtime", "cranelift", "rustls"];

/// Starts the log. Later calls have no effect.
pub(crate) fn start(config: &LogConfig) {
    let filter = QUIET.iter().fold(EnvFilter::new(&config.filter), |filter, target| {
        let named = config.filter.contains(target);
        let directive = format!("{target}=warn").parse();
        match directive {
            Ok(directive) if !named => filter.add_directive(directive),
            _ => filter,
        }
    });
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start only happens in tests, where the first one's settings are as good.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(is_terminal()).finish().try_init(),
        // The list of spans holds the innermost one too; twice would cost a tenth of an answer's time.
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

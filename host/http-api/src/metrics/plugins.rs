//! What is counted about calls of plugins.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use xthonpay_payments::hook_tally::HookTally;

/// Reads the counts at each scrape.
#[derive(Debug)]
pub(super) struct Plugins(pub(super) Arc<HookTally>);

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.0.all();
        let help = "Calls of plugins, by how they ended";
        let mut family = encoder.encode_descriptor("plugin_calls", help, None, MetricType::Counter)?;
        for (plugin, function, tally) in &all {
            for (outcome, count) in tally.counts() {
                let labels = [("plugin", plugin.as_str()), ("function", *function), ("outcome", outcome.name())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Time that calls of plugins took, from question to end, waiting for a place included";
        let unit = Unit::Seconds;
        let mut family = encoder.encode_descriptor("plugin_call_time", help, Some(&unit), MetricType::Counter)?;
        for (plugin, function, tally) in &all {
            let labels = [("plugin", plugin.as_str()), ("function", *function)];
            ConstCounter::new(tally.total().as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use xthonpay_payments::hook_tally::HookOutcome;

    use super::*;

    #[test]
    fn every_outcome_of_every_function_is_a_series() {
        let tally = Arc::new(HookTally::default());
        tally.of("shop-rules", "on-draft").count(HookOutcome::Trapped, Duration::from_millis(1_500));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Plugins(tally)));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "plugin_calls_total{plugin=\"shop-rules\",function=\"on-draft\",outcome=\"trapped\"} 1\n",
            "plugin_calls_total{plugin=\"shop-rules\",function=\"on-draft\",outcome=\"answered\"} 0\n",
            "plugin_call_time_seconds_total{plugin=\"shop-rules\",function=\"on-draft\"} 1.5\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

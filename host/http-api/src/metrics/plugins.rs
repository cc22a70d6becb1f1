//! What is counted about calls of plugins.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use xthonpay_payments::hook_tally::{FunctionTally, HookTally, RANGES_US, Times};

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
        histogram(&mut encoder, "plugin_call_time", help, &all, |tally| tally.times())?;
        let help = "Time that calls of plugins waited for a place";
        histogram(&mut encoder, "plugin_call_wait", help, &all, |tally| tally.waits())?;
        let help = "Capabilities that calls of plugins called";
        counter(&mut encoder, "plugin_host_calls", help, &all, |tally| tally.host_calls())?;
        let help = "Lines of the logs of plugins that were dropped";
        counter(&mut encoder, "plugin_log_lines_dropped", help, &all, |tally| tally.dropped_lines())?;
        let help = "The most linear memory that a call of a plugin has had";
        let unit = Unit::Bytes;
        let mut family = encoder.encode_descriptor("plugin_memory_max", help, Some(&unit), MetricType::Gauge)?;
        for (plugin, function, tally) in &all {
            let labels = [("plugin", plugin.as_str()), ("function", *function)];
            ConstGauge::new(tally.memory_bytes_max()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A plugin, a function of it, and its counts.
type Counted = (String, &'static str, Arc<FunctionTally>);

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[Counted],
    count: impl Fn(&FunctionTally) -> u64,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (plugin, function, tally) in all {
        let labels = [("plugin", plugin.as_str()), ("function", *function)];
        ConstCounter::new(count(tally)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[Counted],
    times: impl Fn(&FunctionTally) -> &Times,
) -> Result<(), fmt::Error> {
    let unit = Unit::Seconds;
    let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
    for (plugin, function, tally) in all {
        let labels = [("plugin", plugin.as_str()), ("function", *function)];
        let (times, ends) = (times(tally), RANGES_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64()));
        let ranges = times.ranges();
        let buckets: Vec<_> = ends.chain([f64::INFINITY]).zip(ranges.iter().copied()).collect();
        let all = ranges.iter().sum();
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            times.total().as_secs_f64(),
            all,
            &buckets,
            None,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use xthonpay_payments::hook_tally::{CallUse, HookOutcome};

    use super::*;

    #[test]
    fn every_outcome_of_every_function_is_a_series() {
        let tally = Arc::new(HookTally::default());
        tally.of("shop-rules", "on-draft").count(HookOutcome::Trapped, Duration::from_millis(1_500));
        let used = CallUse { memory_bytes: 65_536, host_calls: 3, ..CallUse::default() };
        tally.of("shop-rules", "on-draft").note(&used);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Plugins(tally)));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "plugin_calls_total{plugin=\"shop-rules\",function=\"on-draft\",outcome=\"trapped\"} 1\n",
            "plugin_calls_total{plugin=\"shop-rules\",function=\"on-draft\",outcome=\"answered\"} 0\n",
            "plugin_call_time_seconds_sum{plugin=\"shop-rules\",function=\"on-draft\"} 1.5\n",
            "plugin_call_time_seconds_count{plugin=\"shop-rules\",function=\"on-draft\"} 1\n",
            "plugin_call_time_seconds_bucket{le=\"1.0\",plugin=\"shop-rules\",function=\"on-draft\"} 0\n",
            "plugin_call_time_seconds_bucket{le=\"5.0\",plugin=\"shop-rules\",function=\"on-draft\"} 1\n",
            "plugin_call_time_seconds_bucket{le=\"+Inf\",plugin=\"shop-rules\",function=\"on-draft\"} 1\n",
            "plugin_memory_max_bytes{plugin=\"shop-rules\",function=\"on-draft\"} 65536\n",
            "plugin_host_calls_total{plugin=\"shop-rules\",function=\"on-draft\"} 3\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

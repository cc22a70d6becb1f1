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
use xthonpay_payments::plugin_standing::{PluginStanding, PluginsProbe, Standing};

/// Reads the counts and how the plugins do at each scrape.
pub(super) struct Plugins {
    pub(super) tally: Arc<HookTally>,
    pub(super) standings: PluginsProbe,
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins").field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        standings(&mut encoder, &(self.standings)())?;
        let all = self.tally.all();
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
        let help = "Time that the instance of a call took to make";
        histogram(&mut encoder, "plugin_instantiation", help, &all, |tally| tally.instantiations())?;
        let help = "Time that the guest of a call worked itself";
        histogram(&mut encoder, "plugin_guest_time", help, &all, |tally| tally.guest_times())?;
        let help = "Time that capabilities worked for a call, waiting for others included";
        histogram(&mut encoder, "plugin_host_time", help, &all, |tally| tally.loan_times())?;
        let help = "Capabilities that calls of plugins called, by interface and how it ended";
        let mut family = encoder.encode_descriptor("plugin_host_calls", help, None, MetricType::Counter)?;
        for (plugin, function, tally) in &all {
            for ((interface, outcome), count) in tally.loans() {
                let labels = [
                    ("plugin", plugin.as_str()),
                    ("function", *function),
                    ("interface", interface),
                    ("outcome", outcome.name()),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Bytes of bodies that calls of plugins exchanged with upstreams";
        let unit = Unit::Bytes;
        let mut family = encoder.encode_descriptor("plugin_upstream", help, Some(&unit), MetricType::Counter)?;
        for (plugin, function, tally) in &all {
            for (direction, bytes) in ["sent", "received"].into_iter().zip(tally.upstream_bytes()) {
                let labels = [("plugin", plugin.as_str()), ("function", *function), ("direction", direction)];
                ConstCounter::new(bytes).encode(family.encode_family(&labels)?)?;
            }
        }
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

/// How the plugins do, and which component of each serves.
fn standings(encoder: &mut DescriptorEncoder<'_>, all: &[PluginStanding]) -> Result<(), fmt::Error> {
    let help = "Whether a function of a plugin is called, or why not: 1 for the one that holds";
    let mut family = encoder.encode_descriptor("plugin_standing", help, None, MetricType::Gauge)?;
    for plugin in all {
        for (function, standing) in &plugin.functions {
            for known in Standing::ALL {
                let labels = [("plugin", plugin.plugin.as_str()), ("function", *function), ("standing", known.name())];
                ConstGauge::new(u64::from(known == *standing)).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let help = "Which component of a plugin serves: the how manyth that this host has loaded, 0 for none";
    let mut family = encoder.encode_descriptor("plugin_generation", help, None, MetricType::Gauge)?;
    for plugin in all {
        let digest = plugin.digest.as_deref().unwrap_or_default();
        let labels = [("plugin", plugin.plugin.as_str()), ("hook", plugin.hook), ("digest", digest)];
        ConstGauge::new(plugin.generation).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
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
    use xthonpay_payments::hook_tally::{CallUse, HookOutcome, LoanOutcome};

    use super::*;

    #[test]
    fn every_outcome_of_every_function_is_a_series() {
        let tally = Arc::new(HookTally::default());
        tally.of("shop-rules", "on-draft").count(HookOutcome::Trapped, Duration::from_millis(1_500));
        let used = CallUse {
            memory_bytes: 65_536,
            loans: [(("http", LoanOutcome::Unavailable), 3)].into(),
            instantiated: Some(Duration::from_micros(20)),
            guest: Duration::from_millis(2),
            lent: Duration::from_millis(500),
            sent_bytes: 7,
            received_bytes: 8,
            ..CallUse::default()
        };
        tally.of("shop-rules", "on-draft").note(&used);
        let standing = PluginStanding {
            plugin: "shop-rules".to_owned(),
            hook: "invoice-rules",
            digest: Some("ab".to_owned()),
            generation: 4,
            functions: vec![("on-draft", Standing::Paused), ("on-payment", Standing::Serving)],
        };
        let standings: PluginsProbe = Arc::new(move || vec![standing.clone()]);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Plugins { tally, standings }));
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
            "plugin_host_calls_total{plugin=\"shop-rules\",function=\"on-draft\",interface=\"http\",outcome=\"unavailable\"} 3\n",
            "plugin_instantiation_seconds_sum{plugin=\"shop-rules\",function=\"on-draft\"} 0.00002\n",
            "plugin_guest_time_seconds_sum{plugin=\"shop-rules\",function=\"on-draft\"} 0.002\n",
            "plugin_host_time_seconds_sum{plugin=\"shop-rules\",function=\"on-draft\"} 0.5\n",
            "plugin_upstream_bytes_total{plugin=\"shop-rules\",function=\"on-draft\",direction=\"sent\"} 7\n",
            "plugin_upstream_bytes_total{plugin=\"shop-rules\",function=\"on-draft\",direction=\"received\"} 8\n",
            "plugin_standing{plugin=\"shop-rules\",function=\"on-draft\",standing=\"paused\"} 1\n",
            "plugin_standing{plugin=\"shop-rules\",function=\"on-draft\",standing=\"serving\"} 0\n",
            "plugin_standing{plugin=\"shop-rules\",function=\"on-payment\",standing=\"serving\"} 1\n",
            "plugin_generation{plugin=\"shop-rules\",hook=\"invoice-rules\",digest=\"ab\"} 4\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

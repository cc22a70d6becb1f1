//! What the dispatcher of webhooks counts.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use xthonpay_payments::delivery::dispatch::Tally;

/// Reads the dispatcher's counts at each scrape.
#[derive(Debug)]
pub(super) struct Webhooks(pub(super) Arc<Tally>);

impl Collector for Webhooks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        for (name, help, count) in [
            ("webhooks_delivered", "Deliveries that a receiver took", counts.delivered),
            ("webhook_attempts_failed", "Attempts that failed and are followed by another one", counts.attempts_failed),
            ("webhooks_given_up", "Deliveries that are not tried again by themselves", counts.given_up),
            (
                "webhook_endpoints_disabled",
                "Endpoints that were switched off because they failed for too long, or asked for it",
                counts.endpoints_disabled,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(family)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn every_count_is_a_counter_from_the_beginning() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Webhooks(Arc::default())));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for name in ["webhooks_delivered", "webhook_attempts_failed", "webhooks_given_up", "webhook_endpoints_disabled"]
        {
            assert!(text.contains(&format!("# TYPE {name} counter\n")), "{text}");
            assert!(text.contains(&format!("{name}_total 0\n")), "{text}");
        }
    }
}

//! Writing metrics: a name, a help and a type, declared once as a [`Metric`], and its samples.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::histogram::{BUCKETS, Distribution};

/// A metric as it is declared: a constant of its room's `metrics.rs`.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name, with its unit; a counter's samples have `_total` behind it.
    pub name: &'static str,
    /// What it tells, in one sentence without its full stop.
    pub help: &'static str,
}

impl Metric {
    /// Declares one.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

/// A page of metrics that is being written.
#[derive(Debug)]
pub struct Exposition<'a>(DescriptorEncoder<'a>);

impl<'a> Exposition<'a> {
    /// Goes on where the encoder is.
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// One number that only grows.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn counter(&mut self, metric: Metric, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    /// One number of seconds or the like that only grows.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn counter_f64(&mut self, metric: Metric, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    /// Numbers that only grow, told apart by labels.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
        for (labels, value) in values {
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    /// One number that goes up and down.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn gauge(&mut self, metric: Metric, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
        encoder.encode_gauge(&value)
    }

    /// Numbers that go up and down, told apart by labels.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn gauges<L: EncodeLabelSet>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Durations, in seconds.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn histogram(&mut self, metric: Metric, value: &Distribution) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(value.total.as_secs_f64(), value.count(), &bounds(value), None)
    }

    /// Durations, in seconds, told apart by labels.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn histograms<L: EncodeLabelSet>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (L, Distribution)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Histogram)?;
        for (labels, value) in values {
            encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                value.total.as_secs_f64(),
                value.count(),
                &bounds(&value),
                None,
            )?;
        }
        Ok(())
    }

    /// What something is: a 1 with labels.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn info<L: EncodeLabelSet>(&mut self, metric: Metric, labels: &L) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Info)?;
        encoder.encode_info(labels)
    }
}

/// The upper bound of each bucket in seconds, and what is in it; the last has none.
fn bounds(value: &Distribution) -> [(f64, u64); BUCKETS] {
    let mut bounds = [(f64::INFINITY, 0); BUCKETS];
    for (i, (bound, count)) in bounds.iter_mut().zip(value.buckets).enumerate() {
        let is_last = i == BUCKETS - 1;
        *bound = (if is_last { f64::INFINITY } else { (1_u64 << i) as f64 / 1e6 }, count);
    }
    bounds
}

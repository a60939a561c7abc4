//! The metrics of the twins: what `/metrics` says of shards, commits, streams and who is refused.
//!
//! Labels are kinds and reasons of which there are few, and shards; never devices. Handlers' kinds are those that the
//! binary knows.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::meter::{Distribution, ENDS, Exposition, Metric, STEPS, ShardMeter, What, read};
use crate::router::Router;

/// Inputs.
pub const INPUTS: Metric = Metric::new(
    "twinfold_inputs",
    "Inputs by what they ask for and how they ended: accepted, refused (with the code), overloaded, unwritten, unknown, stopping",
);
/// Latency.
pub const INPUT_SECONDS: Metric = Metric::new(
    "twinfold_input_duration_seconds",
    "From the admission of an input from outside until its answer left, after the commit that it rests on",
);
/// Batches.
pub const COMMITS: Metric = Metric::new("twinfold_commits", "Batches of decisions that were committed");
/// Decisions.
pub const DECISIONS: Metric =
    Metric::new("twinfold_decisions", "Decisions that were committed; by commits: the size of a batch");
/// Entries.
pub const COMMITTED_BYTES: Metric =
    Metric::new("twinfold_committed_bytes", "Bytes of the committed batches as the log has them");
/// Admission.
pub const ADMITTED: Metric =
    Metric::new("twinfold_admission_inputs", "Inputs that are admitted and not answered yet, by shard");
/// Admission.
pub const ADMITTED_BYTES: Metric =
    Metric::new("twinfold_admission_bytes", "Bytes of the inputs that are admitted and not answered yet");
/// Admission.
pub const ADMISSION_REFUSALS: Metric = Metric::new(
    "twinfold_admission_refusals",
    "Inputs that found no room, by the limit: inputs, bytes, or the state store being behind",
);
/// Shards.
pub const SHARDS_SERVING: Metric = Metric::new("twinfold_shards_serving", "Shards that serve, of 64");
/// Shards.
pub const SHARD_STARTS: Metric =
    Metric::new("twinfold_shard_starts", "How often a shard was started, its first start included, by shard");
/// Checkpoints.
pub const CHECKPOINT_SECONDS: Metric =
    Metric::new("twinfold_checkpoint_duration_seconds", "Writing a checkpoint of a shard, syncs included");
/// Checkpoints.
pub const CHECKPOINT_BYTES: Metric =
    Metric::new("twinfold_checkpoint_bytes", "Bytes of the images that checkpoints wrote");
/// Checkpoints.
pub const CHECKPOINT_IMAGES: Metric =
    Metric::new("twinfold_checkpoint_images", "Images of twins that checkpoints wrote");
/// Twins.
pub const ACTIVATIONS: Metric =
    Metric::new("twinfold_activations", "Twins that were brought into memory because they were spoken to");
/// Twins.
pub const PASSIVATIONS: Metric =
    Metric::new("twinfold_passivations", "Twins that left memory because others needed the room");
/// Twins.
pub const RESIDENT: Metric = Metric::new("twinfold_resident_twins", "Twins in memory");
/// Twins.
pub const RESIDENT_BYTES: Metric =
    Metric::new("twinfold_resident_twins_bytes", "Memory of the twins in it, by estimate");
/// Twins.
pub const REGISTERED: Metric = Metric::new("twinfold_registered_twins", "Twins that are registered");
/// Sessions.
pub const SESSIONS: Metric =
    Metric::new("twinfold_connected_sessions", "Sessions of devices that are connected to this node");
/// Commands.
pub const COMMANDS: Metric = Metric::new(
    "twinfold_commands",
    "Commands by the step that they took: queued, sent, delivered, done and so on",
);
/// Timers.
pub const TIMERS_FIRED: Metric = Metric::new("twinfold_timers_fired", "Timers of behaviours that fired");
/// Streams.
pub const STREAM_BYTES: Metric =
    Metric::new("twinfold_stream_bytes", "Bytes of the records that were appended to the streams");
/// Streams.
pub const STREAM_END: Metric =
    Metric::new("twinfold_stream_end_offset", "The offset after the last record of a shard's stream");
/// Streams.
pub const STREAM_EARLIEST: Metric =
    Metric::new("twinfold_stream_earliest_offset", "The first offset that a shard's stream still has");
/// Streams.
pub const STREAM_TRIMS: Metric =
    Metric::new("twinfold_stream_trims", "How often streams lost their oldest records");
/// Handlers.
pub const OVERRUNS: Metric = Metric::new(
    "twinfold_handler_overruns",
    "Decisions that took longer than the budget of a handler, by the kind of twin",
);

/// A router's metrics.
#[derive(Debug)]
pub struct Metrics(Router);

impl Metrics {
    /// Of the twins behind this router.
    pub fn new(router: Router) -> Self {
        Self(router)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(router) = self;
        let page = &mut Exposition::new(encoder);
        inputs(router, page)?;
        let sum = |of: fn(&ShardMeter) -> u64| router.meters().map(|(_, meter)| of(meter)).sum::<u64>();
        let latency =
            router.meters().fold(Distribution::default(), |all, (_, m)| all.plus(&m.latency.read()));
        page.histogram(INPUT_SECONDS, &latency)?;
        page.counter(COMMITS, sum(|m| read(&m.batches)))?;
        page.counter(DECISIONS, sum(|m| read(&m.decisions)))?;
        page.counter(COMMITTED_BYTES, sum(|m| read(&m.entry_bytes)))?;
        let steps = STEPS.into_iter().enumerate().map(|(i, step)| {
            ([("step", step.as_str())], router.meters().map(|(_, m)| read(&m.steps[i])).sum::<u64>())
        });
        page.counters(COMMANDS, steps)?;
        page.counter(TIMERS_FIRED, sum(|m| read(&m.timers_fired)))?;
        admission(router, page)?;
        page.gauge(SHARDS_SERVING, f64::from(router.shards_serving()))?;
        let starts = router.meters().map(|(shard, m)| ([("shard", shard)], read(&m.restarts)));
        page.counters(SHARD_STARTS, starts)?;
        let written =
            router.meters().fold(Distribution::default(), |all, (_, m)| all.plus(&m.checkpoints.read()));
        page.histogram(CHECKPOINT_SECONDS, &written)?;
        page.counter(CHECKPOINT_BYTES, sum(|m| read(&m.checkpoint_bytes)))?;
        page.counter(CHECKPOINT_IMAGES, sum(|m| read(&m.checkpoint_images)))?;
        page.counter(ACTIVATIONS, sum(|m| read(&m.activations)))?;
        page.counter(PASSIVATIONS, sum(|m| read(&m.passivations)))?;
        page.gauge(RESIDENT, sum(|m| read(&m.residents)) as f64)?;
        page.gauge(RESIDENT_BYTES, sum(|m| read(&m.resident_bytes)) as f64)?;
        page.gauge(REGISTERED, router.registered() as f64)?;
        page.gauge(SESSIONS, sum(|m| read(&m.connections)) as f64)?;
        page.counter(STREAM_BYTES, sum(|m| read(&m.stream_bytes)))?;
        page.counter(STREAM_TRIMS, sum(|m| read(&m.stream_trims)))?;
        let ends = router.meters().map(|(shard, m)| ([("shard", shard)], read(&m.stream_end) as f64));
        page.gauges(STREAM_END, ends)?;
        let earliest =
            router.meters().map(|(shard, m)| ([("shard", shard)], read(&m.stream_earliest) as f64));
        page.gauges(STREAM_EARLIEST, earliest)?;
        page.counters(OVERRUNS, router.overruns().into_iter().map(|(kind, n)| ([("kind", kind)], n)))
    }
}

fn inputs(router: &Router, page: &mut Exposition<'_>) -> fmt::Result {
    let mut rows = Vec::new();
    for (what, name) in What::NAMES.into_iter().enumerate() {
        for (end, outcome) in ENDS.into_iter().enumerate() {
            let n = router.meters().map(|(_, meter)| meter.ends(what, end)).sum::<u64>();
            // What never happened needs no line, but that there are inputs at all does.
            if n > 0 || end == 0 {
                rows.push(([("input", name), ("outcome", outcome), ("code", "")], n));
            }
        }
    }
    let refused = router.refusals().each();
    rows.extend(
        refused.map(|(what, code, n)| ([("input", what), ("outcome", "refused"), ("code", code)], n)),
    );
    page.counters(INPUTS, rows)
}

fn admission(router: &Router, page: &mut Exposition<'_>) -> fmt::Result {
    let used = || router.admissions().map(|(shard, admission)| ([("shard", shard)], admission.used()));
    page.gauges(ADMITTED, used().map(|(shard, (inputs, _))| (shard, inputs as f64)))?;
    page.gauge(ADMITTED_BYTES, used().map(|(_, (_, bytes))| bytes as f64).sum())?;
    let refusals = crate::admission::REASONS.into_iter().enumerate().map(|(i, limit)| {
        let n = router.admissions().map(|(_, admission)| admission.refusals(i)).sum::<u64>();
        ([("limit", limit)], n)
    });
    page.counters(ADMISSION_REFUSALS, refusals)
}

//! `bench replay`: how long a node takes to be ready again, after a kill and after a stop.

use std::path::Path;
use std::time::{Duration, Instant};

use super::credentials::Credentials;
use super::fill::{self, End};
use super::latency::Latencies;
use super::node::{Data, Node};
use super::progress::Progress;
use super::report::Report;
use super::{Error, Setting, disk, process};

/// How often each kind of start is measured.
const STARTS: u64 = 5;

/// Measures starts of a node in a process of its own, from the start of the process to its `ready`.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("replay");
    let data = Data::new(setting.data.as_deref())?;
    let before = disk::probe_first(data.path(), &mut progress)?;
    let (twins, updates) = (setting.twins.get(), setting.updates);
    let begin = Instant::now();
    let empty_folder = Data::new(None)?;
    let (empty, empty_rss) = start(empty_folder.path())?;

    progress.say(&format!("filling: {twins} twins, {updates} updates, then a kill"));
    let killed_folder = data.path().join("killed");
    fill::fill(&killed_folder, setting, updates, End::Killed)?;
    let mut killed = Latencies::new();
    for n in 0..STARTS {
        killed.record(start(&killed_folder)?.0);
        progress.show((n + 1) as f64 / STARTS as f64, "starts after a kill");
    }

    progress.say(&format!("filling: {twins} twins, {updates} updates, then a stop"));
    let stopped_folder = data.path().join("stopped");
    fill::fill(&stopped_folder, setting, updates, End::Stopped)?;
    let (mut stopped, mut rss_bytes) = (Latencies::new(), 0);
    for n in 0..STARTS {
        let (took, rss) = start(&stopped_folder)?;
        stopped.record(took);
        rss_bytes = rss;
        progress.show((n + 1) as f64 / STARTS as f64, "starts after a stop");
    }
    let after = disk::probe(data.path())?;

    let mut report = Report::of("replay");
    report.set("seconds", begin.elapsed().as_secs_f64());
    report.set("twins", twins);
    report.set("updates", updates);
    report.set("payload", setting.payload);
    report.set("acked", 2 * STARTS);
    report.ratio("acked_per_s", (2 * STARTS) as f64, begin.elapsed().as_secs_f64());
    report.set("errors", 0u64);
    killed.report(&mut report);
    report.set("stopped_p50_us", stopped.quantile_us(0.5));
    report.set("stopped_max_us", stopped.max_us());
    report.set("empty_us", u64::try_from(empty.as_micros()).unwrap_or(u64::MAX));
    let replaying = Duration::from_micros(killed.quantile_us(0.5)).saturating_sub(empty);
    report.ratio("updates_per_s_replayed", (twins + updates) as f64, replaying.as_secs_f64());
    report.set("rss_empty_bytes", empty_rss);
    report.set("rss_cold_bytes", rss_bytes);
    report.set("bytes_per_cold_twin", rss_bytes.saturating_sub(empty_rss) / twins);
    disk::report(&mut report, &before, &after);
    Ok(report)
}

/// Starts a node and kills it; how long it took, and its memory.
fn start(data: &Path) -> Result<(Duration, u64), Error> {
    let node = Node::start(data, Credentials::None, &[])?;
    let used = process::usage(Some(node.pid())).map_err(Error::Process)?;
    Ok((node.started_in, used.rss_bytes))
}

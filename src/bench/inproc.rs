//! `bench inproc`: durable updates of many twins without a network, to tell what the path costs behind the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::feed::{self, Amount, Fed};
use super::node::Data;
use super::progress::Progress;
use super::report::Report;
use super::{Error, Setting, disk, process};

/// Measures in this process: generator and node are one here, and so is what they use.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("inproc");
    let data = Data::new(setting.data.as_deref())?;
    let before = disk::probe_first(data.path(), &mut progress)?;
    let (twins, window) = (setting.twins.get(), setting.window_of_all());
    progress.say(&format!("registering {twins} twins"));
    let measured = feed::with_node(data.path(), |router| async move {
        let usage = || process::usage(None).map_err(Error::Process);
        let acked = Arc::new(AtomicU64::new(0));
        let empty = usage()?;
        let amount = Amount { inputs: twins, until: None, window };
        let registered = feed::feed(&router, amount, &feed::registrations(), &acked).await;
        let first = feed::reports(twins, setting.payload);
        let said = feed::feed(&router, amount, &first, &acked).await;
        let full = usage()?;

        let begin = Instant::now();
        let amount = Amount { inputs: u64::MAX, until: Some(begin + setting.duration), window };
        let shown = tokio::spawn(show(progress, acked.clone(), setting.duration));
        let fed = feed::feed(&router, amount, &first, &acked).await;
        let took = begin.elapsed();
        shown.abort();
        let end = usage()?;
        Ok(Measured {
            errors_before: registered.errors + said.errors,
            fed,
            took,
            cpu_s: end.cpu_s - full.cpu_s,
            bytes: full.rss_bytes.saturating_sub(empty.rss_bytes),
        })
    })?;
    let after = disk::probe(data.path())?;

    let Measured { errors_before, fed, took, cpu_s, bytes } = measured;
    let mut report = Report::of("inproc");
    report.set("seconds", took.as_secs_f64());
    report.set("twins", twins);
    report.set("payload", setting.payload);
    report.set("window", window);
    report.set("acked", fed.acked);
    report.ratio("acked_per_s", fed.acked as f64, took.as_secs_f64());
    report.set("errors", fed.errors + errors_before);
    fed.latencies.report(&mut report);
    report.ratio("cpu_s_per_million", cpu_s, fed.acked as f64 / 1e6);
    report.set("bytes_per_hot_twin", bytes / twins);
    disk::report(&mut report, &before, &after);
    if let Some(why) = fed.why {
        report.set("first_error", why);
    }
    Ok(report)
}

struct Measured {
    /// While the twins were made.
    errors_before: u64,
    fed: Fed,
    took: Duration,
    cpu_s: f64,
    bytes: u64,
}

/// Shows how far it is, until it is aborted.
async fn show(mut progress: Progress, acked: Arc<AtomicU64>, duration: Duration) {
    let begin = Instant::now();
    let (mut at, mut known) = (begin, acked.load(Ordering::Relaxed));
    loop {
        tokio::time::sleep(progress.every()).await;
        let (now, count) = (Instant::now(), acked.load(Ordering::Relaxed));
        let rate = (count - known) as f64 / (now - at).as_secs_f64();
        let done = begin.elapsed().as_secs_f64() / duration.as_secs_f64();
        progress.show(done, &format!("{rate:.0} acknowledged/s"));
        (at, known) = (now, count);
    }
}

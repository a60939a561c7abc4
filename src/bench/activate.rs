//! `bench activate`: twins that are nowhere in memory are spoken to, each once, in no order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use twins::input::Input;

use super::feed::{self, Amount, Inputs};
use super::fill::{self, End};
use super::node::Data;
use super::progress::Progress;
use super::report::Report;
use super::{Error, Setting, disk, process};

/// Measures in this process, on a folder that another one filled.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("activate");
    let data = Data::new(setting.data.as_deref())?;
    let before = disk::probe_first(data.path(), &mut progress)?;
    let twins = setting.twins.get();
    progress.say(&format!("registering {twins} twins, and passivating them"));
    fill::fill(data.path(), setting, twins, End::Stopped)?;
    progress.say("activating each of them");
    let (fed, took, cold, hot) = feed::with_node(data.path(), |router| async move {
        let usage = || process::usage(None).map_err(Error::Process);
        let cold = usage()?;
        let begin = Instant::now();
        let amount = Amount { inputs: twins, until: None, window: setting.window_of_all() };
        let fed = feed::feed(&router, amount, &reads(twins), &Arc::new(AtomicU64::new(0))).await;
        let took = begin.elapsed();
        Ok((fed, took, cold, usage()?))
    })?;
    let after = disk::probe(data.path())?;

    let mut report = Report::of("activate");
    report.set("seconds", took.as_secs_f64());
    report.set("twins", twins);
    report.set("payload", setting.payload);
    report.set("window", setting.window_of_all());
    report.set("acked", fed.acked);
    report.ratio("acked_per_s", fed.acked as f64, took.as_secs_f64());
    report.set("errors", fed.errors);
    fed.latencies.report(&mut report);
    report.ratio("cpu_s_per_million", hot.cpu_s - cold.cpu_s, fed.acked as f64 / 1e6);
    report.set("rss_cold_bytes", cold.rss_bytes);
    report.set("bytes_per_hot_twin", hot.rss_bytes.saturating_sub(cold.rss_bytes) / twins);
    disk::report(&mut report, &before, &after);
    if let Some(why) = fed.why {
        report.set("first_error", why);
    }
    Ok(report)
}

/// Reads each twin once, in an order that no cache foresees.
fn reads(twins: u64) -> Inputs {
    let stride = stride(twins);
    Arc::new(move |n| {
        (feed::twin(((u128::from(n) * u128::from(stride)) % u128::from(twins)) as u64), Input::Read)
    })
}

/// A step that comes by every number below `n` once.
fn stride(n: u64) -> u64 {
    let shares = |step: &u64| gcd(*step, n) == 1;
    (n * 5 / 8 + 1..).find(shares).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_twin_is_read_once() {
        for twins in [1, 2, 8, 10, 99, 1_000] {
            let inputs = reads(twins);
            let mut read: Vec<_> = (0..twins).map(|n| inputs(n).0).collect();
            read.sort_unstable();
            assert_eq!(read, (0..twins).map(feed::twin).collect::<Vec<_>>(), "{twins}");
        }
    }
}

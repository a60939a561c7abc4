//! What the disk itself takes for a durable write: the histogram that a figure about durability is read with.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Error;
use super::latency::Latencies;
use super::progress::Progress;
use super::report::Report;

/// The sizes that are written in turn, in bytes: what one to a dozen updates of a batch take.
const SIZES: [usize; 4] = [512, 1024, 2048, 4096];
/// How much is zeroed before, so that a write changes no file size.
const ROOM: usize = 1 << 20;
/// When enough was measured: so many writes, or so much time.
const ENOUGH: (u64, Duration) = (500, Duration::from_secs(1));

/// Half of the fdatasyncs of any disk take longer than this, in microseconds.
const IN_MEMORY_US: u64 = 8;

/// Measures fdatasyncs of small writes into a zeroed file in a folder.
pub(super) fn probe(folder: &Path) -> Result<Latencies, Error> {
    let measured = tempfile::tempfile_in(folder).and_then(|file| {
        file.write_all_at(&vec![0; ROOM], 0)?;
        file.sync_all()?;
        measure(&file)
    });
    measured.map_err(|why| Error::Data(folder.to_owned(), why))
}

/// As [`probe`]; says so where the folder seems to be in memory, since nothing in it is durable.
pub(super) fn probe_first(folder: &Path, progress: &mut Progress) -> Result<Latencies, Error> {
    let found = probe(folder)?;
    if found.quantile_us(0.5) < IN_MEMORY_US {
        progress.say("the data folder seems to be in memory; name one on a disk with --data DIR");
    }
    Ok(found)
}

fn measure(file: &File) -> io::Result<Latencies> {
    let (mut latencies, begin, content) = (Latencies::new(), Instant::now(), [7; SIZES[3]]);
    let mut at = 0;
    for n in 0..ENOUGH.0 {
        if begin.elapsed() > ENOUGH.1 {
            break;
        }
        let size = SIZES[n as usize % SIZES.len()];
        let from = Instant::now();
        file.write_all_at(&content[..size], at)?;
        file.sync_data()?;
        latencies.record(from.elapsed());
        at = (at + size as u64) % (ROOM - SIZES[3]) as u64;
    }
    Ok(latencies)
}

/// Reports both histograms, taken before and after what was measured.
pub(super) fn report(report: &mut Report, before: &Latencies, after: &Latencies) {
    report.set("fsync_before_p50_us", before.quantile_us(0.5));
    report.set("fsync_before_p99_us", before.quantile_us(0.99));
    report.set("fsync_before_max_us", before.max_us());
    report.set("fsync_after_p50_us", after.quantile_us(0.5));
    report.set("fsync_after_p99_us", after.quantile_us(0.99));
    report.set("fsync_after_max_us", after.max_us());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_measured_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();

        let latencies = probe(folder.path()).unwrap();

        assert!(latencies.max_us() >= 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

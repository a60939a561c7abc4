//! The streams of a stopped node, as `twinfold log verify` shows them: a line for each shard that has records.

use std::path::Path;

use runtime::files::disk::Disk;
use runtime::stream::{self, Fault, Report, Verdict};
use serde_json::{Value, json};

use super::note;
use super::table::Table;

/// What was found in each shard's stream that has any segment.
pub(super) struct Streams(Vec<(u32, Report)>);

impl Streams {
    /// Reads the streams in a folder. Blocks; changes nothing.
    pub(super) fn verify(folder: &Path) -> Result<Self, stream::Error> {
        let mut reports = Vec::new();
        for shard in 0..cluster::SHARDS {
            for stream in stream::folders(&Disk, folder, shard)? {
                reports.push((shard, stream::verify(&Disk, &stream)?));
            }
        }
        reports.retain(|(_, report)| report.segments > 0);
        Ok(Self(reports))
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&["SHARD", "SEGMENTS", "INDEXED", "FIRST", "END", "BYTES"]);
        for (shard, Report { segments, indexed, records, bytes, .. }) in self.written() {
            table.row(&[shard, segments, indexed, &records.start, &records.end, bytes]);
        }
        table
    }

    pub(super) fn object(&self) -> Value {
        let stream = |(shard, report): &(u32, Report)| {
            let Report { segments, indexed, records, bytes, verdict } = report;
            json!({
                "shard": shard, "segments": segments, "indexed": indexed, "first": records.start,
                "end": records.end, "bytes": bytes, "verdict": verdict_object(verdict),
            })
        };
        self.written().map(stream).collect()
    }

    /// Says what is wrong, and returns whether nothing durable is.
    pub(super) fn conclude(&self) -> bool {
        let mut is_sound = true;
        for (shard, report) in &self.0 {
            let place = |Fault { path, byte, record }: &Fault| {
                format!("{} cannot be read at byte {byte}, where record {record} should be", path.display())
            };
            let (is_durable, line) = match &report.verdict {
                Verdict::Whole => continue,
                Verdict::Torn(fault) => (
                    false,
                    format!(
                        "the stream of shard {shard} was perhaps cut short: {}\nnext: start the node: what no checkpoint had is written again from the log",
                        place(fault)
                    ),
                ),
                Verdict::Damaged(fault) => (
                    true,
                    format!(
                        "error: the stream of shard {shard} is damaged: {}\nnext: restore that file from a copy, or the node: twinfold restore FILE --data DIR",
                        place(fault)
                    ),
                ),
                Verdict::Misled { path } => (
                    true,
                    format!(
                        "error: the index {} does not say what its segment holds\nnext: remove it, and the node makes another: rm {}",
                        path.display(),
                        path.display()
                    ),
                ),
            };
            note(&line);
            is_sound &= !is_durable;
        }
        is_sound
    }

    /// Those that are more than an empty file.
    fn written(&self) -> impl Iterator<Item = &(u32, Report)> {
        self.0.iter().filter(|(_, report)| report.bytes > 0)
    }
}

fn verdict_object(verdict: &Verdict) -> Value {
    let place = |is: &str, Fault { path, byte, record }: &Fault| json!({"is": is, "file": path, "offset": byte, "record": record});
    match verdict {
        Verdict::Whole => json!({"is": "whole"}),
        Verdict::Torn(fault) => place("torn", fault),
        Verdict::Damaged(fault) => place("damaged", fault),
        Verdict::Misled { path } => json!({"is": "misled", "file": path}),
    }
}

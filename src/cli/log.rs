//! `twinfold log`: the log of a stopped node, and the streams that follow from it, read without changing them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use cluster::inspect::{self, Report, Segment, Verdict};
use runtime::files::{Files, disk::Disk};
use serde_json::json;

use super::streams::Streams;
use super::table::Table;
use super::{Error, note, record};

/// Look into the log of a stopped node.
#[derive(Subcommand)]
pub(super) enum Log {
    /// Check every record of the log and of the streams, and say whether a node could start on them
    #[command(
        after_help = "Example:\n  twinfold log verify ./data\n\nThe first table has the segments of the log. The second one has the streams that follow from it, a line for each\nshard with history: segments, how many of them have an index of their twins, and which records are whole."
    )]
    Verify {
        #[command(flatten)]
        log: Folder,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the records, oldest first, up to the first damage
    #[command(after_help = "Example:\n  twinfold log dump ./data --group 7 --limit 20")]
    Dump {
        #[command(flatten)]
        log: Folder,
        /// Of this group: 0 is the meta group, from 1 on the shards
        #[arg(long, value_name = "N")]
        group: Option<u32>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Print a JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct Folder {
    /// The node's data folder, or the `log` folder in it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Log {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Verify { log, json } => verify(&log, json, out),
            Self::Dump { log, group, limit, json } => {
                let asked = |found| group.is_none_or(|group| group == found);
                dump(&log.path(), asked, limit.unwrap_or(usize::MAX), json, out)
            }
        }
    }
}

impl Folder {
    fn path(&self) -> PathBuf {
        let inner = self.folder.join("log");
        if inner.is_dir() { inner } else { self.folder.clone() }
    }
}

fn verify(folder: &Folder, json: bool, out: &mut dyn Write) -> Result<ExitCode, Error> {
    let log = folder.path();
    let report = known(&log, inspect::verify(&Disk, &log))?;
    let lock = Disk.lock(&log.join("lock"));
    let _lock = lock.map_err(|_| Error::Log(cluster::Error::InUse { folder: log.clone() }))?;
    let streams = Streams::verify(&log.with_file_name("streams"))?;
    match json {
        true => writeln!(out, "{}", object(&report, &streams))?,
        false => write!(out, "{}\n{}", table(&report), streams.table())?,
    }
    out.flush()?;
    let (streams, log) = (streams.conclude(), conclude(report.verdict));
    Ok(if streams { log } else { ExitCode::FAILURE })
}

fn dump(
    folder: &Path,
    asked: impl Fn(u32) -> bool,
    mut limit: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Error> {
    if !json {
        writeln!(out, "{}", record::head())?;
    }
    let mut written: io::Result<()> = Ok(());
    let report = inspect::dump(&Disk, folder, &mut |located| {
        if limit == 0 || written.is_err() || !asked(located.record.group) {
            return;
        }
        limit -= 1;
        written = match json {
            true => writeln!(out, "{}", record::object(&located)),
            false => writeln!(out, "{}", record::text(&located)),
        };
    });
    let report = known(folder, report)?;
    written?;
    out.flush()?;
    Ok(conclude(report.verdict))
}

/// What cannot be read, or has nothing in it, is often not a log at all.
fn known(folder: &Path, report: Result<Report, cluster::Error>) -> Result<Report, Error> {
    match report {
        Ok(report) if report.segments.is_empty() && matches!(report.verdict, Verdict::Whole) => {
            Err(Error::EmptyLog(folder.to_owned()))
        }
        Err(error @ cluster::Error::Io { .. }) => Err(Error::NoLog(error)),
        report => report.map_err(Error::Log),
    }
}

/// Says whether a node could start on the log.
fn conclude(verdict: Verdict) -> ExitCode {
    let (starts, line) = match verdict {
        Verdict::Whole => (true, "whole: a node can start on it".to_owned()),
        Verdict::Torn { segment, offset, bytes } => {
            let place = format!("{bytes} bytes at {offset} of segment {segment}");
            (
                true,
                format!("whole but for its last write, which was cut short: {place}\nnext: start the node"),
            )
        }
        Verdict::Damaged { segment, offset } => {
            let what = format!("segment {segment} is damaged at byte {offset}, with whole batches behind it");
            (false, format!("error: {what}\nnext: restore that segment's file, or the node, from a copy"))
        }
        Verdict::Hole { group, index } => {
            let what = format!("group {group} lacks entry {index}");
            (false, format!("error: {what}\nnext: restore the node from a copy"))
        }
    };
    note(&line);
    if starts { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new(&["SEGMENT", "BATCHES", "RECORDS", "USED", "FILE"]);
    for Segment { number, batches, records, used_bytes, file_bytes } in &report.segments {
        table.row(&[number, batches, records, used_bytes, file_bytes]);
    }
    table
}

fn object(report: &Report, streams: &Streams) -> serde_json::Value {
    let segment = |segment: &Segment| {
        let Segment { number, batches, records, used_bytes, file_bytes } = segment;
        json!({
            "number": number, "batches": batches, "records": records,
            "used_bytes": used_bytes, "file_bytes": file_bytes,
        })
    };
    let verdict = match report.verdict {
        Verdict::Whole => json!({"is": "whole"}),
        Verdict::Torn { segment, offset, bytes } => {
            json!({"is": "torn", "segment": segment, "offset": offset, "bytes": bytes})
        }
        Verdict::Damaged { segment, offset } => {
            json!({"is": "damaged", "segment": segment, "offset": offset})
        }
        Verdict::Hole { group, index } => json!({"is": "hole", "group": group, "index": index}),
    };
    let segments: Vec<_> = report.segments.iter().map(segment).collect();
    json!({"segments": segments, "verdict": verdict, "streams": streams.object()})
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use cluster::{Options, Storage};

    use super::*;

    /// What a verb prints of the log in a data folder, and how it ends.
    fn run(folder: &Path, json: bool, verb: fn(Folder, bool) -> Log) -> (String, ExitCode) {
        let mut out = Vec::new();
        let code = verb(Folder { folder: folder.to_owned() }, json).run(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    fn verify(log: Folder, json: bool) -> Log {
        Log::Verify { log, json }
    }

    fn dump(log: Folder, json: bool) -> Log {
        Log::Dump { log, group: Some(3), limit: Some(2), json }
    }

    /// The data folder of a node that was started twice, so that its log has two batches.
    fn stopped() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let options = Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
            drop(Storage::open(Arc::new(Disk), &data.path().join("log"), options).unwrap());
        }
        data
    }

    #[test]
    fn the_log_of_a_stopped_node_is_whole_and_its_records_are_shown() {
        let data = stopped();

        let (table, code) = run(data.path(), false, verify);
        assert!(table.starts_with("SEGMENT  BATCHES  RECORDS  "), "{table}");
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(run(&data.path().join("log"), false, verify).0, table, "either folder is taken");

        let (report, _) = run(data.path(), true, verify);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(
            (&report["verdict"]["is"], &report["segments"][0]["number"]),
            (&"whole".into(), &1.into())
        );

        let (records, _) = run(data.path(), true, dump);
        let groups = records.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        assert_eq!(groups.map(|record| record["group"].clone()).collect::<Vec<_>>(), [3, 3]);
        assert_eq!(run(data.path(), false, dump).0.lines().count(), 3, "a heading and two records");
    }

    #[test]
    fn streams_are_verified_with_the_log_and_their_damage_is_a_failure_too() {
        use runtime::stream::{Indexer, Place, open};
        let data = stopped();
        let indexer = Indexer::by_hand();
        let folder = data.path().join("streams/7");
        let (mut writer, reader) = open(Arc::new(Disk), &folder, Place::default(), &indexer).unwrap();
        for n in 0..2 {
            writer.append(twins::time::Timestamp::from_millis(n), b"record").unwrap();
            writer.seal();
            writer.sync().unwrap();
        }
        assert!(indexer.work());
        drop((writer, reader));

        let (table, code) = run(data.path(), false, verify);
        let line = table.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!((line, code), (vec!["7", "3", "1", "0", "2", "108"], ExitCode::SUCCESS));

        let path = folder.join(format!("{:020}.stream", 0));
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (report, code) = run(data.path(), true, verify);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let verdict = json!({"is": "damaged", "file": path, "offset": 32, "record": 0});
        assert_eq!((&report["streams"][0]["verdict"], code), (&verdict, ExitCode::FAILURE));
    }

    #[test]
    fn damage_ends_with_a_failure() {
        let data = stopped();
        let log = data.path().join("log");
        let mut segments: Vec<_> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|end| end == "wal"));
        let first = segments.iter().min().unwrap();
        let mut bytes = fs::read(first).unwrap();
        // In the first batch, which follows the segment's head.
        bytes[600] ^= 1;
        fs::write(first, bytes).unwrap();

        assert_eq!(run(data.path(), false, verify).1, ExitCode::FAILURE);
    }

    #[test]
    fn what_is_no_log_is_refused_with_what_to_name() {
        let data = tempfile::tempdir().unwrap();
        let refused = Log::Verify { log: Folder { folder: data.path().join("none") }, json: false };
        let refused = refused.run(&mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("next: name the data folder"), "{refused}");

        let empty = Log::Verify { log: Folder { folder: data.path().to_owned() }, json: false };
        let refused = empty.run(&mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("holds no log\nnext: name the data folder"), "{refused}");
    }
}

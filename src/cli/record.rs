//! A record of the log, as a line for people and as JSON for programs.

use std::fmt::Display;

use cluster::META_GROUP;
use cluster::inspect::Located;
use cluster::membership::Membership;
use cluster::meta;
use cluster::wal::record::NODE;
use cluster::wal::{Kind, Record};
use runtime::shard::entry::Batch;
use serde_json::{Value, json};

use super::table::plain;

/// How many twins of a batch a line names.
const NAMED_MAX: usize = 4;

/// What stands over the lines.
pub(super) fn head() -> String {
    line([&"SEGMENT", &"OFFSET", &"GROUP", &"KIND", &"TERM", &"INDEX", &"BYTES", &"CONTENT"])
}

/// A record as a line.
pub(super) fn text(located: &Located) -> String {
    let Located { segment, offset, record } = located;
    let Record { group, kind, id, payload, .. } = record;
    let group = if *group == NODE { "node".to_owned() } else { group.to_string() };
    let content = content(record);
    line([segment, offset, &group, &name(*kind), &id.term, &id.index, &payload.len(), &plain(&content)])
}

/// A record as JSON.
pub(super) fn object(located: &Located) -> Value {
    let Located { segment, offset, record } = located;
    let Record { group, kind, moved, id, payload } = record;
    json!({
        "segment": segment, "offset": offset, "group": (*group != NODE).then_some(group), "kind": name(*kind),
        "moved": moved, "term": id.term, "index": id.index, "bytes": payload.len(), "content": content(record),
    })
}

/// Columns of fixed widths, since a log may be longer than memory.
fn line([segment, offset, group, kind, term, index, bytes, content]: [&dyn Display; 8]) -> String {
    let right = |cell: &dyn Display, width: usize| format!("{:>width$}", cell.to_string());
    let kind = format!("{:<10}", kind.to_string());
    let cells = [
        right(segment, 7),
        right(offset, 9),
        right(group, 5),
        kind,
        right(term, 4),
        right(index, 9),
        right(bytes, 8),
        content.to_string(),
    ];
    cells.join("  ").trim_end().to_owned()
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Blank => "blank",
        Kind::Normal => "normal",
        Kind::Membership => "membership",
        Kind::Vote => "vote",
        Kind::Committed => "committed",
        Kind::Truncate => "truncate",
        Kind::Purged => "purged",
        Kind::Generation => "generation",
        Kind::Forgotten => "forgotten",
    }
}

/// What its payload says, in words.
fn content(record: &Record) -> String {
    match record.kind {
        Kind::Normal if record.group != META_GROUP => decisions(&record.payload),
        Kind::Normal => meta::describe(&record.payload).unwrap_or_else(unreadable),
        Kind::Membership => voters(&record.payload),
        Kind::Vote => record.as_vote().map_or_else(unreadable, |vote| {
            format!("node {}{}", vote.node, if vote.committed { ", granted" } else { "" })
        }),
        _ => String::new(),
    }
}

fn decisions(payload: &[u8]) -> String {
    let Ok(batch) = Batch::decode(payload) else { return unreadable() };
    let twins = batch.decisions.iter().map(|decided| decided.twin.id());
    let named: Vec<_> = twins.take(NAMED_MAX).collect();
    let upkeep = [
        batch.sealed.then(|| "the segment of the stream is sealed".to_owned()),
        batch.trimmed.map(|before| format!("the stream is trimmed before {before}")),
    ];
    let upkeep: Vec<_> = upkeep.into_iter().flatten().collect();
    if batch.decisions.is_empty() && !upkeep.is_empty() {
        return upkeep.join(", ");
    }
    let more = if batch.decisions.len() > NAMED_MAX { ", ..." } else { "" };
    format!("{} decisions: {}{more}", batch.decisions.len(), named.join(", "))
}

fn voters(payload: &[u8]) -> String {
    let Ok(membership) = Membership::decode(payload) else { return unreadable() };
    let nodes: Vec<_> = membership.configs.iter().flatten().map(u64::to_string).collect();
    format!("voters {}", nodes.join(", "))
}

fn unreadable() -> String {
    "not readable by this version".to_owned()
}

#[cfg(test)]
mod tests {
    use cluster::wal::Vote;
    use runtime::log::LogId;

    use super::*;

    #[track_caller]
    fn check(record: Record, shown: &str, content: &str) {
        let located = Located { segment: 3, offset: 4096, record };
        assert_eq!(text(&located), shown);
        assert_eq!(object(&located)["content"], content);
    }

    #[test]
    fn a_record_is_a_line_under_the_headings() {
        assert_eq!(head(), "SEGMENT     OFFSET  GROUP  KIND        TERM      INDEX     BYTES  CONTENT");
        let batch = Batch { term: 2, ..Batch::default() };
        let (id, payload) = (LogId { term: 2, index: 9 }, batch.encode());
        let bytes = payload.len();
        check(
            Record::entry(7, Kind::Normal, id, payload.into()),
            &format!("      3       4096      7  normal         2          9  {bytes:>8}  0 decisions:"),
            "0 decisions: ",
        );
        check(
            Record::vote(7, Vote { term: 2, node: 1, committed: true }),
            "      3       4096      7  vote           2          0         9  node 1, granted",
            "node 1, granted",
        );
        check(Record::generation(5), "      3       4096   node  generation     0          5         0", "");
    }

    #[test]
    fn an_entry_says_what_it_does_to_the_stream() {
        let batch = Batch { term: 2, sealed: true, trimmed: Some(9), ..Batch::default() };
        let record = Record::entry(7, Kind::Normal, LogId { term: 2, index: 9 }, batch.encode().into());
        assert_eq!(content(&record), "the segment of the stream is sealed, the stream is trimmed before 9");
    }

    #[test]
    fn an_entry_of_another_version_is_said_to_be_unreadable() {
        let record =
            Record::entry(7, Kind::Normal, LogId { term: 2, index: 9 }, bytes::Bytes::from_static(b"?"));
        assert_eq!(content(&record), "not readable by this version");
    }
}

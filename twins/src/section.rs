//! One section of a twin's shadow: a document, its version, and who changed which path when.

use std::sync::{Arc, LazyLock};

use crate::header::Principal;
use crate::json::{Document, Json, Operation, Patch, Pointer, pick};
use crate::time::Timestamp;

/// The largest section, in bytes of compact JSON.
pub const SECTION_BYTES_MAX: usize = 64 * 1024;
/// How many removed paths a section remembers, so that a device that was away hears of them.
const REMOVED_MAX: usize = 64;

/// How many bytes the stamped paths may have together. Past it all of them become one stamp of the whole.
const STAMPS_BYTES_MAX: usize = 256 * 1024;

/// Which section of the shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Which {
    /// Labels that operators give; queries select by them.
    #[n(0)]
    Tags,
    /// What the device should become.
    #[n(1)]
    Desired,
    /// What the device says it is.
    #[n(2)]
    Reported,
    /// Business data of the device.
    #[n(3)]
    Catalogue,
}

impl Which {
    /// Its name in documents and topics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Desired => "desired",
            Self::Reported => "reported",
            Self::Catalogue => "catalogue",
        }
    }
}

/// A document with its version, and for each changed path its stamp.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Section {
    #[n(0)]
    document: Document,
    #[n(1)]
    version: u64,
    /// Sorted by path. A path's stamp covers what lies below it, as far as no longer path has its own.
    #[n(2)]
    #[cbor(with = "crate::codec::shared")]
    stamps: Arc<Vec<Stamped>>,
    /// What changed up to here can no longer be told as a difference.
    #[n(3)]
    untold: u64,
}

/// A path and its last change.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Stamped {
    #[n(0)]
    path: Pointer,
    #[n(1)]
    stamp: Stamp,
    /// The change took the path away; kept so that the difference can say so.
    #[n(2)]
    removed: bool,
}

/// A change: of which version, when, by whom.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Stamp {
    /// The section's version that the change made.
    #[n(0)]
    pub version: u64,
    /// When it was received.
    #[n(1)]
    pub at: Timestamp,
    /// Who made it.
    #[n(2)]
    pub by: Principal,
}

impl Section {
    /// One in which nothing was ever said.
    pub(crate) fn none() -> &'static Self {
        static NONE: LazyLock<Section> = LazyLock::new(Section::default);
        &NONE
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// How often the section changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The paths that are there, each with its last change, in the order of the paths.
    pub fn stamps(&self) -> impl Iterator<Item = (&Pointer, &Stamp)> {
        self.stamps.iter().filter(|stamped| !stamped.removed).map(|stamped| (&stamped.path, &stamped.stamp))
    }

    /// What a reader of version `since` lacks, as a merge patch with nulls; `None` if that is no longer known, so that
    /// only the whole document helps.
    pub fn difference(&self, since: u64) -> Option<Json> {
        if since < self.untold || since > self.version {
            return None;
        }
        let changed = self.stamps.iter().filter(|stamped| stamped.stamp.version > since);
        Some(pick(&self.document, changed.map(|stamped| &stamped.path)))
    }

    /// Makes a change. An empty patch is none.
    pub(crate) fn apply(&mut self, patch: &Patch, at: Timestamp, by: &Principal) {
        if patch.is_empty() {
            return;
        }
        self.document = self.document.apply(patch);
        self.version += 1;
        let stamp = Stamp { version: self.version, at, by: by.clone() };
        let stamps = Arc::make_mut(&mut self.stamps);
        for operation in patch.operations() {
            let (path, value) = match operation {
                Operation::Set { path, value } => (path, Some(value)),
                Operation::Remove { path } => (path, None),
            };
            let before = place(stamps, path, stamp.clone(), value.is_none());
            if let (Some(before), true) = (before, value.is_some_and(Json::is_object)) {
                // A merge patch cannot replace by an object, only merge into one: a reader from before needs it whole.
                self.untold = self.untold.max(before);
            }
        }
        self.untold = self.untold.max(forget(stamps));
        if path_bytes(stamps) > STAMPS_BYTES_MAX {
            *stamps = vec![Stamped { path: Pointer::root(), stamp, removed: false }];
            self.untold = self.version;
        }
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.document.len() + 96 * self.stamps.len() + path_bytes(&self.stamps)
    }
}

fn path_bytes(stamps: &[Stamped]) -> usize {
    stamps.iter().map(|stamped| stamped.path.as_str().len()).sum()
}

/// Stamps `path` in place of what was known of it and of everything below it; returns the version of its own last
/// change.
fn place(stamps: &mut Vec<Stamped>, path: &Pointer, stamp: Stamp, removed: bool) -> Option<u64> {
    let start = stamps.partition_point(|stamped| stamped.path < *path);
    let new = Stamped { path: path.clone(), stamp, removed };
    let own = stamps.get_mut(start).filter(|stamped| stamped.path == *path);
    let before = own.as_ref().map(|stamped| stamped.stamp.version);
    match own {
        Some(own) => *own = new,
        None => stamps.insert(start, new),
    }
    // Paths sort with all that lies below them directly behind.
    let below = stamps[start + 1..].iter().take_while(|stamped| stamped.path.starts_with(path)).count();
    stamps.drain(start + 1..=start + below);
    before
}

/// Drops the oldest removed paths past the limit; returns the newest version that can no longer be told.
fn forget(stamps: &mut Vec<Stamped>) -> u64 {
    let mut versions: Vec<u64> =
        stamps.iter().filter(|stamped| stamped.removed).map(|stamped| stamped.stamp.version).collect();
    if versions.len() <= REMOVED_MAX {
        return 0;
    }
    versions.sort_unstable();
    let last = versions[versions.len() - REMOVED_MAX - 1];
    stamps.retain(|stamped| !stamped.removed || stamped.stamp.version > last);
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limits, diff, merge};

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    /// Puts the documents one after the other; a reader that saw the first must get from `difference` to the last.
    fn check(documents: &[&str]) -> Option<String> {
        let mut section = Section::default();
        let mut since = None;
        for text in documents {
            let patch = diff(section.document(), &document(text));
            section.apply(&patch, Timestamp::ZERO, &Principal::Device);
            since.get_or_insert(section.version());
        }
        let difference = section.difference(since.unwrap_or(0))?;
        let seen = document(documents[0]);
        let caught_up = seen.apply(&merge(&seen, &difference).unwrap());
        let value = |document: &Document| serde_json::from_str::<serde_json::Value>(document.as_str()).unwrap();
        assert_eq!(value(&caught_up), value(section.document()), "after {difference:?}");
        Some(difference.as_str().to_owned())
    }

    #[test]
    fn a_difference_tells_what_changed_and_what_went() {
        assert_eq!(check(&[r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"a":1,"b":{"c":4}}"#]).unwrap(), r#"{"b":{"c":4,"d":null}}"#);
        assert_eq!(check(&[r#"{"a":1}"#, r#"{"a":1}"#]).unwrap(), "{}");
        assert_eq!(check(&[r#"{"a":{"x":1}}"#, "{}", r#"{"a":5}"#]).unwrap(), r#"{"a":5}"#);
    }

    #[test]
    fn an_object_in_place_of_something_else_is_told_whole() {
        assert_eq!(check(&[r#"{"a":{"x":1}}"#, "{}", r#"{"a":{"y":2}}"#]), None);
        assert_eq!(check(&[r#"{"a":{"x":1}}"#, r#"{"a":5}"#, r#"{"a":{"y":2}}"#]), None);
    }

    #[test]
    fn a_reader_from_too_long_ago_or_from_the_future_needs_the_whole() {
        let mut section = Section::default();
        for n in 0..100 {
            for text in [format!(r#"{{"k{n}":1}}"#), format!(r#"{{"k{n}":null}}"#)] {
                let patch = merge(section.document(), &json(&text)).unwrap();
                section.apply(&patch, Timestamp::ZERO, &Principal::Device);
            }
        }

        assert_eq!((section.version(), section.stamps().count()), (200, 0));
        assert_eq!(section.difference(10), None);
        assert_eq!(section.difference(201), None);
        assert_eq!(section.difference(198).unwrap().as_str(), r#"{"k99":null}"#);
    }

    #[test]
    fn stamps_below_a_long_name_become_one() {
        let mut section = Section::default();
        let member = |n: usize| format!(r#"{{"{}":{{"m{n}":{n}}}}}"#, "n".repeat(10_000));
        let changes = |section: &mut Section, n| {
            let patch = merge(section.document(), &json(&member(n))).unwrap();
            section.apply(&patch, Timestamp::ZERO, &Principal::Device);
        };

        for n in 0..100 {
            changes(&mut section, n);
            assert!(section.bytes() < 300_000, "{} bytes after {n} changes", section.bytes());
        }

        assert_eq!(section.difference(20), None, "a reader from before needs the whole");
        assert_eq!(section.difference(99).unwrap().as_str(), member(99));
        assert_eq!(section.difference(100).unwrap().as_str(), "{}");
    }

    #[test]
    fn a_path_below_a_new_value_loses_its_stamp_and_a_neighbour_keeps_its_own() {
        let mut section = Section::default();
        for text in [r#"{"a":{"b":1},"a!":1}"#, r#"{"a":{"b":2},"a!":2}"#, r#"{"a":7}"#] {
            let patch = merge(section.document(), &json(text)).unwrap();
            section.apply(&patch, Timestamp::ZERO, &Principal::Device);
        }

        let stamps: Vec<_> = section.stamps().map(|(path, stamp)| (path.as_str(), stamp.version)).collect();
        assert_eq!(stamps, [("/a", 3), ("/a!", 2)]);
    }
}

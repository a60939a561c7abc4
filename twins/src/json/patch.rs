//! The project's own patch: values set and removed by path. Unlike a merge patch it can say null.

use super::{Json, Pointer};

/// One change of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(flat)]
pub enum Operation {
    /// The value at `path` becomes `value`, whether or not there was one.
    #[n(0)]
    Set {
        /// Where.
        #[n(0)]
        path: Pointer,
        /// What will stand there.
        #[n(1)]
        value: Json,
    },
    /// There will be no value at `path`.
    #[n(1)]
    Remove {
        /// Where.
        #[n(0)]
        path: Pointer,
    },
}

impl Operation {
    /// What it changes.
    pub fn path(&self) -> &Pointer {
        match self {
            Operation::Set { path, .. } | Operation::Remove { path } => path,
        }
    }

    /// The value that will stand there; `None` when it is removed.
    pub fn value(&self) -> Option<&Json> {
        match self {
            Operation::Set { value, .. } => Some(value),
            Operation::Remove { .. } => None,
        }
    }

    /// At most how many bytes longer a document's text gets.
    fn growth(&self) -> usize {
        let Operation::Set { path, value } = self else { return 0 };
        let escaped = |byte: u8| match byte {
            // A name's quotes, the colon, the comma, and the brackets of an object around it.
            b'/' => r#","":{}"#.len(),
            b'"' | b'\\' => 2,
            ..b' ' => r"\u0000".len(),
            _ => 1,
        };
        path.as_str().bytes().map(escaped).sum::<usize>() + value.len()
    }
}

/// Changes of a document, done in order by [`Document::apply`](super::Document::apply).
///
/// A patch says what a document becomes, not what it was: it is no precondition, and doing it twice does no more than
/// doing it once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Patch(#[n(0)] Vec<Operation>);

impl Patch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.0
    }

    /// What it changes, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Pointer> {
        self.0.iter().map(Operation::path)
    }

    /// Adds a change behind the others.
    pub fn push(&mut self, operation: Operation) {
        self.0.push(operation);
    }

    /// At most how many bytes longer a document's text gets by it: what a size limit asks before it is done.
    pub fn growth(&self) -> usize {
        self.0.iter().map(Operation::growth).sum()
    }
}

impl FromIterator<Operation> for Patch {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Patch {
        Patch(operations.into_iter().collect())
    }
}

impl Extend<Operation> for Patch {
    fn extend<I: IntoIterator<Item = Operation>>(&mut self, operations: I) {
        self.0.extend(operations);
    }
}

/// How many bytes the paths of one patch may have together. Each path is written out, so that a few hundred members
/// below one long name would make a patch many times as large as the documents that it is about.
pub const PATHS_BYTES_MAX: usize = 256 * 1024;

/// A patch in the making, while something walks down a document.
pub(super) struct Recorder {
    path: String,
    operations: Vec<Operation>,
    /// The bytes that all paths may still have. When they do not suffice, nothing more is recorded.
    bytes_left: Option<usize>,
}

impl Recorder {
    /// For a patch whose paths have at most so many bytes together.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { path: String::new(), operations: Vec::new(), bytes_left: Some(bytes_max) }
    }

    /// Runs `record` one level deeper, in the member whose name is, as escaped in JSON, `name`.
    pub(super) fn within(&mut self, name: &str, record: impl FnOnce(&mut Recorder)) {
        let here = self.path.len();
        let segment = super::name::to_segment(super::name::from_json(name));
        self.path.extend(["/", &segment]);
        record(self);
        self.path.truncate(here);
    }

    /// Sets the member `name`.
    pub(super) fn set(&mut self, name: &str, value: Json) {
        self.within(name, |this| this.record(|path| Operation::Set { path, value }));
    }

    /// Removes the member `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.within(name, |this| this.record(|path| Operation::Remove { path }));
    }

    fn record(&mut self, operation: impl FnOnce(Pointer) -> Operation) {
        self.bytes_left = self.bytes_left.and_then(|left| left.checked_sub(self.path.len()));
        if self.bytes_left.is_some() {
            self.operations.push(operation(Pointer::trusted(&self.path)));
        }
    }

    /// The patch; none where its paths would be too long.
    pub(super) fn finish(self) -> Option<Patch> {
        self.bytes_left.map(|_| Patch(self.operations))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    #[test]
    fn an_operation_is_a_flat_array_of_its_number_and_fields() {
        let path = Pointer::parse("/a").unwrap();
        let patch: Patch =
            [Operation::Set { path: path.clone(), value: Json::null() }, Operation::Remove { path }]
                .into_iter()
                .collect();

        let bytes = minicbor::to_vec(&patch).unwrap();

        assert_eq!(bytes, b"\x82\x83\x00\x62/a\x64null\x82\x01\x62/a");
    }

    #[test]
    fn an_empty_patch_changes_nothing() {
        let empty = Patch::default();
        assert!(empty.is_empty());
        assert_eq!(empty.growth(), 0);
    }

    proptest! {
        #[test]
        fn a_patch_keeps_itself_through_its_codec(patch in arbitrary::patch()) {
            let bytes = minicbor::to_vec(&patch).unwrap();
            prop_assert_eq!(minicbor::decode::<Patch>(&bytes).unwrap(), patch);
        }

        #[test]
        fn a_damaged_patch_is_read_as_an_error_or_another_patch(patch in arbitrary::patch(), at: prop::sample::Index, byte: u8) {
            let mut bytes = minicbor::to_vec(&patch).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(patch) = minicbor::decode::<Patch>(&bytes) {
                let _ = super::super::Document::default().apply(&patch);
            }
        }
    }
}

//! A JSON pointer (RFC 6901): the path of a value in a document, as text.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::excerpt;
use super::{DEPTH_MAX, Error, name};

/// The path of a value: `""` is the whole document, `/climate/target_c` a member of a member. Cheap to clone.
///
/// Ordered by whole segments, so that in a sorted map all that lies below a pointer follows it directly:
/// `/a`, `/a/b`, `/a-b`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pointer(Arc<str>);

impl Pointer {
    /// Reads the text of a pointer. Refuses one that does not begin with `/`, has a `~` without `0` or `1` behind it, or
    /// has more than [`DEPTH_MAX`] segments.
    pub fn parse(text: &str) -> Result<Pointer, Error> {
        let refused = |reason| Err(Error::Pointer { pointer: excerpt(text), reason });
        if !text.is_empty() && !text.starts_with('/') {
            return refused("it must be empty or begin with '/'");
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return refused("'~' must be followed by '0' or '1'");
        }
        if depth(text) > DEPTH_MAX {
            return refused("it has too many segments");
        }
        Ok(Pointer(text.into()))
    }

    /// The whole document.
    pub fn root() -> Pointer {
        Pointer("".into())
    }

    /// A path whose text is known to be valid.
    pub(super) fn trusted(text: &str) -> Pointer {
        Pointer(text.into())
    }

    /// The pointer to the member `name` (or, in decimal, the element) of what this one points to.
    pub fn join(&self, name: &str) -> Pointer {
        let segment = name::to_segment(Cow::Borrowed(name));
        Pointer([&*self.0, "/", &segment].concat().into())
    }

    /// Whether this is the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, as RFC 6901 escapes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names on the way from the root, unescaped.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.split('/').skip(1).map(name::from_segment)
    }

    /// The first name on the way from the root; `None` for the root.
    pub fn first(&self) -> Option<Cow<'_, str>> {
        self.segments().next()
    }

    /// How many names the way has.
    pub fn depth(&self) -> usize {
        depth(&self.0)
    }

    /// Whether what this points to is `ancestor`, or lies in it.
    pub fn starts_with(&self, ancestor: &Pointer) -> bool {
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The pointer to what holds this; `None` for the root.
    pub fn parent(&self) -> Option<Pointer> {
        let (parent, _) = self.0.rsplit_once('/')?;
        Some(Pointer(parent.into()))
    }
}

fn depth(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'/').count()
}

impl Ord for Pointer {
    fn cmp(&self, other: &Pointer) -> Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for Pointer {
    fn partial_cmp(&self, other: &Pointer) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Pointer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pointer, Error> {
        Pointer::parse(text)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({:?})", &*self.0)
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pointer, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Pointer::parse(&text).map_err(serde::de::Error::custom)
    }
}

// Checked as [`Pointer::parse`] does.
crate::codec::text!(Pointer, |text| Pointer::parse(text));

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    #[test]
    fn only_rfc_6901_text_is_a_pointer() {
        for text in ["", "/", "/a/b", "/a~1b/~0", "//"] {
            assert_eq!(pointer(text).as_str(), text);
        }
        for text in ["a", "/~", "/~2", "/a~", "#/a"] {
            assert!(matches!(Pointer::parse(text), Err(Error::Pointer { .. })), "{text}");
        }
    }

    #[test]
    fn segments_are_counted_and_limited() {
        assert_eq!(pointer(&"/".repeat(DEPTH_MAX)).depth(), DEPTH_MAX);
        assert!(Pointer::parse(&"/".repeat(DEPTH_MAX + 1)).is_err());
    }

    #[test]
    fn a_joined_name_comes_back_as_a_segment() {
        let joined = Pointer::root().join("a/b").join("").join("~");

        assert_eq!(joined.as_str(), "/a~1b//~0");
        assert_eq!(joined.segments().collect::<Vec<_>>(), ["a/b", "", "~"]);
        assert_eq!(joined.first().unwrap(), "a/b");
        assert_eq!(joined.parent(), Some(pointer("/a~1b/")));
        assert_eq!(Pointer::root().first(), None);
        assert_eq!(Pointer::root().parent(), None);
    }

    #[test]
    fn a_prefix_is_a_prefix_only_by_whole_segments() {
        assert!(pointer("/a/b").starts_with(&pointer("/a")));
        assert!(pointer("/a").starts_with(&pointer("/a")));
        assert!(pointer("/a").starts_with(&Pointer::root()));
        assert!(!pointer("/ab").starts_with(&pointer("/a")));
        assert!(!pointer("/a").starts_with(&pointer("/a/b")));
    }

    #[test]
    fn what_lies_below_sorts_directly_behind() {
        let mut pointers = ["/b", "/a-b", "/a/b", "/a", ""].map(pointer);
        pointers.sort();
        assert_eq!(pointers, ["", "/a", "/a/b", "/a-b", "/b"].map(pointer));
    }

    #[test]
    fn a_pointer_keeps_itself_through_its_codec() {
        let bytes = minicbor::to_vec(pointer("/a~1b")).unwrap();
        assert_eq!(minicbor::decode::<Pointer>(&bytes).unwrap(), pointer("/a~1b"));

        let bytes = minicbor::to_vec("no pointer").unwrap();
        assert!(minicbor::decode::<Pointer>(&bytes).is_err());
    }
}

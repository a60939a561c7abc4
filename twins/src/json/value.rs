//! A JSON value of its own: canonical text behind a shared pointer.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::compact::compact;
use super::{DEPTH_MAX, Document, Elements, Error, Limits, Raw};

/// A JSON value as canonical text (see the [module](super)). A clone shares the text.
///
/// Equal when the texts are: `1` is not `1.0`, and objects with another order of members differ. It is *not* a tree:
/// looking something up scans the text.
///
/// ```
/// use twins::json::{Json, Limits};
///
/// let json = Json::parse(br#" { "target_c": 21.50 } "#, &Limits::default())?;
/// assert_eq!(json.as_str(), r#"{"target_c":21.50}"#);
/// # Ok::<(), twins::json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// Checks text from outside and makes it canonical.
    ///
    /// Refused are text over the limits, text that is not JSON in UTF-8, an object that names a member twice (readers
    /// would disagree on its value), and half a surrogate pair in a string (none could read it). Numbers of any size
    /// are kept as they are spelled; whether one fits is asked by the type that reads it.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Json, Error> {
        compact(text, limits).map(Json)
    }

    /// The value as JSON. Fails where a type has no form in JSON, or nests deeper than [`DEPTH_MAX`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Json, Error> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::Unrepresentable { reason: error.to_string() })?;
        Json::unlimited(&text)
    }

    fn unlimited(text: &[u8]) -> Result<Json, Error> {
        Json::parse(text, &Limits { bytes: usize::MAX, depth: DEPTH_MAX })
    }

    /// Text known to be canonical.
    pub(super) fn trusted(text: Arc<str>) -> Json {
        Json(text)
    }

    /// The value null.
    pub fn null() -> Json {
        Json("null".into())
    }

    /// The value as a type. The error names the pointer of what does not fit, and the reason.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.as_raw().decode()
    }

    /// The value as getters and iterators hand it out.
    pub fn as_raw(&self) -> Raw<'_> {
        Raw::new(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The size of the text in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no JSON text is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value is null.
    pub fn is_null(&self) -> bool {
        self.as_raw().is_null()
    }

    /// Whether the value is an object, and so a [`Document`].
    pub fn is_object(&self) -> bool {
        self.as_raw().is_object()
    }

    /// The elements of an array; `None` for any other value.
    pub fn elements(&self) -> Option<Elements<'_>> {
        self.as_raw().elements()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({})", self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Document> for Json {
    fn from(document: Document) -> Json {
        document.into_json()
    }
}

/// As itself, not as a string, when the format is JSON.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// From serde_json only. Its text is made canonical; there is no limit on its size here.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Json::unlimited(raw.get().as_bytes()).map_err(serde::de::Error::custom)
    }
}

// Trusted to be what [`Json`] encoded: it is checked to be UTF-8, and no more.
crate::codec::text!(Json, |text| Ok::<_, Infallible>(Json(text.into())));

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    #[test]
    fn a_value_without_a_form_in_json_is_an_error() {
        let keyed_by_pairs = BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(Json::of(&keyed_by_pairs), Err(Error::Unrepresentable { .. })));
    }

    #[test]
    fn a_type_that_names_a_member_twice_is_refused() {
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(flatten)]
            more: BTreeMap<String, u8>,
        }
        let twice = Twice { a: 1, more: BTreeMap::from([("a".to_owned(), 2)]) };
        assert!(matches!(Json::of(&twice), Err(Error::Duplicate { .. })));
    }

    #[test]
    fn a_value_inside_another_type_is_written_and_read_as_itself() {
        #[derive(Serialize, Deserialize)]
        struct Holder {
            json: Json,
            document: Document,
        }
        let holder: Holder = serde_json::from_str(r#"{"json": [1, null], "document": { "a": 1 }}"#).unwrap();

        assert_eq!(holder.json.as_str(), "[1,null]");
        assert_eq!(Json::of(&holder).unwrap().as_str(), r#"{"json":[1,null],"document":{"a":1}}"#);
        assert!(serde_json::from_str::<Holder>(r#"{"json": 1, "document": 1}"#).is_err());
    }

    #[test]
    fn null_is_null() {
        assert!(Json::null().is_null());
        assert_eq!(Json::of(&()).unwrap(), Json::null());
    }

    proptest! {
        #[test]
        fn a_value_keeps_itself_through_its_codec(value in arbitrary::value()) {
            let json = arbitrary::json(&value);
            let bytes = minicbor::to_vec(&json).unwrap();
            prop_assert_eq!(minicbor::decode::<Json>(&bytes).unwrap(), json);
        }
    }
}

//! A JSON object of its own: the shape of every section of a twin.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Error, Json, Limits, Members, Patch, Pointer, Raw, decode, edit::Edit};

/// A [`Json`] that is an object; by default `{}`. A clone shares the text.
///
/// ```
/// use twins::json::{Document, Limits, diff};
///
/// let before = Document::parse(br#"{"target_c":21,"mode":"heat"}"#, &Limits::default())?;
/// let after = Document::parse(br#"{"target_c":19}"#, &Limits::default())?;
///
/// let patch = diff(&before, &after);
/// assert_eq!(patch.operations().len(), 2);
/// assert_eq!(before.apply(&patch), after);
/// # Ok::<(), twins::json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, minicbor::Encode)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct Document(#[n(0)] Json);

impl Document {
    /// Checks text from outside as [`Json::parse`] does, and that it is an object.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Document, Error> {
        Json::parse(text, limits)?.try_into()
    }

    /// The value as a document. Fails as [`Json::of`] does, and when the value is not an object in JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Document, Error> {
        Json::of(value)?.try_into()
    }

    pub(super) fn trusted(text: &str) -> Document {
        Document(Json::trusted(text.into()))
    }

    pub(super) fn into_json(self) -> Json {
        self.0
    }

    /// The value a JSON pointer leads to (RFC 6901); `None` where nothing is, and for text that is not a pointer.
    pub fn get(&self, pointer: &str) -> Option<Raw<'_>> {
        self.as_raw().get(pointer)
    }

    /// The value a JSON pointer leads to, as a type; `None` where nothing is. The error names the place in this
    /// document that does not fit.
    pub fn read<T: DeserializeOwned>(&self, pointer: &Pointer) -> Result<Option<T>, Error> {
        let raw = self.get(pointer.as_str());
        raw.map(|raw| decode::decode(raw.as_str(), pointer)).transpose()
    }

    /// The whole document as a type. The error names the place that does not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.0.decode()
    }

    /// The members in the order of the text: each name, unescaped, with its value.
    pub fn members(&self) -> Members<'_> {
        self.as_raw().members().unwrap_or_default()
    }

    /// The document with every operation of `patch` done, in order.
    ///
    /// It works on any document, also one the patch was not made for: a set makes an object of each parent that is
    /// missing or is something else, a removal of what is not there does nothing. Only members have paths: an array is
    /// one value, and a set below it puts an object in its place. The root can only be set to an object; removing it
    /// leaves `{}`. An operation of more than [`DEPTH_MAX`](super::DEPTH_MAX) segments does nothing.
    ///
    /// Members keep their order; new ones come last, in the order of the patch.
    #[must_use]
    pub fn apply(&self, patch: &Patch) -> Document {
        if patch.is_empty() {
            return self.clone();
        }
        let mut edit = Edit::default();
        for operation in patch.operations() {
            edit.record(operation.path().as_str(), operation.value().map(Json::as_raw));
        }
        edit.apply(self, patch.growth())
    }

    /// The document as getters and iterators hand it out.
    pub fn as_raw(&self) -> Raw<'_> {
        self.0.as_raw()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The size of the text in bytes; `{}` has two.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the document has no members.
    pub fn is_empty(&self) -> bool {
        self.as_str() == "{}"
    }
}

impl Default for Document {
    fn default() -> Document {
        Document::trusted("{}")
    }
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Json> for Document {
    type Error = Error;

    fn try_from(json: Json) -> Result<Document, Error> {
        if json.is_object() { Ok(Document(json)) } else { Err(Error::NotAnObject) }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        Json::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Trusted as a [`Json`] is, but for being an object.
impl<'b, C> minicbor::Decode<'b, C> for Document {
    fn decode(d: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Document, minicbor::decode::Error> {
        let at = d.position();
        let json: Json = d.decode_with(context)?;
        json.try_into().map_err(|error: Error| minicbor::decode::Error::message(error).at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn only_an_object_is_a_document() {
        for text in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(Document::parse(text.as_bytes(), &Limits::default()), Err(Error::NotAnObject));
        }
        assert_eq!(Document::of(&[1]), Err(Error::NotAnObject));
    }

    #[test]
    fn a_document_begins_empty() {
        let empty = Document::default();

        assert!(empty.is_empty());
        assert_eq!(empty, document(" { } "));
        assert_eq!(empty.members().count(), 0);
    }

    #[test]
    fn a_typed_read_tells_absent_from_unfit() {
        let document = document(r#"{"climate":{"target_c":21.5}}"#);
        let read = |path| document.read::<f64>(&Pointer::parse(path).unwrap());

        assert_eq!(read("/climate/target_c"), Ok(Some(21.5)));
        assert_eq!(read("/climate/mode"), Ok(None));
        let Err(Error::Mismatch { pointer, .. }) = read("/climate") else { panic!("an object is no number") };
        assert_eq!(pointer.as_str(), "/climate");
    }

    #[test]
    fn a_document_is_encoded_as_its_text() {
        let document = document(r#"{"a":1}"#);
        let bytes = minicbor::to_vec(&document).unwrap();

        assert_eq!(minicbor::decode::<&str>(&bytes).unwrap(), document.as_str());
        assert_eq!(minicbor::decode::<Document>(&bytes).unwrap(), document);
    }

    #[test]
    fn a_record_that_holds_no_object_is_read_as_an_error() {
        let bytes = minicbor::to_vec(Json::null()).unwrap();
        assert!(minicbor::decode::<Document>(&bytes).is_err());
    }
}

//! Some values of a document as a merge patch: what a reader needs that knows an older state.

use super::edit::Edit;
use super::{Document, Json, Pointer, Raw};

/// The merge patch (RFC 7396) that says what stands at each of `pointers` now: the value, or null where nothing is.
///
/// Where the way leads through something that is not an object (nothing, an array, a number), that is what the patch
/// says, since it took the place of all below it. What a merge patch cannot say, it does not: a null inside an object
/// reads as its absence, and an object is merged into one the reader has. Pick the paths of a
/// [`diff`](super::diff) to say neither.
pub fn pick<'a>(document: &Document, pointers: impl IntoIterator<Item = &'a Pointer>) -> Json {
    let mut edit = Edit::default();
    for pointer in pointers {
        let (path, value) = standing(document.as_raw(), pointer.as_str());
        edit.record(path, Some(value));
    }
    edit.apply(&Document::default(), 0).into()
}

/// The value a path leads to, or the first on its way that is not an object, with the part of the path that leads there.
fn standing<'d, 'p>(document: Raw<'d>, path: &'p str) -> (&'p str, Raw<'d>) {
    let mut value = document;
    for (slash, _) in path.match_indices('/') {
        if !value.is_object() {
            return (&path[..slash], value);
        }
        let next = &path[slash + 1..];
        let segment = next.split_once('/').map_or(next, |(segment, _)| segment);
        value = value.step(segment).unwrap_or(Raw::new("null"));
    }
    (path, value)
}

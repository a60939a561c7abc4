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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary::{self, document};
    use super::super::{Limits, diff, merge};
    use super::*;

    #[track_caller]
    fn check(text: &str, pointers: &[&str], picked: &str) {
        let document = Document::parse(text.as_bytes(), &Limits::default()).unwrap();
        let pointers: Vec<_> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        assert_eq!(pick(&document, &pointers).as_str(), picked);
    }

    #[test]
    fn a_pointer_gives_the_value_or_null() {
        let text = r#"{"a":{"b":1,"c":[2]},"d":3}"#;
        check(text, &[], "{}");
        check(text, &["/d", "/a/b"], r#"{"d":3,"a":{"b":1}}"#);
        check(text, &["/a/x", "/x"], r#"{"a":{"x":null},"x":null}"#);
        check(text, &[""], text);
    }

    #[test]
    fn what_took_the_place_of_a_parent_is_said_instead() {
        check(r#"{"a":5}"#, &["/a/b/c"], r#"{"a":5}"#);
        check("{}", &["/a/b", "/a/c"], r#"{"a":null}"#);
        check(r#"{"a":[1,2]}"#, &["/a/0"], r#"{"a":[1,2]}"#);
    }

    #[test]
    fn overlapping_pointers_say_both() {
        check(r#"{"a":{"b":1}}"#, &["/a/c", "/a"], r#"{"a":{"b":1}}"#);
        check(r#"{"a":{"b":1}}"#, &["/a", "/a/c"], r#"{"a":{"b":1,"c":null}}"#);
    }

    proptest! {
        #[test]
        fn a_reader_catches_up_with_what_was_changed(
            from in arbitrary::object_without_nulls(),
            to in arbitrary::object_without_nulls(),
        ) {
            let (before, after) = (document(&from), document(&to));
            let changes = diff(&before, &after);

            let picked = pick(&after, changes.paths());

            let caught_up = before.apply(&merge(&before, &picked).unwrap());
            prop_assert!(diff(&caught_up, &after).is_empty());
        }
    }
}

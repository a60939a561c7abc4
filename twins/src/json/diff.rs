//! The patch between two documents: recursive where both have an object, whole values elsewhere.

use super::named::Named;
use super::patch::{PATHS_BYTES_MAX, Recorder};
use super::{DEPTH_MAX, Document, Patch, Raw};

/// The changes that make `to` of `from`: `from.apply(&diff(&from, &to))` has the value of `to`.
///
/// Objects on both sides are compared member by member; any other two values are equal when their texts are, so a
/// number spelled in another way is a change. The order is that of `to`, with an object's removals last.
pub fn diff(from: &Document, to: &Document) -> Patch {
    let diff = |depth, bytes_max| {
        let mut recorder = Recorder::new(bytes_max);
        objects(from.as_raw(), to.as_raw(), depth, &mut recorder);
        recorder.finish()
    };
    // Where going down makes paths too long, the members at the top are replaced: their names are no longer than both
    // documents.
    diff(1, PATHS_BYTES_MAX).or_else(|| diff(DEPTH_MAX, usize::MAX)).unwrap_or_default()
}

struct Old<'a> {
    value: Raw<'a>,
    stays: bool,
}

fn objects(from: Raw<'_>, to: Raw<'_>, depth: usize, recorder: &mut Recorder) {
    if from == to {
        return;
    }
    let mut olds = Named::of(from, |value| Old { value, stays: false });
    for new in to.spans() {
        let Some(old) = olds.find(new.name) else {
            recorder.set(new.name, new.value.to_json());
            continue;
        };
        old.stays = true;
        if old.value == new.value {
            continue;
        }
        if old.value.is_object() && new.value.is_object() && depth < DEPTH_MAX {
            recorder.within(new.name, |recorder| objects(old.value, new.value, depth + 1, recorder));
        } else {
            recorder.set(new.name, new.value.to_json());
        }
    }
    for (name, _) in olds.iter_mut().filter(|(_, old)| !old.stays) {
        recorder.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary::{self, document, tree};
    use std::collections::BTreeMap;

    use super::super::{Error, Limits, Pointer, merge};
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, paths: &[&str]) {
        let [from, to] = [from, to].map(|text| Document::parse(text.as_bytes(), &Limits::default()).unwrap());
        let patch = diff(&from, &to);
        assert!(patch.paths().map(Pointer::as_str).eq(paths.iter().copied()), "{patch:?}");
        assert_eq!(tree(from.apply(&patch).as_str()), tree(to.as_str()));
    }

    #[test]
    fn what_lies_below_a_long_name_is_replaced_as_a_whole() {
        let long = "n".repeat(10_000);
        let members = |from: u32| (0..1_000).map(|n| (format!("m{n}"), n + from)).collect::<BTreeMap<_, _>>();
        let [from, to] = [1, 2].map(|from| document(&serde_json::json!({ &long: members(from), "a": from })));

        let patch = diff(&from, &to);

        assert_eq!(patch.operations().len(), 2);
        assert_eq!(tree(from.apply(&patch).as_str()), tree(to.as_str()));
        assert!(matches!(merge(&from, &to.into()), Err(Error::TooScattered { .. })));
    }

    #[test]
    fn only_what_changed_is_named_and_as_deep_as_it_lies() {
        check(r#"{"a":1,"b":{"c":2,"d":{"e":3}}}"#, r#"{"a":1,"b":{"c":2,"d":{"e":4}}}"#, &["/b/d/e"]);
        check(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#, &[]);
        check(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, &[]);
        check(r#"{"a":[1,2]}"#, r#"{"a":[1,3]}"#, &["/a"]);
        check(r#"{"a":{"b":1}}"#, r#"{"a":{}}"#, &["/a/b"]);
        check(r#"{"a":{"b":1}}"#, r#"{"a":null}"#, &["/a"]);
        check(r#"{"a/b":{"~":1}}"#, r#"{"a/b":{"~":null}}"#, &["/a~1b/~0"]);
    }

    #[test]
    fn removals_come_last() {
        check(r#"{"a":1,"b":2,"c":3}"#, r#"{"d":4,"b":5}"#, &["/d", "/b", "/a", "/c"]);
    }

    #[test]
    fn text_deeper_than_any_value_is_one_piece() {
        let deep =
            |leaf| Document::trusted(&format!("{}{leaf}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)));
        let patch = diff(&deep(1), &deep(2));
        assert_eq!(deep(1).apply(&patch), deep(2));
    }

    proptest! {
        #[test]
        fn applying_a_difference_gives_the_other_document(from in arbitrary::object(), to in arbitrary::object()) {
            let (before, after) = (document(&from), document(&to));

            let patched = before.apply(&diff(&before, &after));

            prop_assert_eq!(tree(patched.as_str()), to);
            prop_assert!(diff(&patched, &after).is_empty());
        }
    }
}

//! A merge patch from outside (RFC 7396), as the project's own patch.

use super::named::Named;
use super::patch::{PATHS_BYTES_MAX, Recorder};
use super::{DEPTH_MAX, Document, Error, Json, Patch, Raw};

/// The changes a merge patch makes to `target`, and only those: a value that is there already gives no operation.
///
/// As RFC 7396 says, a null removes a member, an object is merged into an object, and anything else replaces what is
/// there; the nulls of an object that is new, or replaces another value, are left out. Fails when `patch` is not an
/// object, since that would replace the document by something that is none; and when the paths of the changes are longer
/// than [`PATHS_BYTES_MAX`] together.
pub fn merge(target: &Document, patch: &Json) -> Result<Patch, Error> {
    if !patch.is_object() {
        return Err(Error::NotAnObject);
    }
    let mut recorder = Recorder::new(PATHS_BYTES_MAX);
    objects(target.as_raw(), patch.as_raw(), 1, &mut recorder);
    recorder.finish().ok_or(Error::TooScattered { bytes_max: PATHS_BYTES_MAX })
}

fn objects(target: Raw<'_>, patch: Raw<'_>, depth: usize, recorder: &mut Recorder) {
    let mut olds = Named::of(target, |value| value);
    for new in patch.spans() {
        let old = olds.find(new.name).copied();
        match old {
            _ if new.value.is_null() => {
                if old.is_some() {
                    recorder.remove(new.name);
                }
            }
            Some(old) if old.is_object() && new.value.is_object() && depth < DEPTH_MAX => {
                recorder.within(new.name, |recorder| objects(old, new.value, depth + 1, recorder));
            }
            _ if old == Some(new.value) => {}
            _ => recorder.set(new.name, without_nulls(new.value, depth)),
        }
    }
}

/// The value without the null members of its objects. An array stays as it is: RFC 7396 looks into none.
fn without_nulls(value: Raw<'_>, depth: usize) -> Json {
    if !value.is_object() || !value.as_str().contains(":null") {
        return value.to_json();
    }
    let mut text = String::with_capacity(value.as_str().len());
    strip(value, depth, &mut text);
    Json::trusted(text.into())
}

fn strip(value: Raw<'_>, depth: usize, text: &mut String) {
    if !value.is_object() || depth > DEPTH_MAX {
        text.push_str(value.as_str());
        return;
    }
    text.push('{');
    let mut comma = "";
    for member in value.spans().filter(|member| !member.value.is_null()) {
        text.extend([comma, "\"", member.name, "\":"]);
        strip(member.value, depth + 1, text);
        comma = ",";
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::arbitrary::{self, document, tree};
    use super::*;

    /// `MergePatch` of RFC 7396, section 2.
    fn reference(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let Value::Object(mut target) = (if target.is_object() { target } else { json!({}) }) else {
            unreachable!()
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let old = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), reference(old, value));
            }
        }
        Value::Object(target)
    }

    #[track_caller]
    fn check(target: Value, patch: Value, result: Value) {
        let target = document(&target);
        let merged = target.apply(&merge(&target, &arbitrary::json(&patch)).unwrap());
        assert_eq!(tree(merged.as_str()), result);
    }

    /// The rows of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn the_examples_of_the_rfc_hold() {
        check(json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"}));
        check(json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"}));
        check(json!({"a":"b"}), json!({"a":null}), json!({}));
        check(json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"}));
        check(json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"}));
        check(json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]}));
        check(json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}}));
        check(json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]}));
        check(json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1}));
        check(json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}}));
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        for patch in [json!(["c"]), json!(null), json!("bar")] {
            let patch = arbitrary::json(&patch);
            assert_eq!(merge(&Document::default(), &patch), Err(Error::NotAnObject));
        }
    }

    #[test]
    fn a_patch_that_says_what_is_so_changes_nothing() {
        let target = document(&json!({"a":{"b":[1,null]},"c":null}));
        let patch = arbitrary::json(&json!({"a":{"b":[1,null],"x":null},"d":null}));
        assert!(merge(&target, &patch).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn a_merge_is_that_of_the_rfc(target in arbitrary::object(), patch in arbitrary::object()) {
            let before = document(&target);

            let changes = merge(&before, &arbitrary::json(&patch)).unwrap();

            let after = before.apply(&changes);
            prop_assert_eq!(tree(after.as_str()), reference(target, &patch));
            prop_assert!(merge(&after, &arbitrary::json(&patch)).unwrap().is_empty());
        }
    }
}

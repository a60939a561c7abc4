//! Values for property tests, with the names and nestings that break naive code.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use super::{Document, Json, Operation, Patch, Pointer};

/// Few and odd names, so that documents share them and every escape occurs.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-d]",
        2 => prop::sample::select(vec!["", "/", "~", "~1", "a/b", "\"", "\\", "\n", "\u{1}", "ä🦀", "0", "null", "{", "]"])
            .prop_map(String::from),
        1 => any::<String>(),
    ]
}

/// Any value of up to four levels. Numbers are such that serde_json reads back what it wrote.
pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        2 => (0..4i32).prop_map(|n| Value::from(f64::from(n) / 4.0)),
        1 => name().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => btree_map(name(), inner, 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Any object.
pub(super) fn object() -> impl Strategy<Value = Value> {
    btree_map(name(), value(), 0..6).prop_map(|members| Value::Object(members.into_iter().collect()))
}

pub(super) fn pointer() -> impl Strategy<Value = Pointer> {
    vec(name(), 0..4).prop_map(|names| names.iter().fold(Pointer::root(), |pointer, name| pointer.join(name)))
}

pub(super) fn patch() -> impl Strategy<Value = Patch> {
    let operation = prop_oneof![
        2 => (pointer(), value()).prop_map(|(path, value)| Operation::Set { path, value: json(&value) }),
        1 => pointer().prop_map(|path| Operation::Remove { path }),
    ];
    vec(operation, 0..8).prop_map(Patch::from_iter)
}

pub(super) fn json(value: &Value) -> Json {
    Json::of(value).unwrap()
}

pub(super) fn document(value: &Value) -> Document {
    Document::of(value).unwrap()
}

/// The tree of a text, which fails the test unless the text is JSON and in canonical form.
#[track_caller]
pub(super) fn tree(text: &str) -> Value {
    let limits = super::Limits { bytes: usize::MAX, depth: super::DEPTH_MAX };
    assert_eq!(Json::parse(text.as_bytes(), &limits).unwrap().as_str(), text);
    serde_json::from_str(text).unwrap()
}

/// Any object of which a merge patch can speak.
pub(super) fn object_without_nulls() -> impl Strategy<Value = Value> {
    fn strip(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let kept = members.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(kept.map(|(name, value)| (name, strip(value))).collect())
            }
            other => other,
        }
    }
    object().prop_map(strip)
}

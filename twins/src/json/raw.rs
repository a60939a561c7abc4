//! A value inside a text, borrowed: what getters and iterators hand out, since nothing has to be copied to look at it.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::scan::{string_end, value_end};
use super::{Error, Json, Pointer, decode, name};

/// A JSON value that is part of a text. Equal when its text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    pub(super) fn new(text: &'a str) -> Raw<'a> {
        Raw(text)
    }

    /// The text of the value.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// A copy that stands for itself.
    pub fn to_json(self) -> Json {
        Json::trusted(self.0.into())
    }

    /// Whether the value is null.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether the value is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether the value is an array.
    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether the value is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether the value is a number.
    pub fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// The value a JSON pointer leads to from here (RFC 6901, section 4): `/list/0` is an array's first element, `""`
    /// the value itself. `None` where nothing is, and for text that is not a pointer.
    pub fn get(self, pointer: &str) -> Option<Raw<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, Raw::step)
    }

    pub(super) fn step(self, segment: &str) -> Option<Raw<'a>> {
        if let Some(mut elements) = self.elements() {
            return elements.nth(index(segment)?);
        }
        let name = name::to_json(name::from_segment(segment));
        self.member(&name)
    }

    /// The member whose name is, as escaped in JSON, `name`.
    pub(super) fn member(self, name: &str) -> Option<Raw<'a>> {
        self.spans().find(|member| member.name == name).map(|member| member.value)
    }

    /// The members of an object as they lie in the text; none of any other value.
    pub(super) fn spans(self) -> impl Iterator<Item = Member<'a>> {
        let mut members = self.members().unwrap_or_default();
        std::iter::from_fn(move || members.span())
    }

    /// The members of an object in the order of the text; `None` for any other value.
    pub fn members(self) -> Option<Members<'a>> {
        self.is_object().then_some(Members { text: self.0, at: 1 })
    }

    /// The elements of an array; `None` for any other value.
    pub fn elements(self) -> Option<Elements<'a>> {
        self.is_array().then_some(Elements { text: self.0, at: 1 })
    }

    /// The value as a type. The error names the place in this value that does not fit.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, Error> {
        decode::decode(self.0, &Pointer::root())
    }
}

/// An array's index in a pointer: decimal, without leading zeros.
fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || segment.starts_with(|first: char| matches!(first, '1'..='9'));
    segment.parse().ok().filter(|_| plain)
}

/// The members of an object: each name, unescaped, with its value.
#[derive(Debug, Clone, Default)]
pub struct Members<'a> {
    text: &'a str,
    /// Where the next member's name opens, or else the text's closing bracket.
    at: usize,
}

/// A member as it lies in the text.
pub(super) struct Member<'a> {
    /// As escaped in JSON.
    pub(super) name: &'a str,
    pub(super) value: Raw<'a>,
    /// `"name":value`.
    pub(super) text: &'a str,
}

impl<'a> Members<'a> {
    /// The next member as it lies in the text.
    pub(super) fn span(&mut self) -> Option<Member<'a>> {
        let (text, bytes, from) = (self.text, self.text.as_bytes(), self.at);
        if bytes.get(from) != Some(&b'"') {
            return None;
        }
        let colon = string_end(bytes, from);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let end = value_end(bytes, colon + 1);
        self.at = end + usize::from(bytes.get(end) == Some(&b','));
        Some(Member {
            name: &text[from + 1..colon - 1],
            value: Raw(&text[colon + 1..end]),
            text: &text[from..end],
        })
    }

    /// The text behind the members taken so far, the object's closing bracket included.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.span().map(|member| (name::from_json(member.name), member.value))
    }
}

/// The elements of an array.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let (text, from) = (self.text, self.at);
        if matches!(text.as_bytes().get(from), None | Some(b']')) {
            return None;
        }
        let end = value_end(text.as_bytes(), from);
        // What is neither a comma nor the end is no array: stop there.
        self.at = if text.as_bytes().get(end) == Some(&b',') { end + 1 } else { text.len() };
        Some(Raw(&text[from..end]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    const TEXT: &str = r#"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8,"k\"l":6,"o":{"list":[{"x":[]}]}}"#;

    #[track_caller]
    fn check(pointer: &str, value: Option<&str>) {
        assert_eq!(Raw::new(TEXT).get(pointer).map(Raw::as_str), value, "{pointer}");
    }

    #[test]
    fn a_pointer_leads_where_rfc_6901_says() {
        check("", Some(TEXT));
        check("/foo", Some(r#"["bar","baz"]"#));
        check("/foo/0", Some("\"bar\""));
        check("/", Some("0"));
        check("/a~1b", Some("1"));
        check("/m~0n", Some("8"));
        check("/k\"l", Some("6"));
        check("/o/list/0/x", Some("[]"));
    }

    #[test]
    fn a_pointer_to_nothing_leads_nowhere() {
        for pointer in
            ["/x", "/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/bar", "/foo/0/x", "/o/list/0/x/0"]
        {
            check(pointer, None);
        }
        check("foo", None);
        check("/foo/99999999999999999999", None);
    }

    #[test]
    fn a_value_knows_what_it_is() {
        let kinds = |text: &'static str| {
            let raw = Raw::new(text);
            [raw.is_null(), raw.is_object(), raw.is_array(), raw.is_string(), raw.is_number()]
        };
        assert_eq!(kinds("null"), [true, false, false, false, false]);
        assert_eq!(kinds("{}"), [false, true, false, false, false]);
        assert_eq!(kinds("[]"), [false, false, true, false, false]);
        assert_eq!(kinds("\"\""), [false, false, false, true, false]);
        assert_eq!(kinds("-1"), [false, false, false, false, true]);
        assert_eq!(kinds("true"), [false; 5]);
    }

    proptest! {
        #[test]
        fn iterators_give_what_the_tree_has(value in arbitrary::value()) {
            let json = arbitrary::json(&value);
            let raw = json.as_raw();

            let members = raw.members().map(|members| members.map(|(name, value)| (name.into_owned(), value.decode().unwrap())).collect());
            prop_assert_eq!(members, value.as_object().cloned());
            let elements = raw.elements().map(|elements| elements.map(|value| value.decode().unwrap()).collect());
            prop_assert_eq!(elements, value.as_array().cloned());
        }

        #[test]
        fn a_pointer_leads_where_it_leads_in_the_tree(value in arbitrary::value(), pointer in arbitrary::pointer()) {
            let found = arbitrary::json(&value).as_raw().get(pointer.as_str()).map(|raw| raw.decode().unwrap());
            prop_assert_eq!(found.as_ref(), value.pointer(pointer.as_str()));
        }

        #[test]
        fn text_of_any_kind_is_walked_to_an_end(text in r#"[\[{][\[\]{},:"\\a1é]{0,24}"#) {
            let raw = Raw::new(&text);
            prop_assert!(raw.members().is_none_or(|members| members.count() <= text.len()));
            prop_assert!(raw.elements().is_none_or(|elements| elements.count() <= text.len()));
            let _ = (raw.get("/a/0"), raw.decode::<serde_json::Value>());
        }
    }
}

//! A member's name in its three spellings: as it is, escaped as in JSON text, and escaped as in a pointer.
//!
//! Each has one escape for each character that needs one, so names are equal when their texts in any one spelling are.
//! Most names look the same in all three and are borrowed.

use std::borrow::Cow;

/// The name of a member whose text between the quotes is `escaped`.
pub(super) fn from_json(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return Cow::Borrowed(escaped);
    }
    let unescaped = serde_json::from_str(&format!("\"{escaped}\""));
    unescaped.map_or(Cow::Borrowed(escaped), Cow::Owned)
}

/// The text between the quotes for the member `name`.
pub(super) fn to_json(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.bytes().any(|byte| byte == b'"' || byte == b'\\' || byte < b' ') {
        return name;
    }
    let quoted = serde_json::to_string(&name).expect("a string always has a form in JSON");
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

/// The name a pointer's segment stands for.
pub(super) fn from_segment(segment: &str) -> Cow<'_, str> {
    if !segment.contains('~') {
        return Cow::Borrowed(segment);
    }
    Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
}

/// The pointer's segment that stands for a name.
pub(super) fn to_segment(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.bytes().any(|byte| byte == b'~' || byte == b'/') {
        return name;
    }
    Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, json: &str, segment: &str) {
        assert_eq!(to_json(Cow::Borrowed(name)), json);
        assert_eq!(from_json(json), name);
        assert_eq!(to_segment(Cow::Borrowed(name)), segment);
        assert_eq!(from_segment(segment), name);
    }

    #[test]
    fn a_name_survives_each_spelling() {
        check("", "", "");
        check("target_c", "target_c", "target_c");
        check("a/b", "a/b", "a~1b");
        check("~1", "~1", "~01");
        check("say \"hi\"\\\n\u{1}", r#"say \"hi\"\\\n\u0001"#, "say \"hi\"\\\n\u{1}");
        check("größe🦀", "größe🦀", "größe🦀");
    }

    #[test]
    fn a_name_that_is_no_json_string_stands_for_itself() {
        assert_eq!(from_json(r"\x"), r"\x");
    }
}

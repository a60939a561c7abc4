//! Finding where things end in canonical text, without reading what they are.
//!
//! Every index returned lies behind an ASCII character, before one, or at the end, so it may always slice the text.

/// The index after the string that opens at `from`; the end of the text if it never closes.
pub(super) fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The index after the value that begins at `from`, which is at most the length of the text.
pub(super) fn value_end(text: &[u8], from: usize) -> usize {
    match text.get(from) {
        Some(b'"') => string_end(text, from),
        Some(b'{' | b'[') => container_end(text, from),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
            text[from..].iter().position(ends).map_or(text.len(), |length| from + length)
        }
    }
}

fn container_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    let mut depth = 1usize;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str) {
        for after in ["", ",1", "}", "]"] {
            let text = format!("{value}{after}");
            assert_eq!(value_end(text.as_bytes(), 0), value.len(), "{text}");
        }
    }

    #[test]
    fn a_value_ends_where_its_own_brackets_and_quotes_do() {
        check("null");
        check("-1.5e3");
        check(r#""a,]}\"b\\""#);
        check(r#"[{"a":"]"},[]]"#);
        check(r#"{"}":{"\"":[1,2]}}"#);
    }

    proptest! {
        #[test]
        fn an_end_always_lies_inside_the_text_and_between_characters(text in r#"[\[\]{},:"\\aé🦀]{0,24}"#) {
            for from in 0..=text.len() {
                prop_assert!(!text.is_char_boundary(from) || text.is_char_boundary(value_end(text.as_bytes(), from)));
            }
        }
    }
}

//! The one pass over text from outside: it checks the grammar (RFC 8259), the depth and the names, and leaves canonical
//! text behind. It keeps its own stack of open brackets, so depth costs no recursion.

use std::sync::Arc;

use super::error::excerpt;
use super::token::Tokens;
use super::{DEPTH_MAX, Error, Limits};

/// The canonical text of the one JSON value in `text`.
pub(super) fn compact(text: &[u8], limits: &Limits) -> Result<Arc<str>, Error> {
    if text.len() > limits.bytes {
        return Err(Error::TooLarge { bytes: text.len(), bytes_max: limits.bytes });
    }
    let text =
        str::from_utf8(text).map_err(|error| Error::Syntax { at: error.valid_up_to(), expected: "UTF-8" })?;
    let pass = Pass {
        tokens: Tokens::new(text),
        open: Vec::with_capacity(8),
        names: Vec::with_capacity(16),
        depth_max: limits.depth.min(DEPTH_MAX),
    };
    pass.run()
}

struct Pass<'a> {
    tokens: Tokens<'a>,
    open: Vec<Bracket>,
    /// Where in the output the names of the open objects' members lie.
    names: Vec<(usize, usize)>,
    depth_max: usize,
}

#[derive(Clone, Copy)]
enum Bracket {
    Array,
    /// Its own names are those in `names` from this index on.
    Object {
        names_from: usize,
    },
}

impl Pass<'_> {
    fn run(mut self) -> Result<Arc<str>, Error> {
        while self.value()? || self.next()? {}
        match self.tokens.peek() {
            None => Ok(self.tokens.finish()),
            Some(_) => Err(self.tokens.expected("the end")),
        }
    }

    /// Reads a value to its end, or up to the first value inside it: then true.
    fn value(&mut self) -> Result<bool, Error> {
        self.tokens.blank();
        match self.tokens.peek() {
            Some(b'"') => self.tokens.string()?,
            Some(b'-' | b'0'..=b'9') => self.tokens.number()?,
            Some(b'{') => {
                self.open(Bracket::Object { names_from: self.names.len() })?;
                if !self.tokens.take(b'}') {
                    self.name()?;
                    return Ok(true);
                }
                self.close()?;
            }
            Some(b'[') => {
                self.open(Bracket::Array)?;
                if !self.tokens.take(b']') {
                    return Ok(true);
                }
                self.close()?;
            }
            Some(b't') => self.tokens.literal("true")?,
            Some(b'f') => self.tokens.literal("false")?,
            Some(b'n') => self.tokens.literal("null")?,
            _ => return Err(self.tokens.expected("a value")),
        }
        Ok(false)
    }

    /// Closes what the last value was the last of, up to where another value follows; false when all is closed.
    fn next(&mut self) -> Result<bool, Error> {
        loop {
            self.tokens.blank();
            match self.open.last() {
                None => return Ok(false),
                Some(Bracket::Array) if self.tokens.take(b',') => return Ok(true),
                Some(Bracket::Array) if self.tokens.take(b']') => self.close()?,
                Some(Bracket::Array) => return Err(self.tokens.expected("',' or ']'")),
                Some(Bracket::Object { .. }) if self.tokens.take(b',') => {
                    self.name()?;
                    return Ok(true);
                }
                Some(Bracket::Object { .. }) if self.tokens.take(b'}') => self.close()?,
                Some(Bracket::Object { .. }) => return Err(self.tokens.expected("',' or '}'")),
            }
        }
    }

    fn open(&mut self, bracket: Bracket) -> Result<(), Error> {
        if self.open.len() == self.depth_max {
            return Err(Error::TooDeep { depth_max: self.depth_max, at: self.tokens.at() });
        }
        self.open.push(bracket);
        self.tokens.skip();
        self.tokens.blank();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(Bracket::Object { names_from }) = self.open.pop() else { return Ok(()) };
        if self.names.len() - names_from > 1
            && let Some(name) = repeated(self.tokens.written(), &mut self.names[names_from..])
        {
            return Err(Error::Duplicate { name: excerpt(name), at: self.tokens.at() });
        }
        self.names.truncate(names_from);
        Ok(())
    }

    /// Reads a member's name and the colon behind it.
    fn name(&mut self) -> Result<(), Error> {
        self.tokens.blank();
        if self.tokens.peek() != Some(b'"') {
            return Err(self.tokens.expected("a member's name"));
        }
        let from = self.tokens.position() + 1;
        self.tokens.string()?;
        self.names.push((from, self.tokens.position() - 1));
        self.tokens.blank();
        if self.tokens.take(b':') { Ok(()) } else { Err(self.tokens.expected("':'")) }
    }
}

/// A name that occurs twice among those at the given places.
fn repeated<'t>(text: &'t str, names: &mut [(usize, usize)]) -> Option<&'t str> {
    /// Up to here comparing each with each is cheaper than sorting.
    const FEW: usize = 16;

    let name = |&(from, to): &(usize, usize)| &text[from..to];
    if names.len() <= FEW {
        let twice = |n: &usize| names[..*n].iter().any(|earlier| name(earlier) == name(&names[*n]));
        return (1..names.len()).find(twice).map(|n| name(&names[n]));
    }
    names.sort_unstable_by_key(name);
    names.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])).map(|pair| name(&pair[0]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary::{self, tree};
    use super::*;

    /// What becomes of a text: its canonical form, or the error as an operator reads it.
    #[track_caller]
    fn check(text: &str, outcome: Result<&str, &str>) {
        let compacted = compact(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string());
        assert_eq!(compacted.as_deref().map_err(String::as_str), outcome, "{text}");
    }

    #[test]
    fn whitespace_between_tokens_goes_and_in_strings_stays() {
        check(" \t\r\n1 ", Ok("1"));
        check(
            r#" { "a b" : [ 1 , { } , [ ] , null ] , "c" : " " } "#,
            Ok(r#"{"a b":[1,{},[],null],"c":" "}"#),
        );
        check(r#"{"a":1}"#, Ok(r#"{"a":1}"#));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        check("", Err("JSON is malformed at byte 0: expected a value"));
        check("01", Err("JSON is malformed at byte 1: expected the end"));
        check("1.", Err("JSON is malformed at byte 2: expected a digit"));
        check("-", Err("JSON is malformed at byte 1: expected a digit"));
        check("+1", Err("JSON is malformed at byte 0: expected a value"));
        check("1e", Err("JSON is malformed at byte 2: expected a digit"));
        check("nul", Err("JSON is malformed at byte 0: expected null"));
        check("NaN", Err("JSON is malformed at byte 0: expected a value"));
        check("[1,]", Err("JSON is malformed at byte 3: expected a value"));
        check("[1 2]", Err("JSON is malformed at byte 3: expected ',' or ']'"));
        check("[1}", Err("JSON is malformed at byte 2: expected ',' or ']'"));
        check(r#"{"a":1,}"#, Err("JSON is malformed at byte 7: expected a member's name"));
        check(r#"{"a" 1}"#, Err("JSON is malformed at byte 5: expected ':'"));
        check(r#"{"a":1]"#, Err("JSON is malformed at byte 6: expected ',' or '}'"));
        check(r#"{1:1}"#, Err("JSON is malformed at byte 1: expected a member's name"));
        check("[", Err("JSON is malformed at byte 1: expected a value"));
        check("{} {}", Err("JSON is malformed at byte 3: expected the end"));
        check("\"a\nb\"", Err("JSON is malformed at byte 2: expected the rest of a string"));
        check("\"a", Err("JSON is malformed at byte 2: expected the rest of a string"));
        check(r#""\"#, Err("JSON is malformed at byte 1: expected an escape that JSON knows"));
        check(r#""\x""#, Err("JSON is malformed at byte 1: expected an escape that JSON knows"));
        check(r#""\u12g4""#, Err("JSON is malformed at byte 3: expected four hexadecimal digits"));
        check("\u{feff}1", Err("JSON is malformed at byte 0: expected a value"));
        assert_eq!(compact(b"\"\xff\"", &Limits::default()), Err(Error::Syntax { at: 1, expected: "UTF-8" }));
    }

    #[test]
    fn a_name_twice_in_one_object_is_refused_however_it_is_spelled() {
        let refused = |at| format!("JSON names the member \"a\" twice in the object that ends at byte {at}");
        check(r#"{"a":1,"a":1}"#, Err(&refused(13)));
        check(r#"[{"b":{"a":1, "c":{}, "\u0061":2}}]"#, Err(&refused(33)));
        check(
            r#"{"a":{"a":{"b":1}},"b":[{"a":1},{"a":1}]}"#,
            Ok(r#"{"a":{"a":{"b":1}},"b":[{"a":1},{"a":1}]}"#),
        );

        let many: String = (0..20).map(|n| format!("\"{n}\":0,")).collect();
        assert!(compact(format!("{{{many}\"20\":0}}").as_bytes(), &Limits::default()).is_ok());
        assert!(compact(format!("{{{many}\"7\":0}}").as_bytes(), &Limits::default()).is_err());
    }

    #[test]
    fn the_limits_are_exact() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(&nested(32), Ok(&nested(32)));
        check(&nested(33), Err("JSON nests deeper than 32 levels at byte 32"));
        check(&nested(100_000), Err("JSON nests deeper than 32 levels at byte 32"));
        check(&"[".repeat(100_000), Err("JSON nests deeper than 32 levels at byte 32"));

        let limits = Limits { bytes: 4, depth: 0 };
        assert_eq!(compact(b"1234", &limits).as_deref(), Ok("1234"));
        assert_eq!(compact(b"1234 ", &limits), Err(Error::TooLarge { bytes: 5, bytes_max: 4 }));
        assert_eq!(compact(b"[]", &limits), Err(Error::TooDeep { depth_max: 0, at: 0 }));
    }

    #[test]
    fn the_deepest_text_that_passes_can_be_read() {
        let limits = Limits { bytes: usize::MAX, depth: usize::MAX };
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = compact(nested(DEPTH_MAX).as_bytes(), &limits).unwrap();

        assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
        assert!(compact(nested(DEPTH_MAX + 1).as_bytes(), &limits).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_become_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(text) = compact(&bytes, &Limits::default()) {
                tree(&text);
            }
        }

        #[test]
        fn damaged_text_passes_when_serde_json_reads_it(
            value in arbitrary::value(),
            at: prop::sample::Index,
            damage in r#"[\[\]{},:"\\/ntu0-9a-f.E+ -]{0,2}"#,
        ) {
            let mut text = serde_json::to_string(&value).unwrap();
            let (from, character) = text.char_indices().nth(at.index(text.chars().count())).unwrap();
            text.replace_range(from..from + character.len_utf8(), &damage);

            let read = serde_json::from_str::<serde_json::Value>(&text);
            match compact(text.as_bytes(), &Limits::default()) {
                Ok(_) if read.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range")) => {}
                Ok(text) => prop_assert_eq!(tree(&text), read.unwrap()),
                Err(Error::Duplicate { .. }) => {}
                Err(_) => prop_assert!(read.is_err()),
            }
        }

        #[test]
        fn a_value_keeps_its_meaning(value in arbitrary::value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let text = compact(pretty.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(&*text, serde_json::to_string(&value).unwrap());
        }
    }
}

//! The one pass over text from outside: it checks the grammar (RFC 8259), the depth and the names, and leaves canonical
//! text behind. It keeps its own stack of open brackets, so depth costs no recursion.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::excerpt;
use super::rewrite::Rewrite;
use super::{DEPTH_MAX, Error, Limits, name};

/// The canonical text of the one JSON value in `text`.
pub(super) fn compact(text: &[u8], limits: &Limits) -> Result<Arc<str>, Error> {
    if text.len() > limits.bytes {
        return Err(Error::TooLarge { bytes: text.len(), bytes_max: limits.bytes });
    }
    let text =
        str::from_utf8(text).map_err(|error| Error::Syntax { at: error.valid_up_to(), expected: "UTF-8" })?;
    let pass = Pass {
        text: text.as_bytes(),
        at: 0,
        output: Rewrite::new(text),
        open: Vec::with_capacity(8),
        names: Vec::with_capacity(16),
        depth_max: limits.depth.min(DEPTH_MAX),
    };
    pass.run()
}

struct Pass<'a> {
    text: &'a [u8],
    at: usize,
    output: Rewrite<'a>,
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
        loop {
            if self.value()? {
                continue;
            }
            // A value has ended, and with it perhaps what it was the last of.
            loop {
                self.blank();
                match (self.open.last(), self.peek()) {
                    (None, None) => return Ok(self.output.finish()),
                    (None, Some(_)) => return Err(self.expected("the end")),
                    (Some(Bracket::Array), Some(b',')) => {
                        self.at += 1;
                        break;
                    }
                    (Some(Bracket::Object { .. }), Some(b',')) => {
                        self.at += 1;
                        self.name()?;
                        break;
                    }
                    (Some(Bracket::Array), Some(b']')) | (Some(Bracket::Object { .. }), Some(b'}')) => {
                        self.close()?;
                    }
                    (Some(Bracket::Array), _) => return Err(self.expected("',' or ']'")),
                    (Some(Bracket::Object { .. }), _) => return Err(self.expected("',' or '}'")),
                }
            }
        }
    }

    /// Reads a value up to its end, or up to the first value inside it: then true.
    fn value(&mut self) -> Result<bool, Error> {
        self.blank();
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => {
                self.open(Bracket::Object { names_from: self.names.len() })?;
                if self.peek() != Some(b'}') {
                    self.name()?;
                    return Ok(true);
                }
                self.close()?;
            }
            Some(b'[') => {
                self.open(Bracket::Array)?;
                if self.peek() != Some(b']') {
                    return Ok(true);
                }
                self.close()?;
            }
            Some(b't') => self.literal(b"true", "true")?,
            Some(b'f') => self.literal(b"false", "false")?,
            Some(b'n') => self.literal(b"null", "null")?,
            _ => return Err(self.expected("a value")),
        }
        Ok(false)
    }

    fn open(&mut self, bracket: Bracket) -> Result<(), Error> {
        if self.open.len() == self.depth_max {
            return Err(Error::TooDeep { depth_max: self.depth_max, at: self.at });
        }
        self.open.push(bracket);
        self.at += 1;
        self.blank();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.at += 1;
        if let Some(Bracket::Object { names_from }) = self.open.pop() {
            if self.names.len() - names_from > 1 {
                let object = self.output.up_to(self.at);
                if let Some(name) = repeated(object, &mut self.names[names_from..]) {
                    return Err(Error::Duplicate { name: excerpt(name), at: self.at });
                }
            }
            self.names.truncate(names_from);
        }
        Ok(())
    }

    /// Reads a member's name and the colon behind it.
    fn name(&mut self) -> Result<(), Error> {
        self.blank();
        if self.peek() != Some(b'"') {
            return Err(self.expected("a member's name"));
        }
        let from = self.output.position(self.at) + 1;
        self.string()?;
        self.names.push((from, self.output.position(self.at) - 1));
        self.blank();
        if !self.take(b':') {
            return Err(self.expected("':'"));
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                None | Some(..b' ') => return Err(self.expected("the rest of a string")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an escape. One that JSON does not need gives way to its character.
    fn escape(&mut self) -> Result<(), Error> {
        let from = self.at;
        self.at += 2;
        match self.text.get(from + 1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'/') => self.output.replace(from, self.at, "/"),
            Some(b'u') => {
                let character = self.code_point(from)?.to_string();
                self.output.replace(from, self.at, &name::to_json(Cow::Owned(character)));
            }
            _ => {
                self.at = from;
                return Err(self.expected("an escape that JSON knows"));
            }
        }
        Ok(())
    }

    /// Reads the digits of a `\u` escape that began at `from`, and those of its second half where it has one. Half a
    /// surrogate pair is refused: no string could be decoded from it.
    fn code_point(&mut self, from: usize) -> Result<char, Error> {
        let first = self.code_unit()?;
        let second = match first {
            0xD800..0xDC00 if self.take(b'\\') && self.take(b'u') => Some(self.code_unit()?),
            _ => None,
        };
        let mut decoded = char::decode_utf16([first].into_iter().chain(second));
        match (decoded.next(), decoded.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(Error::Syntax { at: from, expected: "both halves of a surrogate pair" }),
        }
    }

    fn code_unit(&mut self) -> Result<u16, Error> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(|d| digit(d).is_some()));
        let Some(digits) = digits else { return Err(self.expected("four hexadecimal digits")) };
        self.at += 4;
        Ok(digits.iter().filter_map(digit).fold(0, |unit, digit| (unit << 4) | digit as u16))
    }

    fn number(&mut self) -> Result<(), Error> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from {
            return Err(self.expected("a digit"));
        }
        Ok(())
    }

    fn literal(&mut self, literal: &[u8], expected: &'static str) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(literal) {
            return Err(self.expected(expected));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Leaves out whitespace.
    fn blank(&mut self) {
        let from = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        if self.at > from {
            self.output.replace(from, self.at, "");
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn expected(&self, expected: &'static str) -> Error {
        Error::Syntax { at: self.at, expected }
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

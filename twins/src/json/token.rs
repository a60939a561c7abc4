//! The tokens of text from outside, one after the other, and the canonical spelling of each.

use std::borrow::Cow;
use std::sync::Arc;

use super::rewrite::Rewrite;
use super::{Error, name};

/// Where a reader stands in the text, and what it has made of the text up to there.
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    output: Rewrite<'a>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text: text.as_bytes(), at: 0, output: Rewrite::new(text) }
    }

    /// The byte of the input that comes next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where in the output the next byte will lie.
    pub(super) fn position(&self) -> usize {
        self.output.position(self.at)
    }

    /// The output up to here.
    pub(super) fn written(&mut self) -> &str {
        self.output.up_to(self.at)
    }

    /// The output, when all has been read.
    pub(super) fn finish(self) -> Arc<str> {
        self.output.finish()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// The error that something else should come next.
    pub(super) fn expected(&self, expected: &'static str) -> Error {
        Error::Syntax { at: self.at, expected }
    }

    /// Leaves out whitespace.
    pub(super) fn blank(&mut self) {
        if self.peek() > Some(b' ') {
            return;
        }
        let from = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        if self.at > from {
            self.output.replace(from, self.at, "");
        }
    }

    pub(super) fn string(&mut self) -> Result<(), Error> {
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

    pub(super) fn number(&mut self) -> Result<(), Error> {
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

    pub(super) fn literal(&mut self, literal: &'static str) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.expected(literal));
        }
        self.at += literal.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Json, Limits};

    /// What becomes of a text: its canonical form, or the error as an operator reads it.
    #[track_caller]
    fn check(text: &str, outcome: Result<&str, &str>) {
        let json = Json::parse(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string());
        assert_eq!(json.as_ref().map(Json::as_str).map_err(String::as_str), outcome, "{text}");
    }

    #[test]
    fn a_string_has_one_spelling() {
        check(r#""\u00e4\/\u0041\ud83e\udd80""#, Ok(r#""ä/A🦀""#));
        check(r#""\"\\\b\f\n\r\t\u0001\u001F""#, Ok(r#""\"\\\b\f\n\r\t\u0001\u001f""#));
        check(r#""\u0022\u005c\u000a\u0008""#, Ok(r#""\"\\\n\b""#));
        check("\"\u{7f}\u{2028}\"", Ok("\"\u{7f}\u{2028}\""));
    }

    #[test]
    fn a_number_keeps_its_spelling() {
        for number in ["0", "-0", "1.50", "1e400", "-1E-3", "123456789012345678901234567890", "0.1e+2"] {
            check(number, Ok(number));
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#""\ud83e""#, r#""\ud83e\u0041""#, r#""\udd80""#, r#""\ud83e\ud83e""#, r#""\ud83e\n""#]
        {
            check(text, Err("JSON is malformed at byte 1: expected both halves of a surrogate pair"));
        }
    }
}

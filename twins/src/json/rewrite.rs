//! Text with some pieces left out or replaced, which is the input itself as long as nothing was.

use std::sync::Arc;

/// A copy that begins with the first difference: text that is canonical already is never copied piecewise.
pub(super) struct Rewrite<'a> {
    text: &'a str,
    /// What lies before this in `text` is in `written`.
    copied: usize,
    written: Option<String>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(text: &'a str) -> Rewrite<'a> {
        Rewrite { text, copied: 0, written: None }
    }

    /// Puts `with` in the place of the input's bytes `from..to`. Pieces come in order.
    pub(super) fn replace(&mut self, from: usize, to: usize, with: &str) {
        let written = self.written.get_or_insert_with(|| String::with_capacity(self.text.len()));
        written.push_str(&self.text[self.copied..from]);
        written.push_str(with);
        self.copied = to;
    }

    /// Where the input's byte `at`, which no replaced piece holds, will lie in the output.
    pub(super) fn position(&self, at: usize) -> usize {
        self.written.as_ref().map_or(0, String::len) + (at - self.copied)
    }

    /// The output for the input up to the byte `at`.
    pub(super) fn up_to(&mut self, at: usize) -> &str {
        let Some(written) = &mut self.written else { return &self.text[..at] };
        written.push_str(&self.text[self.copied..at]);
        self.copied = at;
        written
    }

    /// The output for the whole input.
    pub(super) fn finish(mut self) -> Arc<str> {
        self.up_to(self.text.len()).into()
    }
}

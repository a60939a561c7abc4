//! Plain text in aligned columns, as people and `awk` read it.

use std::fmt::{self, Display, Write};

/// Between two columns.
const GAP: &str = "  ";

/// Rows in aligned columns, each as wide as its widest cell. Widths are counted in characters.
///
/// A cell is one line of text: what comes from devices cannot break out of it, nor steer the terminal.
#[derive(Default)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// With a heading over each column.
    pub(super) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&title| title.to_owned()).collect()])
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: &[&dyn Display]) {
        self.0.push(cells.iter().map(|cell| plain(&cell.to_string())).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.0 {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}{GAP}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text without anything that a terminal would take for more than text.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Control characters, and those that end a line or turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["ID", "KIND", "TAGS"]);
        table.row(&[&"t-1", &"thermostat", &"{}"]);
        table.row(&[&"küche-12", &"device", &""]);

        assert_eq!(
            table.to_string(),
            "\
ID        KIND        TAGS
t-1       thermostat  {}
küche-12  device
"
        );
    }

    #[test]
    fn a_table_without_headings_is_its_rows() {
        let mut table = Table::default();
        table.row(&[&"id", &7]);
        assert_eq!(table.to_string(), "id  7\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::default();
        table.row(&[&"a\n\u{1b}[31m\u{9b}2J\u{202e}b"]);
        assert_eq!(table.to_string(), "a\\u{a}\\u{1b}[31m\\u{9b}2J\\u{202e}b\n");
    }
}

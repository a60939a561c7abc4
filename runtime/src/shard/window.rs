//! The front of the index of what is due: the earliest rows are in memory, the rest is in the state store alone.
//!
//! A million twins with a deadline in a month cost no memory. What keeps it true: every row up to the *horizon* is in
//! memory, and a row behind it is in the state store or is that of a twin whose image the store lacks, which is
//! resident. So when the rows in memory run out, the next ones are read, and joined with those of the residents.
//!
//! A row may be of a time that the twin has meanwhile left. It then wakes a twin with nothing to do.

use std::collections::BTreeSet;

use twins::id::TwinId;
use twins::time::Timestamp;

/// When, and who.
pub(crate) type Row = (Timestamp, TwinId);

/// Past so many rows in memory, the later half is forgotten.
const MOST: usize = if cfg!(test) { 8 } else { 4_096 };
/// With fewer, the next ones are read.
const FEW: usize = MOST / 4;
/// How many are read at once.
pub(super) const READ: usize = MOST / 2;

/// Rows in order.
#[derive(Debug, Default)]
pub(super) struct Window {
    rows: BTreeSet<Row>,
    /// All rows up to this one are in memory; without one, all.
    horizon: Option<Row>,
    /// The next ones are being read: whatever comes meanwhile is kept, since they may have been read before it.
    is_reading: bool,
}

impl Window {
    /// What a state store begins with: its first rows, at most [`READ`].
    pub(super) fn of(rows: Vec<Row>) -> Self {
        let mut window = Self { is_reading: true, ..Self::default() };
        window.take(rows);
        window
    }

    pub(super) fn first(&self) -> Option<&Row> {
        // While some are read, one of those may be earlier than what is kept meanwhile; it is not late for that.
        self.rows.first()
    }

    pub(super) fn pop(&mut self) -> Option<Row> {
        self.rows.pop_first()
    }

    pub(super) fn insert(&mut self, row: Row) {
        if !self.is_reading && self.horizon.as_ref().is_some_and(|horizon| row > *horizon) {
            return;
        }
        self.rows.insert(row);
        if !self.is_reading {
            self.shrink();
        }
    }

    pub(super) fn remove(&mut self, row: &Row) {
        self.rows.remove(row);
    }

    /// Whether the next ones are to be read.
    pub(super) fn runs_out(&self) -> bool {
        !self.is_reading && self.rows.len() < FEW && self.horizon.is_some()
    }

    /// After which row the next ones are to be read, if they are; `residents` are the rows of those twins whose images
    /// the store lacks. [`Window::take`] follows.
    pub(super) fn read_on(&mut self, residents: Vec<Row>) -> Option<Row> {
        let horizon = self.horizon.clone().filter(|_| self.runs_out())?;
        self.is_reading = true;
        self.rows.extend(residents);
        Some(horizon)
    }

    /// The first rows are to be read again, whatever came out since; `residents` are as in [`Window::read_on`].
    /// [`Window::take`] follows.
    pub(super) fn begin_again(&mut self, residents: Vec<Row>) {
        *self = Self { rows: residents.into_iter().collect(), horizon: None, is_reading: true };
    }

    /// The next rows of the store, at most [`READ`]; fewer are the last ones.
    pub(super) fn take(&mut self, rows: Vec<Row>) {
        self.is_reading = false;
        self.horizon = if rows.len() < READ { None } else { rows.last().cloned() };
        self.rows.extend(rows);
        if let Some(horizon) = &self.horizon {
            let mut behind = self.rows.split_off(horizon);
            self.rows.extend(behind.take(horizon));
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.rows.len() <= MOST {
            return;
        }
        let last = self.rows.iter().nth(MOST / 2).cloned().expect("there are more");
        self.rows.split_off(&last);
        self.horizon = self.rows.last().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::sim::Random;

    fn row(n: u64) -> Row {
        let id = TwinId::in_default_tenant(&format!("twin-{n}")).unwrap();
        (Timestamp::from_millis(n / 3), id)
    }

    /// A store of rows that lags behind, as that of a shard does.
    #[derive(Default)]
    struct Store {
        written: BTreeSet<Row>,
        unwritten: BTreeSet<Row>,
    }

    impl Store {
        fn after(&self, horizon: &Row) -> Vec<Row> {
            self.written.iter().filter(|row| *row > horizon).take(READ).cloned().collect()
        }
    }

    #[test]
    fn every_row_comes_out_in_time_whenever_it_was_written_and_read() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut store = Store::default();
            store.written.extend((0..random.below(60)).map(|_| row(random.below(300))));
            let mut window = Window::of(store.written.iter().take(READ).cloned().collect());
            let (mut all, mut reading) = (store.written.clone(), None);
            let mut fired: BTreeSet<Row> = BTreeSet::new();
            for _ in 0..600 {
                match random.below(6) {
                    0 => {
                        let row = row(random.below(400));
                        if !fired.contains(&row) {
                            all.insert(row.clone());
                            store.unwritten.insert(row.clone());
                            window.insert(row);
                        }
                    }
                    1 => store.written.append(&mut store.unwritten),
                    2 => match reading.take() {
                        Some(rows) => window.take(rows),
                        None => {
                            let residents = store.unwritten.iter().cloned().collect();
                            reading = window.read_on(residents).map(|horizon| store.after(&horizon));
                        }
                    },
                    _ => fired.extend(window.pop()),
                }
                assert!(window.rows.len() <= MOST + 60, "seed {seed}: {}", window.rows.len());
            }
            loop {
                while let Some(row) = window.pop() {
                    fired.insert(row);
                }
                match reading.take() {
                    Some(rows) => window.take(rows),
                    None => {
                        let residents = store.unwritten.iter().cloned().collect();
                        let Some(horizon) = window.read_on(residents) else { break };
                        reading = Some(store.after(&horizon));
                    }
                }
            }
            assert_eq!(fired, all, "seed {seed}");
        }
    }

    #[test]
    fn many_rows_are_not_kept_in_memory() {
        let mut window = Window::default();

        (0..1_000).for_each(|n| window.insert(row(n)));

        assert!(window.rows.len() <= MOST, "{}", window.rows.len());
        assert_eq!(window.first(), Some(&row(0)));
    }
}

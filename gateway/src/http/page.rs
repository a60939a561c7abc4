//! A page of a list: `{"items", "next"}`, bounded in items and in bytes.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::problem::Problem;

/// How many items a page has where nobody says.
const LIMIT: usize = 100;
/// The most items a page has.
const LIMIT_MAX: usize = 1_000;
/// The bytes after which a page ends, whatever its limit: what one answer may cost.
const BYTES_MAX: usize = 4 << 20;

/// How many items a caller wants.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Limit(usize);

impl Limit {
    pub(super) fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        match limit {
            1..=LIMIT_MAX => Ok(Self(limit)),
            _ => Err(format!("it must be 1 to {LIMIT_MAX}")),
        }
    }
}

/// Some items of a list, already written as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    #[schema(value_type = Vec<T>)]
    items: Vec<Box<RawValue>>,
    /// Where the list goes on; null where it ends.
    next: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    bytes: usize,
    #[serde(skip)]
    #[schema(ignore)]
    of: PhantomData<T>,
}

impl<T: Serialize> Page<T> {
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), next: None, bytes: 0, of: PhantomData }
    }

    /// The first `items`, each with the place behind it; the list goes on behind the last that found room.
    pub(super) fn of(items: impl IntoIterator<Item = (T, String)>, limit: usize) -> Result<Self, Problem> {
        let mut items = items.into_iter();
        let mut page = Self::new();
        let mut behind = None;
        while page.items.len() < limit && !page.is_full() {
            let Some((item, place)) = items.next() else { return Ok(page) };
            page.push(&item)?;
            behind = Some(place);
        }
        page.next = items.next().and(behind);
        Ok(page)
    }

    /// Adds an item.
    pub(super) fn push(&mut self, item: &T) -> Result<(), Problem> {
        let item = serde_json::value::to_raw_value(item)
            .map_err(|error| Problem::internal(format!("an item has no form in JSON: {error}")))?;
        self.bytes += item.get().len();
        self.items.push(item);
        Ok(())
    }

    /// Whether it has the bytes that one answer may have.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    /// The list goes on at `next`, unless it does so before.
    pub(super) fn or_next(mut self, next: Option<String>) -> Self {
        self.next = self.next.or(next);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(items: &[&str], limit: usize, page: &str) {
        let items = items.iter().map(|item| (item.len(), (*item).to_owned()));
        let gathered = Page::of(items, limit).unwrap();
        assert_eq!(serde_json::to_string(&gathered).unwrap(), page);
    }

    #[test]
    fn a_page_ends_at_its_limit_and_says_where_the_list_goes_on() {
        check(&["a", "bb", "ccc"], 2, r#"{"items":[1,2],"next":"bb"}"#);
        check(&["a", "bb"], 2, r#"{"items":[1,2],"next":null}"#);
        check(&[], 2, r#"{"items":[],"next":null}"#);
    }

    #[test]
    fn a_page_ends_at_its_bytes_but_has_one_item_of_any_size() {
        let large = || ("x".repeat(BYTES_MAX), "here".to_owned());

        let page = Page::of([large(), large()], 2).unwrap();

        assert_eq!((page.items.len(), page.next.as_deref()), (1, Some("here")));
    }
}

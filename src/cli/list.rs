//! Lists: a page of rows, and where the list goes on.

use std::fmt;
use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::Call;
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};

/// How many items of a list.
#[derive(Args)]
pub(super) struct Limit {
    /// At most so many, 1 to 1000; 100 where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
}

/// Where to begin in a list.
#[derive(Args)]
pub(super) struct After {
    /// Go on where a list ended
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
}

/// An item that is a row of a table.
pub(super) trait Row {
    /// What stands over the columns.
    const HEAD: &'static [&'static str];

    /// Adds itself.
    fn row(&self, table: &mut Table);
}

/// Some items of a list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

/// Where a list goes on.
#[derive(Deserialize)]
struct Rest {
    next: Option<String>,
}

impl Limit {
    pub(super) fn of(&self, call: Call) -> Call {
        call.query("limit", self.limit)
    }
}

impl After {
    pub(super) fn of(&self, call: Call) -> Call {
        call.query("after", self.after.as_ref())
    }
}

/// Asks for a page and shows it; `flag` is the one that reads on.
pub(super) fn show<T>(at: &Remote, call: Call, flag: &str, out: &mut dyn Write) -> Result<(), Error>
where
    T: Row + DeserializeOwned,
{
    let answer = at.call(call)?;
    at.show::<Page<T>>(&answer, out)?;
    if let Some(next) = answer.read::<Rest>()?.next {
        // After the rows, also where both streams go to one place.
        out.flush()?;
        note(&format!("next: {flag} {next}"));
    }
    Ok(())
}

impl<T: Row> fmt::Display for Page<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(T::HEAD);
        self.items.iter().for_each(|item| item.row(&mut table));
        table.fmt(f)
    }
}

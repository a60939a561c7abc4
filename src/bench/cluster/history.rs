//! What is there of a device in the end: all its samples, page by page, through the API of one node.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::bench::Error;
use crate::cli::client::{Call, Target};

use super::device::CHANNEL;

/// How many samples a page has, at most.
const PAGE: u16 = 1_000;
/// How long a page is asked for again and again: the node may just have come back.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    value: u64,
}

/// The numbers of its samples, in the order in which they are there.
pub(super) fn read(api: &Target, device: &str) -> Result<Vec<u64>, Error> {
    let (mut there, mut from) = (Vec::new(), None);
    loop {
        let Page { items, next } = page(api, device, from.as_deref())?;
        let is_last = items.is_empty() || next.is_none();
        there.extend(items.into_iter().map(|item| item.data.value));
        if is_last {
            return Ok(there);
        }
        from = next;
    }
}

fn page(api: &Target, device: &str, from: Option<&str>) -> Result<Page, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        let call = Call::get(&["twins", device, "telemetry"]).query("channel", Some(CHANNEL));
        let answer = call.query("limit", Some(PAGE)).query("from", from).send(api);
        match answer.and_then(|answer| answer.read()) {
            Ok(page) => return Ok(page),
            Err(why) if Instant::now() > end => {
                return Err(Error::Cluster(format!("the samples of {device} cannot be read: {why}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

//! Following the streams: pages of what comes next, for as long as somebody asks for them.
//!
//! A follower holds a cursor and nothing else. It reads from the files when it is asked, so that one that is slow costs
//! no memory, only the time until retention overtakes it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::router::Router;
use crate::stream::{From, Page, Selection, Unread};

/// After it heard that there is more, how long a follower lets more come, so that a busy node is read in pages.
const GATHER: Duration = Duration::from_millis(2);

/// A reader that waits for what comes next.
pub struct Follower {
    router: Router,
    selection: Selection,
    grown: watch::Receiver<()>,
}

impl Follower {
    pub(crate) fn new(router: Router, selection: Selection, grown: watch::Receiver<()>) -> Self {
        Self { router, selection, grown }
    }

    /// The next records; a page without any when none came within `patience`. Reads at least once, and no thread is
    /// held while it waits. The page's `next` is where this follower stands.
    ///
    /// Dropping the call loses nothing: the next one reads again.
    ///
    /// # Errors
    /// As [`Router::read`].
    pub async fn next(&mut self, patience: Duration) -> Result<Page, Unread> {
        let end = Instant::now() + patience;
        loop {
            self.grown.mark_unchanged();
            let page = self.router.read(self.selection.clone()).await?;
            let at = From::Cursor(page.next.clone());
            let stood_still = self.selection.from == at;
            self.selection.from = at;
            if !page.records.is_empty() || Instant::now() >= end {
                return Ok(page);
            }
            // Where nothing that was asked for came, but something else did, there may be more to look at.
            if stood_still {
                match timeout_at(end, self.grown.changed()).await {
                    Ok(Ok(())) => sleep(GATHER).await,
                    Ok(Err(_)) | Err(_) => return Ok(page),
                }
            }
        }
    }
}

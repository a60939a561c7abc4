//! Waiting for a change of the own twin: a long poll, without looking in between.

use std::time::Duration;

use actix_web::HttpRequest;
use runtime::watch::{Changed, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::super::following::Followers;
use super::super::problem::Problem;

/// The longest that a call may wait.
const WAIT_S_MAX: f64 = 60.0;

/// A wait that ends: with its time, or when the node stops.
pub(super) struct Wait {
    until: Instant,
    stopping: watch::Receiver<bool>,
}

impl Wait {
    pub(super) fn new(request: &HttpRequest, wait_s: f64) -> Result<Self, Problem> {
        if !(0.0..=WAIT_S_MAX).contains(&wait_s) {
            let why = format!("parameter `wait_s`: {wait_s} is not from 0 to {WAIT_S_MAX}");
            return Err(Problem::parameter(why));
        }
        let followers = request.app_data::<Followers>();
        let followers = followers.ok_or_else(|| Problem::internal("nothing says when the node stops"))?;
        let until = Instant::now() + Duration::from_secs_f64(wait_s);
        Ok(Self { until, stopping: followers.stopping() })
    }

    /// The next change; `None` when the wait is over.
    pub(super) async fn changed(&mut self, watch: &mut Watch) -> Option<Changed> {
        let stopped = self.stopping.wait_for(|stopping| *stopping);
        tokio::select! {
            biased;
            _ = stopped => None,
            changed = timeout_at(self.until, watch.changed()) => changed.ok(),
        }
    }
}

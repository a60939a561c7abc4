//! Waiting for a change of twins: a long poll, without looking in between.

use std::time::Duration;

use actix_web::HttpRequest;
use runtime::watch::{Changed, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::following::Followers;
use super::problem::Problem;

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
        self.until_over(watch.changed()).await
    }

    /// The next change of either; `None` when the wait is over.
    pub(super) async fn either_changed(&mut self, [one, other]: [&mut Watch; 2]) -> Option<Changed> {
        let either = async {
            tokio::select! {
                changed = one.changed() => changed,
                changed = other.changed() => changed,
            }
        };
        self.until_over(either).await
    }

    async fn until_over<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let stopped = self.stopping.wait_for(|stopping| *stopping);
        tokio::select! {
            biased;
            _ = stopped => None,
            happened = timeout_at(self.until, what) => happened.ok(),
        }
    }
}

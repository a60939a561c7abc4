//! A load without a network: inputs handed to the twins' shards, a window of them unanswered at once.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::error::Error as Unanswered;
use runtime::mailbox::{Mail, Mailbox};
use runtime::router::{Router, Submission};
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::json::{Json, Limits};
use twins::kind::{DEVICE, Kinds};
use twins::name::Name;

use super::Error;
use super::latency::Latencies;
use crate::dev;
use crate::node::{Running, Settings};

/// How many tasks hand inputs in.
const TASKS: u64 = 4;
/// How long to wait before a shard that had no room is asked again.
const PAUSE: Duration = Duration::from_millis(1);

/// What is said to twins: the nth thing.
pub(super) type Inputs = Arc<dyn Fn(u64) -> (TwinId, Input) + Send + Sync>;

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    /// How many inputs, of all tasks together.
    pub(super) inputs: u64,
    /// Until when at the latest.
    pub(super) until: Option<Instant>,
    /// How many may be unanswered, of all tasks together.
    pub(super) window: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Fed {
    pub(super) acked: u64,
    pub(super) errors: u64,
    pub(super) why: Option<String>,
    pub(super) latencies: Latencies,
}

/// Starts a node in this process, lets something be done with it, and stops it.
pub(super) fn with_node<T, F>(data: &Path, work: impl FnOnce(Router) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Start)?;
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let options =
        dev::Options { data: None, mqtt: free, http: free, devices: 0, settings: Settings::default() };
    threads.block_on(async {
        let started = Running::start(data, dev::node_options(&options, Kinds::default())).await;
        let running = started.map_err(|error| Error::NotReady(error.to_string()))?;
        let done = work(running.router().clone()).await;
        running.stop().await;
        done
    })
}

/// Says things to twins until there are enough, and waits for all answers.
pub(super) async fn feed(router: &Router, amount: Amount, inputs: &Inputs, acked: &Arc<AtomicU64>) -> Fed {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let task = Task {
                router: router.clone(),
                amount: Amount { window: (amount.window / TASKS as usize).max(1), ..amount },
                inputs: inputs.clone(),
                next: next.clone(),
                acked: acked.clone(),
            };
            tokio::spawn(task.run())
        })
        .collect();
    let mut fed = Fed { acked: 0, errors: 0, why: None, latencies: Latencies::new() };
    for task in tasks {
        let done = task.await.expect("a task of the load does not panic");
        fed.acked += done.acked;
        fed.errors += done.errors;
        fed.latencies.add(&done.latencies);
        fed.why = fed.why.or(done.why);
    }
    fed
}

/// The twin with this number.
pub(super) fn twin(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("bench-{n:07}")).expect("the name is short and plain")
}

/// Registers twins as devices.
pub(super) fn registrations() -> Inputs {
    Arc::new(|n| (twin(n), Input::Register { kind: Name::fixed(DEVICE), tags: None, with: None }))
}

/// Reports of so many twins in turn: merge patches of this size.
pub(super) fn reports(twins: u64, payload: usize) -> Inputs {
    Arc::new(move |n| (twin(n % twins), Input::Report(patch(n, payload))))
}

fn patch(n: u64, payload: usize) -> Json {
    let text = String::from_utf8(super::wire::payload(payload, n)).expect("it is made of digits and letters");
    Json::parse(text.as_bytes(), &Limits::default()).expect("it is an object of two members")
}

struct Task {
    router: Router,
    amount: Amount,
    inputs: Inputs,
    /// The number of the next thing that is said by any task.
    next: Arc<AtomicU64>,
    acked: Arc<AtomicU64>,
}

impl Task {
    async fn run(self) -> Fed {
        let mailbox = Arc::new(Mailbox::default());
        let mut fed = Fed { acked: 0, errors: 0, why: None, latencies: Latencies::new() };
        // By token: what was said, and when first.
        let mut said = vec![(0, Instant::now()); self.amount.window];
        let mut free: Vec<usize> = (0..self.amount.window).collect();
        let mut again: Vec<usize> = Vec::new();
        let mut mail = Vec::new();
        loop {
            let mut batch = Vec::new();
            for token in again.drain(..) {
                batch.push(self.submission(token, said[token].0));
            }
            let now = Instant::now();
            while self.amount.until.is_none_or(|until| now < until)
                && let Some(token) = free.pop()
            {
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                if n >= self.amount.inputs {
                    free.push(token);
                    break;
                }
                said[token] = (n, now);
                batch.push(self.submission(token, n));
            }
            if batch.is_empty() && free.len() == self.amount.window {
                return fed;
            }
            self.router.submit(&mailbox, batch);
            mailbox.take(&mut mail).await;
            let (now, before) = (Instant::now(), fed.acked);
            for arrived in mail.drain(..) {
                let Mail::Reply { token, outcome } = arrived else { continue };
                let token = token as usize;
                match outcome {
                    Ok(_) => {
                        fed.acked += 1;
                        fed.latencies.record(now.saturating_duration_since(said[token].1));
                        free.push(token);
                    }
                    // Surely not taken, for a reason that passes.
                    Err(Unanswered::Overloaded { .. } | Unanswered::Unwritten { .. }) => again.push(token),
                    Err(error) => {
                        fed.errors += 1;
                        fed.why.get_or_insert_with(|| error.to_string());
                        free.push(token);
                    }
                }
            }
            self.acked.fetch_add(fed.acked - before, Ordering::Relaxed);
            if !again.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn submission(&self, token: usize, n: u64) -> Submission {
        let (twin, input) = (self.inputs)(n);
        Submission { token: token as u64, twin, header: Header::default(), input }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_said_is_answered_once() {
        let data = tempfile::tempdir().unwrap();
        let acked = Arc::new(AtomicU64::new(0));

        let fed = with_node(data.path(), |router| {
            let acked = acked.clone();
            async move {
                let amount = Amount { inputs: 300, until: None, window: 32 };
                let registered = feed(&router, amount, &registrations(), &acked).await;
                let reported =
                    feed(&router, Amount { inputs: 900, ..amount }, &reports(300, 100), &acked).await;
                let reads: Inputs = Arc::new(|n| (twin(n), Input::Read));
                let read = feed(&router, Amount { inputs: 301, ..amount }, &reads, &acked).await;
                Ok([registered, reported, read])
            }
        });

        let [registered, reported, read] = fed.unwrap();
        assert_eq!((registered.acked, registered.errors), (300, 0), "{:?}", registered.why);
        assert_eq!((reported.acked, reported.errors), (900, 0), "{:?}", reported.why);
        assert_eq!((read.acked, read.errors), (300, 1), "one twin is not there: {:?}", read.why);
        assert_eq!(acked.load(Ordering::Relaxed), 1_500);
    }
}

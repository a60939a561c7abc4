//! A data folder with twins in it, made by a process of its own, so that whoever measures on it begins with nothing in
//! memory.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::feed::{self, Amount};
use super::node::{of_this_binary, said, wait_for};
use super::{Error, Setting};

/// What the child says once everything is durable.
const FILLED: &str = "filled";
/// How many inputs are unanswered at once.
const WINDOW: usize = 4_096;
/// How long a node with many twins may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// How the child is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As the power would end it: what is in the log alone has to be replayed.
    Killed,
    /// As an operator would stop it: everything is in the state store.
    Stopped,
}

/// Fills a data folder with twins that reported, in a child, and ends it.
pub(super) fn fill(data: &Path, setting: &Setting, updates: u64, end: End) -> Result<(), Error> {
    let mut command = of_this_binary()?;
    command.args(["bench", "fill", "--data"]).arg(data);
    command.args(["--twins", &setting.twins.to_string(), "--updates", &updates.to_string()]);
    command.args(["--payload", &setting.payload.to_string()]);
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = Filling(child.map_err(Error::Start)?);
    let lines = said(&mut child.0);
    wait_for(&lines, FILLED)?;
    if end == End::Stopped {
        drop(child.0.stdin.take());
        let limit = Instant::now() + STOP_TIMEOUT;
        while child.0.try_wait().map_err(Error::Start)?.is_none() {
            if Instant::now() > limit {
                return Err(Error::NotReady("the node that filled the folder did not stop".into()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// The child; dropping it kills it.
struct Filling(Child);

impl Drop for Filling {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the child does: fills, says so, and stops when its stdin ends.
pub(super) fn run(data: &Path, setting: &Setting, updates: u64) -> Result<(), Error> {
    let twins = setting.twins.get();
    feed::with_node(data, |router| async move {
        let acked = Arc::new(AtomicU64::new(0));
        let amount = Amount { inputs: twins, until: None, window: WINDOW };
        let registered = feed::feed(&router, amount, &feed::registrations(), &acked).await;
        let amount = Amount { inputs: updates, ..amount };
        let reported = feed::feed(&router, amount, &feed::reports(twins, setting.payload), &acked).await;
        if let Some(why) = registered.why.or(reported.why) {
            return Err(Error::NotReady(why));
        }
        drop(writeln!(std::io::stderr(), "{FILLED}"));
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]).map(drop));
        drop(ended.await);
        Ok(())
    })
}

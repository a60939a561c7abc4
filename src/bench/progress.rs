//! How far a measurement is: one line that changes on a terminal, now and then a plain line where it is piped.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// How often it is shown on a terminal, and where it is piped.
const EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How wide the bar is.
const WIDTH: usize = 24;

/// A measurement in progress. It goes to stderr, which may be closed.
pub(super) struct Progress {
    what: &'static str,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_terminal: stderr().is_terminal(), shown: None }
    }

    /// How often [`Progress::show`] is worth calling.
    pub(super) fn every(&self) -> Duration {
        if self.is_terminal { EVERY.0 } else { EVERY.1 }
    }

    /// A step begins.
    pub(super) fn say(&mut self, step: &str) {
        self.wipe();
        drop(writeln!(stderr(), "{}: {step}", self.what));
    }

    /// So much of it is done, 0 to 1.
    pub(super) fn show(&mut self, done: f64, detail: &str) {
        if self.shown.is_some_and(|shown| shown.elapsed() < self.every()) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = line(self.what, done.clamp(0.0, 1.0), detail);
        let (begin, end) = if self.is_terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        let mut stderr = stderr();
        drop(write!(stderr, "{begin}{line}{end}").and_then(|()| stderr.flush()));
    }

    fn wipe(&self) {
        if self.is_terminal && self.shown.is_some() {
            drop(write!(stderr(), "\r\x1b[K"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn line(what: &str, done: f64, detail: &str) -> String {
    let full = (done * WIDTH as f64).round() as usize;
    format!("{what} [{}{}] {:3.0} %  {detail}", "#".repeat(full), ".".repeat(WIDTH - full), done * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(line("mqtt", 0.5, "7/s"), "mqtt [############............]  50 %  7/s");
        assert_eq!(line("mqtt", 1.0, ""), format!("mqtt [{}] 100 %  ", "#".repeat(WIDTH)));
    }
}

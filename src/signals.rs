//! How a node is told to stop: SIGTERM or SIGINT once, and it ends in order; twice, and the process ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals, listened to from now on. What cannot be listened to never comes.
pub(crate) struct Signals([Option<Signal>; 2]);

impl Signals {
    /// To be called within a tokio runtime, before anything that should be ended in order begins.
    pub(crate) fn listen() -> Self {
        Self([SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok()))
    }

    /// Waits for the first one. From then on the next one ends the process with 130.
    pub(crate) async fn received(mut self, say: fn(&str)) {
        self.any().await;
        say("stopping; a second signal ends it at once");
        tokio::spawn(async move {
            self.any().await;
            std::process::exit(130);
        });
    }

    async fn any(&mut self) {
        let Self([terminate, interrupt]) = self;
        tokio::select! {
            () = received(terminate) => {}
            () = received(interrupt) => {}
        }
    }
}

/// Waits for a signal; for ever, if it cannot be listened to.
pub(crate) async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

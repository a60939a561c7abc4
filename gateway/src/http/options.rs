//! What an operator may set of the HTTP API.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of the HTTP API.
///
/// A connection holds at most a request's head (128 KiB and 96 lines, which actix-http fixes), one body of
/// `payload_bytes` read once and parsed once, and one answer (a page of at most 4 MiB, or a twin of less than 1 MiB).
/// So the worst case of the defaults is 1,024 connections x 0.7 MiB of requests; answers of full size to all of them at
/// once would be 4 GiB more, which is why `connections_max` is not larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For `dev`: listen on loopback only, and refuse what a web page of elsewhere could send. Default true, since
    /// without it credentials have to be checked.
    pub loopback_only: bool,
    /// Threads that serve connections. Handlers wait for shards and do not compute, so that few are enough. Default 2.
    pub workers: NonZeroUsize,
    /// How many connections are served at once, over all workers; more wait to be accepted. Default 1,024. Where the
    /// system grants fewer file descriptors, it is a quarter of those that are not kept for files.
    pub connections_max: NonZeroUsize,
    /// The largest request body in bytes. Default 256 KiB. A larger one is refused while it is read.
    pub payload_bytes: usize,
    /// How long a client may take to send a request's head, and then to send its body. Default 10 s. Too short cuts
    /// off slow links; too long lets a client hold a connection for nothing.
    pub request_timeout: Duration,
    /// How long a connection may stay open without a request. Default 30 s.
    pub keep_alive: Duration,
    /// How long a client may take nothing of an answer that has more: a stream of events is ended then and says so,
    /// and after twice the time the system ends the connection. Default 30 s. Too short cuts off slow links; too long
    /// lets a client hold a connection for nothing.
    pub stall_timeout: Duration,
    /// How many may follow the streams of events at once; more are refused. Default 64: each reads from the disk at
    /// its own pace, and holds a page of 256 KiB and one record more.
    pub followers_max: NonZeroUsize,
    /// How often a stream of events without any says that it is there. Default 15 s.
    pub heartbeat: Duration,
    /// How long requests may still run after [`stop`](super::Server::stop); then they are cut off. Counted in whole
    /// seconds, rounded up. Default 5 s.
    pub stop_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            loopback_only: true,
            workers: const { NonZeroUsize::new(2).unwrap() },
            connections_max: const { NonZeroUsize::new(1024).unwrap() },
            payload_bytes: 256 << 10,
            request_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            followers_max: const { NonZeroUsize::new(64).unwrap() },
            heartbeat: Duration::from_secs(15),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

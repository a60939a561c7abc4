//! What a cluster promises, shown in half a minute: three nodes take the samples of a thousand devices, the node that leads
//! the most is killed, and in the end all that was acknowledged is there, once.
//!
//! `cargo run --release --example three_nodes`, with `-- --json` for the figures alone. A debug build does the same, slower.
//!
//! The nodes are this very program: with a verb of the server as its first word it is the server. The story itself is
//! `twinfold bench cluster`, in `src/bench/cluster.rs`: the load generator, the judge and the nodes' processes are those
//! that all measurements use.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut line: Vec<OsString> = std::env::args_os().collect();
    let is_verb = line.get(1).is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-"));
    if !is_verb {
        let begin = line.len().min(1);
        line.splice(begin..begin, ["bench", "cluster"].map(OsString::from));
    }
    twinfold::Server::new().run(line)
}

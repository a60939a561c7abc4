//! Dialling: one task for each other node, which sees to it that there is a connection.
//!
//! The smaller number dials at once, the larger one only when nobody has come for a while: the smaller one may know an
//! old address. Attempts come at growing distances; who was refused for what it is tries seldom, since trying heals
//! nothing there, and at once when the cluster learns something new.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::authority::Name;
use super::endpoint::{note, serve};
use super::refusal::Refusal;
use super::stream::Ended;
use crate::wire::Hears;

/// Of a name with more addresses the rest is not tried.
const ADDRESSES_MAX: usize = 16;

/// Dials that node as long as the roll has it, and returns its number.
pub(super) async fn keep_dialling(shared: Arc<Shared>, hears: Arc<dyn Hears>, node: u64) -> u64 {
    let (mut roll, mut stopped) = (shared.roll.subscribe(), shared.stopped.subscribe());
    let options = &shared.options;
    let first = if shared.name.node < node { Duration::ZERO } else { options.dialled_back_after };
    let (mut pause, mut attempts) = (first, 0_usize);
    loop {
        let waited = async {
            shared.peers.until_free(node).await;
            tokio::select! {
                biased;
                () = sleep(pause) => false,
                changed = roll.changed() => changed.is_ok(),
            }
        };
        let is_new = tokio::select! {
            biased;
            _ = stopped.wait_for(|is_stopped| *is_stopped) => return node,
            is_new = waited => is_new,
        };
        let Some(address) = shared.address(node) else { return node };
        if is_new {
            pause = pause.min(first.max(options.redial_min));
            continue;
        }
        if shared.peers.holds(node) {
            continue;
        }
        let outcome = dial(&shared, &hears, node, &address, attempts).await;
        attempts = if matches!(outcome, Attempt::Failed) { attempts.wrapping_add(1) } else { attempts };
        pause = match outcome {
            Attempt::Lived => first.max(options.redial_min),
            Attempt::Failed => (pause * 2).clamp(options.redial_min, options.redial_max).max(first),
            Attempt::Refused => options.redial_refused,
        };
    }
}

enum Attempt {
    /// There was a link.
    Lived,
    /// There was none, for now.
    Failed,
    /// There was none, and trying again changes nothing.
    Refused,
}

async fn dial(
    shared: &Arc<Shared>,
    hears: &Arc<dyn Hears>,
    node: u64,
    address: &str,
    attempt: usize,
) -> Attempt {
    let Ok(from) = shared.endpoint.local_addr() else { return Attempt::Failed };
    let address = match resolve(address, attempt, from).await {
        Ok(address) => address,
        Err(error) => {
            tracing::debug!(node, "finding the address `{address}` of a node: {error}");
            return Attempt::Failed;
        }
    };
    let host = Name { node, ..shared.name }.host();
    let Ok(connecting) = shared.endpoint.connect_with(shared.client.clone(), address, &host) else {
        return Attempt::Failed;
    };
    let ended = match timeout(shared.options.patience, connecting).await {
        Ok(Ok(connection)) => match serve(shared, hears, connection, Some(node), None).await {
            (true, _) => return Attempt::Lived,
            (false, ended) => ended,
        },
        Ok(Err(error)) => {
            let ended = Ended::Lost(error);
            note(shared, Some(node), address, &ended);
            ended
        }
        Err(_) => return Attempt::Failed,
    };
    let is_final = match &ended {
        Ended::Refused(why) => why.is_final(),
        Ended::Lost(error) => Refusal::of(error).is_some_and(|(_, why)| why.is_final()),
        Ended::GivenUp => false,
    };
    if is_final { Attempt::Refused } else { Attempt::Failed }
}

/// An address of `host:port`; the name is asked for anew each time. Of several, each attempt takes the next one that the
/// socket can reach.
async fn resolve(address: &str, attempt: usize, from: SocketAddr) -> io::Result<SocketAddr> {
    let found = match address.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host(address).await?.take(ADDRESSES_MAX).collect(),
    };
    chosen(&found, attempt, from).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "it has no address that this node's socket can reach")
    })
}

/// A socket of IPv4 reaches no IPv6.
fn chosen(found: &[SocketAddr], attempt: usize, from: SocketAddr) -> Option<SocketAddr> {
    let reached: Vec<_> = found.iter().filter(|address| from.is_ipv6() || address.is_ipv4()).collect();
    let place = attempt.checked_rem(reached.len())?;
    Some(*reached[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_takes_the_next_address_that_the_socket_reaches() {
        let [four, six] = ["0.0.0.0:7400", "[::]:7400"].map(|address| address.parse().unwrap());
        let found = ["[2001:db8::1]:1", "192.0.2.1:2", "192.0.2.2:3"].map(|address| address.parse().unwrap());

        let ports = |from| (0..4).map(|n| chosen(&found, n, from).unwrap().port()).collect::<Vec<_>>();

        assert_eq!(ports(four), [2, 3, 2, 3]);
        assert_eq!(ports(six), [1, 2, 3, 1]);
        assert_eq!(chosen(&found[..1], 0, four), None);
    }
}

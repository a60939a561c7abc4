//! Three nodes, each a process with a folder of its own, made a cluster by what an operator says: `cluster init`,
//! `cluster join`, `cluster status`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::bench::Error;
use crate::bench::credentials::{Credentials, Giver};
use crate::bench::node::{Node, Open};
use crate::cli::client::{Call, Target};

/// How many nodes hold each shard, which is all of them.
pub(super) const NODES: usize = 3;
/// Where each stands: apart from the others.
const LOCATIONS: [&str; NODES] = ["zone=a", "zone=b", "zone=c"];
/// How long all shards may take to have a replica on each node.
const PLACE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Nodes of a cluster, in the order in which they were started. Dropping them kills them.
pub(super) struct Trio {
    nodes: Vec<Node>,
    /// The first node's folder and token made the others'.
    token: String,
}

/// What one node may join with.
#[derive(Deserialize)]
struct Invitation {
    token: String,
}

/// How the cluster is, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    /// The node that says this.
    node: u64,
    shards: Vec<Shard>,
}

#[derive(Debug, Deserialize)]
struct Shard {
    shard: u32,
    replicas: Vec<u64>,
    leader: Option<u64>,
    moves_to: Option<IgnoredAny>,
    stuck: Option<IgnoredAny>,
}

impl Trio {
    /// The first node, alone, which lets devices in.
    pub(super) fn first(within: &Path) -> Result<Self, Error> {
        let open = Open::new(within, Credentials::Key)?;
        let token = open.token.clone();
        let mut flags = flags(free()?);
        flags.extend(["--location", LOCATIONS[0]].map(str::to_owned));
        let node = Node::serve(open, flags)?.enrolling()?;
        Ok(Self { nodes: vec![node], token })
    }

    /// Who gives devices their keys.
    pub(super) fn giver(&self) -> &Giver {
        &self.nodes[0].giver
    }

    /// Makes the first node a cluster, and has the others join.
    pub(super) fn grow(&mut self, within: &Path) -> Result<(), Error> {
        let mut invitation: Invitation = self.order(&["cluster", "init"])?;
        while self.nodes.len() < NODES {
            let (open, address) = (Open::empty(within, Credentials::Key, self.token.clone())?, free()?);
            let (listens, location) = (address.to_string(), LOCATIONS[self.nodes.len()]);
            let words = ["cluster", "join", &invitation.token, "--cluster", &listens, "--location", location];
            open.made_by(&words)?;
            self.nodes.push(Node::serve(open, flags(address))?);
            if self.nodes.len() < NODES {
                invitation = self.order(&["cluster", "tokens"])?;
            }
        }
        Ok(())
    }

    fn order(&self, call: &[&str]) -> Result<Invitation, Error> {
        let answer = Call::post(call, &json!({})).send(&self.nodes[0].api);
        answer.and_then(|answer| answer.read()).map_err(failed)
    }

    /// Waits until each shard has a replica on each node, and a leader; what the cluster says then.
    pub(super) fn placed(&self) -> Result<Status, Error> {
        let end = Instant::now() + PLACE;
        loop {
            let status = self.status(0);
            match status {
                Ok(status) if status.unplaced() == Some(0) => return Ok(status),
                Ok(status) if Instant::now() > end => {
                    let why = match status.unplaced() {
                        None => "it has no shards".to_owned(),
                        Some(shards) => {
                            format!("{shards} shards have no leader, or fewer than {NODES} replicas")
                        }
                    };
                    return Err(Error::Cluster(why));
                }
                Err(error) if Instant::now() > end => return Err(error),
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    fn status(&self, node: usize) -> Result<Status, Error> {
        let answer = Call::get(&["cluster"]).send(&self.nodes[node].api);
        answer.and_then(|answer| answer.read()).map_err(failed)
    }

    /// The node that leads the most shards: its place among them, its number, and those shards.
    pub(super) fn busiest(&self, status: &Status) -> Result<(usize, u64, BTreeSet<u32>), Error> {
        let leading = status.leading();
        let most = leading.into_iter().max_by_key(|(_, shards)| shards.len());
        let (number, shards) = most.ok_or_else(|| Error::Cluster("nobody leads a shard".to_owned()))?;
        for place in 0..self.nodes.len() {
            if self.status(place)?.node == number {
                return Ok((place, number, shards));
            }
        }
        Err(Error::Cluster(format!("node {number} leads shards, and is none of those that were started")))
    }

    /// Ends a node as the power would, and returns when it has ended.
    pub(super) fn kill(&mut self, place: usize) {
        self.nodes[place].kill();
    }

    /// Starts a node that was killed again, on its folder and addresses.
    pub(super) fn restart(&mut self, place: usize) -> Result<(), Error> {
        let killed = self.nodes.remove(place);
        self.nodes.insert(place, killed.restart()?);
        Ok(())
    }

    /// Where devices connect.
    pub(super) fn gateways(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.mqtt).collect()
    }

    pub(super) fn api(&self, place: usize) -> &Target {
        &self.nodes[place].api
    }
}

impl Status {
    /// How many shards have no leader, or no replica on some node; `None` where no shard is known.
    fn unplaced(&self) -> Option<usize> {
        let is_placed = |shard: &&Shard| {
            shard.replicas.len() == NODES
                && shard.leader.is_some()
                && shard.moves_to.is_none()
                && shard.stuck.is_none()
        };
        let unplaced = self.shards.iter().filter(|shard| !is_placed(shard)).count();
        (!self.shards.is_empty()).then_some(unplaced)
    }

    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The shards that each node leads.
    pub(super) fn leading(&self) -> BTreeMap<u64, BTreeSet<u32>> {
        let mut leading = BTreeMap::<u64, BTreeSet<u32>>::new();
        for shard in &self.shards {
            if let Some(leader) = shard.leader {
                leading.entry(leader).or_default().insert(shard.shard);
            }
        }
        leading
    }
}

/// What makes a node one that others reach.
fn flags(cluster: SocketAddr) -> Vec<String> {
    vec!["--cluster".to_owned(), cluster.to_string()]
}

/// A UDP address on loopback that is free now.
fn free() -> Result<SocketAddr, Error> {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(Error::Start)
}

fn failed(why: crate::cli::client::Error) -> Error {
    Error::Cluster(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(shards: serde_json::Value) -> Status {
        let status = json!({"cluster": "c", "node": 2, "frozen": false, "nodes": [], "shards": shards, "warnings": []});
        serde_json::from_value(status).unwrap()
    }

    fn shard(shard: u32, replicas: &[u64], leader: Option<u64>) -> serde_json::Value {
        json!({
            "shard": shard, "replicas": replicas, "leader": leader, "term": 3, "lag": null, "moves_to": null,
            "stuck": null,
        })
    }

    #[test]
    fn a_cluster_is_placed_when_each_shard_has_three_replicas_and_a_leader_and_stays() {
        let placed = shard(0, &[1, 2, 3], Some(2));
        let mut moves = shard(1, &[1, 2, 3], Some(1));
        moves["moves_to"] = json!([1, 2, 4]);
        let mut stuck = shard(1, &[1, 2, 3], Some(1));
        stuck["stuck"] = json!({"why": "w", "missing": [3], "next": "n"});

        for unplaced in [shard(1, &[1, 2], Some(1)), shard(1, &[1, 2, 3], None), moves, stuck] {
            assert_eq!(status(json!([placed, unplaced])).unplaced(), Some(1), "{unplaced}");
        }
        assert_eq!(status(json!([placed])).unplaced(), Some(0));
        assert_eq!(status(json!([])).unplaced(), None, "it says nothing yet");
    }

    #[test]
    fn who_leads_what_is_counted_by_node() {
        let all = [1, 2, 3];
        let shards = json!([
            shard(0, &all, Some(2)),
            shard(1, &all, Some(3)),
            shard(2, &all, Some(2)),
            shard(3, &all, None)
        ]);
        assert_eq!(status(shards).leading(), [(2, [0, 2].into()), (3, [1].into())].into());
    }
}

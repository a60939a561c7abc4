//! `twinfold cluster`: several nodes that are one: begin, join, see how they are, and say who holds what.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use runtime::operations::Invitation;
use serde::Deserialize;
use serde_json::json;

use super::client::Call;
use super::reason::Reason;
use super::remote::Remote;
use super::serve::reachable;
use super::table::{Table, plain};
use super::{Error, note};
use crate::joining::{self, Newcomer};

/// Make several nodes one cluster, and say who holds what.
#[derive(Subcommand)]
pub(super) enum Cluster {
    /// Make a node the first of a cluster, and print a token for the second one
    #[command(
        after_help = "Examples:\n  twinfold cluster init\n  twinfold cluster init --data ./data --cluster-advertise node-1.example:7400\n\nThe node has to listen for others: serve --cluster ADDR. With --data it is one that does not run."
    )]
    Init {
        /// Write to this data folder, of a node that does not run
        #[arg(long, value_name = "DIR", requires = "cluster_advertise")]
        data: Option<PathBuf>,
        /// Where the others will reach the node, with --data
        #[arg(long, value_name = "HOST:PORT", value_parser = reachable, requires = "data")]
        cluster_advertise: Option<String>,
        /// The master key of that folder, where it is not its own
        #[arg(long, value_name = "FILE", requires = "data")]
        master_key_file: Option<PathBuf>,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Print a token, with which one node joins within an hour
    #[command(after_help = "Example:\n  twinfold cluster token")]
    Token {
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Join a cluster with an empty folder
    #[command(
        after_help = "Example:\n  twinfold cluster join twj_... --data ./data --cluster-advertise node-2.example:7400 --location zone=b\n\nA join that was broken off is repeated with the same token and folder."
    )]
    Join {
        /// What `cluster token` printed
        token: String,
        /// The data folder to make
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where the node will listen for the others
        #[arg(long, value_name = "ADDR")]
        cluster: Option<SocketAddr>,
        /// Where the others will reach it [default: where it listens, if that is one address]
        #[arg(long, value_name = "HOST:PORT", value_parser = reachable)]
        cluster_advertise: Option<String>,
        /// Where it stands, so that copies are kept apart: zone=b
        #[arg(long, value_name = "PLACE", default_value = "")]
        location: String,
        /// The master key of the cluster, where it is not to be sent
        #[arg(long, value_name = "FILE")]
        master_key_file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the nodes, and the shards that need an eye
    #[command(after_help = "Examples:\n  twinfold cluster status\n  twinfold cluster status --shards")]
    Status {
        /// Show all shards
        #[arg(long)]
        shards: bool,
        #[command(flatten)]
        at: Remote,
    },
    /// Give the shards of a node to others
    #[command(after_help = "Example:\n  twinfold cluster drain 3 --reason 'new disk'")]
    Drain {
        /// The node
        node: u64,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Have a node leave for good, once it holds no shard; its number never comes back
    #[command(
        after_help = "Example:\n  twinfold cluster drain 3\n  twinfold cluster status\n  twinfold cluster remove 3"
    )]
    Remove {
        /// The node
        node: u64,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Move a shard from one node to another
    #[command(after_help = "Example:\n  twinfold cluster move 17 --from 1 --to 3")]
    Move {
        /// The shard
        shard: u32,
        /// The node that has it
        #[arg(long, value_name = "NODE")]
        from: u64,
        /// The node that gets it
        #[arg(long, value_name = "NODE")]
        to: u64,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Have no shard move by itself any more
    #[command(
        after_help = "Examples:\n  twinfold cluster freeze --reason 'network maintenance'\n  twinfold cluster freeze --off"
    )]
    Freeze {
        /// Go on
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

/// A token: alone on its line, so that a script can take it.
#[derive(Deserialize)]
struct Made {
    token: String,
}

#[derive(Deserialize)]
struct Shown {
    cluster: Option<String>,
    node: u64,
    frozen: bool,
    nodes: Vec<Node>,
    shards: Vec<Shard>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Node {
    node: u64,
    address: Option<String>,
    location: String,
    state: String,
    generation: u64,
    version: String,
    contact: String,
    silent_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Shard {
    shard: u32,
    replicas: Vec<u64>,
    leader: Option<u64>,
    term: u64,
    lag: Option<u64>,
    moves_to: Option<Vec<u64>>,
    stuck: Option<Stuck>,
}

#[derive(Deserialize)]
struct Stuck {
    why: String,
    next: String,
}

/// The same with all shards.
#[derive(Deserialize)]
#[serde(transparent)]
struct Whole(Shown);

impl Cluster {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Init { data: Some(data), cluster_advertise, master_key_file, at, .. } => {
                let address = cluster_advertise.unwrap_or_default();
                let Invitation { cluster, token, expires } = joining::init(&data, &address, master_key_file)?;
                match at.json {
                    true => writeln!(
                        out,
                        "{}",
                        json!({"cluster": cluster, "token": token, "expires": expires.to_string()})
                    )?,
                    false => writeln!(out, "{token}")?,
                }
                out.flush()?;
                say_how_to_join();
            }
            Self::Init { reason, at, .. } => made(&["cluster", "init"], &reason, &at, out)?,
            Self::Token { reason, at } => made(&["cluster", "tokens"], &reason, &at, out)?,
            Self::Join { token, data, cluster, cluster_advertise, location, master_key_file, json } => {
                let one = cluster.filter(|address| !address.ip().is_unspecified() && address.port() != 0);
                let address = cluster_advertise.clone().or(one.map(|address| address.to_string()));
                let newcomer = Newcomer {
                    address: address.unwrap_or_default(),
                    location,
                    master_key: master_key_file.clone(),
                };
                let name = joining::join(&token, &data, newcomer)?;
                match json {
                    true => {
                        writeln!(out, "{}", json!({"node": name.node, "cluster": name.cluster.to_string()}))?
                    }
                    false => writeln!(out, "node {} of cluster {}", name.node, name.cluster)?,
                }
                out.flush()?;
                note(&format!("next: {}", serving(&data, cluster, cluster_advertise, master_key_file)));
            }
            Self::Status { shards, at } => {
                let answer = at.call(Call::get(&["cluster"]))?;
                match shards {
                    true => at.show::<Whole>(&answer, out)?,
                    false => at.show::<Shown>(&answer, out)?,
                }
            }
            Self::Drain { node, reason, at } => {
                ordered(&["cluster", "nodes", &node.to_string(), "drain"], &reason.body(), &at, out)?;
            }
            Self::Remove { node, reason, at } => {
                ordered(&["cluster", "nodes", &node.to_string(), "remove"], &reason.body(), &at, out)?;
            }
            Self::Move { shard, from, to, reason, at } => {
                let mut body = reason.body();
                (body["from"], body["to"]) = (from.into(), to.into());
                ordered(&["cluster", "shards", &shard.to_string(), "move"], &body, &at, out)?;
            }
            Self::Freeze { off, reason, at } => {
                let mut body = reason.body();
                body["frozen"] = (!off).into();
                ordered(&["cluster", "freeze"], &body, &at, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Has the node make a token.
fn made(segments: &[&str], reason: &Reason, at: &Remote, out: &mut dyn Write) -> Result<(), Error> {
    at.show::<Made>(&at.call(Call::post(segments, &reason.body()))?, out)?;
    out.flush()?;
    if !at.json {
        say_how_to_join();
    }
    Ok(())
}

fn say_how_to_join() {
    note(
        "it is good for one node and one hour, and is not shown again\nnext, on the other machine: twinfold cluster join TOKEN --data DIR",
    );
}

/// Has the cluster do something, and shows how it is then.
fn ordered(
    segments: &[&str],
    body: &serde_json::Value,
    at: &Remote,
    out: &mut dyn Write,
) -> Result<(), Error> {
    at.show::<Shown>(&at.call(Call::post(segments, body))?, out)
}

/// What runs a folder that has joined.
fn serving(
    data: &Path,
    cluster: Option<SocketAddr>,
    advertised: Option<String>,
    master_key: Option<PathBuf>,
) -> String {
    let mut words = format!("twinfold serve --data {}", data.display());
    let flags = [
        ("--cluster", cluster.map(|address| address.to_string())),
        ("--cluster-advertise", advertised),
        ("--master-key-file", master_key.map(|file| file.display().to_string())),
    ];
    for (flag, value) in flags.into_iter().filter_map(|(flag, value)| Some((flag, value?))) {
        words.extend([" ", flag, " ", &value]);
    }
    words + " --tls-certificate FILE --tls-key FILE"
}

impl Node {
    fn contact(&self) -> String {
        match self.silent_ms {
            Some(ms) => format!("{} for {} s", self.contact, ms / 1_000),
            None => self.contact.clone(),
        }
    }
}

impl Shard {
    /// Whether it is worth a line where not all are asked for.
    fn needs_an_eye(&self) -> bool {
        self.stuck.is_some() || self.moves_to.is_some() || self.leader.is_none()
    }
}

impl Shown {
    fn write(&self, f: &mut fmt::Formatter<'_>, all: bool) -> fmt::Result {
        match &self.cluster {
            Some(cluster) => writeln!(f, "cluster {}, as node {} sees it", plain(cluster), self.node)?,
            None => writeln!(f, "node {} is alone: it is in no cluster", self.node)?,
        }
        if self.frozen {
            writeln!(f, "no shard moves by itself: thaw it with twinfold cluster freeze --off")?;
        }
        let mut nodes =
            Table::new(&["NODE", "ADDRESS", "LOCATION", "STATE", "GENERATION", "CONTACT", "VERSION"]);
        for node in &self.nodes {
            let address = node.address.as_deref().unwrap_or("-");
            let Node { node: number, location, state, generation, version, .. } = node;
            nodes.row(&[number, &address, location, state, generation, &node.contact(), version]);
        }
        write!(f, "{nodes}")?;
        let shown: Vec<&Shard> = self.shards.iter().filter(|shard| all || shard.needs_an_eye()).collect();
        if shown.is_empty() {
            writeln!(f, "all {} shards are led; --shards lists them", self.shards.len())?;
        } else {
            write!(f, "\n{}", shards(&shown))?;
        }
        for (shard, stuck) in self.shards.iter().filter_map(|shard| Some((shard, shard.stuck.as_ref()?))) {
            writeln!(f, "shard {}: {}\nnext: {}", shard.shard, plain(&stuck.why), plain(&stuck.next))?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {}", plain(warning)))
    }
}

fn shards(shown: &[&Shard]) -> Table {
    let mut table = Table::new(&["SHARD", "NODES", "LEADER", "TERM", "BEHIND", "MOVES TO", "STATE"]);
    for shard in shown {
        let dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        table.row(&[
            &shard.shard,
            &list(&shard.replicas),
            &dash(shard.leader.map(|node| node.to_string())),
            &shard.term,
            &dash(shard.lag.map(|entries| entries.to_string())),
            &dash(shard.moves_to.as_deref().map(list)),
            &if shard.stuck.is_some() { "stuck" } else { "serves" },
        ]);
    }
    table
}

fn list(nodes: &[u64]) -> String {
    nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, true)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(cluster: &str, stuck: &str) -> Shown {
        let text = format!(
            r#"{{"cluster":{cluster},"node":1,"frozen":false,"warnings":["look"],
                "nodes":[{{"node":1,"address":null,"location":"","state":"active","generation":3,"version":"0.1.0",
                    "contact":"itself","silent_ms":null}}],
                "shards":[{{"shard":0,"replicas":[1],"leader":1,"term":4,"lag":null,"moves_to":null,"stuck":{stuck}}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_node_that_is_alone_says_so() {
        let shown = status("null", "null").to_string();

        assert!(shown.starts_with("node 1 is alone: it is in no cluster\nNODE"), "{shown}");
        assert!(shown.contains("all 1 shards are led") && shown.ends_with("warning: look\n"), "{shown}");
    }

    #[test]
    fn a_shard_that_is_stuck_says_why_and_what_to_do() {
        let stuck = r#"{"why":"2 of 3","missing":[2,3],"next":"start node 2"}"#;

        let shown = status("\"c1\"", stuck).to_string();

        assert!(shown.starts_with("cluster c1, as node 1 sees it\n"), "{shown}");
        assert!(shown.contains("shard 0: 2 of 3\nnext: start node 2\n"), "{shown}");
    }

    #[test]
    fn the_next_command_has_what_was_said() {
        let cluster = Some("0.0.0.0:7401".parse().unwrap());

        let next = serving(Path::new("./two"), cluster, Some("b:7401".into()), None);

        assert_eq!(
            next,
            "twinfold serve --data ./two --cluster 0.0.0.0:7401 --cluster-advertise b:7401 --tls-certificate FILE --tls-key FILE"
        );
    }
}

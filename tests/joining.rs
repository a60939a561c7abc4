//! Folders that become nodes of one cluster: founded on a node that runs or does not, joined with a token, or refused with
//! the reason on both sides.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cluster::identity::Kept;
use cluster::transport::join::Token;
use runtime::files::disk::Disk;
use serde_json::Value;
use support::process::{Addresses, Process};
use support::served::{PLAIN, Served, twinfold};

const LISTENING: [&str; 2] = ["--cluster", "127.0.0.1:0"];

/// A node that listens for others, and what it says.
struct First {
    node: Served,
    said: Receiver<String>,
}

impl First {
    fn start() -> Self {
        let (say, said) = channel();
        let flags = [&PLAIN[..], &LISTENING].concat();
        let node = Served::begin(&flags, &[], move |line| drop(say.send(line.to_owned())));
        Self { node, said }
    }

    /// The same node once more, after it was killed.
    fn again(self) -> Self {
        let (say, said) = channel();
        let flags = [&PLAIN[..], &LISTENING].concat();
        let node = self.node.kill_and_begin(&flags, &[], move |line| drop(say.send(line.to_owned())));
        Self { node, said }
    }

    fn run(&self, words: &[&str]) -> Output {
        let url = format!("http://{}", self.node.plain().1);
        twinfold(&[&["cluster"], words, &["--url", &url, "--token", &self.node.token]].concat())
    }

    /// What a verb printed that did what it says.
    #[track_caller]
    fn printed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn status(&self) -> Value {
        serde_json::from_str(&self.printed(&["status", "--json"])).unwrap()
    }

    /// Waits until the node has said something.
    #[track_caller]
    fn has_said(&self, words: &str) {
        while let Ok(line) = self.said.recv_timeout(Duration::from_secs(20)) {
            if line.contains(words) {
                return;
            }
        }
        panic!("the node does not say `{words}`");
    }

    /// Waits until its status says something. Strangers of one address are logged once a minute.
    #[track_caller]
    fn has_warned(&self, words: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.status()["warnings"].to_string().contains(words) {
            assert!(Instant::now() < end, "its status does not say `{words}`");
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.node.data.path().join(name)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn join(token: &str, data: &Path, more: &[&str]) -> Output {
    let data = data.to_str().expect("temporary folders have plain names");
    twinfold(&[&["cluster", "join", token, "--data", data], more].concat())
}

/// It was refused with these words and a next step, and made nothing.
#[track_caller]
fn is_refused(output: &Output, data: &Path, words: &str) {
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(words) && said.contains("next: "), "{said}");
    assert!(!data.exists(), "{}", data.display());
}

#[test]
fn a_node_that_runs_founds_a_cluster_and_an_empty_folder_joins_it() {
    let first = First::start();
    assert!(first.printed(&["status"]).starts_with("node 1 is alone"));
    let token = first.printed(&["init"]);
    let data = first.beside("two");

    let joined = join(&token, &data, &["--cluster-advertise", "127.0.0.1:7402", "--location", "zone=b"]);

    assert!(joined.status.success(), "{}", text(&joined.stderr));
    let status = first.status();
    let cluster = status["cluster"].as_str().unwrap();
    assert_eq!(text(&joined.stdout).trim(), format!("node 2 of cluster {cluster}"));
    let next = format!("next: twinfold serve --data {}", data.display());
    assert!(text(&joined.stderr).contains(&next), "{}", text(&joined.stderr));
    let kept = Kept::read(&Disk, &data).unwrap().unwrap();
    assert_eq!((kept.node, kept.cluster.to_string(), kept.has_joined()), (2, cluster.to_owned(), true));
    let key = |folder: &Path| std::fs::read_to_string(folder.join("master.key")).unwrap();
    assert_eq!(key(&data).trim(), key(&first.node.folder()).trim());
    let two = &status["nodes"][1];
    assert_eq!((&two["node"], &two["address"]), (&2.into(), &"127.0.0.1:7402".into()));
    assert_eq!(
        (&two["state"], &two["location"], &two["contact"]),
        (&"provisioning".into(), &"zone=b".into(), &"silent".into())
    );
    assert_eq!(status["shards"].as_array().unwrap().len(), 64);
    assert_eq!(
        (&status["nodes"][0]["contact"], &status["shards"][63]["leader"]),
        (&"itself".into(), &1.into())
    );
    let beside = std::fs::read_dir(first.node.data.path()).unwrap();
    let mut hidden = beside.filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
    assert!(hidden.next().is_none(), "nothing is left of the draft");
}

#[test]
fn a_cluster_is_there_after_a_restart_and_lets_more_join() {
    let first = First::start();
    first.printed(&["init"]);
    let before = first.status();

    let first = first.again();

    let status = first.status();
    assert_eq!(status["cluster"], before["cluster"]);
    let generation = |status: &Value| status["nodes"][0]["generation"].as_u64().unwrap();
    assert_eq!(generation(&status), generation(&before) + 1);
    let data = first.beside("two");
    let joined = join(&first.printed(&["token"]), &data, &[]);
    assert!(joined.status.success(), "{}", text(&joined.stderr));
    let again = first.run(&["init"]);
    assert!(text(&again.stderr).contains("is in cluster") && text(&again.stderr).contains("cluster token"));
}

#[test]
fn a_folder_with_something_in_it_does_not_join() {
    let first = First::start();
    let token = first.printed(&["init"]);
    let data = first.beside("two");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("photo.jpg"), "").unwrap();

    let refused = join(&token, &data, &[]);

    assert!(!refused.status.success() && text(&refused.stderr).contains("is not empty"));
    std::fs::remove_file(data.join("photo.jpg")).unwrap();
    assert!(join(&token, &data, &[]).status.success(), "the token is still good");
}

#[test]
fn a_token_that_is_used_unknown_foreign_or_none_lets_nobody_join() {
    let (first, other) = (First::start(), First::start());
    let token = first.printed(&["init"]);
    assert!(join(&token, &first.beside("two"), &[]).status.success());
    let data = first.beside("three");

    is_refused(&join(&token, &data, &[]), &data, "the token is used up");
    first.has_said("the token is used up");

    let known = Token::parse(&token).unwrap();
    let guessed = Token { secret: [7; 32], ..known.clone() };
    is_refused(&join(&guessed.reveal(), &data, &[]), &data, "the token is not known");
    first.has_said("the token is not known");

    let foreign = Token::parse(&other.printed(&["init"])).unwrap();
    let foreign = Token { address: known.address.clone(), ..foreign };
    is_refused(&join(&foreign.reveal(), &data, &[]), &data, "is not of the cluster that the token is for");
    first.has_warned("TLS was refused");

    let claims = Token { cluster: foreign.cluster, ..known.clone() };
    is_refused(&join(&claims.reveal(), &data, &[]), &data, "the token is of cluster");

    is_refused(&join(&token[..50], &data, &[]), &data, "it is no token to join with");
    is_refused(&join(&first.node.token, &data, &[]), &data, "does not begin with `twj_`");
    assert_eq!(first.status()["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn whoever_has_the_master_key_is_not_sent_it_and_another_one_is_refused() {
    let first = First::start();
    let token = first.printed(&["init"]);
    let (data, file) = (first.beside("two"), first.beside("other.key"));
    FileOf(&file).write(&BASE64_STANDARD.encode([7; 32]));
    let own = first.node.folder().join("master.key");

    is_refused(
        &join(&token, &data, &["--master-key-file", file.to_str().unwrap()]),
        &data,
        "the master key is not the one",
    );
    let joined = join(&token, &data, &["--master-key-file", own.to_str().unwrap()]);

    assert!(joined.status.success(), "{}", text(&joined.stderr));
    assert!(text(&joined.stderr).contains("--master-key-file"));
    assert!(!data.join("master.key").exists());
    assert_eq!(Kept::read(&Disk, &data).unwrap().unwrap().node, 2, "the refused attempt took no number");
}

/// A file that nobody but its owner may read.
struct FileOf<'a>(&'a Path);

impl FileOf<'_> {
    fn write(&self, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.0, text).unwrap();
        std::fs::set_permissions(self.0, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_folder_that_does_not_run_founds_a_cluster_too() {
    let first = First::start();
    let folder = first.node.folder();
    let data = folder.to_str().unwrap();
    let words = ["cluster", "init", "--data", data, "--cluster-advertise", "127.0.0.1:7409"];
    let running = twinfold(&words);
    assert!(text(&running.stderr).contains("next: stop the other node"), "{}", text(&running.stderr));
    let First { node, .. } = first;
    let (certificate, kept) = (node.certificate.clone(), node.token.clone());
    let Served { process, data: root, .. } = node;
    assert_eq!(process.stop(), Some(0));

    let token = twinfold(&words);

    assert!(token.status.success(), "{}", text(&token.stderr));
    let token = Token::parse(&text(&token.stdout)).unwrap();
    assert_eq!(token.address, "127.0.0.1:7409");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_twinfold"));
    command.args(support::served::words(root.path())).args(PLAIN).args(LISTENING);
    let (process, ready) = Process::ready(command);
    assert!(ready.contains(", other nodes 127.0.0.1:"), "{ready}");
    assert_eq!(process.stop(), Some(0));
    drop((certificate, kept));
}

#[test]
fn a_node_in_dev_is_alone_and_says_how_to_change_that() {
    let data = tempfile::tempdir().unwrap();
    let at = Addresses::free();
    let _node = Process::dev(Path::new(env!("CARGO_BIN_EXE_twinfold")), &[], data.path(), at, &[]);
    let url = format!("http://{}", at.http);

    let status = twinfold(&["cluster", "status", "--url", &url]);
    let all = twinfold(&["cluster", "status", "--shards", "--url", &url]);

    let shown = text(&status.stdout);
    assert!(shown.starts_with("node 1 is alone") && shown.contains("all 64 shards are led"), "{shown}");
    assert!(text(&all.stdout).lines().count() > 64, "{}", text(&all.stdout));
    for words in
        [&["init"][..], &["token"], &["drain", "1"], &["freeze"], &["move", "3", "--from", "1", "--to", "2"]]
    {
        let refused = twinfold(&[&["cluster"], words, &["--url", &url]].concat());
        let said = text(&refused.stderr);
        assert!(said.contains("this node is alone") && said.contains("serve --cluster ADDR"), "{said}");
    }
}

#[test]
fn what_cannot_be_ordered_is_refused_with_the_next_step_and_all_of_it_is_in_the_audit() {
    let first = First::start();
    first.printed(&["init", "--reason", "three rooms"]);
    let refused = |words: &[&str]| {
        let output = first.run(words);
        assert!(!output.status.success());
        text(&output.stderr)
    };

    assert!(refused(&["drain", "1"]).contains("next: let another node join: twinfold cluster token"));
    assert!(refused(&["remove", "1"]).contains("next: give them to others first: twinfold cluster drain 1"));
    assert!(refused(&["drain", "7"]).contains("there is no node 7"));
    assert!(refused(&["move", "99", "--from", "1", "--to", "1"]).contains("there is no shard 99"));
    assert!(first.printed(&["freeze"]).contains("no shard moves by itself"));
    first.printed(&["freeze", "--off"]);

    let audit = first.node.get("/v1/audit");
    for order in ["init", "drain node 1", "drain node 7", "freeze", "freeze off"] {
        assert!(audit.contains(&format!(r#""subject":"{order}""#)), "{order}: {audit}");
    }
    assert!(audit.contains("three rooms") && audit.contains("cluster-ordered"));
}

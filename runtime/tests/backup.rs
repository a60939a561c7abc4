//! A backup that retention overtakes: what it was to copy is trimmed and removed while it is taken.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use runtime::access::Permissive;
use runtime::backup;
use runtime::clock::SystemClock;
use runtime::files::sim::Sim;
use runtime::files::{File, Files, Lock};
use runtime::log::{self, Done, Ear, Entry, LogId, ShardLog, Standing, Tenure};
use runtime::node::{Node, Options, Parts};
use runtime::router::Router;
use runtime::store::memory::Memory;
use runtime::{shard, stream};
use twins::body::Body;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::Kinds;
use twins::name::Name;

/// A log that commits at once and keeps nothing: nobody restarts.
#[derive(Default)]
struct Log(Mutex<u64>);

impl ShardLog for Log {
    fn listen(&self, _: Ear) -> Standing {
        Standing { through: 0, leads: Some(Tenure::whole(1)) }
    }

    fn read(&self, _: u64, _: u64, _: usize) -> Result<Vec<Entry>, log::Error> {
        Ok(Vec::new())
    }

    fn propose(&self, Tenure { term, .. }: Tenure, _: Bytes, done: Done) {
        let index = {
            let mut last = self.0.lock().unwrap();
            *last += 1;
            *last
        };
        done(Ok(LogId { term, index }));
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.propose(tenure, payload, done);
    }

    fn purge(&self, _: u64) {}
}

/// A disk on which the next listing of a folder waits: it says that it has come so far, and goes on when it may.
struct Gated {
    disk: Sim,
    gate: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Files for Gated {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let gate = self.gate.lock().unwrap().take();
        let names = self.disk.list(folder);
        if let Some((come, go)) = gate {
            come.send(()).expect("the test waits");
            go.recv().expect("the test lets it go");
        }
        names
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.remove_folder(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

/// A node of one shard that keeps 16 kB of history, in segments of 2 kB, and checkpoints all the time.
async fn start(files: Arc<Gated>) -> Node {
    let parts = Parts {
        node: (1, 1),
        kinds: Kinds::default(),
        slots: vec![0; 1 << 16].into(),
        logs: vec![Arc::new(Log::default())],
        store: Arc::new(Memory::new()),
        files,
        streams: "/streams".into(),
        clock: Arc::new(SystemClock),
        access: Arc::new(Permissive),
    };
    let keep_bytes = 16_000.try_into().expect("it is not zero");
    let options = Options {
        shard: shard::Options { checkpoint_bytes: 1, ..shard::Options::default() },
        stream: stream::Options { keep_bytes, ..stream::Options::default() },
        ..Options::default()
    };
    Node::start(parts, options).await.expect("an empty node starts")
}

async fn say(router: &Router, bytes: usize) {
    let body = Body::Octets { content_type: None, bytes: vec![7; bytes].into() };
    let input = Input::Sample { channel: Name::fixed("c"), body };
    let twin = TwinId::in_default_tenant("t").expect("a plain id");
    router.ask(twin, Header::default(), input).await.expect("it is taken");
}

/// What comes of a backup: its bytes, and why it was broken off.
async fn take(router: &Router) -> (Vec<u8>, Option<String>) {
    let mut pieces = router.backup().await.expect("it begins");
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(why) => return (bytes, Some(why.to_string())),
        }
    }
    (bytes, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_retention_overtakes_is_broken_off_and_the_next_one_is_whole() {
    let files = Arc::new(Gated { disk: Sim::new(1), gate: Mutex::default() });
    let node = start(files.clone()).await;
    let router = node.router().clone();
    let (twin, kind) = (TwinId::in_default_tenant("t").expect("a plain id"), Name::fixed("device"));
    let register = Input::Register { kind, tags: None, with: None };
    router.ask(twin, Header::default(), register).await.expect("it is taken");
    for _ in 0..10 {
        say(&router, 1_000).await;
    }
    let (come, has_come) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    *files.gate.lock().unwrap() = Some((come, go));

    let taking = tokio::spawn({
        let router = router.clone();
        async move { take(&router).await }
    });
    let waited = tokio::task::spawn_blocking(move || has_come.recv_timeout(Duration::from_secs(60)));
    waited.await.expect("no panic").expect("the backup has come to the stream");
    // Every segment that it saw goes.
    let seen = files.disk.list(Path::new("/streams/0")).expect("a stream");
    while files.disk.list(Path::new("/streams/0")).expect("a stream").iter().any(|name| seen.contains(name)) {
        say(&router, 1_000).await;
    }
    let_go.send(()).expect("it waits");
    let (bytes, why) = taking.await.expect("no panic");

    let why = why.expect("it is broken off");
    assert!(why.contains("the stream of shard 0 was trimmed past its end"), "{why}");
    assert!(why.contains("take the backup again, or keep more"), "{why}");
    let refused = backup::verify(bytes.as_slice()).expect_err("it is not whole");
    assert!(matches!(refused, backup::Error::CutOff { .. } | backup::Error::NotABackup), "{refused}");
    let (again, None) = take(&router).await else { panic!("the next one is broken off too") };
    backup::verify(again.as_slice()).expect("it is whole");
    node.stop().await;
}

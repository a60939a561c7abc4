//! A node's shards as actors, with ports that note what is done to them and in which order.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runtime::access::Permissive;
use runtime::clock::SystemClock;
use runtime::error::Error;
use runtime::files::sim::Sim;
use runtime::files::{File, Files, Lock};
use runtime::log::{self, Done, Ear, Entry, LogId, ShardLog, Standing, Tenure, Told};
use runtime::mailbox::{Mail, Mailbox};
use runtime::node::{Node, Options, Parts};
use runtime::router::{Response, Router, Submission};
use runtime::shard;
use runtime::store::memory::Memory;
use runtime::store::{self, Batch, Range, Row, Space, StateStore};
use twins::header::{Header, Mark, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::Code;
use twins::reply::{Delivery, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::trust::Proof;

/// What was done, in order.
type Notes = Arc<Mutex<Vec<&'static str>>>;

/// A log in memory that commits at once, until it is told not to.
struct Log {
    notes: Notes,
    entries: Mutex<Vec<Entry>>,
    term: Mutex<u64>,
    fate: Mutex<Option<log::Error>>,
    ear: Mutex<Option<Ear>>,
}

impl Log {
    fn tell(&self, told: Told) {
        self.ear.lock().unwrap().as_ref().expect("the shard listens")(told);
    }
}

impl ShardLog for Log {
    fn listen(&self, ear: Ear) -> Standing {
        *self.ear.lock().unwrap() = Some(ear);
        let mut term = self.term.lock().unwrap();
        *term += 1;
        Standing { through: self.entries.lock().unwrap().len() as u64, leads: Some(Tenure::whole(*term)) }
    }

    fn read(&self, after: u64, through: u64, _: usize) -> Result<Vec<Entry>, log::Error> {
        let entries = self.entries.lock().unwrap();
        let wanted = |entry: &&Entry| entry.id.index > after && entry.id.index <= through;
        Ok(entries.iter().filter(wanted).cloned().collect())
    }

    fn propose(&self, Tenure { term, .. }: Tenure, payload: Bytes, done: Done) {
        if let Some(error) = self.fate.lock().unwrap().clone() {
            return done(Err(error));
        }
        let id = {
            let mut entries = self.entries.lock().unwrap();
            let id = LogId { term, index: entries.len() as u64 + 1 };
            entries.push(Entry { id, payload });
            id
        };
        done(Ok(id));
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.propose(tenure, payload, done);
    }

    fn purge(&self, _: u64) {
        self.notes.lock().unwrap().push("purge");
    }
}

/// A state store that notes its writes.
struct Store(Memory, Notes);

impl StateStore for Store {
    fn get(&self, shard: u32, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
        self.0.get(shard, space, key)
    }

    fn scan(
        &self,
        shard: u32,
        space: Space,
        range: Range<'_>,
        limit: usize,
    ) -> Result<Vec<Row>, store::Error> {
        self.0.scan(shard, space, range, limit)
    }

    fn keys(
        &self,
        shard: u32,
        space: Space,
        range: Range<'_>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, store::Error> {
        self.0.keys(shard, space, range, limit)
    }

    fn write(&self, shard: u32, batch: Batch) -> Result<(), store::Error> {
        let written = self.0.write(shard, batch);
        self.1.lock().unwrap().push("write");
        written
    }

    fn snapshot(&self) -> Result<Box<dyn store::Snapshot>, store::Error> {
        self.0.snapshot()
    }

    fn reopen(&self) -> Result<(), store::Error> {
        self.0.reopen()
    }
}

/// Files that note their syncs.
struct Noting(Sim, Notes);
struct NotingFile(Arc<dyn File>, Notes);

impl Files for Noting {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NotingFile(self.0.open(path)?, self.1.clone())))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NotingFile(self.0.create(path)?, self.1.clone())))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.0.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.0.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }
}

impl File for NotingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.0.sync_data();
        self.1.lock().unwrap().push("sync");
        synced
    }
}

/// A node of one shard.
struct World {
    node: Node,
    log: Arc<Log>,
    store: Memory,
    notes: Notes,
}

impl World {
    async fn start(shard: shard::Options) -> Self {
        let notes = Notes::default();
        let log = Arc::new(Log {
            notes: notes.clone(),
            entries: Mutex::default(),
            term: Mutex::default(),
            fate: Mutex::default(),
            ear: Mutex::default(),
        });
        let store = Memory::new();
        let parts = Parts {
            node: (1, 1),
            kinds: Kinds::default(),
            slots: vec![0; 1 << 16].into(),
            logs: vec![log.clone()],
            store: Arc::new(Store(store.clone(), notes.clone())),
            files: Arc::new(Noting(Sim::new(1), notes.clone())),
            streams: "/streams".into(),
            clock: Arc::new(SystemClock),
            access: Arc::new(Permissive),
        };
        let options = Options { shard, ..Options::default() };
        let node = Node::start(parts, options).await.expect("an empty node starts");
        notes.lock().unwrap().clear();
        Self { node, log, store, notes }
    }

    fn router(&self) -> &Router {
        self.node.router()
    }

    async fn register(&self, id: &str) -> Result<Reply, Error> {
        let input = Input::Register { kind: Name::fixed("device"), tags: None, with: None };
        self.router().ask(twin(id), Header::default(), input).await
    }
}

fn twin(id: &str) -> TwinId {
    TwinId::in_default_tenant(id).unwrap()
}

/// Waits until something is so; it has ten seconds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}, after ten seconds not yet");
}

/// Connects a device and listens to requests; returns its epoch.
async fn connect(router: &Router, mailbox: &Arc<Mailbox>, id: &str) -> u64 {
    let address = Name::fixed("127.0.0.1");
    let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
    let client = Name::fixed("c");
    let connect = Connect {
        client,
        keep: false,
        resumes: false,
        connection,
        expiry_s: None,
        will: None,
        proof: Proof::Open,
    };
    let input = Input::Connect { connect, register: None };
    router.submit(mailbox, vec![Submission { token: 0, twin: twin(id), header: Header::default(), input }]);
    let mut mail = Vec::new();
    mailbox.take(&mut mail).await;
    let [Mail::Reply { token: 0, outcome: Ok(Reply::Connected { epoch, .. }) }] = mail[..] else {
        panic!("{mail:?}");
    };
    let filter = Name::fixed("twins/me/requests/x");
    let input =
        Input::Subscribe(vec![Subscription { filter, topic: Topic::Requests, qos: 0, identifier: None }]);
    let header = Header { mark: Some(Mark { epoch, n: 1 }), ..Header::default() };
    router.submit(mailbox, vec![Submission { token: 1, twin: twin(id), header, input }]);
    mail.clear();
    mailbox.take(&mut mail).await;
    epoch
}

#[tokio::test]
async fn the_log_is_purged_only_after_stream_and_state_are_synced() {
    let hurried = shard::Options { checkpoint_bytes: 1, ..shard::Options::default() };
    let world = World::start(hurried).await;

    world.register("a").await.unwrap();
    until("the log is purged", || world.notes.lock().unwrap().contains(&"purge")).await;

    let notes = world.notes.lock().unwrap().clone();
    let at = |what| notes.iter().position(|note| *note == what).expect("it was done");
    assert!(at("sync") < at("write") && at("write") < at("purge"), "{notes:?}");
}

#[tokio::test]
async fn what_the_log_surely_did_not_take_may_be_said_again() {
    let world = World::start(shard::Options::default()).await;
    *world.log.fate.lock().unwrap() = Some(log::Error::Full("no room".into()));
    assert!(matches!(world.register("a").await, Err(Error::Unwritten { .. })));

    *world.log.fate.lock().unwrap() = None;

    let again = world.register("a").await;
    assert!(matches!(again, Ok(Reply::Registered { created: true, .. })), "{again:?}");
}

#[tokio::test]
async fn a_shard_that_lost_its_log_starts_again_from_what_is_committed() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();
    *world.log.fate.lock().unwrap() = Some(log::Error::Unknown("the disk is gone".into()));
    assert!(matches!(world.register("b").await, Err(Error::Unknown { .. })));

    *world.log.fate.lock().unwrap() = None;
    until("the shard serves again", || world.router().unready().is_empty()).await;

    let read = |id| world.router().ask(twin(id), Header::default(), Input::Read);
    assert!(read("a").await.is_ok());
    assert!(matches!(read("b").await, Err(Error::Rejected(refusal)) if refusal.code() == Code::UnknownTwin));
}

#[tokio::test]
async fn a_connection_of_a_shard_that_fails_is_closed() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();
    let mailbox = Arc::new(Mailbox::default());
    let of = connect(world.router(), &mailbox, "a").await;
    *world.log.fate.lock().unwrap() = Some(log::Error::Unknown("the disk is gone".into()));

    assert!(world.register("b").await.is_err());

    let mut mail = Vec::new();
    mailbox.take(&mut mail).await;
    assert!(
        matches!(mail[..], [Mail::Delivery { epoch, what: Delivery::Close(_) }] if epoch == of),
        "{mail:?}"
    );
}

#[tokio::test]
async fn a_request_is_answered_by_the_device_or_ends_with_its_connection_or_in_time() {
    let world = World::start(shard::Options::default()).await;
    let (router, id) = (world.router().clone(), twin("a"));
    let ask = |timeout| {
        let payload = Json::null().into();
        let router = router.clone();
        tokio::spawn(async move { router.request(twin("a"), Name::fixed("x"), payload, None, timeout).await })
    };
    let code = |answer: Result<Response, Error>| match answer {
        Err(Error::Rejected(rejection)) => rejection.code(),
        other => panic!("{other:?}"),
    };
    let long = Duration::from_secs(10);
    assert_eq!(code(ask(long).await.unwrap()), Code::UnknownTwin);
    world.register("a").await.unwrap();
    assert_eq!(code(ask(long).await.unwrap()), Code::NotConnected);

    let mailbox = Arc::new(Mailbox::default());
    let epoch = connect(&router, &mailbox, "a").await;
    assert_eq!(code(ask(Duration::from_millis(20)).await.unwrap()), Code::Timeout);
    let asked = ask(long);
    let mut mail = Vec::new();
    while mail.len() < 2 {
        mailbox.take(&mut mail).await;
    }
    let Mail::Delivery { what: Delivery::Request { id: request, .. }, .. } = &mail[1] else {
        panic!("{mail:?}")
    };
    let response = Response { status: 200, payload: Json::null().into() };
    assert!(router.respond(&id, request, response.clone()).await);
    assert_eq!(asked.await.unwrap(), Ok(response.clone()));
    assert!(!router.respond(&id, request, response).await, "nobody waits any more");

    let asked = ask(long);
    mailbox.take(&mut mail).await;
    let reason = Name::fixed("test");
    router
        .ask(id, Header::default(), Input::Disconnect { epoch, reason, with_will: true, expiry_s: None })
        .await
        .unwrap();
    assert_eq!(code(asked.await.unwrap()), Code::NotConnected);
}

#[tokio::test]
async fn a_request_ends_with_the_device_and_is_not_answered_by_the_next_one_of_its_id() {
    let world = World::start(shard::Options::default()).await;
    let router = world.router().clone();
    world.register("a").await.unwrap();
    let mailbox = Arc::new(Mailbox::default());
    connect(&router, &mailbox, "a").await;
    let (asker, payload) = (router.clone(), Json::null().into());
    let asked = tokio::spawn(async move {
        asker.request(twin("a"), Name::fixed("x"), payload, None, Duration::from_secs(60)).await
    });
    let mut mail = Vec::new();
    while mail.is_empty() {
        mailbox.take(&mut mail).await;
    }
    let Mail::Delivery { what: Delivery::Request { id: request, .. }, .. } = &mail[0] else {
        panic!("{mail:?}")
    };

    router.ask(twin("a"), Header::default(), Input::Remove { reason: None }).await.unwrap();

    let ended = asked.await.unwrap();
    assert!(matches!(&ended, Err(Error::Rejected(why)) if why.code() == Code::NotConnected), "{ended:?}");
    world.register("a").await.unwrap();
    connect(&router, &Arc::new(Mailbox::default()), "a").await;
    let response = Response { status: 200, payload: Json::null().into() };
    assert!(!router.respond(&twin("a"), request, response).await, "it asked another device");
}

#[tokio::test]
async fn a_listing_shows_what_is_committed_whether_it_is_written_or_not() {
    let world = World::start(shard::Options::default()).await;
    for id in ["c", "a", "b", "d"] {
        world.register(id).await.unwrap();
    }
    world.router().ask(twin("b"), Header::default(), Input::Remove { reason: None }).await.unwrap();

    let list = world.router().list("default", Some(&twin("a")), 10).await.unwrap();

    assert_eq!(list, [twin("c"), twin("d")]);
    assert_eq!(world.router().list("other", None, 10).await.unwrap(), []);
    assert_eq!(
        world.store.keys(0, Space::Registered, store::ALL, 10).unwrap().len(),
        0,
        "nothing is written yet"
    );
}

#[tokio::test]
async fn a_node_that_stops_writes_everything_and_takes_nothing_more() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();
    let router = world.router().clone();

    world.node.stop().await;

    assert_eq!(world.store.keys(0, Space::Registered, store::ALL, 10).unwrap().len(), 1);
    let read = router.ask(twin("a"), Header::default(), Input::Read).await;
    assert_eq!(read, Err(Error::Stopping));
}

#[tokio::test]
async fn a_leader_that_is_deposed_lives_on_and_leads_again() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();
    let mailbox = Arc::<Mailbox>::default();
    connect(world.router(), &mailbox, "a").await;
    *world.log.fate.lock().unwrap() = Some(log::Error::Deposed { term: 1 });
    assert!(matches!(world.register("b").await, Err(Error::Unknown { .. })), "it may be committed yet");

    world.log.tell(Told::Follows { leader: Some(2) });

    let mut mail = Vec::new();
    mailbox.take(&mut mail).await;
    assert!(matches!(mail[..], [Mail::Delivery { what: Delivery::Close(_), .. }]), "{mail:?}");
    until("the router knows", || !world.router().unready().is_empty()).await;
    assert!(matches!(world.register("b").await, Err(Error::Unwritten { .. })));
    *world.log.fate.lock().unwrap() = None;
    let through = world.log.entries.lock().unwrap().len() as u64;
    world.log.tell(Told::Leads { tenure: Tenure { term: 1, number: 1 }, through });
    until("the router knows", || world.router().unready().is_empty()).await;
    world.register("b").await.unwrap();
    assert!(world.router().look(&twin("a")).await.unwrap().is_some());
    assert_eq!(*world.log.term.lock().unwrap(), 1, "it was not begun again");
}

#[tokio::test]
async fn a_shard_whose_state_was_replaced_begins_again_at_once() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();

    world.log.tell(Told::Replaced);

    until("it begins again", || *world.log.term.lock().unwrap() == 2).await;
    until("the router knows", || world.router().unready().is_empty()).await;
    assert!(world.router().look(&twin("a")).await.unwrap().is_some());
}

//! A node's shards as actors, with ports that note what is done to them and in which order.

mod ports;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ports::{Log, Notes, Noting, Store};
use runtime::access::Permissive;
use runtime::clock::SystemClock;
use runtime::error::Error;
use runtime::files::Files;
use runtime::files::sim::Sim;
use runtime::follower::Follower;
use runtime::log::{self, Tenure, Told};
use runtime::mailbox::{Mail, Mailbox};
use runtime::node::{Node, Options, Parts};
use runtime::replica::{Local, Origin, Replicas};
use runtime::router::{Response, Router, Submission};
use runtime::shard;
use runtime::store::memory::Memory;
use runtime::store::{self, Home, Space, StateStore};
use runtime::stream::{From, Selection};
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

/// A node of one shard.
struct World {
    node: Node,
    log: Arc<Log>,
    store: Memory,
    files: Sim,
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
        let (store, files) = (Memory::new(), Sim::new(1));
        let parts = Parts {
            node: (1, 1),
            kinds: Kinds::default(),
            slots: vec![0; 1 << 16].into(),
            logs: vec![log.clone()],
            store: Arc::new(Store(store.clone(), notes.clone())),
            files: Arc::new(Noting(files.clone(), notes.clone())),
            streams: "/streams".into(),
            clock: Arc::new(SystemClock),
            access: Arc::new(Permissive),
        };
        let options = Options { shard, ..Options::default() };
        let node = Node::start(parts, options).await.expect("an empty node starts");
        notes.lock().unwrap().clear();
        Self { node, log, store, files, notes }
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
        world.store.keys(Home::first(0), Space::Registered, store::ALL, 10).unwrap().len(),
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

    assert_eq!(world.store.keys(Home::first(0), Space::Registered, store::ALL, 10).unwrap().len(), 1);
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

/// The ids of the twins whose registration is read next.
async fn next_registered(follower: &mut Follower) -> Vec<String> {
    let page = follower.next(Duration::from_secs(10)).await.expect("the stream goes on");
    page.records.iter().map(|placed| placed.record.twin.id().to_owned()).collect()
}

#[tokio::test]
async fn a_shard_whose_state_was_replaced_begins_again_at_once_and_its_stream_goes_on() {
    let world = World::start(shard::Options::default()).await;
    let router = world.router().clone();
    let selection = Selection {
        tenant: "default".into(),
        twin: None,
        generation: None,
        shard: None,
        kinds: Vec::new(),
        channel: None,
        from: From::Earliest,
        until: None,
        limit: 10,
        bytes: usize::MAX,
    };
    let mut follower = router.follow(selection);
    world.register("a").await.unwrap();
    assert_eq!(next_registered(&mut follower).await, ["a"]);
    // It begins with a checkpoint.
    let mut pieces = router.backup().await.unwrap();
    while pieces.recv().await.is_some() {}
    world.register("b").await.unwrap();
    let replicas =
        Local::new(Arc::new(world.store.clone()), Arc::new(world.files.clone()), "/streams".as_ref());
    let mut packed = Vec::new();
    let applied = replicas.pack(0, &mut packed).unwrap();

    world.log.tell(Told::Replaced);
    until("it is told", || world.log.entries.lock().unwrap().len() == 2).await;
    assert_eq!(*world.log.term.lock().unwrap(), 1, "it has the newest state already");
    let staged = replicas.stage(0, &mut packed.as_slice()).unwrap();
    staged.install(applied, Origin { term: 1, membership: Vec::new() }).unwrap();
    world.log.tell(Told::Replaced);

    until("it begins again", || *world.log.term.lock().unwrap() == 2).await;
    until("the router knows", || router.unready().is_empty()).await;
    assert!(router.look(&twin("a")).await.unwrap().is_some());
    assert!(router.look(&twin("b")).await.unwrap().is_some(), "the log has it");
    assert_eq!(next_registered(&mut follower).await, ["b"]);
    world.register("c").await.unwrap();
    assert_eq!(next_registered(&mut follower).await, ["c"]);
    let folders = || world.files.folders("/streams".as_ref()).unwrap();
    until("the stream before is removed", || folders() == ["0.1"]).await;
    assert_eq!(*world.log.term.lock().unwrap(), 2, "once");
}

#[tokio::test]
async fn a_shard_that_finds_its_state_replaced_before_it_is_told_begins_again() {
    let world = World::start(shard::Options::default()).await;
    world.register("a").await.unwrap();
    let replicas =
        Local::new(Arc::new(world.store.clone()), Arc::new(world.files.clone()), "/streams".as_ref());

    replicas.forget(0).unwrap();
    // A twin that is not here is read from the state that is gone.
    drop(world.router().ask(twin("z"), Header::default(), Input::Read).await);

    until("it begins again", || *world.log.term.lock().unwrap() == 2).await;
    until("the router knows", || world.router().unready().is_empty()).await;
    assert!(world.router().look(&twin("a")).await.unwrap().is_some(), "the log has it all");
}

//! A node that lets others join, over real sockets and with a clock that is cranked: who is granted what, and who is not.

use bytes::Bytes;
use cluster::identity::Kept;
use cluster::member::{Member, Parts, Port};
use cluster::meta::{Command, NodeState};
use cluster::sealer::{Sealer, Unsealed};
use cluster::transport::Socket;
use cluster::transport::authority::{Name, Request};
use cluster::transport::join::{self, Ask, Error, Grant, Token};
use cluster::wire::{Boxed, BulkRead, Contact, Hears, Lane};
use cluster::{Options, SHARDS, Storage};
use runtime::clock::{Clock, Timestamp};
use runtime::directory::audit::Fingerprint;
use runtime::files::sim::Sim;
use runtime::operations::{Operations, Order, Outcome, Reason};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

/// Seals nothing.
struct Open;

impl Sealer for Open {
    fn seal(&self, _: &str, secret: &[u8]) -> Result<Vec<u8>, Unsealed> {
        Ok(secret.to_vec())
    }

    fn open(&self, _: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
        Ok(sealed.to_vec())
    }

    fn check(&self) -> [u8; 32] {
        [1; 32]
    }

    fn master_key(&self) -> Result<[u8; 32], Unsealed> {
        Ok([2; 32])
    }
}

struct Cranked(AtomicU64);

impl Clock for Cranked {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Hears nobody.
struct Deaf;

impl Hears for Deaf {
    fn heard(&self, _: Contact, _: Lane, _: Bytes) {}
    fn bulk(&self, _: Contact, _: Bytes, _: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>> {
        Box::pin(async { Err("nothing is taken here".to_owned()) })
    }
    fn reached(&self, _: Contact) {}
    fn lost(&self, _: u64) {}
}

/// A node that is the first of a cluster, or may become it.
struct First {
    disk: Arc<Sim>,
    storage: Storage,
    member: Member,
    clock: Arc<Cranked>,
}

impl First {
    fn open(disk: Arc<Sim>) -> Self {
        let data = Path::new("/data");
        let options = Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
        let storage = Storage::open(disk.clone(), &data.join("log"), options).unwrap();
        let (meta, generation) = (storage.meta(), storage.generation());
        for command in [
            Command::register(1, generation, "zone=a".to_owned(), "1".to_owned()),
            Command::CreateDomain { name: "default".to_owned(), shards: SHARDS },
            Command::SetNodeState { node: 1, state: NodeState::Active },
        ] {
            meta.execute_blocking(command, meta.state().version).unwrap();
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let clock = Arc::new(Cranked(AtomicU64::new(now)));
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let member = Member::new(Parts {
            node: 1,
            generation,
            files: disk.clone(),
            data: data.to_owned(),
            kept: Kept::read(&*disk, data).unwrap(),
            meta,
            shards: (1..=SHARDS).map(|group| storage.group(group)).collect(),
            sealer: Arc::new(Open),
            port: Some(Port { socket, advertised: None }),
            durable: storage.durable(),
            clock: clock.clone(),
            software: "a test".to_owned(),
            compose: Box::new(|_| Box::pin(async { Ok(Arc::new(Deaf) as Arc<dyn Hears>) })),
        });
        Self { disk, storage, member, clock }
    }

    async fn founded() -> (Self, Token) {
        let first = Self::open(Arc::new(Sim::new(1)));
        first.member.begin().await.unwrap();
        let token = first.order(Order::Found).await;
        (first, token)
    }

    /// A token.
    async fn order(&self, order: Order) -> Token {
        match self.member.order(order).await.unwrap() {
            Outcome::Invited(invitation) => Token::parse(&invitation.token).unwrap(),
            Outcome::Decided => panic!("no token"),
        }
    }
}

fn question(token: &Token, request: &Request) -> Ask {
    Ask {
        cluster: token.cluster.0.to_be_bytes(),
        secret: token.secret,
        request: request.der().to_vec(),
        address: "127.0.0.1:7402".to_owned(),
        location: "zone=b".to_owned(),
        software: "a test".to_owned(),
        check: None,
    }
}

async fn ask(token: &Token, request: &Request) -> Result<Grant, Error> {
    join::ask(token, &question(token, request)).await
}

/// Why it was refused, as whoever asked is told.
fn why(refused: Result<Grant, Error>) -> String {
    match refused {
        Err(Error::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_with_the_same_key_is_granted_the_same_number_until_the_token_ends() {
    let (first, token) = First::founded().await;
    let (request, other) = (Request::new().unwrap(), Request::new().unwrap());

    let once = ask(&token, &request).await.unwrap();
    let again = ask(&token, &request).await.unwrap();
    let refused = ask(&token, &other).await;

    let names = [&once, &again].map(|grant| Name::of(&grant.certificate).unwrap());
    assert_eq!(names, [Name { cluster: token.cluster, node: 2 }; 2]);
    assert!(why(refused).contains("used up"));
    assert_eq!(again.master_key.map(Into::into), Some([2_u8; 32]));
    assert_eq!(again.peers, [(1, first.member.address().unwrap().to_owned())].into());
    let identity = request.granted(again.authority, again.certificate).unwrap();
    assert_eq!(first.storage.meta().state().nodes[&2].fingerprint, Some(identity.fingerprint()));
    first.clock.0.fetch_add(HOUR_MS, Ordering::Relaxed);
    assert!(why(ask(&token, &request).await).contains("the token has expired"));
    assert_eq!(first.storage.meta().state().nodes.len(), 2);
    first.member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_not_what_it_should_be_takes_no_number() {
    let (first, token) = First::founded().await;
    let request = Request::new().unwrap();
    let asked = |change: fn(&mut Ask)| {
        let mut question = question(&token, &request);
        change(&mut question);
        let token = token.clone();
        async move { why(join::ask(&token, &question).await) }
    };

    assert!(asked(|ask| ask.secret[0] ^= 1).await.contains("the token is not known"));
    assert!(asked(|ask| ask.cluster[0] ^= 1).await.contains("the token is of cluster"));
    assert!(asked(|ask| ask.request.truncate(40)).await.contains("next: "));
    assert!(asked(|ask| ask.request = vec![0; 8 << 10]).await.contains("a request of 8192 bytes"));
    assert!(asked(|ask| ask.address = "nowhere".into()).await.contains("host:port"));
    assert!(asked(|ask| ask.location = "a\nb".into()).await.contains("location"));
    assert!(asked(|ask| ask.check = Some(Fingerprint([9; 32]))).await.contains("--master-key-file"));
    let long = Ask { location: "x".repeat(20 << 10), ..question(&token, &request) };
    assert!(matches!(join::ask(&token, &long).await, Err(Error::Unreached { .. } | Error::Malformed(_))));

    assert_eq!(first.storage.meta().state().nodes.len(), 1);
    let known = Ask { check: Some(Fingerprint([1; 32])), ..question(&token, &request) };
    assert_eq!(join::ask(&token, &known).await.unwrap().master_key, None, "who has the key is not sent it");
    first.member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_leads_to_no_other_cluster() {
    let ((one, token), (two, other)) = (First::founded().await, First::founded().await);
    let misled = Token { address: other.address.clone(), ..token };

    let refused = ask(&misled, &Request::new().unwrap()).await;

    assert!(matches!(refused, Err(Error::OtherAuthority(address)) if address == other.address));
    // The alert comes after whoever asked has gone.
    let said = async {
        while !two.member.status().await.warnings.iter().any(|said| said.contains("TLS was refused")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), said)
        .await
        .expect("the node says whom it did not convince");
    one.member.end().await;
    two.member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_founded_is_there_after_a_restart_and_is_not_founded_twice() {
    let (first, token) = First::founded().await;
    let refused = first.member.order(Order::Found).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Conflict);
    let First { disk, storage, member, .. } = first;
    member.end().await;
    drop((storage, member));
    disk.crash();

    let again = First::open(disk);
    again.member.begin().await.unwrap();

    let status = again.member.status().await;
    assert_eq!(status.cluster, Some(token.cluster.to_string()));
    assert!(status.warnings.iter().any(|warning| warning.contains("one node is active")));
    let next = again.order(Order::Invite).await;
    assert!(ask(&next, &Request::new().unwrap()).await.is_ok());
    again.member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn founding_that_was_broken_off_is_done_anew_wherever_the_power_failed() {
    for operations in 0..40 {
        let disk = Arc::new(Sim::new(operations));
        let first = First::open(disk.clone());
        first.member.begin().await.unwrap();
        disk.cut_power_after(operations);
        let done = first.member.order(Order::Found).await.is_ok();
        let First { storage, member, .. } = first;
        member.end().await;
        drop((storage, member));
        disk.crash();

        let again = First::open(disk);
        again.member.begin().await.unwrap();
        let is_founded = again.storage.meta().state().cluster.is_some();
        let token = match is_founded {
            true => again.order(Order::Invite).await,
            false => again.order(Order::Found).await,
        };

        assert!(is_founded || !done, "after {operations} operations: what was answered is there");
        assert!(ask(&token, &Request::new().unwrap()).await.is_ok(), "after {operations} operations");
        again.member.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_lost_who_it_is_does_not_begin() {
    use runtime::files::Files;
    let (first, _) = First::founded().await;
    let First { disk, storage, member, .. } = first;
    member.end().await;
    drop((storage, member));
    disk.remove(Path::new("/data/cluster/node.toml")).unwrap();

    let lost = First::open(disk).member.begin().await.unwrap_err().to_string();

    assert!(
        lost.contains("cluster/node.toml is not there") && lost.contains("next: restore that file"),
        "{lost}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_few_do_not_join_at_a_time() {
    let (first, token) = First::founded().await;
    let guess = Token { secret: [9; 32], ..token.clone() };
    let request = Arc::new(Request::new().unwrap());

    let guesses = (0..12).map(|_| {
        let (guess, request) = (guess.clone(), request.clone());
        tokio::spawn(async move { why(ask(&guess, &request).await) })
    });
    let mut told = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        told.push(guess.await.unwrap());
    }

    assert!(told.iter().any(|why| why.contains("several nodes are joining")), "{told:?}");
    assert!(told.iter().any(|why| why.contains("not known")), "{told:?}");
    assert!(tokio::time::timeout(Duration::from_secs(30), ask(&token, &request)).await.unwrap().is_ok());
    first.member.end().await;
}

//! A node that has a good certificate and does not keep to the protocol: what it is told, and what is said of it.

use bytes::Bytes;
use cluster::transport::authority::{Identity, Name};
use cluster::transport::frame::{self, Channel, Kind, VERSION_FIRST};
use cluster::transport::hello::Hello;
use cluster::transport::{By, Options};
use cluster::wire::Lane;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::world::{CLUSTER, Node, Start, authority, introduce, patient};

const PULSE: Channel = Channel::Lane(Lane::Pulse);
/// Its number.
const ROGUE: u64 = 9;

/// A connection of node 9 to a node, on which nothing was said.
struct Rogue {
    connection: Connection,
    pulse: SendStream,
    _endpoint: Endpoint,
}

impl Rogue {
    async fn dial(node: &Node, identity: &Identity) -> Self {
        let (connection, _endpoint) = dial(node, config(&identity.authority, Some(identity))).await;
        let pulse = connection.open_uni().await.unwrap();
        Self { connection, pulse, _endpoint }
    }

    async fn say(&mut self, bytes: &[u8]) {
        // It may have been thrown out already.
        drop(self.pulse.write_all(bytes).await);
    }

    /// Says hello and welcome as it should.
    async fn behave(&mut self) -> RecvStream {
        self.say(&frame::whole(VERSION_FIRST, PULSE, Kind::Hello, &hello().encode())).await;
        self.say(&frame::whole(VERSION_FIRST, PULSE, Kind::Welcome, &[])).await;
        self.connection.accept_uni().await.unwrap()
    }

    /// What it is told at the end.
    async fn told(&self) -> (u32, String) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(closed) => {
                let code = u32::try_from(closed.error_code.into_inner()).unwrap();
                (code, String::from_utf8(closed.reason.to_vec()).unwrap())
            }
            other => panic!("{other}"),
        }
    }
}

async fn dial(node: &Node, config: ClientConfig) -> (Connection, Endpoint) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let host = Name { cluster: CLUSTER, node: node.number }.host();
    let connecting = endpoint.connect_with(config, node.address, &host).unwrap();
    (connecting.await.unwrap(), endpoint)
}

/// What it dials with; without an identity, anybody's.
fn config(authority: &[u8], identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider);
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_root_certificates(roots);
    let mut tls = match identity {
        Some(identity) => {
            let shown = vec![CertificateDer::from(identity.certificate.clone())];
            tls.with_client_auth_cert(shown, PrivatePkcs8KeyDer::from(identity.key.clone()).into()).unwrap()
        }
        None => tls.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"twinfold/1".to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        cluster: CLUSTER.0.to_be_bytes(),
        node: ROGUE,
        generation: 1,
        start: 1,
        durable: 1,
        feature: 1,
        software: String::new(),
        address: String::new(),
        clock: 0,
    }
}

/// What both sides say of a rogue that does that to a node.
async fn said(misbehave: impl AsyncFnOnce(&mut Rogue)) -> (u32, String) {
    let authority = authority();
    let node = Start::of(&authority, 1).open();
    introduce(&[&node]);
    let identity = authority.issue(ROGUE, SystemTime::now()).unwrap();
    let mut rogue = Rogue::dial(&node, &identity).await;

    misbehave(&mut rogue).await;

    let told = rogue.told().await;
    let refused = node.refusal(told.0).await;
    assert_eq!((refused.by, refused.peer), (By::Us, Some(ROGUE)));
    assert_eq!(refused.why.to_string(), told.1, "both sides say the same");
    told
}

#[tokio::test]
async fn a_hello_of_another_cluster_is_refused() {
    let other = Hello { cluster: [7; 16], ..hello() };
    let hello = frame::whole(VERSION_FIRST, PULSE, Kind::Hello, &other.encode());

    let (code, text) = said(async |rogue| rogue.say(&hello).await).await;

    assert_eq!(code, 4);
    assert!(text.contains("belongs to cluster 0707"), "{text}");
}

#[tokio::test]
async fn a_number_other_than_the_certificates_is_refused() {
    let other = Hello { node: 2, ..hello() };
    let hello = frame::whole(VERSION_FIRST, PULSE, Kind::Hello, &other.encode());

    let (code, text) = said(async |rogue| rogue.say(&hello).await).await;

    assert_eq!(code, 5);
    assert!(text.starts_with("the certificate is for node 9 of"), "{text}");
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_by_its_head_before_and_after_the_hello() {
    let mut large = frame::whole(VERSION_FIRST, PULSE, Kind::Messages, &[]).to_vec();
    large[8..12].copy_from_slice(&((1_u32 << 20) + 1).to_le_bytes());

    let before = said(async |rogue| rogue.say(&large).await).await;
    let after = said(async |rogue| {
        let _pulse = rogue.behave().await;
        rogue.say(&large).await;
    })
    .await;

    assert_eq!((before.0, after.0), (11, 11));
    assert!(after.1.contains("a frame of 1048577 bytes, where 1048576 is the most"), "{}", after.1);
}

#[tokio::test]
async fn a_frame_whose_checksum_does_not_fit_is_refused() {
    let mut harmed = frame::of_messages(VERSION_FIRST, PULSE, &[Bytes::from_static(b"vote")]).concat();
    *harmed.last_mut().unwrap() ^= 1;

    let (code, _) = said(async |rogue| {
        let _pulse = rogue.behave().await;
        rogue.say(&harmed).await;
    })
    .await;

    assert_eq!(code, 12);
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused() {
    let welcome = frame::whole(VERSION_FIRST, PULSE, Kind::Welcome, &[]);
    let garbage = frame::whole(VERSION_FIRST, PULSE, Kind::Hello, b"nothing");

    let stranger = said(async |rogue| rogue.say(b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n").await).await;
    let early = said(async |rogue| rogue.say(&welcome).await).await;
    let unread = said(async |rogue| rogue.say(&garbage).await).await;
    let twice = said(async |rogue| {
        let _pulse = rogue.behave().await;
        rogue.say(&frame::whole(VERSION_FIRST, PULSE, Kind::Hello, &hello().encode())).await;
    })
    .await;
    let ended = said(async |rogue| {
        let _pulse = rogue.behave().await;
        drop(rogue.pulse.finish());
    })
    .await;

    for (code, text) in [stranger, early, unread, twice, ended] {
        assert_eq!(code, 13, "{text}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let authority = authority();
    let options = Options { patience: Duration::from_secs(2), ..patient() };
    let node = Start { options, ..Start::of(&authority, 1) }.open();
    introduce(&[&node]);
    let identity = authority.issue(ROGUE, SystemTime::now()).unwrap();

    let rogue = Rogue::dial(&node, &identity).await;

    assert_eq!(rogue.told().await.0, 14);
    assert_eq!(node.refusal(14).await.by, By::Us);
}

#[tokio::test]
async fn who_shows_no_certificate_gets_no_further_than_tls() {
    let authority = authority();
    let node = Start::of(&authority, 1).open();
    introduce(&[&node]);

    let (connection, _endpoint) = dial(&node, config(authority.certificate(), None)).await;

    let ended = connection.closed().await;
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended}");
    let refused = node.refusal(15).await;
    assert_eq!((refused.by, refused.peer), (By::Us, None));
    assert!(node.ear.events().is_empty());
}

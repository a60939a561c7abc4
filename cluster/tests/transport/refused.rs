//! Nodes that do not get together, and what each of the two says of it.

use cluster::transport::authority::{Authority, ClusterId, Identity};
use cluster::transport::{By, Options, Refusal};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use std::time::{Duration, SystemTime};

use crate::world::{CLUSTER, Node, Start, authority, introduce, patient, roll};

const TLS: u32 = 15;

/// Both have the refusal, and neither has reached the other.
async fn both_say(code: u32, one: &Node, two: &Node) -> [String; 2] {
    let said = [one.refusal(code).await, two.refusal(code).await];
    assert!(said.iter().all(|refused| refused.why.is_final()), "{said:?}");
    assert!(one.ear.events().is_empty() && two.ear.events().is_empty());
    said.map(|refused| refused.to_string())
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_and_both_say_so() {
    let stranger = Authority::found(CLUSTER, SystemTime::now()).unwrap();
    let one = Start::of(&authority(), 1).open();
    let two = Start::of(&stranger, 2).open();

    introduce(&[&one, &two]);

    let said = both_say(TLS, &one, &two).await;
    assert!(said[0].starts_with("refused node 2 at ") && said[0].contains("let the node join this cluster"));
    assert!(said[1].contains("refused this node: TLS was refused: "));
}

#[tokio::test]
async fn who_dials_with_a_certificate_of_another_authority_is_refused_and_both_say_so() {
    let (ours, stranger) = (authority(), authority());
    let foreign = stranger.issue(1, SystemTime::now()).unwrap();
    // It believes ours, so that it is us who refuse.
    let identity = Identity { authority: ours.certificate().to_vec(), ..foreign };
    let one = Start { identity, ..Start::of(&ours, 1) }.open();
    let two = Start::of(&ours, 2).open();

    introduce(&[&one, &two]);

    both_say(TLS, &one, &two).await;
    assert_eq!((one.refusal(TLS).await.by, two.refusal(TLS).await.by), (By::Them, By::Us));
}

#[tokio::test]
async fn a_certificate_of_a_device_opens_nothing() {
    let ours = authority();
    let (certificate, key) = device();
    let name = ours.issue(1, SystemTime::now()).unwrap().name;
    let identity = Identity { name, authority: ours.certificate().to_vec(), certificate, key };
    let one = Start { identity, ..Start::of(&ours, 1) }.open();
    let two = Start::of(&ours, 2).open();

    introduce(&[&one, &two]);

    both_say(TLS, &one, &two).await;
}

/// As the gateway's authorities make them.
fn device() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "devices");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = Issuer::new(root, key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI("urn:twinfold:acme:thermostat-1".try_into().unwrap())];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (leaf.signed_by(&key, &issuer).unwrap().der().to_vec(), key.serialize_der())
}

#[tokio::test]
async fn a_node_at_the_address_of_another_one_is_not_taken_for_it() {
    let authority = authority();
    let (one, three) = (Start::of(&authority, 1).open(), Start::of(&authority, 3).open());
    let mut wrong = roll(&[&one, &three]);
    let address = wrong.nodes.remove(&3).unwrap();
    wrong.nodes.insert(2, address);

    one.meet(wrong.clone());
    three.meet(roll(&[&three]));

    both_say(TLS, &one, &three).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_and_both_say_so() {
    let other = Authority::found(ClusterId(0xBAD), SystemTime::now()).unwrap();
    let one = Start::of(&authority(), 1).open();
    let two = Start::of(&other, 2).open();

    introduce(&[&one, &two]);

    both_say(TLS, &one, &two).await;
}

#[tokio::test]
async fn nodes_without_a_common_version_say_so_on_both_sides() {
    let authority = authority();
    let newer = Options { versions: 2..=3, ..patient() };
    let one = Start::of(&authority, 1).open();
    let two = Start { options: newer, ..Start::of(&authority, 2) }.open();

    introduce(&[&one, &two]);

    let said = both_say(3, &one, &two).await;
    let words = |said: &String| said.contains("no common protocol version") && said.contains("2 to 3");
    assert!(said.iter().all(words), "{said:?}");
}

/// Node 1, which has met start 7 of node 2 with generation 5 and batch 100, and then node 2 as it comes back.
async fn come_back(change: impl FnOnce(&mut Start)) -> (Node, Node) {
    let authority = authority();
    let one = Start::of(&authority, 1).open();
    let before = Start { generation: 5, start: 7, durable: 100, ..Start::of(&authority, 2) };
    let identity = before.identity.clone();
    let before = before.open();
    introduce(&[&one, &before]);
    one.until_reached(2).await;
    before.until_reached(1).await;
    before.transport.close().await;
    one.until_lost(2).await;

    let mut again = Start { generation: 6, start: 8, durable: 100, identity, ..Start::of(&authority, 2) };
    change(&mut again);
    let again = again.open();
    introduce(&[&one, &again]);
    (one, again)
}

#[tokio::test]
async fn a_generation_that_is_not_higher_is_refused_and_both_say_so() {
    let changes: [fn(&mut Start); 2] = [|again| again.generation = 4, |again| again.generation = 5];
    for change in changes {
        let (one, again) = come_back(change).await;

        let (ours, theirs) = (one.refusal(9).await, again.refusal(9).await);

        assert_eq!((ours.by, theirs.by), (By::Us, By::Them));
        assert_eq!((ours.peer, theirs.peer), (Some(2), Some(1)));
        assert!(theirs.to_string().contains("stop one of the two"), "{theirs}");
        assert!(again.ear.events().is_empty(), "it was never let in");
    }
}

#[tokio::test]
async fn a_log_that_went_back_is_refused_and_both_say_so() {
    let (one, again) = come_back(|again| again.durable = 99).await;

    let (ours, theirs) = (one.refusal(10).await, again.refusal(10).await);

    assert_eq!(ours.why, Refusal::WentBack { node: 2, theirs: 99, seen: 100 });
    assert_eq!((ours.by, theirs.by), (By::Us, By::Them));
    assert_eq!(theirs.why.to_string(), ours.why.to_string());
    assert!(again.ear.events().is_empty(), "it was never let in");
}

#[tokio::test]
async fn a_node_that_is_removed_loses_its_connection_and_hears_why() {
    let authority = authority();
    let (one, two) = (Start::of(&authority, 1).open(), Start::of(&authority, 2).open());
    introduce(&[&one, &two]);
    one.until_reached(2).await;
    two.until_reached(1).await;

    let mut without = roll(&[&one, &two]);
    without.nodes.get_mut(&2).unwrap().is_gone = true;
    one.transport.learn(without);

    assert_eq!(one.refusal(7).await.by, By::Us);
    assert!(two.refusal(7).await.why.to_string().contains("was removed from the cluster"));
    one.until_lost(2).await;
    two.until_lost(1).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_the_known_one_opens_nothing() {
    let authority = authority();
    let options = Options { redial_refused: Duration::from_secs(600), ..patient() };
    let one = Start { options, ..Start::of(&authority, 1) }.open();
    let two = Start::of(&authority, 2).open();
    let mut known = roll(&[&one, &two]);
    known.nodes.get_mut(&2).unwrap().fingerprint = Some([7; 32]);

    one.meet(known);
    two.meet(roll(&[&two]));

    both_say(8, &one, &two).await;
}

//! What the lanes carry: in order, together, within bounds, and again after a cut.

use bytes::Bytes;
use cluster::transport::authority::Authority;
use cluster::transport::{Options, Socket};
use cluster::wire::{Contact, Lane, NotSent, Wire};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::yield_now;

use crate::net::Net;
use crate::world::{Event, Node, Start, authority, introduce, met, patient, roll};

const LANES: [Lane; 3] = [Lane::Pulse, Lane::Log, Lane::Forward];

/// Sends, and waits where the lane is full.
async fn send(from: &Node, to: u64, lane: Lane, message: Bytes) {
    while from.transport.send(to, lane, message.clone()) == Err(NotSent::Full) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn numbered(n: usize, bytes: usize) -> Bytes {
    let mut message = vec![0; bytes.max(8)];
    message[..8].copy_from_slice(&(n as u64).to_le_bytes());
    message.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lane_keeps_its_order_between_three_nodes() {
    const MESSAGES: usize = 300;
    let nodes = met(3).await;
    // Those of the log are of all sizes up to some frames' pieces.
    let sized = |lane, n: usize| if lane == Lane::Log { n * n * 2 } else { 8 + n % 50 };
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

    for n in 0..MESSAGES {
        for (from, to) in pairs {
            for lane in LANES {
                send(&nodes[from], nodes[to].number, lane, numbered(n, sized(lane, n))).await;
            }
        }
    }

    for (from, to) in pairs {
        let (sender, ear) = (nodes[from].number, &nodes[to].ear);
        for lane in LANES {
            nodes[to].until_heard(sender, lane, MESSAGES).await;
            let expected: Vec<_> = (0..MESSAGES).map(|n| numbered(n, sized(lane, n))).collect();
            assert!(ear.heard(sender, lane) == expected, "{sender} on {lane:?}");
        }
    }
}

#[tokio::test]
async fn a_bad_network_changes_no_order_and_loses_nothing() {
    const MESSAGES: usize = 200;
    let (net, authority) = (Net::default(), authority());
    let start =
        |n: u16| Start { socket: Socket::Other(net.port(n)), ..Start::of(&authority, n.into()) }.open();
    let (one, two) = (start(1), start(2));
    net.worsen(7);
    introduce(&[&one, &two]);
    one.until_reached(2).await;
    two.until_reached(1).await;

    for n in 0..MESSAGES {
        for lane in LANES {
            send(&one, 2, lane, numbered(n, 8 + n * 50)).await;
            send(&two, 1, lane, numbered(n, 8 + n)).await;
        }
    }

    for lane in LANES {
        two.until_heard(1, lane, MESSAGES).await;
        one.until_heard(2, lane, MESSAGES).await;
        let expected: Vec<_> = (0..MESSAGES).map(|n| numbered(n, 8 + n * 50)).collect();
        assert!(two.ear.heard(1, lane) == expected, "{lane:?}");
    }
}

#[tokio::test]
async fn all_that_waits_leaves_in_one_frame() {
    let nodes = met(2).await;

    // Nobody else runs between: there is one thread, and no await.
    for n in 0..1_000 {
        nodes[0].transport.send(2, Lane::Forward, numbered(n, 100)).unwrap();
    }

    nodes[1].until_heard(1, Lane::Forward, 1_000).await;
    let traffic = nodes[0].transport.traffic(2, Lane::Forward).unwrap();
    assert_eq!((traffic.frames, traffic.messages, traffic.bytes), (1, 1_000, 100_000));
}

#[tokio::test]
async fn an_entry_of_many_megabytes_arrives_whole() {
    let nodes = met(2).await;
    let entry: Bytes = (0..17_u32 << 20).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();

    nodes[0].transport.send(2, Lane::Log, entry.clone()).unwrap();

    nodes[1].until_heard(1, Lane::Log, 1).await;
    assert!(nodes[1].ear.heard(1, Lane::Log) == [entry]);
}

#[tokio::test]
async fn a_node_that_is_not_there_is_not_reached() {
    let node = Start::of(&authority(), 1).open();
    introduce(&[&node]);

    assert_eq!(node.transport.send(2, Lane::Pulse, numbered(1, 8)), Err(NotSent::Unreached));
    assert_eq!(node.transport.contact(2), None);
    assert!(node.transport.bulk(2, Bytes::new()).await.is_err());
}

#[tokio::test]
async fn a_lane_that_does_not_empty_is_full_and_loses_nothing_that_it_took() {
    const BYTES: usize = 64 << 10;
    let (net, authority) = (Net::default(), authority());
    let start = |n: u16| {
        let options = Options { pulse_bytes: 4 * (BYTES + 4), ..patient() };
        Start { options, socket: Socket::Other(net.port(n)), ..Start::of(&authority, n.into()) }.open()
    };
    let (one, two) = (start(1), start(2));
    introduce(&[&one, &two]);
    one.until_reached(2).await;
    two.until_reached(1).await;
    net.cut(one.address, two.address);

    let mut taken = 0;
    let refused = loop {
        match one.transport.send(2, Lane::Pulse, numbered(taken, BYTES)) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        // The writer goes on as far as QUIC takes it.
        yield_now().await;
        assert!(taken * BYTES < 8 << 20, "the queue has no end");
    };

    assert_eq!(refused, NotSent::Full);
    assert!(
        one.transport.send(2, Lane::Forward, numbered(0, BYTES)).is_ok(),
        "another lane has its own queue"
    );
    net.heal();
    two.until_heard(1, Lane::Pulse, taken).await;
    let expected: Vec<_> = (0..taken).map(|n| numbered(n, BYTES)).collect();
    assert!(two.ear.heard(1, Lane::Pulse) == expected);
}

#[tokio::test]
async fn two_nodes_find_each_other_again_after_a_cut() {
    let (net, authority) = (Net::default(), authority());
    let start = |n: u16| {
        let options = Options {
            silence_max: Duration::from_millis(800),
            keep_alive: Duration::from_millis(100),
            ping_every: Duration::from_millis(100),
            redial_max: Duration::from_millis(200),
            patience: Duration::from_millis(500),
            ..Options::default()
        };
        Start { options, socket: Socket::Other(net.port(n)), ..Start::of(&authority, n.into()) }.open()
    };
    let (one, two) = (start(1), start(2));
    introduce(&[&one, &two]);
    one.until_reached(2).await;
    two.until_reached(1).await;

    net.cut(one.address, two.address);
    one.until_lost(2).await;
    two.until_lost(1).await;
    net.heal();
    one.until_reached(2).await;
    two.until_reached(1).await;

    one.until_heard_something_of(&two).await;
    two.until_heard_something_of(&one).await;
    for (node, other) in [(&one, 2), (&two, 1)] {
        let changes = node.ear.events().into_iter().filter(|event| !matches!(event, Event::Heard(..)));
        let alternate = changes.enumerate().all(|(n, event)| match event {
            Event::Reached(contact) => n % 2 == 0 && contact.node == other,
            Event::Lost(lost) => n % 2 == 1 && lost == other,
            _ => false,
        });
        assert!(alternate, "{:?}", node.ear.events());
    }
}

#[tokio::test]
async fn a_node_that_starts_again_is_another_contact() {
    let authority = authority();
    let (one, two) = (Start::of(&authority, 1).open(), Start::of(&authority, 2).open());
    introduce(&[&one, &two]);
    one.until_reached(2).await;
    two.until_reached(1).await;

    two.transport.close().await;
    one.until_lost(2).await;
    let again = Start { generation: 2, start: 999, durable: 11, ..Start::of(&authority, 2) }.open();
    introduce(&[&one, &again]);

    again.until_reached(1).await;
    one.until_reached(2).await;
    assert_eq!(one.transport.contact(2), Some(Contact { node: 2, generation: 2 }));
    assert_eq!(again.transport.contact(1), Some(Contact { node: 1, generation: 1 }));
    assert!(one.transport.refusals().borrow().is_empty(), "who stops is no refusal");
}

#[tokio::test]
async fn a_new_start_takes_the_place_of_one_that_vanished_without_a_word() {
    let (net, authority) = (Net::default(), authority());
    let start = |n: u64, port| {
        let options = Options { dialled_back_after: Duration::from_millis(50), ..patient() };
        Start { options, socket: Socket::Other(net.port(port)), ..Start::of(&authority, n) }
    };
    let (one, before) = (start(1, 1).open(), start(2, 2).open());
    introduce(&[&one, &before]);
    one.until_reached(2).await;
    before.until_reached(1).await;

    // Node 1 would notice after 30 s.
    net.cut(one.address, before.address);
    let again = Start { generation: 2, start: 999, durable: 11, ..start(2, 3) }.open();
    again.meet(roll(&[&one, &again]));

    again.until_reached(1).await;
    let changes = |events: &[Event]| {
        let changes = events.iter().filter(|event| !matches!(event, Event::Heard(..)));
        changes.cloned().collect::<Vec<_>>()
    };
    one.ear.until(|events| changes(events).len() == 3).await;
    let of = |generation| Event::Reached(Contact { node: 2, generation });
    assert_eq!(changes(&one.ear.events()), [of(1), Event::Lost(2), of(2)]);
    assert_eq!(one.transport.contact(2), Some(Contact { node: 2, generation: 2 }));
}

#[tokio::test]
async fn nodes_meet_that_an_authority_signed_for_before_and_after_it_was_kept() {
    let founded = authority();
    let kept = Authority::open(founded.certificate(), &founded.key()).unwrap();
    let (one, two) = (Start::of(&founded, 1).open(), Start::of(&kept, 2).open());

    introduce(&[&one, &two]);

    one.until_reached(2).await;
    two.until_reached(1).await;
}

#[tokio::test]
async fn a_node_whose_address_nobody_knows_any_more_dials_itself() {
    let authority = authority();
    let one = Start::of(&authority, 1).open();
    let options = Options { dialled_back_after: Duration::from_millis(50), ..patient() };
    let two = Start { options, ..Start::of(&authority, 2) }.open();
    let mut old = roll(&[&one, &two]);
    old.nodes.get_mut(&2).unwrap().address = "127.0.0.1:9".into();

    one.meet(old);
    two.meet(roll(&[&one, &two]));

    one.until_reached(2).await;
    two.until_reached(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_at_once_agree_on_one_connection() {
    let authority = authority();
    let eager = |node| {
        let options = Options { dialled_back_after: Duration::ZERO, ..patient() };
        Start { options, ..Start::of(&authority, node) }.open()
    };
    for _ in 0..5 {
        let (one, two) = (eager(1), eager(2));
        introduce(&[&one, &two]);

        one.until_heard_something_of(&two).await;
        two.until_heard_something_of(&one).await;

        one.transport.close().await;
        two.transport.close().await;
    }
}

#[tokio::test]
async fn pings_carry_the_clock_and_a_closed_transport_calls_nobody() {
    let nodes = met(2).await;
    nodes[1].durable.store(55, Ordering::Relaxed);
    while nodes[0].transport.offset_ms(2).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let silent = nodes[0].transport.silent();
    nodes[0].transport.close().await;

    assert_eq!(silent.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [2]);
    assert_eq!(nodes[0].ear.events().last(), Some(&Event::Lost(2)));
    nodes[1].until_lost(1).await;
}

impl Node {
    async fn until_heard(&self, from: u64, lane: Lane, messages: usize) {
        let of = |event: &&Event| matches!(event, Event::Heard(node, on, _) if *node == from && *on == lane);
        self.ear.until(|events| events.iter().filter(of).count() == messages).await;
    }

    /// The other one sends until something arrives: what was under way when a connection changed is lost.
    async fn until_heard_something_of(&self, other: &Node) {
        while self.ear.count(other.number, Lane::Pulse) == 0 {
            // Not reached yet, or again not: the next one may arrive.
            let _ = other.transport.send(self.number, Lane::Pulse, numbered(0, 8));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

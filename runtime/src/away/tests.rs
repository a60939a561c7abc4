//! What is written for other nodes is read as it was written; and whatever they write, reading it does no harm.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use twins::command::CommandId;
use twins::header::{Cause, Header, Mark, Principal, Trace};
use twins::id::TwinId;
use twins::input::{Desire, Input, Message, Said};
use twins::json::Json;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Closed, Delivery, Reply};
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::error::Error;
use crate::mailbox::Mail;
use crate::router::Response;
use crate::shard::parcel::{Content, Parcel};

use super::codec::LIST_MAX;
use super::{Answer, Frame, Held, Sent};

fn twin(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("t-{n}")).unwrap()
}

fn input() -> impl Strategy<Value = Input> {
    let json = any::<String>().prop_map(|text| Json::of(&text).unwrap());
    prop_oneof![
        json.clone().prop_map(Input::Report),
        json.clone().prop_map(|json| Input::Telemetry(json.into())),
        (any::<u64>(), any::<bool>()).prop_map(|(epoch, with_will)| Input::Disconnect {
            epoch,
            reason: Name::fixed("gone"),
            with_will,
            expiry_s: Some(7),
        }),
        any::<u64>().prop_map(|version| Input::Acknowledge(Message::Desired(version))),
        (json.clone(), any::<u128>()).prop_map(|(json, id)| Input::Outcome {
            id: CommandId(uuid::Uuid::from_u128(id)),
            outcome: Said::Rejected,
            result: Some(json),
        }),
        json.prop_map(|json| Input::Update {
            tags: None,
            desired: Some(Desire::Merge(json)),
            if_match: Some(vec!["3".to_owned()]),
        }),
        Just(Input::Read),
        Just(Input::Due),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u64>(), any::<u64>(), any::<[u8; 16]>()).prop_map(|(epoch, n, id)| Header {
        mark: Some(Mark { epoch, n }),
        trace: Some(Trace { id, parent: [1; 8], sampled: true }),
        principal: Principal::User(Name::fixed("somebody")),
        ..Header::default()
    })
}

fn outcome() -> impl Strategy<Value = Result<Reply, Error>> {
    prop_oneof![
        Just(Ok(Reply::Done)),
        Just(Ok(Reply::Twin(Arc::new(Twin::default())))),
        any::<u64>().prop_map(|epoch| Ok(Reply::Connected {
            epoch,
            present: true,
            subscriptions: Vec::new(),
            handshakes: Default::default(),
        })),
        any::<String>().prop_map(|why| Err(Rejection::new(Code::QueueFull, why).into())),
        any::<String>().prop_map(|why| Err(Error::Unknown { shard: 3, why })),
        Just(Err(Error::Overloaded { shard: 1, limit: crate::admission::NODES_FULL })),
    ]
}

fn mail() -> impl Strategy<Value = Mail> {
    prop_oneof![
        (any::<u64>(), outcome()).prop_map(|(token, outcome)| Mail::Reply { token, outcome }),
        any::<u64>().prop_map(|epoch| Mail::Delivery { epoch, what: Delivery::Close(Closed::TakenOver) }),
        any::<u64>().prop_map(|epoch| Mail::Redelivery {
            epoch,
            what: Delivery::Command {
                id: CommandId(uuid::Uuid::from_u128(7)),
                name: Name::fixed("turn"),
                payload: Json::null().into(),
                deadline: Timestamp::MAX,
                attempt: 3,
                trace: None,
                packet: None,
            },
        }),
        Just(Mail::Again),
    ]
}

fn answer() -> impl Strategy<Value = Result<Answer, Error>> {
    prop_oneof![
        outcome().prop_map(|outcome| outcome.map(Answer::Reply)),
        any::<u16>()
            .prop_map(|status| Ok(Answer::Response(Response { status, payload: Json::null().into() }))),
        any::<bool>().prop_map(|heard| Ok(Answer::Heard(heard))),
        any::<bool>().prop_map(|is_there| Ok(Answer::Found(is_there.then(Arc::<Twin>::default)))),
        (0..5_u64).prop_map(|n| Ok(Answer::Listed((0..n).map(twin).collect()))),
        Just(Ok(Answer::Attached)),
        any::<Vec<u8>>().prop_map(|body| Ok(Answer::Meta(body.into()))),
    ]
}

fn parcel(n: u64) -> Arc<Parcel> {
    let cause = Cause { twin: twin(n), generation: 1, sequence: n, ordinal: 0, hops: 1 };
    let content = Content::Call { method: Name::fixed("m"), argument: Json::null() };
    Arc::new(Parcel { to: twin(n + 1), cause, trace: None, content })
}

fn frame() -> impl Strategy<Value = Frame> {
    let sent = (any::<u64>(), header(), input());
    let sent = sent.prop_map(|(token, header, input)| Sent { token, twin: twin(token), header, input });
    let name = || Name::fixed("name");
    prop_oneof![
        prop::collection::vec(sent, 0..4).prop_map(|inputs| Frame::Submit {
            shard: 2,
            connection: 9,
            inputs
        }),
        (any::<u64>(), header(), input()).prop_map(|(call, header, input)| Frame::Ask {
            call,
            shard: 63,
            twin: twin(call),
            header: header.into(),
            input,
        }),
        prop::collection::vec(any::<u64>(), 0..9).prop_map(|all| Frame::Attach {
            call: 1,
            shard: 2,
            connections: all.into_iter().map(|n| Held { connection: n, twin: twin(n), epoch: n }).collect(),
        }),
        any::<u64>().prop_map(Frame::Gone),
        any::<u64>().prop_map(move |call| Frame::Request {
            call,
            shard: 0,
            twin: twin(call),
            name: name(),
            payload: Json::null().into(),
            trace: None,
        }),
        any::<u16>().prop_map(move |status| Frame::Respond {
            call: 8,
            shard: 0,
            twin: twin(1),
            id: name(),
            response: Response { status, payload: Json::null().into() },
        }),
        any::<u64>().prop_map(Frame::Forget),
        any::<u64>().prop_map(|call| Frame::Look { call, shard: 1, twin: twin(call) }),
        (any::<Vec<u32>>(), any::<String>()).prop_map(|(shards, tenant)| Frame::List {
            call: 5,
            shards,
            tenant,
            after: Some(twin(3)),
            limit: 10,
        }),
        (1..9_u64).prop_map(|n| Frame::Parcels {
            from: 1,
            to: 2,
            first: n,
            parcels: (0..n).map(parcel).collect()
        }),
        any::<u64>().prop_map(|n| Frame::Acknowledged { by: 1, to: 2, n }),
        any::<Vec<u8>>().prop_map(|body| Frame::Meta { call: 6, body: body.into() }),
        prop::collection::vec(mail(), 0..4).prop_map(|mail| Frame::Mail { shard: 7, connection: 8, mail }),
        answer().prop_map(|answer| Frame::Answer { call: 7, answer }),
        (any::<Vec<u64>>(), any::<Option<u64>>()).prop_map(|(tokens, leader)| Frame::Elsewhere {
            shard: 1,
            leader,
            connection: 2,
            tokens,
            call: None,
        }),
        Just(Frame::Beat),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_heard(frame in frame()) {
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused(frame in frame(), at in any::<prop::sample::Index>()) {
        let mut body = frame.encode();
        prop_assert!(Frame::decode(&body[..at.index(body.len())]).is_err());
        body.push(0);
        prop_assert!(Frame::decode(&body).is_err());
    }

    #[test]
    fn whatever_comes_is_read_or_refused(
        frame in frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        noise in any::<Vec<u8>>(),
    ) {
        let mut body = frame.encode();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        drop(Frame::decode(&body));
        drop(Frame::decode(&noise));
    }
}

#[test]
fn a_list_that_claims_too_much_is_refused_before_it_is_read() {
    let count = LIST_MAX as u64 + 1;
    let body =
        Frame::Elsewhere { shard: 0, leader: None, connection: 0, tokens: (0..count).collect(), call: None };

    let refused = Frame::decode(&body.encode()).unwrap_err();

    assert!(refused.contains(&count.to_string()), "{refused}");
}

#[test]
fn each_kind_of_frame_has_a_number_of_its_own() {
    let numbers: BTreeSet<u8> = [
        Frame::Gone(1),
        Frame::Forget(1),
        Frame::Beat,
        Frame::Acknowledged { by: 0, to: 0, n: 0 },
        Frame::Meta { call: 0, body: Bytes::new() },
    ]
    .iter()
    .map(|frame| frame.encode()[1])
    .collect();

    assert_eq!(numbers, BTreeSet::from([3, 6, 18, 13, 14]));
}

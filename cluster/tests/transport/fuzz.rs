//! Frames, hellos and pings of anybody: whatever the bytes, nothing panics, and nothing comes out that was not put in.

use bytes::Bytes;
use cluster::transport::Refusal;
use cluster::transport::frame::{self, Channel, Decoder, Frame, Kind, VERSION_FIRST};
use cluster::transport::hello::{Hello, Ping};
use cluster::wire::Lane;
use proptest::prelude::*;

fn channels() -> impl Strategy<Value = Channel> {
    let lanes = [Lane::Pulse, Lane::Log, Lane::Forward].map(Channel::Lane);
    prop::sample::select([&lanes[..], &[Channel::Bulk]].concat())
}

fn sent() -> impl Strategy<Value = Vec<Bytes>> {
    let message =
        prop_oneof![4 => 1..200_usize, 1 => 4_000..9_000_usize].prop_map(|n| Bytes::from(vec![n as u8; n]));
    prop::collection::vec(message, 0..20)
}

/// Feeds the bytes in pieces of these lengths, over and over.
fn fed(channel: Channel, bytes: &[u8], lengths: &[usize]) -> Result<Vec<Frame>, Refusal> {
    let mut decoder = Decoder::new(channel, VERSION_FIRST);
    let (mut frames, mut rest) = (Vec::new(), Bytes::copy_from_slice(bytes));
    for length in lengths.iter().cycle() {
        let mut piece = rest.split_to(rest.len().min(*length));
        while let Some(frame) = decoder.feed(&mut piece)? {
            frames.push(frame);
        }
        if rest.is_empty() {
            break;
        }
    }
    Ok(frames)
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..3_000_usize, 1..8)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        batches in prop::collection::vec(sent(), 1..5), lengths in pieces(),
    ) {
        let channel = Channel::Lane(Lane::Log);
        let bytes: Vec<_> =
            batches.iter().flat_map(|sent| frame::of_messages(VERSION_FIRST, channel, sent).concat()).collect();

        let frames = fed(channel, &bytes, &lengths).unwrap();

        let heard: Vec<Vec<_>> =
            frames.into_iter().map(|frame| frame::messages(frame.body).unwrap().collect()).collect();
        prop_assert_eq!(heard, batches);
    }

    #[test]
    fn any_bytes_are_refused_or_waited_on(
        channel in channels(), bytes in prop::collection::vec(any::<u8>(), 0..400), lengths in pieces(),
    ) {
        let frames = fed(channel, &bytes, &lengths);

        prop_assert!(frames.map_or(true, |frames| frames.is_empty()), "a checksum does not come by itself");
    }

    #[test]
    fn any_body_behind_a_good_head_is_survived(
        kind in prop::sample::select(vec![Kind::Messages, Kind::Hello, Kind::Ping, Kind::Welcome]),
        body in prop::collection::vec(any::<u8>(), 0..600),
        lengths in pieces(),
    ) {
        let pulse = Channel::Lane(Lane::Pulse);
        let bytes = frame::whole(VERSION_FIRST, pulse, kind, &body);

        let frames = fed(pulse, &bytes, &lengths).unwrap();

        prop_assert_eq!(frames.len(), 1);
        let told: usize = match frame::messages(frames[0].body.clone()) {
            Ok(messages) => messages.map(|message| message.len()).sum(),
            Err(_) => 0,
        };
        prop_assert!(told <= body.len());
        drop((Hello::decode(&body), Ping::decode(&body)));
    }

    #[test]
    fn a_byte_that_changed_on_the_way_is_never_heard(
        sent in sent(), at in any::<prop::sample::Index>(), flip in 1..=255_u8, lengths in pieces(),
    ) {
        let channel = Channel::Lane(Lane::Forward);
        let mut bytes = frame::of_messages(VERSION_FIRST, channel, &sent).concat();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;

        let frames = fed(channel, &bytes, &lengths);

        prop_assert!(frames.map_or(true, |frames| frames.is_empty()));
    }

    #[test]
    fn a_hello_that_was_harmed_is_read_or_refused(
        at in any::<prop::sample::Index>(), flip in 1..=255_u8, software in ".{0,40}", numbers in any::<[u64; 4]>(),
    ) {
        let [generation, start, durable, clock] = numbers;
        let hello = Hello {
            version_min: 1, version_max: 1, cluster: [3; 16], node: 2, generation, start, durable, feature: 0,
            software, address: "n2:7400".into(), clock,
        };
        let mut bytes = hello.encode();
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));

        let at = at.index(bytes.len());
        bytes[at] ^= flip;

        drop(Hello::decode(&bytes));
        drop(Hello::decode(&bytes[..at]));
    }
}

//! Any topic, filter and payload: each means one thing of the device's own, or is refused.

use proptest::prelude::*;
use twins::body::Body;
use twins::id::TwinId;

use super::super::filter;
use super::super::login::Rights;
use super::super::packet::Publish;
use super::super::publish::{Meaning, understand};
use super::super::topic::{self, Says};
use super::*;

const OWN: &str = "t-1";

/// Levels that mean something, wildcards, and anything else, in any order.
fn topic() -> impl Strategy<Value = String> {
    let known = [
        "twins",
        "me",
        "t-1",
        "t-2",
        "telemetry",
        "reported",
        "desired",
        "commands",
        "requests",
        "methods",
        "get",
        "done",
        "rejected",
        "progress",
        "reply",
        "document",
        "errors",
        "+",
        "#",
        "",
        "$share",
        "a?mid=1",
        "0198c0de-0000-7000-8000-000000000001",
    ];
    let level =
        prop_oneof![8 => prop::sample::select(known.to_vec()).prop_map(String::from), 1 => any::<String>()];
    let levels = prop::collection::vec(level, 0..7);
    let own = prop::sample::select(vec!["twins/me/", "twins/t-1/", ""]);
    (own, levels).prop_map(|(own, levels)| format!("{own}{}", levels.join("/")))
}

/// Texts that are JSON, almost JSON, and not at all.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        r#"{"a":1}"#,
        r#"{"status":200,"payload":null}"#,
        r#"{"status":99}"#,
        r#"[{"a":1},{"$time":"2026-01-01T00:00:00Z"}]"#,
        "1e999",
        "{",
        "nul",
        r#"{"a":1,"a":2}"#,
        "\"\\ud800\"",
        "",
    ];
    let deep = (1..200_usize).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat());
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => deep,
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

proptest! {
    #[test]
    fn any_topic_means_something_of_the_own_twin_or_nothing(topic in topic()) {
        if topic::read(&topic, OWN).is_ok() {
            prop_assert!(topic.starts_with("twins/me/") || topic.starts_with("twins/t-1/"), "{}", topic);
        }
    }

    #[test]
    fn no_filter_selects_more_than_the_own_twin(filter in topic()) {
        if let Ok(selected) = filter::topics(&filter, OWN) {
            prop_assert!(filter.starts_with("twins/me/") || filter.starts_with("twins/t-1/"), "{}", filter);
            prop_assert!(!selected.is_empty());
        }
    }

    #[test]
    fn any_publish_is_an_input_an_answer_or_a_refusal(
        topic in topic(),
        payload in payload(),
        content_type in prop::option::of(prop::sample::select(vec!["application/json", "text/plain", "", "a/b+json; c=d"])),
        text: bool,
    ) {
        let content_type = content_type.map(String::from);
        let publish = Publish { topic, payload: payload.clone().into(), content_type, text, ..Publish::default() };
        let twin = TwinId::in_default_tenant(OWN).unwrap();
        let rights = Rights { reads: true, speaks: true, controls: true };

        let meaning = understand(&publish, &twin, rights, &Options::default());

        match (topic::read(&publish.topic, OWN), meaning) {
            (Err(_), Ok(meaning)) => prop_assert!(false, "{:?} of an unknown topic", meaning),
            (Ok(Says::Sample { channel }), Ok(Meaning::Input(Input::Sample { channel: of, body }, _))) => {
                prop_assert_eq!(channel, of.as_str());
                // What is not JSON is kept as it came.
                if let Body::Octets { bytes, .. } = body {
                    prop_assert_eq!(&bytes[..], &payload[..]);
                }
            }
            _ => {}
        }
        let nobody = Rights { reads: false, speaks: false, controls: false };
        prop_assert!(understand(&publish, &twin, nobody, &Options::default()).is_err());
    }
}

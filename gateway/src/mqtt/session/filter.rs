//! From a topic filter to what a device hears by it.

use twins::session::{Subscription, Topic};

use super::reason::Reason;
use super::topic::{Unheard, below};

/// What a device can hear, below its own id.
const HEARD: [(Topic, &str); 7] = [
    (Topic::Desired, "desired"),
    (Topic::Commands, "commands"),
    (Topic::Requests, "requests/+/+"),
    (Topic::Methods, "methods/+/+/reply"),
    (Topic::Document, "document/+"),
    (Topic::Errors, "errors"),
    (Topic::Credentials, "credentials/+/+/reply"),
];

/// What the filter of the device `own` selects. A filter with wildcards may select several things; one that names a
/// single request, method or document selects these things all the same, and [`best`] leaves out what it does not name.
pub(super) fn topics(filter: &str, own: &str) -> Result<Vec<Topic>, Reason> {
    if filter.starts_with("$share/") {
        return Err(Reason::SharedSubscriptions);
    }
    if !is_well_formed(filter) {
        return Err(Reason::TopicFilter);
    }
    if filter.starts_with(['+', '#']) {
        return Err(Reason::NotAuthorized);
    }
    let below = below(filter, own).map_err(|unheard| match unheard {
        Unheard::Unknown if filter == "twins/#" => Reason::NotAuthorized,
        Unheard::Unknown => Reason::TopicFilter,
        Unheard::Foreign => Reason::NotAuthorized,
    })?;
    let selected = HEARD.iter().filter(|(_, heard)| meet(below, heard)).map(|(topic, _)| *topic);
    let selected: Vec<_> = selected.collect();
    if selected.is_empty() { Err(Reason::TopicFilter) } else { Ok(selected) }
}

/// The subscription with the highest quality of service that selects `topic` at `level`, the part of a topic's name
/// that follows the device.
pub(super) fn best<'a>(
    subscriptions: &'a [Subscription],
    topic: Topic,
    level: &str,
) -> Option<&'a Subscription> {
    let selects = |subscription: &&Subscription| {
        subscription.topic == topic && meet(split(&subscription.filter).1, level)
    };
    subscriptions.iter().filter(selects).max_by_key(|subscription| subscription.qos)
}

/// The numbers of all subscriptions that select `topic` at `level`, each once.
pub(super) fn identifiers(subscriptions: &[Subscription], topic: Topic, level: &str) -> Vec<u32> {
    let selects = |subscription: &&Subscription| {
        subscription.topic == topic && meet(split(&subscription.filter).1, level)
    };
    let mut all: Vec<_> = subscriptions.iter().filter(selects).filter_map(|s| s.identifier).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The topic at `level`, with the device spelled as in `filter`.
pub(super) fn spelled(filter: &str, level: &str) -> String {
    format!("{}/{level}", split(filter).0)
}

/// A filter's device (`twins/me`) and what follows it.
fn split(filter: &str) -> (&str, &str) {
    let at = filter.match_indices('/').nth(1).map_or(filter.len(), |(at, _)| at);
    (&filter[..at], filter.get(at + 1..).unwrap_or(""))
}

/// Whether some topic fits both of two filters; a topic is a filter that fits one.
fn meet(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
            _ => return false,
        }
    }
}

/// `#` stands for the last level only, and a wildcard fills its level.
fn is_well_formed(filter: &str) -> bool {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or("");
    let plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    !filter.is_empty() && (last == "#" || plain(last)) && levels.all(plain)
}

#[cfg(test)]
mod tests {
    use twins::name::Name;

    use super::*;

    #[track_caller]
    fn check(filter: &str, selected: Result<&[Topic], Reason>) {
        assert_eq!(topics(filter, "t-1"), selected.map(<[Topic]>::to_vec), "{filter}");
    }

    #[test]
    fn each_filter_selects_what_it_names() {
        check("twins/me/desired", Ok(&[Topic::Desired]));
        check("twins/t-1/commands", Ok(&[Topic::Commands]));
        check("twins/me/requests/+/+", Ok(&[Topic::Requests]));
        check("twins/me/requests/#", Ok(&[Topic::Requests]));
        check("twins/me/requests/reboot/+", Ok(&[Topic::Requests]));
        check("twins/me/methods/+/+/reply", Ok(&[Topic::Methods]));
        check("twins/me/document/17", Ok(&[Topic::Document]));
        check("twins/me/errors", Ok(&[Topic::Errors]));
        check("twins/me/credentials/+/+/reply", Ok(&[Topic::Credentials]));
        check("twins/me/+", Ok(&[Topic::Desired, Topic::Commands, Topic::Errors]));
        check("twins/me/#", Ok(&HEARD.map(|(topic, _)| topic)));
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for filter in [
            "twins/me/telemetry",
            "twins/me",
            "a/b",
            "",
            "twins/me/#/desired",
            "twins/me/des+",
            "twins/me/commands#",
        ] {
            check(filter, Err(Reason::TopicFilter));
        }
        for filter in ["#", "+/me/desired", "twins/#", "twins/+/desired", "twins/t-2/desired"] {
            check(filter, Err(Reason::NotAuthorized));
        }
        check("$share/g/twins/me/desired", Err(Reason::SharedSubscriptions));
    }

    #[test]
    fn a_message_goes_by_the_best_subscription_and_is_spelled_as_it_is() {
        let subscription = |filter: &str, topic, qos| {
            let filter = Name::filter(filter).unwrap();
            Subscription { filter, topic, qos, identifier: None }
        };
        let all = [
            subscription("twins/me/#", Topic::Document, 0),
            subscription("twins/t-1/document/a", Topic::Document, 1),
            subscription("twins/me/#", Topic::Errors, 0),
        ];

        let by = |level| best(&all, Topic::Document, level).map(|best| spelled(&best.filter, level));

        assert_eq!(by("document/a").unwrap(), "twins/t-1/document/a");
        assert_eq!(by("document/b").unwrap(), "twins/me/document/b");
        assert_eq!(best(&all, Topic::Desired, "desired"), None);
    }
}

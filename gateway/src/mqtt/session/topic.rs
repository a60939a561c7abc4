//! From the topic of a publish to what the device says by it.
//!
//! ```text
//! twins/{me or own id}/telemetry                                 twins/{..}/commands/{id}/{done or rejected or progress}
//! twins/{..}/telemetry/{channel}                                 twins/{..}/requests/{name}/{rid}/reply
//! twins/{..}/reported                                            twins/{..}/methods/{name}/{rid}
//! twins/{..}/credentials/{activate, rotate or renew}/{rid}       twins/{..}/get/{rid}
//! ```
//!
//! Each may end in `?mid={message id}`.

use twins::input;

/// The longest topic. A longer one ends the connection, since the codec may have to remember it under an alias.
pub(super) const TOPIC_BYTES_MAX: usize = 1024;

/// The first level of every topic.
const ROOT: &str = "twins";
/// The device's own id.
const ME: &str = "me";

impl Verb {
    const ALL: [Self; 3] = [Self::Activate, Self::Rotate, Self::Renew];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Rotate => "rotate",
            Self::Renew => "renew",
        }
    }
}

/// What a device says by a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says<'a> {
    Sample { channel: &'a str },
    Telemetry,
    Report,
    Outcome { id: &'a str, said: input::Said },
    Response { id: &'a str },
    Call { name: &'a str, id: &'a str },
    Get { id: &'a str },
    Credential { verb: Verb, id: &'a str },
}

/// What a device asks about its own credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Activate,
    Rotate,
    Renew,
}

/// Why a topic means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unheard {
    /// There is no such topic.
    Unknown,
    /// It is another device's.
    Foreign,
}

/// The message id behind a topic, where there is one, and the topic before it.
pub(super) fn split_mid(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once("?mid=") {
        Some((topic, mid)) => (topic, Some(mid)),
        None => (topic, None),
    }
}

/// What the device `own` says by a publish to `topic`.
pub(super) fn read<'a>(topic: &'a str, own: &str) -> Result<Says<'a>, Unheard> {
    let (topic, _) = split_mid(topic);
    let below = below(topic, own)?;
    let says = match below.split_once('/') {
        None if below == "telemetry" => Some(Says::Telemetry),
        None if below == "reported" => Some(Says::Report),
        // A channel of many instances is `name/key`.
        Some(("telemetry", channel)) if channel.matches('/').count() < 2 => Some(Says::Sample { channel }),
        Some(("commands", rest)) => match rest.split_once('/') {
            Some((id, "done")) => Some(Says::Outcome { id, said: input::Said::Done }),
            Some((id, "rejected")) => Some(Says::Outcome { id, said: input::Said::Rejected }),
            Some((id, "progress")) => Some(Says::Outcome { id, said: input::Said::Progress }),
            _ => None,
        },
        Some(("requests", rest)) => {
            let request = rest.strip_suffix("/reply").and_then(|request| request.rsplit_once('/'));
            request.map(|(_, id)| Says::Response { id })
        }
        Some(("methods", rest)) => rest.rsplit_once('/').map(|(name, id)| Says::Call { name, id }),
        Some(("credentials", rest)) => {
            let (verb, id) = rest.split_once('/').unwrap_or((rest, "/"));
            let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb && !id.contains('/'));
            verb.map(|verb| Says::Credential { verb, id })
        }
        Some(("get", id)) if !id.contains('/') => Some(Says::Get { id }),
        _ => None,
    };
    says.ok_or(Unheard::Unknown)
}

/// What follows the device in a topic or a filter of its own.
pub(super) fn below<'a>(topic: &'a str, own: &str) -> Result<&'a str, Unheard> {
    let (root, rest) = topic.split_once('/').ok_or(Unheard::Unknown)?;
    if root != ROOT {
        return Err(Unheard::Unknown);
    }
    let (device, below) = rest.split_once('/').ok_or(Unheard::Unknown)?;
    if device != ME && device != own {
        return Err(Unheard::Foreign);
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(topic: &str, says: Result<Says<'_>, Unheard>) {
        assert_eq!(read(topic, "t-1"), says);
        let by_id = topic.replacen("twins/me/", "twins/t-1/", 1);
        assert_eq!(read(&by_id, "t-1"), says);
    }

    #[test]
    fn each_topic_has_one_meaning() {
        check("twins/me/telemetry", Ok(Says::Telemetry));
        check("twins/me/telemetry/temperature", Ok(Says::Sample { channel: "temperature" }));
        check("twins/me/telemetry/phase/2", Ok(Says::Sample { channel: "phase/2" }));
        check("twins/me/reported", Ok(Says::Report));
        check("twins/me/commands/7/done", Ok(Says::Outcome { id: "7", said: input::Said::Done }));
        check("twins/me/commands/7/rejected", Ok(Says::Outcome { id: "7", said: input::Said::Rejected }));
        check("twins/me/commands/7/progress", Ok(Says::Outcome { id: "7", said: input::Said::Progress }));
        check("twins/me/requests/reboot/9/reply", Ok(Says::Response { id: "9" }));
        check("twins/me/methods/boost/1", Ok(Says::Call { name: "boost", id: "1" }));
        check("twins/me/get/1", Ok(Says::Get { id: "1" }));
        check("twins/me/credentials/activate/1", Ok(Says::Credential { verb: Verb::Activate, id: "1" }));
        check("twins/me/credentials/rotate/1", Ok(Says::Credential { verb: Verb::Rotate, id: "1" }));
        check("twins/me/credentials/renew/1", Ok(Says::Credential { verb: Verb::Renew, id: "1" }));
        check("twins/me/credentials/renew", Err(Unheard::Unknown));
    }

    #[test]
    fn what_the_server_says_and_what_nobody_says_is_unknown() {
        for topic in [
            "twins/me",
            "twins/me/",
            "twins",
            "",
            "a/b/c",
            "twins/me/desired",
            "twins/me/commands",
            "twins/me/get",
            "twins/me/credentials/rotate",
            "twins/me/credentials/revoke/1",
            "twins/me/credentials/rotate/1/reply",
        ] {
            assert_eq!(read(topic, "t-1"), Err(Unheard::Unknown), "{topic}");
        }
        check("twins/me/commands/7/maybe", Err(Unheard::Unknown));
        check("twins/me/telemetry/a/b/c", Err(Unheard::Unknown));
    }

    #[test]
    fn the_topics_of_another_device_are_its_own() {
        assert_eq!(read("twins/t-2/reported", "t-1"), Err(Unheard::Foreign));
        assert_eq!(read("twins/t-2/attach", "t-1"), Err(Unheard::Foreign));
    }

    #[test]
    fn a_message_id_may_stand_behind_any_topic() {
        check("twins/me/telemetry/phase/2?mid=a/7", Ok(Says::Sample { channel: "phase/2" }));
        assert_eq!(split_mid("twins/me/reported?mid=a/7"), ("twins/me/reported", Some("a/7")));
    }
}

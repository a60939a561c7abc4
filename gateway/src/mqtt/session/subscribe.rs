//! The device says what it wants to hear.

use std::time::Instant;

use twins::input::Input;
use twins::name::Name;
use twins::session::Subscription;

use super::Session;
use super::answer::{Own, Then};
use super::filter;
use super::packet::{Ack, Subscribe};
use super::reason::Reason;

/// How many filters one packet may have: more than a session keeps.
const FILTERS_MAX: usize = 64;

impl Session {
    pub(super) fn subscribe(&mut self, now: Instant, subscribe: Subscribe) {
        let Subscribe { id, filters, identifier } = subscribe;
        if filters.len() > FILTERS_MAX {
            return self.close(now, Reason::Quota, "too many filters in one packet");
        }
        let Some(device) = &self.device else { return };
        let own = device.twin.id();
        let mut subscriptions = Vec::new();
        let granted = |(filter, qos): &(String, u8)| {
            let selected = select(filter, *qos, identifier, own);
            selected.map_or_else(
                |reason| reason,
                |(reason, selected)| {
                    subscriptions.extend(selected);
                    reason
                },
            )
        };
        let reasons: Vec<Reason> = filters.iter().map(granted).collect();
        let then = Then::Subscribed { id, reasons, subscriptions: subscriptions.clone() };
        if subscriptions.is_empty() {
            self.queue.push_answered(now, then, Own::Done);
        } else {
            self.tell(now, Input::Subscribe(subscriptions), then);
        }
        self.settle(now);
    }

    /// The twin has committed it.
    pub(super) fn subscribed(&mut self, id: u16, reasons: &[Reason], subscriptions: Vec<Subscription>) {
        for subscription in subscriptions {
            self.subscriptions.retain(|before| !before.is_replaced_by(&subscription));
            self.subscriptions.push(subscription);
        }
        let refused = reasons.iter().any(|reason| reason.is_failure());
        let why = if refused { "a filter selects nothing that this device may hear" } else { "" };
        self.acknowledge(Ack::Suback { id, reasons, why });
    }

    pub(super) fn unsubscribe(&mut self, now: Instant, id: u16, filters: Vec<String>) {
        if filters.len() > FILTERS_MAX {
            return self.close(now, Reason::Quota, "too many filters in one packet");
        }
        let names: Vec<_> = filters.iter().map(|filter| Name::filter(filter).ok()).collect();
        let reason = |name: &Option<Name>| {
            if name.is_some() { Reason::Success } else { Reason::NotSubscribed }
        };
        let reasons = names.iter().map(reason).collect();
        let filters: Vec<Name> = names.into_iter().flatten().collect();
        let then = Then::Unsubscribed { id, reasons, filters: filters.clone() };
        if filters.is_empty() {
            self.queue.push_answered(now, then, Own::Done);
        } else {
            self.tell(now, Input::Unsubscribe(filters), then);
        }
        self.settle(now);
    }

    /// The twin has committed it.
    pub(super) fn unsubscribed(&mut self, id: u16, reasons: &[Reason], filters: &[Name]) {
        self.subscriptions.retain(|subscription| !filters.contains(&subscription.filter));
        self.acknowledge(Ack::Unsuback { id, reasons });
    }
}

/// What a filter selects, and what is granted.
fn select(
    filter: &str,
    qos: u8,
    identifier: Option<u32>,
    own: &str,
) -> Result<(Reason, Vec<Subscription>), Reason> {
    let topics = filter::topics(filter, own)?;
    let filter = Name::filter(filter).map_err(|_| Reason::TopicFilter)?;
    let reason = match qos {
        0 => Reason::Success,
        1 => Reason::GrantedQos1,
        _ => Reason::GrantedQos2,
    };
    let subscription = |topic| Subscription { filter: filter.clone(), topic, qos, identifier };
    Ok((reason, topics.into_iter().map(subscription).collect()))
}

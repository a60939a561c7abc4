//! Messages to the client, with their packet ids and aliases, and the release of what QoS 2 holds.
//!
//! The twins' packet ids are those up to [`PACKET_MAX`]; all other messages have higher ones.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, Packet as Coded, Property, Qos, SubscriptionIdentifier, TopicAlias, UserProperty, v3_1_1,
    v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use twins::handshake::PACKET_MAX;

use crate::trace::TRACEPARENT;

use super::super::packet::Message;
use super::{Codec, TooLarge};

/// More tries than packets are in flight.
const TRIES: usize = 1_024;

impl Codec {
    /// How many messages that are acknowledged the client takes at once, beside those that are on their way. `None`: it
    /// has not said.
    pub(in super::super) fn vacancy(&self) -> Option<u16> {
        self.connection.get_receive_maximum_vacancy_for_send()
    }

    /// Sends a message; under QoS 1 and 2 it returns the packet id that the client will acknowledge. To be called while
    /// there is a [vacancy](Codec::vacancy).
    pub(in super::super) fn publish(
        &mut self,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> Result<Option<u16>, TooLarge> {
        let id = match (message.qos, message.packet) {
            (0, _) => None,
            // A twin gives an id again only after the client has heard of its release.
            (_, Some(packet)) => {
                self.connection.register_packet_id(packet.id).map_err(|_| TooLarge)?;
                Some(packet.id)
            }
            (_, None) => Some(self.own_packet_id().ok_or(TooLarge)?),
        };
        let alias = self.alias(message);
        if let Some((alias, is_new)) = alias
            && let packet = self.message(message, id, Some((alias, is_new)))
            && self.send(packet, out)
        {
            if is_new {
                self.aliases.push(message.topic.clone());
            }
            return Ok(id);
        }
        // An alias may have made it larger than the client takes.
        if alias.is_none_or(|(_, is_new)| is_new) {
            let packet = self.message(message, id, None);
            if self.send(packet, out) {
                return Ok(id);
            }
        }
        id.map(|id| self.connection.release_packet_id(id));
        Err(TooLarge)
    }

    /// Releases the packet id of a message that the client said it has.
    pub(in super::super) fn release(&mut self, id: u16, out: &mut Vec<u8>) {
        let packet = self.pubrel(id);
        self.send(packet, out);
    }

    /// Releases the packet id of a message that went over an earlier connection; `false` while it cannot. To be called
    /// while there is a [vacancy](Codec::vacancy).
    ///
    /// The codec counts what is in flight by the messages that it sent itself, and would count below zero when this
    /// release is answered. So it is made to believe that it sent the message, and that the client has it.
    pub(in super::super) fn release_again(&mut self, id: u16, out: &mut Vec<u8>) -> bool {
        if self.inside || self.connection.register_packet_id(id).is_err() {
            return false;
        }
        if self.vacancy().is_some() {
            let [high, low] = id.to_be_bytes();
            let message =
                v5_0::Publish::builder().topic_name("t").map(|publish| publish.qos(Qos::ExactlyOnce));
            let message = message.and_then(|publish| publish.packet_id(id).build()).map(Coded::from);
            self.send(message, &mut Vec::new());
            let _believed = self.connection.recv(&mut Cursor::new(&[0x50, 2, high, low][..]));
        }
        self.release(id, out);
        true
    }

    fn own_packet_id(&mut self) -> Option<u16> {
        (0..TRIES).find_map(|_| {
            self.last = if self.last == u16::MAX { PACKET_MAX + 1 } else { self.last + 1 };
            self.connection.register_packet_id(self.last).is_ok().then_some(self.last)
        })
    }

    /// The alias of a message's topic, and whether the client does not know it yet.
    fn alias(&self, message: &Message) -> Option<(u16, bool)> {
        let known = self.aliases.iter().position(|topic| *topic == message.topic);
        let is_new = known.is_none();
        let place = known
            .or_else(|| Some(self.aliases.len()).filter(|&place| message.often && place < self.aliases_max));
        place.and_then(|place| u16::try_from(place + 1).ok()).map(|alias| (alias, is_new))
    }

    fn message(
        &self,
        message: &Message,
        id: Option<u16>,
        alias: Option<(u16, bool)>,
    ) -> Result<Coded, MqttError> {
        let Message { topic, payload, content_type, packet, trace, identifiers, .. } = message;
        let qos = match message.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        };
        let again = packet.is_some_and(|packet| packet.again);
        if !self.is_v5() {
            let publish = v3_1_1::Publish::builder().topic_name(topic.as_str())?.qos(qos).packet_id(id);
            return publish.dup(again).payload(&payload[..]).build().map(Coded::from);
        }
        let mut properties: Vec<Property> = Vec::new();
        if let Some(content_type) = content_type {
            properties.push(ContentType::new(content_type.as_str())?.into());
        }
        if let Some(trace) = trace {
            properties.push(UserProperty::new(TRACEPARENT, trace.traceparent())?.into());
        }
        for identifier in identifiers {
            properties.push(SubscriptionIdentifier::new(*identifier)?.into());
        }
        if let Some((alias, _)) = alias {
            properties.push(TopicAlias::new(alias)?.into());
        }
        let topic = if let Some((_, false)) = alias { "" } else { topic.as_str() };
        let publish = v5_0::Publish::builder().topic_name(topic)?.qos(qos).packet_id(id).dup(again);
        publish.props(properties).payload(&payload[..]).build().map(Coded::from)
    }

    fn pubrel(&self, id: u16) -> Result<Coded, MqttError> {
        if self.is_v5() {
            return v5_0::Pubrel::builder().packet_id(id).build().map(Coded::from);
        }
        v3_1_1::Pubrel::builder().packet_id(id).build().map(Coded::from)
    }
}

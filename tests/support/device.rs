//! A device: a third party's MQTT client, and what it has been promised.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, PubAck, PubRec, QoS};
use serde_json::Value;

/// A connection of a device, with the numbers of what it said.
pub struct Device {
    pub client: AsyncClient,
    events: EventLoop,
    /// What was handed to the client and has no packet id yet.
    said: VecDeque<u64>,
    on_the_way: HashMap<u16, u64>,
}

/// What happened on the connection.
#[derive(Debug)]
pub enum Happened {
    /// The node acknowledged what was said under this number.
    Acknowledged(u64),
    /// A message came.
    Message { topic: String, payload: Value },
    /// The connection is there; the session was there before.
    Connected { session_present: bool },
    /// What was subscribed to is.
    Subscribed,
    /// Nothing that a test looks at.
    Other,
}

impl Device {
    /// Makes a client; it connects when it is polled.
    pub fn new(address: SocketAddr, id: &str, keep: bool) -> Self {
        Self::with_key(address, id, keep, "")
    }

    /// The same with a key of its own.
    pub fn with_key(address: SocketAddr, id: &str, keep: bool, key: &str) -> Self {
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_credentials(id, key).set_clean_session(!keep).set_keep_alive(Duration::from_secs(5));
        // The client takes a packet id again while the release of its last message is not complete, if it comes round to
        // it, and after a reconnect says the new message first: to the node that is the old one. So it gets many ids.
        options.set_max_packet_size(1 << 20, 1 << 20).set_inflight(20_000);
        let (client, events) = AsyncClient::new(options, 64);
        Self { client, events, said: VecDeque::new(), on_the_way: HashMap::new() }
    }

    /// Publishes with QoS 1 under a number, if the client has room.
    pub fn say(&mut self, number: u64, topic: &str, payload: &Value) -> bool {
        self.say_with(QoS::AtLeastOnce, number, topic, payload)
    }

    /// Publishes with QoS 1 or 2 under a number, if the client has room.
    pub fn say_with(&mut self, qos: QoS, number: u64, topic: &str, payload: &Value) -> bool {
        let said = self.client.try_publish(topic, qos, false, payload.to_string());
        if said.is_ok() {
            self.said.push_back(number);
        }
        said.is_ok()
    }

    /// What happens next; an error when the connection is gone. A call after an error connects again, and says again what
    /// was not acknowledged.
    pub async fn next(&mut self) -> Result<Happened, rumqttc::ConnectionError> {
        Ok(match self.events.poll().await? {
            Event::Outgoing(Outgoing::Publish(id)) if id != 0 => {
                // What is on the way already is said again.
                if !self.on_the_way.contains_key(&id)
                    && let Some(number) = self.said.pop_front()
                {
                    self.on_the_way.insert(id, number);
                }
                Happened::Other
            }
            Event::Incoming(Packet::PubAck(PubAck { pkid, .. }) | Packet::PubRec(PubRec { pkid, .. })) => {
                self.on_the_way.remove(&pkid).map_or(Happened::Other, Happened::Acknowledged)
            }
            Event::Incoming(Packet::Publish(publish)) => Happened::Message {
                payload: serde_json::from_slice(&publish.payload).unwrap_or(Value::Null),
                topic: publish.topic,
            },
            Event::Incoming(Packet::ConnAck(ack)) => {
                Happened::Connected { session_present: ack.session_present }
            }
            Event::Incoming(Packet::SubAck(_)) => Happened::Subscribed,
            _ => Happened::Other,
        })
    }
}

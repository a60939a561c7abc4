//! A device that is online: a third party's MQTT client whose connection a thread keeps, so that a test may say
//! something, wait for what comes, and look at it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode};
use serde_json::Value;

use super::node::PATIENCE;

/// A connection of a device, in MQTT 3.1.1.
pub struct Online {
    client: Client,
    packets: Receiver<Packet>,
    /// What came while something else was awaited.
    heard: VecDeque<(String, Value)>,
    /// The session was there before.
    pub resumed: bool,
}

impl Online {
    /// Connects, with a session that ends with the connection, or (`keep`) outlives it.
    ///
    /// # Panics
    /// If it is not let in.
    pub fn connect(address: SocketAddr, id: &str, keep: bool) -> Self {
        Self::connect_with(address, id, "", keep)
    }

    /// The same with a key.
    pub fn connect_with(address: SocketAddr, id: &str, key: &str, keep: bool) -> Self {
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_credentials(id, key).set_clean_session(!keep).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, 64);
        let (sender, packets) = mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let goes_on = match event {
                    Ok(Event::Incoming(packet)) => sender.send(packet).is_ok(),
                    Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => false,
                    Ok(Event::Outgoing(_)) => true,
                };
                if !goes_on {
                    return;
                }
            }
        });
        let mut online = Self { client, packets, heard: VecDeque::new(), resumed: false };
        online.resumed = online.wait("a CONNACK", |packet| match packet {
            Packet::ConnAck(ack) => Some(ack.session_present),
            _ => None,
        });
        online
    }

    /// Publishes with QoS 1, and waits for the acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).expect("the client runs");
        self.wait("a PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(()));
    }

    pub fn report(&mut self, patch: &Value) {
        self.publish("twins/me/reported", patch.to_string());
    }

    /// Subscribes with QoS 1, and waits until that is granted.
    pub fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).expect("the client runs");
        let granted = self.wait("a SUBACK", |packet| match packet {
            Packet::SubAck(ack) => Some(ack.return_codes.clone()),
            _ => None,
        });
        assert_eq!(granted, [SubscribeReasonCode::Success(QoS::AtLeastOnce)], "{filter}");
    }

    /// The next message, which has to be on this topic, or below it where it ends in `/`.
    pub fn hear(&mut self, topic: &str) -> (String, Value) {
        let heard = match self.heard.pop_front() {
            Some(heard) => heard,
            None => self.wait(topic, |packet| match packet {
                Packet::Publish(publish) => Some(message(publish)),
                _ => None,
            }),
        };
        let fits = if topic.ends_with('/') { heard.0.starts_with(topic) } else { heard.0 == topic };
        assert!(fits, "{topic} was expected: {heard:?}");
        heard
    }

    /// The next message on exactly this topic.
    pub fn hear_on(&mut self, topic: &str) -> Value {
        self.hear(topic).1
    }

    /// Says goodbye, and waits until the node has closed the connection.
    pub fn leave(self) {
        self.client.disconnect().expect("the client runs");
        while self.packets.recv_timeout(PATIENCE).is_ok() {}
    }

    /// Waits for the end of the connection.
    pub fn await_end(self) {
        loop {
            match self.packets.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the connection did not end"),
            }
        }
    }

    /// What a packet is, once there is one that is it; messages that come before it are kept.
    fn wait<T>(&mut self, what: &str, is: impl Fn(&Packet) -> Option<T>) -> T {
        loop {
            let packet = self.packets.recv_timeout(PATIENCE);
            let packet = packet.unwrap_or_else(|error| panic!("waiting for {what}: {error}"));
            if let Some(found) = is(&packet) {
                return found;
            }
            if let Packet::Publish(publish) = &packet {
                self.heard.push_back(message(publish));
            }
        }
    }
}

fn message(publish: &rumqttc::Publish) -> (String, Value) {
    (publish.topic.clone(), serde_json::from_slice(&publish.payload).unwrap_or(Value::Null))
}

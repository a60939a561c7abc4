//! Simulated thermostats: real MQTT clients, each with a small room that its heater warms.
//!
//! A thermostat is one task: it drives its connection, and once a second it steps its [room] and says how warm it is.
//! What it is told, its [`Device`] answers; both are plain state machines. rumqttc is named in this file only.

mod device;
mod room;

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use device::{Device, Message};

/// How often each thermostat samples its room.
const PERIOD: Duration = Duration::from_secs(1);
/// How long to wait before connecting again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// What waits to be sent, and what waits to be acknowledged, for each device: ten seconds of samples.
const IN_FLIGHT_MAX: u16 = 10;

/// Simulated thermostats that run until they are stopped.
pub(crate) struct Thermostats(JoinSet<()>);

impl Thermostats {
    /// Starts `thermostat-0001` to `thermostat-{count}` as tasks of the runtime that it is called in. Each keeps
    /// connecting to `mqtt`; their connects and samples are spread over the second.
    pub(crate) fn start(mqtt: SocketAddr, count: u32) -> Self {
        let begin = Instant::now();
        let thermostat = |number| {
            let ticks = interval_at(begin + PERIOD * number / count, PERIOD);
            run(number, options(mqtt, number), ticks)
        };
        Self((1..=count).map(thermostat).collect())
    }

    /// Ends them and their connections.
    pub(crate) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// The device id of a simulated thermostat.
pub(crate) fn name(number: u32) -> String {
    format!("thermostat-{number:04}")
}

fn options(mqtt: SocketAddr, number: u32) -> MqttOptions {
    let host = match mqtt.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let mut options = MqttOptions::new(name(number), host, mqtt.port());
    options
        .set_credentials(name(number), "")
        .set_keep_alive(Duration::from_secs(60))
        .set_inflight(IN_FLIGHT_MAX);
    options
}

/// Runs one thermostat for ever.
async fn run(number: u32, options: MqttOptions, mut ticks: Interval) {
    let mut device = Device::new(number);
    // Nobody misses what a device did not sample while it was held up; it keeps to its part of the second.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let (back_off, back_off_max) = BACK_OFF;
    let (client, mut connection) = AsyncClient::new(options, IN_FLIGHT_MAX.into());
    let (mut connected, mut pause) = (false, back_off);
    loop {
        let event = {
            // Polled to its end: it may be in the middle of a packet when the clock ticks.
            let mut event = pin!(connection.poll());
            loop {
                tokio::select! {
                    event = &mut event => break event,
                    _ = ticks.tick() => {
                        let sample = device.sample(PERIOD);
                        if connected {
                            say(&client, [sample]);
                        }
                    }
                }
            }
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                (connected, pause) = (true, back_off);
                for topic in ["twins/me/commands", "twins/me/desired"] {
                    drop(client.try_subscribe(topic, QoS::AtLeastOnce));
                }
                say(&client, [device.introduction()]);
            }
            Ok(Event::Incoming(Packet::Publish(Publish { topic, payload, .. }))) => {
                say(&client, device.hear(&topic, &payload));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(twin = name(number), %error, "a simulated thermostat lost its connection");
                connected = false;
                sleep(pause).await;
                pause = (pause * 2).min(back_off_max);
            }
        }
    }
}

/// Sends messages. Full means that the node acknowledges more slowly than the device speaks; it is a simulation, so that
/// what does not fit is dropped.
fn say(client: &AsyncClient, messages: impl IntoIterator<Item = Message>) {
    for Message { topic, body } in messages {
        if client.try_publish(topic, QoS::AtLeastOnce, false, body.to_string()).is_err() {
            tracing::debug!("a simulated thermostat dropped a message");
        }
    }
}

//! The flags that every verb which runs a node has: how it uses memory and disk, and how fast it may be spoken to.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use clap::Args;
use gateway::quotas;
use runtime::directory;

use crate::node::Settings;

/// Limits of a node.
#[derive(Args)]
pub(super) struct Limits {
    /// Write what changed to the state store at the latest after so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = checkpoint_every_ms())]
    checkpoint_every_ms: u64,
    /// Write what changed to the state store after so many bytes of a shard's log
    #[arg(long, value_name = "BYTES", default_value_t = shard().checkpoint_bytes)]
    checkpoint_bytes: u64,
    /// Keep what happened for so many seconds, at most an eighth longer
    #[arg(long, value_name = "S", default_value_t = streams().keep_for.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    keep_for_s: u64,
    /// Keep so many bytes of what happened, in equal parts for each of the 64 shards
    #[arg(long, value_name = "BYTES", default_value_t = streams().keep_bytes)]
    keep_bytes: NonZeroU64,
    /// Begin so many MQTT connections a second; more wait until it is their turn
    #[arg(long, value_name = "N", default_value_t = mqtt().connects_per_s)]
    connects_per_s: NonZeroU32,
    /// Take so many packets and requests of a device a second; over MQTT it is held back until more are read
    #[arg(long, value_name = "N", default_value_t = device().0)]
    each_device_messages_per_s: NonZeroU32,
    /// Take so many bytes of a device a second, in the same way
    #[arg(long, value_name = "BYTES", default_value_t = device().1)]
    each_device_bytes_per_s: NonZeroU32,
    /// Register so many devices of a tenant, where the tenant has no limit of its own [default: as many as come]
    #[arg(long, value_name = "N")]
    each_tenant_devices: Option<NonZeroU32>,
    /// Let so many MQTT connections of a tenant in at once, in the same way [default: as many as come]
    #[arg(long, value_name = "N")]
    each_tenant_connections: Option<NonZeroU32>,
    /// Take so many packets and requests of a tenant a second, in the same way [default: as many as come]
    #[arg(long, value_name = "N")]
    each_tenant_messages_per_s: Option<NonZeroU32>,
    /// Let so many streams of events of a tenant be open, in the same way
    #[arg(long, value_name = "N", default_value_t = open().0)]
    each_tenant_streams: NonZeroU32,
    /// Let so many calls of a tenant's devices wait, in the same way
    #[arg(long, value_name = "N", default_value_t = open().1)]
    each_tenant_waits: NonZeroU32,
    /// Let so many MQTT connections of one address in at once [default: 10000 in `serve`, else as many as come]
    #[arg(long, value_name = "N")]
    address_connections: Option<NonZeroU32>,
    /// Let so many MQTT connections of one address begin a second; more wait [default: 500 in `serve`, else as many as come]
    #[arg(long, value_name = "N")]
    address_connects_per_s: Option<NonZeroU32>,
    /// Cut a stream of events whose client takes nothing of it for so many seconds
    #[arg(long, value_name = "S", default_value_t = http_stall_s(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    http_stall_s: u64,
    /// Memory for the twins of each of the 64 shards, past which those not in use are passivated
    #[arg(long, value_name = "BYTES", default_value_t = shard().memory_bytes)]
    shard_memory_bytes: usize,
}

impl Limits {
    /// What a node is set to.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            shard: runtime::shard::Options {
                checkpoint_every: Duration::from_millis(self.checkpoint_every_ms),
                checkpoint_bytes: self.checkpoint_bytes,
                memory_bytes: self.shard_memory_bytes,
                tenant_devices_max: self.each_tenant_devices,
                ..shard()
            },
            streams: runtime::stream::Options {
                keep_for: Duration::from_secs(self.keep_for_s),
                keep_bytes: self.keep_bytes,
                ..streams()
            },
            mqtt: gateway::mqtt::Options { connects_per_s: self.connects_per_s, ..mqtt() },
            http: gateway::http::Options {
                stall_timeout: Duration::from_secs(self.http_stall_s),
                ..Default::default()
            },
            quotas: quotas::Options {
                tenant: directory::Limits {
                    devices: None,
                    connections: self.each_tenant_connections,
                    messages_per_s: self.each_tenant_messages_per_s,
                    streams: Some(self.each_tenant_streams),
                    waits: Some(self.each_tenant_waits),
                    device_messages_per_s: Some(self.each_device_messages_per_s),
                    device_bytes_per_s: Some(self.each_device_bytes_per_s),
                },
                address_connections: self.address_connections,
                address_connects_per_s: self.address_connects_per_s,
            },
        }
    }
}

/// How many messages and bytes are taken of a device a second where nothing is said.
fn device() -> (NonZeroU32, NonZeroU32) {
    let directory::Limits { device_messages_per_s, device_bytes_per_s, .. } =
        quotas::Options::default().tenant;
    (device_messages_per_s.unwrap_or(NonZeroU32::MAX), device_bytes_per_s.unwrap_or(NonZeroU32::MAX))
}

/// How many streams and waiting calls a tenant has where nothing is said.
fn open() -> (NonZeroU32, NonZeroU32) {
    let directory::Limits { streams, waits, .. } = quotas::Options::default().tenant;
    (streams.unwrap_or(NonZeroU32::MAX), waits.unwrap_or(NonZeroU32::MAX))
}

/// How what happened is kept where nothing is said.
fn streams() -> runtime::stream::Options {
    runtime::stream::Options::default()
}

/// How a shard uses memory and disk where nothing is said.
fn shard() -> runtime::shard::Options {
    runtime::shard::Options::default()
}

fn mqtt() -> gateway::mqtt::Options {
    gateway::mqtt::Options::default()
}

fn checkpoint_every_ms() -> u64 {
    u64::try_from(shard().checkpoint_every.as_millis()).unwrap_or(u64::MAX)
}

fn http_stall_s() -> u64 {
    gateway::http::Options::default().stall_timeout.as_secs()
}

//! The composition root: a node's parts, put together and taken apart in mirror order.

mod error;
mod parts;
mod registered;
mod start;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::Storage;
use cluster::member::Member;
use cluster::others::Others;
use gateway::{http, mqtt};
use runtime::node::Node;
#[cfg(target_os = "linux")]
use runtime::router::Router;
use twins::header::{Header, Principal};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::DEVICE;
use twins::name::Name;

pub(crate) use error::{Error, NobodyMayEnter, NotStopped, next};
pub(crate) use parts::{
    Company, Doors, Entrance, Found, MakeAccess, Options, ReadMaster, Settings, log_options,
};
pub(crate) use registered::make_known;

/// The number of a node that is alone.
pub(crate) const LONE: u64 = 1;

/// How long a stop may take: the requests and sessions that are there, and the last checkpoints.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A node that runs.
pub(crate) struct Running {
    storage: Arc<Storage>,
    others: Arc<Others>,
    member: Member,
    node: Node,
    mqtt: mqtt::Listener,
    http: http::Server,
}

impl Running {
    /// The handle on its twins.
    #[cfg(target_os = "linux")]
    pub(crate) fn router(&self) -> &Router {
        self.node.router()
    }

    /// Where MQTT listens, in the order of its doors.
    pub(crate) fn mqtt(&self) -> &[SocketAddr] {
        self.mqtt.local_addrs()
    }

    /// Where HTTP listens, in the order of its doors.
    pub(crate) fn http(&self) -> &[SocketAddr] {
        self.http.local_addrs()
    }

    /// Where other nodes reach it, if it listens for any and knows.
    pub(crate) fn address(&self) -> Option<&str> {
        self.member.address()
    }

    /// Registers devices before they connect; those that are there already stay what they are.
    pub(crate) async fn register(&self, names: impl Iterator<Item = String>, kind: &'static str) {
        let known = self.node.router().kinds().get(kind).is_some();
        let kind = Name::fixed(if known { kind } else { DEVICE });
        for name in names {
            let Ok(twin) = TwinId::in_default_tenant(&name) else { continue };
            let header = Header { principal: Principal::System, ..Header::default() };
            let input = Input::Register { kind: kind.clone(), tags: None, with: None };
            if let Err(error) = self.node.router().ask(twin, header, input).await {
                tracing::warn!(%name, %error, "a device could not be registered");
            }
        }
    }
}

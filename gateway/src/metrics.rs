//! The metrics of the gateway: what `/metrics` says of connections, packets and requests.
//!
//! Labels are transports, reasons, routes as they are written in the table, methods and classes of statuses: there are
//! few of each, whatever clients send.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use runtime::access::Denied;
use runtime::meter::{Exposition, Histogram, Metric};
use twins::header::Transport;

use crate::quotas::Limit;

/// MQTT.
pub const MQTT_CONNECTIONS: Metric =
    Metric::new("twinfold_mqtt_connections", "MQTT connections that are open, by transport");
/// MQTT.
pub const MQTT_ACCEPTED: Metric =
    Metric::new("twinfold_mqtt_accepted_connections", "MQTT connections that were accepted, by transport");
/// MQTT.
pub const MQTT_CLOSES: Metric = Metric::new(
    "twinfold_mqtt_closes",
    "MQTT connections that ended, by the reason that the twin's history has",
);
/// MQTT.
pub const MQTT_PACKETS: Metric =
    Metric::new("twinfold_mqtt_packets", "MQTT packets, by direction: in or out");
/// MQTT.
pub const MQTT_BYTES: Metric = Metric::new("twinfold_mqtt_bytes", "Bytes of MQTT, by direction: in or out");
/// MQTT.
pub const MQTT_PAUSES: Metric = Metric::new(
    "twinfold_mqtt_pauses",
    "How often an MQTT connection was not read for a while because it spoke faster than it may",
);
/// Who was not let in.
pub const AUTH_FAILURES: Metric = Metric::new(
    "twinfold_auth_failures",
    "Callers that were not let in or not allowed, by protocol and reason: credentials, name, rights, later, limit",
);
/// What was refused because there was enough of it.
pub const LIMITS_REACHED: Metric = Metric::new(
    "twinfold_limits_reached",
    "How often somebody was refused something, or closed, since a limit was reached, by the limit's name",
);
/// HTTP.
pub const HTTP_SECONDS: Metric = Metric::new(
    "twinfold_http_request_duration_seconds",
    "HTTP requests until their answer began, by route, method and class of the status; its count is that of the requests",
);

/// The transports of MQTT, as labels name them.
const TRANSPORTS: [Transport; 4] =
    [Transport::Mqtt, Transport::MqttTls, Transport::MqttWebSocket, Transport::MqttQuic];
const DENIALS: [&str; 5] = ["credentials", "name", "rights", "later", "limit"];
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What listeners and servers of one node count. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    open: [AtomicU64; TRANSPORTS.len()],
    accepted: [AtomicU64; TRANSPORTS.len()],
    /// Touched once for each connection, when it ends.
    closes: Mutex<BTreeMap<&'static str, u64>>,
    packets: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    pauses: AtomicU64,
    denials: [[AtomicU64; DENIALS.len()]; 2],
    limits: [AtomicU64; Limit::ALL.len()],
    routes: Vec<&'static str>,
    /// A row for each route and one for what is none; a histogram for each method and class.
    requests: Vec<Histogram>,
}

/// The way a caller came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt,
    Http,
}

/// An open connection: counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Open {
    metrics: Metrics,
    transport: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let routes = crate::http::paths();
        let requests =
            (0..=routes.len()).flat_map(|_| (0..METHODS.len() * CLASSES.len()).map(|_| Histogram::default()));
        let requests = requests.collect();
        Self(Arc::new(Counts {
            open: Default::default(),
            accepted: Default::default(),
            closes: Mutex::default(),
            packets: Default::default(),
            bytes: Default::default(),
            pauses: AtomicU64::default(),
            denials: Default::default(),
            limits: Default::default(),
            routes,
            requests,
        }))
    }
}

impl Metrics {
    /// A connection was accepted.
    pub(crate) fn opened(&self, transport: Transport) -> Open {
        let transport = TRANSPORTS.iter().position(|one| *one == transport).unwrap_or(0);
        self.0.open[transport].fetch_add(1, Relaxed);
        self.0.accepted[transport].fetch_add(1, Relaxed);
        Open { metrics: self.clone(), transport }
    }

    /// A connection ended. There are few reasons.
    pub(crate) fn closed(&self, reason: &'static str) {
        *self.closes().entry(reason).or_default() += 1;
    }

    /// So many packets in so many bytes came in.
    pub(crate) fn received(&self, packets: u64, bytes: u64) {
        self.0.packets[0].fetch_add(packets, Relaxed);
        self.0.bytes[0].fetch_add(bytes, Relaxed);
    }

    /// So many packets in so many bytes went out.
    pub(crate) fn sent(&self, packets: u64, bytes: u64) {
        self.0.packets[1].fetch_add(packets, Relaxed);
        self.0.bytes[1].fetch_add(bytes, Relaxed);
    }

    /// So many pauses of a connection began.
    pub(crate) fn paused(&self, pauses: u64) {
        if pauses > 0 {
            self.0.pauses.fetch_add(pauses, Relaxed);
        }
    }

    /// Somebody was not let in, or may not do something.
    pub(crate) fn denied(&self, protocol: Protocol, denied: &Denied) {
        let reason = match denied {
            Denied::Unauthenticated(_) => 0,
            Denied::BadName(_) => 1,
            Denied::Forbidden(_) => 2,
            Denied::Later(_) => 3,
            Denied::Limited { .. } => 4,
        };
        self.0.denials[protocol as usize][reason].fetch_add(1, Relaxed);
    }

    /// A limit was reached, and somebody refused something.
    pub(crate) fn limited(&self, limit: Limit) {
        self.0.limits[limit as usize].fetch_add(1, Relaxed);
    }

    /// A request was answered. `route` is as the table of routes has it.
    pub(crate) fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let row = route.and_then(|route| self.0.routes.iter().position(|known| *known == route));
        let row = row.unwrap_or(self.0.routes.len());
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.0.requests[(row * METHODS.len() + method) * CLASSES.len() + class].record(took);
    }

    fn closes(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.closes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.0.open[self.transport].fetch_sub(1, Relaxed);
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (page, counts) = (&mut Exposition::new(encoder), &*self.0);
        let read = |cell: &AtomicU64| cell.load(Relaxed);
        let transports = || TRANSPORTS.into_iter().map(|transport| [("transport", transport.as_str())]);
        let open = counts.open.iter().map(|cell| read(cell) as f64);
        page.gauges(MQTT_CONNECTIONS, transports().zip(open))?;
        page.counters(MQTT_ACCEPTED, transports().zip(counts.accepted.iter().map(read)))?;
        let closes = self.closes().clone();
        page.counters(MQTT_CLOSES, closes.into_iter().map(|(reason, n)| ([("reason", reason)], n)))?;
        let directions = || ["in", "out"].into_iter().map(|direction| [("direction", direction)]);
        page.counters(MQTT_PACKETS, directions().zip(counts.packets.iter().map(read)))?;
        page.counters(MQTT_BYTES, directions().zip(counts.bytes.iter().map(read)))?;
        page.counter(MQTT_PAUSES, read(&counts.pauses))?;
        let denials = ["mqtt", "http"].into_iter().zip(&counts.denials).flat_map(|(protocol, reasons)| {
            let reasons = DENIALS.into_iter().zip(reasons);
            reasons.map(move |(reason, n)| ([("protocol", protocol), ("reason", reason)], read(n)))
        });
        page.counters(AUTH_FAILURES, denials)?;
        let limits = Limit::ALL.into_iter().zip(&counts.limits);
        page.counters(LIMITS_REACHED, limits.map(|(limit, n)| ([("limit", limit.as_str())], read(n))))?;
        let requests = counts.requests.iter().enumerate().filter_map(|(place, histogram)| {
            let distribution = histogram.read();
            let (rest, class) = (place / CLASSES.len(), place % CLASSES.len());
            let (row, method) = (rest / METHODS.len(), rest % METHODS.len());
            let route = counts.routes.get(row).copied().unwrap_or("none");
            let labels = [("route", route), ("method", METHODS[method]), ("status", CLASSES[class])];
            (distribution.count() > 0).then_some((labels, distribution))
        });
        page.histograms(HTTP_SECONDS, requests)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_clients_make_up_adds_no_label() {
        let metrics = Metrics::default();
        for n in 0..100 {
            metrics.answered(Some(&format!("/v1/{n}")), &format!("M{n}"), 900, Duration::ZERO);
        }

        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();

        let line =
            r#"twinfold_http_request_duration_seconds_count{route="none",method="other",status="5xx"} 100"#;
        assert!(page.contains(line), "{page}");
        assert_eq!(page.matches("duration_seconds_count").count(), 1);
    }

    #[test]
    fn a_connection_is_counted_while_it_lives() {
        let metrics = Metrics::default();
        let open = metrics.opened(Transport::MqttTls);
        assert_eq!(metrics.0.open[1].load(Relaxed), 1);
        drop(open);
        assert_eq!((metrics.0.open[1].load(Relaxed), metrics.0.accepted[1].load(Relaxed)), (0, 1));
    }
}

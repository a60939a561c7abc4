//! Where devices and people connect: MQTT 3.1.1 and 5, and HTTP.
//!
//! The gateway holds no truth: what it is told it hands to the twins through the
//! [`Router`](runtime::router::Router), and it acknowledges when they have committed it. A gateway that dies loses
//! connections and nothing else: sessions, queues and what was acknowledged live with the twins.
//!
//! # The types, in the order one meets them
//! [`mqtt::Listener`] and [`http::Server`] each listen at their [`door::Door`]s, with [`tls`] or without, and serve the
//! twins of one router until they are stopped. Both count in [`metrics::Metrics`], and let nobody take more than
//! [`quotas::Quotas`] say; [`http::Watch`] is what `/metrics`
//! and `/readyz` show of the whole node. What all ways out have in common is in two modules: [`document`] is a twin as
//! JSON, [`envelope`] a record of the streams.
//!
//! ```no_run
//! use std::sync::Arc;
//! use gateway::{door::Door, http, metrics::Metrics, mqtt, quotas::Quotas, trust::provisioning::Provisioning};
//! use runtime::{directory::Definitions, operations::Alone, router::Router};
//!
//! # async fn serve(router: Router, directory: Arc<dyn Definitions>, keys: Provisioning) -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Metrics::default();
//! let quotas = Quotas::new(Default::default(), router.clone(), metrics.clone());
//! let asked = router.clone();
//! let watch = http::Watch {
//!     metrics: metrics.clone(),
//!     registry: Arc::default(),
//!     unready: Arc::new(move || asked.unready()),
//!     operations: Arc::new(Alone { node: 1 }),
//! };
//! // HTTP first, so that whoever watches the node sees what it waits for.
//! let doors = [Door::plain(([127, 0, 0, 1], 8080).into())];
//! let (options, way) = (http::Options::default(), router.clone());
//! let http = http::Server::start(options, &doors, way, directory, keys.clone(), quotas.clone(), watch)?;
//! let doors = vec![Door::plain(([127, 0, 0, 1], 1883).into())];
//! let mqtt = mqtt::Listener::start(mqtt::Options::default(), doors, router, keys, quotas, metrics).await?;
//! println!("MQTT on {:?}, HTTP on {:?}", mqtt.local_addrs(), http.local_addrs());
//!
//! // Whoever came last goes first.
//! mqtt.stop().await;
//! http.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! (Not run here: a router comes with a node, whose log and store are other rooms'. `tests/` of the root package runs
//! whole nodes.)
//!
//! # What is promised
//! * A PUBACK, a PUBREC, a status of HTTP leave after what they answer is durable, in the order of what they answer.
//! * A *permanent* refusal is answered in the protocol's own way: a reason code and a message on `errors`, or a problem
//!   (RFC 9457) with a stable `code` and the next step. A *transient* one is never acknowledged: the session says the same
//!   again under the same number, and after [`answer_timeout`](mqtt::Options::answer_timeout) the connection ends with a
//!   reason; HTTP answers 503 with `Retry-After`.
//! * Nothing that arrives makes memory grow past what the `Options` add up to: each connection's worst case stands there.
//!   What is full stops reading, or refuses and names the limit.
//! * Bytes of any kind cause a refusal, never a panic: `mqtt/session/tests/hostile.rs`, `mqtt/session/tests/fuzz.rs`.
//!
//! # Limits and units
//! Sizes are bytes, timeouts [`Duration`](std::time::Duration)s. By default: MQTT with 50,000 connections, 256 packets
//! and 1 MiB in flight for each; HTTP with 1,024 connections and 64 followers of the streams; payloads of 256 KiB; answers
//! within 20 s. [`mqtt::Options`] and [`http::Options`] say what too
//! small and too large cost.
//!
//! # Errors
//! Starting fails as the system says, mostly because the address is in use. What goes wrong afterwards is told to the
//! client it concerns, and counted ([`metrics`]).
//!
//! # What it is not
//! No broker: a message goes to the sender's own twin, there are no retained messages, and no client hears another one.
//! It does not decide who may come in: [`runtime::access`] does.

#![warn(missing_docs)]

pub mod audit;
mod descriptors;
pub mod document;
pub mod door;
pub mod egress;
pub mod envelope;
pub mod head;
pub mod http;
mod kept;
pub mod metrics;
pub mod mqtt;
mod network;
mod pace;
mod peer;
pub mod quotas;
pub mod tls;
mod trace;
pub mod trust;

//! The HTTP API: JSON over HTTP/1.1, for people and their programs.
//!
//! A request passes the `guard`, is matched against the one table in `routes`, proves who it comes from and what it
//! may do in `caller`, and becomes an input like any other. Whatever goes wrong on the way is a `problem`: every
//! answer that is not a success has that one shape.
//!
//! actix-web is named in this folder only.

mod access;
mod audit;
mod authorities;
mod backup;
mod body;
mod caller;
mod certificates;
mod cluster;
mod commands;
mod devices;
mod etag;
mod following;
mod governed;
mod groups;
mod guard;
mod health;
mod history;
mod kinds;
mod lifecycle;
mod me;
mod methods;
mod metrics;
mod names;
mod once;
mod openapi;
mod options;
mod order;
mod page;
mod people;
mod policies;
mod problem;
mod provision;
mod query;
mod readable;
mod replace;
mod requests;
mod routes;
mod server;
mod tenants;
mod tokens;
mod trusted;
mod twins;
mod wait;

pub use health::Watch;
pub use options::Options;
pub use server::Server;

/// The paths of all routes, as metrics name them.
pub(crate) fn paths() -> Vec<&'static str> {
    routes::table().into_iter().map(|(path, _)| path).collect()
}

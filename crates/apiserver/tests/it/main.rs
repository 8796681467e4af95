//! The API server from the outside: in the process, over TLS, and with the real kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod access;
mod aggregation;
mod audit;
mod bounds;
mod contract;
mod custom;
mod custom_schema;
mod elsewhere;
mod extension;
mod groups;
mod http;
mod interleaving;
mod kinds;
mod kubectl;
mod kubectl_apply;
mod limits;
mod local;
mod many;
mod node;
mod ownership;
mod policies;
mod refused;
mod server;
mod versions;
mod watched;
mod webhooks;
mod wire;

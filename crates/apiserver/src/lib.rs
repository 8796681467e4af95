//! The API server: one generic path for every kind.
//!
//! ```text
//!  HTTP: http::serve ─▶ authn ─▶ info ─▶ decode ─┐
//!                                                ├─▶ authz ─▶ dispatch ─▶ registry ─▶ Store::txn
//!  in process: local::LocalTransport ────────────┘               │            │
//!                                                       row (machinery), admission, rest hooks
//!  Store::watch ─▶ cache ─▶ lists and watches of all
//! ```
//!
//! Begin with [`ApiServer`]; then `server.rs` (who may do what, which verb goes where), then
//! `registry/` (what the verbs do). Errors become HTTP in one place, `http/status.rs`.

#![allow(unexpected_cfgs, reason = "`fuzzing` is set by cargo-fuzz")]
#![allow(
    clippy::result_large_err,
    reason = "a Status is the end of a request; a box would be one more thing to take off"
)]

mod access;
mod admission;
mod aggregation;
mod audit;
mod authn;
mod authz;
mod bootstrap;
mod cache;
mod callout;
mod compaction;
mod custom;
mod detach;
mod discovery;
mod document;
mod expiry;
mod flowcontrol;
#[cfg(fuzzing)]
pub mod fuzzing {
    //! Doors for fuzzing.
    pub use crate::http::fuzzing::request;
    pub use crate::streams::fuzzing::spdy;
}
mod http;
mod identity;
mod local;
mod metered;
mod metrics;
mod openapi;
mod registry;
mod rest;
mod sealing;
mod served;
mod server;
mod streams;
mod upsert;
mod versions;
mod webhook;

pub use access::{Access, Anonymous, RequestHeader};
pub use admission::{Plugins, UnknownPlugin};
pub use aggregation::FrontProxy;
pub use audit::{AuditOptions, AuditWebhook, Log, Place as LogPlace};
pub use authn::{StaticTokens, TokenWebhook, User};
pub use authz::Mode;
pub use sealing::{sealed_prefixes, sealed_resources};
pub use server::{ApiServer, Error, Options, VERSION};

//! How every component talks to the API server: transport, typed and dynamic client, informers,
//! work queue, events, node connector.
//!
//! Begin with [`Transport`]: two operations, `call` and `watch`. In the process of the API server
//! it is a function call through the whole filter chain (`apiserver::local`); from anywhere else it
//! is HTTP/2 over TLS ([`tls`]). Components cannot tell which one they hold.

pub mod node;
pub mod transport;

pub use transport::{
    Body, Error, EventStream, EventType, ListMeta, ListOptions, PatchKind, Request, Response,
    Transport, WatchEvent, WatchSpec, WriteOptions,
};

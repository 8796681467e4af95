//! How every component talks to the API server: transport, typed and dynamic client, informers,
//! work queue, events, node connector.
//!
//! Begin with [`Transport`]: `call`, `watch`, and what others serve. In the process of the API server
//! it is a function call through the whole filter chain (`apiserver::local`); from anywhere else it
//! is HTTP/2 over TLS ([`http::HttpTransport`]). Components cannot tell which one they hold.
//!
//! A component reads through [`SharedInformers`], decides on a [`WorkQueue`], writes with a
//! [`Client`] and says what it did with an event [`Recorder`](events::Recorder).

mod client;
mod credentials;
pub mod events;
pub mod exec;
pub mod http;
pub mod informer;
mod key;
pub mod kubeconfig;
pub mod node;
pub mod port_forward;
pub mod queue;
pub mod resolve;
pub mod testing;
pub mod tls;
pub mod transport;
pub mod typed;

pub use crate::http::HttpTransport;
pub use client::{Client, Deleted, Patch};
pub use informer::{Cache, Change, Index, Project, SharedInformers, Source, Stopped, Subscription};
pub use key::ObjectKey;
pub use queue::{Next, WorkQueue};
pub use tls::{Config, ConfigError, Impersonation, Token};
pub use transport::{
    Body, Error, EventStream, EventType, ListMeta, ListOptions, PatchKind, Request, Response,
    Transport, WatchEvent, WatchSpec, WriteOptions,
};
pub use typed::Api;

//! Informers: a collection kept in memory, as the projection that its reader needs.
//!
//! [`SharedInformers`] runs one informer a collection and type in a process. What it hands out is
//! a [`Cache`]: lists, indexes, and a [`Subscription`] to what changes. The reader names its type:
//! a typed kind, a struct of a few fields, [`HeadOnly`] or [`Whole`]; the object is decoded once
//! per event, and nothing else of it is kept.
//!
//! ```no_run
//! # async fn example(informers: onggi_client::SharedInformers) -> Result<(), onggi_client::Stopped> {
//! use onggi_api::core::Pod;
//! use onggi_client::Source;
//!
//! let pods = informers.informer::<Pod>(Source::of::<Pod>());
//! let by_node = pods.index("node", |pod| {
//!     pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect()
//! });
//! pods.synced().await?;
//! println!("{} of {} pods on n1", by_node.get("n1").len(), pods.len());
//! # Ok(()) }
//! ```

mod cache;
mod project;
mod reflect;
mod shared;
mod subscribe;

pub use cache::{Cache, Index, Stopped};
pub use project::{HeadOnly, Keep, Project, Whole};
pub use shared::{SharedInformers, Source};
pub use subscribe::{Change, Subscription};

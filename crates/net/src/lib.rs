//! The pod network, address management and the service proxy.
//!
//! Begin with [`NodeNetwork`]: one a node, it gives pods their addresses and installs what the node
//! needs for all of them. [`Proxy`] keeps the kernel's maps of Services as [`proxy::plan`] says.
//!
//! Everything in the kernel is found again by the instance id ([`Instance`]), never from memory:
//! interfaces and the nftables table carry it in their names, routes in their metric.

pub mod check;
pub mod error;
pub mod instance;
pub mod ipam;
pub mod node;
mod pod;
pub mod proxy;
mod purge;
mod ruleset;

pub use check::{Problem, check};
pub use error::Error;
pub use instance::Instance;
pub use node::{NodeNetwork, Options};
pub use onggi_api::Cidr;
pub use proxy::Proxy;

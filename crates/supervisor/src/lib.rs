//! The roles: which components run, in which order, with which first objects and certificates. The
//! only crate that names all components.

pub mod binary;
pub mod certificates;
pub mod check;
pub mod control;
pub mod daemon;
pub mod down;
mod drain;
pub mod keys;
pub mod lock;
pub mod node;
pub mod options;
pub mod paths;
pub mod socket;
pub mod workloads;

pub use control::{Control, Identity};
pub use onggi_apiserver::Mode;
pub use options::Options;
pub use paths::Paths;

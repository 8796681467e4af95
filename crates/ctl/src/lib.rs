//! The command line's verbs: what `kubectl` does, for whoever has none.
//!
//! [`Verb`] is the tree of subcommands with their flags; a program flattens it into its own and
//! calls [`Verb::run`]. A verb is one file of [`verbs`]: its flags and what it does. All of them
//! work on a [`Session`]: the global flags, the connection, where to print. Below them stand
//! [`apply`], [`kustomize`], [`jsonpath`] and [`output`], which others may use too.

pub mod apply;
mod complete;
pub mod describe;
pub mod discovery;
pub mod duration;
mod error;
pub mod flags;
pub mod gather;
mod glob;
pub use onggi_machinery::jsonpath;
pub mod kuberc;
pub mod kustomize;
pub mod manifest;
mod noise;
pub mod output;
mod path;
pub mod plugin;
pub mod rollout;
pub mod select;
mod session;
mod terminal;
pub mod verbs;

pub use error::Error;
pub use session::{Connection, Globals, Io, Session};
pub use verbs::{Verb, ended};

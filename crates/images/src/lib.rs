//! Images: content store, pull and push, unpacking, the Dockerfile builder.
//!
//! What is on disk (`images/` below the data directory):
//! - `blobs/sha256/HEX`: manifests, configurations, layers as they came. They are the truth: synced
//!   before they are visible, and their name is their digest.
//! - `layers/ID/fs`: a layer unpacked on top of its parents, for overlayfs. Derived from blobs at
//!   any time.
//! - `refs.json`: names, each pointing at a manifest.
//! - `holds/CONTAINER`: layers that a container uses.
//! - `cache/KEY`: results of build steps.
//! - `tmp/`: whatever is not finished; emptied when the store opens.
//!
//! Blocking code is in the modules that touch files; [`Images`] is the asynchronous face.

#![allow(unexpected_cfgs, reason = "`fuzzing` is set by cargo-fuzz")]

pub mod archive;
pub mod body;
pub mod build;
pub mod client;
pub mod error;
pub mod http;
pub mod login;
pub mod progress;
pub mod reference;
pub mod registry;
mod remote;
mod service;
pub mod spec;
pub mod store;
mod transfer;
pub mod unpack;

pub use error::{Error, Result};
pub use progress::{Event, Progress};
pub use reference::Reference;
pub use service::{Images, Options};
pub use spec::Digest;

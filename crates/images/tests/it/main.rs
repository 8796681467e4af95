//! Tests of the store, the unpacker, archives, registries and the builder.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests too.
#![allow(unreachable_pub)] // One binary: nothing is reachable from outside.

mod archive;
mod build;
mod interop;
mod socket;
mod store;
mod support;
mod transfer;
mod unpack;

//! Tests of the store: the contract on every back end, and what only a disk can do to it.

// The whole crate is a test; the lints know only the functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod durable;
mod faults;
#[allow(unsafe_code)] // SQLite takes a disk only as a table of C functions.
mod faulty_disk;
mod kill;
mod model;
mod power_cut;
mod sealed;
mod support;

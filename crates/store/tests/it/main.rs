//! Tests of the store: the contract on every back end, and what only a disk can do to it.

mod contract;
mod durable;
mod faults;
#[allow(unsafe_code)] // SQLite takes a disk only as a table of C functions.
mod faulty_disk;
mod kill;
mod power_cut;
mod support;

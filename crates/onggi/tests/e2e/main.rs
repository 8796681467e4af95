//! End-to-end tests: the real binary, real containers, a cluster of its own for each test.
//!
//! Every cluster lives in a network namespace and a data directory of its own, so that tests run
//! side by side; it is ended and swept when the test ends, also when it fails. Without root they
//! skip and say so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod faults;
mod functional;
mod helm;
mod images;
mod machine;
mod network;
mod rig;
mod seeds;
mod workloads;

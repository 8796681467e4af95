//! The controllers on a real API server with a memory store: do they bring things to where they
//! should be?

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

mod aggregated;
mod bootstrap;
mod chosen;
mod endings;
mod endpoints;
mod nodes;
mod policies;
mod quotas;
mod replication;
mod workloads;

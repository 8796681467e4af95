//! The network of a node in network namespaces of its own: real packets, real kernel. Needs root;
//! without it each test says so and passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in helpers of tests

mod lab;
mod node;
mod services;

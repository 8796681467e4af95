//! The verbs on a real API server in this process, beside the real kubectl where it is installed.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests too.

mod changes;
mod describe;
mod generators;
mod newer;
mod server;
mod streams;
mod verbs;

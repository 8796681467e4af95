//! The Dockerfile builder.

pub mod cache;

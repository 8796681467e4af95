//! The controllers on a real API server with a memory store: do they bring things to where they
//! should be?

mod world;

mod endings;
mod nodes;
mod workloads;

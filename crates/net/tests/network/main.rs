//! The network of a node in network namespaces of its own: real packets, real kernel. Needs root;
//! without it each test says so and passes.

mod lab;
mod node;
mod services;

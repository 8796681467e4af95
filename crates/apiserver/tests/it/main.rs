//! The API server from the outside: in the process, over TLS, and with the real kubectl.

mod contract;
mod http;
mod kubectl;
mod local;
mod node;
mod server;

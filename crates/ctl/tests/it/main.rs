//! The verbs on a real API server in this process, beside the real kubectl where it is installed.

mod describe;
mod server;
mod verbs;

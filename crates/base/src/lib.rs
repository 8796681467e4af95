//! What every component stands on: tasks, clock, back-off, PKI, tracing.
//!
//! A component is an `Options`, a `Service` with `run(shutdown)`, a cheap `Handle` and an `Error`;
//! [`task::Tasks`] runs the services by name and ends them together.

pub mod backoff;
pub mod clock;
pub mod files;
pub mod logging;
pub mod pki;
pub mod task;

pub use clock::{Clock, SystemClock};
pub use task::{Shutdown, Tasks};

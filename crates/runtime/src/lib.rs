//! The container runtime: pod sandboxes, containers, shim, exec, logs.
//!
//! ```text
//! daemon ──── socket ────▶ shim of a pod ──fork──▶ init ──execve──▶ program
//!   Runtime                 holds namespaces,        mounts, user,
//!   plans, records          logs, exit codes         seccomp
//! ```
//! The daemon decides (`plan`), the shim (`shim`, one process a pod, never more than one thread)
//! forks and watches, and the child (`init`) builds its root file system in a mount namespace of
//! its own: nothing is ever mounted on the node, so nothing stays behind. A daemon that comes back
//! asks the shims what happened.
//!
//! We fork by ourselves and not through libcontainer: without C libraries it applies neither
//! seccomp profiles nor, on cgroup v2, any device policy, and `start` cannot tell why a program
//! could not be run.

mod daemon;
mod init;
mod plan;
mod protocol;
pub mod shim;
mod spec;
mod wire;

pub use daemon::{Options, Runtime};

//! The container runtime: pod sandboxes, containers, shim, exec, logs.

//! What every component stands on: tasks, clock, back-off, PKI, tracing.

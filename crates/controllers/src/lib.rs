//! The controllers: each a pure plan and a thin shell on one harness.

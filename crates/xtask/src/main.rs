//! Chores of the workspace: code generation and tidy checks.

fn main() {}

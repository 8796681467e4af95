//! The binary: arguments, signals, `demo`.

fn main() {}

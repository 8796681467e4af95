//! What it does.

mod lifecycle;

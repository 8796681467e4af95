//! What it does.

mod debug;
mod exec;
mod lifecycle;
mod probes;
mod run;
mod settings;

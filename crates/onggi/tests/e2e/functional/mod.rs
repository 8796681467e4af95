//! What it does.

mod exec;
mod lifecycle;
mod probes;
mod run;
mod settings;

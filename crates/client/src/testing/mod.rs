//! For tests: an API server that is only a map ([`FakeApi`]), and what every [`crate::Transport`]
//! must do ([`contract`]).

pub mod contract;
mod fake;
mod selection;
mod state;

pub use fake::FakeApi;

//! The client against the fake API server, in memory and over TLS.

// The whole crate is a test; the lints know only the functions marked as such.
#![allow(clippy::unwrap_used, clippy::panic)]

mod events;
mod exec;
mod http;
mod informer;
mod kubeconfig;
mod queue;
mod server;

use onggi_client::testing::{FakeApi, contract};

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    contract::run(FakeApi::new().transport()).await;
}

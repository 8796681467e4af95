//! The client against the fake API server, in memory and over TLS.

mod informer;
mod queue;

use onggi_client::testing::{FakeApi, contract};

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    contract::run(FakeApi::new().transport()).await;
}

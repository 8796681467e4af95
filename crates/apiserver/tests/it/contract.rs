//! The contract of a transport, in the process and over TLS; and that both see the same.

use std::sync::Arc;

use futures::StreamExt;
use onggi_client::testing::contract;
use onggi_client::{Config, HttpTransport, Transport, WatchSpec};
use onggi_machinery::resource::by_any_name;
use serde_json::json;

use crate::server::Server;

fn over_tls(s: &Server) -> Arc<dyn Transport> {
    let server = format!("https://{}", s.address);
    let config = Config::new(server, s.authority.certificate()).client(s.admin.clone());
    Arc::new(HttpTransport::new(&config).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_process() {
    let s = Server::start().await;
    contract::run(Arc::clone(&s.transport)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls() {
    let s = Server::start().await;
    contract::run(over_tls(&s)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_every_change_once_and_in_order() {
    const CHANGES: usize = 500;
    let s = Server::start().await;
    let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
    spec.namespace = "default".into();
    let mut watchers = Vec::new();
    for transport in [Arc::clone(&s.transport), over_tls(&s), over_tls(&s)] {
        let mut events = transport.watch(spec.clone()).await.unwrap();
        watchers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < CHANGES {
                let event = events.next().await.unwrap().unwrap();
                if !event.initial_events_end {
                    seen.push((event.kind.as_str(), event.object.head().resource_version));
                }
            }
            seen
        }));
    }
    let writers = (0..10).map(|w| {
        let s = &s;
        async move {
            for i in 0..CHANGES / 20 {
                let name = format!("c{w}-{i}");
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                });
                s.create("cm", "default", object).await.unwrap();
                s.delete("cm", "default", &name).await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let mut all = Vec::new();
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        assert!(seen.is_sorted_by(|a, b| a.1 < b.1));
        assert_eq!(seen.iter().filter(|(kind, _)| *kind == "ADDED").count(), CHANGES / 2);
        all.push(seen);
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

//! ConfigMaps of 1 KB created durably through TLS, by 1, 16 and 64 connections: SQLite with its
//! syncs, the whole chain from socket to answer, clients in the same process.
//!
//! `cargo bench -p onggi-apiserver`; `ONGGI_BENCH_SECONDS` sets how long each step takes (3).

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use onggi_apiserver::{ApiServer, Options, User};
use onggi_base::SystemClock;
use onggi_base::pki::{Authority, server_config};
use onggi_client::{Body, Config, HttpTransport, Request, Transport};
use onggi_machinery::resource::{Verb, by_any_name};
use onggi_store::{Store, sqlite};
use serde_json::json;
use tokio::net::TcpListener;

/// Creates until the time is over; latencies in microseconds.
async fn client(transport: Arc<dyn Transport>, prefix: String, until: Instant) -> Vec<u64> {
    let resource = by_any_name("configmaps").unwrap().gvr();
    let payload = "x".repeat(900);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": format!("{prefix}-{}", latencies.len())},
            "data": {"payload": payload},
        });
        let request = Request::new(Verb::Create, resource.clone(), "default", "");
        let began = Instant::now();
        transport.call(request.body(Body::Object(object))).await.unwrap();
        latencies.push(began.elapsed().as_micros() as u64);
    }
    latencies
}

#[tokio::main]
async fn main() {
    let seconds = std::env::var("ONGGI_BENCH_SECONDS").ok().and_then(|s| s.parse().ok());
    let step = Duration::from_secs(seconds.unwrap_or(3));
    let now = time::OffsetDateTime::now_utc();
    let authority = Authority::generate("bench", now).unwrap();
    let local = [[127, 0, 0, 1].into()];
    let pair = authority.issue_server("api", &["localhost".into()], &local, now).unwrap();
    let admin = authority.issue_client("admin", Some("system:masters"), now).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(sqlite::open(&sqlite::Options::new(directory.path().join("store"))).unwrap());
    let server = ApiServer::open(Options {
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        node_ports: 30000..=32767,
        token_key: admin.key.clone(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        access: onggi_apiserver::Access::default(),
    })
    .await
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    server.bootstrap(address).await.unwrap();
    let tls = Arc::new(server_config(&pair, authority.certificate()).unwrap());
    tokio::spawn(Arc::clone(&server).serve(listener, tls));

    let config = Config::new(format!("https://{address}"), authority.certificate()).client(admin);
    let in_process = server.transport(User::new("bench", &["system:masters"]));
    println!("{:<24} {:>10} {:>10} {:>10}", "writers", "creates/s", "p50 µs", "p99 µs");
    for (way, writers) in [("TLS", 1), ("TLS", 16), ("TLS", 64), ("in process", 16)] {
        let began = Instant::now();
        let clients = (0..writers).map(|i| {
            let transport: Arc<dyn Transport> = if way == "TLS" {
                Arc::new(HttpTransport::new(&config).unwrap())
            } else {
                Arc::clone(&in_process)
            };
            let prefix = format!("{}-{writers}-{i}", way.to_ascii_lowercase().replace(' ', "-"));
            tokio::spawn(client(transport, prefix, began + step))
        });
        let mut all = Vec::new();
        for latencies in futures::future::join_all(clients).await {
            all.extend(latencies.unwrap());
        }
        all.sort_unstable();
        let rate = all.len() as f64 / began.elapsed().as_secs_f64();
        let (p50, p99) = (all[all.len() / 2], all[all.len() * 99 / 100]);
        println!("{:<24} {rate:>10.0} {p50:>10} {p99:>10}", format!("{writers}, {way}"));
    }
    server.close();
    store.close().await;
}

//! Durable ConfigMap creates through TLS, beside etcd's own bare writes of as many bytes: the same
//! number of connections, the same disk, the same client code, turn by turn.
//!
//! `cargo bench -p onggi --bench store_writes`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::etcd::{self, Etcd};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, percentile, process, row, skipped, title};
use http::{Request, StatusCode};
use http_body_util::Full;
use onggi_client::Config;
use serde_json::json;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);

/// One round of one server.
struct Round {
    /// Writes a second.
    rate: f64,
    /// How long one takes, in milliseconds.
    p50: f64,
    p99: f64,
    /// Processor time of the server for one, in milliseconds.
    cpu: f64,
}

/// A client of one of the two.
enum Writer {
    Onggi(Connection, String),
    Etcd(Connection, Bytes),
}

/// Whom to ask.
#[derive(Clone)]
enum Server {
    Onggi(Box<Config>),
    /// With the value to write.
    Etcd(Bytes),
}

fn main() {
    let Some(cluster) = Cluster::up() else { return };
    let config = common::config(&cluster);
    let ours = Server::Onggi(Box::new(config));
    let size = common::in_namespace(&cluster, async || ours.writer().await.write("first").await);
    let etcd = Etcd::start(&cluster, &cluster.data().with_file_name("etcd"));
    let theirs = Server::Etcd(Bytes::from(vec![b'x'; size]));
    let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
    // The round before the first warms up.
    for round in 0..=ROUNDS {
        let found = etcd.as_ref().map(|etcd| measure(&cluster, &theirs, etcd.pid(), round));
        let mine = measure(&cluster, &ours, cluster.daemon(), round);
        if round > 0 {
            their_rounds.extend(found);
            our_rounds.push(mine);
        }
    }
    title(&format!(
        "durable writes, {CONNECTIONS} connections, {size} bytes stored, medians of {ROUNDS} rounds of {} s, load {}",
        TIME.as_secs(),
        process::load()
    ));
    let rate = report("ConfigMaps created through TLS", &our_rounds);
    if etcd.is_none() {
        return skipped("etcd");
    }
    let peer = report("etcd, bare Put without TLS", &their_rounds);
    let ratios: Vec<_> =
        our_rounds.iter().zip(&their_rounds).map(|(o, t)| o.rate / t.rate).collect();
    row("ratio, by rounds", format!("{:.2}", median(&ratios)), "target 1.00 or more");
    row("ratio of the medians", format!("{:.2}", rate / peer), "");
}

/// All connections write until the time is over.
fn measure(cluster: &Cluster, server: &Server, pid: i32, round: usize) -> Round {
    let before = process::cpu(pid);
    let (elapsed, latencies) = common::in_namespace(cluster, async || {
        let writers = (0..CONNECTIONS).map(|_| server.writer());
        let writers = futures::future::join_all(writers).await;
        let began = Instant::now();
        let tasks = writers.into_iter().enumerate().map(|(number, mut writer)| {
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < TIME {
                    let name = format!("bench-{round}-{number}-{}", latencies.len());
                    let start = Instant::now();
                    writer.write(&name).await;
                    latencies.push(start.elapsed().as_secs_f64() * 1e3);
                }
                latencies
            })
        });
        let mut all = Vec::new();
        for latencies in futures::future::join_all(tasks).await {
            all.extend(latencies.unwrap());
        }
        (began.elapsed().as_secs_f64(), all)
    });
    let count = latencies.len() as f64;
    Round {
        rate: count / elapsed,
        p50: median(&latencies),
        p99: percentile(&latencies, 0.99),
        cpu: (process::cpu(pid) - before) * 1e3 / count,
    }
}

fn report(what: &str, rounds: &[Round]) -> f64 {
    let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
    let rate = of(|r| r.rate);
    let beside = format!(
        "p50 {:.2} ms, p99 {:.1} ms, {:.3} ms of CPU each",
        of(|r| r.p50),
        of(|r| r.p99),
        of(|r| r.cpu)
    );
    row(what, format!("{rate:.0}/s"), beside);
    rate
}

// === impl Server ===

impl Server {
    async fn writer(&self) -> Writer {
        match self {
            Self::Onggi(config) => {
                let path = "/api/v1/namespaces/default/configmaps";
                Writer::Onggi(Connection::tls(config).await, format!("{}{path}", config.server))
            }
            Self::Etcd(value) => Writer::Etcd(etcd::connect().await, value.clone()),
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Writes durably; answers how many bytes were stored.
    async fn write(&mut self, name: &str) -> usize {
        match self {
            Self::Etcd(connection, value) => {
                let key = format!("/registry/configmaps/default/{name}");
                etcd::put(connection, &key, value).await;
                value.len()
            }
            Self::Onggi(connection, uri) => {
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": name}, "data": {"payload": "x".repeat(900)},
                });
                let request = Request::post(uri.as_str())
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(object.to_string())))
                    .unwrap();
                let (parts, body) = connection.send(request).await;
                let body = body.to_bytes();
                assert_eq!(parts.status, StatusCode::CREATED, "{body:?}");
                body.len()
            }
        }
    }
}

//! Durable ConfigMap creates through TLS by HTTP/1.1 and HTTP/2, beside etcd's own bare writes of as
//! many bytes: the same number of connections, the same disk, the same client code, turn by turn.
//!
//! `cargo bench -p onggi --bench store_writes`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::etcd::{self, Etcd};
use common::plane::{self, CONFIG_MAPS};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, percentile, process, row, skipped, title};
use http::{Request, StatusCode};
use http_body_util::Full;
use onggi_client::Config;

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
    /// With the address of the server and that of the collection.
    Onggi(Connection, String, String),
    Etcd(Connection, Bytes),
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// Whom to ask.
#[derive(Clone)]
enum Server {
    Onggi(Protocol, Box<Config>),
    /// With the value to write.
    Etcd(Bytes),
}

fn main() {
    let Some(cluster) = Cluster::up() else { return };
    let config = common::config(&cluster);
    let ours = |protocol| Server::Onggi(protocol, Box::new(config.clone()));
    let (http1, http2) = (ours(Protocol::Http1), ours(Protocol::Http2));
    let size = common::in_namespace(&cluster, async || http2.writer().await.write("first").await);
    let etcd = Etcd::start(&cluster, &cluster.data().with_file_name("etcd"));
    let theirs = Server::Etcd(Bytes::from(vec![b'x'; size]));
    let (mut by_http1, mut by_http2, mut their_rounds) = (Vec::new(), Vec::new(), Vec::new());
    // The round before the first warms up.
    for round in 0..=ROUNDS {
        let found = etcd.as_ref().map(|etcd| measure(&cluster, &theirs, etcd.pid(), round));
        let mine =
            [&http1, &http2].map(|server| measure(&cluster, server, cluster.daemon(), round));
        if round > 0 {
            let [first, second] = mine;
            their_rounds.extend(found);
            by_http1.push(first);
            by_http2.push(second);
        }
    }
    title(&format!(
        "durable writes, {CONNECTIONS} connections, {size} bytes stored, medians of {ROUNDS} rounds of {} s, load {}",
        TIME.as_secs(),
        process::load()
    ));
    report("ConfigMaps created through TLS by HTTP/1.1", &by_http1);
    report("ConfigMaps created through TLS by HTTP/2", &by_http2);
    if etcd.is_none() {
        return skipped("etcd");
    }
    report("etcd, bare Put without TLS", &their_rounds);
    for (what, ours) in [("ratio by HTTP/1.1", by_http1), ("ratio by HTTP/2", by_http2)] {
        let pairs = ours.iter().zip(&their_rounds);
        let ratios: Vec<_> = pairs.map(|(ours, theirs)| ours.rate / theirs.rate).collect();
        row(what, format!("{:.2}", median(&ratios)), "median of the rounds, target 1.00 or more");
    }
}

/// All connections write until the time is over.
fn measure(cluster: &Cluster, server: &Server, pid: i32, round: usize) -> Round {
    let before = process::cpu(pid);
    let series = server.series();
    let (elapsed, latencies) = common::in_namespace(cluster, async || {
        let writers = (0..CONNECTIONS).map(|_| server.writer());
        let writers = futures::future::join_all(writers).await;
        let began = Instant::now();
        let tasks = writers.into_iter().enumerate().map(|(number, mut writer)| {
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < TIME {
                    let name = format!("{series}-{round}-{number}-{}", latencies.len());
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

fn report(what: &str, rounds: &[Round]) {
    let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
    let beside = format!(
        "p50 {:.2} ms, p99 {:.1} ms, {:.3} ms of CPU each",
        of(|r| r.p50),
        of(|r| r.p99),
        of(|r| r.cpu)
    );
    row(what, format!("{:.0}/s", of(|r| r.rate)), beside);
}

// === impl Server ===

impl Server {
    /// Begins the names of what is written: no two write the same.
    fn series(&self) -> &'static str {
        match self {
            Self::Onggi(Protocol::Http1, _) => "http1",
            Self::Onggi(Protocol::Http2, _) => "http2",
            Self::Etcd(_) => "etcd",
        }
    }

    async fn writer(&self) -> Writer {
        match self {
            Self::Onggi(protocol, config) => {
                let connection = match protocol {
                    Protocol::Http1 => Connection::http1(config).await,
                    Protocol::Http2 => Connection::tls(config).await,
                };
                let host = common::wire::address(config).to_string();
                Writer::Onggi(connection, host, format!("{}{CONFIG_MAPS}", config.server))
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
            Self::Onggi(connection, host, uri) => {
                let object = plane::config_map(name);
                let mut request = Request::post(uri.as_str());
                // In HTTP/2 the address says it.
                if matches!(connection, Connection::Http1(_)) {
                    request = request.header("host", host.as_str());
                }
                let request = request
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

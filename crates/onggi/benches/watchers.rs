//! A hundred watchers, each on a connection of its own, and a thousand objects created as fast as
//! can be: what a delivery costs the server, and how long after the request it arrives. Turn by turn
//! with kube-apiserver and etcd, where those are on the `PATH`.
//!
//! `cargo bench -p onggi --bench watchers`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::kubernetes::Kubernetes;
use common::plane::{self, CONFIG_MAPS, Plane, Server};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, percentile, process, row, title};
use http::StatusCode;
use http_body_util::BodyExt;
use parking_lot::Mutex;

const WATCHERS: usize = 100;
const EVENTS: usize = 1_000;
const WRITERS: usize = 16;
const ROUNDS: usize = 5;
/// Starts the name of an object; its number follows in a fixed width, so that a watcher needs no
/// parser to find it.
const MARK: &[u8] = b"\"name\":\"event-";
const DIGITS: usize = 6;

fn main() {
    let Some(cluster) = Cluster::new() else { return };
    let (plane, _) = Plane::start(&cluster);
    let peer = Kubernetes::start(&cluster);
    let (ours, theirs) = (plane.server(), peer.as_ref().map(Kubernetes::server));
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    // The round before the first warms up.
    for round in 0..=ROUNDS {
        let own = measure(&cluster, &ours, round);
        let other = theirs.as_ref().map(|theirs| measure(&cluster, theirs, round));
        if round > 0 {
            mine.push(own);
            others.extend(other);
        }
    }
    title(&format!(
        "{WATCHERS} watchers x {EVENTS} creates by {WRITERS} connections, medians of {ROUNDS} rounds, load {}",
        process::load()
    ));
    report(&mine, ["target 3", "target 20"]);
    if let Some(peer) = &peer {
        title(&peer.title());
        report(&others, ["", ""]);
        let pairs = mine.iter().zip(&others);
        let ratios: Vec<_> = pairs.map(|(own, other)| other.cpu / own.cpu).collect();
        row("their CPU to ours", format!("{:.1}", median(&ratios)), "");
    }
}

fn report(rounds: &[Round], [cpu, p99]: [&str; 2]) {
    let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
    row("CPU a delivery, the creates included", format!("{:.2} µs", of(|r| r.cpu)), cpu);
    row("request to arrival, p50", format!("{:.2} ms", of(|r| r.p50)), "");
    row("request to arrival, p99", format!("{:.2} ms", of(|r| r.p99)), p99);
    row("answer to arrival, p99", format!("{:.2} ms", of(|r| r.after)), "");
    row("deliveries", format!("{:.0}/s", of(|r| r.rate)), "");
}

/// One round.
struct Round {
    /// Microseconds of the server's CPU a delivery.
    cpu: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
    /// The 99th percentile from the answer of the create, in milliseconds.
    after: f64,
    /// Deliveries a second.
    rate: f64,
}

fn measure(cluster: &Cluster, server: &Server<'_>, round: usize) -> Round {
    common::in_namespace(cluster, async || {
        let first = round * EVENTS;
        // When each was asked for, and when that was answered.
        let sent = Arc::new(Mutex::new(vec![None; EVENTS]));
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS {
            let mut connection = Connection::http1(server.config).await;
            let path =
                format!("{CONFIG_MAPS}?watch=true&resourceVersion={}", revision(server).await);
            let (parts, body) = connection.open(plane::get(server.config, &path)).await;
            assert_eq!(parts.status, StatusCode::OK);
            watchers.push(tokio::spawn(async move {
                let _open = connection;
                arrivals(body, first).await
            }));
        }
        let mut connections = Vec::new();
        for _ in 0..WRITERS {
            connections.push(Connection::http1(server.config).await);
        }
        let before = server.cpu();
        let began = Instant::now();
        let writers = connections.into_iter().enumerate().map(|(number, mut connection)| {
            let sent = Arc::clone(&sent);
            async move {
                for n in (number..EVENTS).step_by(WRITERS) {
                    let name = format!("event-{:0DIGITS$}", first + n);
                    let request =
                        plane::post(server.config, CONFIG_MAPS, &plane::config_map(&name));
                    let asked = Instant::now();
                    let (parts, body) = connection.send(request).await;
                    assert_eq!(parts.status, StatusCode::CREATED, "{:?}", body.to_bytes());
                    sent.lock()[n] = Some((asked, Instant::now()));
                }
            }
        });
        futures::future::join_all(writers).await;
        let (mut latencies, mut after) = (Vec::new(), Vec::new());
        for arrivals in futures::future::join_all(watchers).await {
            for (n, arrived) in arrivals.unwrap() {
                let (asked, answered) = sent.lock()[n].unwrap();
                latencies.push(arrived.duration_since(asked).as_secs_f64() * 1e3);
                after.push(arrived.saturating_duration_since(answered).as_secs_f64() * 1e3);
            }
        }
        let elapsed = began.elapsed().as_secs_f64();
        let count = latencies.len() as f64;
        Round {
            cpu: (server.cpu() - before) * 1e6 / count,
            p50: median(&latencies),
            p99: percentile(&latencies, 0.99),
            after: percentile(&after, 0.99),
            rate: count / elapsed,
        }
    })
}

/// Reads until all events of a round are there; answers which came when.
async fn arrivals(mut body: hyper::body::Incoming, first: usize) -> Vec<(usize, Instant)> {
    let (mut seen, mut pending) = (Vec::with_capacity(EVENTS), Vec::new());
    while seen.len() < EVENTS {
        let frame = body.frame().await.unwrap().unwrap();
        let now = Instant::now();
        pending.extend_from_slice(&frame.into_data().unwrap_or_default());
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &pending[used..]) {
            let line = &pending[used..used + end];
            if let Some(n) = number(line) {
                seen.push((n - first, now));
            }
            used += end + 1;
        }
        pending.drain(..used);
    }
    seen
}

/// The number in the name of the object of an event.
fn number(line: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(line, MARK)? + MARK.len();
    std::str::from_utf8(line.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// Where the ConfigMaps are now.
async fn revision(server: &Server<'_>) -> String {
    let mut connection = Connection::http1(server.config).await;
    let path = format!("{CONFIG_MAPS}?limit=1");
    let body = connection.send(plane::get(server.config, &path)).await.1.to_bytes();
    let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

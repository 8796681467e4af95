//! What a request costs the API server: creates of pods and ConfigMaps and reads of one object,
//! through TLS and the whole filter chain, durably.
//!
//! First with the controllers and the scheduler in the same process, which see every object that is
//! made; then without, as Kubernetes' figures are those of kube-apiserver and etcd alone.
//!
//! `cargo bench -p onggi --bench requests`; `-- pod` asks only what has that word in its title.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Instant;

use common::plane::{self, CONFIG_MAPS, PODS, Plane};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, percentile, process, row, title};
use http::StatusCode;

const ROUNDS: usize = 3;

/// What runs in the process, and the options for it. A pod needs its ServiceAccount.
const PLANES: [(&str, &[&str]); 2] = [
    ("all", &[]),
    ("API alone", &["--controllers=serviceaccount-controller", "--disable-scheduler"]),
];

/// What is asked.
struct Operation {
    title: &'static str,
    /// Requests a round.
    count: usize,
    /// Milliseconds of CPU a request to reach.
    goal: f64,
    ask: fn(&Plane, &str) -> http::Request<http_body_util::Full<bytes::Bytes>>,
    answer: StatusCode,
}

const OPERATIONS: [Operation; 3] = [
    Operation {
        title: "create ConfigMap",
        count: 8_000,
        goal: 0.09,
        ask: |plane, name| plane::post(&plane.config, CONFIG_MAPS, &plane::config_map(name)),
        answer: StatusCode::CREATED,
    },
    Operation {
        title: "create Pod",
        count: 4_000,
        goal: 0.15,
        ask: |plane, name| plane::post(&plane.config, PODS, &plane::pod(name)),
        answer: StatusCode::CREATED,
    },
    Operation {
        title: "get ConfigMap",
        count: 16_000,
        goal: 0.044,
        ask: |plane, _| plane::get(&plane.config, &format!("{CONFIG_MAPS}/one")),
        answer: StatusCode::OK,
    },
];

/// One round.
struct Round {
    /// Requests a second.
    rate: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
    /// Milliseconds of the server's CPU a request.
    cpu: f64,
}

fn main() {
    let Some(cluster) = Cluster::new() else { return };
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |operation: &&Operation| {
        let title = operation.title.to_lowercase();
        words.iter().all(|word| title.contains(&word.to_lowercase()))
    };
    title(&format!(
        "requests through TLS by HTTP/1.1 in JSON, medians of {ROUNDS} rounds, load {}",
        process::load()
    ));
    for (number, (what, options)) in PLANES.iter().enumerate() {
        let (plane, _) = Plane::start_with(&cluster, options);
        if number == 0 {
            common::in_namespace(&cluster, async || {
                let mut connection = Connection::http1(&plane.config).await;
                let request = plane::post(&plane.config, CONFIG_MAPS, &plane::config_map("one"));
                assert_eq!(connection.send(request).await.0.status, StatusCode::CREATED);
            });
        }
        for operation in OPERATIONS.iter().filter(asked) {
            for connections in [1, 16, 64] {
                // The round before the first warms up.
                let rounds: Vec<_> = (0..=ROUNDS)
                    .map(|round| {
                        let tag = format!("bench-{number}-{connections}-{round}");
                        measure(&cluster, &plane, operation, connections, &tag)
                    })
                    .skip(1)
                    .collect();
                let of = |field: fn(&Round) -> f64| {
                    median(&rounds.iter().map(field).collect::<Vec<_>>())
                };
                row(
                    &format!("{}, {connections} connections, {what}", operation.title),
                    format!("{:.3} ms CPU", of(|r| r.cpu)),
                    format!(
                        "target {} ms; {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                        operation.goal,
                        of(|r| r.rate),
                        of(|r| r.p50),
                        of(|r| r.p99)
                    ),
                );
            }
        }
        plane.stop();
    }
}

fn measure(
    cluster: &Cluster,
    plane: &Plane,
    operation: &Operation,
    connections: usize,
    tag: &str,
) -> Round {
    // A single connection waits for the disk at each request.
    let each = operation.count / connections.max(8);
    let (elapsed, used, latencies) = common::in_namespace(cluster, async || {
        let opened = (0..connections).map(|_| Connection::http1(&plane.config));
        let opened = futures::future::join_all(opened).await;
        let before = process::cpu(plane.pid);
        let began = Instant::now();
        let clients = opened.into_iter().enumerate().map(|(number, mut connection)| async move {
            let mut latencies = Vec::with_capacity(each);
            for n in 0..each {
                let name = format!("{tag}-{number}-{n}");
                let request = (operation.ask)(plane, &name);
                let start = Instant::now();
                let (parts, body) = connection.send(request).await;
                latencies.push(start.elapsed().as_secs_f64() * 1e3);
                assert_eq!(parts.status, operation.answer, "{:?}", body.to_bytes());
            }
            latencies
        });
        let latencies = futures::future::join_all(clients).await.concat();
        (began.elapsed().as_secs_f64(), process::cpu(plane.pid) - before, latencies)
    });
    let count = latencies.len() as f64;
    Round {
        rate: count / elapsed,
        p50: median(&latencies),
        p99: percentile(&latencies, 0.99),
        cpu: used * 1e3 / count,
    }
}

//! What a request costs the API server: creates of pods and ConfigMaps and reads of one object,
//! through TLS and the whole filter chain, durably.
//!
//! First with the controllers and the scheduler in the same process, which see every object that is
//! made; then without, turn by turn with kube-apiserver and etcd alone, where those are on the
//! `PATH`: times move with the machine, their ratio does not.
//!
//! `cargo bench -p onggi --bench requests`; `-- pod` asks only what has that word in its title.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Instant;

use common::kubernetes::Kubernetes;
use common::plane::{self, CONFIG_MAPS, PODS, Plane, Server};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, percentile, process, row, title};
use http::StatusCode;
use onggi_client::Config;

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
    ask: fn(&Config, &str) -> http::Request<http_body_util::Full<bytes::Bytes>>,
    answer: StatusCode,
}

const OPERATIONS: [Operation; 3] = [
    Operation {
        title: "create ConfigMap",
        count: 8_000,
        goal: 0.09,
        ask: |config, name| plane::post(config, CONFIG_MAPS, &plane::config_map(name)),
        answer: StatusCode::CREATED,
    },
    Operation {
        title: "create Pod",
        count: 4_000,
        goal: 0.15,
        ask: |config, name| plane::post(config, PODS, &plane::pod(name)),
        answer: StatusCode::CREATED,
    },
    Operation {
        title: "get ConfigMap",
        count: 16_000,
        goal: 0.044,
        ask: |config, _| plane::get(config, &format!("{CONFIG_MAPS}/one")),
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
        let ours = plane.server();
        if number == 0 {
            make_read(&cluster, ours.config);
        }
        // The peer is asked beside what does the same.
        let peer = (number == PLANES.len() - 1).then(|| Kubernetes::start(&cluster));
        let peer = peer.flatten();
        let theirs = peer.as_ref().map(Kubernetes::server);
        if let Some(theirs) = &theirs {
            make_read(&cluster, theirs.config);
        }
        for operation in OPERATIONS.iter().filter(asked) {
            for connections in [1, 16, 64] {
                let (mut mine, mut others) = (Vec::new(), Vec::new());
                // The round before the first warms up.
                for round in 0..=ROUNDS {
                    let tag = format!("bench-{number}-{connections}-{round}");
                    let take = |server| measure(&cluster, server, operation, connections, &tag);
                    let (own, other) = (take(&ours), theirs.as_ref().map(take));
                    if round > 0 {
                        mine.push(own);
                        others.extend(other);
                    }
                }
                let title = format!("{}, {connections} connections", operation.title);
                let beside = format!("target {} ms; ", operation.goal);
                report(&format!("{title}, {what}"), &beside, &mine);
                if let Some(peer) = &peer {
                    report(&format!("  {}", peer.title()), "", &others);
                    let pairs = mine.iter().zip(&others);
                    let ratios: Vec<_> = pairs.map(|(own, other)| other.cpu / own.cpu).collect();
                    row("  their CPU to ours", format!("{:.1}", median(&ratios)), "target 10");
                }
            }
        }
        plane.stop();
    }
}

/// The object that is read.
fn make_read(cluster: &Cluster, config: &Config) {
    common::in_namespace(cluster, async || {
        let mut connection = Connection::http1(config).await;
        let request = plane::post(config, CONFIG_MAPS, &plane::config_map("one"));
        assert_eq!(connection.send(request).await.0.status, StatusCode::CREATED);
    });
}

fn report(what: &str, beside: &str, rounds: &[Round]) {
    let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
    row(
        what,
        format!("{:.3} ms CPU", of(|r| r.cpu)),
        format!(
            "{beside}{:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            of(|r| r.rate),
            of(|r| r.p50),
            of(|r| r.p99)
        ),
    );
}

fn measure(
    cluster: &Cluster,
    server: &Server<'_>,
    operation: &Operation,
    connections: usize,
    tag: &str,
) -> Round {
    // A single connection waits for the disk at each request.
    let each = operation.count / connections.max(8);
    let (elapsed, used, latencies) = common::in_namespace(cluster, async || {
        let opened = (0..connections).map(|_| Connection::http1(server.config));
        let opened = futures::future::join_all(opened).await;
        let before = server.cpu();
        let began = Instant::now();
        let clients = opened.into_iter().enumerate().map(|(number, mut connection)| async move {
            let mut latencies = Vec::with_capacity(each);
            for n in 0..each {
                let name = format!("{tag}-{number}-{n}");
                let request = (operation.ask)(server.config, &name);
                let start = Instant::now();
                let (parts, body) = connection.send(request).await;
                latencies.push(start.elapsed().as_secs_f64() * 1e3);
                assert_eq!(parts.status, operation.answer, "{:?}", body.to_bytes());
            }
            latencies
        });
        let latencies = futures::future::join_all(clients).await.concat();
        (began.elapsed().as_secs_f64(), server.cpu() - before, latencies)
    });
    let count = latencies.len() as f64;
    Round {
        rate: count / elapsed,
        p50: median(&latencies),
        p99: percentile(&latencies, 0.99),
        cpu: used * 1e3 / count,
    }
}

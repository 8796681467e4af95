//! A store with much in it: the list of 13,500 pods, the memory with 33,000, a start with 300,000
//! objects.
//!
//! `cargo bench -p onggi --bench large`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Instant;

use common::plane::{self, CONFIG_MAPS, PODS, Plane};
use common::rig::Cluster;
use common::wire::Connection;
use common::{median, process, row, title};
use http::StatusCode;

const LISTED: usize = 13_500;
const PODS_HELD: usize = 33_000;
const OBJECTS: usize = 300_000;
const WRITERS: usize = 32;
const ROUNDS: usize = 7;

fn main() {
    let Some(cluster) = Cluster::new() else { return };
    let (plane, _) = Plane::start(&cluster);
    title(&format!("a store with much in it, load {}", process::load()));
    let fresh = process::memory(plane.pid).rss;
    row("memory when it is fresh (RSS)", format!("{fresh:.0} MiB"), "");

    fill(&cluster, &plane, PODS, plane::pod, 0..LISTED);
    for (what, query) in [("consistent", ""), ("resourceVersion=0", "?resourceVersion=0")] {
        let (times, size) = list(&cluster, &plane, query);
        row(
            &format!("list of {LISTED} pods, {what}"),
            format!("{:.1} ms", median(&times)),
            format!("target 60; {:.1} MB", size as f64 / 1e6),
        );
    }
    fill(&cluster, &plane, PODS, plane::pod, LISTED..PODS_HELD);
    let (_, size) = list(&cluster, &plane, "");
    let held = process::memory(plane.pid).rss;
    row(
        &format!("memory with {PODS_HELD} pods, after a list of all"),
        format!("{held:.0} MiB"),
        format!("target 400; {:.1} MB listed", size as f64 / 1e6),
    );
    fill(&cluster, &plane, CONFIG_MAPS, plane::config_map, 0..OBJECTS - PODS_HELD);
    let full = process::memory(plane.pid).rss;
    row(&format!("memory with {OBJECTS} objects"), format!("{full:.0} MiB"), "");
    plane.stop();
    let (plane, seconds) = Plane::start(&cluster);
    row(&format!("start with {OBJECTS} objects"), format!("{seconds:.2} s"), "target 3.00 s");
    let began = Instant::now();
    common::in_namespace(&cluster, async || {
        let mut connection = Connection::http1(&plane.config).await;
        let path = format!("{CONFIG_MAPS}/bench-000000");
        let answer = connection.send(plane::get(&plane.config, &path)).await;
        assert_eq!(answer.0.status, StatusCode::OK);
    });
    row("and its first answer", format!("{:.1} ms", began.elapsed().as_secs_f64() * 1e3), "");
    let again = process::memory(plane.pid).rss;
    row("memory after the start", format!("{again:.0} MiB"), "");
}

/// Creates objects with numbers.
fn fill(
    cluster: &Cluster,
    plane: &Plane,
    path: &str,
    object: fn(&str) -> serde_json::Value,
    numbers: std::ops::Range<usize>,
) {
    common::in_namespace(cluster, async || {
        let writers = (0..WRITERS).map(|writer| {
            let numbers = numbers.clone().skip(writer).step_by(WRITERS);
            async move {
                let mut connection = Connection::http1(&plane.config).await;
                for number in numbers {
                    let object = object(&format!("bench-{number:06}"));
                    let request = plane::post(&plane.config, path, &object);
                    let (parts, body) = connection.send(request).await;
                    assert_eq!(parts.status, StatusCode::CREATED, "{:?}", body.to_bytes());
                }
            }
        });
        futures::future::join_all(writers).await;
    });
}

/// Lists pods; answers milliseconds of each round and bytes of one.
fn list(cluster: &Cluster, plane: &Plane, query: &str) -> (Vec<f64>, usize) {
    common::in_namespace(cluster, async || {
        let mut connection = Connection::http1(&plane.config).await;
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let request = plane::get(&plane.config, &format!("{PODS}{query}"));
            let began = Instant::now();
            let (parts, body) = connection.send(request).await;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(parts.status, StatusCode::OK);
            size = body.to_bytes().len();
        }
        (times, size)
    })
}

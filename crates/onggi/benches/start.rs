//! How long a start takes: `onggi up` to a Ready node, with new data and with old, and `onggi demo`
//! to a shop that answers.
//!
//! `cargo bench -p onggi --bench start`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Instant;

use common::rig::Cluster;
use common::{median, process, row, title};

const ROUNDS: usize = 5;

fn main() {
    let Some(_root) = Cluster::new() else { return };
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let Some(cluster) = Cluster::new() else { return };
        new.push(seconds(&cluster, &["up"]));
        cluster.ok(&["down"]);
        again.push(seconds(&cluster, &["up"]));
    }
    title(&format!("start, medians of {ROUNDS}, load {}", process::load()));
    row("onggi up to a Ready node, no data yet", show(&new), "target 1.00 s");
    row("onggi up to a Ready node, data there", show(&again), "target 1.00 s");
    if !Cluster::new().is_some_and(|cluster| cluster.onggi(&["demo", "--help"]).ok) {
        println!("  skipped: there is no onggi demo");
        return;
    }
    let demo: Vec<f64> = (0..ROUNDS)
        .filter_map(|_| Cluster::new().map(|cluster| seconds(&cluster, &["demo"])))
        .collect();
    row("onggi demo to an answer of the shop", show(&demo), "target 5.00 s");
}

/// The whole command, from its start to its end.
fn seconds(cluster: &Cluster, arguments: &[&str]) -> f64 {
    let began = Instant::now();
    cluster.ok(arguments);
    began.elapsed().as_secs_f64()
}

fn show(figures: &[f64]) -> String {
    format!("{:.2} s", median(figures))
}

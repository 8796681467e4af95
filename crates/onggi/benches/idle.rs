//! What the platform costs when it has nothing to do, and what a shim holds.
//!
//! `cargo bench -p onggi --bench idle`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Duration;

use common::rig::Cluster;
use common::{process, row, title};

/// What a start leaves behind is done by then.
const SETTLE: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(30);

fn main() {
    if common::guest::role() {
        return;
    }
    let Some(cluster) = Cluster::up() else { return };
    std::thread::sleep(SETTLE);
    let daemon = cluster.daemon();
    let before = process::cpu(daemon);
    std::thread::sleep(WATCHED);
    let used = (process::cpu(daemon) - before) / WATCHED.as_secs_f64();
    let memory = process::memory(daemon);
    title(&format!("idle without pods, {} s, load {}", WATCHED.as_secs(), process::load()));
    row("memory of all our processes (PSS)", mib(memory.pss), "target 80 MB");
    row("of it anonymous", mib(memory.anonymous), "");
    row("processor", format!("{:.2} % of a core", used * 100.0), "target 0.50 %");

    common::guest::build(&cluster);
    common::in_namespace(&cluster, async || {
        let mut pods = common::guest::Pods::new(&cluster).await;
        pods.start("one").await;
        pods.running(1).await;
        // A shim gives back what its start took once it is calm.
        tokio::time::sleep(SETTLE).await;
        // Its program is the copy in the data directory.
        let shims = process::with_arguments(&["\0shim\0", &cluster.data().display().to_string()]);
        let shim = process::memory(*shims.first().unwrap());
        row("private memory of a shim", mib(shim.private), "target 2 MB");
        row("of it anonymous", mib(shim.anonymous), "");
        row("PSS of a shim", mib(shim.pss), "");
        pods.delete_all().await;
    });
}

fn mib(figure: f64) -> String {
    format!("{figure:.2} MiB")
}

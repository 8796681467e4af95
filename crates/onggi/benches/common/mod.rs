//! What the benchmarks share: a cluster of the end-to-end tests, figures and their table.

#![allow(dead_code, unused_imports, reason = "each benchmark uses a part")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

pub(crate) mod etcd;
pub(crate) mod guest;
pub(crate) mod kubernetes;
pub(crate) mod plane;
pub(crate) mod process;
#[path = "../../tests/e2e/rig/mod.rs"]
pub(crate) mod rig;
pub(crate) mod wire;

use std::fmt::Display;

/// The figure below which a part of the sorted figures lies: 0.5 is the median.
pub(crate) fn percentile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The median.
pub(crate) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 0.5)
}

/// The title of a table.
pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

/// A row: what, how much, and what it is to be or is compared with.
pub(crate) fn row(what: &str, value: impl Display, beside: impl Display) {
    println!("  {what:<44} {value:>16}   {beside}");
}

/// Says that a peer is missing.
pub(crate) fn skipped(program: &str) {
    println!("  skipped: {program} is not installed");
}

/// Asynchronous code in the namespace of a cluster, on as many threads as there are cores.
pub(crate) fn in_namespace<T: Send>(
    cluster: &rig::Cluster,
    work: impl AsyncFnOnce() -> T + Send,
) -> T {
    cluster.inside(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

/// Server and credentials of the administrator.
pub(crate) fn config(cluster: &rig::Cluster) -> onggi_client::Config {
    let path = cluster.paths().kubeconfig();
    onggi_client::kubeconfig::Kubeconfig::load(&[path]).unwrap().resolve(None).unwrap().config
}

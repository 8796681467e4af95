//! From the creation of a pod to its running container, one by one and a hundred at once, seen by a
//! client through TLS; beside it runc and crun, which start the same program on a directory.
//!
//! `cargo bench -p onggi --bench pods`
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::guest::{self, Pods};
use common::rig::{Cluster, on_path};
use common::{median, percentile, process, row, skipped, title};
use futures::future::join_all;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use serde_json::{Value, json};

const ONE_BY_ONE: usize = 60;
const AT_ONCE: usize = 100;
const ROUNDS: usize = 3;

fn main() {
    if guest::role() {
        return;
    }
    let Some(cluster) = Cluster::up() else { return };
    let image = guest::build(&cluster);
    let (singles, crowds) = common::in_namespace(&cluster, async || {
        let mut pods = Pods::new(&cluster).await;
        // The first pays for what all others share.
        one(&mut pods, "first").await;
        let mut singles = Vec::new();
        for n in 0..ONE_BY_ONE {
            singles.push(one(&mut pods, &format!("single-{n}")).await);
        }
        let mut crowds = Vec::new();
        for _ in 0..ROUNDS {
            crowds.push(crowd(&mut pods).await.as_secs_f64());
        }
        (singles, crowds)
    });
    title(&format!("pod created -> container running, n = {ONE_BY_ONE}, load {}", process::load()));
    let mine = starts("pods of this cluster, one by one", &singles, "targets 100 and 300 ms");
    row(
        &format!("{AT_ONCE} pods at once, all running"),
        format!("{:.2} s", median(&crowds)),
        "target 5.00 s",
    );
    for peer in ["runc", "crun"] {
        let Some(program) = on_path(peer) else {
            skipped(peer);
            continue;
        };
        match cluster.inside(|| peer_starts(&program, Path::new(&image))) {
            Ok(figures) => {
                let theirs = starts(&format!("{peer}, the container alone"), &figures, "");
                row(&format!("ratio to {peer}"), format!("{:.2}", mine / theirs), "");
            }
            Err(problem) => println!("  skipped: {peer}: {}", problem.trim()),
        }
    }
}

async fn one(pods: &mut Pods, name: &str) -> Duration {
    let began = Instant::now();
    pods.start(name).await;
    let running = pods.running(1).await[0] - began;
    pods.delete_all().await;
    running
}

async fn crowd(pods: &mut Pods) -> Duration {
    let began = Instant::now();
    let names: Vec<_> = (0..AT_ONCE).map(|n| format!("crowd-{n}")).collect();
    join_all(names.iter().map(|name| pods.start(name))).await;
    let last = pods.running(AT_ONCE).await.into_iter().max().unwrap() - began;
    pods.delete_all().await;
    last
}

fn starts(what: &str, figures: &[Duration], beside: &str) -> f64 {
    let figures: Vec<_> = figures.iter().map(|figure| figure.as_secs_f64() * 1e3).collect();
    let (p50, p99) = (median(&figures), percentile(&figures, 0.99));
    row(what, format!("{p50:.1} ms"), format!("p99 {p99:.1} ms   {beside}"));
    p50
}

/// How long `run --detach` takes, which returns when the program runs; or why it does not.
fn peer_starts(program: &Path, image: &Path) -> Result<Vec<Duration>, String> {
    version_1_alone();
    let bundle = tempfile::tempdir_in(image).unwrap();
    let rootfs = bundle.path().join("rootfs");
    std::fs::create_dir(&rootfs).unwrap();
    std::fs::hard_link(image.join("guest"), rootfs.join("guest")).unwrap();
    let call = |arguments: &[&str]| {
        let log = bundle.path().join("log");
        let mut command = Command::new(program);
        // What it prints goes to a file: the container keeps a pipe open.
        let file = std::fs::File::create(&log).unwrap();
        command.current_dir(bundle.path()).args(arguments).stdin(Stdio::null());
        let status = command.stdout(Stdio::null()).stderr(file).status().unwrap();
        let failed = || std::fs::read_to_string(&log).unwrap_or_default();
        if status.success() { Ok(()) } else { Err(failed()) }
    };
    call(&["spec"])?;
    let path = bundle.path().join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(guest::COMMAND);
    std::fs::write(&path, spec.to_string()).unwrap();
    let name = format!("onggi-bench-{}", std::process::id());
    let mut figures = Vec::new();
    for _ in 0..ONE_BY_ONE {
        let began = Instant::now();
        let started = call(&["run", "--detach", &name]);
        figures.push(began.elapsed());
        call(&["delete", "--force", &name]).and(started)?;
    }
    Ok(figures)
}

/// crun refuses both versions of cgroups side by side: shows this thread version 1 alone.
fn version_1_alone() {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.exists() {
        nix::mount::umount2(unified, MntFlags::MNT_DETACH).unwrap();
    }
}

//! How fast and how small: run with `cargo test -p onggi-runtime --test it --release -- bench`.

use std::time::Instant;

use futures::FutureExt;
use onggi_node_api::{ContainerState, RuntimeService};

use crate::Test;
use crate::fixture::Fixture;

pub(crate) const TESTS: &[Test] = &[("bench::start", || start().boxed())];

fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// CPU time of the whole machine that is not idle, in milliseconds.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|f| f.parse().unwrap())
        .collect();
    (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) * 10.0
}

/// CPU time of this process, its children and what the shims and containers used.
fn used(f: &Fixture) -> f64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let group = onggi_sys::cgroups::Cgroups::detect().unwrap();
    let group = group.group(&format!("onggi-{}", f.options.instance));
    let shims = group.usage().map(|usage| usage.cpu_nanos).unwrap_or(0);
    own.tv_sec as f64 * 1e3 + own.tv_nsec as f64 / 1e6 + shims as f64 / 1e6
}

async fn start() {
    const COUNT: usize = 50;
    let f = Fixture::new();
    let (mut pods, mut creates, mut totals, mut ids) = (vec![], vec![], vec![], vec![]);
    let (cpu, all) = (used(&f), busy());
    for _ in 0..COUNT {
        let begin = Instant::now();
        let pod = f.run_pod().await;
        let sandboxed = Instant::now();
        let id = f.start(&pod, f.container(&["sleep"])).await;
        f.wait_state(&id, |status| status.state == ContainerState::Running).await;
        pods.push((sandboxed - begin).as_secs_f64() * 1e3);
        creates.push(sandboxed.elapsed().as_secs_f64() * 1e3);
        totals.push(begin.elapsed().as_secs_f64() * 1e3);
        ids.push(id);
    }
    let (cpu, all) = (used(&f) - cpu, busy() - all);
    for (name, values) in
        [("sandbox", &mut pods), ("container", &mut creates), ("total", &mut totals)]
    {
        let (p50, p99) = (percentile(values, 0.5), percentile(values, 0.99));
        println!("{name:10} n={COUNT} p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
    println!(
        "CPU a pod: daemon, shim and container {:.2} ms; whole machine {:.2} ms",
        cpu / COUNT as f64,
        all / COUNT as f64
    );
    let (mut private, mut pss) = (vec![], vec![]);
    for id in &ids {
        let pid = f.runtime.container_status(id).await.unwrap().pid;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let shim = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        let smaps = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        let field = |name: &str| -> f64 {
            smaps
                .lines()
                .filter(|line| line.starts_with(name))
                .map(|line| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap())
                .sum()
        };
        private.push(field("Private_"));
        pss.push(field("Pss:"));
    }
    println!(
        "shim memory p50: private {:.0} KiB, PSS {:.0} KiB",
        percentile(&mut private, 0.5),
        percentile(&mut pss, 0.5)
    );
    f.finish().await;
}

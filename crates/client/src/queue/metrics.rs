//! What queues with a name count, as client-go's do (`component-base/metrics/prometheus/workqueue`).

use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

/// How many bounds there are: ten times the one before, from 10 ns to 10 s.
const BOUNDS: usize = 10;

/// Every queue with a name.
static NAMED: Mutex<Vec<(String, Weak<dyn Observed>)>> = Mutex::new(Vec::new());

/// Durations by upper bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

/// What a queue has counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) adds: u64,
    pub(super) retries: u64,
    /// From when keys were ready until they were taken.
    pub(super) waited: Times,
    /// From then until the work was done.
    pub(super) worked: Times,
}

/// The counts, and how it is now.
pub(super) struct Now {
    pub(super) counts: Counts,
    pub(super) depth: usize,
    /// Of all keys that are worked on, together.
    pub(super) unfinished: Duration,
    pub(super) longest: Duration,
}

/// Can be looked at.
pub(super) trait Observed: Send + Sync {
    fn now(&self) -> Now;
}

impl Times {
    pub(super) fn observe(&mut self, took: Duration) {
        let nanoseconds = took.as_nanos();
        let mut bound = 10_u128;
        let mut at = 0;
        while at < BOUNDS && nanoseconds > bound {
            bound *= 10;
            at += 1;
        }
        self.counts[at] += 1;
        self.sum += took;
    }

    fn write(&self, (name, queue): (&str, &str), out: &mut String) {
        let mut count = 0;
        for (at, bucket) in self.counts.iter().enumerate() {
            count += bucket;
            let bound = match at {
                BOUNDS => "+Inf".to_owned(),
                // Exactly as written: 1e-08, not the nearest number to a product.
                at => format!("1e{}", at as i32 - 8).parse().map_or_else(|_| String::new(), shown),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}_bucket{{name=\"{queue}\",le=\"{bound}\"}} {count}");
        }
        let sum = self.sum.as_secs_f64();
        let _ = writeln!(out, "{name}_sum{{name=\"{queue}\"}} {sum}");
        let _ = writeln!(out, "{name}_count{{name=\"{queue}\"}} {count}");
    }
}

/// A bound as Prometheus' library for Go writes it.
fn shown(bound: f64) -> String {
    if bound < 1e-4 { format!("1e{:03}", bound.log10().round() as i32) } else { bound.to_string() }
}

/// From now on it is among those that are written.
pub(super) fn register(name: &str, queue: Weak<dyn Observed>) {
    let mut named = NAMED.lock();
    named.retain(|(_, queue)| queue.strong_count() > 0);
    named.push((name.to_owned(), queue));
}

/// All queues with a name, in the text format of Prometheus.
pub fn write_metrics(out: &mut String) {
    let named: Vec<(String, Arc<dyn Observed>)> = {
        let named = NAMED.lock();
        named.iter().filter_map(|(name, queue)| Some((name.clone(), queue.upgrade()?))).collect()
    };
    let mut all: Vec<(String, Now)> =
        named.into_iter().map(|(name, queue)| (name, queue.now())).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    // Several servers of a test share the process: a series may stand there once only.
    all.dedup_by(|(one, _), (other, _)| one == other);
    let number =
        |name: &str, kind: &str, help: &str, of: &dyn Fn(&Now) -> f64, out: &mut String| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (queue, now) in &all {
                let _ = writeln!(out, "{name}{{name=\"{queue}\"}} {}", of(now));
            }
        };
    let times = |name: &str, help: &str, of: &dyn Fn(&Now) -> &Times, out: &mut String| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (queue, now) in &all {
            of(now).write((name, queue), out);
        }
    };
    let adds = |now: &Now| now.counts.adds as f64;
    number("workqueue_adds_total", "counter", "Keys that were queued.", &adds, out);
    let depth = |now: &Now| now.depth as f64;
    number("workqueue_depth", "gauge", "Keys that are ready.", &depth, out);
    let longest = |now: &Now| now.longest.as_secs_f64();
    let name = "workqueue_longest_running_processor_seconds";
    number(name, "gauge", "How long the longest work has been going on.", &longest, out);
    let name = "workqueue_queue_duration_seconds";
    times(name, "How long keys waited.", &|now| &now.counts.waited, out);
    let retries = |now: &Now| now.counts.retries as f64;
    number("workqueue_retries_total", "counter", "Keys that failed.", &retries, out);
    let unfinished = |now: &Now| now.unfinished.as_secs_f64();
    let name = "workqueue_unfinished_work_seconds";
    number(name, "gauge", "How long all work has been going on together.", &unfinished, out);
    let name = "workqueue_work_duration_seconds";
    times(name, "How long keys were worked on.", &|now| &now.counts.worked, out);
}

#[cfg(test)]
mod tests {
    use super::super::WorkQueue;
    use super::*;

    #[tokio::test]
    async fn a_queue_with_a_name_is_counted() {
        let queue: WorkQueue<u8> = WorkQueue::named("counted");
        queue.add(1);
        queue.add(2);
        drop(queue.next().await);
        let _working = queue.next().await;
        queue.add_failed(3);
        let mut text = String::new();
        write_metrics(&mut text);
        for line in [
            "workqueue_adds_total{name=\"counted\"} 2",
            "workqueue_depth{name=\"counted\"} 0",
            "workqueue_retries_total{name=\"counted\"} 1",
            "workqueue_queue_duration_seconds_count{name=\"counted\"} 2",
            "workqueue_work_duration_seconds_count{name=\"counted\"} 1",
            "workqueue_work_duration_seconds_bucket{name=\"counted\",le=\"10\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        for bound in ["1e-08", "1e-05", "0.0001", "0.001", "1", "10", "+Inf"] {
            let start = format!(
                "workqueue_work_duration_seconds_bucket{{name=\"counted\",le=\"{bound}\"}}"
            );
            assert!(text.lines().any(|found| found.starts_with(&start)), "{bound}\n{text}");
        }
    }
}

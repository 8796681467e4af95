//! Counts for `/metrics`, under Kubernetes' names. A request costs one look-up and a few atomic
//! additions; labels are names that live as long as the program.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
/// Of `apiserver_response_sizes`, in bytes.
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Of `etcd_request_duration_seconds`.
const STORE_SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Labels {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    /// `resource`, `namespace`, `cluster`.
    pub(crate) scope: &'static str,
    pub(crate) dry_run: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Table<Labels, Request>,
    long_running: Table<Labels, AtomicI64>,
    watch_events: Table<(&'static str, &'static str, &'static str), AtomicU64>,
    store: Table<&'static str, StoreOperation>,
    reading: AtomicI64,
    writing: AtomicI64,
}

/// A series for each set of labels.
struct Table<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

struct Request {
    codes: RwLock<Vec<(u16, AtomicU64)>>,
    duration: Histogram,
    sizes: Histogram,
}

struct StoreOperation(Histogram);

/// Counts by upper bound.
struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// In millionths.
    sum: AtomicU64,
}

/// Counts something as long as it lives.
pub(crate) struct Gauge(Arc<AtomicI64>);

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request while it is handled.
pub(crate) struct InFlight<'m>(&'m AtomicI64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Request {
    fn default() -> Self {
        let (duration, sizes) = (Histogram::new(SECONDS), Histogram::new(BYTES));
        Self { codes: RwLock::default(), duration, sizes }
    }
}

impl Default for StoreOperation {
    fn default() -> Self {
        Self(Histogram::new(STORE_SECONDS))
    }
}

impl<K: Eq + Hash + Copy + Ord, V: Default> Table<K, V> {
    fn of(&self, key: K) -> Arc<V> {
        if let Some(found) = self.0.read().get(&key) {
            return Arc::clone(found);
        }
        Arc::clone(self.0.write().entry(key).or_default())
    }

    fn with(&self, key: K, act: impl FnOnce(&V)) {
        let table = self.0.read();
        if let Some(found) = table.get(&key) {
            return act(found);
        }
        drop(table);
        act(&self.of(key));
    }

    fn sorted(&self) -> Vec<(K, Arc<V>)> {
        let mut all: Vec<_> = self.0.read().iter().map(|(k, v)| (*k, Arc::clone(v))).collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        if self.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0) {
            return;
        }
        let mut count = 0;
        let bounds = self.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(&self.counts) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }
}

impl Labels {
    fn text(&self) -> String {
        let Self { verb, group, version, resource, subresource, scope, .. } = self;
        format!(
            "component=\"apiserver\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }

    fn with_dry_run(&self) -> String {
        format!("dry_run=\"{}\",{}", if self.dry_run { "All" } else { "" }, self.text())
    }
}

impl Metrics {
    /// A request is done.
    pub(crate) fn done(&self, labels: Labels, code: u16, took: Duration, size: Option<u64>) {
        self.requests.with(labels, |request| {
            request.count(code);
            request.duration.observe(took.as_secs_f64());
            if let Some(size) = size {
                request.sizes.observe(size as f64);
            }
        });
    }

    /// A stream has ended as it should or was refused; it is counted without its time.
    pub(crate) fn count(&self, labels: Labels, code: u16) {
        self.requests.with(labels, |request| request.count(code));
    }

    /// A request is being handled.
    pub(crate) fn in_flight(&self, writes: bool) -> InFlight<'_> {
        let gauge = if writes { &self.writing } else { &self.reading };
        gauge.fetch_add(1, Ordering::Relaxed);
        InFlight(gauge)
    }

    /// A stream runs.
    pub(crate) fn long_running(&self, labels: Labels) -> Gauge {
        let gauge = self.long_running.of(labels);
        gauge.fetch_add(1, Ordering::Relaxed);
        Gauge(gauge)
    }

    /// The counter of events sent to watchers of a resource.
    pub(crate) fn watch_events(&self, labels: &Labels) -> Arc<AtomicU64> {
        self.watch_events.of((labels.group, labels.version, labels.resource))
    }

    /// The store has answered.
    pub(crate) fn store(&self, operation: &'static str, took: Duration) {
        self.store.with(operation, |store| store.0.observe(took.as_secs_f64()));
    }

    /// In the text format of Prometheus.
    pub(crate) fn write(&self, out: &mut String) {
        let requests = self.requests.sorted();
        title(
            out,
            "apiserver_request_total",
            "counter",
            "Requests by what they were about and how they ended.",
        );
        for (labels, request) in &requests {
            for (code, count) in request.codes.read().iter() {
                let count = count.load(Ordering::Relaxed);
                let labels = labels.with_dry_run();
                let _ =
                    writeln!(out, "apiserver_request_total{{code=\"{code}\",{labels}}} {count}");
            }
        }
        let name = "apiserver_request_duration_seconds";
        title(out, name, "histogram", "How long requests took.");
        for (labels, request) in &requests {
            request.duration.write(name, &labels.with_dry_run(), out);
        }
        let name = "apiserver_response_sizes";
        title(out, name, "histogram", "How many bytes were answered.");
        for (labels, request) in &requests {
            request.sizes.write(name, &labels.text(), out);
        }
        let name = "apiserver_current_inflight_requests";
        title(out, name, "gauge", "Requests that are being handled.");
        for (kind, gauge) in [("mutating", &self.writing), ("readOnly", &self.reading)] {
            let count = gauge.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{request_kind=\"{kind}\"}} {count}");
        }
        let name = "apiserver_longrunning_requests";
        title(out, name, "gauge", "Watches and other streams that are open.");
        for (labels, gauge) in self.long_running.sorted() {
            let count = gauge.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{{}}} {count}", labels.text());
        }
        let name = "apiserver_watch_events_total";
        title(out, name, "counter", "Events sent to watchers.");
        for ((group, version, resource), count) in self.watch_events.sorted() {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "{name}{{group=\"{group}\",resource=\"{resource}\",version=\"{version}\"}} {count}"
            );
        }
        let name = "etcd_request_duration_seconds";
        title(out, name, "histogram", "How long the store took.");
        for (operation, store) in self.store.sorted() {
            store.0.write(name, &format!("operation=\"{operation}\""), out);
        }
    }
}

impl Request {
    fn count(&self, code: u16) {
        let codes = self.codes.read();
        if let Some((_, count)) = codes.iter().find(|(known, _)| *known == code) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(codes);
        let mut codes = self.codes.write();
        match codes.iter().find(|(known, _)| *known == code) {
            Some((_, count)) => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            None => codes.push((code, AtomicU64::new(1))),
        }
    }
}

/// The two lines before a metric.
pub(crate) fn title(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_prometheus() {
        let metrics = Metrics::default();
        let labels = Labels {
            verb: "LIST",
            version: "v1",
            resource: "pods",
            scope: "namespace",
            ..Labels::default()
        };
        metrics.done(labels, 200, Duration::from_millis(30), Some(500));
        metrics.done(labels, 200, Duration::from_secs(90), Some(5000));
        metrics.done(labels, 404, Duration::ZERO, None);
        let running = metrics.long_running(Labels { verb: "WATCH", ..labels });
        let mut text = String::new();
        metrics.write(&mut text);
        let series = "component=\"apiserver\",group=\"\",resource=\"pods\",scope=\"namespace\",\
                      subresource=\"\",verb=\"LIST\",version=\"v1\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",dry_run=\"\",{series}}} 2"),
            format!("apiserver_request_total{{code=\"404\",dry_run=\"\",{series}}} 1"),
            format!(
                "apiserver_request_duration_seconds_bucket{{dry_run=\"\",{series},le=\"0.05\"}} 2"
            ),
            format!(
                "apiserver_request_duration_seconds_bucket{{dry_run=\"\",{series},le=\"+Inf\"}} 3"
            ),
            format!("apiserver_response_sizes_count{{{series}}} 2"),
            format!("apiserver_longrunning_requests{{{}}} 1", series.replace("LIST", "WATCH")),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        drop(running);
        let mut text = String::new();
        metrics.write(&mut text);
        assert!(text.contains("verb=\"WATCH\",version=\"v1\"} 0"));
    }
}

//! Counts for `/metrics`, under Kubernetes' names. A request costs one look-up and a few atomic
//! additions; labels are names that live as long as the program.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
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
    deprecated: Table<Deprecated, ()>,
    authorized: AtomicU64,
    denied: AtomicU64,
    no_opinion: AtomicU64,
    reading: AtomicI64,
    writing: AtomicI64,
}

/// A series for each set of labels.
pub(crate) struct Table<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

struct Request {
    codes: RwLock<Vec<(u16, AtomicU64)>>,
    duration: Histogram,
    sizes: Histogram,
    /// Of requests that waited for webhooks: how long they took, and how long without these.
    waited: OnceLock<Box<[Histogram; 2]>>,
}

/// The first bounds of [`SECONDS`], so many, that `apiserver_request_sli_duration_seconds` has not.
const NOT_SLI: usize = 2;

/// A version that is deprecated or gone: group, version, resource, part, and the Kubernetes version
/// that has it no more.
pub(crate) type Deprecated = (&'static str, &'static str, &'static str, &'static str, &'static str);

struct StoreOperation(Histogram);

/// Counts by upper bound.
pub(crate) struct Histogram {
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
        Self { codes: RwLock::default(), duration, sizes, waited: OnceLock::new() }
    }
}

impl Default for StoreOperation {
    fn default() -> Self {
        Self(Histogram::new(STORE_SECONDS))
    }
}

impl<K: Eq + Hash + Clone + Ord, V: Default> Table<K, V> {
    /// The series, made when it is first asked for.
    pub(crate) fn of(&self, key: K) -> Arc<V> {
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

    /// All series, by their keys.
    pub(crate) fn sorted(&self) -> Vec<(K, Arc<V>)> {
        let table = self.0.read();
        let mut all: Vec<_> = table.iter().map(|(k, v)| (k.clone(), Arc::clone(v))).collect();
        drop(table);
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

impl Histogram {
    /// Bounds rise.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// Those that have counted nothing are left out.
    pub(crate) fn write(&self, name: &str, labels: &str, out: &mut String) {
        self.snapshot().write((name, labels), self.bounds, 0, out);
    }

    /// Sum and count alone.
    pub(crate) fn write_sum(&self, name: &str, labels: &str, out: &mut String) {
        let Snapshot { counts, sum } = self.snapshot();
        let count: i64 = counts.iter().sum();
        if count != 0 {
            let _ = write_sum(out, (name, labels), sum, count);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed) as i64;
        Snapshot { counts: self.counts.iter().map(read).collect(), sum: read(&self.sum) }
    }
}

/// What a histogram has counted.
struct Snapshot {
    counts: Vec<i64>,
    /// In millionths.
    sum: i64,
}

impl Snapshot {
    /// Takes part in the counts, with a sign.
    fn add(&mut self, other: &Histogram, sign: i64) {
        let other = other.snapshot();
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += sign * more;
        }
        self.sum += sign * other.sum;
    }

    /// The first bounds, so many, are left out.
    fn write(
        &self,
        (name, labels): (&str, &str),
        bounds: &[f64],
        without: usize,
        out: &mut String,
    ) {
        if self.counts.iter().all(|count| *count == 0) {
            return;
        }
        let mut count = 0;
        let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (at, (bound, bucket)) in bounds.zip(&self.counts).enumerate() {
            count += bucket;
            if at >= without {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
        }
        let _ = write_sum(out, (name, labels), self.sum, count);
    }
}

fn write_sum(
    out: &mut String,
    (name, labels): (&str, &str),
    sum: i64,
    count: i64,
) -> std::fmt::Result {
    let sum = sum as f64 / 1e6;
    writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
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
    /// A request is done; it `waited` for webhooks in between.
    pub(crate) fn done(
        &self,
        labels: Labels,
        code: u16,
        (took, waited): (Duration, Duration),
        size: Option<u64>,
    ) {
        self.requests.with(labels, |request| {
            request.count(code);
            request.duration.observe(took.as_secs_f64());
            if !waited.is_zero() {
                let make = || Box::new([Histogram::new(SECONDS), Histogram::new(SECONDS)]);
                let [whole, own] = &**request.waited.get_or_init(make);
                whole.observe(took.as_secs_f64());
                own.observe(took.saturating_sub(waited).as_secs_f64());
            }
            if let Some(size) = size {
                request.sizes.observe(size as f64);
            }
        });
    }

    /// A stream has ended as it should or was refused; it is counted without its time.
    pub(crate) fn count(&self, labels: Labels, code: u16) {
        self.requests.with(labels, |request| request.count(code));
    }

    /// A version was asked for that is deprecated or gone.
    pub(crate) fn deprecated(&self, what: Deprecated) {
        self.deprecated.with(what, |()| {});
    }

    /// It was decided whether a user may do something; `None`: nobody had an opinion.
    pub(crate) fn decided(&self, allowed: Option<bool>) {
        let counter = match allowed {
            Some(true) => &self.authorized,
            Some(false) => &self.denied,
            None => &self.no_opinion,
        };
        counter.fetch_add(1, Ordering::Relaxed);
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
        let name = "apiserver_request_sli_duration_seconds";
        title(out, name, "histogram", "How long requests took, less what webhooks did.");
        for (labels, request) in &requests {
            let mut own = request.duration.snapshot();
            if let Some([whole, less]) = request.waited.get().map(|both| &**both) {
                own.add(whole, -1);
                own.add(less, 1);
            }
            own.write((name, &labels.text()), SECONDS, NOT_SLI, out);
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
        let name = "apiserver_requested_deprecated_apis";
        title(out, name, "gauge", "Deprecated versions that were asked for.");
        for ((group, version, resource, part, removed), ()) in
            self.deprecated.sorted().iter().map(|(key, there)| (*key, &**there))
        {
            let _ = writeln!(
                out,
                "{name}{{group=\"{group}\",removed_release=\"{removed}\",resource=\"{resource}\",\
                 subresource=\"{part}\",version=\"{version}\"}} 1"
            );
        }
        let name = "authorization_attempts_total";
        title(out, name, "counter", "Decisions whether somebody may do something.");
        for (result, count) in [
            ("allowed", &self.authorized),
            ("denied", &self.denied),
            ("no-opinion", &self.no_opinion),
        ] {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{result=\"{result}\"}} {count}");
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
        let none = Duration::ZERO;
        metrics.done(labels, 200, (Duration::from_millis(30), none), Some(500));
        let webhooks = Duration::from_millis(89_900);
        metrics.done(labels, 200, (Duration::from_secs(90), webhooks), Some(5000));
        metrics.done(labels, 404, (none, none), None);
        metrics.decided(None);
        metrics.deprecated(("batch", "v1beta1", "cronjobs", "", "1.25"));
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
            format!("apiserver_request_sli_duration_seconds_bucket{{{series},le=\"0.05\"}} 2"),
            format!("apiserver_request_sli_duration_seconds_bucket{{{series},le=\"0.1\"}} 3"),
            "authorization_attempts_total{result=\"no-opinion\"} 1".to_owned(),
            "apiserver_requested_deprecated_apis{group=\"batch\",removed_release=\"1.25\",\
             resource=\"cronjobs\",subresource=\"\",version=\"v1beta1\"} 1"
                .to_owned(),
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

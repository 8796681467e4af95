//! `/livez`, `/readyz` and `/healthz`, in the text that kube-apiserver has for them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::Status;

use super::query::Query;
use super::{Body, full};
use crate::ApiServer;
use crate::metrics::{Table, title};

/// How often checks went well, for `/metrics/slis`: by their name and that of the path.
#[derive(Default)]
pub(crate) struct Checks(Table<(&'static str, &'static str), Count>);

#[derive(Default)]
struct Count {
    good: AtomicU64,
    bad: AtomicU64,
    is_bad: AtomicBool,
}

impl Checks {
    fn observe(&self, check: &'static str, path: &'static str, good: bool) {
        let count = self.0.of((check, path));
        if good { &count.good } else { &count.bad }.fetch_add(1, Ordering::Relaxed);
        count.is_bad.store(!good, Ordering::Relaxed);
    }

    /// In the text format of Prometheus, by Kubernetes' names (`component-base/metrics/prometheus/slis`).
    pub(super) fn text(&self) -> Bytes {
        let all = self.0.sorted();
        let mut out = String::new();
        let name = "kubernetes_healthcheck";
        title(&mut out, name, "gauge", "Whether a check went well the last time.");
        for ((check, path), count) in &all {
            let good = i32::from(!count.is_bad.load(Ordering::Relaxed));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{{name=\"{check}\",type=\"{path}\"}} {good}");
        }
        let name = "kubernetes_healthchecks_total";
        title(&mut out, name, "counter", "How often checks went well and did not.");
        for ((check, path), count) in &all {
            for (status, count) in [("error", &count.bad), ("success", &count.good)] {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = format!("name=\"{check}\",status=\"{status}\",type=\"{path}\"");
                    let _ = writeln!(out, "{name}{{{labels}}} {count}");
                }
            }
        }
        out.into()
    }
}

/// A check: its name, and what is wrong.
type Check = (&'static str, fn(&ApiServer) -> Result<(), String>);

/// What kube-apiserver starts after itself, in its order and by its names, which monitoring asks
/// for: the first objects are checked, all else is there from the first request on.
const HOOKS: &[Check] = &[
    ("poststarthook/start-apiserver-admission-initializer", ok),
    ("poststarthook/generic-apiserver-start-informers", ok),
    ("poststarthook/priority-and-fairness-config-consumer", ok),
    ("poststarthook/priority-and-fairness-filter", ok),
    ("poststarthook/storage-object-count-tracker-hook", ok),
    ("poststarthook/start-apiextensions-informers", ok),
    ("poststarthook/start-apiextensions-controllers", ok),
    ("poststarthook/crd-informer-synced", ok),
    ("poststarthook/start-system-namespaces-controller", bootstrapped),
    ("poststarthook/start-cluster-authentication-info-controller", bootstrapped),
    ("poststarthook/start-kube-apiserver-identity-lease-controller", ok),
    ("poststarthook/start-kube-apiserver-identity-lease-garbage-collector", ok),
    ("poststarthook/storage-readiness", ok),
    ("poststarthook/start-legacy-token-tracking-controller", ok),
    ("poststarthook/start-service-ip-repair-controllers", ok),
    ("poststarthook/rbac/bootstrap-roles", bootstrapped),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", bootstrapped),
    ("poststarthook/priority-and-fairness-config-producer", bootstrapped),
    ("poststarthook/bootstrap-controller", bootstrapped),
    ("poststarthook/start-kubernetes-service-cidr-controller", bootstrapped),
    ("poststarthook/aggregator-reload-proxy-client-cert", ok),
    ("poststarthook/start-kube-aggregator-informers", ok),
    ("poststarthook/apiservice-status-local-available-controller", ok),
    ("poststarthook/apiservice-status-remote-available-controller", ok),
    ("poststarthook/apiservice-registration-controller", ok),
    ("poststarthook/apiservice-discovery-controller", ok),
    ("poststarthook/kube-apiserver-autoregistration", bootstrapped),
    ("autoregister-completion", bootstrapped),
    ("poststarthook/apiservice-openapi-controller", ok),
    ("poststarthook/apiservice-openapiv3-controller", ok),
];

/// Before the hooks: `/livez` and `/healthz`.
const LIVE: &[Check] = &[("ping", ok), ("log", ok), ("etcd", store)];

/// Before the hooks: `/readyz`.
const READY: &[Check] = &[
    ("ping", ok),
    ("log", ok),
    ("etcd", store),
    ("etcd-readiness", store),
    ("informer-sync", |server| {
        // The watch cache is filled before the first request; it goes only with the server.
        let live = !server.registry.cache.shutdown().is_cancelled();
        live.then_some(()).ok_or_else(|| "the watch cache has ended".to_owned())
    }),
];

/// After the hooks: `/readyz`.
const SHUTDOWN: &[Check] = &[("shutdown", |server| {
    let ends = server.shutdown().is_cancelled();
    (!ends).then_some(()).ok_or_else(|| "process is shutting down".to_owned())
})];

fn ok(_: &ApiServer) -> Result<(), String> {
    Ok(())
}

/// The checks of `livez`, `readyz` or `healthz`, in order.
fn checks(name: &str) -> impl Iterator<Item = &'static Check> {
    let (first, last) = if name == "readyz" { (READY, SHUTDOWN) } else { (LIVE, &[][..]) };
    first.iter().chain(HOOKS).chain(last)
}

/// The paths of all checks.
pub(super) fn paths() -> impl Iterator<Item = String> {
    ["healthz", "livez", "readyz"].into_iter().flat_map(|name| {
        let one = move |(check, _): &Check| format!("/{name}/{check}");
        std::iter::once(format!("/{name}")).chain(checks(name).map(one))
    })
}

fn store(server: &ApiServer) -> Result<(), String> {
    server.registry.store.health().map_err(|error| error.to_string())
}

fn bootstrapped(server: &ApiServer) -> Result<(), String> {
    let under_way = server.bootstrapping.load(Ordering::Relaxed);
    (!under_way).then_some(()).ok_or_else(|| "not finished".to_owned())
}

/// Whether the path is one of health.
pub(super) fn is_one(segments: &[&str]) -> bool {
    matches!(segments.first(), Some(&("livez" | "readyz" | "healthz")))
}

/// All checks of a path, or the one that it names.
pub(super) fn answer(
    server: &ApiServer,
    segments: &[&str],
    query: &Query,
) -> Result<Response<Body>, Status> {
    let (Some(name), rest) = (segments.first(), segments.get(1..).unwrap_or_default()) else {
        return Err(Status::no_such_path());
    };
    if rest.is_empty() {
        let (ok, text) = all(server, name, query);
        return Ok(plain(ok, text));
    }
    let wanted = rest.join("/");
    let (_, check) =
        checks(name).find(|(name, _)| *name == wanted).ok_or_else(Status::no_such_path)?;
    Ok(match check(server) {
        Ok(()) => plain(true, "ok".to_owned()),
        Err(error) => plain(false, format!("internal server error: {error}\n")),
    })
}

fn all(server: &ApiServer, name: &str, query: &Query) -> (bool, String) {
    let mut excluded: BTreeSet<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut ok = true;
    let path = ["livez", "readyz"].into_iter().find(|path| *path == name).unwrap_or("healthz");
    for (check, run) in checks(name) {
        // Writing to a String cannot fail.
        let _ = if excluded.remove(check) {
            writeln!(lines, "[+]{check} excluded: ok")
        } else if let Err(error) = run(server) {
            server.checks.observe(check, path, false);
            tracing::info!(%error, check, "a health check failed");
            ok = false;
            // Everybody may ask; what is wrong is for the log.
            writeln!(lines, "[-]{check} failed: reason withheld")
        } else {
            server.checks.observe(check, path, true);
            writeln!(lines, "[+]{check} ok")
        };
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(
            lines,
            "warn: some health checks cannot be excluded: no matches for {}",
            names.join(",")
        );
    }
    match ok {
        false => (false, format!("{lines}{name} check failed\n")),
        true if query.has("verbose") => (true, format!("{lines}{name} check passed\n")),
        true => (true, "ok".to_owned()),
    }
}

fn plain(ok: bool, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    if !ok {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

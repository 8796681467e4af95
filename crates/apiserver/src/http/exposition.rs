//! `/metrics`: the text format of Prometheus.

use std::fmt::Write;

use bytes::Bytes;

use crate::metrics::title;
use crate::{ApiServer, VERSION};

/// `Content-Type` of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted.
pub(super) fn text(server: &ApiServer) -> Bytes {
    let mut out = String::with_capacity(64 << 10);
    server.metrics.write(&mut out);
    server.registry.authenticators.write_metrics(&mut out);
    server.registry.admission.write_metrics(&mut out);
    server.flow_control.write_metrics(&mut out);
    server.aggregation.write_metrics(&mut out);
    onggi_client::queue::write_metrics(&mut out);
    if let Some(audit) = &server.audit {
        audit.write_metrics(&mut out);
    }
    objects(server, &mut out);
    process(&mut out);
    title(&mut out, "kubernetes_build_info", "gauge", "What runs here.");
    let (major, minor) = super::documents::version_numbers();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "kubernetes_build_info{{git_version=\"{VERSION}\",major=\"{major}\",minor=\"{minor}\"}} 1"
    );
    out.into()
}

fn objects(server: &ApiServer, out: &mut String) {
    let cache = &server.registry.cache;
    let catalog = server.catalog();
    let mut rows: Vec<_> = catalog.rows().collect();
    rows.sort_by_key(|row| (row.group, row.plural));
    rows.dedup_by_key(|row| (row.group, row.plural));
    let counts: Vec<_> =
        rows.into_iter().filter_map(|row| Some((row, cache.of(row).ok()?.len()))).collect();
    title(out, "apiserver_storage_objects", "gauge", "Stored objects of a resource.");
    for (row, count) in &counts {
        let resource = row.group_resource();
        let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
    }
    title(out, "apiserver_resource_objects", "gauge", "Stored objects of a resource.");
    for (row, count) in &counts {
        let (group, resource) = (row.group, row.plural);
        let _ = writeln!(
            out,
            "apiserver_resource_objects{{group=\"{group}\",resource=\"{resource}\"}} {count}"
        );
    }
    title(out, "apiserver_storage_revision", "gauge", "The newest revision of the store.");
    let _ = writeln!(out, "apiserver_storage_revision {}", server.registry.store.revision());
}

/// What the kernel says of this process; a number that it does not tell is left out.
fn process(out: &mut String) {
    /// `USER_HZ`, the same for all programs whatever the kernel itself counts in.
    const TICKS: f64 = 100.0;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // The program's name may hold blanks; behind its bracket come fields 3 and on.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
    let boot = read("/proc/stat");
    let boot =
        boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let memory = read("/proc/self/status");
    let resident = memory.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
    });
    let limits = read("/proc/self/limits");
    let most = limits.lines().find_map(|line| {
        line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok()
    });
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            "counter",
            "CPU time used.",
            field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process began, in seconds since 1970.",
            boot.zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS),
        ),
        ("process_virtual_memory_bytes", "gauge", "Address space.", field(23)),
        ("process_resident_memory_bytes", "gauge", "Memory in use.", resident),
        ("process_open_fds", "gauge", "Open file descriptors.", open),
        ("process_max_fds", "gauge", "File descriptors that may be open.", most),
    ] {
        if let Some(value) = value {
            title(out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
    }
}

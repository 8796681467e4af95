//! Nodes.

use onggi_api::Quantity;
use onggi_machinery::table::human_duration;
use onggi_machinery::value::{at, bool_at, entries_at, list_at, str_at, time_at};
use serde_json::Value;

use super::Related;
use super::amounts::{Amounts, Side, add, of_pod};
use super::text::{Text, or, time};

pub(super) fn node(text: &mut Text, node: &Value, related: &Related, now: i64) {
    text.field(0, "Name", str_at(node, "metadata.name"));
    let roles: Vec<&str> = entries_at(node, "metadata.labels")
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let roles = roles.join(",");
    text.field(0, "Roles", if roles.is_empty() { "<none>" } else { &roles });
    text.labels(node);
    text.annotations(node);
    text.field(0, "CreationTimestamp", &time(node, "metadata.creationTimestamp"));
    let taints: Vec<String> = list_at(node, "spec.taints").iter().map(taint).collect();
    if taints.is_empty() {
        text.field(0, "Taints", "<none>");
    }
    for (at, taint) in taints.iter().enumerate() {
        let name = if at == 0 { "Taints:" } else { "" };
        text.line(0, &format!("{name}\t{taint}"));
    }
    text.field(0, "Unschedulable", &bool_at(node, "spec.unschedulable").to_string());
    match &related.lease {
        Some(Ok(lease)) => {
            text.line(0, "Lease:");
            let holder = str_at(lease, "spec.holderIdentity");
            text.field(1, "HolderIdentity", or(holder, "<unset>"));
            text.field(1, "AcquireTime", &time(lease, "spec.acquireTime"));
            text.field(1, "RenewTime", &time(lease, "spec.renewTime"));
        }
        Some(Err(why)) => text.field(0, "Lease", &format!("Failed to get lease: {why}")),
        None => {}
    }
    let conditions = list_at(node, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
        text.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
        for c in conditions {
            text.line(
                1,
                &format!(
                    "{} \t{} \t{} \t{} \t{} \t{}",
                    str_at(c, "type"),
                    str_at(c, "status"),
                    // Of a node that never told anything, as Go spells no time.
                    match at(c, "lastHeartbeatTime") {
                        Value::Null => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
                        _ => time(c, "lastHeartbeatTime"),
                    },
                    time(c, "lastTransitionTime"),
                    str_at(c, "reason"),
                    str_at(c, "message"),
                ),
            );
        }
    }
    text.line(0, "Addresses:");
    for address in list_at(node, "status.addresses") {
        text.field(1, str_at(address, "type"), str_at(address, "address"));
    }
    for (label, path) in [("Capacity", "status.capacity"), ("Allocatable", "status.allocatable")] {
        text.line(0, &format!("{label}:"));
        for (name, quantity) in entries_at(node, path) {
            text.field(1, name, quantity.as_str().unwrap_or_default());
        }
    }
    text.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        text.field(1, label, str_at(at(node, "status.nodeInfo"), field));
    }
    for (label, path) in [("PodCIDR", "spec.podCIDR"), ("ProviderID", "spec.providerID")] {
        text.some(0, label, str_at(node, path));
    }
    let cidrs: Vec<&str> =
        list_at(node, "spec.podCIDRs").iter().filter_map(Value::as_str).collect();
    text.some(0, "PodCIDRs", &cidrs.join(","));
    resources(text, node, &related.objects, now);
}

fn taint(taint: &Value) -> String {
    let value = match str_at(taint, "value") {
        "" => String::new(),
        value => format!("={value}"),
    };
    format!("{}{value}:{}", str_at(taint, "key"), str_at(taint, "effect"))
}

/// What the pods of a node ask for and may use.
fn resources(text: &mut Text, node: &Value, pods: &[Value], now: i64) {
    let running = |pod: &&Value| !matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed");
    let pods: Vec<&Value> = pods.iter().filter(running).collect();
    let whole = |name: &str| {
        let text = str_at(at(node, "status.allocatable"), name);
        text.parse::<Quantity>().map_or(0.0, |quantity| quantity.as_f64())
    };
    let shown = |used: &Amounts, name: &str| {
        let used = used.get(name).copied().unwrap_or_else(|| Quantity::from_units(0));
        let share = match whole(name) {
            0.0 => 0.0,
            whole => used.as_f64() / whole * 100.0,
        };
        // A share is cut, not rounded.
        format!("{used} ({}%)", share as i64)
    };
    text.field(0, "Non-terminated Pods", &format!("({} in total)", pods.len()));
    text.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    text.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    let (mut asked, mut most) = (Amounts::new(), Amounts::new());
    for pod in &pods {
        let (requests, limits) = (of_pod(pod, Side::Requests), of_pod(pod, Side::Limits));
        let age = time_at(pod, "metadata.creationTimestamp").map_or(0, |created| now - created);
        text.line(
            1,
            &format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                str_at(pod, "metadata.namespace"),
                str_at(pod, "metadata.name"),
                shown(&requests, "cpu"),
                shown(&limits, "cpu"),
                shown(&requests, "memory"),
                shown(&limits, "memory"),
                human_duration(age),
            ),
        );
        add(&mut asked, &requests);
        add(&mut most, &limits);
    }
    text.line(0, "Allocated resources:");
    text.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    text.line(1, "Resource\tRequests\tLimits");
    text.line(1, "--------\t--------\t------");
    for name in ["cpu", "memory", "ephemeral-storage"] {
        text.line(1, &format!("{name}\t{}\t{}", shown(&asked, name), shown(&most, name)));
    }
    // Huge pages with their shares, then what only some nodes have.
    const STANDARD: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];
    let names = entries_at(node, "status.allocatable").map(|(name, _)| name);
    let mut names: Vec<&str> = names.filter(|name| !STANDARD.contains(name)).collect();
    names.sort_unstable_by_key(|name| (!name.starts_with("hugepages-"), *name));
    for name in names {
        let plain = |used: &Amounts| match used.get(name) {
            _ if name.starts_with("hugepages-") => shown(used, name),
            Some(used) => used.to_string(),
            None => "0".to_owned(),
        };
        text.line(1, &format!("{name}\t{}\t{}", plain(&asked), plain(&most)));
    }
}

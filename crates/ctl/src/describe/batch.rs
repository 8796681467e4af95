//! Jobs, CronJobs, StatefulSets, DaemonSets and ReplicationControllers.

use onggi_machinery::table::{human_duration, selector_text};
use onggi_machinery::value::{at, entries_at, i64_at, is_set, list_at, str_at, time_at};
use serde_json::{Value, json};

use super::pod::template_into;
use super::text::{Text, or, time};
use crate::jsonpath::text_of;

fn number(object: &Value, path: &str) -> i64 {
    i64_at(object, path).unwrap_or(0)
}

fn or_unset(object: &Value, path: &str, unit: &str) -> String {
    i64_at(object, path).map_or_else(|| "<unset>".to_owned(), |n| format!("{n}{unit}"))
}

pub(super) fn controlled_by(text: &mut Text, object: &Value) {
    let owners = list_at(object, "metadata.ownerReferences");
    if let Some(owner) = owners.iter().find(|o| o["controller"] == true) {
        let owner = format!("{}/{}", str_at(owner, "kind"), str_at(owner, "name"));
        text.field(0, "Controlled By", &owner);
    }
}

fn name(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
}

pub(super) fn job(text: &mut Text, job: &Value) {
    name(text, job);
    text.field(0, "Selector", &selector_text(at(job, "spec.selector")));
    text.labels(job);
    text.annotations(job);
    controlled_by(text, job);
    text.field(0, "Parallelism", &number(job, "spec.parallelism").to_string());
    text.field(0, "Completions", &or_unset(job, "spec.completions", ""));
    text.some(0, "Completion Mode", str_at(job, "spec.completionMode"));
    if let Some(suspended) = at(job, "spec.suspend").as_bool() {
        text.field(0, "Suspend", if suspended { "true" } else { "false" });
    }
    for (label, path) in [
        ("Backoff Limit", "spec.backoffLimit"),
        ("TTL Seconds After Finished", "spec.ttlSecondsAfterFinished"),
    ] {
        if let Some(count) = i64_at(job, path) {
            text.field(0, label, &count.to_string());
        }
    }
    for (label, path) in
        [("Start Time", "status.startTime"), ("Completed At", "status.completionTime")]
    {
        if is_set(job, path) {
            text.field(0, label, &time(job, path));
        }
    }
    let (start, end) = (time_at(job, "status.startTime"), time_at(job, "status.completionTime"));
    if let (Some(start), Some(end)) = (start, end) {
        text.field(0, "Duration", &human_duration(end - start));
    }
    if let Some(seconds) = i64_at(job, "spec.activeDeadlineSeconds") {
        text.field(0, "Active Deadline Seconds", &format!("{seconds}s"));
    }
    let ready = i64_at(job, "status.ready").map_or_else(String::new, |n| format!(" ({n} Ready)"));
    let counts = format!(
        "{} Active{ready} / {} Succeeded / {} Failed",
        number(job, "status.active"),
        number(job, "status.succeeded"),
        number(job, "status.failed")
    );
    text.field(0, "Pods Statuses", &counts);
    if str_at(job, "spec.completionMode") == "Indexed" {
        let indexes = or(str_at(job, "status.completedIndexes"), "<none>");
        text.field(0, "Completed Indexes", indexes);
    }
    template_into(text, at(job, "spec.template"), None);
}

pub(super) fn cron_job(text: &mut Text, cron: &Value) {
    name(text, cron);
    text.labels(cron);
    text.annotations(cron);
    text.field(0, "Schedule", str_at(cron, "spec.schedule"));
    text.field(0, "Concurrency Policy", str_at(cron, "spec.concurrencyPolicy"));
    let suspended = match at(cron, "spec.suspend").as_bool() {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    text.field(0, "Suspend", suspended);
    text.field(0, "Time Zone", or(str_at(cron, "spec.timeZone"), "<unset>"));
    let limit = |path: &str| or_unset(cron, path, "");
    text.field(0, "Successful Job History Limit", &limit("spec.successfulJobsHistoryLimit"));
    text.field(0, "Failed Job History Limit", &limit("spec.failedJobsHistoryLimit"));
    let deadline = or_unset(cron, "spec.startingDeadlineSeconds", "s");
    text.field(0, "Starting Deadline Seconds", &deadline);
    let template = at(cron, "spec.jobTemplate.spec");
    let selector = at(template, "selector");
    let selector = if selector.is_null() { "<unset>".to_owned() } else { selector_text(selector) };
    text.field(0, "Selector", &selector);
    text.field(0, "Parallelism", &or_unset(template, "parallelism", ""));
    text.field(0, "Completions", &or_unset(template, "completions", ""));
    if let Some(seconds) = i64_at(template, "activeDeadlineSeconds") {
        text.field(0, "Active Deadline Seconds", &format!("{seconds}s"));
    }
    template_into(text, at(template, "template"), None);
    text.field(0, "Last Schedule Time", &time(cron, "status.lastScheduleTime"));
    let active: Vec<&str> =
        list_at(cron, "status.active").iter().map(|job| str_at(job, "name")).collect();
    text.field(0, "Active Jobs", or(&active.join(", "), "<none>"));
}

/// `1 Running / 0 Waiting / …`.
fn pods_status(text: &mut Text, pods: &[Value]) {
    let count = |phase: &str| pods.iter().filter(|p| str_at(p, "status.phase") == phase).count();
    text.field(
        0,
        "Pods Status",
        &format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            count("Running"),
            count("Pending"),
            count("Succeeded"),
            count("Failed"),
        ),
    );
}

pub(super) fn stateful_set(text: &mut Text, set: &Value, pods: &[Value]) {
    name(text, set);
    text.field(0, "CreationTimestamp", &time(set, "metadata.creationTimestamp"));
    text.field(0, "Selector", &selector_text(at(set, "spec.selector")));
    text.labels(set);
    text.annotations(set);
    let (wanted, all) = (number(set, "spec.replicas"), number(set, "status.replicas"));
    text.field(0, "Replicas", &format!("{wanted} desired | {all} total"));
    text.field(0, "Update Strategy", str_at(set, "spec.updateStrategy.type"));
    if let Some(partition) = i64_at(set, "spec.updateStrategy.rollingUpdate.partition") {
        text.field(1, "Partition", &partition.to_string());
        let most = at(set, "spec.updateStrategy.rollingUpdate.maxUnavailable");
        if !most.is_null() {
            text.field(1, "MaxUnavailable", &text_of(most));
        }
    }
    pods_status(text, pods);
    template_into(text, at(set, "spec.template"), None);
    let claims = list_at(set, "spec.volumeClaimTemplates");
    if claims.is_empty() {
        text.field(0, "Volume Claims", "<none>");
        return;
    }
    text.line(0, "Volume Claims:");
    for claim in claims {
        text.field(1, "Name", str_at(claim, "metadata.name"));
        text.field(1, "StorageClass", str_at(claim, "spec.storageClassName"));
        text.map(1, "Labels", claim, "metadata.labels", "=");
        text.map(1, "Annotations", claim, "metadata.annotations", "=");
        let size = str_at(claim, "spec.resources.requests.storage");
        text.field(1, "Capacity", or(size, "<default>"));
        text.field(1, "Access Modes", &bracketed(list_at(claim, "spec.accessModes")));
    }
}

/// `[a b]`, as Go prints lists.
pub(super) fn bracketed(list: &[Value]) -> String {
    let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    format!("[{}]", words.join(" "))
}

pub(super) fn daemon_set(text: &mut Text, set: &Value, pods: &[Value]) {
    text.field(0, "Name", str_at(set, "metadata.name"));
    text.field(0, "Namespace", str_at(set, "metadata.namespace"));
    text.field(0, "Selector", &selector_text(at(set, "spec.selector")));
    let nodes: Vec<String> = entries_at(set, "spec.template.spec.nodeSelector")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    text.field(0, "Node-Selector", or(&nodes.join(","), "<none>"));
    text.labels(set);
    text.annotations(set);
    for (label, path) in [
        ("Desired Number of Nodes Scheduled", "status.desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "status.currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "status.updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "status.numberAvailable"),
        ("Number of Nodes Misscheduled", "status.numberMisscheduled"),
    ] {
        text.line(0, &format!("{label}: {}", number(set, path)));
    }
    pods_status(text, pods);
    template_into(text, at(set, "spec.template"), None);
}

pub(super) fn replication_controller(text: &mut Text, rc: &Value, pods: &[Value]) {
    name(text, rc);
    let selector = json!({"matchLabels": at(rc, "spec.selector")});
    text.field(0, "Selector", &selector_text(&selector));
    text.labels(rc);
    text.annotations(rc);
    let (current, wanted) = (number(rc, "status.replicas"), number(rc, "spec.replicas"));
    text.field(0, "Replicas", &format!("{current} current / {wanted} desired"));
    pods_status(text, pods);
    template_into(text, at(rc, "spec.template"), None);
    let conditions = list_at(rc, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tReason");
        text.line(1, "----\t------\t------");
        for c in conditions {
            let of = |field: &str| str_at(c, field).to_owned();
            text.line(1, &format!("{} \t{}\t{}", of("type"), of("status"), of("reason")));
        }
    }
}

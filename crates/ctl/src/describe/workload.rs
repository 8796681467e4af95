//! Deployments and ReplicaSets.

use onggi_machinery::table::selector_text;
use onggi_machinery::value::{at, i64_at, list_at, str_at};
use serde_json::Value;

use super::pod::template_into;
use super::text::{Text, or, time};
use crate::rollout::{revision, template};

pub(super) fn deployment(text: &mut Text, object: &Value, sets: &[Value]) {
    let number = |path: &str| i64_at(object, path).unwrap_or(0);
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    text.field(0, "CreationTimestamp", &time(object, "metadata.creationTimestamp"));
    text.labels(object);
    text.annotations(object);
    text.field(0, "Selector", &selector_text(at(object, "spec.selector")));
    text.field(
        0,
        "Replicas",
        &format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            number("spec.replicas"),
            number("status.updatedReplicas"),
            number("status.replicas"),
            number("status.availableReplicas"),
            number("status.unavailableReplicas"),
        ),
    );
    text.field(0, "StrategyType", str_at(object, "spec.strategy.type"));
    text.field(0, "MinReadySeconds", &number("spec.minReadySeconds").to_string());
    if let Some(rolling) = at(object, "spec.strategy").get("rollingUpdate") {
        let bound = |field: &str| match at(rolling, field) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (unavailable, surge) = (bound("maxUnavailable"), bound("maxSurge"));
        let strategy = format!("{unavailable} max unavailable, {surge} max surge");
        text.field(0, "RollingUpdateStrategy", &strategy);
    }
    template_into(text, at(object, "spec.template"), None);
    let conditions = list_at(object, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tReason");
        text.line(1, "----\t------\t------");
        for c in conditions {
            let of = |field: &str| str_at(c, field).to_owned();
            text.line(1, &format!("{} \t{}\t{}", of("type"), of("status"), of("reason")));
        }
    }
    if sets.is_empty() {
        return;
    }
    let newest =
        sets.iter().filter(|set| template(set) == template(object)).max_by_key(|set| revision(set));
    let is_newest = |set: &&Value| newest.is_some_and(|new| std::ptr::eq(new, *set));
    let said = |sets: &mut dyn Iterator<Item = &Value>| {
        let one = |set: &Value| {
            format!(
                "{} ({}/{} replicas created)",
                str_at(set, "metadata.name"),
                i64_at(set, "status.replicas").unwrap_or(0),
                i64_at(set, "spec.replicas").unwrap_or(0),
            )
        };
        let texts: Vec<String> = sets.map(one).collect();
        or(&texts.join(", "), "<none>").to_owned()
    };
    let old = said(&mut sets.iter().filter(|set| !is_newest(set)));
    text.field(0, "OldReplicaSets", &old);
    text.field(0, "NewReplicaSet", &said(&mut newest.into_iter()));
}

pub(super) fn replica_set(text: &mut Text, object: &Value, pods: &[Value]) {
    let number = |path: &str| i64_at(object, path).unwrap_or(0);
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    text.field(0, "Selector", &selector_text(at(object, "spec.selector")));
    text.labels(object);
    text.annotations(object);
    let owner =
        list_at(object, "metadata.ownerReferences").iter().find(|o| o["controller"] == true);
    if let Some(owner) = owner {
        let owner = format!("{}/{}", str_at(owner, "kind"), str_at(owner, "name"));
        text.field(0, "Controlled By", &owner);
    }
    let (current, wanted) = (number("status.replicas"), number("spec.replicas"));
    text.field(0, "Replicas", &format!("{current} current / {wanted} desired"));
    let phase =
        |phase: &str| pods.iter().filter(|pod| str_at(pod, "status.phase") == phase).count();
    text.field(
        0,
        "Pods Status",
        &format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            phase("Running"),
            phase("Pending"),
            phase("Succeeded"),
            phase("Failed"),
        ),
    );
    template_into(text, at(object, "spec.template"), None);
}

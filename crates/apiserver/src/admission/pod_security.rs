//! PodSecurity: what a namespace's labels ask of the pods in it. Pods are refused; workloads, whose
//! pods would be, are warned about.

use std::collections::HashMap;

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::admission::pod_security::{
    self, Level, LevelVersion, Policy, Violations, violations,
};
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

/// How many pods of a namespace are looked at when it becomes stricter.
const MAX_PODS: usize = 3000;

const ANNOTATIONS: &str = "pod-security.kubernetes.io";

pub(super) struct PodSecurity;

#[async_trait]
impl Plugin for PodSecurity {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        if !attributes.writes() {
            return false;
        }
        let (row, subresource) = (attributes.row, attributes.subresource);
        match (row.group, row.plural) {
            ("", "namespaces") => subresource.is_empty(),
            ("", "pods") => matches!(subresource, "" | "ephemeralcontainers" | "resize"),
            (group, plural) => {
                subresource.is_empty() && pod_security::stands_for_pods(group, plural)
            }
        }
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        if attributes.part("", "namespaces") {
            return namespace(registry, attributes, object);
        }
        let name = attributes.namespace;
        let Some(space) = lookup::find(registry, "", "namespaces", "", name).await? else {
            return Err(Status::internal(format!("failed to lookup namespace {name:?}")));
        };
        let (policy, errors) = Policy::read(&space.head().labels);
        let pods = attributes.part("", "pods");
        let told = [policy.audit.level, policy.warn.level];
        let nothing_told = told.iter().all(|level| *level == Level::Privileged);
        if errors.is_empty() && nothing_told && (!pods || policy.is_privileged()) {
            return Ok(());
        }
        if let Some(old) = attributes.old.filter(|_| pods)
            && !pod_security::is_significant(object, old)
        {
            return Ok(());
        }
        let (group, plural) = (attributes.row.group, attributes.row.plural);
        let Some((metadata, spec)) = pod_security::pod_of(group, plural, object) else {
            return Ok(());
        };
        judge(attributes, object, policy, pods, |level| violations(level, metadata, spec))
    }
}

fn judge(
    attributes: &Attributes<'_>,
    object: &Value,
    policy: Policy,
    enforce: bool,
    violations: impl Fn(LevelVersion) -> Violations,
) -> Result<(), Status> {
    let notes = &attributes.context.notes;
    let would = |level: LevelVersion| {
        let found = violations(level);
        let text = || format!("would violate PodSecurity \"{level}\": {}", found.details());
        (!found.is_empty()).then(text)
    };
    if let Some(text) = would(policy.audit) {
        notes.annotate(format!("{ANNOTATIONS}/audit-violations"), text);
    }
    if enforce {
        let level = policy.enforce;
        notes.annotate(format!("{ANNOTATIONS}/enforce-policy"), level.to_string());
        let found = violations(level);
        if !found.is_empty() {
            let why = format!("violates PodSecurity \"{level}\": {}", found.details());
            return Err(attributes.forbidden(object, &why));
        }
    }
    if let Some(text) = would(policy.warn) {
        notes.warn(text);
    }
    Ok(())
}

/// The labels of a namespace must be right where they change; its pods are looked at when it
/// becomes stricter.
fn namespace(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    let read = |namespace: &Value| {
        let labels = namespace["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
        Policy::read(&labels.collect())
    };
    let (policy, errors) = read(object);
    let old = attributes.old.map(read);
    let known = old.as_ref().is_some_and(|(_, before)| *before == errors);
    if !errors.is_empty() && !known {
        let name = text(object, "/metadata/name");
        return Err(Status::invalid(&attributes.row.group_kind(), name, &errors));
    }
    let Some((old, _)) = old.filter(|_| attributes.operation == Operation::Update) else {
        return Ok(());
    };
    let (new, old) = (policy.enforce, old.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new == old || new.level == Level::Privileged || relaxed {
        return Ok(());
    }
    present_pods(registry, attributes, new)
}

/// Warns of pods that are there and would not be let in any more.
fn present_pods(
    registry: &Registry,
    attributes: &Attributes<'_>,
    level: LevelVersion,
) -> Result<(), Status> {
    let pods = lookup::list(registry, "", "pods", attributes.name);
    let notes = &attributes.context.notes;
    let mut found: Vec<(String, String, usize)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for pod in pods.iter().take(MAX_PODS) {
        let value = pod.value().map_err(Status::internal)?;
        let reasons = violations(level, &value["metadata"], &value["spec"]).reasons();
        if reasons.is_empty() {
            continue;
        }
        let place = *places.entry(reasons.clone()).or_insert_with(|| {
            // Lists are in the order of names: the first one is the one to name.
            found.push((reasons, pod.head().name.clone(), 0));
            found.len() - 1
        });
        found[place].2 += 1;
    }
    if pods.len() > MAX_PODS {
        notes.warn(format!(
            "new PodSecurity enforce level only checked against the first {MAX_PODS} of {} existing \
             pods",
            pods.len()
        ));
    }
    if found.is_empty() {
        return Ok(());
    }
    notes.warn(format!(
        "existing pods in namespace {:?} violate the new PodSecurity enforce level \"{level}\"",
        attributes.name
    ));
    let mut texts: Vec<String> = found
        .into_iter()
        .map(|(reasons, name, count)| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            more => format!("{name} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    texts.sort();
    texts.into_iter().for_each(|text| notes.warn(text));
    Ok(())
}

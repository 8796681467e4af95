//! `apps/v1 StatefulSet`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{persistentvolumeclaim, podspec, status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{
    at, i64_at, is_set, items_mut, remove, set, set_default, set_default_text, str_at,
};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[workload::SCALE, status_of("apps", "v1", "StatefulSet")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Ready"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
    ],
    row,
    default,
    prepare_create: |set| {
        crate::value::set(set, "status", json!({"replicas": 0}));
        // Behind a feature gate that is off.
        remove(set, MAX_UNAVAILABLE);
    },
    prepare_update: |set, old| {
        if !is_set(old, MAX_UNAVAILABLE) {
            remove(set, MAX_UNAVAILABLE);
        }
    },
    validate,
    validate_update,
    warnings: workload::warnings,
    ..Resource::BASE
};

const MAX_UNAVAILABLE: &str = "spec.updateStrategy.rollingUpdate.maxUnavailable";

fn row(set: &Value, now: i64) -> Vec<Value> {
    let count = |path| i64_at(set, path).unwrap_or(0);
    let ready = format!("{}/{}", count("status.readyReplicas"), count("spec.replicas"));
    let [names, images] = table::containers_and_images(at(set, "spec.template.spec"));
    vec![table::name(set), ready.into(), table::age(set, now), names, images]
}

fn default(sts: &mut Value) {
    set_default_text(sts, "spec.podManagementPolicy", "OrderedReady");
    let rolling = "spec.updateStrategy.rollingUpdate";
    if str_at(sts, "spec.updateStrategy.type").is_empty() {
        set(sts, "spec.updateStrategy.type", "RollingUpdate");
        set_default(sts, rolling, json!({}));
    }
    if str_at(sts, "spec.updateStrategy.type") == "RollingUpdate" && is_set(sts, rolling) {
        set_default(sts, &format!("{rolling}.partition"), 0);
    }
    for field in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        set_default_text(sts, &path, "Retain");
    }
    set_default(sts, "spec.replicas", 1);
    set_default(sts, "spec.revisionHistoryLimit", 10);
    workload::default_template(sts);
    for claim in items_mut(sts, "spec.volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        persistentvolumeclaim::default(claim);
    }
}

// === Rules ===

fn validate(sts: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(sts).child("spec");
    pod_management(&spec.child("podManagementPolicy"), &mut errors);
    strategy(&spec.child("updateStrategy"), &mut errors);
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        retention.child(field).required_one_of(&["Retain", "Delete"], &mut errors);
    }
    for claim in spec.each("volumeClaimTemplates") {
        persistentvolumeclaim::validate_spec(&claim.child("spec"), &mut errors);
    }
    for field in ["replicas", "minReadySeconds", "ordinals.start"] {
        spec.child(field).not_negative(&mut errors);
    }
    spec.child("serviceName").may(names::dns1123_label, &mut errors);
    workload::selector(&spec, "empty selector is invalid for statefulset", &mut errors);
    if workload::is_selector(&spec) {
        workload::selected(&spec, &mut errors);
        template(&spec, &mut errors);
    } else {
        errors.push(spec.child("selector").invalid(""));
    }
    ends(&spec.child("template.spec"), &mut errors);
    errors
}

fn pod_management(policy: &At<'_>, errors: &mut Errors) {
    match policy.text() {
        "" => errors.push(policy.required("")),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid(&policy.path, other, detail));
        }
    }
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "" => errors.push(strategy.required("")),
        "OnDelete" if rolling.is_set() => {
            errors.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.child("partition").not_negative(errors);
            let most = rolling.child("maxUnavailable");
            if most.is_set() && super::deployment::share(&most, true, errors) == Some(0) {
                errors.push(most.invalid("cannot be 0"));
            }
        }
        _ => errors.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

/// The claims count as volumes, and take the place of those of their names.
fn template(spec: &At<'_>, errors: &mut Errors) {
    let template = spec.child("template");
    workload::marks(&template, errors);
    let claims = spec.each("volumeClaimTemplates");
    let claims: Vec<&str> = claims.map(|claim| str_at(claim.value, "metadata.name")).collect();
    podspec::validate_with_volumes(&template.child("spec"), &claims, errors);
    // Kubernetes looks at them twice.
    workload::marks(&template, errors);
}

/// Its pods go on running.
fn ends(pod: &At<'_>, errors: &mut Errors) {
    workload::always_restarts(pod, errors);
    let deadline = pod.child("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = "activeDeadlineSeconds in StatefulSet is not Supported";
        errors.push(deadline.forbidden(detail));
    }
}

fn validate_update(sts: &Value, old: &Value) -> Errors {
    const ALLOWED: &[&str] = &[
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    ];
    let mut errors = Errors::new();
    let spec = At::root(sts).child("spec");
    if !workload::changed_fields(spec.value, at(old, "spec"), ALLOWED).is_empty() {
        errors.push(spec.forbidden(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
    let status = At::root(sts).child("status");
    if status.value != at(old, "status") {
        validate_status(&status, &mut errors);
    }
    errors
}

fn validate_status(status: &At<'_>, errors: &mut Errors) {
    let all = status.child("replicas").int().unwrap_or(0);
    status.child("replicas").not_negative(errors);
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        let count = status.child(field);
        count.not_negative(errors);
        if count.int().is_some_and(|count| count > all) {
            errors.push(count.invalid("cannot be greater than status.replicas"));
        }
    }
    status.child("observedGeneration").not_negative(errors);
    status.child("collisionCount").not_negative(errors);
}

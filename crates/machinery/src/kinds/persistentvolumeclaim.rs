//! `v1 PersistentVolumeClaim`.

use onggi_api::{FieldError, Quantity};
use serde_json::{Value, json};

use super::{status_of, workload};
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, IMMUTABLE, labels, names};
use crate::value::{at, is_set, set, set_default, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[status_of("", "v1", "PersistentVolumeClaim")],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Volume"),
        Column::text("Capacity"),
        Column::text("Access Modes"),
        Column::text("StorageClass"),
        Column::text("VolumeAttributesClass"),
        Column::AGE,
        Column::wide("VolumeMode"),
    ],
    row,
    default,
    prepare_create: |object| {
        set(object, "status", json!({"phase": "Pending"}));
        same_source(object);
    },
    prepare_update: |object, _| same_source(object),
    validate,
    validate_update,
    answers_deleted: true,
    ..Resource::BASE
};

fn row(claim: &Value, now: i64) -> Vec<Value> {
    let deleting = is_set(claim, "metadata.deletionTimestamp");
    let phase = if deleting { "Terminating" } else { str_at(claim, "status.phase") };
    let volume = str_at(claim, "spec.volumeName");
    let bound = !volume.is_empty();
    let capacity = if bound { text_or(str_at(claim, "status.capacity.storage"), "0") } else { "" };
    let modes = if bound { access_modes(at(claim, "status.accessModes")) } else { String::new() };
    vec![
        table::name(claim),
        phase.into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        storage_class(claim).into(),
        text_or(str_at(claim, "spec.volumeAttributesClassName"), "<unset>").into(),
        table::age(claim, now),
        text_or(str_at(claim, "spec.volumeMode"), "<unset>").into(),
    ]
}

/// The class of a claim or volume; the annotation is the older way to say it.
pub(super) fn storage_class(object: &Value) -> &str {
    let old = at(object, "metadata.annotations").get("volume.beta.kubernetes.io/storage-class");
    old.and_then(Value::as_str).unwrap_or_else(|| str_at(object, "spec.storageClassName"))
}

/// `RWO,ROX`.
pub(super) fn access_modes(modes: &Value) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = modes.as_array().map_or(&[][..], Vec::as_slice);
    let shown = SHORT.iter().filter(|(mode, _)| modes.iter().any(|found| found == mode));
    shown.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Also for the templates of claims in a StatefulSet.
pub(super) fn default(claim: &mut Value) {
    set_default_text(claim, "status.phase", "Pending");
    set_default(claim, "spec.volumeMode", "Filesystem");
}

/// `dataSource` and `dataSourceRef` say the same, unless the latter names a namespace.
fn same_source(claim: &mut Value) {
    let (old, new) =
        (at(claim, "spec.dataSource").clone(), at(claim, "spec.dataSourceRef").clone());
    match (old.is_null(), new.is_null()) {
        (false, true) => set(claim, "spec.dataSourceRef", old),
        (true, false) if str_at(&new, "namespace").is_empty() => {
            set(claim, "spec.dataSource", new);
        }
        _ => {}
    }
}

// === Rules ===

const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The rules for access modes, of which there must be one.
pub(super) fn validate_access_modes(modes: &At<'_>, missing: &str, errors: &mut Errors) {
    if modes.items().next().is_none() {
        errors.push(modes.required(missing));
    }
    for mode in modes.items().filter(|mode| !ACCESS_MODES.contains(&mode.text())) {
        errors.push(FieldError::not_supported(&modes.path, mode.text(), ACCESS_MODES));
    }
    let of_one_pod = modes.items().filter(|mode| mode.text() == "ReadWriteOncePod").count();
    if of_one_pod > 0 && modes.items().count() > of_one_pod {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(modes.forbidden(detail));
    }
}

/// An amount that must be more than nothing.
pub(super) fn positive(amount: &At<'_>, errors: &mut Errors) {
    let some = |q: Quantity| q > Quantity::from_units(0);
    if !amount.text().parse().is_ok_and(some) {
        errors.push(amount.invalid("must be greater than zero"));
    }
}

fn validate(claim: &Value) -> Errors {
    let mut errors = Errors::new();
    validate_spec(&At::root(claim).child("spec"), &mut errors);
    errors
}

/// The rules for the `spec` of a claim or of its template.
pub(super) fn validate_spec(spec: &At<'_>, errors: &mut Errors) {
    let modes = spec.child("accessModes");
    validate_access_modes(&modes, "at least 1 access mode is required", errors);
    labels::selector(&spec.child("selector"), errors);
    let asked = spec.child("resources.requests").value.get("storage");
    let path = spec.child("resources").path.key("storage");
    match asked {
        None => errors.push(FieldError::required(&path, "")),
        Some(value) => positive(&At::new(value, path), errors),
    }
    for name in ["storageClassName", "volumeAttributesClassName"] {
        spec.child(name).may(names::dns1123_subdomain, errors);
    }
    spec.child("volumeMode").one_of(&["Block", "Filesystem"], errors);
    for name in ["dataSource", "dataSourceRef"] {
        source(&spec.child(name), errors);
    }
    let (old, new) = (spec.child("dataSource"), spec.child("dataSourceRef"));
    let both = old.is_set() && new.is_set();
    if both && ["apiGroup", "kind", "name"].iter().any(|f| at(old.value, f) != at(new.value, f)) {
        errors.push(old.invalid("must match dataSourceRef"));
    }
}

fn source(source: &At<'_>, errors: &mut Errors) {
    if !source.is_set() {
        return;
    }
    source.child("name").must_be_set(errors);
    let (group, kind) = (source.child("apiGroup"), source.child("kind"));
    kind.must_be_set(errors);
    if group.text().is_empty() && kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(&source.path, kind.text(), detail));
    }
    group.may(names::dns1123_subdomain, errors);
}

fn validate_update(claim: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::root(claim).child("spec"), at(old, "spec"));
    let bound = str_at(old, "status.phase") == "Bound";
    let mut allowed = vec!["volumeMode"];
    // The binder fills in the volume, once; a class that stood in the annotation may move.
    if str_at(before, "volumeName").is_empty() {
        allowed.push("volumeName");
    }
    if !is_set(before, "storageClassName") && storage_class(old) == storage_class(claim) {
        allowed.push("storageClassName");
    }
    if bound {
        allowed.push("volumeAttributesClassName");
    }
    let mut masked = spec.value.clone();
    if bound && is_set(before, "resources.requests.storage") {
        set(
            &mut masked,
            "resources.requests.storage",
            at(before, "resources.requests.storage").clone(),
        );
    }
    let changed = workload::changed_fields(&masked, before, &allowed);
    if !changed.is_empty() {
        errors.push(spec.forbidden(format!(
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\nchanged: {}",
            changed.join(", ")
        )));
    }
    // Kubernetes leaves `spec` out of the path.
    let mode = At::new(at(spec.value, "volumeMode"), onggi_api::FieldPath::new("volumeMode"));
    if mode.value != at(before, "volumeMode") {
        errors.push(mode.invalid(IMMUTABLE));
    }
    let amount = |spec: &Value| -> Option<Quantity> {
        str_at(spec, "resources.requests.storage").parse().ok()
    };
    let capacity = str_at(old, "status.capacity.storage").parse::<Quantity>().ok();
    if let (Some(new), Some(earlier)) = (amount(spec.value), amount(before))
        && bound
        && new < earlier
        && capacity.is_none_or(|capacity| new <= capacity)
    {
        let requests = spec.child("resources.requests.storage");
        errors.push(requests.forbidden("field can not be less than status.capacity"));
    }
    let status = At::root(claim).child("status");
    if status.value != at(old, "status") {
        let capacity = status.child("capacity");
        for (_, amount) in capacity.entries() {
            positive(&amount, &mut errors);
        }
    }
    errors
}

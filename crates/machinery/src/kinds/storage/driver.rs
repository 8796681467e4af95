//! `CSIDriver`.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, driver_name};
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, i64_at, is_set, list_at, remove, set, set_default, str_at};

/// The row.
pub const CSI_DRIVER: Resource = Resource {
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    columns: &[
        Column::NAME,
        flag("AttachRequired"),
        flag("PodInfoOnMount"),
        flag("StorageCapacity"),
        Column::text("TokenRequests"),
        flag("RequiresRepublish"),
        Column::text("Modes"),
        Column::AGE,
    ],
    row,
    default,
    prepare_create: |driver| remove(driver, GATED),
    prepare_update,
    warnings,
    validate,
    validate_update: |driver, old| {
        let mut errors = Errors::new();
        for field in ["attachRequired", "volumeLifecycleModes"] {
            let path = format!("spec.{field}");
            At::root(driver).child(&path).unchanged(at(old, &path), &mut errors);
        }
        errors
    },
    answers_deleted: true,
    ..BASE
};

const fn flag(name: &'static str) -> Column {
    Column { kind: "boolean", ..Column::text(name) }
}

fn row(driver: &Value, now: i64) -> Vec<Value> {
    let spec = at(driver, "spec");
    let joined = |list: &str, field: &str| {
        let text = |item: &Value| match field {
            "" => item.as_str().unwrap_or("").to_owned(),
            field => str_at(item, field).to_owned(),
        };
        list_at(spec, list).iter().map(text).collect::<Vec<_>>().join(",")
    };
    vec![
        table::name(driver),
        at(spec, "attachRequired").as_bool().unwrap_or(true).into(),
        bool_at(spec, "podInfoOnMount").into(),
        bool_at(spec, "storageCapacity").into(),
        text_or(&joined("tokenRequests", "audience"), "<unset>").into(),
        bool_at(spec, "requiresRepublish").into(),
        text_or(&joined("volumeLifecycleModes", ""), "<none>").into(),
        table::age(driver, now),
    ]
}

/// Behind a feature gate that is off.
const GATED: &str = "spec.preventPodSchedulingIfMissing";

fn warnings(driver: &Value) -> Vec<String> {
    let asks = !list_at(driver, "spec.tokenRequests").is_empty();
    if !asks || is_set(driver, "spec.serviceAccountTokenInSecrets") {
        return Vec::new();
    }
    vec![
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true \
         to prevent possible logging of tokens in volume attributes"
            .to_owned(),
    ]
}

fn default(driver: &mut Value) {
    set_default(driver, "spec.attachRequired", true);
    for off in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set_default(driver, &format!("spec.{off}"), false);
    }
    set_default(driver, "spec.fsGroupPolicy", "ReadWriteOnceWithFSType");
    set_default(driver, "spec.volumeLifecycleModes", json!(["Persistent"]));
}

/// Changes are counted, though the count begins at nothing.
fn prepare_update(driver: &mut Value, old: &Value) {
    let mut new = driver.clone();
    default(&mut new);
    if at(&new, "spec") != at(old, "spec") {
        let count = i64_at(old, "metadata.generation").unwrap_or(0);
        set(driver, "metadata.generation", count + 1);
    }
}

const TOKEN_SECONDS_MIN: i64 = 10 * 60;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

fn validate(driver: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(driver);
    driver_name(&root.child("metadata.name"), &mut errors);
    let spec = root.child("spec");
    let policy = spec.child("fsGroupPolicy");
    let known = &["File", "None", "ReadWriteOnceWithFSType"];
    if policy.is_set() && !known.contains(&policy.text()) {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), known));
    }
    for mode in spec.each("volumeLifecycleModes") {
        mode.one_of(&["Ephemeral", "Persistent"], &mut errors);
    }
    let in_secrets = spec.child("serviceAccountTokenInSecrets");
    if in_secrets.is_set() && spec.each("tokenRequests").next().is_none() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(in_secrets.invalid(detail));
    }
    let mut audiences = HashSet::new();
    for request in spec.each("tokenRequests") {
        let audience = request.child("audience");
        if !audiences.insert(audience.text()) {
            errors.push(audience.duplicate());
        }
        let seconds = request.child("expirationSeconds");
        match seconds.int() {
            Some(..TOKEN_SECONDS_MIN) => {
                errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
            }
            Some(number) if number > TOKEN_SECONDS_MAX => {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.push(seconds.invalid(detail));
            }
            _ => {}
        }
    }
    let period = spec.child("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|seconds| seconds < 10) {
        errors.push(period.invalid("must be greater than or equal to 10 seconds"));
    }
    errors
}

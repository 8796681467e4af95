//! `ResourceSlice`: devices that a driver has to give.

use onggi_api::FieldError;
use serde_json::Value;

use super::{CLUSTER, rules};
use crate::kinds::storage::driver_name;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{at, str_at};

/// The row.
pub const RESOURCE_SLICE: Resource = Resource {
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    fields: &["spec.driver", "spec.nodeName"],
    columns: &[
        Column::NAME,
        Column::text("Node"),
        Column::text("Driver"),
        Column::text("Pool"),
        Column::AGE,
    ],
    row: |slice, now| {
        vec![
            table::name(slice),
            str_at(slice, "spec.nodeName").into(),
            str_at(slice, "spec.driver").into(),
            str_at(slice, "spec.pool.name").into(),
            table::age(slice, now),
        ]
    },
    validate,
    validate_update: |slice, old| {
        let mut errors = Errors::new();
        for path in ["spec.pool.name", "spec.driver", "spec.nodeName"] {
            At::root(slice).child(path).unchanged(at(old, path), &mut errors);
        }
        errors
    },
    answers_deleted: true,
    ..CLUSTER
};

const DEVICES_MAX: usize = 128;
/// Of devices with taints or with shares of counters.
const SPECIAL_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const ATTRIBUTES_MAX: usize = 32;
const VALUE_MAX: usize = 64;

fn validate(slice: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(slice).child("spec");
    driver_name(&spec.child("driver"), &mut errors);
    let pool = spec.child("pool");
    rules::pool_name(&pool.child("name"), &mut errors);
    let (count, generation) = (pool.child("resourceSliceCount"), pool.child("generation"));
    let slices = count.int().unwrap_or(0);
    if slices <= 0 {
        errors.push(FieldError::invalid(&count.path, slices, "must be greater than zero"));
    }
    if generation.int().is_some_and(|number| number < 0) {
        errors.push(generation.invalid("must be greater than or equal to zero"));
    }
    place(
        &spec,
        &["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"],
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
         required",
        ", but multiple fields are set",
        &mut errors,
    );
    let terms = spec.child("nodeSelector.nodeSelectorTerms");
    if spec.child("nodeSelector").is_set() && terms.items().count() != 1 {
        errors.push(terms.invalid("must have exactly one node selector term"));
    }
    let (devices, counters) = (spec.child("devices"), spec.child("sharedCounters"));
    if devices.is_set() && counters.is_set() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(&spec.path, "", detail));
    }
    let special = |device: At<'_>| !device.present(&["taints", "consumesCounters"]).is_empty();
    let most = if devices.items().any(special) { SPECIAL_DEVICES_MAX } else { DEVICES_MAX };
    rules::limited(&devices, most, &mut errors);
    let each_has_place = spec.child("perDeviceNodeSelection").flag();
    devices.items().for_each(|each| device(&each, each_has_place, &mut errors));
    rules::unique(&devices, |device| device.child("name").text(), &mut errors);
    rules::limited(&counters, COUNTER_SETS_MAX, &mut errors);
    for set in counters.items() {
        rules::label_name(&set.child("name"), &mut errors);
        counted(&set.child("counters"), &mut errors);
    }
    rules::unique(&counters, |set| set.child("name").text(), &mut errors);
    errors
}

/// Exactly one of the fields that say where a device can be used.
fn place(at: &At<'_>, fields: &[&str], detail: &str, several: &str, errors: &mut Errors) {
    let present = at.named(fields);
    for (_, field) in &present {
        if field.value == &Value::Bool(false) {
            errors.push(field.invalid("must be either unset or set to true"));
        }
    }
    at.child("nodeName").may(names::dns1123_subdomain, errors);
    let chosen: Vec<String> = present
        .iter()
        .filter(|(_, field)| field.value != &Value::Bool(false))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    match chosen.len() {
        0 => errors.push(at.required(detail)),
        1 => {}
        _ => {
            let found = format!("{{{}}}", chosen.join(", "));
            errors.push(FieldError::invalid(&at.path, found, format!("{detail}{several}")));
        }
    }
}

fn device(device: &At<'_>, has_place: bool, errors: &mut Errors) {
    rules::label_name(&device.child("name"), errors);
    let (attributes, capacity) = (device.child("attributes"), device.child("capacity"));
    let count = attributes.entries().count() + capacity.entries().count();
    if count > ATTRIBUTES_MAX {
        let detail = format!(
            "the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}"
        );
        errors.push(FieldError::invalid(&device.path, count, detail));
    }
    for (name, value) in attributes.entries().chain(capacity.entries()) {
        let wrong = rules::qualified(name, false);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&value.path, name, e)));
    }
    attributes.entries().for_each(|(_, value)| attribute(&value, errors));
    for taint in device.each("taints") {
        taint.child("key").must(names::qualified_name, errors);
        taint.child("value").may(names::label_value, errors);
        taint.child("effect").required_one_of(&["NoExecute", "NoSchedule", "None"], errors);
    }
    let consumed = device.child("consumesCounters");
    for share in consumed.items() {
        rules::label_name(&share.child("counterSet"), errors);
        counted(&share.child("counters"), errors);
    }
    rules::unique(&consumed, |share| share.child("counterSet").text(), errors);
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if has_place {
        let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                      `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        place(device, &fields, detail, "", errors);
    } else if !device.present(&fields).is_empty() {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if \
                      `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::invalid(&device.path, Value::Null, detail));
    }
}

/// One value, of one type.
fn attribute(attribute: &At<'_>, errors: &mut Errors) {
    const TYPES: &[&str] =
        &["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];
    let present = attribute.present(TYPES);
    if present.len() != 1 {
        let value = if present.is_empty() { "".into() } else { attribute.value.clone() };
        let detail = "exactly one value must be specified";
        errors.push(FieldError::invalid(&attribute.path, value, detail));
    }
    let (text, version) = (attribute.child("string"), attribute.child("version"));
    text.at_most(VALUE_MAX, errors);
    version.at_most(VALUE_MAX, errors);
    if version.is_set() && !is_semver(version.text()) {
        errors.push(version.invalid("must be a string compatible with semver.org spec 2.0.0"));
    }
}

fn is_semver(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|p| word(p) && (!digits(p) || number(p))))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn counted(counters: &At<'_>, errors: &mut Errors) {
    let count = counters.entries().count();
    if count == 0 {
        errors.push(counters.required(""));
    } else if count > rules::LIST_MAX {
        errors.push(FieldError::too_many(&counters.path, count, rules::LIST_MAX));
    }
    for (name, counter) in counters.entries() {
        let wrong = names::dns1123_label(name);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&counter.path, name, e)));
    }
}

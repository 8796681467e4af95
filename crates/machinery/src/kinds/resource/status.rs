//! What may be said of a claim that has been looked after.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use super::{claim, rules};
use crate::kinds::storage::driver_name;
use crate::validation::{At, Errors, conditions};
use crate::value::{at, is_set, list_at};

const RESERVED_MAX: usize = 256;

/// The rules for a change of the status.
pub(super) fn validate(object: &Value, old: &Value, errors: &mut Errors) {
    let root = At::root(object);
    let status = root.child("status");
    let known = claim::request_names(&root.child("spec.devices"));
    let (reserved, allocation) = (status.child("reservedFor"), status.child("allocation"));
    reserved_for(&reserved, errors);
    for device in status.each("devices") {
        driver_name(&device.child("driver"), errors);
        rules::pool_name(&device.child("pool"), errors);
        rules::label_name(&device.child("device"), errors);
        conditions(&device.child("conditions"), errors);
    }
    if reserved.items().next().is_some() {
        if !allocation.is_set() {
            let detail = "may not be specified when `allocated` is not set";
            errors.push(reserved.forbidden(detail));
        } else if is_set(object, "metadata.deletionTimestamp") {
            let before = list_at(old, "status.reservedFor");
            if reserved.items().any(|consumer| !before.contains(consumer.value)) {
                errors.push(reserved.forbidden(
                    "new entries may not be added while `deallocationRequested` or \
                     `deletionTimestamp` are set",
                ));
            }
        }
    }
    if !allocation.is_set() {
        return;
    }
    if is_set(old, "status.allocation") {
        allocation.unchanged(at(old, "status.allocation"), errors);
    } else {
        allocated(&allocation.child("devices"), &known, errors);
    }
}

fn reserved_for(list: &At<'_>, errors: &mut Errors) {
    rules::limited(list, RESERVED_MAX, errors);
    for consumer in list.items() {
        for field in ["resource", "name", "uid"] {
            consumer.child(field).must_be_set(errors);
        }
    }
    rules::unique(list, |consumer| consumer.child("uid").text(), errors);
}

fn allocated(devices: &At<'_>, known: &HashSet<String>, errors: &mut Errors) {
    let (results, config) = (devices.child("results"), devices.child("config"));
    rules::limited(&results, rules::LIST_MAX, errors);
    for result in results.items() {
        claim::request_reference(&result.child("request"), known, errors);
        driver_name(&result.child("driver"), errors);
        rules::pool_name(&result.child("pool"), errors);
        rules::label_name(&result.child("device"), errors);
    }
    // That of the class, and that of the claim.
    rules::limited(&config, 2 * rules::LIST_MAX, errors);
    for each in config.items() {
        let source = each.child("source");
        if source.must_be_set(errors) && !matches!(source.text(), "FromClaim" | "FromClass") {
            let sources = ["FromClaim", "FromClass"];
            errors.push(FieldError::not_supported(&source.path, source.text(), &sources));
        }
        claim::request_references(&each.child("requests"), known, errors);
        rules::configuration(&each, errors);
    }
}

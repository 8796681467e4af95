//! `CSINode`: the drivers that run on a node.

use std::collections::HashSet;

use serde_json::Value;

use super::{BASE, driver_name};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{find, list_at, str_at};

/// The row.
pub const CSI_NODE: Resource = Resource {
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    columns: &[Column::NAME, Column::integer("Drivers"), Column::AGE],
    row: |node, now| {
        vec![table::name(node), list_at(node, "spec.drivers").len().into(), table::age(node, now)]
    },
    validate,
    validate_update,
    answers_deleted: true,
    ..BASE
};

const NODE_ID_MAX: usize = 192;

fn validate(node: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen = HashSet::new();
    for driver in At::root(node).each("spec.drivers") {
        let name = driver.child("name");
        driver_name(&name, &mut errors);
        let id = driver.child("nodeID");
        id.must_be_set(&mut errors);
        id.at_most(NODE_ID_MAX, &mut errors);
        driver.child("allocatable.count").not_negative(&mut errors);
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        let mut keys = HashSet::new();
        for key in driver.each("topologyKeys") {
            if !keys.insert(key.text()) {
                errors.push(key.duplicate());
            }
            if key.must_be_set(&mut errors) {
                key.must(names::qualified_name, &mut errors);
            }
        }
    }
    errors
}

/// What a driver said of itself stays, but for how many volumes it takes.
fn validate_update(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for driver in At::root(node).each("spec.drivers") {
        let name = str_at(driver.value, "name");
        let Some(before) = find(list_at(old, "spec.drivers"), "name", name) else { continue };
        for field in ["nodeID", "topologyKeys"] {
            driver.child(field).unchanged(crate::value::at(before, field), &mut errors);
        }
    }
    errors
}

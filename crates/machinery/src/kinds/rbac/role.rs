//! `Role` and `ClusterRole`.

use onggi_api::FieldError;
use serde_json::Value;

use super::{BASE, CLUSTER};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, labels};

/// The row of `Role`.
pub const ROLE: Resource = Resource {
    kind: "Role",
    plural: "roles",
    singular: "role",
    columns: COLUMNS,
    row: table::name_and_created,
    validate: |role| rules(role, true),
    ..BASE
};

/// The row of `ClusterRole`.
pub const CLUSTER_ROLE: Resource = Resource {
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    columns: COLUMNS,
    row: table::name_and_created,
    validate: |role| {
        let mut errors = rules(role, false);
        aggregation(&At::root(role).child("aggregationRule"), &mut errors);
        errors
    },
    ..CLUSTER
};

const COLUMNS: &[Column] = &[Column::NAME, Column::CREATED_AT];

fn rules(role: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    for rule in At::root(role).each("rules") {
        one_rule(&rule, namespaced, &mut errors);
    }
    errors
}

/// A rule speaks of resources or of paths, never of both.
fn one_rule(rule: &At<'_>, namespaced: bool, errors: &mut Errors) {
    let [verbs, paths, groups, resources, names] =
        ["verbs", "nonResourceURLs", "apiGroups", "resources", "resourceNames"]
            .map(|field| rule.child(field));
    let count = |list: &At<'_>| list.items().count();
    if count(&verbs) == 0 {
        errors.push(verbs.required("verbs must contain at least one value"));
    }
    if count(&paths) > 0 {
        if namespaced {
            errors.push(paths.invalid("namespaced rules cannot apply to non-resource URLs"));
        }
        if count(&groups) + count(&resources) + count(&names) > 0 {
            errors.push(
                paths.invalid("rules cannot apply to both regular resources and non-resource URLs"),
            );
        }
        return;
    }
    if count(&groups) == 0 {
        errors.push(groups.required("resource rules must supply at least one api group"));
    }
    if count(&resources) == 0 {
        errors.push(resources.required("resource rules must supply at least one resource"));
    }
}

fn aggregation(aggregation: &At<'_>, errors: &mut Errors) {
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.child("clusterRoleSelectors");
    if selectors.items().next().is_none() {
        errors.push(
            selectors.required(
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            ),
        );
    }
    for selector in selectors.items() {
        labels::selector(&selector, errors);
        if !labels::can_be_read(&selector) {
            let detail = "invalid label selector.";
            errors.push(FieldError::invalid(&selector.path, Value::Null, detail));
        }
    }
}

//! `node.k8s.io/v1 RuntimeClass`.

use serde_json::Value;

use super::podspec::toleration;
use crate::resource::{Column, Resource, Scope};
use crate::table;
use crate::validation::{At, Errors, labels, names};
use crate::value::{at, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    scope: Scope::Cluster,
    columns: &[Column::NAME, Column::text("Handler"), Column::AGE],
    row: |class, now| {
        vec![table::name(class), str_at(class, "handler").into(), table::age(class, now)]
    },
    validate,
    validate_update: |class, old| {
        let mut errors = Errors::new();
        At::root(class).child("handler").unchanged(at(old, "handler"), &mut errors);
        errors
    },
    ..Resource::BASE
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(class);
    root.child("handler").must(names::dns1123_label, &mut errors);
    for (_, amount) in root.child("overhead.podFixed").entries() {
        amount.not_negative_quantity(&mut errors);
    }
    let scheduling = root.child("scheduling");
    labels::labels(&scheduling.child("nodeSelector"), &mut errors);
    scheduling.each("tolerations").for_each(|each| toleration(&each, &mut errors));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{expect, yaml};

    #[test]
    fn rules() {
        expect(
            &validate(&yaml(
                "{handler: A, overhead: {podFixed: {cpu: '-1'}}, scheduling: {tolerations: [{key: a, operator: X}]}}",
            )),
            &[
                "handler: Invalid value: \"A\": a lowercase RFC 1123 label",
                "overhead.podFixed[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "scheduling.tolerations[0].operator: Unsupported value: \"X\"",
            ],
            "odd",
        );
        expect(
            &(RESOURCE.validate_update)(&yaml("handler: a"), &yaml("handler: b")),
            &["handler: Invalid value: \"a\": field is immutable"],
            "update",
        );
    }
}

//! Whether the rules of a definition may cost too much. What is stored is let be until it is
//! changed (`apiextensions/validation/validation.go`, `suppressExpressionCostForUnchangedSchema`).

use serde_json::Value;

use super::schema::{costs, structure};
use super::validate::same_in_all;
use crate::validation::{At, Errors};
use crate::value::{at, find, list_at};

/// What costs too much in a new definition.
pub fn validate_create(object: &Value) -> Errors {
    let mut errors = Errors::new();
    versions(object, &Value::Null, &mut errors);
    errors
}

/// What costs too much after a change. The sum of a changed definition counts in all its versions,
/// as in Kubernetes; one that is only given another status or fewer finalizers is not looked at.
pub fn validate_update(object: &Value, old: &Value, errors: &mut Errors) {
    if at(object, "spec") != at(old, "spec") {
        versions(object, old, errors);
    }
}

fn versions(object: &Value, old: &Value, errors: &mut Errors) {
    let spec = At::root(object).child("spec");
    let at_top = same_in_all(&spec, "schema");
    // What stands at the top is checked once, and is that of the first version.
    let count = if at_top { 1 } else { usize::MAX };
    for version in spec.each("versions").take(count) {
        let path =
            if at_top { spec.path.child("validation") } else { version.path.child("schema") };
        let part = At::new(at(version.value, "schema"), path);
        let schema = part.child("openAPIV3Schema");
        if !costs::has_rules(schema.value) {
            continue;
        }
        let mut wrong = Errors::new();
        structure::check(&schema, &mut wrong);
        if wrong.is_empty() {
            let name = version.child("name");
            let before = find(list_at(old, "spec.versions"), "name", name.text());
            let stored = before.is_some_and(|before| at(before, "schema") == part.value);
            costs::check(&schema, stored, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{validate_create, validate_update};
    use crate::validation::Errors;

    fn definition(schemas: &[Value]) -> Value {
        let versions: Vec<Value> = schemas
            .iter()
            .enumerate()
            .map(|(at, schema)| {
                json!({"name": format!("v{}", at + 1), "schema": {"openAPIV3Schema": schema}})
            })
            .collect();
        json!({"spec": {"versions": versions}})
    }

    /// A message that joins so many texts without a bound.
    fn schema(texts: usize) -> Value {
        let message = (0..texts).map(|at| format!("self[{at}]")).collect::<Vec<_>>().join(" + ");
        json!({"type": "object", "properties": {"f": {
            "type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "true", "messageExpression": message}],
        }}})
    }

    fn places(errors: &Errors) -> Vec<&str> {
        errors.iter().map(|error| error.path.as_str()).collect()
    }

    #[test]
    fn what_is_stored_is_let_be() {
        let path = |version: &str| {
            format!(
                "{version}.openAPIV3Schema.properties[f].x-kubernetes-validations[0].\
                 messageExpression"
            )
        };
        let changed = |old: &[Value], new: &[Value]| {
            let mut errors = Errors::new();
            validate_update(&definition(new), &definition(old), &mut errors);
            errors
        };
        // The same in all versions stands at the top.
        assert_eq!(places(&validate_create(&definition(&[schema(8)]))), [path("spec.validation")]);
        let two = [schema(8), schema(8)];
        assert_eq!(places(&validate_create(&definition(&two))), [path("spec.validation")]);
        assert!(changed(&two, &two).is_empty());
        let errors = changed(&two, &[schema(8), schema(9), schema(8)]);
        assert_eq!(
            places(&errors),
            [path("spec.versions[1].schema"), path("spec.versions[2].schema")]
        );
        let errors = changed(&two, &[schema(9), schema(9)]);
        assert_eq!(places(&errors), [path("spec.validation")]);
    }

    /// What is wrong otherwise is told first, by the rules themselves.
    #[test]
    fn only_what_is_right_is_estimated() {
        let mut wrong = schema(8);
        wrong["properties"]["g"] = json!({});
        assert!(validate_create(&definition(&[wrong])).is_empty());
        assert!(validate_create(&json!({"spec": {"versions": [{"name": "v1"}]}})).is_empty());
    }
}

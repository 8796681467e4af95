//! A configuration that is merged as server-side apply merges it, but belongs to nobody: what a
//! MutatingAdmissionPolicy makes.

use serde_json::Value;

use super::element::{field, show};
use super::merge::{drop_nulls, merge};
use super::types::{Class, Type};
use super::validate::faults;

/// What the configuration makes of an object; an error in Kubernetes' words.
///
/// Lists and maps that are owned as a whole may not stand in it: who names a part of one would
/// remove the others without a thought.
pub fn merged(ty: Type<'_>, object: &Value, config: &Value) -> Result<Value, String> {
    if let Some(problem) = faults(ty, config) {
        return Err(format!("failed to convert patch object to typed object: {problem}"));
    }
    let mut found = Vec::new();
    wholes(ty, config, &mut Vec::new(), &mut found);
    if !found.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            found.join(", ")
        ));
    }
    let mut merged = merge(ty, object, config);
    drop_nulls(ty, &mut merged);
    Ok(merged)
}

/// The places of what is owned as a whole, by the fields that the schema names.
fn wholes(ty: Type<'_>, value: &Value, path: &mut Vec<String>, found: &mut Vec<String>) {
    let whole = ty.class(value) == Class::Leaf;
    match value {
        Value::Object(map) if ty.is_map() => {
            if whole {
                found.push(shown(path));
            }
            for (key, value) in map {
                let child = ty.child(key);
                if child.named {
                    path.push(field(key));
                    wholes(child.ty, value, path, found);
                    path.pop();
                }
            }
        }
        Value::Array(items) if ty.is_list() => {
            if whole {
                found.push(shown(path));
            }
            for (at, item) in items.iter().enumerate() {
                path.push(format!("i:{at}"));
                wholes(ty.item(), item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn shown(path: &[String]) -> String {
    show(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::managedfields::Structural;

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    }

    fn containers(list: Value) -> Value {
        json!({"template": {"spec": {"containers": list}}})
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let ty = Type::of("apps", "v1", "Deployment");
        let object = deployment(containers(json!([
            {"name": "a", "image": "i", "args": ["x"],
             "env": [{"name": "t", "value": "1"}, {"name": "t", "value": "2"}, {"name": "u"}],
             "ports": [{"containerPort": 80, "protocol": "TCP"}]},
        ])));
        let config = deployment(containers(json!([
            {"name": "a", "tty": true, "env": [{"name": "t", "value": "3"}],
             "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 80, "protocol": "UDP"}]},
            {"name": "b", "image": "j"},
        ])));
        let made = merged(ty, &object, &config).unwrap();
        assert_eq!(
            made["spec"],
            containers(json!([
                {"name": "a", "image": "i", "args": ["x"], "tty": true,
                 "env": [{"name": "t", "value": "3"}, {"name": "u"}],
                 "ports": [{"containerPort": 80, "protocol": "TCP", "name": "web"},
                           {"containerPort": 80, "protocol": "UDP"}]},
                {"name": "b", "image": "j"},
            ]))
        );
        // Twice the same key in what is there is nobody's fault here.
        let untouched = merged(ty, &object, &deployment(json!({"replicas": 3}))).unwrap();
        assert_eq!(
            untouched["spec"]["template"], object["spec"]["template"],
            "what is not named stays"
        );
        let unset = merged(
            ty,
            &object,
            &deployment(json!({"template": {"spec": {"containers": [
            {"name": "a", "image": null}]}}})),
        );
        assert_eq!(unset.unwrap()["spec"]["template"]["spec"]["containers"][0].get("image"), None);
    }

    #[test]
    fn what_is_owned_as_a_whole_is_left_alone() {
        let ty = Type::of("apps", "v1", "Deployment");
        let object = deployment(json!({}));
        let refused = |spec: Value| merged(ty, &object, &deployment(spec)).unwrap_err();
        assert_eq!(
            refused(json!({"selector": {"matchLabels": {"l": "v"}}})),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector"
        );
        assert_eq!(
            refused(containers(json!([{"name": "a", "command": ["x"], "args": ["y"]}]))),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .spec.template.spec.containers[0].args, .spec.template.spec.containers[0].command"
        );
        assert_eq!(
            refused(json!({"replicasx": 1})),
            "failed to convert patch object to typed object: .spec.replicasx: field not declared in \
             schema"
        );
        assert!(refused(json!({"replicas": "1"})).contains(".spec.replicas: expected numeric"));
    }

    #[test]
    fn custom_kinds_say_what_is_whole() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}}}}}});
        let structural = Structural::of_object(&schema);
        let object = |spec: Value| json!({"apiVersion": "e.com/v1", "kind": "Foo", "spec": spec});
        let made = merged(
            Type::Custom(&structural),
            &object(json!({"tags": ["a"], "plain": ["p"]})),
            &object(json!({"tags": ["b"]})),
        );
        assert_eq!(made.unwrap()["spec"], json!({"tags": ["a", "b"], "plain": ["p"]}));
        let whole = object(json!({"plain": ["q"]}));
        let error = merged(Type::Custom(&structural), &object(json!({})), &whole).unwrap_err();
        assert!(error.ends_with(": .spec.plain"), "{error}");
    }
}

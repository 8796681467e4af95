//! The parts of a pod that have paths of their own: `ephemeralcontainers` and `resize`. A write
//! through one of them changes nothing else.

use std::collections::{HashMap, HashSet};

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::super::podspec;
use super::qos_class;
use crate::validation::{At, Errors, names};
use crate::value::{at, is_set, items_mut, list_at, remove, set, str_at};

/// What only containers have that the kubelet keeps alive.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "resizePolicy",
];

/// What is left of a write through `part`, on top of what the pod was.
pub fn prepare(part: &str, pod: &mut Value, old: &Value) {
    let sent = std::mem::replace(pod, old.clone());
    match part {
        "ephemeralcontainers" => match at(&sent, "spec.ephemeralContainers") {
            Value::Null => remove(pod, "spec.ephemeralContainers"),
            list => set(pod, "spec.ephemeralContainers", list.clone()),
        },
        "resize" => {
            // What may not change is looked at afterwards, so it is kept.
            set(pod, "spec", at(&sent, "spec").clone());
        }
        _ => *pod = sent,
    }
}

/// What is wrong with the change.
pub fn validate(part: &str, pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    match part {
        "ephemeralcontainers" => ephemeral(pod, old, &mut errors),
        "resize" => resize(pod, old, &mut errors),
        _ => {}
    }
    errors
}

/// A static pod is what a file on its node says.
fn is_static(pod: &Value) -> bool {
    at(pod, "metadata.annotations").get("kubernetes.io/config.mirror").is_some()
}

// === Ephemeral containers ===

fn ephemeral(pod: &Value, old: &Value, errors: &mut Errors) {
    let spec = At::root(pod).child("spec");
    let list = spec.child("ephemeralContainers");
    if is_static(pod) {
        let detail = "static pods do not support ephemeral containers";
        errors.push(FieldError::forbidden(&At::root(pod).path, detail));
        return;
    }
    let names = |list: &str| spec.each(list).map(|c| c.child("name").text());
    let targets: HashSet<&str> = names("containers").collect();
    let mut taken = targets.clone();
    taken.extend(names("initContainers"));
    for item in list.items() {
        one(&item, &targets, errors);
        let name = item.child("name");
        if !name.text().is_empty() && !taken.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    let present = by_name(list_at(pod, "spec.ephemeralContainers"));
    for before in list_at(old, "spec.ephemeralContainers") {
        let name = str_at(before, "name");
        match present.get(name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(list.forbidden(detail));
            }
            Some(now) if *now != before => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.push(list.forbidden(detail));
            }
            Some(_) => {}
        }
    }
}

/// Containers by their names; of two with the same one, the first.
fn by_name(containers: &[Value]) -> HashMap<&str, &Value> {
    let mut named = HashMap::with_capacity(containers.len());
    for container in containers {
        named.entry(str_at(container, "name")).or_insert(container);
    }
    named
}

fn one(item: &At<'_>, targets: &HashSet<&str>, errors: &mut Errors) {
    let (name, target, image) =
        (item.child("name"), item.child("targetContainerName"), item.child("image"));
    if name.must_be_set(errors) {
        name.must(names::dns1123_label, errors);
    }
    image.must_be_set(errors);
    item.child("imagePullPolicy").required_one_of(podspec::PULL_POLICIES, errors);
    if !target.text().is_empty() && !targets.contains(target.text()) {
        errors.push(FieldError::not_found(&target.path, target.text()));
    }
    for field in item.present(NOT_EPHEMERAL) {
        if field.value != &json!({}) {
            errors.push(field.forbidden("cannot be set for an Ephemeral Container"));
        }
    }
}

// === Resize ===

const RESIZABLE: [&str; 2] = ["cpu", "memory"];

fn resize(pod: &Value, old: &Value, errors: &mut Errors) {
    let spec = At::root(pod).child("spec");
    if is_static(pod) {
        let detail = "static pods cannot be resized";
        errors.push(FieldError::forbidden(&At::root(pod).path, detail));
        return;
    }
    if qos_class(pod) != qos_class(old) {
        let class = qos_class(pod).as_str();
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&spec.path, class, detail));
    }
    if masked(spec.value, at(old, "spec")) != *at(old, "spec") {
        errors.push(spec.forbidden("only cpu and memory resources are mutable"));
    }
    let lowered = |map: &str, name: &str, new: &Value, before: &Value| {
        is_set(before, &format!("resources.{map}.{name}"))
            && !is_set(new, &format!("resources.{map}.{name}"))
    };
    let earlier = by_name(list_at(old, "spec.containers"));
    for container in spec.each("containers") {
        let Some(before) = earlier.get(str_at(container.value, "name")) else { continue };
        for (map, amount) in
            ["requests", "limits"].into_iter().flat_map(|map| RESIZABLE.map(|name| (map, name)))
        {
            if lowered(map, amount, container.value, before) {
                let place = container.child("resources").child(map);
                let detail = format!("resource {map} cannot be removed");
                errors.push(place.forbidden(detail));
            }
        }
    }
}

/// The new specification with the amounts that it had.
fn masked(spec: &Value, before: &Value) -> Value {
    let mut masked = spec.clone();
    for list in ["containers", "initContainers"] {
        let earlier = list_at(before, list);
        for (container, before) in items_mut(&mut masked, list).zip(earlier) {
            for map in ["requests", "limits"] {
                for name in RESIZABLE {
                    let path = format!("resources.{map}.{name}");
                    match at(before, &path) {
                        Value::Null => remove(container, &path),
                        amount => set(container, &path, amount.clone()),
                    }
                }
                let path = format!("resources.{map}");
                if !is_set(before, &path) && at(container, &path) == &json!({}) {
                    remove(container, &path);
                }
            }
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::expect;

    fn pod(resources: Value, ephemeral: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a", "image": "x", "resources": resources}]},
        });
        if !ephemeral.is_null() {
            pod["spec"]["ephemeralContainers"] = ephemeral;
        }
        pod
    }

    #[test]
    fn a_part_changes_nothing_else() {
        let old = pod(json!({}), Value::Null);
        let debug = json!([{"name": "d", "image": "y", "imagePullPolicy": "Always"}]);
        let mut new = pod(json!({}), debug.clone());
        new["spec"]["containers"][0]["image"] = "other".into();
        new["metadata"]["labels"] = json!({"a": "b"});
        prepare("ephemeralcontainers", &mut new, &old);
        assert_eq!(new, pod(json!({}), debug));
    }

    #[test]
    fn ephemeral_containers() {
        let debug = json!({"name": "d", "image": "y", "imagePullPolicy": "Always"});
        let old = pod(json!({}), json!([debug]));
        for (list, expected) in [
            (json!([debug]), &[][..]),
            (
                Value::Null,
                &[
                    "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed",
                ],
            ),
            (
                json!([debug, {"name": "a", "image": "y", "imagePullPolicy": "Never", "ports": [{}],
                       "targetContainerName": "z"}]),
                &[
                    "spec.ephemeralContainers[1].targetContainerName: Not found: \"z\"",
                    "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral",
                    "spec.ephemeralContainers[1].name: Duplicate value: \"a\"",
                ],
            ),
        ] {
            let new = pod(json!({}), list);
            expect(&validate("ephemeralcontainers", &new, &old), expected, &new.to_string());
        }
    }

    #[test]
    fn resizing() {
        let amounts = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": "2"}});
        let old = pod(amounts("1"), Value::Null);
        let new = pod(amounts("500m"), Value::Null);
        expect(&validate("resize", &new, &old), &[], "smaller");
        let mut other = new;
        other["spec"]["containers"][0]["image"] = "z".into();
        expect(
            &validate("resize", &other, &old),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
            "an image",
        );
        let none = pod(json!({}), Value::Null);
        expect(
            &validate("resize", &none, &old),
            &[
                "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change",
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be",
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
            ],
            "nothing",
        );
    }
}

//! `Ingress` of `extensions/v1beta1` and `networking.k8s.io/v1beta1`: a backend was a service's
//! name and port side by side, and a path had no type.

use serde_json::{Map, Value, json};

pub(super) fn convert(object: &mut Value) -> Vec<String> {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return Vec::new();
    };
    if let Some(mut default) = spec.remove("backend") {
        backend(&mut default);
        spec.insert("defaultBackend".to_owned(), default);
    }
    for rule in items(spec.get_mut("rules")) {
        for path in items(rule.pointer_mut("/http/paths")) {
            let Value::Object(path) = path else { continue };
            path.entry("pathType").or_insert_with(|| "ImplementationSpecific".into());
            if let Some(found) = path.get_mut("backend") {
                backend(found);
            }
        }
    }
    Vec::new()
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

fn backend(backend: &mut Value) {
    let Value::Object(map) = backend else { return };
    let (name, port) = (map.remove("serviceName"), map.remove("servicePort"));
    if name.is_none() && port.is_none() {
        return;
    }
    let mut service = Map::new();
    if let Some(name) = name {
        service.insert("name".to_owned(), name);
    }
    if let Some(port) = port {
        let port =
            if port.is_number() { json!({ "number": port }) } else { json!({ "name": port }) };
        service.insert("port".to_owned(), port);
    }
    map.insert("service".to_owned(), Value::Object(service));
}

/// The shape of `v1beta1` of an Ingress that is stored.
pub(super) fn back(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(mut default) = spec.remove("defaultBackend") {
        old_backend(&mut default);
        spec.insert("backend".to_owned(), default);
    }
    for rule in items(spec.get_mut("rules")) {
        for path in items(rule.pointer_mut("/http/paths")) {
            if let Some(found) = path.get_mut("backend") {
                old_backend(found);
            }
        }
    }
}

fn old_backend(backend: &mut Value) {
    let Value::Object(map) = backend else { return };
    let Some(Value::Object(mut service)) = map.remove("service") else { return };
    if let Some(name) = service.remove("name") {
        map.insert("serviceName".to_owned(), name);
    }
    let port = service.get("port").and_then(|port| port.get("number").or_else(|| port.get("name")));
    if let Some(port) = port {
        map.insert("servicePort".to_owned(), port.clone());
    }
}

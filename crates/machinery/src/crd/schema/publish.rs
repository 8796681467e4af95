//! What OpenAPI says of a custom kind: its schema with what every object has.

use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// What `apiextensions-apiserver` says of the common fields of an object inside another one.
const EMBEDDED: &[(&str, &str)] = &[
    (
        "apiVersion",
        "apiVersion defines the versioned schema of this representation of an object. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    ),
    (
        "kind",
        "kind is a string value representing the type of this object. In CamelCase. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    ),
    (
        "metadata",
        "Standard object's metadata. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    ),
];

/// For OpenAPI v3; what is said of every object itself is added where the document is made. `schema` is `openAPIV3Schema`, or null where there is none.
pub fn publish_v3(schema: &Value) -> Value {
    let mut made = whole(schema);
    let meta = json!({"allOf": [{"$ref": format!("#/components/schemas/{META}")}]});
    add_common(&mut made, &meta);
    embed(&mut made, &meta);
    made
}

fn whole(schema: &Value) -> Value {
    match schema {
        Value::Object(_) => schema.clone(),
        _ => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    }
}

fn add_common(schema: &mut Value, meta: &Value) {
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    properties.insert("apiVersion".into(), json!({"type": "string"}));
    properties.insert("kind".into(), json!({"type": "string"}));
    properties.insert("metadata".into(), meta.clone());
}

/// The parts of a schema that are schemas.
fn parts(schema: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    let Some(map) = schema.as_object_mut() else { return found };
    for (key, value) in map.iter_mut() {
        match key.as_str() {
            "properties" => found.extend(value.as_object_mut().into_iter().flatten().map(|e| e.1)),
            "items" | "additionalProperties" | "not" if value.is_object() => found.push(value),
            "allOf" | "anyOf" | "oneOf" => found.extend(value.as_array_mut().into_iter().flatten()),
            _ => {}
        }
    }
    found
}

/// Objects inside say what they are too.
fn embed(schema: &mut Value, meta: &Value) {
    for part in parts(schema) {
        if part["x-kubernetes-embedded-resource"] == true {
            add_common(part, meta);
            for (name, said) in EMBEDDED {
                part["properties"][*name]["description"] = (*said).into();
            }
        }
        embed(part, meta);
    }
}

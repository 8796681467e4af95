//! The schemas of the table as OpenAPI v3 has them, with what they mean in words.

use std::collections::{BTreeMap, BTreeSet};

use onggi_api::schema::{self, Field, ListKind, Prose, Schema, Shape};
use serde_json::{Map, Value, json};

use super::REF;

/// The definitions and all that they refer to.
pub(super) fn components(wanted: BTreeSet<String>, prose: &Prose) -> Map<String, Value> {
    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (group, version, kind, schema) in schema::table().kinds() {
        if let Some(name) = schema.name() {
            let entry = json!({"group": group, "version": version, "kind": kind});
            kinds.entry(name).or_default().push(entry);
        }
    }
    let mut all = Map::new();
    let mut todo: Vec<String> = wanted.into_iter().collect();
    while let Some(name) = todo.pop() {
        if all.contains_key(&name) {
            continue;
        }
        let Some(schema) = schema::table().definition(&name) else { continue };
        let mut body = inline(schema, &mut todo, prose);
        describe(&mut body, prose.of(schema));
        if let Some(kinds) = kinds.get(name.as_str()) {
            body["x-kubernetes-group-version-kind"] = json!(kinds);
        }
        all.insert(name, body);
    }
    all
}

/// A reference where the schema has a name, else what it is.
fn reference(schema: Schema<'_>, todo: &mut Vec<String>, prose: &Prose) -> Value {
    match schema.name() {
        Some(name) => {
            todo.push(name.to_owned());
            json!({"allOf": [{"$ref": format!("{REF}{name}")}]})
        }
        None => inline(schema, todo, prose),
    }
}

fn inline(schema: Schema<'_>, todo: &mut Vec<String>, prose: &Prose) -> Value {
    match schema.shape() {
        Shape::Any => json!({}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Double => json!({"type": "number", "format": "double"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Map(map) => {
            let mut value = json!({
                "type": "object",
                "additionalProperties": reference(schema.at(map.value), todo, prose),
            });
            if map.atomic {
                value["x-kubernetes-map-type"] = "atomic".into();
            }
            value
        }
        Shape::List(list) => {
            let mut value =
                json!({"type": "array", "items": reference(schema.at(list.item), todo, prose)});
            value["x-kubernetes-list-type"] = match list.kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map => "map",
            }
            .into();
            if !list.keys.is_empty() {
                value["x-kubernetes-list-map-keys"] =
                    list.keys.iter().map(|key| key.to_string()).collect();
            }
            if let Some(key) = &list.merge_key {
                value["x-kubernetes-patch-merge-key"] = key.to_string().into();
            }
            value
        }
        Shape::Object(object) => {
            let properties: Map<String, Value> = object
                .fields
                .iter()
                .map(|field| (field.name.to_string(), property(schema, field, todo, prose)))
                .collect();
            let required = object.fields.iter().filter(|field| field.required);
            let required: Vec<String> = required.map(|field| field.name.to_string()).collect();
            let mut value = json!({"type": "object"});
            if !properties.is_empty() {
                value["properties"] = Value::Object(properties);
            }
            if !required.is_empty() {
                value["required"] = json!(required);
            }
            if object.atomic {
                value["x-kubernetes-map-type"] = "atomic".into();
            }
            value
        }
    }
}

fn property(schema: Schema<'_>, field: &Field, todo: &mut Vec<String>, prose: &Prose) -> Value {
    let mut value = reference(schema.at(field.schema), todo, prose);
    let strategies: Vec<&str> = [
        (field.patch.merge, "merge"),
        (field.patch.retain_keys, "retainKeys"),
        (field.patch.replace, "replace"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    describe(&mut value, prose.of_field(schema, field));
    if !strategies.is_empty() {
        value["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    value
}

fn describe(schema: &mut Value, said: Option<&str>) {
    if let Some(said) = said {
        schema["description"] = said.into();
    }
}

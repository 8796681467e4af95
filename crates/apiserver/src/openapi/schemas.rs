//! The schemas of the table as OpenAPI v3 has them, with what they mean in words.

use std::collections::{BTreeMap, BTreeSet};

use onggi_api::schema::{self, Choice, Facts, Field, ListKind, Prose, Schema, Shape};
use serde_json::{Map, Value, json};

use super::REF;

/// What is said beside the shapes.
pub(super) struct Said {
    pub(super) prose: Prose,
    pub(super) facts: Facts,
}

impl Said {
    pub(super) fn read() -> Self {
        Self { prose: schema::prose(), facts: schema::facts() }
    }
}

/// The definitions and all that they refer to.
pub(super) fn components(wanted: BTreeSet<String>, said: &Said) -> Map<String, Value> {
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
        let mut body = inline(schema, &mut todo, said);
        describe(&mut body, said.prose.of(schema));
        if let Some(kinds) = kinds.get(name.as_str()) {
            body["x-kubernetes-group-version-kind"] = json!(kinds);
        }
        all.insert(name, body);
    }
    all
}

/// A reference where the schema has a name, else what it is.
fn reference(schema: Schema<'_>, todo: &mut Vec<String>, said: &Said) -> Value {
    match schema.name() {
        Some(name) => {
            todo.push(name.to_owned());
            json!({"allOf": [{"$ref": format!("{REF}{name}")}]})
        }
        None => inline(schema, todo, said),
    }
}

fn inline(schema: Schema<'_>, todo: &mut Vec<String>, said: &Said) -> Value {
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
                "additionalProperties": element(schema.at(map.value), todo, said),
            });
            if map.atomic {
                value["x-kubernetes-map-type"] = "atomic".into();
            }
            value
        }
        Shape::List(list) => {
            let mut value =
                json!({"type": "array", "items": element(schema.at(list.item), todo, said)});
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
                .map(|field| (field.name.to_string(), property(schema, field, todo, said)))
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

fn property(schema: Schema<'_>, field: &Field, todo: &mut Vec<String>, said: &Said) -> Value {
    let mut value = reference(schema.at(field.schema), todo, said);
    let strategies: Vec<&str> = [
        (field.patch.merge, "merge"),
        (field.patch.retain_keys, "retainKeys"),
        (field.patch.replace, "replace"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    describe(&mut value, said.prose.of_field(schema, field));
    let fact = said.facts.of(schema.name().unwrap_or_default(), &field.name);
    if !fact.choices.is_empty() {
        offer(&mut value, fact.choices);
    }
    if let Some(default) = fact.default {
        value["default"] = default.clone();
    }
    if !strategies.is_empty() {
        value["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    value
}

/// What is in a list or a map; an element that is not set is what Go makes of it.
fn element(schema: Schema<'_>, todo: &mut Vec<String>, said: &Said) -> Value {
    let mut value = reference(schema, todo, said);
    let zero = match schema.shape() {
        Shape::String => json!(""),
        Shape::Int32 | Shape::Int64 | Shape::Double => json!(0),
        Shape::Bool => json!(false),
        Shape::Object(_) => json!({}),
        _ => return value,
    };
    value["default"] = zero;
    value
}

/// Says what there is to choose from: of a list or a map it is the elements that are chosen.
fn offer(value: &mut Value, choices: &[Choice]) {
    let values: Vec<&str> = choices.iter().map(|choice| &*choice.value).collect();
    for inner in ["items", "additionalProperties"] {
        if let Some(element) = value.get_mut(inner) {
            element["enum"] = json!(values);
            return;
        }
    }
    let lines = choices.iter().map(|Choice { value, meaning }| {
        let line = format!("\n - `{value:?}` {meaning}");
        line.trim_end().to_owned()
    });
    let before =
        value["description"].as_str().map_or_else(String::new, |text| format!("{text}\n\n"));
    let lines: String = lines.collect();
    value["description"] = format!("{before}Possible enum values:{lines}").into();
    value["enum"] = json!(values);
}

fn describe(schema: &mut Value, said: Option<&str>) {
    if let Some(said) = said {
        schema["description"] = said.into();
    }
}

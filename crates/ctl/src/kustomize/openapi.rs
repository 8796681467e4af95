//! OpenAPI definitions that a kustomization brings: merge keys of custom kinds (`openapi.path`),
//! and where they name other objects (`crds`).

use onggi_api::schema::{
    Builder, Field, List, ListKind, Map, Object, PatchStrategy, SchemaId, Shape, Table,
};
use onggi_machinery::value::{entries_at, list_at, str_at};
use onggi_machinery::yaml;
use serde_json::{Value, json};

use super::config::Config;

/// Levels of nesting inside one definition.
const MAX_DEPTH: usize = 64;
const REFERENCE: &str = "#/definitions/";

/// The schemas of the kinds that a file of definitions describes.
pub(super) fn table(text: &str) -> Result<Table, String> {
    let file = yaml::parse(text).map_err(|e| e.to_string())?;
    let mut builder = Builder::new();
    for (name, definition) in entries_at(&file, "definitions") {
        let id = builder.reserve(name);
        let shape = shape(&mut builder, definition, 0)?;
        builder.define(id, shape);
        for gvk in list_at(definition, "x-kubernetes-group-version-kind") {
            let of = |field: &str| str_at(gvk, field);
            builder.kind(of("group"), of("version"), of("kind"), id);
        }
    }
    Ok(builder.finish())
}

fn schema(builder: &mut Builder, value: &Value, depth: usize) -> Result<SchemaId, String> {
    if let Some(name) = str_at(value, "$ref").strip_prefix(REFERENCE) {
        return Ok(builder.reserve(name));
    }
    let shape = shape(builder, value, depth)?;
    Ok(builder.anonymous(shape))
}

fn shape(builder: &mut Builder, value: &Value, depth: usize) -> Result<Shape, String> {
    if depth > MAX_DEPTH {
        return Err("the definitions are nested too deep".to_owned());
    }
    let mut fields = Vec::new();
    for (name, property) in entries_at(value, "properties") {
        let merges = str_at(property, "x-kubernetes-patch-strategy");
        let has = |word: &str| merges.split(',').any(|one| one == word);
        let patch = PatchStrategy {
            merge: has("merge"),
            retain_keys: has("retainKeys"),
            replace: has("replace"),
        };
        let schema = schema(builder, property, depth + 1)?;
        fields.push(Field { name: builder.name(name), schema, tag: 0, required: false, patch });
    }
    if !fields.is_empty() {
        return Ok(Shape::Object(Object { fields, inline: Vec::new(), atomic: false }));
    }
    Ok(match str_at(value, "type") {
        "array" => {
            let item = schema(builder, &value["items"], depth + 1)?;
            let keys = list_at(value, "x-kubernetes-list-map-keys");
            let keys: Vec<_> =
                keys.iter().filter_map(Value::as_str).map(|key| builder.name(key)).collect();
            let merge_key = match str_at(value, "x-kubernetes-patch-merge-key") {
                "" => keys.first().cloned(),
                key => Some(builder.name(key)),
            };
            let kind = if keys.is_empty() { ListKind::Atomic } else { ListKind::Map };
            Shape::List(List { item, kind, keys, merge_key, wrapped: false })
        }
        "object" if value.get("additionalProperties").is_some_and(Value::is_object) => {
            let inner = schema(builder, &value["additionalProperties"], depth + 1)?;
            Shape::Map(Map { value: inner, atomic: false })
        }
        "string" => Shape::String,
        "boolean" => Shape::Bool,
        "integer" => Shape::Int64,
        "number" => Shape::Double,
        _ => Shape::Any,
    })
}

/// The fields of custom kinds that hold names, labels and annotations, as their definitions mark
/// them (`x-kubernetes-object-ref-*` and its kin).
pub(super) fn references(text: &str) -> Result<Config, String> {
    let file = yaml::parse(text).map_err(|e| e.to_string())?;
    let definitions = file.as_object().ok_or("is no map of definitions")?;
    let mut found = json!({
        "nameReference": [], "commonAnnotations": [], "commonLabels": [], "namePrefix": [],
    });
    for (name, definition) in definitions {
        let properties = &definition["Schema"]["properties"];
        let is_kind =
            ["kind", "apiVersion", "metadata"].iter().all(|f| properties.get(f).is_some());
        if is_kind {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let mut path = Vec::new();
            collect(&file, definition, kind, &mut path, &mut found)?;
        }
    }
    serde_json::from_value(found).map_err(|e| e.to_string())
}

fn collect(
    file: &Value,
    definition: &Value,
    kind: &str,
    path: &mut Vec<String>,
    found: &mut Value,
) -> Result<(), String> {
    if path.len() > MAX_DEPTH {
        return Err(format!("{kind}: the definitions go round in circles: {}", path.join("/")));
    }
    for (name, property) in entries_at(&definition["Schema"], "properties") {
        path.push(name.to_owned());
        let here = path.join("/");
        let mut add = |list: &str, path: &str, create: bool| {
            if let Some(list) = found[list].as_array_mut() {
                list.push(json!({"kind": kind, "path": path, "create": create}));
            }
        };
        if property.get("x-kubernetes-annotation").is_some() {
            add("commonAnnotations", &here, false);
        }
        if property.get("x-kubernetes-label-selector").is_some() {
            add("commonLabels", &here, false);
        }
        if property.get("x-kubernetes-identity").is_some() {
            add("namePrefix", &here, false);
        }
        if let Some(version) = property["x-kubernetes-object-ref-api-version"].as_str() {
            let of = str_at(property, "x-kubernetes-object-ref-kind");
            let key = match str_at(property, "x-kubernetes-object-ref-name-key") {
                "" => "name",
                key => key,
            };
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let spec = json!({"kind": kind, "path": format!("{here}/{key}")});
            let reference =
                json!({"kind": of, "group": group, "version": version, "fieldSpecs": [spec]});
            if let Some(list) = found["nameReference"].as_array_mut() {
                list.push(reference);
            }
        }
        let inner = [str_at(property, "$ref"), str_at(property, "items.$ref")];
        let named = inner.iter().find(|text| !text.is_empty());
        if let Some(name) = named {
            let name = name.rsplit('/').next().unwrap_or(name);
            if let Some(next) = file.get(name) {
                collect(file, next, kind, path, found)?;
            }
        }
        path.pop();
    }
    Ok(())
}

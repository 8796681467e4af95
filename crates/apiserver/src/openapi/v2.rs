//! OpenAPI v2 (`swagger.json`), made from the documents of v3: the same paths and definitions, less
//! what v2 cannot say.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::http::compress;

const V3: &str = "#/components/schemas/";

/// A document in the making, or what is to be put behind another one.
#[derive(Default)]
pub(super) struct Builder<'p> {
    before: Option<&'p Packed>,
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
    parameters: Map<String, Value>,
}

/// What most of a document consists of, as text without its braces, compressed; and the names in it.
pub(super) struct Packed {
    paths: Bytes,
    definitions: Bytes,
    parameters: Bytes,
    names: BTreeSet<String>,
}

impl Builder<'_> {
    /// Takes up all of a document of v3.
    pub(super) fn add(&mut self, document: &Value) {
        let is_there = |name: &str| self.before.is_some_and(|before| before.names.contains(name));
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            self.paths.insert(path.clone(), path_item(item));
        }
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            if !self.definitions.contains_key(name) && !is_there(name) {
                self.definitions.insert(name.clone(), definition(schema));
            }
        }
        let named = document["components"]["parameters"].as_object();
        for (name, parameter) in named.into_iter().flatten().filter(|(name, _)| !is_there(name)) {
            self.parameters.entry(name).or_insert_with(|| flat(parameter));
        }
    }

    /// What it holds, to be kept.
    pub(super) fn pack(self) -> Packed {
        let Self { paths, definitions, parameters, .. } = self;
        let names = definitions.keys().chain(parameters.keys()).cloned().collect();
        let pack = |part: &Map<String, Value>| compress::pack(&inner(part)).unwrap_or_default();
        Packed {
            paths: pack(&paths),
            definitions: pack(&definitions),
            parameters: pack(&parameters),
            names,
        }
    }
}

impl Packed {
    /// What else is to stand in the document.
    pub(super) fn more(&self) -> Builder<'_> {
        Builder { before: Some(self), ..Builder::default() }
    }

    /// The document.
    pub(super) fn with(&self, more: &Builder<'_>, version: &str) -> Vec<u8> {
        let info = json!({"title": "Kubernetes", "version": version});
        let how = json!({"BearerToken": {
            "description": "Bearer Token authentication",
            "type": "apiKey",
            "name": "authorization",
            "in": "header",
        }});
        let mut out = br#"{"swagger":"2.0","info":"#.to_vec();
        out.extend(info.to_string().into_bytes());
        for (name, own, more) in [
            ("paths", &self.paths, &more.paths),
            ("definitions", &self.definitions, &more.definitions),
            ("parameters", &self.parameters, &more.parameters),
        ] {
            out.extend(format!(",\"{name}\":{{").into_bytes());
            let own = compress::unpack(own).unwrap_or_default();
            out.extend_from_slice(&own);
            if !own.is_empty() && !more.is_empty() {
                out.push(b',');
            }
            out.extend(inner(more));
            out.push(b'}');
        }
        out.extend(format!(",\"securityDefinitions\":{how}").into_bytes());
        out.extend_from_slice(br#","security":[{"BearerToken":[]}]}"#);
        out
    }
}

/// The entries as JSON, without braces.
fn inner(map: &Map<String, Value>) -> Vec<u8> {
    let text = serde_json::to_vec(map).unwrap_or_default();
    let end = text.len().saturating_sub(1);
    text.get(1..end).unwrap_or_default().to_vec()
}

fn path_item(item: &Value) -> Value {
    let entries = item.as_object().into_iter().flatten().map(|(name, value)| {
        let value = match name.as_str() {
            "parameters" => parameters(value).into(),
            _ => operation(value),
        };
        (name.clone(), value)
    });
    Value::Object(entries.collect())
}

fn parameters(list: &Value) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(flat).collect()
}

/// A parameter with its type beside its name, or a reference to one.
fn flat(parameter: &Value) -> Value {
    let name = parameter["$ref"].as_str();
    if let Some(name) = name.and_then(|name| name.strip_prefix("#/components/parameters/")) {
        return json!({"$ref": format!("#/parameters/{name}")});
    }
    let mut flat = parameter.clone();
    if let Value::Object(map) = &mut flat
        && let Some(Value::Object(schema)) = map.remove("schema")
    {
        map.extend(schema);
    }
    flat
}

fn operation(value: &Value) -> Value {
    let mut converted = value.clone();
    let Value::Object(map) = &mut converted else { return converted };
    let mut all = parameters(&value["parameters"]);
    if let Some(body) = map.remove("requestBody") {
        let content = body["content"].as_object();
        let types: Vec<&String> = content.into_iter().flatten().map(|(name, _)| name).collect();
        let schema = content.and_then(|content| content.values().next()).map(|c| &c["schema"]);
        all.push(json!({
            "name": "body",
            "in": "body",
            "required": true,
            "schema": convert(schema.unwrap_or(&Value::Null)),
        }));
        map.insert("consumes".into(), json!(types));
    }
    if !all.is_empty() {
        map.insert("parameters".into(), all.into());
    }
    map.insert(
        "produces".into(),
        json!(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]),
    );
    map.insert("schemes".into(), json!(["https"]));
    for (_, response) in
        map.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten()
    {
        let Value::Object(response) = response else { continue };
        if let Some(content) = response.remove("content") {
            response.insert("schema".into(), convert(&content["application/json"]["schema"]));
        }
    }
    converted
}

/// A kind that takes unknown fields says nothing of the known ones either, not even that it does
/// (`buildKubeNative` of `apiextensions-apiserver`).
fn definition(schema: &Value) -> Value {
    let mut converted = convert(schema);
    if let Value::Object(map) = &mut converted
        && map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
    {
        map.retain(|name, _| matches!(name.as_str(), "type" | "x-kubernetes-group-version-kind"));
    }
    converted
}

/// A schema of v3 as v2 has it (`ToStructuralOpenAPIV2` of `apiextensions-apiserver`).
fn convert(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return json!({}) };
    if map.get("format").is_some_and(|format| format == "int-or-string") {
        let mut plain = json!({"type": "string", "format": "int-or-string"});
        if let Some(said) = map.get("description") {
            plain["description"] = said.clone();
        }
        return plain;
    }
    let mut out = Map::new();
    // A reference beside other fields is wrapped in v3.
    if let Some(reference) = reference(schema) {
        out.insert("$ref".into(), reference.into());
    }
    let is_set = |name: &str| map.get(name) == Some(&Value::Bool(true));
    let nullable = is_set("nullable");
    // Clients take what is listed for all that there may be.
    let open = nullable || is_set("x-kubernetes-preserve-unknown-fields");
    if !map.contains_key("type")
        && map.contains_key("oneOf")
        && !is_set("x-kubernetes-int-or-string")
    {
        out.insert("type".into(), "string".into());
    }
    for (name, value) in map {
        match name.as_str() {
            "$ref" | "allOf" | "anyOf" | "oneOf" | "not" | "nullable" | "default" => {}
            "type" if nullable => {}
            "properties" | "items" if open => {}
            "properties" => {
                let entries = value.as_object().into_iter().flatten();
                let converted = entries.map(|(name, value)| (name.clone(), convert(value)));
                out.insert(name.clone(), Value::Object(converted.collect()));
            }
            "items" => {
                out.insert(name.clone(), convert(value));
            }
            "additionalProperties" => {
                let converted = if value.is_object() { convert(value) } else { value.clone() };
                out.insert(name.clone(), converted);
            }
            "required" => {
                // What may be null may be missing for who knows no null.
                let may_be_null = |name: &Value| {
                    let name = name.as_str().unwrap_or_default();
                    map.get("properties").is_some_and(|p| p[name]["nullable"] == true)
                };
                let names = value.as_array().into_iter().flatten();
                let names: Vec<&Value> = names.filter(|name| !may_be_null(name)).collect();
                if !names.is_empty() {
                    out.insert(name.clone(), json!(names));
                }
            }
            _ => {
                out.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

fn reference(schema: &Value) -> Option<String> {
    let direct = schema["$ref"].as_str();
    let wrapped = schema["allOf"].as_array().filter(|all| all.len() == 1);
    let wrapped = wrapped.and_then(|all| all[0]["$ref"].as_str());
    let name = direct.or(wrapped)?.strip_prefix(V3)?;
    Some(format!("#/definitions/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_stands_behind_what_was_kept() {
        let document = |name: &str| {
            json!({"paths": {format!("/{name}"): {"get": {}}}, "components": {
                "schemas": {name: {"type": "object"}, "all": {"type": "string"}},
                "parameters": {"p": {"in": "query"}},
            }})
        };
        let mut first = Builder::default();
        first.add(&document("a"));
        let kept = first.pack();
        let whole = |names: &[&str]| {
            let mut more = kept.more();
            names.iter().for_each(|name| more.add(&document(name)));
            serde_json::from_slice::<Value>(&kept.with(&more, "v1")).unwrap()
        };
        assert_eq!(whole(&[])["definitions"].as_object().unwrap().len(), 2);
        let both = whole(&["b"]);
        assert_eq!(both["paths"].as_object().unwrap().len(), 2);
        assert_eq!(both["definitions"]["b"], json!({"type": "object"}));
        assert_eq!(both["parameters"], json!({"p": {"in": "query"}}));
        assert_eq!((&both["swagger"], &both["info"]["version"]), (&json!("2.0"), &json!("v1")));
    }

    #[test]
    fn a_kind_of_unknown_fields_is_an_object_and_no_more() {
        let kind = json!([{"group": "g", "version": "v1", "kind": "K"}]);
        let mut schema = json!({
            "type": "object", "description": "d", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"spec": {"type": "object"}}, "x-kubernetes-group-version-kind": kind,
        });
        let bare = json!({"type": "object", "x-kubernetes-group-version-kind": kind});
        assert_eq!(definition(&schema), bare);
        schema["x-kubernetes-preserve-unknown-fields"] = false.into();
        assert_eq!(definition(&schema)["properties"], schema["properties"]);
    }

    #[test]
    fn schemas() {
        for (v3, v2) in [
            (
                json!({"allOf": [{"$ref": "#/components/schemas/a.B"}], "x-kubernetes-patch-strategy": "merge"}),
                json!({"$ref": "#/definitions/a.B", "x-kubernetes-patch-strategy": "merge"}),
            ),
            (
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
                json!({"type": "string", "format": "int-or-string"}),
            ),
            (json!({"oneOf": [{"type": "string"}, {"type": "number"}]}), json!({"type": "string"})),
            (
                json!({"type": "object", "required": ["a", "b"], "properties": {
                    "a": {"type": "string", "nullable": true, "default": "x"},
                    "b": {"type": "array", "items": {"type": "object", "not": {}}},
                }}),
                json!({"type": "object", "required": ["b"], "properties": {
                    "a": {}, "b": {"type": "array", "items": {"type": "object"}},
                }}),
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                       "properties": {"a": {"type": "string"}}}),
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            ),
        ] {
            assert_eq!(convert(&v3), v2);
        }
    }
}

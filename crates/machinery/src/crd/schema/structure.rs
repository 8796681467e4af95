//! Whether a schema is one that we can work with: structural, without what OpenAPI v3 of
//! Kubernetes forbids (`apiextensions/validation`, `…/apiserver/schema/validation.go`).

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{Kind, MAX_DEPTH, Schema, default, prune, validate};
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, is_set, list_at, str_at};

/// Where in the schema a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What is wrong with `openAPIV3Schema`.
pub fn check(schema: &At<'_>, errors: &mut Errors) {
    if too_deep(schema.value, MAX_DEPTH) {
        errors.push(schema.invalid(format!("must not be nested deeper than {MAX_DEPTH} levels")));
        return;
    }
    let before = errors.len();
    forbidden(schema, errors);
    part(schema, Level::Root, errors);
    if errors.len() == before {
        complete(schema, schema.value, errors);
    }
    if errors.len() == before {
        defaults(schema, true, errors);
    }
}

fn too_deep(value: &Value, left: usize) -> bool {
    left == 0 || parts_of(value).any(|(_, part)| too_deep(part, left - 1))
}

/// The parts of a schema that are schemas, and their paths below it.
fn parts_of(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
    let named = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|(name, part)| (format!("properties[{name}]"), part));
    let single = ["items", "additionalProperties", "not"].into_iter();
    let single = single.map(|name| (name.to_owned(), at(schema, name)));
    let several = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|name| {
        let parts = list_at(schema, name).iter().enumerate();
        parts.map(move |(at, part)| (format!("{name}[{at}]"), part))
    });
    named.chain(single).chain(several).filter(|(_, part)| part.is_object())
}

// === What no schema may say ===

fn forbidden(schema: &At<'_>, errors: &mut Errors) {
    let value = schema.value;
    let mut forbid = |name: &str, detail: &str| {
        errors.push(FieldError::forbidden(&schema.path.child(name), detail));
    };
    for name in ["definitions", "dependencies", "patternProperties", "id", "additionalItems"] {
        if is_set(value, name) {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    for name in ["$ref", "$schema"] {
        if value.get(name).is_some_and(|found| !found.is_null()) {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    if bool_at(value, "uniqueItems") {
        forbid(
            "uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    if value["items"].is_array() {
        forbid("items", "items must be a schema object and not an array");
    }
    let has_properties = value["properties"].as_object().is_some_and(|map| !map.is_empty());
    if has_properties
        && (value["additionalProperties"].is_object() || value["additionalProperties"] == false)
    {
        forbid("additionalProperties", "additionalProperties and properties are mutual exclusive");
    }
    if str_at(value, "type") == "null" {
        forbid("type", "type cannot be set to null, use nullable as an alternative");
    }
    let kind = schema.child("type");
    if !kind.text().is_empty() && kind.text() != "null" && Kind::parse(kind.text()).is_none() {
        let known = ["array", "boolean", "integer", "number", "object", "string"];
        errors.push(FieldError::not_supported(&kind.path, kind.text(), &known));
    }
    lists_and_maps(schema, errors);
    for (path, part) in parts_of(value) {
        forbidden(&At::new(part, schema.path.child(&path)), errors);
    }
}

fn lists_and_maps(schema: &At<'_>, errors: &mut Errors) {
    let value = schema.value;
    let read = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (list, map, kind) =
        (read("x-kubernetes-list-type"), read("x-kubernetes-map-type"), str_at(value, "type"));
    let list_path = schema.path.child("x-kubernetes-list-type");
    let keys_at = schema.child("x-kubernetes-list-map-keys");
    let keys: Vec<&str> =
        list_at(value, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
    if !list.is_empty() {
        if kind != "array" {
            let wanted = "must be array if x-kubernetes-list-type is specified";
            errors.push(match kind {
                "" => FieldError::required(&schema.path.child("type"), wanted),
                kind => FieldError::invalid(&schema.path.child("type"), kind, wanted),
            });
        }
        if !matches!(list, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(&list_path, list, &["atomic", "map", "set"]));
        }
    }
    if !keys.is_empty() && list != "map" {
        let wanted = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list {
            "" => FieldError::required(&list_path, wanted),
            list => FieldError::invalid(&list_path, list, wanted),
        });
    }
    if list == "map" {
        if keys.is_empty() {
            let wanted = "must not be empty if x-kubernetes-list-type is map";
            errors.push(FieldError::required(&keys_at.path, wanted));
        }
        let items = schema.child("items");
        if !items.is_set() {
            let wanted = "must have a schema if x-kubernetes-list-type is map";
            errors.push(FieldError::required(&items.path, wanted));
        } else if str_at(items.value, "type") != "object" {
            let wanted = "must be object if parent array's x-kubernetes-list-type is map";
            errors.push(items.child("type").invalid(wanted));
        }
        let mut seen = std::collections::HashSet::new();
        for (place, key) in keys.iter().enumerate() {
            let path = keys_at.path.index(place);
            if !seen.insert(key) {
                errors.push(FieldError::duplicate(&path, *key));
            }
            let Some(property) = items.value["properties"].get(*key) else {
                let wanted = "entries must all be names of item properties";
                errors.push(keys_at.invalid(wanted));
                continue;
            };
            let kind = str_at(property, "type");
            if matches!(kind, "array" | "object") {
                let wanted =
                    "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let path = items.path.child(&format!("properties[{key}]")).child("type");
                errors.push(FieldError::invalid(&path, kind, wanted));
            }
            let required = list_at(items.value, "required").iter().any(|r| r == *key);
            if !required && !is_set(property, "default") {
                let wanted = "this property is in x-kubernetes-list-map-keys, so it must have a \
                              default or be a required property";
                let path = items.path.child(&format!("properties[{key}]")).child("default");
                errors.push(FieldError::required(&path, wanted));
            }
        }
    }
    if list == "set" {
        let items = schema.child("items");
        let composite = match str_at(items.value, "type") {
            "object" => read_in(items.value, "x-kubernetes-map-type") != "atomic",
            "array" => !matches!(read_in(items.value, "x-kubernetes-list-type"), "" | "atomic"),
            _ => false,
        };
        if bool_at(items.value, "nullable") {
            let wanted = "cannot be nullable when x-kubernetes-list-type is set";
            errors.push(FieldError::forbidden(&items.path.child("nullable"), wanted));
        }
        if composite {
            let wanted = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let field = match str_at(items.value, "type") {
                "object" => "x-kubernetes-map-type",
                _ => "x-kubernetes-list-type",
            };
            let told = items.value.get(field).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(&items.path.child(field), told, wanted));
        }
    }
    if !map.is_empty() {
        let map_path = schema.path.child("x-kubernetes-map-type");
        if !matches!(map, "atomic" | "granular") {
            errors.push(FieldError::not_supported(&map_path, map, &["atomic", "granular"]));
        }
        if kind != "object" {
            let wanted = "must be object if x-kubernetes-map-type is specified";
            errors.push(FieldError::invalid(&schema.path.child("type"), kind, wanted));
        }
    }
}

fn read_in<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

// === Structure ===

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// `anyOf: [{type: integer}, {type: string}]`, which says what int-or-string says already.
fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

fn part(schema: &At<'_>, level: Level, errors: &mut Errors) {
    let value = schema.value;
    let kind = schema.child("type");
    let embedded = flag(value, "x-kubernetes-embedded-resource");
    let preserve = flag(value, "x-kubernetes-preserve-unknown-fields");
    let either = flag(value, "x-kubernetes-int-or-string");
    if kind.text() == "array" && !value["items"].is_object() {
        errors.push(schema.child("items").required("must be specified"));
    }
    if value.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let path = schema.path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(&path, false, "must be true or undefined"));
    }
    if level == Level::Root && is_set(value, "additionalProperties") {
        let path = schema.path.child("additionalProperties");
        errors.push(FieldError::forbidden(&path, "must not be used at the root"));
    }
    if level == Level::Root && flag(value, "nullable") {
        let path = schema.path.child("nullable");
        errors.push(FieldError::forbidden(&path, "nullable cannot be true at the root"));
    }
    for (name, set) in [
        ("x-kubernetes-preserve-unknown-fields", preserve),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if either && set {
            let wanted = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&schema.path.child(name), true, wanted));
        }
    }
    if embedded && kind.text() != "object" {
        let wanted = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.text().is_empty() {
            kind.required(wanted)
        } else {
            kind.invalid(wanted)
        });
    } else if kind.text().is_empty() && !either && !preserve {
        errors.push(kind.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        }));
    }
    if level == Level::Root && !matches!(kind.text(), "" | "object") {
        errors.push(kind.invalid("must be object at the root"));
    }
    if embedded && is_set(value, "additionalProperties") {
        let path = schema.path.child("additionalProperties");
        let wanted = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(&path, wanted));
    }
    if embedded && !preserve && value["properties"].as_object().is_none_or(|map| map.is_empty()) {
        errors.push(schema.child("properties").required(
            "must not be empty if x-kubernetes-embedded-resource is true without \
             x-kubernetes-preserve-unknown-fields",
        ));
    }
    metadata(schema, level, embedded, errors);
    values(schema, false, errors);
    for (path, value) in parts_of(value) {
        let level = match path.as_str() {
            "items" => Level::Item,
            path if path.starts_with("properties[") || path == "additionalProperties" => {
                Level::Field
            }
            _ => continue,
        };
        part(&At::new(value, schema.path.child(&path)), level, errors);
    }
}

fn metadata(schema: &At<'_>, level: Level, embedded: bool, errors: &mut Errors) {
    if level != Level::Root && !embedded {
        return;
    }
    let properties = &schema.value["properties"];
    for name in ["kind", "apiVersion"] {
        let Some(property) = properties.get(name) else { continue };
        if str_at(property, "type") != "string" {
            let path = schema.path.child(&format!("properties[{name}]")).child("type");
            errors.push(FieldError::invalid(&path, str_at(property, "type"), "must be string"));
        }
    }
    let Some(metadata) = properties.get("metadata") else { return };
    let path = schema.path.child("properties[metadata]");
    if str_at(metadata, "type") != "object" {
        let found = str_at(metadata, "type");
        errors.push(FieldError::invalid(&path.child("type"), found, "must be object"));
    }
    if level == Level::Root {
        let names = metadata["properties"].as_object().into_iter().flatten();
        let only_names =
            names.into_iter().all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
        let others = metadata.as_object().into_iter().flatten().any(|(key, value)| {
            !matches!(key.as_str(), "type" | "properties" | "description" | "default")
                && !value.is_null()
        });
        if !only_names || others {
            errors.push(FieldError::forbidden(
                &path,
                "must not specify anything other than name and generateName, but metadata is \
                 implicitly specified",
            ));
        }
    }
}

/// The value validations of a part; `nested` below `allOf`, `anyOf`, `oneOf` and `not`.
fn values(schema: &At<'_>, nested: bool, errors: &mut Errors) {
    let value = schema.value;
    let pattern = schema.child("pattern");
    if !pattern.text().is_empty()
        && let Err(error) = crate::pattern::compile(pattern.text())
    {
        let wanted = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(pattern.invalid(wanted));
    }
    if nested {
        for (name, detail) in [
            ("type", "must be empty to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("title", "must be empty to be structural"),
            ("description", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("externalDocs", "must be undefined to be structural"),
            ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
            ("x-kubernetes-embedded-resource", "must be false to be structural"),
            ("x-kubernetes-int-or-string", "must be false to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ] {
            let found = value.get(name).filter(|v| !v.is_null() && **v != false && **v != "");
            if found.is_some() {
                errors.push(FieldError::forbidden(&schema.path.child(name), detail));
            }
        }
        if value["properties"].get("metadata").is_some() {
            let path = schema.path.child("properties[metadata]");
            errors.push(FieldError::forbidden(&path, "must not be specified in a nested context"));
        }
    }
    let either = !nested && flag(value, "x-kubernetes-int-or-string");
    for (path, part) in parts_of(value) {
        let junction = path.starts_with("allOf[")
            || path.starts_with("anyOf[")
            || path.starts_with("oneOf[")
            || path == "not";
        if !junction && !nested {
            continue;
        }
        if either && path.starts_with("anyOf[") && is_int_or_string(&value["anyOf"]) {
            continue;
        }
        if either && path == "allOf[0]" && is_int_or_string(&part["anyOf"]) {
            continue;
        }
        values(&At::new(part, schema.path.child(&path)), true, errors);
    }
}

/// What is said below a junction must be said of a field that the schema itself knows.
fn complete(schema: &At<'_>, structure: &Value, errors: &mut Errors) {
    for (path, part) in parts_of(schema.value) {
        let below = At::new(part, schema.path.child(&path));
        let same = path.starts_with("allOf[")
            || path.starts_with("anyOf[")
            || path.starts_with("oneOf[")
            || path == "not";
        if same {
            complete(&below, structure, errors);
            continue;
        }
        let known = match path.as_str() {
            "items" => at(structure, "items"),
            "additionalProperties" => at(structure, "additionalProperties"),
            path => {
                let name = path.trim_start_matches("properties[").trim_end_matches(']');
                structure["properties"].get(name).unwrap_or(
                    match &structure["additionalProperties"] {
                        schema @ Value::Object(_) => schema,
                        _ => &Value::Null,
                    },
                )
            }
        };
        if known.is_object() || std::ptr::eq(part, known) {
            complete(&below, known, errors);
        } else {
            let place = structural_place(&below.path.to_string());
            errors.push(FieldError::required(
                &onggi_api::FieldPath::new(place),
                format!("because it is defined in {}", below.path),
            ));
        }
    }
}

/// The path without its junctions.
fn structural_place(path: &str) -> String {
    let parts = path.split('.').filter(|part| {
        !["allOf[", "anyOf[", "oneOf["].iter().any(|junction| part.starts_with(junction))
            && *part != "not"
    });
    parts.collect::<Vec<_>>().join(".")
}

// === Defaults ===

/// A default must itself be valid and hold nothing that would be pruned.
fn defaults(schema: &At<'_>, is_root: bool, errors: &mut Errors) {
    if let Some(found) = schema.value.get("default").filter(|default| !default.is_null()) {
        let path = schema.path.child("default");
        let read = Schema::read(schema.value);
        let mut value = found.clone();
        if is_root {
            errors.push(FieldError::forbidden(&path, "must not be set at the root"));
        } else if !prune_value(&mut value, &read).is_empty() {
            errors.push(FieldError::invalid(&path, found.clone(), "must not have unknown fields"));
        } else {
            default(&mut value, &read);
            for error in validate(&value, None, &read) {
                let place = match error.path.as_str() {
                    "" => path.clone(),
                    below => onggi_api::FieldPath::new(format!("{path}.{below}")),
                };
                errors.push(FieldError { path: place, ..error });
            }
        }
    }
    for (path, value) in parts_of(schema.value) {
        defaults(&At::new(value, schema.path.child(&path)), false, errors);
    }
}

/// Prunes a value that is no object of its own.
fn prune_value(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut whole = json!({"value": value.take()});
    let mut around = Schema { kind: Kind::Object, ..Schema::default() };
    around.properties.insert("value".into(), schema.clone());
    let unknown = prune(&mut whole, &around);
    *value = whole["value"].take();
    unknown
}

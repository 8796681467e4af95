//! OpenAPI definitions that a kustomization brings: merge keys of custom kinds (`openapi.path`),
//! and where they name other objects (`crds`).

use std::collections::HashMap;

use onggi_api::schema::{
    self, Builder, Empty, Field, List, ListKind, Map, Object, PatchStrategy, Schema, SchemaId,
    Shape, Table,
};
use onggi_machinery::value::{entries_at, list_at, str_at};
use onggi_machinery::yaml;
use serde_json::{Value, json};

use super::config::Config;
use super::id::Gvk;

/// Levels of nesting inside one definition.
const MAX_DEPTH: usize = 64;
const REFERENCE: &str = "#/definitions/";

/// The version that can be named in the place of a file.
pub(super) const BUILTIN: &str = "v1.21.2";

/// The schemas that are known to a build.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// Those of a file.
    own: Option<Table>,
    /// Whether the built-in ones are known beside them.
    with_builtin: bool,
    /// Whether a layer said which.
    pub(super) is_set: bool,
}

impl Definitions {
    /// The schemas of the kinds that a file of definitions describes.
    pub(super) fn read(text: &str, with_builtin: bool) -> Result<Self, String> {
        Ok(Self { own: Some(table(text, with_builtin)?), with_builtin, is_set: true })
    }

    pub(super) fn of(&self, gvk: &Gvk) -> Option<Schema<'_>> {
        let Gvk { group, version, kind } = gvk;
        let own = self.own.as_ref();
        let found = own.and_then(|table| table.kind(group, version, kind));
        let knows_builtin = own.is_none() || self.with_builtin;
        found.or_else(|| schema::of(group, version, kind).filter(|_| knows_builtin))
    }
}

fn table(text: &str, with_builtin: bool) -> Result<Table, String> {
    let file = yaml::parse(text).map_err(|e| e.to_string())?;
    let mut builder = Builder::new();
    let mut named: Vec<String> = Vec::new();
    for (name, definition) in entries_at(&file, "definitions") {
        let id = builder.reserve(name);
        let shape = shape(&mut builder, definition, 0, &mut named)?;
        builder.define(id, shape);
        for gvk in list_at(definition, "x-kubernetes-group-version-kind") {
            let of = |field: &str| str_at(gvk, field);
            builder.kind(of("group"), of("version"), of("kind"), id);
        }
    }
    if with_builtin {
        let is_own = |name: &str| entries_at(&file, "definitions").any(|(own, _)| own == name);
        let mut taken = HashMap::new();
        for name in named.iter().filter(|name| !is_own(name)) {
            if let Some(schema) = schema::table().definition(name) {
                let id = builder.reserve(name);
                taken.insert(schema.id(), id);
                let shape = adopted(&mut builder, schema, &mut taken);
                builder.define(id, shape);
            }
        }
    }
    Ok(builder.finish())
}

/// A built-in shape, and with it all that it leads to.
fn adopted(
    builder: &mut Builder,
    schema: Schema<'_>,
    taken: &mut HashMap<SchemaId, SchemaId>,
) -> Shape {
    let mut shape = schema.shape().clone();
    let mut take = |id: &mut SchemaId| {
        let old = schema.at(*id);
        *id = match (taken.get(id), old.name()) {
            (Some(known), _) => *known,
            // Definitions may lead back to themselves.
            (None, Some(name)) => {
                let new = builder.reserve(name);
                taken.insert(*id, new);
                let shape = adopted(builder, old, taken);
                builder.define(new, shape);
                new
            }
            (None, None) => {
                let shape = adopted(builder, old, taken);
                builder.anonymous(shape)
            }
        };
    };
    match &mut shape {
        Shape::Object(object) => {
            object.fields.iter_mut().for_each(|field| take(&mut field.schema));
            object.inline.clear();
        }
        Shape::Map(map) => take(&mut map.value),
        Shape::List(list) => take(&mut list.item),
        _ => {}
    }
    shape
}

/// The names of definitions that are referred to are noted in `named`.
fn schema(
    builder: &mut Builder,
    value: &Value,
    depth: usize,
    named: &mut Vec<String>,
) -> Result<SchemaId, String> {
    if let Some(name) = str_at(value, "$ref").strip_prefix(REFERENCE) {
        named.push(name.to_owned());
        return Ok(builder.reserve(name));
    }
    let shape = shape(builder, value, depth, named)?;
    Ok(builder.anonymous(shape))
}

fn shape(
    builder: &mut Builder,
    value: &Value,
    depth: usize,
    named: &mut Vec<String>,
) -> Result<Shape, String> {
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
        let schema = schema(builder, property, depth + 1, named)?;
        fields.push(Field {
            name: builder.name(name),
            schema,
            tag: 0,
            required: false,
            patch,
            empty: Empty::default(),
        });
    }
    if !fields.is_empty() {
        return Ok(Shape::Object(Object { fields, inline: Vec::new(), atomic: false }));
    }
    Ok(match str_at(value, "type") {
        "array" => {
            let item = schema(builder, &value["items"], depth + 1, named)?;
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
            let inner = schema(builder, &value["additionalProperties"], depth + 1, named)?;
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
        // A reference is the name of a definition here.
        if let Some(next) = file.get(str_at(property, "$ref")) {
            collect(file, next, kind, path, found)?;
        }
        path.pop();
    }
    Ok(())
}

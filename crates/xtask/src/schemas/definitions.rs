//! From the OpenAPI definitions and the protobuf messages to one table.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use onggi_api::schema::{
    self, Builder, Empty, Field, List, ListKind, Object, PatchStrategy, Prose, SchemaId, Shape,
    Table,
};
use serde_json::{Map, Value};

use super::messages::{Member, Messages};

/// Definitions whose JSON is not what their text says.
const SPECIAL: &[(&str, Shape)] = &[
    ("io.k8s.apimachinery.pkg.api.resource.Quantity", Shape::Quantity),
    ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", Shape::IntOrString),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", Shape::Time),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", Shape::MicroTime),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Shape::Any),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", Shape::Any),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", Shape::Any),
];

/// The table, and what the messages lack.
pub(super) fn build(document: &Value, messages: &Messages) -> Result<(Table, Vec<String>)> {
    let definitions = all(document)?;
    let mut build = Build { builder: Builder::new(), messages, report: Vec::new() };
    // Sorted, so that the same input gives the same table.
    let definitions: BTreeMap<&String, &Value> = definitions.iter().collect();
    for name in definitions.keys() {
        build.builder.reserve(name);
    }
    for (name, definition) in &definitions {
        let id = build.builder.reserve(name);
        let special = SPECIAL.iter().find(|(special, _)| special == name);
        let shape = match special {
            Some((_, shape)) => shape.clone(),
            None => build.shape(definition, Some(name)).with_context(|| (*name).clone())?,
        };
        build.builder.define(id, shape);
        let kinds = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        for kind in kinds.into_iter().flatten() {
            let part = |key: &str| kind.get(key).and_then(Value::as_str).context("kind");
            build.builder.kind(part("group")?, part("version")?, part("kind")?, id);
        }
    }
    Ok((build.builder.finish(), build.report))
}

/// What the definitions say in words. The package leaves those out that it describes anew; their
/// messages say the same.
pub(super) fn prose(document: &Value, table: &Table, messages: &Messages) -> Result<Prose> {
    let definitions = all(document)?;
    Ok(Prose::gather(table, |name, field| {
        let definition = definitions.get(name)?;
        match field {
            Some(field) => text(definition.get("properties")?.get(field)?, "description"),
            None => text(definition, "description").or_else(|| messages.comment(name)),
        }
    }))
}

fn all(document: &Value) -> Result<&Map<String, Value>> {
    let definitions = document.get("$defs").or_else(|| document.get("definitions"));
    definitions.and_then(Value::as_object).context("the document holds no definitions")
}

struct Build<'a> {
    builder: Builder,
    messages: &'a Messages,
    report: Vec<String>,
}

impl Build<'_> {
    /// The place of what a field, an item or a map's value is.
    fn place(&mut self, schema: &Value, wrapped: bool) -> Result<SchemaId> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return Ok(self.builder.reserve(name));
        }
        let mut shape = self.shape(schema, None)?;
        if let Shape::List(list) = &mut shape {
            list.wrapped = wrapped;
        }
        Ok(self.builder.anonymous(shape))
    }

    fn shape(&mut self, schema: &Value, name: Option<&str>) -> Result<Shape> {
        let format = schema.get("format").and_then(Value::as_str);
        let atomic = text(schema, "x-kubernetes-map-type") == Some("atomic");
        Ok(match (type_of(schema), format) {
            (Some("string"), Some("byte")) => Shape::Bytes,
            (Some("string"), Some("date-time")) => Shape::Time,
            (Some("string"), _) => Shape::String,
            (Some("integer"), Some("int64")) => Shape::Int64,
            (Some("integer"), _) => Shape::Int32,
            (Some("number"), _) => Shape::Double,
            (Some("boolean"), _) => Shape::Bool,
            (Some("array"), _) => {
                let item =
                    self.place(schema.get("items").context("a list without items")?, false)?;
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str);
                Shape::List(List {
                    item,
                    kind: match text(schema, "x-kubernetes-list-type") {
                        Some("map") => ListKind::Map,
                        Some("set") => ListKind::Set,
                        _ => ListKind::Atomic,
                    },
                    keys: keys.map(|key| self.builder.name(key)).collect(),
                    merge_key: text(schema, "x-kubernetes-patch-merge-key")
                        .map(|key| self.builder.name(key)),
                    wrapped: false,
                })
            }
            (Some("object"), _) => match schema.get("additionalProperties") {
                Some(value) if value.is_object() => {
                    let wrapped = type_of(value) == Some("array");
                    Shape::Map(schema::Map { value: self.place(value, wrapped)?, atomic })
                }
                _ => Shape::Object(self.object(schema, name, atomic)?),
            },
            _ => Shape::Any,
        })
    }

    fn object(&mut self, schema: &Value, name: Option<&str>, atomic: bool) -> Result<Object> {
        let messages = self.messages;
        let members = name.and_then(|name| messages.get(name));
        if let (Some(name), None) = (name, members) {
            self.report.push(format!("{name}: no message"));
        }
        let members = members.unwrap_or_default();
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut fields = Vec::new();
        for (key, property) in properties.into_iter().flatten() {
            let member = members.iter().find(|member| member.name == plain(key));
            let wrapped = member.is_some_and(|member| {
                member.message.is_some() && !member.repeated && type_of(property) == Some("array")
            });
            fields.push(Field {
                name: self.builder.name(key),
                schema: self.place(property, wrapped)?,
                tag: member.map_or(0, |member| member.tag),
                required: required.contains(&key.as_str()),
                patch: patch_strategy(property),
                empty: Empty::default(),
            });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let inline = self.inline(members, &fields)?;
        if let Some(name) = name.filter(|_| !members.is_empty()) {
            self.note_missing(name, &fields, &inline);
        }
        Ok(Object { fields, inline, atomic })
    }

    /// Members that JSON does not have by their name: their own fields stand among the fields of
    /// the message around them.
    fn inline(&mut self, members: &[Member], fields: &[Field]) -> Result<Vec<(u32, SchemaId)>> {
        let messages = self.messages;
        let mut inline = Vec::new();
        for member in members {
            let known = fields.iter().any(|f| plain(&f.name) == member.name);
            let Some(message) = member.message.as_ref().filter(|_| !known && !member.repeated)
            else {
                continue;
            };
            let inner = messages.get(message).context("an unknown message is inlined")?;
            let mut own: Vec<Field> = Vec::new();
            for field in fields {
                let name = plain(&field.name);
                if let Some(member) = inner.iter().find(|member| member.name == name) {
                    own.push(Field { tag: member.tag, ..field.clone() });
                }
            }
            let deeper = self.inline(inner, fields)?;
            let object = Object { fields: own, inline: deeper, atomic: false };
            inline.push((member.tag, self.builder.anonymous(Shape::Object(object))));
        }
        Ok(inline)
    }

    fn note_missing(&mut self, name: &str, fields: &[Field], inline: &[(u32, SchemaId)]) {
        for field in fields.iter().filter(|field| field.tag == 0) {
            let inlined = inline.iter().any(|(_, id)| self.holds(*id, &field.name));
            if !inlined && !matches!(&*field.name, "apiVersion" | "kind") {
                self.report.push(format!("{name}.{}: no field number", field.name));
            }
        }
    }

    fn holds(&self, inline: SchemaId, name: &str) -> bool {
        let Some(Shape::Object(object)) = self.builder.shape(inline) else { return false };
        object.fields.iter().any(|field| &*field.name == name)
            || object.inline.iter().any(|(_, id)| self.holds(*id, name))
    }
}

/// A JSON name as [`Member`] spells it.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn patch_strategy(property: &Value) -> PatchStrategy {
    let strategies = text(property, "x-kubernetes-patch-strategy").unwrap_or_default();
    let has = |name: &str| strategies.split(',').any(|strategy| strategy == name);
    PatchStrategy { merge: has("merge"), retain_keys: has("retainKeys"), replace: has("replace") }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

/// The type, without the `null` that the package adds to what may be left out.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|t| *t != "null"),
        other => other.as_str(),
    }
}

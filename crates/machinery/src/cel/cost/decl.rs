//! What a schema declares to expressions: the types of its parts, how large each can be, and how
//! small it can be written (`apiserver/pkg/cel/common/schemas.go`, `apiserver/pkg/cel/limits.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::crd::schema::{Additional, Kind, Schema};

/// The largest request (`MaxRequestSizeBytes`): no value is larger.
const REQUEST: u64 = 3 * 1024 * 1024;

/// A schema as expressions see it (`DeclType`).
#[derive(Debug, Clone)]
pub struct Decl {
    pub(super) shape: Shape,
    /// The most characters, items or entries; nothing for what has no size.
    pub(super) max: u64,
    /// The fewest bytes that it takes in JSON.
    min_bytes: u64,
}

/// Its type.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// An integer or a string.
    Dyn,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    List(Box<Decl>),
    Map(Box<Decl>),
    Object(BTreeMap<String, Decl>),
}

/// The keys of a map; Kubernetes gives them no size.
pub(super) static KEY: Decl = Decl { shape: Shape::Text, max: 0, min_bytes: 2 };

impl Decl {
    /// What the schema declares; `None` where expressions do not see it, as its type is not known.
    /// `root`: it is that of an object with `kind`, `apiVersion` and `metadata`.
    pub fn read(schema: &Schema, root: bool) -> Option<Self> {
        let checks = schema.checks.as_deref();
        let max_length = checks.and_then(|checks| checks.max_length);
        let decl = |shape, max, min_bytes| Some(Self { shape, max, min_bytes });
        if schema.int_or_string {
            return decl(Shape::Dyn, max_length.map_or(REQUEST - 2, bytes_of), 1);
        }
        match schema.kind {
            Kind::Any => None,
            Kind::Boolean => decl(Shape::Bool, 0, 4),
            Kind::Integer => decl(Shape::Int, 0, 1),
            Kind::Number => decl(Shape::Double, 0, 1),
            Kind::String => match checks.map_or("", |checks| checks.format.as_str()) {
                "byte" => decl(Shape::Bytes, max_length.unwrap_or(REQUEST - 2), 2),
                "duration" => decl(Shape::Duration, 32, 3),
                "date" => decl(Shape::Timestamp, 12, 12),
                "date-time" => decl(Shape::Timestamp, 32, 21),
                _ => {
                    let longest = || match checks.map(|checks| checks.one_of_values.as_slice()) {
                        Some(values @ [_, ..]) => {
                            values.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0)
                                as u64
                        }
                        _ => REQUEST - 2,
                    };
                    decl(Shape::Text, max_length.map_or_else(longest, bytes_of), 2)
                }
            },
            Kind::Array => {
                let items = schema.items.as_deref()?;
                let item = Self::read(items, items.embedded)?;
                let most = (REQUEST - 2) / (item.min_bytes + 1);
                let max = checks.and_then(|checks| checks.max_items).unwrap_or(most);
                decl(Shape::List(Box::new(item)), max, 2)
            }
            Kind::Object => {
                if let Some(Additional::Of(values)) = &schema.additional {
                    let value = Self::read(values, values.embedded)?;
                    // A key takes at least its quotes, a colon and a comma.
                    let most = (REQUEST - 2) / (value.min_bytes + 6);
                    let max = checks.and_then(|checks| checks.max_properties).unwrap_or(most);
                    return decl(Shape::Map(Box::new(value)), max, 2);
                }
                Some(Self::object(schema, root))
            }
        }
    }

    fn object(schema: &Schema, root: bool) -> Self {
        let mut fields: BTreeMap<String, Self> = schema
            .properties
            .iter()
            .filter_map(|(name, field)| Some((name.clone(), Self::read(field, field.embedded)?)))
            .collect();
        if root && !has_common(&fields) {
            let text = || Self { shape: Shape::Text, max: REQUEST - 2, min_bytes: 2 };
            let names = ["name", "generateName"].map(|name| (name.to_owned(), text()));
            let metadata =
                Self { shape: Shape::Object(BTreeMap::from(names)), max: 0, min_bytes: 2 };
            fields.insert("metadata".into(), metadata);
            fields.insert("kind".into(), text());
            fields.insert("apiVersion".into(), text());
        }
        let required = schema.checks.as_ref().map_or(&[][..], |checks| &checks.required);
        let written = fields.iter().filter(|(name, _)| required.contains(name));
        let written = written.filter_map(|(name, field)| {
            let default = schema.properties.get(name).and_then(|field| field.default.as_ref());
            // Quotes, a colon and a comma.
            default.is_none().then_some(name.len() as u64 + field.min_bytes + 4)
        });
        let min_bytes = 2 + written.sum::<u64>();
        Self { shape: Shape::Object(fields), max: 0, min_bytes }
    }

    /// What a property, the items or the values of it declare.
    pub fn field(&self, name: &str) -> Option<&Self> {
        match &self.shape {
            Shape::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// What its items or values declare.
    pub fn item(&self) -> Option<&Self> {
        match &self.shape {
            Shape::List(item) | Shape::Map(item) => Some(item),
            _ => None,
        }
    }

    /// How often it can be in an object where no list or map around it has a bound.
    pub fn most_often(&self) -> u64 {
        REQUEST / (self.min_bytes + 1)
    }
}

/// A character takes up to four bytes.
fn bytes_of(characters: u64) -> u64 {
    characters.saturating_mul(4)
}

/// Whether the schema says itself what every object has.
fn has_common(fields: &BTreeMap<String, Decl>) -> bool {
    let is_text = |decl: Option<&Decl>| matches!(decl, Some(Decl { shape: Shape::Text, .. }));
    let metadata = fields.get("metadata");
    is_text(fields.get("kind"))
        && is_text(fields.get("apiVersion"))
        && ["name", "generateName"]
            .iter()
            .all(|name| is_text(metadata.and_then(|metadata| metadata.field(name))))
}

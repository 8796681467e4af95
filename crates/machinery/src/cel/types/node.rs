//! Schemas as types.

use onggi_api::schema::{self as builtin, Shape};

use super::Type;
use crate::cel::value::unescape;
use crate::crd::schema::{Additional, Kind, Schema};

/// A schema, whoever defined it.
#[derive(Debug, Clone, Copy)]
pub enum Node<'s> {
    /// Of a custom kind, or a part of one.
    Custom(&'s Schema),
    /// Of a built-in kind, or a part of one.
    BuiltIn(builtin::Schema<'s>),
}

impl<'s> Node<'s> {
    /// The type of its values.
    pub(super) fn ty(self) -> Type<'s> {
        match self.name() {
            "dyn" => Type::Dyn,
            "object" => Type::Of(self),
            "list" => Type::list(self.item()),
            "map" => Type::map(Type::STRING, self.item()),
            scalar => Type::Named(scalar),
        }
    }

    /// The name of its type in expressions.
    fn name(self) -> &'static str {
        match self {
            Self::Custom(schema) if schema.int_or_string => "dyn",
            Self::Custom(schema) => match schema.kind {
                Kind::Any => "dyn",
                Kind::Object if schema.additional.is_some() => "map",
                Kind::Object => "object",
                Kind::Array => "list",
                Kind::Integer => "int",
                Kind::Number => "double",
                Kind::Boolean => "bool",
                Kind::String => match schema.checks.as_ref().map_or("", |c| c.format.as_str()) {
                    "byte" => "bytes",
                    "duration" => "duration",
                    "date" | "date-time" | "datetime" => "timestamp",
                    _ => "string",
                },
            },
            Self::BuiltIn(schema) => match schema.shape() {
                Shape::Any | Shape::IntOrString | Shape::Quantity => "dyn",
                Shape::Object(_) => "object",
                Shape::Map(_) => "map",
                Shape::List(_) => "list",
                Shape::String => "string",
                Shape::Bytes => "bytes",
                Shape::Int32 | Shape::Int64 => "int",
                Shape::Double => "double",
                Shape::Bool => "bool",
                Shape::Time | Shape::MicroTime => "timestamp",
            },
        }
    }

    /// The items of a list, or the values of a map.
    fn item(self) -> Type<'s> {
        match self {
            Self::Custom(schema) => match (schema.kind, &schema.items, &schema.additional) {
                (Kind::Array, Some(items), _) => Self::Custom(items).ty(),
                (Kind::Object, _, Some(Additional::Of(schema))) => Self::Custom(schema).ty(),
                _ => Type::Dyn,
            },
            Self::BuiltIn(schema) => match schema.shape() {
                Shape::List(list) => Self::BuiltIn(schema.at(list.item)).ty(),
                Shape::Map(map) => Self::BuiltIn(schema.at(map.value)).ty(),
                _ => Type::Dyn,
            },
        }
    }

    /// What a field holds; nothing where there can be no such field.
    pub(super) fn field(self, field: &str) -> Option<Type<'s>> {
        let name = unescape(field);
        match self {
            Self::Custom(schema) => {
                if let Some(found) = schema.child(&name) {
                    // The names of an object are there whether or not its schema says so.
                    let says = |name: &&str| found.properties.contains_key(*name);
                    let open = name == "metadata" && !["name", "generateName"].iter().all(says);
                    return Some(if open { Type::Dyn } else { Self::Custom(found).ty() });
                }
                // What every object has, and what an embedded one has.
                match field {
                    "apiVersion" | "kind" => Some(Type::STRING),
                    "metadata" => Some(Type::Dyn),
                    _ => (schema.additional.is_some() || schema.embedded).then_some(Type::Dyn),
                }
            }
            Self::BuiltIn(schema) => schema.child(&name).map(|found| Self::BuiltIn(found).ty()),
        }
    }
}

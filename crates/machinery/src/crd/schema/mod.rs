//! Structural schemas: what a definition says about its objects
//! (`apiextensions-apiserver/pkg/apiserver/schema`).
//!
//! [`Schema::read`] takes a schema apart once; [`prune`], [`default`] and [`validate`] walk an
//! object beside it. They are for schemas that [`structure`] found nothing wrong with.

pub mod costs;
mod default;
mod format;
mod lists;
mod prune;
mod publish;
pub mod rules;
pub mod structure;
mod validate;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

pub use default::{default, drop_nulls};
pub use format::matches as has_format;
pub use prune::prune;
pub use publish::publish_v3;
pub use validate::validate;

use crate::value::{at, bool_at, list_at, str_at};

/// How deep a schema may be nested; what lies below is not looked at.
pub const MAX_DEPTH: usize = 100;

/// A schema, or a part of one.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// `type`.
    pub kind: Kind,
    /// `nullable`.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`.
    pub list: List,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    /// `properties`.
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`.
    pub additional: Option<Additional>,
    /// `items`.
    pub items: Option<Box<Schema>>,
    /// `default`.
    pub default: Option<Value>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Value>,
    /// What a value must be beyond its type.
    pub checks: Option<Box<Checks>>,
    /// Whether it or something in it has a default.
    pub has_defaults: bool,
}

/// `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Kind {
    /// Nothing said.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum List {
    /// As a whole, and what is meant when nothing is said.
    #[default]
    Atomic,
    /// No item twice.
    Set,
    /// No two items with the same values of these keys.
    Map(Vec<String>),
}

/// `additionalProperties`.
#[derive(Debug, Clone)]
pub enum Additional {
    /// Any, or none.
    Allowed(bool),
    /// Of this schema.
    Of(Box<Schema>),
}

/// The value validations of OpenAPI v3.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the names are those of the schema")]
pub struct Checks {
    pub format: String,
    /// The text, and what it is compiled to when it is first needed.
    pub pattern: Option<(String, OnceLock<Option<Regex>>)>,
    pub one_of_values: Vec<Value>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub unique_items: bool,
    pub required: Vec<String>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
}

impl Kind {
    /// Reads a `type`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Any,
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The word of the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

impl Schema {
    /// Reads `openAPIV3Schema`; what cannot be read counts as not said.
    pub fn read(value: &Value) -> Self {
        Self::at_depth(value, MAX_DEPTH)
    }

    fn at_depth(value: &Value, depth: usize) -> Self {
        if depth == 0 {
            return Self { preserve: true, ..Self::default() };
        }
        let below = |value: &Value| Self::at_depth(value, depth - 1);
        let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let properties: BTreeMap<String, Self> = value["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.clone(), below(schema)))
            .collect();
        let additional = match &value["additionalProperties"] {
            Value::Bool(allowed) => Some(Additional::Allowed(*allowed)),
            schema @ Value::Object(_) => Some(Additional::Of(Box::new(below(schema)))),
            _ => None,
        };
        let items = value["items"].is_object().then(|| Box::new(below(&value["items"])));
        let default = value.get("default").filter(|default| !default.is_null()).cloned();
        let has_defaults = default.is_some()
            || properties.values().any(|schema| schema.has_defaults)
            || items.as_ref().is_some_and(|items| items.has_defaults)
            || matches!(&additional, Some(Additional::Of(schema)) if schema.has_defaults);
        Self {
            kind: Kind::parse(str_at(value, "type")).unwrap_or_default(),
            nullable: bool_at(value, "nullable"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list: match str_at(value, "x-kubernetes-list-type") {
                "set" => List::Set,
                "map" => {
                    let keys = list_at(value, "x-kubernetes-list-map-keys").iter();
                    List::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => List::Atomic,
            },
            atomic_map: str_at(value, "x-kubernetes-map-type") == "atomic",
            properties,
            additional,
            items,
            default,
            rules: list_at(value, "x-kubernetes-validations").to_vec(),
            checks: Checks::read(value, depth).map(Box::new),
            has_defaults,
        }
    }

    /// The schema of what stands under a key of an object.
    pub fn child(&self, key: &str) -> Option<&Self> {
        self.properties.get(key).or(match &self.additional {
            Some(Additional::Of(schema)) => Some(schema),
            _ => None,
        })
    }

    /// The schema at a dotted path without a leading dot.
    pub fn path(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |schema, key| schema.child(key))
    }
}

impl Checks {
    fn read(value: &Value, depth: usize) -> Option<Self> {
        const NAMES: [&str; 20] = [
            "format",
            "pattern",
            "enum",
            "maximum",
            "exclusiveMaximum",
            "minimum",
            "exclusiveMinimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "maxItems",
            "minItems",
            "maxProperties",
            "minProperties",
            "uniqueItems",
            "required",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !NAMES.iter().any(|name| value.get(name).is_some()) {
            return None;
        }
        let float = |name: &str| at(value, name).as_f64();
        let whole = |name: &str| at(value, name).as_u64();
        let all = |name: &str| -> Vec<Schema> {
            list_at(value, name).iter().map(|s| Schema::at_depth(s, depth - 1)).collect()
        };
        let required = list_at(value, "required").iter().filter_map(Value::as_str);
        Some(Self {
            format: format::known(str_at(value, "format")).unwrap_or_default().to_owned(),
            pattern: at(value, "pattern")
                .as_str()
                .filter(|pattern| !pattern.is_empty())
                .map(|pattern| (pattern.to_owned(), OnceLock::new())),
            one_of_values: list_at(value, "enum").to_vec(),
            maximum: float("maximum"),
            exclusive_maximum: bool_at(value, "exclusiveMaximum"),
            minimum: float("minimum"),
            exclusive_minimum: bool_at(value, "exclusiveMinimum"),
            multiple_of: float("multipleOf"),
            max_length: whole("maxLength"),
            min_length: whole("minLength"),
            max_items: whole("maxItems"),
            min_items: whole("minItems"),
            max_properties: whole("maxProperties"),
            min_properties: whole("minProperties"),
            unique_items: bool_at(value, "uniqueItems"),
            required: required.map(str::to_owned).collect(),
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: value["not"]
                .is_object()
                .then(|| Box::new(Schema::at_depth(&value["not"], depth - 1))),
        })
    }
}

#[cfg(test)]
mod tests;

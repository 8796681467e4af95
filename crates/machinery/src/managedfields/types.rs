//! What server-side apply must know of a value: whether it is owned as a whole or by its parts, and
//! by which keys the items of its lists are told apart.
//!
//! The built-in kinds say it in the schema table; a custom kind in the OpenAPI schema of its
//! definition ([`Structural`]); where nothing is known it is deduced: maps by their parts, all else
//! as a whole.

use std::collections::BTreeMap;

use onggi_api::schema::{Empty, Field, ListKind, Name, Schema, Shape};
use serde_json::Value;

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Type<'s> {
    /// Of a built-in kind.
    Known(Schema<'s>),
    /// Of a custom kind.
    Custom(&'s Structural),
    /// Nothing is known: maps are owned by their parts.
    Deduced,
    /// Owned as a whole, whatever it is.
    Whole,
}

/// The keys of a list that is merged by them.
pub(super) type Keys<'s> = &'s [Name];

/// How a value is owned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Class<'s> {
    /// As a whole.
    Leaf,
    /// By its fields.
    Map,
    /// By its items, which have keys.
    List(Keys<'s>),
    /// By its members.
    Set,
}

/// A field or key of a map.
pub(super) struct Child<'s> {
    pub(super) ty: Type<'s>,
    /// It is a field of an object, not a free key.
    pub(super) named: bool,
    /// The schema that it is a field of, and the field.
    field: Option<(Schema<'s>, &'s Field)>,
}

impl Child<'_> {
    /// Go's type has it in every object: a struct that is no pointer, a list or a scalar that is
    /// written when it is empty. That it is there belongs to nobody.
    pub(super) fn is_always(&self) -> bool {
        self.field.is_some_and(|(_, field)| matches!(field.empty, Empty::Zero | Empty::Null))
    }

    /// A scalar that Go's type has in every object, and that holds nothing.
    pub(super) fn is_zero(&self, value: &Value) -> bool {
        let nothing = match value {
            Value::Bool(set) => !set,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            _ => return false,
        };
        nothing && self.field.is_some_and(|(_, field)| field.empty == Empty::Zero)
    }
}

/// What a scalar of a schema may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Number,
    Boolean,
    Any,
}

/// The structural schema of a custom kind, as far as ownership depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Structural {
    kind: Kind,
    /// `x-kubernetes-map-type: atomic`.
    atomic: bool,
    properties: BTreeMap<String, Structural>,
    additional: Option<Box<Structural>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    open: bool,
    item: Option<Box<Structural>>,
    list: ListKind,
    keys: Vec<Name>,
    default: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    List,
    Scalar(Scalar),
    Anything,
    /// `metadata` of the object and of objects in it.
    Metadata,
}

impl<'s> Type<'s> {
    /// Of the objects of a built-in kind.
    pub fn of(group: &str, version: &str, kind: &str) -> Type<'static> {
        onggi_api::schema::of(group, version, kind).map_or(Type::Deduced, Type::Known)
    }

    /// How this value of the type is owned.
    pub(super) fn class(self, value: &Value) -> Class<'s> {
        match value {
            Value::Object(_) => self.map_class(),
            Value::Array(_) => self.list_class(),
            Value::Null => match (self.map_class(), self.list_class()) {
                (Class::Leaf, list) => list,
                (map, _) if self.is_map() => map,
                _ => Class::Leaf,
            },
            _ => Class::Leaf,
        }
    }

    /// Whether its values are maps, as far as that is known.
    pub(super) fn is_map(self) -> bool {
        match self {
            Self::Known(schema) => matches!(schema.shape(), Shape::Object(_) | Shape::Map(_)),
            Self::Custom(node) => matches!(node.kind, Kind::Object | Kind::Metadata),
            Self::Deduced | Self::Whole => false,
        }
    }

    fn map_class(self) -> Class<'s> {
        let atomic = match self {
            Self::Known(schema) => match schema.shape() {
                Shape::Object(object) => object.atomic,
                Shape::Map(map) => map.atomic,
                Shape::Any => false,
                _ => true,
            },
            Self::Custom(node) => match node.kind {
                Kind::Object => node.atomic,
                Kind::Anything | Kind::Metadata => false,
                Kind::List | Kind::Scalar(_) => true,
            },
            Self::Deduced => false,
            Self::Whole => true,
        };
        if atomic { Class::Leaf } else { Class::Map }
    }

    fn list_class(self) -> Class<'s> {
        let (kind, keys): (ListKind, Keys<'s>) = match self {
            Self::Known(schema) => match schema.list() {
                Some(list) => (list.kind, &list.keys),
                None => return Class::Leaf,
            },
            Self::Custom(node) if node.kind == Kind::List => (node.list, &node.keys),
            _ => return Class::Leaf,
        };
        match kind {
            ListKind::Atomic => Class::Leaf,
            ListKind::Set => Class::Set,
            // A list of scalars that names no keys is a set.
            ListKind::Map if keys.is_empty() => Class::Set,
            ListKind::Map => Class::List(keys),
        }
    }

    /// What stands behind a key.
    pub(super) fn child(self, key: &str) -> Child<'s> {
        let free = |ty| Child { ty, named: false, field: None };
        match self {
            Self::Known(schema) => match schema.shape() {
                Shape::Object(_) => match schema.field(key) {
                    Some(field) => Child {
                        ty: Self::Known(schema.at(field.schema)),
                        named: true,
                        field: Some((schema, field)),
                    },
                    None => free(Self::Deduced),
                },
                Shape::Map(map) => free(Self::Known(schema.at(map.value))),
                Shape::Any if schema.name().is_some_and(|name| name.ends_with("RawExtension")) => {
                    free(Self::Whole)
                }
                _ => free(Self::Deduced),
            },
            Self::Custom(node) => match node.kind {
                Kind::Metadata => Self::metadata().child(key),
                _ => match (node.properties.get(key), &node.additional) {
                    (Some(field), _) => Child { ty: Self::Custom(field), named: true, field: None },
                    (None, Some(value)) => free(Self::Custom(value)),
                    (None, None) => free(Self::Deduced),
                },
            },
            Self::Deduced => free(Self::Deduced),
            Self::Whole => free(Self::Whole),
        }
    }

    /// Whether a key may stand in a map of this type.
    pub(super) fn knows(self, key: &str) -> bool {
        match self {
            Self::Known(schema) => match schema.shape() {
                Shape::Object(_) => schema.field(key).is_some(),
                _ => true,
            },
            Self::Custom(node) => match node.kind {
                Kind::Object => {
                    node.open || node.additional.is_some() || node.properties.contains_key(key)
                }
                Kind::Metadata => Self::metadata().knows(key),
                _ => true,
            },
            Self::Deduced | Self::Whole => true,
        }
    }

    /// The type of a list's items.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Known(schema) => schema.item().map_or(Self::Whole, Self::Known),
            Self::Custom(node) => node.item.as_deref().map_or(Self::Whole, Self::Custom),
            Self::Deduced | Self::Whole => Self::Whole,
        }
    }

    /// What a key of a list's item is where it is left out; `self` is the type of the item.
    pub(super) fn key_default(self, key: &str) -> Option<Value> {
        match self {
            Self::Known(schema) => {
                let is = |end: &str| schema.name().is_some_and(|name| name.ends_with(end));
                let default = match key {
                    "protocol" if is("Port") => "TCP",
                    "name" if is(".LocalObjectReference") => "",
                    _ => return None,
                };
                Some(default.into())
            }
            Self::Custom(node) => node.properties.get(key)?.default.clone(),
            Self::Deduced | Self::Whole => None,
        }
    }

    /// What its scalars may be; `None` where it has none.
    pub(super) fn scalar(self) -> Option<Scalar> {
        match self {
            Self::Known(schema) => match schema.shape() {
                Shape::Object(_) | Shape::Map(_) | Shape::List(_) => None,
                Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime => Some(Scalar::Text),
                Shape::Int32 | Shape::Int64 | Shape::Double => Some(Scalar::Number),
                Shape::Bool => Some(Scalar::Boolean),
                Shape::Any | Shape::IntOrString | Shape::Quantity => Some(Scalar::Any),
            },
            Self::Custom(node) => match node.kind {
                Kind::Scalar(scalar) => Some(scalar),
                Kind::Anything => Some(Scalar::Any),
                Kind::Object | Kind::List | Kind::Metadata => None,
            },
            Self::Deduced | Self::Whole => Some(Scalar::Any),
        }
    }

    /// Whether its values have parts and are owned as a whole, as the schema of a custom kind says.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Custom(node) if node.kind == Kind::Object => node.atomic,
            Self::Custom(node) if node.kind == Kind::List => self.list_class() == Class::Leaf,
            _ => false,
        }
    }

    /// Whether its values are kept as they came: the `RawExtension`s of built-in kinds.
    pub(super) fn is_raw(self) -> bool {
        match self {
            Self::Known(schema) => {
                schema.shape() == &Shape::Any
                    && schema.name().is_some_and(|name| name.ends_with("RawExtension"))
            }
            Self::Custom(_) | Self::Deduced | Self::Whole => false,
        }
    }

    /// Whether its values are lists, as far as that is known.
    pub(super) fn is_list(self) -> bool {
        match self {
            Self::Known(schema) => schema.list().is_some(),
            Self::Custom(node) => node.kind == Kind::List,
            Self::Deduced | Self::Whole => false,
        }
    }

    fn metadata() -> Type<'static> {
        onggi_api::schema::table()
            .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
            .map_or(Type::Deduced, Type::Known)
    }
}

// === impl Structural ===

impl Structural {
    /// From the `openAPIV3Schema` of a version of a CustomResourceDefinition.
    pub fn of_object(schema: &Value) -> Self {
        let mut root = Self::read(schema);
        root.kind = Kind::Object;
        root.embed();
        root
    }

    /// The fields that every object has.
    fn embed(&mut self) {
        let text = || Self { kind: Kind::Scalar(Scalar::Text), ..Self::empty() };
        self.properties.insert("apiVersion".to_owned(), text());
        self.properties.insert("kind".to_owned(), text());
        let metadata = Self { kind: Kind::Metadata, ..Self::empty() };
        self.properties.insert("metadata".to_owned(), metadata);
    }

    fn empty() -> Self {
        Self {
            kind: Kind::Anything,
            atomic: false,
            properties: BTreeMap::new(),
            additional: None,
            open: false,
            item: None,
            list: ListKind::Atomic,
            keys: Vec::new(),
            default: None,
        }
    }

    fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = match text("type") {
            _ if flag("x-kubernetes-int-or-string") => Kind::Scalar(Scalar::Any),
            "object" => Kind::Object,
            "array" => Kind::List,
            "string" => Kind::Scalar(Scalar::Text),
            "integer" | "number" => Kind::Scalar(Scalar::Number),
            "boolean" => Kind::Scalar(Scalar::Boolean),
            _ => Kind::Anything,
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = match schema.get("additionalProperties") {
            Some(schema @ Value::Object(_)) => Some(Box::new(Self::read(schema))),
            Some(Value::Bool(true)) => Some(Box::new(Self::empty())),
            _ => None,
        };
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let mut node = Self {
            kind,
            atomic: text("x-kubernetes-map-type") == "atomic",
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), Self::read(schema)))
                .collect(),
            additional,
            open: flag("x-kubernetes-preserve-unknown-fields"),
            item: schema.get("items").map(|item| Box::new(Self::read(item))),
            list: match text("x-kubernetes-list-type") {
                "set" => ListKind::Set,
                "map" => ListKind::Map,
                _ => ListKind::Atomic,
            },
            keys: keys.into_iter().flatten().filter_map(Value::as_str).map(Name::from).collect(),
            default: schema.get("default").cloned(),
        };
        if flag("x-kubernetes-embedded-resource") {
            node.kind = Kind::Object;
            node.embed();
        }
        node
    }
}

//! Values of expressions. JSON is not copied: objects and lists of it are looked at where they lie,
//! beside their schema where there is one, and turned into values as an expression reaches them.

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use onggi_api::schema::{self as built_in, Shape as BuiltIn};
use serde_json::Value as Json;

use super::EvalError;
use super::message::Message;
use crate::crd::schema::{Kind, List as ListKind, Schema};

/// A value.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Arc<[u8]>),
    List(List<'a>),
    Map(Map<'a>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    /// The name of a type.
    Type(&'static str),
    Optional(Option<Arc<Value<'a>>>),
    /// Something that a library knows: a quantity, an address, an authorizer.
    Opaque(Arc<dyn Opaque>),
}

/// A text, of the input or made.
#[derive(Clone)]
pub enum Text<'a> {
    /// Of the input.
    Ref(&'a str),
    /// Made.
    Own(Arc<str>),
}

/// A list.
#[derive(Clone)]
pub enum List<'a> {
    /// Of the input.
    Json(&'a [Json], Shape<'a>),
    /// Made.
    Own(Arc<Vec<Value<'a>>>),
}

/// A map or object.
#[derive(Clone)]
pub enum Map<'a> {
    /// Of the input.
    Json(&'a serde_json::Map<String, Json>, Shape<'a>),
    /// Made.
    Own(Arc<BTreeMap<Key, Value<'a>>>),
    /// Made, under a name.
    Message(Arc<Message<'a>>),
    /// Whose fields are found when they are asked for.
    Lazy(Arc<dyn Fields<'a> + 'a>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(Arc<str>),
}

/// What is known of a piece of JSON.
#[derive(Clone, Copy)]
pub enum Shape<'a> {
    /// Nothing: numbers are whole or not as they are written.
    Any,
    /// The schema of a custom kind.
    Custom(&'a Schema),
    /// The schema of a built-in kind.
    BuiltIn(built_in::Schema<'static>),
}

/// Fields that are found when they are asked for, such as variables that depend on each other.
pub trait Fields<'a>: Send + Sync {
    /// The value of a field; `None` where there is none.
    fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError>;
}

/// A value of a library.
pub trait Opaque: Any + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;
    /// A method; `None` where it has no such one.
    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Result<Value<'v>, EvalError>>;
    /// A field; `None` where it has no such one.
    fn field<'v>(&self, _name: &str) -> Option<Value<'v>> {
        None
    }
    /// Whether another value is the same.
    fn equals(&self, other: &dyn Opaque) -> bool;
    /// As a text, where `string(x)` may be asked.
    fn text(&self) -> Option<String> {
        None
    }
    /// For what downcasts.
    fn as_any(&self) -> &dyn Any;
}

// === impl Text ===

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ref(text) => text,
            Self::Own(text) => text,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Text::Ref(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Text::Own(text.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Value<'_> {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Own(items.into()))
    }
}

// === impl Shape ===

impl<'a> Shape<'a> {
    fn item(self) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Custom(schema) => schema.items.as_deref().map_or(Self::Any, Self::Custom),
            Self::BuiltIn(schema) => schema.item().map_or(Self::Any, Self::BuiltIn),
        }
    }

    fn child(self, key: &str) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Custom(schema) => schema.child(key).map_or(Self::Any, Self::Custom),
            Self::BuiltIn(schema) => schema.child(key).map_or(Self::Any, Self::BuiltIn),
        }
    }

    /// How the items of a list are merged and compared.
    fn list_kind(self) -> &'a ListKind {
        match self {
            Self::Custom(schema) => &schema.list,
            _ => &ListKind::Atomic,
        }
    }
}

// === impl Value: from JSON ===

impl<'a> Value<'a> {
    /// JSON as a value, without a schema.
    pub fn json(json: &'a Json) -> Self {
        Self::shaped(json, Shape::Any)
    }

    /// JSON as a value; what the schema says about it decides what texts and numbers are.
    pub fn shaped(json: &'a Json, shape: Shape<'a>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                let double = match shape {
                    Shape::Custom(schema) => schema.kind == Kind::Number,
                    Shape::BuiltIn(schema) => matches!(schema.shape(), BuiltIn::Double),
                    Shape::Any => false,
                };
                match (number.as_i64(), number.as_u64(), number.as_f64()) {
                    (Some(whole), ..) if !double => Self::Int(whole),
                    (_, Some(whole), _) if !double => Self::Uint(whole),
                    (_, _, Some(float)) => match shape {
                        Shape::Custom(schema)
                            if schema.kind == Kind::Integer && float.fract() == 0.0 =>
                        {
                            Self::Int(float as i64)
                        }
                        _ => Self::Double(float),
                    },
                    _ => Self::Null,
                }
            }
            Json::String(text) => Self::text_of(text, shape),
            Json::Array(items) => Self::List(List::Json(items, shape)),
            Json::Object(map) => Self::Map(Map::Json(map, shape)),
        }
    }

    fn text_of(text: &'a str, shape: Shape<'a>) -> Self {
        let format = match shape {
            Shape::Custom(schema) if schema.kind == Kind::String => {
                schema.checks.as_ref().map_or("", |checks| &checks.format)
            }
            Shape::BuiltIn(schema) => match schema.shape() {
                BuiltIn::Time | BuiltIn::MicroTime => "date-time",
                BuiltIn::Bytes => "byte",
                _ => "",
            },
            _ => "",
        };
        let plain = || Self::Text(Text::Ref(text));
        match format {
            "byte" => STANDARD.decode(text).map_or_else(|_| plain(), |b| Self::Bytes(b.into())),
            "duration" => super::time::parse_duration(text).map_or_else(plain, Self::Duration),
            "date" => super::time::parse_date(text).map_or_else(plain, Self::Timestamp),
            "date-time" | "datetime" => text.parse().map_or_else(|_| plain(), Self::Timestamp),
            _ => plain(),
        }
    }

    /// The value as JSON; what has no form there is an error.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Self::List(list) => match list {
                List::Json(items, _) => Json::Array(items.to_vec()),
                List::Own(items) => items.iter().map(Self::to_json).collect::<Result<_, _>>()?,
            },
            Self::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Self::Map(Map::Own(map)) => entries_json(map)?,
            Self::Map(Map::Message(message)) => entries_json(&message.fields)?,
            Self::Duration(nanos) => super::time::duration_text(*nanos).into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::Type(name) => (*name).into(),
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) => Json::Null,
            Self::Map(Map::Lazy(_)) | Self::Opaque(_) => {
                return Err(EvalError::new(format!("a {} is no JSON", self.type_name())));
            }
        })
    }

    // === Types ===

    /// The name of the type, as `type(x)` gives it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Opaque(inner) => inner.type_name(),
        }
    }

    /// The text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of a library, of a type.
    pub fn opaque<T: Opaque>(&self) -> Option<&T> {
        match self {
            Self::Opaque(inner) => inner.as_any().downcast_ref::<T>(),
            _ => None,
        }
    }

    // === Equality and order ===

    /// `==`: numbers of all types are compared by value, other types are never equal.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(_) | Self::Uint(_) | Self::Double(_), _) => {
                number_order(self, other) == Some(Ordering::Equal)
            }
            (Self::Text(a), Self::Text(b)) => a.as_str() == b.as_str(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.equals(b),
            (Self::Map(a), Self::Map(b)) => a.equals(b),
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (None, None) => true,
                _ => false,
            },
            (Self::Opaque(a), Self::Opaque(b)) => a.equals(&**b),
            _ => false,
        }
    }

    /// `<` and its kin; `None` where the two have no order.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_str().cmp(b.as_str())),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            _ => number_order(self, other),
        }
    }

    /// As a key of a map; a whole double counts as its number.
    pub fn to_key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(value) => Key::Bool(*value),
            Self::Int(value) => Key::Int(*value),
            Self::Uint(value) => i64::try_from(*value).map_or(Key::Uint(*value), Key::Int),
            Self::Double(value) if value.fract() == 0.0 => Key::Int(*value as i64),
            Self::Text(text) => Key::Text(text.as_str().into()),
            _ => return None,
        })
    }

    /// How large it is, for the costs: letters, bytes or items.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.as_str().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            _ => 1,
        }
    }
}

fn entries_json(entries: &BTreeMap<Key, Value<'_>>) -> Result<Json, EvalError> {
    let entries = entries.iter().map(|(key, value)| Ok((key.to_string(), value.to_json()?)));
    Ok(Json::Object(entries.collect::<Result<_, EvalError>>()?))
}

fn number_order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    use Value::{Double, Int, Uint};
    match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Int(a), Double(b)) => (*a as f64).partial_cmp(b),
        (Double(a), Int(b)) => a.partial_cmp(&(*b as f64)),
        (Uint(a), Double(b)) => (*a as f64).partial_cmp(b),
        (Double(a), Uint(b)) => a.partial_cmp(&(*b as f64)),
        _ => None,
    }
}

// === impl List ===

impl<'a> List<'a> {
    /// How many items.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Own(items) => items.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place.
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items, shape) => items.get(at).map(|item| Value::shaped(item, shape.item())),
            Self::Own(items) => items.get(at).cloned(),
        }
    }

    /// All items.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn equals(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let unordered = |list: &Self| matches!(list, Self::Json(_, shape) if *shape.list_kind() != ListKind::Atomic);
        if unordered(self) || unordered(other) {
            return self.iter().all(|item| other.iter().any(|other| item.equals(&other)));
        }
        self.iter().zip(other.iter()).all(|(a, b)| a.equals(&b))
    }

    /// `+`: sets hold nothing twice, and maps replace what has the same keys.
    pub(super) fn plus(&self, other: &Self) -> Value<'a> {
        let kind = match self {
            Self::Json(_, shape) => shape.list_kind(),
            Self::Own(_) => &ListKind::Atomic,
        };
        let mut all: Vec<Value<'a>> = self.iter().collect();
        match kind {
            ListKind::Atomic => all.extend(other.iter()),
            ListKind::Set => {
                for item in other.iter() {
                    if !all.iter().any(|known| known.equals(&item)) {
                        all.push(item);
                    }
                }
            }
            ListKind::Map(keys) => {
                let same = |a: &Value<'a>, b: &Value<'a>| {
                    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
                    keys.iter().all(|key| match (a.text(key), b.text(key)) {
                        (Some(a), Some(b)) => a.equals(&b),
                        (None, None) => true,
                        _ => false,
                    })
                };
                for item in other.iter() {
                    match all.iter_mut().find(|known| same(known, &item)) {
                        Some(known) => *known = item,
                        None => all.push(item),
                    }
                }
            }
        }
        all.into()
    }
}

// === impl Map ===

impl<'a> Map<'a> {
    /// How many entries; unknown ones count as none.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Own(map) => map.len(),
            Self::Message(message) => message.fields.len(),
            Self::Lazy(_) => 0,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &Key) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (Self::Own(map), key) => Ok(map.get(key).cloned()),
            (Self::Message(message), key) => Ok(message.fields.get(key).cloned()),
            (_, Key::Text(name)) => self.field(name),
            _ => Ok(None),
        }
    }

    fn text(&self, name: &str) -> Option<Value<'a>> {
        self.field(name).ok().flatten()
    }

    /// The value of a field; names that are no identifiers are escaped in expressions
    /// (`__dash__` …). A field that says null counts as absent where the schema knows no null.
    pub fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Lazy(fields) => fields.field(name),
            Self::Own(map) => Ok(map.get(&Key::Text(name.into())).cloned()),
            Self::Message(message) => Ok(message.fields.get(&Key::Text(name.into())).cloned()),
            Self::Json(map, shape) => {
                let found = match map.get_key_value(name) {
                    Some(found) => Some(found),
                    None => match unescape(name) {
                        Cow::Owned(name) => map.get_key_value(&name),
                        Cow::Borrowed(_) => None,
                    },
                };
                Ok(found.map(|(key, value)| Value::shaped(value, shape.child(key))))
            }
        }
    }

    /// The keys.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Json(map, _) => map.keys().map(|key| Key::Text(key.as_str().into())).collect(),
            Self::Own(map) => map.keys().cloned().collect(),
            Self::Message(message) => message.fields.keys().cloned().collect(),
            Self::Lazy(_) => Vec::new(),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.keys().iter().all(|key| match (self.get(key), other.get(key)) {
                (Ok(Some(a)), Ok(Some(b))) => a.equals(&b),
                _ => false,
            })
    }
}

/// Escapes of field names, and what they stand for (`apiserver/pkg/cel/escaping.go`).
pub(super) const ESCAPES: &[(&str, &str)] =
    &[("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];

/// The name of a field as it stands in objects.
pub(super) fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains("__") {
        return Cow::Borrowed(name);
    }
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && (super::lexer::is_reserved(word) || matches!(word, "true" | "false" | "null" | "in"))
    {
        return Cow::Owned(word.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'outer: while !rest.is_empty() {
        for (escape, meaning) in ESCAPES {
            if let Some(after) = rest.strip_prefix(escape) {
                out.push_str(meaning);
                rest = after;
                continue 'outer;
            }
        }
        let next = rest.chars().next().unwrap_or_default();
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    Cow::Owned(out)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Key {
    /// As a value.
    pub fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Text(text) => Value::Text(Text::Own(Arc::clone(text))),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_json() {
            Ok(json) => write!(f, "{}({json})", self.type_name()),
            Err(_) => f.write_str(self.type_name()),
        }
    }
}

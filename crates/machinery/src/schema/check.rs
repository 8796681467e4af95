//! The walk over a value beside its schema: unknown fields are noted and taken away, wrong types
//! are refused, and what Go would write in another way is written so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::Quantity;
use onggi_api::jiff::{Timestamp, fmt::temporal::DateTimeParser, tz::TimeZone};
use onggi_api::schema::{Schema, Shape};
use serde_json::{Map, Value};

use super::json::{MAX_FAULTS, short};
use super::union::{Alternative, union};
use super::zero::{fill, is_nothing, zero};
use crate::value::{double, settle_numbers};

/// `resource.ParseQuantity`'s words.
const QUANTITY: &str = "quantities must match the regular expression \
                        '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// The fields that the schema does not know, and the kind they were looked for in.
#[derive(Default)]
pub(super) struct Check {
    /// Their paths, in the order met.
    pub(super) unknown: Vec<String>,
    is_secret: bool,
}

/// Where the walk is; written out only when something is wrong.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str, Option<&'a str>),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Check {
    /// Checks a whole object; the error is the text that names the first wrong field.
    pub(super) fn object(&mut self, schema: Schema<'_>, value: &mut Value) -> Result<(), String> {
        self.is_secret = schema.name().is_some_and(|name| name.ends_with(".v1.Secret"));
        self.value(schema, value, Path::Root)
    }

    fn value(
        &mut self,
        schema: Schema<'_>,
        value: &mut Value,
        path: Path<'_>,
    ) -> Result<(), String> {
        if value.is_null() {
            *value = zero(schema);
            if let Value::Object(map) = value {
                fill(schema, map);
            }
            return Ok(());
        }
        match (schema.shape(), &mut *value) {
            (Shape::Any, _) => self.any(schema, value, path),
            (Shape::String, Value::String(_))
            | (Shape::Bool, Value::Bool(_))
            | (Shape::IntOrString, Value::String(_)) => Ok(()),
            (Shape::Int32 | Shape::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(())
            }
            (Shape::Int64, Value::Number(number)) if number.is_i64() => Ok(()),
            (Shape::Double, Value::Number(number)) => {
                if let Some(same) = number.as_f64().and_then(double) {
                    *number = same;
                }
                Ok(())
            }
            (Shape::Object(_), Value::Object(map)) => self.fields(schema, map, path),
            (Shape::Map(of), Value::Object(map)) => {
                for (key, value) in map {
                    self.value(schema.at(of.value), value, Path::Key(&path, key))?;
                }
                Ok(())
            }
            (Shape::List(list), Value::Array(items)) => {
                for (at, value) in items.iter_mut().enumerate() {
                    self.value(schema.at(list.item), value, Path::Index(&path, at))?;
                }
                Ok(())
            }
            (Shape::Bytes, Value::String(text)) => self.bytes(text, path),
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => quantity(value, path),
            (Shape::Time, Value::String(text)) => time(text, path, false),
            (Shape::MicroTime, Value::String(text)) => time(text, path, true),
            _ => Err(wrong_type(schema, value, path)),
        }
    }

    fn fields(
        &mut self,
        schema: Schema<'_>,
        map: &mut Map<String, Value>,
        path: Path<'_>,
    ) -> Result<(), String> {
        let mut drop = Vec::new();
        let owner = schema.name();
        for (key, value) in map.iter_mut() {
            let Some(field) = schema.field(key) else {
                if self.unknown.len() < MAX_FAULTS {
                    self.unknown.push(text(Path::Field(&path, key, None)));
                }
                drop.push(key.clone());
                continue;
            };
            if !value.is_null() {
                let path = Path::Field(&path, key, owner);
                self.value(schema.at(field.schema), value, path)?;
            }
            if is_nothing(schema, field, value) {
                drop.push(key.clone());
            }
        }
        for key in drop {
            map.remove(&key);
        }
        fill(schema, map);
        Ok(())
    }

    /// Anything, but in the unions of JSON schemas. These Go reads by hand: what it does not know
    /// in them it drops and tells nobody.
    fn any(&mut self, schema: Schema<'_>, value: &mut Value, path: Path<'_>) -> Result<(), String> {
        settle_numbers(value);
        let Some((alternative, props)) = union(schema) else { return Ok(()) };
        let told = self.unknown.len();
        match value {
            Value::Object(_) => self.value(props, value, path)?,
            Value::Array(schemas) if alternative == Alternative::Schemas => {
                for (at, value) in schemas.iter_mut().enumerate() {
                    self.value(props, value, Path::Index(&path, at))?;
                }
            }
            _ => {}
        }
        self.unknown.truncate(told);
        Ok(())
    }

    fn bytes(&self, found: &mut String, path: Path<'_>) -> Result<(), String> {
        if found.contains(['\n', '\r']) {
            found.retain(|c| c != '\n' && c != '\r');
        }
        let Err(error) = STANDARD.decode(found.as_bytes()) else { return Ok(()) };
        let length = found.len();
        let what = match error {
            base64::DecodeError::InvalidByte(at, _) => {
                match found[..].chars().find(|c| !is_base64(*c)) {
                    Some(odd) => format!("{odd:?} is no character of base64"),
                    None => format!("misplaced padding at byte {at}"),
                }
            }
            _ if !length.is_multiple_of(4) => format!("its length {length} is not a multiple of 4"),
            other => other.to_string(),
        };
        let mut problem = format!("{}: illegal base64 data: {what}", text(path));
        if self.is_secret {
            problem.push_str("; values under data are base64, plain text goes under stringData");
        }
        Err(problem)
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn quantity(value: &mut Value, path: Path<'_>) -> Result<(), String> {
    let found = match &*value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    // Go's decoder takes an empty text for zero.
    let canonical = if found.is_empty() { Ok("0".to_owned()) } else { Quantity::canonical(&found) };
    match canonical {
        Ok(canonical) => {
            *value = Value::String(canonical);
            Ok(())
        }
        Err(_) => Err(format!("{}: {found:?}: {QUANTITY}", text(path))),
    }
}

fn time(found: &mut String, path: Path<'_>, micro: bool) -> Result<(), String> {
    let parsed = Timestamp::from_str_rfc3339(found);
    let Some(at) = parsed else {
        let layout = "2006-01-02T15:04:05Z07:00";
        return Err(format!(
            "{}: parsing time {found:?} as {layout:?}: it is not RFC 3339",
            text(path)
        ));
    };
    let utc = at.to_zoned(TimeZone::UTC);
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    *found = utc.strftime(format).to_string();
    Ok(())
}

/// jiff also reads times without a colon, with a space, or with a zone in brackets.
trait FromRfc3339: Sized {
    fn from_str_rfc3339(text: &str) -> Option<Self>;
}

impl FromRfc3339 for Timestamp {
    fn from_str_rfc3339(text: &str) -> Option<Self> {
        let strict = text.len() >= 20 && text.as_bytes()[10] == b'T' && !text.contains('[');
        if !strict { None } else { DateTimeParser::new().parse_timestamp(text).ok() }
    }
}

/// The words of Go's `encoding/json`, which tells neither places in lists nor keys of maps.
fn wrong_type(schema: Schema<'_>, value: &Value, path: Path<'_>) -> String {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => match schema.shape() {
            Shape::Int32 | Shape::Int64 | Shape::IntOrString => format!("number {number}"),
            _ => "number".to_owned(),
        },
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    let wanted = go_type(schema);
    match owner(path) {
        Some(owner) => format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}",
            fields(path)
        ),
        None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
    }
}

fn owner<'a>(path: Path<'a>) -> Option<&'a str> {
    match path {
        Path::Root => None,
        Path::Field(_, _, of) => Some(of.and_then(|name| name.rsplit('.').next()).unwrap_or("")),
        Path::Key(parent, _) | Path::Index(parent, _) => owner(*parent),
    }
}

fn go_type(schema: Schema<'_>) -> String {
    match schema.shape() {
        Shape::Any => "interface {}".to_owned(),
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Map(map) => format!("map[string]{}", go_type(schema.at(map.value))),
        Shape::List(list) => format!("[]{}", go_type(schema.at(list.item))),
        Shape::Object(_) => {
            let mut parts = schema.name().unwrap_or("object").rsplit('.');
            let name = parts.next().unwrap_or_default();
            parts.next().map_or_else(|| name.to_owned(), |version| format!("{version}.{name}"))
        }
    }
}

/// The names of fields alone.
fn fields(path: Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Field(parent, name, _) => match fields(*parent) {
            parent if parent.is_empty() => short(name).into_owned(),
            parent => format!("{parent}.{}", short(name)),
        },
        Path::Key(parent, _) | Path::Index(parent, _) => fields(*parent),
    }
}

fn text(path: Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Field(parent, name, _) => match text(*parent) {
            parent if parent.is_empty() => short(name).into_owned(),
            parent => format!("{parent}.{}", short(name)),
        },
        Path::Key(parent, key) => format!("{}[{}]", text(*parent), short(key)),
        Path::Index(parent, at) => format!("{}[{at}]", text(*parent)),
    }
}

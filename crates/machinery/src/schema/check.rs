//! The walk over a value beside its schema: unknown fields are noted and taken away, wrong types
//! are refused, and what Go would write in another way is written so.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use onggi_api::Quantity;
use onggi_api::jiff::{fmt::temporal::DateTimeParser, tz::TimeZone};
use onggi_api::schema::{Schema, Shape};
use serde_json::{Map, Value};

use super::go::{corrupt_at, time_problem};
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
            (Shape::Bytes, Value::String(text)) => bytes(text, path),
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
                quantity(value).map_err(|why| placed(&why, path))
            }
            (Shape::Time, Value::String(text)) => {
                time(text, false).map_err(|why| placed(&why, path))
            }
            (Shape::MicroTime, Value::String(text)) => {
                time(text, true).map_err(|why| placed(&why, path))
            }
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
}

/// Go's words do not say which field is wrong; that comes behind them.
fn placed(why: &str, path: Path<'_>) -> String {
    format!("{why}; {}", text(path))
}

/// Base64 in its usual alphabet; line ends within it are let be and dropped.
fn bytes(found: &mut String, path: Path<'_>) -> Result<(), String> {
    if let Some(at) = corrupt_at(found.as_bytes()) {
        let mut problem = placed(&format!("illegal base64 data at input byte {at}"), path);
        let length = found.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).count();
        if !length.is_multiple_of(4) {
            problem += &format!(": its length {length} is not a multiple of 4");
        }
        if owner(path) == Some("Secret") {
            problem += "; values under data are base64, plain text goes under stringData";
        }
        return Err(problem);
    }
    if found.contains(['\n', '\r']) {
        found.retain(|c| c != '\n' && c != '\r');
    }
    // Go lets bits stand behind the last byte and writes none.
    if let Err(base64::DecodeError::InvalidLastSymbol(..)) = STANDARD.decode(found.as_bytes()) {
        let lenient = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
        );
        if let Ok(decoded) = lenient.decode(found.as_bytes()) {
            *found = STANDARD.encode(decoded);
        }
    }
    Ok(())
}

fn quantity(value: &mut Value) -> Result<(), String> {
    let canonical = match &*value {
        Value::String(text) => Quantity::canonical(text.trim()),
        other => Quantity::canonical(&other.to_string()),
    };
    *value = Value::String(canonical.map_err(|_| QUANTITY.to_owned())?);
    Ok(())
}

fn time(found: &mut String, micro: bool) -> Result<(), String> {
    if let Some(problem) = time_problem(found, micro) {
        return Err(problem);
    }
    let parsed = DateTimeParser::new().parse_timestamp(&*found);
    let Ok(at) = parsed else {
        return Err(format!("parsing time {found:?}: out of range"));
    };
    let utc = at.to_zoned(TimeZone::UTC);
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    *found = utc.strftime(format).to_string();
    Ok(())
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
        // They are read as texts first.
        Shape::Time | Shape::MicroTime => "string".to_owned(),
        Shape::Map(map) if *schema.at(map.value).shape() == Shape::Quantity => {
            "v1.ResourceList".to_owned()
        }
        Shape::Map(map) => format!("map[string]{}", go_type(schema.at(map.value))),
        Shape::List(list) if list.wrapped => "v1.ExtraValue".to_owned(),
        Shape::List(list) => format!("[]{}", go_type(schema.at(list.item))),
        Shape::Object(_) => {
            let mut parts = schema.name().unwrap_or("object").rsplit('.');
            let name = parts.next().unwrap_or_default();
            parts.next().map_or_else(|| name.to_owned(), |version| format!("{version}.{name}"))
        }
    }
}

/// The names of fields alone, and of the structs that are embedded on the way.
fn fields(path: Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Field(parent, name, of) => {
            let above = fields(*parent);
            let inner = of.and_then(|of| embedded(of, name)).unwrap_or_default();
            let parts = [above.as_str(), inner, &*short(name)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        }
        Path::Key(parent, _) | Path::Index(parent, _) => fields(*parent),
    }
}

/// The struct that Go embeds in another one for a field.
fn embedded(owner: &str, field: &str) -> Option<&'static str> {
    let owner = owner.strip_prefix("io.k8s.api.")?;
    match (owner, field) {
        ("core.v1.Volume", "name") | ("core.v1.EphemeralContainer", "targetContainerName") => None,
        ("core.v1.Volume", _) => Some("VolumeSource"),
        ("core.v1.EphemeralContainer", _) => Some("EphemeralContainerCommon"),
        ("core.v1.Probe", "exec" | "httpGet" | "tcpSocket" | "grpc") => Some("ProbeHandler"),
        ("networking.v1.IngressRule", "http") => Some("IngressRuleValue"),
        (
            "core.v1.ConfigMapKeySelector"
            | "core.v1.SecretKeySelector"
            | "core.v1.ConfigMapEnvSource"
            | "core.v1.SecretEnvSource"
            | "core.v1.ConfigMapVolumeSource"
            | "core.v1.ConfigMapProjection"
            | "core.v1.SecretProjection",
            "name",
        ) => Some("LocalObjectReference"),
        (
            "core.v1.PersistentVolumeSpec",
            "capacity"
            | "accessModes"
            | "claimRef"
            | "persistentVolumeReclaimPolicy"
            | "storageClassName"
            | "mountOptions"
            | "volumeMode"
            | "nodeAffinity"
            | "volumeAttributesClassName",
        ) => None,
        ("core.v1.PersistentVolumeSpec", _) => Some("PersistentVolumeSource"),
        _ => None,
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

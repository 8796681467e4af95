//! Messages to values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::jiff::{Timestamp, tz::TimeZone};
use onggi_api::schema::{self, Schema, Shape};
use onggi_api::{GroupVersion, Quantity};
use serde_json::{Map, Value};

use super::wire::{Reader, Wire};
use super::{MAX_DEPTH, ProtobufError};
use crate::schema::union::{Alternative, union};
use crate::value::double;

type Result<T> = std::result::Result<T, ProtobufError>;

/// `runtime.Unknown`.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) raw: &'a [u8],
    pub(super) content_type: String,
}

pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope<'_>> {
    let mut found = Envelope::default();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(type_meta)) => {
                let mut reader = Reader(type_meta);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => found.api_version = text(wire, "apiVersion")?,
                        2 => found.kind = text(wire, "kind")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(raw)) => found.raw = raw,
            (4, wire) => found.content_type = text(wire, "contentType")?,
            _ => {}
        }
    }
    Ok(found)
}

/// The message of an envelope, by the kind that it names.
pub(super) fn object(envelope: &Envelope<'_>) -> Result<Value> {
    let unknown = || ProtobufError::Kind {
        api_version: envelope.api_version.clone(),
        kind: envelope.kind.clone(),
    };
    let version = GroupVersion::parse(&envelope.api_version).ok_or_else(unknown)?;
    let schema = schema::of(&version.group, &version.version, &envelope.kind);
    message(schema.ok_or_else(unknown)?, envelope.raw, &envelope.kind, 0)
}

pub(super) fn json(bytes: &[u8], name: &str) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| ProtobufError::Json(name.to_owned(), error.to_string()))
}

fn message(schema: Schema<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<Value> {
    let mut map = Map::new();
    fields(schema, bytes, name, depth, &mut map)?;
    Ok(Value::Object(map))
}

fn fields(
    schema: Schema<'_>,
    bytes: &[u8],
    name: &str,
    depth: usize,
    map: &mut Map<String, Value>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let Shape::Object(object) = schema.shape() else {
        return Err(ProtobufError::Field(name.to_owned()));
    };
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let Some(field) = object.fields.iter().find(|field| field.tag == number) {
            let within = schema.at(field.schema);
            let slot = map.entry(&*field.name).or_insert(Value::Null);
            add(within, wire, &field.name, depth, slot)?;
        } else if let (Some((_, id)), Wire::Bytes(inner)) =
            (object.inline.iter().find(|(tag, _)| *tag == number), wire)
        {
            fields(schema.at(*id), inner, name, depth + 1, map)?;
        }
        // Other numbers are fields of a version that we do not know: left out, as Go does.
    }
    Ok(())
}

/// Lists and maps come in pieces, one a field; all else in one piece, the last of which counts.
fn add(
    schema: Schema<'_>,
    wire: Wire<'_>,
    name: &str,
    depth: usize,
    slot: &mut Value,
) -> Result<()> {
    let wrong = || ProtobufError::Field(name.to_owned());
    match (schema.shape(), wire) {
        (Shape::List(list), Wire::Bytes(bytes)) if list.wrapped => {
            *slot = wrapped(schema.at(list.item), bytes, name, depth)?;
        }
        (Shape::List(list), wire) => {
            if !slot.is_array() {
                *slot = Value::Array(Vec::new());
            }
            let Value::Array(items) = slot else { return Err(wrong()) };
            let item = schema.at(list.item);
            match (item.shape(), wire) {
                // Packed numbers.
                (Shape::Int32 | Shape::Int64 | Shape::Bool, Wire::Bytes(bytes)) => {
                    let mut reader = Reader(bytes);
                    while !reader.0.is_empty() {
                        let number = Wire::Varint(reader.varint()?);
                        items.push(value(item, number, name, depth)?);
                    }
                }
                _ => items.push(value(item, wire, name, depth)?),
            }
        }
        (Shape::Map(map), Wire::Bytes(bytes)) => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(entries) = slot else { return Err(wrong()) };
            let (key, found) = entry(schema.at(map.value), bytes, name, depth)?;
            entries.insert(key, found);
        }
        _ => *slot = value(schema, wire, name, depth)?,
    }
    Ok(())
}

fn wrapped(item: Schema<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<Value> {
    let mut items = Vec::new();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if number == 1 {
            items.push(value(item, wire, name, depth + 1)?);
        }
    }
    Ok(Value::Array(items))
}

fn entry(of: Schema<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<(String, Value)> {
    let mut key = String::new();
    let mut found = Value::Null;
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => key = text(wire, name)?,
            2 => add(of, wire, name, depth + 1, &mut found)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(schema: Schema<'_>, wire: Wire<'_>, name: &str, depth: usize) -> Result<Value> {
    Ok(match (schema.shape(), wire) {
        (Shape::String, wire) => Value::String(text(wire, name)?),
        (Shape::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        // Negative numbers are written with 64 bits, also those of 32.
        (Shape::Int32, Wire::Varint(bits)) => (bits as i32).into(),
        (Shape::Int64, Wire::Varint(bits)) => (bits as i64).into(),
        (Shape::Bool, Wire::Varint(bits)) => (bits != 0).into(),
        (Shape::Double, Wire::Fixed64(bits)) => {
            double(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
        }
        (Shape::Object(_), Wire::Bytes(bytes)) => message(schema, bytes, name, depth + 1)?,
        (Shape::Any, Wire::Bytes(bytes)) => any(schema, bytes, name, depth + 1)?,
        (Shape::Quantity, Wire::Bytes(bytes)) => quantity(bytes, name)?,
        (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes, name)?,
        (Shape::Time, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (Shape::MicroTime, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        _ => return Err(ProtobufError::Field(name.to_owned())),
    })
}

/// `RawExtension`, `FieldsV1` and `JSON` hold JSON text in field 1; the three unions of JSON
/// schemas hold a schema in one field and its alternative in the other.
fn any(schema: Schema<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<Value> {
    let union = union(schema);
    let mut found = Value::Null;
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (union, number, wire) {
            (None, 1, Wire::Bytes(raw)) if !raw.is_empty() => found = json(raw, name)?,
            // A boolean is written also beside a schema, and before it.
            (Some((Alternative::Bool, _)), 1, Wire::Varint(bits)) => found = (bits != 0).into(),
            (Some((Alternative::Bool, props)), 2, Wire::Bytes(bytes))
            | (Some((_, props)), 1, Wire::Bytes(bytes)) => {
                found = message(props, bytes, name, depth)?;
            }
            (Some((alternative, props)), 2, wire) => {
                let item = if alternative == Alternative::Schemas {
                    value(props, wire, name, depth)?
                } else {
                    Value::String(text(wire, name)?)
                };
                match &mut found {
                    Value::Array(items) => items.push(item),
                    found => *found = Value::Array(vec![item]),
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn text(wire: Wire<'_>, name: &str) -> Result<String> {
    let Wire::Bytes(bytes) = wire else { return Err(ProtobufError::Field(name.to_owned())) };
    let text = str::from_utf8(bytes).map_err(|_| ProtobufError::Utf8(name.to_owned()))?;
    Ok(text.to_owned())
}

fn quantity(bytes: &[u8], name: &str) -> Result<Value> {
    let mut found = String::new();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if number == 1 {
            found = text(wire, name)?;
        }
    }
    if found.is_empty() {
        return Ok("0".into());
    }
    // What is no quantity is refused by the check against the schema, which knows the path.
    Ok(Quantity::canonical(&found).unwrap_or(found).into())
}

fn int_or_string(bytes: &[u8], name: &str) -> Result<Value> {
    let (mut is_text, mut number_value, mut text_value) = (false, 0_i32, String::new());
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Varint(bits)) => is_text = bits != 0,
            (2, Wire::Varint(bits)) => number_value = bits as i32,
            (3, wire) => text_value = text(wire, name)?,
            _ => {}
        }
    }
    Ok(if is_text { text_value.into() } else { number_value.into() })
}

/// The zero time is written as an empty message.
fn time(bytes: &[u8], format: &str) -> Result<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Varint(bits)) => seconds = bits as i64,
            (2, Wire::Varint(bits)) => nanos = bits as i32,
            _ => {}
        }
    }
    let at = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Wire)?;
    Ok(at.to_zoned(TimeZone::UTC).strftime(format).to_string().into())
}

//! Values to messages, for answers to clients that ask for protobuf, and for tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::GroupVersion;
use onggi_api::jiff::Timestamp;
use onggi_api::schema::{self, Object, Schema, Shape};
use serde_json::{Map, Value};

use super::wire::Writer;
use super::{MAGIC, ProtobufError};

/// Writes a body of an object that fits its schema. Fields without a number are left out: those
/// of alpha features that are younger than the table of numbers.
pub fn encode(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (part("apiVersion"), part("kind"));
    let schema = GroupVersion::parse(&api_version)
        .and_then(|version| schema::of(&version.group, &version.version, &kind));
    let (Some(schema), Value::Object(map)) = (schema, value) else {
        return Err(ProtobufError::Kind { api_version, kind });
    };
    let mut type_meta = Writer::default();
    type_meta.bytes(1, api_version.as_bytes());
    type_meta.bytes(2, kind.as_bytes());
    let mut unknown = Writer(MAGIC.to_vec());
    unknown.bytes(1, &type_meta.0);
    unknown.bytes(2, &message(schema, map)?);
    unknown.bytes(3, b"");
    unknown.bytes(4, b"");
    Ok(unknown.0)
}

fn message(schema: Schema<'_>, map: &Map<String, Value>) -> Result<Vec<u8>, ProtobufError> {
    let Shape::Object(object) = schema.shape() else { return Err(ProtobufError::Wire) };
    let mut numbered: Vec<_> = object
        .fields
        .iter()
        .filter(|field| field.tag != 0)
        .filter_map(|field| Some((field, map.get(&*field.name)?)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    numbered.sort_by_key(|(field, _)| field.tag);
    let mut out = Writer::default();
    for (tag, id) in &object.inline {
        let inner = schema.at(*id);
        if let Shape::Object(part) = inner.shape()
            && has_any(inner, part, map)
        {
            out.bytes(*tag, &message(inner, map)?);
        }
    }
    for (field, value) in numbered {
        put(schema.at(field.schema), field.tag, value, &field.name, &mut out)?;
    }
    Ok(out.0)
}

fn has_any(schema: Schema<'_>, object: &Object, map: &Map<String, Value>) -> bool {
    object.fields.iter().any(|field| map.contains_key(&*field.name))
        || object.inline.iter().any(|(_, id)| match schema.at(*id).shape() {
            Shape::Object(inner) => has_any(schema.at(*id), inner, map),
            _ => false,
        })
}

fn put(
    schema: Schema<'_>,
    tag: u32,
    value: &Value,
    name: &str,
    out: &mut Writer,
) -> Result<(), ProtobufError> {
    match (schema.shape(), value) {
        (Shape::String, Value::String(text)) => out.bytes(tag, text.as_bytes()),
        (Shape::Bytes, Value::String(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| ProtobufError::Field(name.to_owned()))?;
            out.bytes(tag, &bytes);
        }
        (Shape::Int32 | Shape::Int64, Value::Number(number)) => {
            let number = number.as_i64().ok_or_else(|| ProtobufError::Field(name.to_owned()))?;
            out.varint(tag, number as u64);
        }
        (Shape::Bool, Value::Bool(on)) => out.varint(tag, u64::from(*on)),
        (Shape::Double, Value::Number(number)) => {
            out.fixed64(tag, number.as_f64().unwrap_or_default().to_bits());
        }
        (Shape::Object(_), Value::Object(map)) => out.bytes(tag, &message(schema, map)?),
        (Shape::List(list), Value::Array(items)) => {
            let item = schema.at(list.item);
            let mut inner = Writer::default();
            let (into, number) = if list.wrapped { (&mut inner, 1) } else { (&mut *out, tag) };
            for value in items {
                put(item, number, value, name, into)?;
            }
            if list.wrapped {
                out.bytes(tag, &inner.0);
            }
        }
        (Shape::Map(map), Value::Object(entries)) => {
            for (key, value) in entries {
                let mut entry = Writer::default();
                entry.bytes(1, key.as_bytes());
                put(schema.at(map.value), 2, value, name, &mut entry)?;
                out.bytes(tag, &entry.0);
            }
        }
        (Shape::Any, value) => {
            let mut inner = Writer::default();
            inner.bytes(1, value.to_string().as_bytes());
            out.bytes(tag, &inner.0);
        }
        (Shape::Quantity, Value::String(text)) => {
            let mut inner = Writer::default();
            inner.bytes(1, text.as_bytes());
            out.bytes(tag, &inner.0);
        }
        (Shape::IntOrString, value) => {
            let text = value.as_str();
            let mut inner = Writer::default();
            inner.varint(1, u64::from(text.is_some()));
            inner.varint(2, value.as_i64().unwrap_or_default() as u64);
            inner.bytes(3, text.unwrap_or_default().as_bytes());
            out.bytes(tag, &inner.0);
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            let at: Timestamp = text.parse().map_err(|_| ProtobufError::Field(name.to_owned()))?;
            let mut inner = Writer::default();
            inner.varint(1, at.as_second() as u64);
            inner.varint(2, at.subsec_nanosecond() as u64);
            out.bytes(tag, &inner.0);
        }
        (_, Value::Null) => {}
        _ => return Err(ProtobufError::Field(name.to_owned())),
    }
    Ok(())
}

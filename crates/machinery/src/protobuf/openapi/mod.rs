//! OpenAPI documents as protobuf messages of gnostic. What the messages cannot say is left out.

mod v2;
mod v3;

use serde_json::{Map, Value};

use super::wire::Writer;

/// A whole document, as `Content-Type:
/// application/com.github.proto-openapi.spec.v2.v1.0+protobuf` has it.
pub fn v2(document: &Value) -> Vec<u8> {
    v2::document(document)
}

/// A whole document, as `Content-Type:
/// application/com.github.proto-openapi.spec.v3.v1.0+protobuf` has it.
pub fn v3(document: &Value) -> Vec<u8> {
    v3::document(document)
}

/// How a field is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Bool,
    Double,
    Whole,
    Message(fn(&Value, &mut Writer)),
    /// Each item as a field of its own.
    Messages(fn(&Value, &mut Writer)),
    /// A message of entries: its number for an entry, and what an entry's value is.
    Named(u32, fn(&Value, &mut Writer)),
}

type Fields = &'static [(&'static str, u32, Kind)];

fn nested(number: u32, out: &mut Writer, content: impl FnOnce(&mut Writer)) {
    let written: Result<(), std::convert::Infallible> = out.nested(number, |out| {
        content(out);
        Ok(())
    });
    let Ok(()) = written;
}

fn fields(known: Fields, value: &Value, out: &mut Writer) {
    for (name, number, kind) in known {
        let Some(value) = value.get(name) else { continue };
        match (kind, value) {
            (Kind::Text, Value::String(text)) => out.bytes(*number, text.as_bytes()),
            (Kind::Texts, Value::Array(items)) => {
                items
                    .iter()
                    .filter_map(Value::as_str)
                    .for_each(|text| out.bytes(*number, text.as_bytes()));
            }
            (Kind::Bool, Value::Bool(on)) => out.varint(*number, u64::from(*on)),
            (Kind::Double, value) => {
                if let Some(number_value) = value.as_f64() {
                    out.fixed64(*number, number_value.to_bits());
                }
            }
            (Kind::Whole, value) => {
                if let Some(whole) = value.as_i64() {
                    out.varint(*number, whole as u64);
                }
            }
            (Kind::Message(write), value) => nested(*number, out, |out| write(value, out)),
            (Kind::Messages(write), Value::Array(items)) => {
                for item in items {
                    nested(*number, out, |out| write(item, out));
                }
            }
            (Kind::Named(entry, write), Value::Object(entries)) => {
                nested(*number, out, |out| named(*entry, *write, entries, out));
            }
            _ => {}
        }
    }
}

fn named(
    number: u32,
    write: fn(&Value, &mut Writer),
    entries: &Map<String, Value>,
    out: &mut Writer,
) {
    for (name, value) in entries {
        nested(number, out, |out| {
            out.bytes(1, name.as_bytes());
            nested(2, out, |out| write(value, out));
        });
    }
}

/// `x-…` fields, whose values are texts in YAML; JSON is that too.
fn extensions(number: u32, value: &Value, out: &mut Writer) {
    let all = value.as_object().into_iter().flatten();
    for (name, value) in all.filter(|(name, _)| name.starts_with("x-")) {
        nested(number, out, |out| {
            out.bytes(1, name.as_bytes());
            nested(2, out, |out| out.bytes(2, value.to_string().as_bytes()));
        });
    }
}

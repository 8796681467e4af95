//! JSON to messages, for answers to clients that ask for protobuf: the text is walked once by the
//! schema and written as it comes, with no tree in between.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::GroupVersion;
use onggi_api::jiff::Timestamp;
use onggi_api::schema::{self, Field, Object, Schema, Shape};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::wire::Writer;
use super::{MAGIC, ProtobufError};
use crate::schema::union::{Alternative, union};

/// What is written in the place of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// `meta.k8s.io PartialObjectMetadata`: its metadata; also of kinds without a schema.
    Metadata,
}

/// Writes a body of an object that fits its schema.
pub fn encode(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (part("apiVersion"), part("kind"));
    // `APIVersions` alone goes without a version.
    let schema = of(if api_version.is_empty() { "v1" } else { api_version }, kind)?;
    enclose(api_version, kind, |out| message(schema, value, out))
}

/// Writes a body of an object's JSON text under this name. The name may be another than the text's,
/// as for objects that are shown under an old version.
pub fn encode_json(
    api_version: &str,
    kind: &str,
    json: &[u8],
    part: Part,
) -> Result<Vec<u8>, ProtobufError> {
    let schema = schema_of(api_version, kind, part)?;
    enclose(api_version, kind, |out| json_message(schema, json, part, out))
}

/// Writes a body of a list. `kind` is the list's, `item` the name of the schema of the items.
pub fn encode_list(
    (api_version, kind): (&str, &str),
    meta: &Value,
    item: (&str, &str),
    items: impl Iterator<Item: AsRef<[u8]>>,
    part: Part,
) -> Result<Vec<u8>, ProtobufError> {
    let schema = schema_of(item.0, item.1, part)?;
    let list_meta = meta_schema("ListMeta")?;
    enclose(api_version, kind, |out| {
        out.nested(1, |out| message(list_meta, meta, out))?;
        for json in items {
            out.nested(2, |out| json_message(schema, json.as_ref(), part, out))?;
        }
        Ok(())
    })
}

/// Whether objects of a kind can be written whole.
pub fn knows(api_version: &str, kind: &str) -> bool {
    of(api_version, kind).is_ok()
}

/// An event of a watch as it is sent (`application/vnd.kubernetes.protobuf;stream=watch`): its
/// length in four bytes, then a `WatchEvent` with the body of the object in it.
pub fn frame_event(event_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(body.len() + 32));
    out.0.extend_from_slice(&[0; 4]);
    out.bytes(1, event_type.as_bytes());
    let written: Result<(), ProtobufError> = out.nested(2, |out| {
        out.bytes(1, body);
        Ok(())
    });
    debug_assert!(written.is_ok());
    // A body of four gigabytes is not reached: the store takes no object of that size.
    let length = u32::try_from(out.0.len() - 4).unwrap_or(u32::MAX);
    out.0[..4].copy_from_slice(&length.to_be_bytes());
    out.0
}

fn of(api_version: &str, kind: &str) -> Result<Schema<'static>, ProtobufError> {
    GroupVersion::parse(api_version)
        .and_then(|version| schema::of(&version.group, &version.version, kind))
        .ok_or_else(|| ProtobufError::Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
}

fn meta_schema(name: &str) -> Result<Schema<'static>, ProtobufError> {
    let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
    schema::table().definition(&name).ok_or(ProtobufError::Wire)
}

fn schema_of(api_version: &str, kind: &str, part: Part) -> Result<Schema<'static>, ProtobufError> {
    match part {
        Part::Whole => of(api_version, kind),
        Part::Metadata => meta_schema("ObjectMeta"),
    }
}

/// The envelope (`runtime.Unknown`) around a message.
fn enclose(
    api_version: &str,
    kind: &str,
    content: impl FnOnce(&mut Writer) -> Result<(), ProtobufError>,
) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Writer(Vec::with_capacity(1024));
    out.0.extend_from_slice(MAGIC);
    out.nested(1, |out| {
        out.bytes(1, api_version.as_bytes());
        out.bytes(2, kind.as_bytes());
        Ok::<_, ProtobufError>(())
    })?;
    out.nested(2, content)?;
    out.bytes(3, b"");
    out.bytes(4, b"");
    Ok(out.0)
}

fn problem(error: impl fmt::Display) -> ProtobufError {
    ProtobufError::Json("object".to_owned(), error.to_string())
}

fn message(schema: Schema<'_>, value: &Value, out: &mut Writer) -> Result<(), ProtobufError> {
    Message { schema, out }.deserialize(value).map_err(problem)
}

fn json_message(
    schema: Schema<'_>,
    json: &[u8],
    part: Part,
    out: &mut Writer,
) -> Result<(), ProtobufError> {
    let mut text = serde_json::Deserializer::from_slice(json);
    match part {
        Part::Whole => Message { schema, out }.deserialize(&mut text),
        Part::Metadata => MetadataOnly { schema, out }.deserialize(&mut text),
    }
    .map_err(problem)
}

// === Messages ===

/// The fields of an object, without a length before them.
struct Message<'s, 'w> {
    schema: Schema<'s>,
    out: &'w mut Writer,
}

/// Where a field of JSON goes.
enum Place<'s> {
    Field(&'s Field),
    /// Into messages that protobuf has and JSON has not, from the outermost in.
    Inline(Vec<u32>, Schema<'s>, &'s Field),
    /// No number.
    Nowhere,
}

/// A message that JSON has not, while its fields come in.
#[derive(Default)]
struct Inline {
    tag: u32,
    out: Writer,
    inner: Vec<Inline>,
}

impl Inline {
    fn at(all: &mut Vec<Self>, tag: u32) -> &mut Self {
        let at = all.iter().position(|inline| inline.tag == tag).unwrap_or_else(|| {
            all.push(Self { tag, ..Self::default() });
            all.len() - 1
        });
        &mut all[at]
    }

    fn writer<'i>(all: &'i mut Vec<Self>, path: &[u32]) -> Option<&'i mut Writer> {
        let (first, rest) = path.split_first()?;
        let inline = Self::at(all, *first);
        if rest.is_empty() { Some(&mut inline.out) } else { Self::writer(&mut inline.inner, rest) }
    }

    fn finish(all: Vec<Self>, into: &mut Writer) {
        for Self { tag, mut out, inner } in all {
            Self::finish(inner, &mut out);
            into.bytes(tag, &out.0);
        }
    }
}

fn place<'s>(schema: Schema<'s>, object: &'s Object, name: &str) -> Place<'s> {
    let known = object.fields.binary_search_by(|field| (*field.name).cmp(name));
    if let Some(field) = known.ok().map(|at| &object.fields[at]).filter(|field| field.tag != 0) {
        return Place::Field(field);
    }
    for (tag, id) in &object.inline {
        let within = schema.at(*id);
        let Shape::Object(inner) = within.shape() else { continue };
        match place(within, inner, name) {
            Place::Field(field) => return Place::Inline(vec![*tag], within, field),
            Place::Inline(mut path, schema, field) => {
                path.insert(0, *tag);
                return Place::Inline(path, schema, field);
            }
            Place::Nowhere => {}
        }
    }
    Place::Nowhere
}

/// Finds the place of a key without a copy of it.
struct Key<'s>(Schema<'s>, &'s Object);

impl<'de, 's> DeserializeSeed<'de> for Key<'s> {
    type Value = Place<'s>;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Self::Value, D::Error> {
        text.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for Key<'s> {
    type Value = Place<'s>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(place(self.0, self.1, name))
    }
}

impl<'de> DeserializeSeed<'de> for Message<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { schema, out } = self;
        let Shape::Object(object) = schema.shape() else {
            return Err(A::Error::custom("the schema is of no object"));
        };
        let mut inlines = Vec::new();
        while let Some(place) = map.next_key_seed(Key(schema, object))? {
            match place {
                Place::Field(field) => {
                    let schema = schema.at(field.schema);
                    map.next_value_seed(Content {
                        schema,
                        tag: field.tag,
                        name: &field.name,
                        out,
                    })?;
                }
                Place::Inline(path, within, field) => {
                    let schema = within.at(field.schema);
                    let Some(out) = Inline::writer(&mut inlines, &path) else { continue };
                    map.next_value_seed(Content {
                        schema,
                        tag: field.tag,
                        name: &field.name,
                        out,
                    })?;
                }
                Place::Nowhere => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Inline::finish(inlines, out);
        Ok(())
    }
}

/// The `metadata` of an object as field 1.
struct MetadataOnly<'s, 'w> {
    schema: Schema<'s>,
    out: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for MetadataOnly<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataOnly<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { schema, out } = self;
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            if name == "metadata" {
                map.next_value_seed(Content { schema, tag: 1, name: "metadata", out })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

// === Fields ===

/// A field with its number.
struct Content<'s, 'w> {
    schema: Schema<'s>,
    tag: u32,
    name: &'s str,
    out: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Content<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if matches!(self.schema.shape(), Shape::Any) {
            let value: Value = serde::Deserialize::deserialize(json)?;
            return self.any(&value).map_err(D::Error::custom);
        }
        json.deserialize_any(self)
    }
}

impl Content<'_, '_> {
    fn wrong<E: Error>(&self) -> E {
        E::custom(format_args!("{}: not of the type of its schema", self.name))
    }

    /// `RawExtension`, `FieldsV1` and `JSON` hold JSON text in field 1; the three unions of JSON
    /// schemas hold a schema in one field and its alternative in the other.
    fn any(self, value: &Value) -> Result<(), serde_json::Error> {
        let Self { schema, tag, name, out } = self;
        let Some((alternative, props)) = union(schema) else {
            return out.nested(tag, |out| {
                out.bytes(1, value.to_string().as_bytes());
                Ok(())
            });
        };
        out.nested(tag, |out| match (alternative, value) {
            (Alternative::Bool, Value::Bool(allows)) => {
                out.varint(1, u64::from(*allows));
                Ok(())
            }
            (Alternative::Bool, schema) => {
                out.varint(1, 1);
                Content { schema: props, tag: 2, name, out }.deserialize(schema)
            }
            (Alternative::Schemas, Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| {
                    Content { schema: props, tag: 2, name, out: &mut *out }.deserialize(schema)
                })
            }
            (_, Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).for_each(|n| out.bytes(2, n.as_bytes()));
                Ok(())
            }
            (_, schema) => Content { schema: props, tag: 1, name, out }.deserialize(schema),
        })
    }

    fn integer<E: Error>(self, number: i64) -> Result<(), E> {
        match self.schema.shape() {
            Shape::Int32 | Shape::Int64 => self.out.varint(self.tag, number as u64),
            Shape::Double => self.out.fixed64(self.tag, (number as f64).to_bits()),
            Shape::Quantity => self.quantity(&number.to_string()),
            Shape::IntOrString => self.int_or_string(number, None),
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn quantity(self, text: &str) {
        let mut inner = Writer::default();
        inner.bytes(1, text.as_bytes());
        self.out.bytes(self.tag, &inner.0);
    }

    fn int_or_string(self, number: i64, text: Option<&str>) {
        let mut inner = Writer::default();
        inner.varint(1, u64::from(text.is_some()));
        inner.varint(2, number as u64);
        inner.bytes(3, text.unwrap_or_default().as_bytes());
        self.out.bytes(self.tag, &inner.0);
    }
}

impl<'de> Visitor<'de> for Content<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {}", self.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<(), E> {
        if !matches!(self.schema.shape(), Shape::Bool) {
            return Err(self.wrong());
        }
        self.out.varint(self.tag, u64::from(on));
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.integer(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        let number = i64::try_from(number).map_err(|_| self.wrong::<E>())?;
        self.integer(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.schema.shape() {
            Shape::Double => self.out.fixed64(self.tag, number.to_bits()),
            Shape::Quantity => self.quantity(&number.to_string()),
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.schema.shape() {
            Shape::String => self.out.bytes(self.tag, text.as_bytes()),
            Shape::Bytes => {
                let bytes = STANDARD.decode(text).map_err(|_| self.wrong::<E>())?;
                self.out.bytes(self.tag, &bytes);
            }
            Shape::Quantity => self.quantity(text),
            Shape::IntOrString => self.int_or_string(0, Some(text)),
            Shape::Time | Shape::MicroTime => {
                let at: Timestamp = text.parse().map_err(|_| self.wrong::<E>())?;
                let mut inner = Writer::default();
                inner.varint(1, at.as_second() as u64);
                inner.varint(2, at.subsec_nanosecond() as u64);
                self.out.bytes(self.tag, &inner.0);
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Shape::List(list) = self.schema.shape() else { return Err(self.wrong()) };
        let Self { schema, tag, name, out } = self;
        let item = schema.at(list.item);
        if !list.wrapped {
            while items.next_element_seed(Content { schema: item, tag, name, out })?.is_some() {}
            return Ok(());
        }
        out.nested(tag, |out| {
            while items.next_element_seed(Content { schema: item, tag: 1, name, out })?.is_some() {}
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { schema, tag, name, out } = self;
        let map = match schema.shape() {
            Shape::Object(_) => {
                return out.nested(tag, |out| Message { schema, out }.visit_map(entries));
            }
            Shape::Map(map) => map,
            _ => return Err(Content { schema, tag, name, out }.wrong()),
        };
        let schema = schema.at(map.value);
        while let Some(key) = entries.next_key::<std::borrow::Cow<'_, str>>()? {
            out.nested(tag, |out| {
                out.bytes(1, key.as_bytes());
                entries.next_value_seed(Content { schema, tag: 2, name, out })
            })?;
        }
        Ok(())
    }
}

//! The condensed form of a table: JSON whose names are numbers, compressed with zlib.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::{
    Empty, Field, Kind, List, ListKind, Map, Name, Object, PatchStrategy, SchemaId, Shape, Table,
};

/// The largest table that is read, in bytes of JSON.
const MAX: u64 = 16 << 20;

/// A table cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not compressed data.
    #[error("schema table: {0}")]
    Io(#[from] std::io::Error),
    /// Another form.
    #[error("schema table: {0}")]
    Json(#[from] serde_json::Error),
    /// A reference that leads nowhere.
    #[error("schema table: a reference leads nowhere")]
    Reference,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    names: Vec<String>,
    nodes: Vec<Node>,
    definitions: Vec<(u32, u32)>,
    kinds: Vec<(u32, u32, u32, u32)>,
}

#[derive(Serialize, Deserialize)]
enum Node {
    #[serde(rename = "a")]
    Any,
    #[serde(rename = "s")]
    String,
    #[serde(rename = "y")]
    Bytes,
    #[serde(rename = "i")]
    Int32,
    #[serde(rename = "j")]
    Int64,
    #[serde(rename = "d")]
    Double,
    #[serde(rename = "b")]
    Bool,
    #[serde(rename = "p")]
    IntOrString,
    #[serde(rename = "q")]
    Quantity,
    #[serde(rename = "t")]
    Time,
    #[serde(rename = "u")]
    MicroTime,
    /// Fields as (name, schema, number, flags), inlined messages as (number, schema), atomic.
    #[serde(rename = "o")]
    Object(Vec<(u32, u32, u32, u8)>, Vec<(u32, u32)>, u8),
    /// Value, atomic.
    #[serde(rename = "m")]
    Map(u32, u8),
    /// Item, kind, keys, merge key, wrapped.
    #[serde(rename = "l")]
    List(u32, u8, Vec<u32>, Option<u32>, u8),
}

const REQUIRED: u8 = 1;
const MERGE: u8 = 2;
const RETAIN_KEYS: u8 = 4;
const REPLACE: u8 = 8;
/// Where the two bits of [`Empty`] stand.
const EMPTY: u8 = 4;

pub(super) fn write(table: &Table) -> Result<Vec<u8>, BlobError> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&serde_json::to_vec(&condense(table))?)?;
    Ok(encoder.finish()?)
}

pub(super) fn read(bytes: &[u8]) -> Result<Table, BlobError> {
    let mut json = Vec::new();
    ZlibDecoder::new(bytes).take(MAX).read_to_end(&mut json)?;
    let blob: Blob = serde_json::from_slice(&json)?;
    let table = expand(blob).ok_or(BlobError::Reference)?;
    if table.is_whole() { Ok(table) } else { Err(BlobError::Reference) }
}

fn condense(table: &Table) -> Blob {
    let mut names = BTreeSet::new();
    for shape in &table.nodes {
        match shape {
            Shape::Object(object) => names.extend(object.fields.iter().map(|f| &f.name)),
            Shape::List(list) => names.extend(list.keys.iter().chain(&list.merge_key)),
            _ => {}
        }
    }
    names.extend(table.definitions.keys());
    names.extend(table.kinds.iter().flat_map(|k| [&k.group, &k.version, &k.kind]));
    let numbers: BTreeMap<&Name, u32> = names.iter().copied().zip(0..).collect();
    let number = |name: &Name| numbers.get(name).copied().unwrap_or(u32::MAX);
    let node = |shape: &Shape| match shape {
        Shape::Any => Node::Any,
        Shape::String => Node::String,
        Shape::Bytes => Node::Bytes,
        Shape::Int32 => Node::Int32,
        Shape::Int64 => Node::Int64,
        Shape::Double => Node::Double,
        Shape::Bool => Node::Bool,
        Shape::IntOrString => Node::IntOrString,
        Shape::Quantity => Node::Quantity,
        Shape::Time => Node::Time,
        Shape::MicroTime => Node::MicroTime,
        Shape::Object(object) => Node::Object(
            object.fields.iter().map(|f| (number(&f.name), f.schema.0, f.tag, flags(f))).collect(),
            object.inline.iter().map(|(tag, id)| (*tag, id.0)).collect(),
            object.atomic.into(),
        ),
        Shape::Map(map) => Node::Map(map.value.0, map.atomic.into()),
        Shape::List(list) => Node::List(
            list.item.0,
            list.kind as u8,
            list.keys.iter().map(number).collect(),
            list.merge_key.as_ref().map(number),
            list.wrapped.into(),
        ),
    };
    Blob {
        nodes: table.nodes.iter().map(node).collect(),
        definitions: table.definitions.iter().map(|(name, id)| (number(name), id.0)).collect(),
        kinds: table
            .kinds
            .iter()
            .map(|k| (number(&k.group), number(&k.version), number(&k.kind), k.id.0))
            .collect(),
        names: names.iter().map(ToString::to_string).collect(),
    }
}

fn flags(field: &Field) -> u8 {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    flag(field.required, REQUIRED)
        | flag(field.patch.merge, MERGE)
        | flag(field.patch.retain_keys, RETAIN_KEYS)
        | flag(field.patch.replace, REPLACE)
        | (field.empty as u8) << EMPTY
}

fn expand(blob: Blob) -> Option<Table> {
    let mut shared = HashSet::new();
    let names: Vec<Name> = blob.names.iter().map(|n| Table::shared(&mut shared, n)).collect();
    let name = |at: u32| names.get(at as usize).cloned();
    let mut table = Table::default();
    for node in blob.nodes {
        table.nodes.push(match node {
            Node::Any => Shape::Any,
            Node::String => Shape::String,
            Node::Bytes => Shape::Bytes,
            Node::Int32 => Shape::Int32,
            Node::Int64 => Shape::Int64,
            Node::Double => Shape::Double,
            Node::Bool => Shape::Bool,
            Node::IntOrString => Shape::IntOrString,
            Node::Quantity => Shape::Quantity,
            Node::Time => Shape::Time,
            Node::MicroTime => Shape::MicroTime,
            Node::Object(fields, inline, atomic) => Shape::Object(Object {
                fields: fields
                    .into_iter()
                    .map(|(at, schema, tag, flags)| {
                        let patch = PatchStrategy {
                            merge: flags & MERGE != 0,
                            retain_keys: flags & RETAIN_KEYS != 0,
                            replace: flags & REPLACE != 0,
                        };
                        let required = flags & REQUIRED != 0;
                        Some(Field {
                            name: name(at)?,
                            schema: SchemaId(schema),
                            tag,
                            required,
                            patch,
                            empty: match flags >> EMPTY & 3 {
                                0 => Empty::Counts,
                                1 => Empty::LeftOut,
                                2 => Empty::Zero,
                                _ => Empty::Null,
                            },
                        })
                    })
                    .collect::<Option<_>>()?,
                inline: inline.into_iter().map(|(tag, id)| (tag, SchemaId(id))).collect(),
                atomic: atomic != 0,
            }),
            Node::Map(value, atomic) => {
                Shape::Map(Map { value: SchemaId(value), atomic: atomic != 0 })
            }
            Node::List(item, kind, keys, merge_key, wrapped) => Shape::List(List {
                item: SchemaId(item),
                kind: match kind {
                    0 => ListKind::Atomic,
                    1 => ListKind::Set,
                    _ => ListKind::Map,
                },
                keys: keys.into_iter().map(name).collect::<Option<_>>()?,
                merge_key: match merge_key {
                    Some(at) => Some(name(at)?),
                    None => None,
                },
                wrapped: wrapped != 0,
            }),
        });
    }
    for (at, id) in blob.definitions {
        let name = name(at)?;
        table.names.insert(SchemaId(id), name.clone());
        table.definitions.insert(name, SchemaId(id));
    }
    for (group, version, kind, id) in blob.kinds {
        let (group, version, kind) = (name(group)?, name(version)?, name(kind)?);
        table.kinds.push(Kind { group, version, kind, id: SchemaId(id) });
    }
    Some(table.indexed())
}

//! Writes the inputs that fuzzing begins with into `corpus/`: `cargo run --example seeds`, in `fuzz/`.
//! They are made from the schemas, or stand here.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::{Compress, Compression, FlushCompress};
use onggi_api::schema::{self, Schema, Shape};
use onggi_fuzz::number_of;
use onggi_machinery::protobuf;
use onggi_machinery::resource::{self, Resource};
use serde_json::{Map, Value, json};

fn main() -> std::io::Result<()> {
    let corpus = Corpus(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    for row in resource::all() {
        of_kind(&corpus, row)?;
    }
    for (target, texts) in onggi_fuzz::texts::ALL {
        for (at, text) in texts.iter().enumerate() {
            corpus.add(target, &format!("text-{at}"), text.as_bytes())?;
        }
    }
    corpus.add("spdy", "streams", &streams())
}

/// Two streams that are opened, and data, as a client of port-forward sends them.
fn streams() -> Vec<u8> {
    let mut deflate = Compress::new(Compression::default(), true);
    let mut bytes = vec![5];
    for (id, kind) in [(1_u32, "error"), (3, "data")] {
        let mut plain = 2_u32.to_be_bytes().to_vec();
        for text in ["streamType", kind, "port", "80"] {
            plain.extend((text.len() as u32).to_be_bytes());
            plain.extend(text.as_bytes());
        }
        let mut block = Vec::with_capacity(256);
        deflate.compress_vec(&plain, &mut block, FlushCompress::Sync).expect("it has room");
        bytes.extend([0x80, 3, 0, 1]);
        bytes.extend((block.len() as u32 + 10).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend([0; 6]);
        bytes.extend(block);
    }
    bytes.extend([0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
    bytes
}

struct Corpus(PathBuf);

impl Corpus {
    fn add(&self, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let directory = self.0.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), bytes)
    }
}

/// A small and a full object of the kind, in each form that is read.
fn of_kind(corpus: &Corpus, row: &'static Resource) -> std::io::Result<()> {
    let Some(of_kind) = schema::of(row.group, row.version, row.kind) else { return Ok(()) };
    let name = format!("{}-{}", row.plural, row.version);
    let mut full = value(of_kind, 0).unwrap_or(json!({}));
    full["apiVersion"] = row.api_version().into();
    full["kind"] = row.kind.into();
    let small = json!({"metadata": {"name": "a", "labels": {"app": "web"}}});
    let with_kind = |parts: &[&str]| {
        let mut bytes = number_of(row).to_vec();
        bytes.extend_from_slice(parts.join("\0").as_bytes());
        bytes
    };
    let (full_text, small_text) = (full.to_string(), small.to_string());
    corpus.add("json", &name, &with_kind(&[&full_text]))?;
    if let Ok(bytes) = protobuf::encode(&full) {
        corpus.add("protobuf", &name, &bytes)?;
    }
    corpus.add("patch", &format!("{name}-full"), &with_kind(&[&full_text, &small_text]))?;
    corpus.add("patch", &format!("{name}-small"), &with_kind(&[&small_text, &full_text]))?;
    corpus.add("apply", &format!("{name}-full"), &with_kind(&[&full_text, &small_text, ""]))?;
    corpus.add("apply", &format!("{name}-small"), &with_kind(&[&small_text, &full_text, ""]))
}

/// A value that a schema allows, with everything in it down to a few levels.
fn value(of: Schema<'_>, depth: usize) -> Option<Value> {
    Some(match of.shape() {
        Shape::Any => json!({"type": "object"}),
        Shape::String => "a".into(),
        Shape::Bytes => "AAE=".into(),
        Shape::Int32 | Shape::Int64 => 1.into(),
        Shape::Double => 1.5.into(),
        Shape::Bool => true.into(),
        Shape::IntOrString => "25%".into(),
        Shape::Quantity => "100m".into(),
        Shape::Time => "2024-05-01T12:30:00Z".into(),
        Shape::MicroTime => "2024-05-01T12:30:00.000123Z".into(),
        Shape::List(list) => vec![value(of.at(list.item), depth + 1)?].into(),
        Shape::Map(map) => json!({"k": value(of.at(map.value), depth + 1)?}),
        Shape::Object(_) if depth > 6 => return None,
        Shape::Object(object) => {
            let fields = object.fields.iter().filter_map(|field| {
                Some((field.name.to_string(), value(of.at(field.schema), depth + 1)?))
            });
            fields.collect::<Map<_, _>>().into()
        }
    })
}

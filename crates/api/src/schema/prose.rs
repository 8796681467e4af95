//! What definitions and fields mean, in words: a blob of its own, because only OpenAPI says them.

use std::collections::HashMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::{BlobError, Field, Schema, SchemaId, Table};

/// The most that is read, in bytes of JSON.
const MAX: u64 = 16 << 20;

/// The texts of a [`Table`]. Unpacked it takes three quarters of a megabyte: made to be dropped.
#[derive(Debug, PartialEq)]
pub struct Prose {
    texts: Vec<String>,
    /// For each definition and each of its fields: 0 for nothing, or the text's number from 1.
    places: Vec<u32>,
    /// Where a definition's places begin: its own, then those of its fields.
    starts: HashMap<SchemaId, usize>,
}

/// Texts in the order they are first said, which compresses best: what belongs together stands
/// together, and nearly every place follows from the one before.
#[derive(Serialize, Deserialize)]
struct Blob<T> {
    texts: T,
    /// 0 for nothing, 1 for the next text, from 2 for one that was said before.
    places: Vec<u32>,
}

impl Prose {
    /// Collects the texts: `said` is asked for each definition, and for each of its fields.
    pub fn gather<'a>(table: &Table, said: impl Fn(&str, Option<&str>) -> Option<&'a str>) -> Self {
        let (mut texts, mut places) = (Vec::new(), Vec::new());
        let mut known: HashMap<&str, u32> = HashMap::new();
        for (name, schema) in table.definitions() {
            let fields = schema.fields().iter().map(|field| Some(&*field.name));
            for field in std::iter::once(None).chain(fields) {
                let place = said(name, field).filter(|text| !text.is_empty()).map(|text| {
                    *known.entry(text).or_insert_with(|| {
                        texts.push(text.to_owned());
                        // More than four thousand million texts do not fit into memory.
                        u32::try_from(texts.len()).unwrap_or(u32::MAX)
                    })
                });
                places.push(place.unwrap_or(0));
            }
        }
        Self { texts, places, starts: starts(table) }
    }

    /// From the bytes that [`Prose::to_blob`] wrote for the same table.
    pub fn from_blob(table: &Table, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut json = Vec::new();
        ZlibDecoder::new(bytes).take(MAX).read_to_end(&mut json)?;
        let Blob { texts, mut places } = serde_json::from_slice::<Blob<Vec<String>>>(&json)?;
        let mut said = 0;
        for place in &mut places {
            if *place == 1 {
                said += 1;
                *place = said;
            } else {
                *place = place.saturating_sub(1);
            }
        }
        let expected: usize = table.definitions().map(|(_, of)| 1 + of.fields().len()).sum();
        let end = texts.len() as u64;
        if places.len() != expected || places.iter().any(|at| u64::from(*at) > end) {
            return Err(BlobError::Reference);
        }
        Ok(Self { texts, places, starts: starts(table) })
    }

    /// The condensed form, compressed.
    pub fn to_blob(&self) -> Result<Vec<u8>, BlobError> {
        let mut said = 0;
        let places = self.places.iter().map(|place| {
            if *place == said + 1 {
                said += 1;
                return 1;
            }
            if *place == 0 { 0 } else { place + 1 }
        });
        let blob = Blob { texts: &self.texts, places: places.collect() };
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&serde_json::to_vec(&blob)?)?;
        Ok(encoder.finish()?)
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// What a definition is.
    pub fn of(&self, schema: Schema<'_>) -> Option<&str> {
        self.at(*self.starts.get(&schema.id())?)
    }

    /// What a field of a definition is.
    pub fn of_field(&self, schema: Schema<'_>, field: &Field) -> Option<&str> {
        let at = schema.fields().binary_search_by(|one| one.name.cmp(&field.name)).ok()?;
        self.at(*self.starts.get(&schema.id())? + 1 + at)
    }

    fn at(&self, place: usize) -> Option<&str> {
        let text = self.places.get(place)?.checked_sub(1)?;
        self.texts.get(text as usize).map(String::as_str)
    }
}

fn starts(table: &Table) -> HashMap<SchemaId, usize> {
    let mut next = 0;
    let definitions = table.definitions().map(|(_, schema)| {
        let start = next;
        next += 1 + schema.fields().len();
        (schema.id(), start)
    });
    definitions.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{PROSE, of, prose, table};
    use super::*;

    #[test]
    fn says_what_things_are() {
        let prose = prose();
        let pod = of("", "v1", "Pod").unwrap();
        let said = "Pod is a collection of containers that can run on a host. This resource is \
                    created by clients and scheduled onto hosts.";
        assert_eq!(prose.of(pod), Some(said));
        let metadata = prose.of_field(pod, pod.field("metadata").unwrap()).unwrap();
        assert!(metadata.starts_with("Standard object's metadata."), "{metadata}");
        let quantity = table().definition("io.k8s.apimachinery.pkg.api.resource.Quantity").unwrap();
        assert!(prose.of(quantity).unwrap().starts_with("Quantity is a fixed-point"));
        assert_eq!(prose.of(pod.path("metadata.labels").unwrap()), None);
    }

    #[test]
    fn what_is_said_twice_is_kept_once() {
        let table = table();
        let said = |name: &str, field: Option<&str>| match (name.ends_with(".Pod"), field) {
            (true, None) => Some("a pod"),
            (true, Some("spec")) => Some("what is wanted"),
            (false, Some("spec")) => Some("what is wanted"),
            (false, Some("status")) => Some(""),
            _ => None,
        };
        let blob = Prose::gather(table, said).to_blob().unwrap();
        let prose = Prose::from_blob(table, &blob).unwrap();
        assert_eq!(prose.len(), 2);
        for (name, schema) in table.definitions() {
            assert_eq!(prose.of(schema), said(name, None), "{name}");
            for field in schema.fields() {
                let expected = said(name, Some(&field.name)).filter(|text| !text.is_empty());
                assert_eq!(prose.of_field(schema, field), expected, "{name}.{}", field.name);
            }
        }
        assert_eq!(prose, Prose::gather(table, said));
    }

    #[test]
    fn another_tables_prose_is_refused() {
        assert!(Prose::from_blob(&Table::default(), PROSE).is_err());
        assert!(Prose::from_blob(table(), &PROSE[..PROSE.len() / 2]).is_err());
        assert!(Prose::from_blob(table(), b"no prose").is_err());
    }
}

//! Every kind of the schema table, with a value in every field.

use onggi_api::schema::{self, Schema, Shape};
use serde_json::{Map, Value, json};

use super::*;
use crate::schema::union::{Alternative, union};
use crate::value::double;

/// A generator of values that a schema allows; the same for every run.
struct Make {
    seed: u64,
}

impl Make {
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.seed >> 33
    }

    fn text(&mut self) -> String {
        ["web", "온기", "a b\"c\\", "x.y/z", "1"][self.next() as usize % 5].to_owned()
    }

    fn value(&mut self, schema: Schema<'_>, depth: usize) -> Option<Value> {
        Some(match schema.shape() {
            Shape::Any => self.any(schema, depth)?,
            Shape::String => self.text().into(),
            Shape::Bytes => ["AAECAw==", "eA==", "//79"][self.next() as usize % 3].into(),
            Shape::Int32 => (self.next() as i32 - (1 << 29)).into(),
            Shape::Int64 => (self.next() as i64 * 1_000_003 - (1 << 40)).into(),
            Shape::Double => double(self.next() as f64 / 8.0 + 0.5)?.into(),
            Shape::Bool => self.next().is_multiple_of(2).into(),
            Shape::IntOrString if self.next().is_multiple_of(2) => json!("25%"),
            Shape::IntOrString => json!(-7),
            Shape::Quantity => ["100m", "1Gi", "3"][self.next() as usize % 3].into(),
            Shape::Time => "2024-05-01T12:30:00Z".into(),
            Shape::MicroTime => "2024-05-01T12:30:00.000123Z".into(),
            Shape::List(list) => {
                let count = 1 + self.next() % 2;
                let items: Vec<Value> = (0..count)
                    .filter_map(|_| self.value(schema.at(list.item), depth + 1))
                    .collect();
                if items.is_empty() {
                    return None;
                }
                items.into()
            }
            Shape::Map(map) => {
                let value = self.value(schema.at(map.value), depth + 1)?;
                json!({ "key": value, "other/key": self.value(schema.at(map.value), depth + 1)? })
            }
            Shape::Object(_) if depth > 12 => return None,
            Shape::Object(object) => {
                let mut map = Map::new();
                for field in &object.fields {
                    // An object within another is of the type that its field says.
                    if field.tag == 0 && matches!(&*field.name, "apiVersion" | "kind") {
                        continue;
                    }
                    if let Some(value) = self.value(schema.at(field.schema), depth + 1) {
                        map.insert(field.name.to_string(), value);
                    }
                }
                map.into()
            }
        })
    }

    fn any(&mut self, schema: Schema<'_>, depth: usize) -> Option<Value> {
        let Some((alternative, props)) = union(schema) else {
            return Some(json!({"f:a": {".": {}}, "list": [1, null, "x"]}));
        };
        let one = self.value(props, depth + 3);
        Some(match (alternative, self.next() % 2) {
            (Alternative::Bool, 0) => false.into(),
            (Alternative::Schemas, 0) => json!([one?, {"type": "string"}]),
            (Alternative::Names, 0) => json!(["a", "b"]),
            _ => one?,
        })
    }
}

#[test]
fn every_kind_is_written_and_read_back() {
    let mut make = Make { seed: 7 };
    let mut kinds = 0;
    for (group, version, kind, schema) in schema::table().kinds() {
        for _ in 0..2 {
            let Some(Value::Object(mut map)) = make.value(schema, 0) else {
                panic!("{kind} is no object");
            };
            let api_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            map.insert("apiVersion".into(), api_version.as_str().into());
            map.insert("kind".into(), kind.into());
            let value = Value::Object(map);
            let place = format!("{api_version} {kind}");
            let bytes = encode(&value).unwrap_or_else(|error| panic!("{place}: {error}"));
            let back = decode(&bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(back == value, "{place}:\n{value}\n{back}");
            let text = serde_json::to_vec(&value).unwrap();
            assert_eq!(encode_json(&api_version, kind, &text, Part::Whole), Ok(bytes), "{place}");
        }
        kinds += 1;
    }
    assert!(kinds > 300);
}

#[test]
fn lists_metadata_and_events() {
    let object = |name: &str| {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"a": "b"}}, "data": {"k": "v"}});
        serde_json::to_vec(&value).unwrap()
    };
    let objects = [object("one"), object("two")];
    let items = || objects.iter().map(Vec::as_slice);
    let meta = json!({"resourceVersion": "7", "remainingItemCount": 3, "continue": "x"});
    let config_map = ("v1", "ConfigMap");
    let whole =
        encode_list(("v1", "ConfigMapList"), &meta, config_map, items(), Part::Whole).unwrap();
    assert_eq!(
        decode(&whole).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": meta, "items": [
            {"metadata": {"name": "one", "labels": {"a": "b"}}, "data": {"k": "v"}},
            {"metadata": {"name": "two", "labels": {"a": "b"}}, "data": {"k": "v"}},
        ]})
    );
    // PartialObjectMetadata has the metadata as its first field, as ConfigMap has.
    let partial =
        encode_list(("v1", "ConfigMapList"), &meta, config_map, items(), Part::Metadata).unwrap();
    let partial = decode(&partial).unwrap();
    assert_eq!(partial["items"][1], json!({"metadata": {"name": "two", "labels": {"a": "b"}}}));
    let body = encode_json("v1", "ConfigMap", &objects[0], Part::Whole).unwrap();
    let frame = frame_event("ADDED", &body);
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let mut expected = vec![10, 5];
    expected.extend_from_slice(b"ADDED");
    assert_eq!(&frame[4..11], expected);
    assert!(frame.ends_with(&body));
    assert!(!knows("example.com/v1", "CronTab") && knows("apps/v1", "Deployment"));
}

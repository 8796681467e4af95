//! Takes away the fields that a schema does not know (`…/schema/pruning`).

use onggi_api::schema as built_in;
use serde_json::{Map, Value};

use super::{Additional, Schema};

/// How many paths are told.
const MAX_PATHS: usize = 100;

/// Takes away what the schema does not know. Gives the paths, in the order of the fields.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Prune { path: Vec::new(), unknown: Vec::new() };
    walk.value(object, schema, true, false);
    walk.unknown
}

struct Prune {
    path: Vec<String>,
    unknown: Vec<String>,
}

impl Prune {
    fn note(&mut self, key: &str) {
        if self.unknown.len() < MAX_PATHS {
            let path: String = self.path.concat();
            self.unknown.push(format!("{path}.{key}").trim_start_matches('.').to_owned());
        }
    }

    fn inside(&mut self, step: String, work: impl FnOnce(&mut Self)) {
        self.path.push(step);
        work(self);
        self.path.pop();
    }

    /// `keep`: something above preserves what is unknown.
    fn value(&mut self, value: &mut Value, schema: &Schema, resource: bool, keep: bool) {
        match value {
            Value::Object(map) => self.object(map, schema, resource || schema.embedded, keep),
            Value::Array(items) => {
                let nothing = Schema::default();
                let of = match &schema.items {
                    Some(items) => items,
                    // Nothing said about the items: whatever is in them is unknown.
                    None if schema.preserve || keep => return,
                    None => &nothing,
                };
                for (at, item) in items.iter_mut().enumerate() {
                    self.inside(format!("[{at}]"), |walk| {
                        walk.value(item, of, false, keep || schema.preserve);
                    });
                }
            }
            _ => {}
        }
    }

    fn object(
        &mut self,
        map: &mut Map<String, Value>,
        schema: &Schema,
        resource: bool,
        keep: bool,
    ) {
        let is_root = self.path.is_empty();
        let mut gone = Vec::new();
        for (key, value) in map.iter_mut() {
            if resource && matches!(key.as_str(), "apiVersion" | "kind") {
                continue;
            }
            if resource && key == "metadata" {
                // That of the object itself has been checked with the rest of its metadata.
                if !is_root {
                    self.inside(".metadata".into(), |walk| walk.metadata(value));
                }
                continue;
            }
            // `preserve` ends where the schema begins to say something again.
            match (schema.properties.get(key), &schema.additional) {
                (Some(schema), _) => {
                    self.inside(format!(".{key}"), |walk| walk.value(value, schema, false, false));
                }
                (None, Some(Additional::Of(schema))) => {
                    self.inside(format!(".{key}"), |walk| walk.value(value, schema, false, false));
                }
                (None, Some(Additional::Allowed(true))) => {}
                _ if schema.preserve || keep => {}
                _ => {
                    self.note(key);
                    gone.push(key.clone());
                }
            }
        }
        for key in gone {
            map.remove(&key);
        }
    }

    /// The metadata of an embedded object.
    fn metadata(&mut self, value: &mut Value) {
        let meta = built_in::table().definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let (Some(meta), Value::Object(map)) = (meta, value) else { return };
        let unknown: Vec<String> =
            map.keys().filter(|key| meta.field(key).is_none()).cloned().collect();
        for key in unknown {
            self.note(&key);
            map.remove(&key);
        }
    }
}

//! How the fields of custom kinds are owned: read from their definitions, kept until these change.

use std::collections::HashMap;
use std::sync::Arc;

use onggi_machinery::managedfields::Structural;
use onggi_machinery::resource::{self, Resource};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cache::{self, Cache};

/// What was read, by the name of the definition.
#[derive(Default)]
pub(crate) struct Structurals(Mutex<HashMap<String, Arc<Versions>>>);

/// The schemas of a definition.
pub(crate) struct Versions {
    revision: u64,
    schemas: Vec<(String, Structural)>,
}

impl Structurals {
    /// Those of a custom kind; `None` for a built-in one, and where the definition is gone.
    pub(crate) fn of(&self, cache: &Cache, row: &Resource) -> Option<Arc<Versions>> {
        if onggi_api::schema::of(row.group, row.version, row.kind).is_some() {
            return None;
        }
        let definitions =
            resource::by_gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions")?;
        let name = row.group_resource();
        let found = cache.of(definitions).ok()?.get(&cache::key(definitions, "", &name));
        let mut known = self.0.lock();
        let Some(definition) = found else {
            known.remove(&name);
            return None;
        };
        let revision = definition.head().resource_version;
        if let Some(versions) = known.get(&name)
            && versions.revision == revision
        {
            return Some(Arc::clone(versions));
        }
        let schemas = read(&definition.value().ok()?);
        let versions = Arc::new(Versions { revision, schemas });
        known.insert(name, Arc::clone(&versions));
        Some(versions)
    }
}

fn read(definition: &Value) -> Vec<(String, Structural)> {
    let spec = &definition["spec"];
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter_map(|version| {
            let schema = &version["schema"]["openAPIV3Schema"];
            let known = schema.is_object() && spec["preserveUnknownFields"] != true;
            let schema = if known { schema } else { &open };
            Some((version["name"].as_str()?.to_owned(), Structural::of_object(schema)))
        })
        .collect()
}

impl Versions {
    /// The schema of a version.
    pub(crate) fn schema(&self, version: &str) -> Option<&Structural> {
        self.schemas.iter().find(|(name, _)| name == version).map(|(_, schema)| schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_read() {
        let list =
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"tags": list}}});
        let definition = |preserve: bool| {
            json!({"spec": {"preserveUnknownFields": preserve, "versions": [
                {"name": "v1", "schema": schema}, {"name": "v2"}]}})
        };
        let versions = Versions { revision: 1, schemas: read(&definition(false)) };
        assert!(versions.schema("v1").is_some() && versions.schema("v3").is_none());
        assert_ne!(versions.schema("v1"), versions.schema("v2"));
        let open = Versions { revision: 1, schemas: read(&definition(true)) };
        assert_eq!(open.schema("v1"), open.schema("v2"));
    }
}

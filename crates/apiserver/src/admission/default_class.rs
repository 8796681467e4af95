//! DefaultStorageClass and DefaultIngressClass: who names no class gets the one that is marked as
//! the default, the youngest where several are.

use std::sync::Arc;

use async_trait::async_trait;
use onggi_api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

pub(super) struct DefaultStorageClass;

pub(super) struct DefaultIngressClass;

/// A mark of a default, as an annotation.
const STORAGE_MARKS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
const INGRESS_MARKS: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];

fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

/// The name of the default among classes.
fn default_of(classes: &[Arc<Object>], marks: &[&str]) -> Result<Option<String>, Status> {
    let mut found: Option<(String, String)> = None;
    for object in classes {
        let value = object.value().map_err(Status::internal)?;
        if !marks.iter().any(|mark| annotation(&value, mark) == Some("true")) {
            continue;
        }
        let born = text(&value, "/metadata/creationTimestamp").to_owned();
        let name = object.head().name.clone();
        // Times of this form compare as texts; lists are in the order of names.
        if found.as_ref().is_none_or(|(youngest, _)| born > *youngest) {
            found = Some((born, name));
        }
    }
    Ok(found.map(|(_, name)| name))
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "persistentvolumeclaims")
    }

    async fn mutate(
        &self,
        registry: &Registry,
        _: &Attributes<'_>,
        claim: &mut Value,
    ) -> Result<(), Status> {
        let named = claim["spec"]["storageClassName"].is_string()
            || annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some();
        if named {
            return Ok(());
        }
        let classes = lookup::list(registry, "storage.k8s.io", "storageclasses", "");
        if let Some(name) = default_of(&classes, STORAGE_MARKS)? {
            claim["spec"]["storageClassName"] = name.into();
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "networking.k8s.io", "ingresses")
    }

    async fn mutate(
        &self,
        registry: &Registry,
        _: &Attributes<'_>,
        ingress: &mut Value,
    ) -> Result<(), Status> {
        let named = ingress["spec"]["ingressClassName"].is_string()
            || annotation(ingress, "kubernetes.io/ingress.class").is_some();
        if named {
            return Ok(());
        }
        let classes = lookup::list(registry, "networking.k8s.io", "ingressclasses", "");
        if let Some(name) = default_of(&classes, INGRESS_MARKS)? {
            ingress["spec"]["ingressClassName"] = name.into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_youngest_default() {
        let class = |name: &str, born: &str, mark: &str| {
            let value = json!({
                "apiVersion": "v1", "kind": "X",
                "metadata": {
                    "name": name, "creationTimestamp": born,
                    "annotations": {STORAGE_MARKS[0]: mark},
                },
            });
            Arc::new(Object::from_value(&value, &[]).unwrap())
        };
        let classes = [
            class("a", "2026-01-01T00:00:00Z", "true"),
            class("b", "2026-01-02T00:00:00Z", "true"),
            class("c", "2026-01-02T00:00:00Z", "true"),
            class("d", "2026-01-03T00:00:00Z", "false"),
        ];
        assert_eq!(default_of(&classes, STORAGE_MARKS).unwrap().as_deref(), Some("b"));
        assert_eq!(default_of(&classes, INGRESS_MARKS).unwrap(), None);
    }
}

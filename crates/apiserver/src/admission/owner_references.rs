//! OwnerReferencesPermissionEnforcement: whoever cannot delete an object does not decide with whom
//! it goes, and whoever cannot hold an owner back does not make it wait. Off unless asked for.

use std::collections::HashSet;

use async_trait::async_trait;
use onggi_api::{GroupVersion, Status};
use onggi_machinery::resource;
use serde_json::Value;

use super::access::{Object, may, refuse};
use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub(super) struct OwnerReferencesPermissionEnforcement;

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

/// Those that have been made blocking, or are new and blocking.
fn newly_blocking<'v>(new: &'v [Value], old: &[Value]) -> Vec<&'v Value> {
    let blocking: HashSet<&str> = old
        .iter()
        .filter(|owner| owner["blockOwnerDeletion"] == true)
        .filter_map(|owner| owner["uid"].as_str())
        .collect();
    new.iter()
        .filter(|owner| owner["blockOwnerDeletion"] == true)
        .filter(|owner| owner["uid"].as_str().is_some_and(|uid| !blocking.contains(uid)))
        .collect()
}

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        // What the kubelet mirrors is owned by its node.
        attributes.writes() && attributes.subresource != "status"
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        let none = Value::Null;
        let old = owners(attributes.old.unwrap_or(&none));
        let new = owners(object);
        if new == old {
            return Ok(());
        }
        let row = attributes.row;
        let own = Object {
            group: row.group,
            resource: row.plural,
            subresource: attributes.subresource,
            namespace: attributes.namespace,
            name: attributes.name,
        };
        // A new object is its maker's to give away.
        let makes = attributes.operation == Operation::Create;
        if !makes && !may(registry, attributes, "delete", own) {
            let why = "cannot set an ownerRef on a resource you can't delete: , <nil>";
            return refuse(attributes, object, why);
        }
        for owner in newly_blocking(new, old) {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            let (version, kind) = (text("apiVersion"), text("kind"));
            let row = GroupVersion::parse(version)
                .and_then(|found| resource::by_kind(&found.group, &found.version, kind));
            let Some(row) = row else {
                let why = format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for \
                     APIVersion {version} Kind {kind}"
                );
                return refuse(attributes, object, &why);
            };
            let finalizers = Object {
                group: row.group,
                resource: row.plural,
                subresource: "finalizers",
                namespace: if row.namespaced() { attributes.namespace } else { "" },
                name: text("name"),
            };
            if !may(registry, attributes, "update", finalizers) {
                let why = "cannot set blockOwnerDeletion if an ownerReference refers to a resource \
                           you can't set finalizers on: , <nil>";
                return refuse(attributes, object, why);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_owners_begin_to_wait() {
        let owner = |uid: &str, blocking: bool| json!({"uid": uid, "blockOwnerDeletion": blocking});
        let old = [owner("a", true), owner("b", false)];
        let new = [owner("a", true), owner("b", true), owner("c", true), owner("d", false)];
        let found: Vec<_> =
            newly_blocking(&new, &old).iter().map(|o| o["uid"].as_str().unwrap()).collect();
        assert_eq!(found, ["b", "c"]);
    }
}

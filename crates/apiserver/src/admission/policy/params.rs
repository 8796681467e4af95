//! What a binding hands to the expressions of its policy: an object of the kind that the policy
//! names, several, or none.

use std::sync::Arc;

use onggi_api::{GroupVersion, GroupVersionKind, Object, Status};
use onggi_machinery::resource::{self, Resource};
use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::{at, str_at};
use serde_json::Value;

use super::definition::{Binding, Policy};
use crate::admission::Attributes;
use crate::cache::Selection;
use crate::registry::Registry;

/// The parameters; one `null` where the policy takes none. An error is one of the configuration.
pub(super) async fn collect(
    registry: &Registry,
    attributes: &Attributes<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Value>, String> {
    let reference = &binding.params;
    let Some((version, kind)) = policy.param_kind.as_ref().filter(|_| !reference.is_null()) else {
        return Ok(vec![Value::Null]);
    };
    let row = row(registry, version, kind)
        .ok_or_else(|| format!("paramKind kind `{version}, Kind={kind}` not known"))?;
    let given = str_at(reference, "namespace");
    let namespace = match (row.namespaced(), given) {
        (false, "") => "",
        (false, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()
            );
        }
        (true, "") if attributes.namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches \
                        cluster-scoped resources"
                .into());
        }
        (true, "") => attributes.namespace,
        (true, given) => given,
    };
    let found = match (str_at(reference, "name"), at(reference, "selector")) {
        ("", Value::Null) => return Err("one of name or selector must be provided".into()),
        ("", selector) => selected(registry, row, namespace, selector).await?,
        (name, _) => match registry.current(row, namespace, name).await {
            Ok(object) => vec![object],
            Err(status) if status.is_not_found() => Vec::new(),
            Err(status) => return Err(status.message),
        },
    };
    if found.is_empty() && str_at(reference, "parameterNotFoundAction") == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    found.iter().map(|object| object.value().map_err(|error| error.to_string())).collect()
}

async fn selected(
    registry: &Registry,
    row: &'static Resource,
    namespace: &str,
    selector: &Value,
) -> Result<Vec<Arc<Object>>, String> {
    let labels = LabelSelector::from_object(selector).map_err(|error| error.to_string())?;
    let collection = registry.cache.of(row).map_err(|status: Status| status.message)?;
    let all = collection.list(&Selection::in_namespace(namespace), registry.cache.applied(), 0);
    let mut found = Vec::new();
    for object in all.items.into_iter().filter(|object| labels.matches(&object.head().labels)) {
        found.push(registry.shown(row, object).await.map_err(|status| status.message)?);
    }
    Ok(found)
}

/// The row of a kind, built in or custom.
fn row(registry: &Registry, version: &str, kind: &str) -> Option<&'static Resource> {
    let GroupVersion { group, version } = GroupVersion::parse(version)?;
    let kind = GroupVersionKind { group, version, kind: kind.to_owned() };
    if let Some(row) = resource::by_kind(&kind.group, &kind.version, &kind.kind) {
        return Some(row);
    }
    let snapshot = registry.kinds.snapshot();
    snapshot.served().map(|version| version.row).find(|row| row.gvk() == kind)
}

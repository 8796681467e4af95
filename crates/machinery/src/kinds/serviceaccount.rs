//! `v1 ServiceAccount`.

use serde_json::Value;

use crate::resource::{Resource, Subresource, Verb};
use crate::value::items_mut;

/// The row. Since v1.35 the table says nothing of secrets: tokens are asked for, not stored.
pub const RESOURCE: Resource = Resource {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        kind: ("authentication.k8s.io", "v1", "TokenRequest"),
        verbs: &[Verb::Create],
    }],
    prepare_create: name_secrets,
    prepare_update: |account, _| name_secrets(account),
    answers_deleted: true,
    ..Resource::BASE
};

/// Of a secret the name is kept alone.
fn name_secrets(account: &mut Value) {
    for secret in items_mut(account, "secrets") {
        if let Value::Object(map) = secret {
            map.retain(|field, _| field == "name");
        }
    }
}

//! `v1 ServiceAccount`.

use crate::resource::{Resource, Subresource, Verb};

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
    answers_deleted: true,
    ..Resource::BASE
};

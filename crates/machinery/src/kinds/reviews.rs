//! `authentication.k8s.io/v1` and `authorization.k8s.io/v1`: questions that are answered when they
//! are asked, and never stored.

use crate::resource::{Resource, Scope, Verb};

const REVIEW: Resource = Resource {
    scope: Scope::Cluster,
    verbs: &[Verb::Create],
    columns: &[],
    row: |_, _| Vec::new(),
    ..Resource::BASE
};
const AUTHENTICATION: Resource = Resource { group: "authentication.k8s.io", ..REVIEW };
const AUTHORIZATION: Resource = Resource { group: "authorization.k8s.io", ..REVIEW };

/// Who holds a token.
pub const TOKEN: Resource = Resource {
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    ..AUTHENTICATION
};

/// Who am I.
pub const SELF_SUBJECT: Resource = Resource {
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    ..AUTHENTICATION
};

/// May somebody do something.
pub const SUBJECT_ACCESS: Resource = Resource {
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    ..AUTHORIZATION
};

/// May somebody do something in this namespace.
pub const LOCAL_SUBJECT_ACCESS: Resource = Resource {
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    scope: Scope::Namespaced,
    ..AUTHORIZATION
};

/// May I do something.
pub const SELF_SUBJECT_ACCESS: Resource = Resource {
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    ..AUTHORIZATION
};

/// What may I do in a namespace.
pub const SELF_SUBJECT_RULES: Resource = Resource {
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    ..AUTHORIZATION
};

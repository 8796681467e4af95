//! What expressions of webhooks and policies may name.

use crate::cel::{Declarations, Env};

const AUTHORIZER: &str = "authorizer";

/// What there is beside the objects and parameters.
pub fn beside_objects<'s>() -> Env<'s> {
    Env::default()
        .typed("request", "kubernetes.AdmissionRequest")
        .typed("namespaceObject", "kubernetes.Namespace")
        .typed(AUTHORIZER, "kubernetes.authorization.Authorizer")
        .typed("authorizer.requestResource", "kubernetes.authorization.ResourceCheck")
}

/// Match conditions of webhooks.
pub fn of_webhooks() -> Declarations {
    beside_objects().with("object").with("oldObject")
}

/// Match conditions of a policy, with or without parameters; with [`Env::with_variables`] all other
/// expressions.
pub fn of_policy(has_params: bool) -> Declarations {
    if has_params { of_webhooks().with("params") } else { of_webhooks() }
}

/// The same for what makes messages: who may do what is not asked any more.
pub fn of_messages(names: &Declarations) -> Declarations {
    names.clone().without(AUTHORIZER)
}

/// Every expression of a policy that is stored.
pub fn of_policies() -> Declarations {
    of_policy(true).with("variables").with_patches().lenient()
}

/// Selectors of devices.
pub fn of_devices() -> Declarations {
    Env::default().typed("device", "kubernetes.DRADevice").with_bindings()
}

//! What expressions of webhooks and policies may name.

use crate::cel::Declarations;

/// Match conditions of webhooks.
pub fn of_webhooks() -> Declarations {
    Declarations::new(["object", "oldObject", "request", "authorizer"])
}

/// Every expression of a policy.
pub fn of_policies() -> Declarations {
    of_webhooks().with("params").with("namespaceObject").with("variables")
}

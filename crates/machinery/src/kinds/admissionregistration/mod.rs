//! `admissionregistration.k8s.io/v1`: who is asked before a write, and by which rules in CEL. The
//! calls and the evaluation are the server's `admission`.

use serde_json::{Value, json};

use crate::resource::{Resource, Scope};
use crate::value::{at_mut, items_mut, set_default, set_default_text};

mod binding;
mod policy;
mod rules;
#[cfg(test)]
mod tests;
mod webhook;

pub use binding::{MUTATING_BINDING, VALIDATING_BINDING};
pub use policy::{MUTATING_POLICY, VALIDATING_POLICY};
pub use webhook::{MUTATING_WEBHOOK, VALIDATING_WEBHOOK};

/// What all rows have in common.
const BASE: Resource = Resource {
    group: "admissionregistration.k8s.io",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    has_generation: true,
    ..Resource::BASE
};

/// Defaults of what webhooks and policies select by; the empty selector selects everything.
fn default_match(at: &mut Value) {
    set_default_text(at, "matchPolicy", "Equivalent");
    set_default(at, "namespaceSelector", json!({}));
    set_default(at, "objectSelector", json!({}));
}

fn default_scopes(at: &mut Value, rules: &str) {
    for rule in items_mut(at, rules) {
        set_default_text(rule, "scope", "*");
    }
}

/// Defaults of `MatchResources`.
fn default_match_resources(object: &mut Value, path: &str) {
    if let Some(at) = at_mut(object, path).filter(|at| at.is_object()) {
        default_match(at);
        default_scopes(at, "resourceRules");
        default_scopes(at, "excludeResourceRules");
    }
}

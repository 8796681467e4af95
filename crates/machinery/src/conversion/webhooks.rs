//! `admissionregistration.k8s.io/v1beta1`: webhooks failed open, had more time, and said nothing of
//! their side effects.

use serde_json::{Value, json};

use crate::value::{items_mut, set_default, set_default_text, str_at};

/// Both kinds of webhook configurations.
pub(super) fn configuration(object: &mut Value) -> Vec<String> {
    let mut said = Vec::new();
    for hook in items_mut(object, "webhooks").filter(|hook| hook.is_object()) {
        set_default_text(hook, "failurePolicy", "Ignore");
        set_default_text(hook, "matchPolicy", "Exact");
        set_default(hook, "timeoutSeconds", 30);
        set_default(hook, "admissionReviewVersions", json!(["v1beta1"]));
        let effects = str_at(hook, "sideEffects");
        if !matches!(effects, "None" | "NoneOnDryRun") {
            said.push(format!(
                "webhook {:?} is taken to have no side effects on dry runs (sideEffects: {})",
                str_at(hook, "name"),
                if effects.is_empty() { "Unknown" } else { effects },
            ));
            crate::value::set(hook, "sideEffects", "NoneOnDryRun");
        }
    }
    said
}

//! `MutatingWebhookConfiguration` and `ValidatingWebhookConfiguration`.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use super::rules::{
    FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, match_conditions, rule,
};
use super::{BASE, default_match, default_scopes};
use crate::admission::environment;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::webhook::client_config;
use crate::validation::{At, Errors, duplicates, labels, names};
use crate::value::{at, items_mut, list_at, set_default, set_default_text};

/// The row of `MutatingWebhookConfiguration`.
pub const MUTATING_WEBHOOK: Resource = Resource {
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    default: |configuration| {
        default(configuration);
        for hook in items_mut(configuration, "webhooks") {
            set_default_text(hook, "reinvocationPolicy", "Never");
        }
    },
    ..WEBHOOKS
};

/// The row of `ValidatingWebhookConfiguration`.
pub const VALIDATING_WEBHOOK: Resource = Resource {
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    ..WEBHOOKS
};

const WEBHOOKS: Resource = Resource {
    columns: &[Column::NAME, Column::integer("Webhooks"), Column::AGE],
    row: |configuration, now| {
        vec![
            table::name(configuration),
            list_at(configuration, "webhooks").len().into(),
            table::age(configuration, now),
        ]
    },
    default,
    validate,
    ..BASE
};

/// The versions of `AdmissionReview` that can be spoken.
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];

fn default(configuration: &mut Value) {
    for hook in items_mut(configuration, "webhooks") {
        set_default_text(hook, "failurePolicy", "Fail");
        default_match(hook);
        set_default(hook, "timeoutSeconds", 10);
        default_scopes(hook, "rules");
        if at(hook, "clientConfig.service").is_object() {
            set_default(hook, "clientConfig.service.port", 443);
        }
    }
}

fn validate(configuration: &Value) -> Errors {
    let mut errors = Errors::new();
    let hooks = At::root(configuration).child("webhooks");
    for hook in hooks.items() {
        one(&hook, &mut errors);
    }
    duplicates(hooks.items(), "name", &mut errors);
    errors
}

fn one(hook: &At<'_>, errors: &mut Errors) {
    qualified(&hook.child("name"), errors);
    for rule_of in hook.each("rules") {
        rule(&rule_of, errors);
    }
    hook.child("failurePolicy").one_of(FAILURE_POLICIES, errors);
    hook.child("matchPolicy").one_of(MATCH_POLICIES, errors);
    let effects = hook.child("sideEffects");
    match effects.text() {
        "" => {
            let detail = format!("must specify one of {}", SIDE_EFFECTS.join(", "));
            errors.push(effects.required(detail));
        }
        _ => effects.one_of(SIDE_EFFECTS, errors),
    }
    let timeout = hook.child("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        errors.push(timeout.invalid("the timeout value must be between 1 and 30 seconds"));
    }
    labels::selector(&hook.child("namespaceSelector"), errors);
    labels::selector(&hook.child("objectSelector"), errors);
    hook.child("reinvocationPolicy").one_of(REINVOCATION_POLICIES, errors);
    client_config(&hook.child("clientConfig"), errors);
    let names_of = environment::of_webhooks();
    match_conditions(&hook.child("matchConditions"), &names_of, errors);
    review_versions(&hook.child("admissionReviewVersions"), errors);
}

/// A name with a domain of its own in front: `hook.example.com`.
fn qualified(name: &At<'_>, errors: &mut Errors) {
    if !name.must_be_set(errors) {
        return;
    }
    let wrong = names::dns1123_subdomain(name.text());
    if !wrong.is_empty() {
        errors.push(name.invalid(wrong.join(",")));
    } else if name.text().split('.').count() < 3 {
        errors.push(
            name.invalid("should be a domain with at least three segments separated by dots"),
        );
    }
}

fn review_versions(versions: &At<'_>, errors: &mut Errors) {
    let known = REVIEW_VERSIONS.join(", ");
    if versions.items().next().is_none() {
        return errors.push(versions.required(format!("must specify one of {known}")));
    }
    let mut seen = HashSet::new();
    for version in versions.items() {
        if !seen.insert(version.text()) {
            errors.push(version.invalid("duplicate version"));
            continue;
        }
        version.must(names::dns1035_label, errors);
    }
    if !versions.items().any(|version| REVIEW_VERSIONS.contains(&version.text())) {
        let detail = format!("must include at least one of {known}");
        errors.push(FieldError::invalid(&versions.path, versions.value.clone(), detail));
    }
}

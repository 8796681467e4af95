//! What kinds with a pod template share: a selector, the template, a scale.

use onggi_api::FieldError;
use serde_json::Value;

use super::{PART_VERBS, podspec};
use crate::resource::Subresource;
use crate::selector::LabelSelector;
use crate::table;
use crate::validation::{At, Errors, labels};
use crate::value::{at, at_mut, map_mut};

/// `scale`.
pub(super) const SCALE: Subresource =
    Subresource { name: "scale", kind: ("autoscaling", "v1", "Scale"), verbs: PART_VERBS };

/// The cells of the `-o wide` columns Containers, Images, Selector.
pub(super) fn wide_cells(object: &Value) -> [Value; 3] {
    let [names, images] = table::containers_and_images(at(object, "spec.template.spec"));
    let selector = table::selector_text(at(object, "spec.selector"));
    [names, images, table::text_or(&selector, "<none>").into()]
}

/// Defaults of the pod template, made where it is missing: then it lacks its containers alone.
pub(super) fn default_template(object: &mut Value) {
    default_template_at(object, "spec.template");
}

/// The same for a template at another place.
pub(super) fn default_template_at(object: &mut Value, path: &str) {
    let path = format!("{path}.spec");
    map_mut(object, &path);
    if let Some(spec) = at_mut(object, &path) {
        podspec::default(spec);
    }
}

/// The rules for `replicas`, `selector` and `template` of a Deployment or a ReplicaSet.
pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    spec.child("replicas").not_negative(errors);
    selector(spec, "empty selector is invalid for deployment", errors);
    if !is_selector(spec) {
        // Then nothing is said of the template.
        let selector = spec.child("selector");
        return errors.push(selector.invalid("invalid label selector"));
    }
    selected(spec, errors);
    let pod = template(&spec.child("template"), errors);
    always_restarts(&pod, errors);
    let deadline = pod.child("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.push(deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
    }
}

/// Whether the selector, where there is one, can select.
pub(super) fn is_selector(spec: &At<'_>) -> bool {
    let selector = spec.child("selector");
    let texts = labels::can_be_read(&selector);
    !selector.is_set() || (texts && LabelSelector::from_object(selector.value).is_ok())
}

/// A `LabelSelector` that must be there and select something; `empty` is said of one that does not.
pub(super) fn selector(spec: &At<'_>, empty: &str, errors: &mut Errors) {
    let selector = spec.child("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
        return;
    }
    labels::selector(&selector, errors);
    if labels::selects_everything(selector.value) {
        errors.push(selector.invalid(empty));
    }
}

/// The selector must select what the template makes.
pub(super) fn selected(spec: &At<'_>, errors: &mut Errors) {
    let (selector, marks) = (spec.child("selector"), spec.child("template.metadata.labels"));
    let unmatched = || {
        let detail = "`selector` does not match template `labels`";
        FieldError::invalid(&marks.path, marks.value.clone(), detail)
    };
    if !selector.is_set() {
        // None selects nothing, an empty one everything.
        errors.push(unmatched());
        return;
    }
    if labels::selects_everything(selector.value) || !is_selector(spec) {
        return;
    }
    match LabelSelector::from_object(selector.value) {
        Ok(wanted) if !wanted.matches_value(marks.value) => errors.push(unmatched()),
        _ => {}
    }
}

/// The rules for a pod template; gives its `spec`.
pub(super) fn template<'a>(template: &At<'a>, errors: &mut Errors) -> At<'a> {
    marks(template, errors);
    let pod = template.child("spec");
    podspec::validate(&pod, errors);
    let ephemeral = pod.child("ephemeralContainers");
    if ephemeral.items().next().is_some() {
        errors.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
    pod
}

/// Labels and annotations of a template. Kubernetes leaves their `metadata` out of the path.
pub(super) fn marks(template: &At<'_>, errors: &mut Errors) {
    let [labels, annotations] = ["labels", "annotations"].map(|name| {
        At::new(template.child("metadata").child(name).value, template.path.child(name))
    });
    labels::labels(&labels, errors);
    crate::validation::annotations(&annotations, errors);
}

/// What keeps pods running does not let them end.
pub(super) fn always_restarts(pod: &At<'_>, errors: &mut Errors) {
    let policy = pod.child("restartPolicy");
    if policy.text() != "Always" {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), &["Always"]));
    }
}

/// What a workload selects stays, or it would lose its pods.
pub(super) fn validate_update(object: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let selector = At::root(object).child("spec.selector");
    selector.unchanged(at(old, "spec.selector"), &mut errors);
    errors
}

/// Advice on the template.
pub(super) fn warnings(object: &Value) -> Vec<String> {
    podspec::warnings(&At::root(object).child("spec.template.spec"))
}

/// The fields of `spec` that differ from what they were, but those that may.
pub(super) fn changed_fields(new: &Value, old: &Value, allowed: &[&str]) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let mut all = keys(new);
    all.extend(keys(old));
    all.sort_unstable();
    all.dedup();
    all.retain(|key| !allowed.contains(&key.as_str()) && at(new, key) != at(old, key));
    all
}

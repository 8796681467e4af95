//! What Deployment and ReplicaSet share: a selector, a pod template, a scale.

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
    map_mut(object, "spec.template.spec");
    if let Some(spec) = at_mut(object, "spec.template.spec") {
        podspec::default(spec);
    }
}

/// The rules for `replicas`, `selector` and `template`.
pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    spec.child("replicas").not_negative(errors);
    spec.child("minReadySeconds").not_negative(errors);
    let selector = spec.child("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
    } else if labels::selects_everything(selector.value) {
        // Kubernetes says so of a ReplicaSet too.
        errors.push(selector.invalid("empty selector is invalid for deployment"));
    }
    labels::selector(&selector, errors);
    template(&spec.child("template"), &selector, errors);
}

fn template(template: &At<'_>, selector: &At<'_>, errors: &mut Errors) {
    let marks = template.child("metadata.labels");
    labels::labels(&marks, errors);
    if selector.is_set() && !labels::selects_everything(selector.value) {
        match LabelSelector::from_object(selector.value) {
            Err(_) => errors.push(selector.invalid("invalid label selector")),
            Ok(wanted) if !wanted.matches_value(marks.value) => {
                let detail = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid(&marks.path, marks.value.clone(), detail));
            }
            Ok(_) => {}
        }
    }
    let pod = template.child("spec");
    podspec::validate(&pod, errors);
    let policy = pod.child("restartPolicy");
    policy.one_of(&["Always"], errors);
    let deadline = pod.child("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.push(deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
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

//! What Deployment and ReplicaSet share: a selector, a pod template, a scale.

use serde_json::Value;

use crate::resource::{Subresource, Verb};
use crate::table;
use crate::value::at;

/// `scale`.
pub(super) const SCALE: Subresource = Subresource {
    name: "scale",
    kind: ("autoscaling", "v1", "Scale"),
    verbs: &[Verb::Get, Verb::Patch, Verb::Update],
};

/// The cells of the `-o wide` columns Containers, Images, Selector.
pub(super) fn wide_cells(object: &Value) -> [Value; 3] {
    let [names, images] = table::containers_and_images(at(object, "spec.template.spec"));
    let selector = table::selector_text(at(object, "spec.selector"));
    [names, images, table::text_or(&selector, "<none>").into()]
}

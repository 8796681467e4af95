//! `DeviceClass`.

use serde_json::Value;

use super::{CLUSTER, rules};
use crate::resource::Resource;
use crate::validation::{At, Errors, names};

/// The row.
pub const DEVICE_CLASS: Resource = Resource {
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    validate,
    answers_deleted: true,
    ..CLUSTER
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(class).child("spec");
    rules::selectors(&spec.child("selectors"), &mut errors);
    let config = spec.child("config");
    rules::limited(&config, rules::LIST_MAX, &mut errors);
    config.items().for_each(|each| rules::configuration(&each, &mut errors));
    let extended = spec.child("extendedResourceName");
    if extended.is_set() && !is_extended(extended.text()) {
        errors.push(extended.invalid("must be a valid extended resource name"));
    }
    errors
}

/// `example.com/gpu`: neither one of Kubernetes' own nor a quota's.
fn is_extended(name: &str) -> bool {
    let own = name.split_once('/').is_none_or(|(domain, _)| domain.contains("kubernetes.io"));
    !own && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

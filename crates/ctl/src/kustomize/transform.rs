//! What a layer does to all of its objects: namespace, prefix, suffix, labels, annotations, images,
//! replicas.

use onggi_machinery::resource;
use onggi_machinery::value::{is_set, items_mut, map_mut, set, str_at};
use serde_json::{Map, Value};

use super::Error;
use super::file::Image;
use super::layer::{Layer, Resource};

/// Kinds of the cluster that other servers have.
const CLUSTER_KINDS: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Kinds whose names others rely on.
const KEEP_NAME: &[&str] = &["CustomResourceDefinition", "Namespace", "APIService"];

/// Kinds with templates, and where they are.
const TEMPLATES: &[(&str, &str)] = &[
    ("CronJob", "spec.jobTemplate"),
    ("CronJob", "spec.jobTemplate.spec.template"),
    ("DaemonSet", "spec.template"),
    ("Deployment", "spec.template"),
    ("Job", "spec.template"),
    ("ReplicaSet", "spec.template"),
    ("ReplicationController", "spec.template"),
    ("StatefulSet", "spec.template"),
];

/// Where kinds select by labels, and whether that is made where it is missing.
const SELECTORS: &[(&str, &str, bool)] = &[
    ("CronJob", "spec.jobTemplate.spec.selector.matchLabels", false),
    ("DaemonSet", "spec.selector.matchLabels", true),
    ("Deployment", "spec.selector.matchLabels", true),
    ("Job", "spec.selector.matchLabels", false),
    ("NetworkPolicy", "spec.podSelector.matchLabels", false),
    ("PodDisruptionBudget", "spec.selector.matchLabels", false),
    ("ReplicaSet", "spec.selector.matchLabels", true),
    ("ReplicationController", "spec.selector", true),
    ("Service", "spec.selector", true),
    ("StatefulSet", "spec.selector.matchLabels", true),
];

const SCALED: &[&str] = &["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// Namespace, prefix, suffix, labels, annotations.
pub(super) fn all(layer: &Layer<'_>, resources: &mut [Resource]) {
    let says = &layer.says;
    for resource in resources.iter_mut() {
        if !says.namespace.is_empty() {
            namespace(resource, &says.namespace);
        }
        let is_renamed = !(says.name_prefix.is_empty() && says.name_suffix.is_empty());
        if is_renamed && !KEEP_NAME.contains(&resource.kind()) {
            let name = format!("{}{}{}", says.name_prefix, resource.name(), says.name_suffix);
            resource.rename(name);
        }
        for labels in &says.labels {
            set_labels(
                &mut resource.value,
                &labels.pairs,
                labels.include_selectors,
                labels.include_templates || labels.include_selectors,
            );
        }
        set_labels(&mut resource.value, &says.common_labels, true, true);
        annotate(&mut resource.value, &says.common_annotations);
    }
}

fn namespace(resource: &mut Resource, namespace: &str) {
    match resource.kind() {
        "Namespace" => resource.rename(namespace.to_owned()),
        kind if is_of_cluster(&resource.value, kind) => {}
        _ => set(&mut resource.value, "metadata.namespace", namespace),
    }
    if let Some(Value::Array(subjects)) = resource.value.get_mut("subjects") {
        for subject in subjects.iter_mut() {
            let is_default = str_at(subject, "name") == "default";
            if str_at(subject, "kind") == "ServiceAccount" && is_default {
                subject["namespace"] = namespace.into();
            }
        }
    }
}

fn is_of_cluster(value: &Value, kind: &str) -> bool {
    let api_version = str_at(value, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    match resource::by_kind(group, version, kind) {
        Some(row) => !row.namespaced(),
        None => CLUSTER_KINDS.contains(&kind),
    }
}

fn set_labels(value: &mut Value, pairs: &Map<String, Value>, selectors: bool, templates: bool) {
    if pairs.is_empty() {
        return;
    }
    map_mut(value, "metadata.labels").extend(texts(pairs));
    let kind = str_at(value, "kind").to_owned();
    for path in templates_of(&kind).filter(|_| templates) {
        map_mut(value, &format!("{path}.metadata.labels")).extend(texts(pairs));
    }
    if templates && kind == "StatefulSet" {
        for claim in items_mut(value, "spec.volumeClaimTemplates") {
            map_mut(claim, "metadata.labels").extend(texts(pairs));
        }
    }
    if selectors && let Some((_, path, makes)) = SELECTORS.iter().find(|(k, _, _)| *k == kind) {
        // A service without a selector has its endpoints from elsewhere.
        let makes = *makes && kind != "Service";
        if makes || is_set(value, path) {
            map_mut(value, path).extend(texts(pairs));
        }
    }
}

fn annotate(value: &mut Value, pairs: &Map<String, Value>) {
    if pairs.is_empty() {
        return;
    }
    map_mut(value, "metadata.annotations").extend(texts(pairs));
    let kind = str_at(value, "kind").to_owned();
    for path in templates_of(&kind) {
        map_mut(value, &format!("{path}.metadata.annotations")).extend(texts(pairs));
    }
}

fn templates_of(kind: &str) -> impl Iterator<Item = &'static str> + use<'_> {
    TEMPLATES.iter().filter(move |(of, _)| *of == kind).map(|(_, path)| *path)
}

/// Labels and annotations are texts, whatever YAML made of them.
fn texts(pairs: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> + '_ {
    pairs.iter().map(|(key, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (key.clone(), Value::from(text))
    })
}

/// `replicas`.
pub(super) fn replicas(layer: &Layer<'_>, resources: &mut [Resource]) -> Result<(), Error> {
    for replicas in &layer.says.replicas {
        let mut found = false;
        for resource in resources.iter_mut() {
            if SCALED.contains(&resource.kind()) && resource.is_called(&replicas.name) {
                set(&mut resource.value, "spec.replicas", replicas.count);
                found = true;
            }
        }
        if !found {
            return Err(layer.fault(format!(
                "replicas: resource with name {} does not match any of {}",
                replicas.name,
                SCALED.join(", ")
            )));
        }
    }
    Ok(())
}

/// `images`.
pub(super) fn images(layer: &Layer<'_>, resources: &mut [Resource]) {
    for image in &layer.says.images {
        for resource in resources.iter_mut() {
            if resource.kind() != "CustomResourceDefinition" {
                set_images(&mut resource.value, image);
            }
        }
    }
}

/// Of all containers, wherever they stand.
fn set_images(value: &mut Value, image: &Image) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if matches!(key.as_str(), "containers" | "initContainers") {
                    for container in value.as_array_mut().into_iter().flatten() {
                        let new = replaced(str_at(container, "image"), image);
                        if let Some(new) = new {
                            container["image"] = new.into();
                        }
                    }
                }
                set_images(value, image);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_images(item, image)),
        _ => {}
    }
}

fn replaced(old: &str, image: &Image) -> Option<String> {
    let (rest, digest) = match old.split_once('@') {
        Some((rest, digest)) => (rest, digest),
        None => (old, ""),
    };
    // A colon before the last slash belongs to the registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (rest, ""),
    };
    if name != image.name {
        return None;
    }
    let name = if image.new_name.is_empty() { name } else { &image.new_name };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") => (tag, digest),
        (_, new) if !new.is_empty() => ("", new),
        (new, _) => (new, ""),
    };
    let mut new = name.to_owned();
    if !tag.is_empty() {
        new += &format!(":{tag}{}", image.tag_suffix);
    }
    if !digest.is_empty() {
        new += &format!("@{digest}");
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_replaced() {
        let image = |new_name: &str, new_tag: &str, digest: &str| Image {
            name: "r:5000/a".to_owned(),
            new_name: new_name.to_owned(),
            new_tag: new_tag.to_owned(),
            digest: digest.to_owned(),
            ..Image::default()
        };
        for (old, image, new) in [
            ("r:5000/a:1", image("", "2", ""), Some("r:5000/a:2")),
            ("r:5000/a", image("b", "", ""), Some("b")),
            ("r:5000/a:1@sha256:x", image("b", "", ""), Some("b:1@sha256:x")),
            ("r:5000/a:1", image("", "2", "sha256:y"), Some("r:5000/a@sha256:y")),
            ("r:5000/ab:1", image("", "2", ""), None),
        ] {
            assert_eq!(replaced(old, &image).as_deref(), new, "{old}");
        }
    }
}

//! What a layer does to all of its objects: namespace, prefix, suffix, labels, annotations, images,
//! replicas. Each stands alone, so that files of `transformers` can use it with other fields.

use onggi_machinery::pattern;
use onggi_machinery::value::{set, str_at};
use regex::Regex;
use serde_json::{Map, Value};

use super::config::{self, Config};
use super::fieldspec::{FieldSpec, Leaf};
use super::file::{Image, Labels, Replicas, Texts, values};
use super::id::Gvk;
use super::resource::Resource;

/// Why it cannot be; the caller names the file.
type Done = Result<(), String>;

/// Whose namespace is set among the subjects of bindings.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Subjects {
    /// Those called `default`.
    #[default]
    DefaultOnly,
    /// All service accounts.
    AllServiceAccounts,
    /// None.
    None,
}

/// `namespace`.
#[derive(Debug)]
pub(super) struct Namespace<'a> {
    pub(super) name: &'a str,
    pub(super) specs: &'a [FieldSpec],
    pub(super) unset_only: bool,
    pub(super) subjects: Subjects,
}

impl Namespace<'_> {
    pub(super) fn apply(&self, resources: &mut [Resource]) -> Done {
        for at in 0..resources.len() {
            let resource = &mut resources[at];
            resource.remember();
            self.one(&mut resource.value)?;
            let id = resources[at].id();
            if resources.iter().filter(|other| other.id().equals(&id)).count() > 1 {
                return Err(format!("namespace transformation produces ID conflict: {id}"));
            }
        }
        Ok(())
    }

    fn one(&self, value: &mut Value) -> Done {
        let gvk = Gvk::of(value);
        let is_free = |old: &str| !self.unset_only || old.is_empty();
        if !gvk.is_of_cluster() && is_free(str_at(value, "metadata.namespace")) {
            set(value, "metadata.namespace", self.name);
        }
        if gvk.kind == "RoleBinding" || gvk.kind == "ClusterRoleBinding" {
            for subject in value["subjects"].as_array_mut().into_iter().flatten() {
                let is_meant = match self.subjects {
                    Subjects::None => false,
                    Subjects::DefaultOnly => str_at(subject, "name") == "default",
                    Subjects::AllServiceAccounts => str_at(subject, "kind") == "ServiceAccount",
                };
                if is_meant && is_free(str_at(subject, "namespace")) {
                    subject["namespace"] = self.name.into();
                }
            }
        }
        for spec in self.specs {
            let is_done = spec.path == "metadata/namespace"
                || (spec.path == "metadata/name" && str_at(value, "apiVersion") != "v1")
                || (spec.path == "subjects/namespace" && gvk.kind.ends_with("Binding"));
            if is_done {
                continue;
            }
            spec.visit(value, Leaf::Scalar, &mut |field| {
                if is_free(field.as_str().unwrap_or_default()) {
                    *field = self.name.into();
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Kinds whose names others rely on.
fn keeps_name(gvk: &Gvk) -> bool {
    gvk.kind == "CustomResourceDefinition"
        || gvk.kind == "Namespace"
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

/// `namePrefix`, `nameSuffix`.
pub(super) fn affix(
    resources: &mut [Resource],
    prefix: &str,
    suffix: &str,
    specs: &[FieldSpec],
) -> Done {
    for resource in resources {
        let first = resource.first_id();
        if keeps_name(&first.gvk) {
            continue;
        }
        for spec in specs.iter().filter(|spec| spec.fits(&first.gvk)) {
            if spec.path == "metadata/name" {
                for (affix, known) in
                    [(prefix, &mut resource.prefixes), (suffix, &mut resource.suffixes)]
                {
                    if !affix.is_empty() {
                        known.push(affix.to_owned());
                    }
                }
                if !(prefix.is_empty() && suffix.is_empty()) {
                    resource.remember();
                }
            }
            spec.visit(&mut resource.value, Leaf::None, &mut |field| {
                if let Some(name) = field.as_str() {
                    *field = format!("{prefix}{name}{suffix}").into();
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Labels or annotations, at the fields of the specs.
pub(super) fn add_pairs(resources: &mut [Resource], pairs: &Texts, specs: &[FieldSpec]) -> Done {
    if pairs.is_empty() {
        return Ok(());
    }
    let pairs = values(pairs);
    for resource in resources {
        for spec in specs {
            spec.visit(&mut resource.value, Leaf::Map, &mut |field| extend(field, &pairs))?;
        }
    }
    Ok(())
}

fn extend(field: &mut Value, pairs: &Map<String, Value>) -> Done {
    match field {
        Value::Object(map) => {
            map.extend(pairs.clone());
            Ok(())
        }
        Value::Null => {
            *field = Value::Object(pairs.clone());
            Ok(())
        }
        _ => Err("is no map".to_owned()),
    }
}

/// The fields of an entry of `labels`.
pub(super) fn label_specs(labels: &Labels, config: &Config) -> Result<Vec<FieldSpec>, String> {
    let mut specs = labels.fields.clone();
    config::merge(&mut specs, config.labels.clone())?;
    if labels.include_selectors {
        config::merge(&mut specs, config.common_labels.clone())?;
    } else {
        if labels.include_templates {
            config::merge(&mut specs, config.template_labels.clone())?;
        }
        config::merge(&mut specs, vec![FieldSpec::new("", "metadata/labels", true)])?;
    }
    Ok(specs)
}

/// `replicas`.
pub(super) fn replicas(
    resources: &mut [Resource],
    replicas: &Replicas,
    specs: &[FieldSpec],
) -> Done {
    let mut found = false;
    for spec in specs {
        for resource in resources.iter_mut() {
            let fits = |id: &super::id::Id| id.name == replicas.name && spec.fits(&id.gvk);
            if !resource.ids().iter().any(fits) {
                continue;
            }
            found = true;
            spec.visit(&mut resource.value, Leaf::Scalar, &mut |field| {
                *field = replicas.count.into();
                Ok(())
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds = specs.iter().map(|spec| {
        let [group, version, kind] = [&spec.group, &spec.version, &spec.kind].map(String::clone);
        Gvk { group, version, kind }.to_string()
    });
    Err(format!(
        "resource with name {} does not match a config with the following GVK [{}]",
        replicas.name,
        kinds.collect::<Vec<_>>().join(" ")
    ))
}

/// `images`: of all containers wherever they stand, then of the fields of the specs.
pub(super) fn images(resources: &mut [Resource], image: &Image, specs: &[FieldSpec]) -> Done {
    let pattern = pattern::compile(&format!(
        "^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$",
        image.name
    ))
    .map_err(|e| format!("name {:?}: {e}", image.name))?;
    for resource in resources {
        if resource.kind() != "CustomResourceDefinition" {
            of_containers(&mut resource.value, &pattern, image);
        }
        for spec in specs {
            // Other kinds may have other things there.
            let _not_there = spec.visit(&mut resource.value, Leaf::None, &mut |field| {
                if let Some(new) = field.as_str().and_then(|old| replaced(old, &pattern, image)) {
                    *field = new.into();
                }
                Ok(())
            });
        }
    }
    Ok(())
}

fn of_containers(value: &mut Value, pattern: &Regex, image: &Image) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                of_containers(value, pattern, image);
                if !matches!(key.as_str(), "containers" | "initContainers") {
                    continue;
                }
                for container in value.as_array_mut().into_iter().flatten() {
                    if let Some(new) = replaced(str_at(container, "image"), pattern, image) {
                        container["image"] = new.into();
                    }
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| of_containers(item, pattern, image));
        }
        _ => {}
    }
}

fn replaced(old: &str, pattern: &Regex, image: &Image) -> Option<String> {
    if !pattern.is_match(old) {
        return None;
    }
    let (rest, digest) = match old.split_once('@') {
        Some((rest, digest)) => (rest, digest),
        None => (old, ""),
    };
    // A colon before the last slash belongs to the registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (rest, ""),
    };
    let name = if image.new_name.is_empty() { name } else { &image.new_name };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") if image.tag_suffix.is_empty() => (tag.to_owned(), digest),
        ("", "") => (format!("{tag}{}", image.tag_suffix), ""),
        ("", new) => (String::new(), new),
        (new, digest) => (new.to_owned(), digest),
    };
    let mut new = name.to_owned();
    if !tag.is_empty() {
        new += &format!(":{tag}");
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
            new_name: new_name.to_owned(),
            new_tag: new_tag.to_owned(),
            digest: digest.to_owned(),
            ..Image::default()
        };
        let pattern = Regex::new("^r:5000/a(:[a-z0-9]*)?(@sha256:[a-z0-9]*)?$").unwrap();
        for (old, image, new) in [
            ("r:5000/a:1", image("", "2", ""), Some("r:5000/a:2")),
            ("r:5000/a", image("b", "", ""), Some("b")),
            ("r:5000/a:1@sha256:x", image("b", "", ""), Some("b:1@sha256:x")),
            ("r:5000/a:1", image("", "", "sha256:y"), Some("r:5000/a@sha256:y")),
            ("r:5000/ab:1", image("", "2", ""), None),
        ] {
            assert_eq!(replaced(old, &pattern, &image).as_deref(), new, "{old}");
        }
    }
}

//! Patches of a layer: strategic merges and JSON patches (RFC 6902), with targets.

use onggi_api::schema::{self, Schema};
use onggi_machinery::patch::{PatchType, apply, strategic_merge};
use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::{entries_at, str_at};
use onggi_machinery::yaml;
use serde_json::Value;

use super::Error;
use super::file::{Patch, Target};
use super::layer::{Layer, Resource};

/// `patchesStrategicMerge`: files, or the patches themselves.
pub(super) fn strategic(layer: &Layer<'_>, resources: &mut Vec<Resource>) -> Result<(), Error> {
    let field = "patchesStrategicMerge";
    for entry in &layer.says.patches_strategic_merge {
        let is_inline = entry.contains('\n') || entry.trim_start().starts_with('{');
        let text = if is_inline { entry.clone() } else { layer.text(field, entry)? };
        let place = if is_inline { field.to_owned() } else { format!("{field}: {entry}") };
        for document in documents(layer, &place, &text)? {
            merge_into_named(layer, &place, document, resources)?;
        }
    }
    Ok(())
}

/// `patches` and `patchesJson6902`.
pub(super) fn all(
    layer: &Layer<'_>,
    field: &str,
    patches: &[Patch],
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for (number, patch) in patches.iter().enumerate() {
        let place = format!("{field}[{number}]");
        let text = match (patch.path.is_empty(), patch.patch.is_empty()) {
            (false, true) => layer.text(&place, &patch.path)?,
            (true, false) => patch.patch.clone(),
            _ => {
                return Err(
                    layer.fault(format!("{place}: must have exactly one of path and patch"))
                );
            }
        };
        for document in documents(layer, &place, &text)? {
            match (&document, &patch.target) {
                (Value::Array(_), None) => {
                    return Err(layer.fault(format!("{place}: target is missing for a JSON patch")));
                }
                (_, None) => merge_into_named(layer, &place, document, resources)?,
                (_, Some(target)) => {
                    let named = wants_new_name(patch);
                    to_targets(layer, &place, target, &document, named, resources)?;
                }
            }
        }
    }
    Ok(())
}

fn wants_new_name(patch: &Patch) -> bool {
    patch.options.get("allowNameChange") == Some(&Value::Bool(true))
}

fn documents(layer: &Layer<'_>, place: &str, text: &str) -> Result<Vec<Value>, Error> {
    let found =
        yaml::documents_of_kustomize(text).map_err(|e| layer.fault(format!("{place}: {e}")))?;
    Ok(found.into_iter().map(|document| document.value).collect())
}

/// A strategic merge for the object that it names itself.
fn merge_into_named(
    layer: &Layer<'_>,
    place: &str,
    patch: Value,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let (kind, name) =
        (str_at(&patch, "kind").to_owned(), str_at(&patch, "metadata.name").to_owned());
    let namespace = str_at(&patch, "metadata.namespace").to_owned();
    let group = |value: &Value| {
        str_at(value, "apiVersion").split_once('/').map_or(String::new(), |(g, _)| g.to_owned())
    };
    let wanted = group(&patch);
    let fits = |resource: &Resource| {
        let own = str_at(&resource.value, "metadata.namespace");
        resource.kind() == kind
            && resource.is_called(&name)
            && group(&resource.value) == wanted
            && (namespace.is_empty() || own == namespace)
    };
    let Some(at) = resources.iter().position(fits) else {
        return Err(layer.fault(format!(
            "{place}: no resource matches strategic merge patch \"{kind}/{name}\""
        )));
    };
    if patch.get("$patch") == Some(&Value::from("delete")) {
        resources.remove(at);
        return Ok(());
    }
    merge(&mut resources[at].value, &patch, false)
        .map_err(|text| layer.fault(format!("{place}: {kind}/{name}: {text}")))
}

fn to_targets(
    layer: &Layer<'_>,
    place: &str,
    target: &Target,
    patch: &Value,
    new_name: bool,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let wanted = Wanted::of(layer, place, target)?;
    let mut kept = Vec::with_capacity(resources.len());
    for mut resource in resources.drain(..) {
        if !wanted.fits(&resource) {
            kept.push(resource);
            continue;
        }
        let what = format!("{}/{}", resource.kind(), resource.name());
        let failed = |text: String| layer.fault(format!("{place}: {what}: {text}"));
        if patch.is_array() {
            let body = patch.to_string();
            apply(PatchType::Json, None, &mut resource.value, body.as_bytes())
                .map_err(|e| failed(e.to_string()))?;
        } else if patch.get("$patch") == Some(&Value::from("delete")) {
            continue;
        } else {
            let old = resource.name().to_owned();
            merge(&mut resource.value, patch, !new_name).map_err(failed)?;
            if resource.name() != old {
                resource.before.push(old);
            }
        }
        kept.push(resource);
    }
    *resources = kept;
    Ok(())
}

struct Wanted<'a> {
    target: &'a Target,
    labels: Option<LabelSelector>,
    annotations: Option<LabelSelector>,
}

impl<'a> Wanted<'a> {
    fn of(layer: &Layer<'_>, place: &str, target: &'a Target) -> Result<Self, Error> {
        let read = |field: &str, text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            let parsed = LabelSelector::parse(text);
            parsed.map(Some).map_err(|e| layer.fault(format!("{place}.target.{field}: {e}")))
        };
        Ok(Self {
            target,
            labels: read("labelSelector", &target.label_selector)?,
            annotations: read("annotationSelector", &target.annotation_selector)?,
        })
    }

    fn fits(&self, resource: &Resource) -> bool {
        let api_version = str_at(&resource.value, "apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let target = self.target;
        let map = |path: &str| {
            entries_at(&resource.value, path)
                .map(|(key, value)| (key.to_owned(), value.as_str().unwrap_or_default().to_owned()))
                .collect()
        };
        let names = resource.before.iter().map(String::as_str).chain([resource.name()]);
        matches(&target.group, group)
            && matches(&target.version, version)
            && matches(&target.kind, resource.kind())
            && matches(&target.namespace, str_at(&resource.value, "metadata.namespace"))
            && names.into_iter().any(|name| matches(&target.name, name))
            && self.labels.as_ref().is_none_or(|s| s.matches(&map("metadata.labels")))
            && self.annotations.as_ref().is_none_or(|s| s.matches(&map("metadata.annotations")))
    }
}

/// The patterns that people write: `name`, `.*`, `web.*`, `a|b`. An empty one fits everything.
fn matches(pattern: &str, text: &str) -> bool {
    let bare = pattern.trim_start_matches('^').trim_end_matches('$');
    let bare = bare.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(bare);
    pattern.is_empty() || bare.split('|').any(|one| wild(one, text))
}

/// `.*` and `*` stand for any text.
fn wild(pattern: &str, text: &str) -> bool {
    let plain = pattern.replace(".*", "*").replace("\\.", ".");
    let mut parts = plain.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A strategic merge as Kustomize does it: in lists with a key, what a patch names comes first, in
/// the patch's order. `keep_name`: the patch's own name and kind are only placeholders.
fn merge(object: &mut Value, patch: &Value, keep_name: bool) -> Result<(), String> {
    let api_version = str_at(object, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let schema = schema::of(group, version, str_at(object, "kind"));
    let before = object.clone();
    let mut body = patch.clone();
    if keep_name {
        body["apiVersion"] = before["apiVersion"].clone();
        body["kind"] = before["kind"].clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
        }
    }
    strategic_merge(schema, object, body).map_err(|e| e.to_string())?;
    reorder(schema, object, &before, patch);
    Ok(())
}

/// Puts the items that a patch names before the others.
fn reorder(schema: Option<Schema<'_>>, after: &mut Value, before: &Value, patch: &Value) {
    match (after, patch) {
        (Value::Object(after), Value::Object(patch)) => {
            for (key, patch) in patch {
                if let Some(after) = after.get_mut(key) {
                    let inner = schema.and_then(|schema| schema.child(key));
                    reorder(inner, after, before.get(key).unwrap_or(&Value::Null), patch);
                }
            }
        }
        (Value::Array(after), Value::Array(patch)) => {
            let key = schema.and_then(|s| s.list()).and_then(|list| list.merge_key.as_deref());
            let Some(key) = key else { return };
            let old = before.as_array().map_or(&[][..], Vec::as_slice);
            let item = schema.and_then(Schema::item);
            for one in after.iter_mut() {
                let twin = patch.iter().find(|p| p.get(key) == one.get(key));
                let was = old.iter().find(|o| o.get(key) == one.get(key));
                if let Some(twin) = twin {
                    reorder(item, one, was.unwrap_or(&Value::Null), twin);
                }
            }
            let place = |one: &Value| patch.iter().position(|p| p.get(key) == one.get(key));
            after.sort_by_key(|one| place(one).unwrap_or(patch.len()));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("", "x", true),
            ("web", "web", true),
            ("web", "web2", false),
            (".*", "x", true),
            ("web.*", "web2", true),
            (".*-db", "a-db", true),
            ("a|b", "b", true),
            ("^(a|b)$", "a", true),
            ("a.*c.*e", "abcde", true),
            ("a.*c.*e", "abde", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}

//! Patches of a layer: strategic merges and JSON patches (RFC 6902), with targets.

use onggi_api::schema::Schema;
use onggi_machinery::patch::{PatchError, PatchType, apply, strategic_merge};
use onggi_machinery::value::str_at;
use serde_json::Value;

use super::file::{Patch, PatchOptions, Target};
use super::id::{Gvk, Id};
use super::openapi::Definitions;
use super::patterns::{Patterns, Texts};
use super::reading;
use super::resource::Resource;

/// Which schema says how the lists of a kind are merged.
pub(super) type Schemas<'a> = &'a Definitions;

/// The documents of a patch.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let found = reading::documents(text).map_err(|e| e.to_string())?;
    Ok(found.into_iter().map(|document| document.value).collect())
}

/// One entry of `patches` or `patchesJson6902`, whose text was read.
pub(super) fn one(
    patch: &Patch,
    text: &str,
    schemas: Schemas<'_>,
    resources: &mut Vec<Resource>,
) -> Result<(), String> {
    let documents = documents(text)?;
    if let Some(Value::Array(_)) = documents.first() {
        let Some(target) = &patch.target else {
            return Err("target is missing for a JSON patch".to_owned());
        };
        let wanted = Wanted::of(target)?;
        for document in &documents {
            json(&wanted, document, resources)?;
        }
        return Ok(());
    }
    documents.iter().try_for_each(named)?;
    match &patch.target {
        None => documents
            .into_iter()
            .try_for_each(|document| merge_into_named(document, patch.options, schemas, resources)),
        Some(_) if documents.len() > 1 => Err("multiple strategic merge patches in one entry are \
                                               not allowed with a target"
            .to_owned()),
        Some(target) => {
            let wanted = Wanted::of(target)?;
            let Some(document) = documents.first() else { return Ok(()) };
            let mut kept = Vec::with_capacity(resources.len());
            for mut resource in resources.drain(..) {
                let fits = wanted.fits(&resource);
                let is_kept = !fits || merge(&mut resource, document, patch.options, schemas)?;
                if is_kept {
                    kept.push(resource);
                }
            }
            *resources = kept;
            Ok(())
        }
    }
}

/// Kustomize takes no strategic merge without a kind and a name, whatever its target.
fn named(patch: &Value) -> Result<(), String> {
    for field in ["kind", "metadata.name"] {
        if str_at(patch, field).is_empty() {
            return Err(format!("{field} is missing in the patch"));
        }
    }
    Ok(())
}

/// Strategic merges of several places for the objects that they name.
pub(super) fn merge_all(
    patches: Vec<(String, Vec<Value>)>,
    schemas: Schemas<'_>,
    resources: &mut Vec<Resource>,
) -> Result<(), String> {
    for (place, documents) in patches {
        for document in documents {
            merge_into_named(document, PatchOptions::default(), schemas, resources)
                .map_err(|e| format!("{place}: {e}"))?;
        }
    }
    Ok(())
}

/// A strategic merge for the object that it names itself.
fn merge_into_named(
    patch: Value,
    options: PatchOptions,
    schemas: Schemas<'_>,
    resources: &mut Vec<Resource>,
) -> Result<(), String> {
    let id = Id::of(&patch);
    named(&patch)?;
    let found: Vec<usize> = resources
        .iter()
        .enumerate()
        .filter(|(_, resource)| resource.is_called(&id))
        .map(|(at, _)| at)
        .collect();
    let at = match found.as_slice() {
        [at] => *at,
        [] => {
            return Err(format!("no resource matches strategic merge patch {:?}", id.to_string()));
        }
        _ => return Err(format!("multiple matches for Id {id}")),
    };
    if !merge(&mut resources[at], &patch, options, schemas)? {
        resources.remove(at);
    }
    Ok(())
}

fn json(wanted: &Wanted<'_>, patch: &Value, resources: &mut [Resource]) -> Result<(), String> {
    let operations = patch.as_array().map_or(&[][..], Vec::as_slice);
    for resource in resources.iter_mut().filter(|resource| wanted.fits(resource)) {
        let before = resource.id();
        resource.remember();
        for operation in operations {
            let body = Value::Array(vec![usual(operation, &resource.value)]).to_string();
            apply(PatchType::Json, None, &mut resource.value, body.as_bytes())
                .map_err(|e| format!("{}/{}: {}", before.gvk.kind, before.name, reason(e)))?;
        }
    }
    Ok(())
}

/// An operation as RFC 6902 has it: for Kustomize `replace` makes the field of a map that is not
/// there, and negative numbers count the items of a list from its end.
fn usual(operation: &Value, object: &Value) -> Value {
    let mut usual = operation.clone();
    for field in ["path", "from"] {
        let Some(pointer) = operation.get(field).and_then(Value::as_str) else { continue };
        let mut here = Some(object);
        let mut path = String::new();
        for part in pointer.split('/').skip(1) {
            let list = here.and_then(Value::as_array);
            let from_end = part.strip_prefix('-').and_then(|n| n.parse::<usize>().ok());
            let at = list.zip(from_end).and_then(|(list, n)| list.len().checked_sub(n));
            let part = at.map_or_else(|| part.to_owned(), |at| at.to_string());
            let name = part.replace("~1", "/").replace("~0", "~");
            let is_map = here.is_some_and(Value::is_object);
            here = here.and_then(|value| match value {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                value => value.get(&name),
            });
            path.push('/');
            path.push_str(&part);
            let is_last = path.matches('/').count() == pointer.matches('/').count();
            let replaces = field == "path" && operation.get("op") == Some(&"replace".into());
            if is_last && is_map && here.is_none() && replaces {
                usual["op"] = "add".into();
            }
        }
        usual[field] = path.into();
    }
    usual
}

/// Why a patch does not apply.
fn reason(error: PatchError) -> String {
    match error {
        // The server keeps it to itself, and the library counts single operations.
        PatchError::Unfit(reason) | PatchError::Test(reason) => {
            let reason = reason.strip_prefix("operation '/0' ").unwrap_or(&reason);
            format!("the JSON patch does not apply: {reason}")
        }
        other => other.to_string(),
    }
}

/// Which objects a target means.
pub(super) struct Wanted<'a> {
    target: &'a Target,
    patterns: Patterns,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(target: &'a Target) -> Result<Self, String> {
        let texts = Texts {
            gvk: &Gvk {
                group: target.group.clone(),
                version: target.version.clone(),
                kind: target.kind.clone(),
            },
            name: &target.name,
            namespace: &target.namespace,
            labels: &target.label_selector,
            annotations: &target.annotation_selector,
        };
        Ok(Self { target, patterns: Patterns::of("target", &texts)? })
    }

    pub(super) fn fits(&self, resource: &Resource) -> bool {
        let wanted = &self.patterns;
        let (now, first) = (resource.id(), resource.first_id());
        let namespace = |id: &Id| match id.effective_namespace() {
            // An empty text is what a target without a namespace means.
            "default" if id.namespace.is_empty() && self.target.namespace.is_empty() => {
                String::new()
            }
            namespace => namespace.to_owned(),
        };
        let is_at = |id: &Id| wanted.namespace.fits(&namespace(id));
        (wanted.name.fits(&first.name) || wanted.name.fits(&now.name))
            && (is_at(&first) || is_at(&now))
            && wanted.group.fits(&now.gvk.group)
            && wanted.version.fits(&now.gvk.version)
            && wanted.kind.fits(&now.gvk.kind)
            && wanted.selects(resource)
    }
}

/// A strategic merge as Kustomize does it: in lists with a key, what a patch names comes first, in
/// the patch's order. False: the object goes.
fn merge(
    resource: &mut Resource,
    patch: &Value,
    options: PatchOptions,
    schemas: Schemas<'_>,
) -> Result<bool, String> {
    if patch.get("$patch") == Some(&Value::from("delete")) {
        return Ok(false);
    }
    let gvk = resource.gvk();
    if options.allow_name_change || options.allow_kind_change {
        resource.remember();
    }
    let schema = schemas.of(&gvk);
    let before = resource.value.clone();
    let mut body = patch.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("apiVersion");
        if !options.allow_kind_change {
            map.remove("kind");
        }
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
            if !options.allow_name_change {
                metadata.remove("name");
            }
        }
    }
    let what = || format!("{}/{}", gvk.kind, resource_name(&before));
    strategic_merge(schema, &mut resource.value, body.clone())
        .map_err(|e| format!("{}: {e}", what()))?;
    reorder(schema, &mut resource.value, &before, &body);
    Ok(true)
}

fn resource_name(value: &Value) -> &str {
    str_at(value, "metadata.name")
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

//! `apply`: three-way merges by the last-applied annotation, as kubectl does on the client.

use bytes::Bytes;
use onggi_api::schema;
use onggi_client::{Body, Client, PatchKind, Request};
use onggi_machinery::conversion::version_of;
use onggi_machinery::patch::{PatchType, three_way_merge};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{at, map_mut, str_at};
use serde_json::{Value, json};

use crate::discovery::{Mapper, Mapping};
use crate::error::Error;
use crate::output::json::compact;
use crate::select::DryRun;
use crate::session::value_of;

/// Where the manifest of the last `apply` is kept.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The same manager as kubectl, so that both take turns on one object.
const MANAGER: &str = "kubectl-client-side-apply";

/// How to apply.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For objects that name none.
    pub namespace: String,
    /// Tried out only.
    pub dry_run: DryRun,
    /// The server merges (server-side apply).
    pub server_side: bool,
    /// Take fields from their managers.
    pub force_conflicts: bool,
    /// The manager of a server-side apply; empty: `kubectl`.
    pub field_manager: String,
    /// `fieldValidation`; empty: `Strict`.
    pub validation: String,
    /// Part of the object; empty: all of it.
    pub subresource: String,
    /// What cannot be changed is deleted and created anew (`--force`).
    pub recreate: bool,
    /// The object is only to be seen beside the one there is (`diff`): it keeps the annotation
    /// that it has, and the revision that the manifest names does not matter.
    pub compare: bool,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It changed.
    Configured,
    /// Nothing was sent.
    Unchanged,
    /// The server merged it.
    ServerSideApplied,
}

/// An object that was applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// `deployment.apps`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// As the server has it now.
    pub object: Value,
    /// The server's advice, and ours.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// kubectl's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::ServerSideApplied => "serverside-applied",
        }
    }
}

/// Applies objects one after the other to a server of our own, and tells of each; the first error
/// ends it.
pub async fn objects(
    client: &Client,
    values: Vec<Value>,
    namespace: &str,
    mut progress: impl FnMut(&Applied),
) -> Result<Vec<Applied>, Error> {
    let mapper = Mapper::builtin();
    let options = Options { namespace: namespace.to_owned(), ..Options::default() };
    let mut done = Vec::with_capacity(values.len());
    for value in values {
        let applied = object(client, &mapper, &options, value, "").await?;
        progress(&applied);
        done.push(applied);
    }
    Ok(done)
}

/// Applies one object. `source` is the file that errors name.
pub async fn object(
    client: &Client,
    mapper: &Mapper,
    options: &Options,
    mut manifest: Value,
    source: &str,
) -> Result<Applied, Error> {
    let mut warnings = modernize(&mut manifest);
    let mapping = mapper.of_object(&manifest, source)?;
    let namespace = place(mapping, &mut manifest, options)?;
    let name = str_at(&manifest, "metadata.name").to_owned();
    if name.is_empty() {
        let kind = str_at(&manifest, "kind");
        return Err(Error::new(format!("{source}: {kind}: metadata.name is missing")));
    }
    let task = Task { client, mapping, options, namespace: &namespace, name: &name, source };
    let (outcome, object, said) = if options.server_side {
        task.server_side(&manifest).await?
    } else {
        task.client_side(manifest).await?
    };
    warnings.extend(said);
    Ok(Applied { kind: mapping.label(), name, outcome, object, warnings })
}

/// Reads kinds of old versions as new ones; gives the warnings.
pub(crate) fn modernize(manifest: &mut Value) -> Vec<String> {
    let (group, version) = match str_at(manifest, "apiVersion").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), str_at(manifest, "apiVersion").to_owned()),
    };
    let kind = str_at(manifest, "kind").to_owned();
    match version_of(&group, &version, &kind).filter(|legacy| legacy.resource().is_some()) {
        Some(legacy) => legacy.to_current(manifest),
        None => Vec::new(),
    }
}

/// Sets the namespace where the object names none; the namespace of the request.
pub(crate) fn place(
    mapping: &Mapping,
    manifest: &mut Value,
    options: &Options,
) -> Result<String, Error> {
    if !mapping.namespaced {
        return Ok(String::new());
    }
    match str_at(manifest, "metadata.namespace") {
        "" => {
            let namespace = options.namespace.as_str();
            map_mut(manifest, "metadata").insert("namespace".to_owned(), namespace.into());
            Ok(namespace.to_owned())
        }
        own => Ok(own.to_owned()),
    }
}

/// The manifest with itself, without that, as annotation.
pub(crate) fn annotate(manifest: &mut Value) {
    let annotations = map_mut(manifest, "metadata.annotations");
    annotations.remove(LAST_APPLIED);
    let text = compact(manifest) + "\n";
    map_mut(manifest, "metadata.annotations").insert(LAST_APPLIED.to_owned(), text.into());
}

/// Takes the annotation of an `apply` from a manifest.
fn forget(manifest: &mut Value) {
    map_mut(manifest, "metadata.annotations").remove(LAST_APPLIED);
}

struct Task<'a> {
    client: &'a Client,
    mapping: &'a Mapping,
    options: &'a Options,
    namespace: &'a str,
    name: &'a str,
    source: &'a str,
}

type Done = (Outcome, Value, Vec<String>);

impl Task<'_> {
    async fn client_side(&self, mut manifest: Value) -> Result<Done, Error> {
        if self.options.compare {
            forget(&mut manifest);
        } else {
            annotate(&mut manifest);
        }
        let current = match self.send(self.request(Verb::Get, self.name)).await {
            Ok((current, _)) => current,
            Err(error) if error.is_not_found() => return self.create(manifest).await,
            Err(error) => {
                return Err(error.about("retrieving current configuration of", self.source));
            }
        };
        if self.options.compare && !at(&manifest, "metadata.resourceVersion").is_null() {
            let revision = str_at(&current, "metadata.resourceVersion");
            manifest["metadata"]["resourceVersion"] = revision.into();
        }
        let mut warnings = Vec::new();
        let last = at(&current, "metadata.annotations").get(LAST_APPLIED).and_then(Value::as_str);
        if last.is_none() {
            warnings.push(format!(
                "resource {}/{} is missing the {LAST_APPLIED} annotation which is required by \
                 kubectl apply. kubectl apply should only be used on resources created \
                 declaratively by either kubectl create --save-config or kubectl apply. The \
                 missing annotation will be patched automatically.",
                self.mapping.plural, self.name
            ));
        }
        let original: Value = last
            .map_or(Ok(json!({})), serde_json::from_str)
            .map_err(|e| Error::new(format!("annotation {LAST_APPLIED} is no JSON: {e}")))?;
        let schema = schema::of(&self.mapping.group, &self.mapping.version, &self.mapping.kind);
        let patch = three_way_merge(schema, &original, &manifest, &current)
            .map_err(|e| Error::new(e.to_string()).about("creating patch for", self.source))?;
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok((Outcome::Unchanged, current, warnings));
        }
        if self.options.dry_run == DryRun::Client {
            let kind = if schema.is_some() { PatchType::Strategic } else { PatchType::Merge };
            let mut merged = current;
            onggi_machinery::patch::apply(kind, schema, &mut merged, patch.to_string().as_bytes())
                .map_err(|e| Error::new(e.to_string()).about("applying patch", self.source))?;
            return Ok((Outcome::Configured, merged, warnings));
        }
        let kind = if schema.is_some() { PatchKind::Strategic } else { PatchKind::Merge };
        let request = self.request(Verb::Patch, self.name);
        let request = self.writing(request.body(Body::Patch(kind, Bytes::from(patch.to_string()))));
        let (object, said) = match self.send(request).await {
            Ok(sent) => sent,
            Err(error) if self.options.recreate && refuses_change(&error) => {
                let (_, object, said) = self.recreate(manifest, &current).await?;
                warnings.extend(said);
                return Ok((Outcome::Configured, object, warnings));
            }
            Err(error) => return Err(error.about("applying patch", self.source)),
        };
        warnings.extend(said);
        // A patch of defaults that the server had set already changes nothing.
        let same = str_at(&object, "metadata.resourceVersion")
            == str_at(&current, "metadata.resourceVersion");
        let outcome = if same && self.options.dry_run == DryRun::None {
            Outcome::Unchanged
        } else {
            Outcome::Configured
        };
        Ok((outcome, object, warnings))
    }

    async fn create(&self, manifest: Value) -> Result<Done, Error> {
        if self.options.dry_run == DryRun::Client {
            return Ok((Outcome::Created, manifest, Vec::new()));
        }
        let request = self.writing(self.request(Verb::Create, "").body(Body::Object(manifest)));
        let (object, said) =
            self.send(request).await.map_err(|e| e.about("creating", self.source))?;
        Ok((Outcome::Created, object, said))
    }

    /// Deletes the object, waits until it is gone, creates it.
    async fn recreate(&self, mut manifest: Value, current: &Value) -> Result<Done, Error> {
        let mut request = self.request(Verb::Delete, self.name);
        request.write.propagation_policy = "Background".to_owned();
        self.send(request).await.map_err(|e| e.about("deleting", self.source))?;
        let uid = str_at(current, "metadata.uid");
        let client = self.client;
        crate::select::until(client, self.mapping, self.namespace, self.name, |value| {
            Ok(value.is_none_or(|value| str_at(value, "metadata.uid") != uid))
        })
        .await?;
        if let Some(metadata) = manifest["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        self.create(manifest).await
    }

    async fn server_side(&self, manifest: &Value) -> Result<Done, Error> {
        let body = Body::Patch(PatchKind::Apply, Bytes::from(manifest.to_string()));
        let mut request = self.writing(self.request(Verb::Patch, self.name).body(body));
        request.write.force = self.options.force_conflicts;
        let manager = self.options.field_manager.as_str();
        let manager = if manager.is_empty() { "kubectl" } else { manager };
        manager.clone_into(&mut request.write.field_manager);
        let (object, said) = self.send(request).await?;
        Ok((Outcome::ServerSideApplied, object, said))
    }

    fn request(&self, verb: Verb, name: &str) -> Request {
        let part = if name.is_empty() { "" } else { self.options.subresource.as_str() };
        Request::new(verb, self.mapping.gvr(), self.namespace, name).subresource(part)
    }

    fn writing(&self, mut request: Request) -> Request {
        let validation = self.options.validation.as_str();
        let validation = if validation.is_empty() { "Strict" } else { validation };
        validation.clone_into(&mut request.write.field_validation);
        let manager = self.options.field_manager.as_str();
        let manager = if manager.is_empty() { MANAGER } else { manager };
        manager.clone_into(&mut request.write.field_manager);
        request.write.dry_run = self.options.dry_run == DryRun::Server;
        request
    }

    async fn send(&self, request: Request) -> Result<(Value, Vec<String>), Error> {
        Ok(value_of(self.client.call(request).await?)?)
    }
}

/// Whether only a new object can be as it is wanted.
fn refuses_change(error: &Error) -> bool {
    match error {
        Error::Api(error) => {
            error.is_conflict() || error.status().is_some_and(|status| status.reason == "Invalid")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubectl 1.32 wrote for the same manifest.
    #[test]
    fn the_annotation_is_kubectls() {
        let mut manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "<b>"},
            "metadata": {"name": "c", "namespace": "default"},
        });
        annotate(&mut manifest);
        annotate(&mut manifest);
        let text = "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"\\u003cb\\u003e\"},\"kind\":\
                    \"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"c\",\"namespace\":\
                    \"default\"}}\n";
        assert_eq!(manifest["metadata"]["annotations"][LAST_APPLIED], text);
    }
}

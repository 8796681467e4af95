//! An object as the store, the watch cache and every informer hold it: canonical JSON bytes beside
//! a small parsed head (DESIGN decision 5).
//!
//! Reads copy bytes; only a write parses to a [`Value`]. The resource version is known only when
//! the store has committed, so stored bytes do not carry it: [`encode`] writes `kind`,
//! `apiVersion` and `metadata` first, and the version is written behind `"metadata":{` by whoever
//! reads the object. So the store and the watch cache share one copy of it.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::decimal::Decimal;
use crate::{fields, json};

/// A parsed head: what lists, selectors, indexes and garbage collection need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`; 0 when it was never stored.
    pub resource_version: u64,
    /// `metadata.generation`; 0 where the kind has none.
    pub generation: i64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.ownerReferences`.
    pub owner_references: Vec<OwnerReference>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Values of the fields that the kind's row names as selectable, in that order, as field
    /// selectors compare them (absent = empty text).
    pub fields: Vec<String>,
}

/// `metadata.ownerReferences[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    #[serde(default)]
    pub api_version: String,
    /// Kind of the owner.
    #[serde(default)]
    pub kind: String,
    /// Name of the owner.
    #[serde(default)]
    pub name: String,
    /// Uid of the owner; a name alone does not own.
    #[serde(default)]
    pub uid: String,
    /// Whether the owner manages this object; at most one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// An immutable object: bytes, head, and one typed view made on first use and shared by all.
pub struct Object {
    head: Head,
    /// As stored, or as somebody sent it.
    bytes: Bytes,
    /// Where the resource version belongs, in bytes that are without it.
    gap: Option<NonZeroUsize>,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// The bytes are not the object that somebody took them for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or another shape than the type's.
    #[error("{what}: {message}")]
    Json {
        /// What was decoded.
        what: String,
        /// What serde says, with line and column.
        message: String,
    },
    /// No object: no `apiVersion`, `kind` or `metadata` in their places.
    #[error("not an API object: {0}")]
    Shape(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<String>,
}

const MANAGED_FIELDS: &str = "managedFields";
const METADATA_OPEN: &[u8] = b"\"metadata\":{";
const VERSION_OPEN: &[u8] = b"\"resourceVersion\":\"";

/// The order in which Kubernetes writes what an object is: its own kinds begin with their kind,
/// custom ones are sorted by name.
pub fn opening(api_version: &str) -> [&'static str; 2] {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let own = !group.contains('.') || group.ends_with(".k8s.io");
    if own { ["kind", "apiVersion"] } else { ["apiVersion", "kind"] }
}

/// Canonical bytes of an object for the store: what it is ([`opening`]) and `metadata` first, then
/// the other fields by name; without `metadata.resourceVersion`.
pub fn encode(value: &Value) -> Result<Bytes, DecodeError> {
    encode_owned(value, None)
}

/// The same of an object that is without its `metadata.managedFields`: here they are as JSON.
pub fn encode_owned(value: &Value, managed_fields: Option<&[u8]>) -> Result<Bytes, DecodeError> {
    let object = value.as_object().ok_or(DecodeError::Shape("not a JSON object"))?;
    let metadata = object
        .get("metadata")
        .and_then(Value::as_object)
        .ok_or(DecodeError::Shape("metadata is missing"))?;
    let mut out = Vec::with_capacity(4096);
    let api_version = object.get("apiVersion").unwrap_or(&Value::Null);
    out.push(b'{');
    for key in opening(api_version.as_str().unwrap_or_default()) {
        json::write_text(&mut out, key);
        out.push(b':');
        json::write(&mut out, object.get(key).unwrap_or(&Value::Null));
        out.push(b',');
    }
    out.extend_from_slice(METADATA_OPEN);
    let start = out.len();
    let mut owners = managed_fields;
    for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
        if let Some(owners) = owners.take_if(|_| key.as_str() > MANAGED_FIELDS) {
            write_owners(&mut out, start, owners);
        }
        if out.len() > start {
            out.push(b',');
        }
        json::write_text(&mut out, key);
        out.push(b':');
        json::write(&mut out, value);
    }
    if let Some(owners) = owners {
        write_owners(&mut out, start, owners);
    }
    out.push(b'}');
    for (key, value) in object {
        if matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        out.push(b',');
        json::write_text(&mut out, key);
        out.push(b':');
        json::write(&mut out, value);
    }
    out.push(b'}');
    // It is kept for long: in no more memory than it needs.
    Ok(Bytes::copy_from_slice(&out))
}

fn write_owners(out: &mut Vec<u8>, start: usize, owners: &[u8]) {
    if out.len() > start {
        out.push(b',');
    }
    json::write_text(out, MANAGED_FIELDS);
    out.push(b':');
    out.extend_from_slice(owners);
}

/// Where the resource version belongs in bytes that [`encode`] wrote: behind `"metadata":{`.
fn gap(stored: &[u8]) -> Result<NonZeroUsize, DecodeError> {
    // apiVersion and kind stand before metadata and hold no quote, so the first match is the key.
    let metadata = stored.windows(METADATA_OPEN.len()).position(|w| w == METADATA_OPEN);
    metadata
        .and_then(|at| NonZeroUsize::new(at + METADATA_OPEN.len()))
        .ok_or(DecodeError::Shape("metadata is missing"))
}

fn json_error(what: &str, error: &serde_json::Error) -> DecodeError {
    DecodeError::Json { what: what.to_owned(), message: error.to_string() }
}

/// The text that a field selector compares: a string as it is, a number or boolean written out,
/// what Kubernetes says of it for what is absent. A path is dotted: `spec.nodeName`.
pub fn field_text(value: &Value, field: &str) -> String {
    let text = |path: &str| {
        let found = json::at(value, path);
        found.map_or_else(|| fields::left_out(path).to_owned(), text_of)
    };
    if json::first(field.as_bytes(), b'=').is_none() {
        return text(field);
    }
    fields::paths(field).map(text).find(|text| !text.is_empty()).unwrap_or_default()
}

/// The text of the field itself.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

// === impl Object ===

impl Object {
    /// From the bytes that [`encode`] wrote and the revision that the store gave them.
    /// `fields` are the selectable fields of the kind.
    pub fn from_stored(
        stored: &Bytes,
        revision: u64,
        fields: &[&str],
    ) -> Result<Self, DecodeError> {
        let gap = gap(stored)?;
        let mut object = Self::from_bytes(stored.clone(), fields)?;
        object.head.resource_version = revision;
        object.gap = Some(gap);
        Ok(object)
    }

    /// The same for a writer that knows the head of what it has written.
    pub fn from_written(stored: &Bytes, revision: u64, head: Head) -> Result<Self, DecodeError> {
        let head = Head { resource_version: revision, ..head };
        let gap = Some(gap(stored)?);
        Ok(Self { head, bytes: stored.clone(), gap, typed: OnceLock::new() })
    }

    /// From JSON as a client or server sends it.
    pub fn from_bytes(bytes: Bytes, fields: &[&str]) -> Result<Self, DecodeError> {
        let envelope: Envelope =
            serde_json::from_slice(&bytes).map_err(|e| json_error("object", &e))?;
        let fields = match fields {
            [] => Vec::new(),
            paths => fields::read(&bytes, paths).map_err(|e| json_error("object", &e))?,
        };
        Ok(Self { head: head(envelope, fields), bytes, gap: None, typed: OnceLock::new() })
    }

    /// From a value; encodes it, `resourceVersion` included where it has one.
    pub fn from_value(value: &Value, fields: &[&str]) -> Result<Self, DecodeError> {
        let bytes = encode(value)?;
        let revision = value
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        match revision {
            Some(revision) => Self::from_stored(&bytes, revision, fields),
            None => Self::from_bytes(bytes, fields),
        }
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// JSON, `resourceVersion` included. What a read answers with.
    pub fn json(&self) -> Bytes {
        if self.gap.is_none() {
            return self.bytes.clone();
        }
        let mut out = Vec::with_capacity(self.json_len());
        self.write_json(&mut out);
        out.into()
    }

    /// Appends [`Object::json`] to what somebody puts together.
    pub fn write_json(&self, out: &mut impl BufMut) {
        let Some(gap) = self.gap else { return out.put_slice(&self.bytes) };
        let (before, after) = self.bytes.split_at(gap.get());
        out.put_slice(before);
        out.put_slice(VERSION_OPEN);
        out.put_slice(Decimal::of(self.head.resource_version).as_str().as_bytes());
        out.put_u8(b'"');
        if after.first() != Some(&b'}') {
            out.put_u8(b',');
        }
        out.put_slice(after);
    }

    /// The length of [`Object::json`].
    pub fn json_len(&self) -> usize {
        let Some(gap) = self.gap else { return self.bytes.len() };
        let comma = usize::from(self.bytes.get(gap.get()) != Some(&b'}'));
        let digits = Decimal::of(self.head.resource_version).as_str().len();
        self.bytes.len() + VERSION_OPEN.len() + digits + 1 + comma
    }

    /// How many bytes it holds.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether its JSON holds these bytes anywhere: a cheap test before a parse.
    pub fn mentions(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|window| window == needle)
    }

    /// A tree to change. Costs a parse: for writes, not for reads.
    pub fn value(&self) -> Result<Value, DecodeError> {
        self.decode()
    }

    /// The typed view, decoded once for all who ask for the same type.
    pub fn typed<K: DeserializeOwned + Send + Sync + 'static>(
        &self,
    ) -> Result<Arc<K>, DecodeError> {
        if let Some(shared) = self.typed.get()
            && let Ok(view) = Arc::clone(shared).downcast::<K>()
        {
            return Ok(view);
        }
        let view: Arc<K> = Arc::new(self.decode()?);
        // The first type asked for stays; another one is decoded at each call.
        let _ = self.typed.set(Arc::clone(&view) as Arc<dyn Any + Send + Sync>);
        Ok(view)
    }

    /// Decodes into any shape, such as a projection of a few fields; nothing is kept.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let json = self.json();
        // Looked at once as a whole, and not again for each text in it.
        match std::str::from_utf8(&json) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(&json),
        }
        .map_err(|e| json_error(&self.head.kind, &e))
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Head { kind, namespace, name, resource_version, .. } = &self.head;
        write!(f, "{kind} {namespace}/{name}@{resource_version}")
    }
}

// === impl OwnerReference ===

impl OwnerReference {
    fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            controller: value["controller"].as_bool(),
            block_owner_deletion: value["blockOwnerDeletion"].as_bool(),
        }
    }
}

// === impl Head ===

impl Head {
    /// Of a value that was validated: the head that its bytes are read as.
    pub fn of(value: &Value, fields: &[&str]) -> Self {
        let metadata = &value["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = |name: &str| metadata[name].as_array().into_iter().flatten();
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let version = metadata["resourceVersion"].as_str();
        Self {
            api_version: text(&value["apiVersion"]),
            kind: text(&value["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            resource_version: version.and_then(|text| text.parse().ok()).unwrap_or(0),
            generation: metadata["generation"].as_i64().unwrap_or(0),
            labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
            owner_references: items("ownerReferences").map(OwnerReference::of).collect(),
            finalizers: items("finalizers").map(text).collect(),
            deleting: metadata["deletionTimestamp"].is_string(),
            fields: fields.iter().map(|path| field_text(value, path)).collect(),
        }
    }

    /// The controller among the owners.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

fn head(envelope: Envelope, fields: Vec<String>) -> Head {
    let Envelope { api_version, kind, metadata } = envelope;
    Head {
        api_version,
        kind,
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        resource_version: metadata.resource_version.and_then(|v| v.parse().ok()).unwrap_or(0),
        generation: metadata.generation.unwrap_or(0),
        labels: metadata.labels.unwrap_or_default(),
        owner_references: metadata.owner_references.unwrap_or_default(),
        finalizers: metadata.finalizers.unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
        fields,
    }
}

/// `metadata` of a value as a map to change; makes it where it is missing.
pub fn metadata_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let metadata = &mut value["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    match metadata {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// For projections (`deserialize_with`): a `null` is the default. Kubernetes writes one for lists
/// that nobody made, as in the `endpoints` of an EndpointSlice.
pub fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_head_of_a_value_is_that_of_its_bytes() {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "generation": 3,
                "labels": {"x": "y", "a": ""}, "finalizers": ["f/1"],
                "deletionTimestamp": "2026-01-02T03:04:05Z",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "K", "name": "o", "uid": "i", "controller": true},
                    {"apiVersion": "v1", "kind": "K", "name": "p", "uid": "j"},
                ],
            },
            "spec": {"nodeName": "node", "hostNetwork": true},
        });
        let fields = ["metadata.name", "spec.nodeName", "spec.hostNetwork", "status.phase"];
        let stored = encode(&value).unwrap();
        let read = Object::from_stored(&stored, 7, &fields).unwrap();
        let known = Object::from_written(&stored, 7, Head::of(&value, &fields)).unwrap();
        assert_eq!((known.head(), known.json()), (read.head(), read.json()));
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
        let fields = ["spec.unschedulable", "status.replicas", "spec.nodeName"];
        let read = Object::from_bytes(encode(&bare).unwrap(), &fields).unwrap();
        assert_eq!(Head::of(&bare, &fields), *read.head());
    }

    #[test]
    fn the_version_is_spliced_and_parsed() {
        let value = json!({
            "spec": {"nodeName": "n1", "hostNetwork": true},
            "metadata": {"name": "p", "namespace": "d", "resourceVersion": "7", "labels": {"a": "b"}},
            "kind": "Pod",
            "apiVersion": "v1",
        });
        let stored = encode(&value).unwrap();
        assert!(stored.starts_with(br#"{"kind":"Pod","apiVersion":"v1","metadata":{"labels""#));
        let object =
            Object::from_stored(&stored, 42, &["spec.nodeName", "spec.hostNetwork", "x.y"])
                .unwrap();
        assert_eq!(object.head().resource_version, 42);
        assert_eq!(object.head().fields, ["n1", "true", ""]);
        assert_eq!(object.value().unwrap()["metadata"]["resourceVersion"], "42");
        assert_eq!(object.head().labels["a"], "b");
        assert_eq!(object.json_len(), object.json().len());
        assert!(object.mentions(b"\"hostNetwork\":true") && !object.mentions(b"resourceVersion"));
    }

    #[test]
    fn kinds_of_kubernetes_begin_with_their_kind() {
        for (version, own) in [
            ("v1", true),
            ("apps/v1", true),
            ("rbac.authorization.k8s.io/v1", true),
            ("example.com/v1", false),
        ] {
            assert_eq!(opening(version)[0] == "kind", own, "{version}");
        }
        let custom = json!({"kind": "X", "apiVersion": "example.com/v1", "metadata": {}, "a": 1});
        let text = r#"{"apiVersion":"example.com/v1","kind":"X","metadata":{},"a":1}"#;
        assert_eq!(encode(&custom).unwrap(), text);
    }

    #[test]
    fn an_empty_metadata_takes_the_version() {
        let stored = encode(&json!({"apiVersion":"v1","kind":"X","metadata":{}})).unwrap();
        for (revision, written) in [(0, "0"), (1, "1"), (u64::MAX, "18446744073709551615")] {
            let object = Object::from_stored(&stored, revision, &[]).unwrap();
            let text = format!(
                r#"{{"kind":"X","apiVersion":"v1","metadata":{{"resourceVersion":"{written}"}}}}"#
            );
            assert_eq!(object.json(), text);
            assert_eq!(object.json_len(), text.len());
        }
    }

    #[test]
    fn the_typed_view_is_shared() {
        let value = json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}});
        let object = Object::from_value(&value, &[]).unwrap();
        let one = object.typed::<crate::core::Pod>().unwrap();
        let two = object.typed::<crate::core::Pod>().unwrap();
        assert!(Arc::ptr_eq(&one, &two));
    }
}

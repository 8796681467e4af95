//! The map of the fake API server and what its verbs do to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use onggi_api::object::{encode, metadata_mut};
use onggi_api::status::{Details, reason};
use onggi_api::{GroupVersionResource, Object, Status};
use onggi_machinery::patch::{self, PatchType};
use onggi_machinery::resource::{Resource, Verb, by_gvr};
use onggi_machinery::value::{i64_at, is_set, list_at, str_at};
use serde_json::{Value, json};

use super::selection::Selection;
use crate::ObjectKey;
use crate::transport::{Body, Error, ListMeta, PatchKind, Request, Response, WriteOptions};

/// Letters of generated names, as Kubernetes': no vowels, nothing that looks like another.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub(super) struct State {
    objects: HashMap<GroupVersionResource, BTreeMap<ObjectKey, Arc<Object>>>,
    pub(super) log: Vec<Record>,
    pub(super) revision: u64,
    /// Watches may begin here, not before.
    pub(super) oldest: u64,
    /// Of uids and generated names.
    number: usize,
    pub(super) faults: Vec<(Verb, String, Status)>,
    pub(super) requests: Vec<Request>,
}

/// A change: absent before or after where it was created or deleted.
pub(super) struct Record {
    pub(super) revision: u64,
    pub(super) resource: GroupVersionResource,
    pub(super) old: Option<Arc<Object>>,
    pub(super) new: Option<Arc<Object>>,
    /// What a watcher sees that loses it: the state before, at this revision.
    pub(super) last: Arc<Object>,
}

pub(super) fn row_of(resource: &GroupVersionResource) -> Option<&'static Resource> {
    by_gvr(&resource.group, &resource.version, &resource.resource)
}

fn fields_of(resource: &GroupVersionResource) -> &'static [&'static str] {
    row_of(resource).map_or(&[], |row| row.fields)
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            objects: HashMap::new(),
            log: Vec::new(),
            revision: 1,
            oldest: 1,
            number: 0,
            faults: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// The fault that was asked for, once.
    pub(super) fn fault(
        &mut self,
        verb: Verb,
        resource: &GroupVersionResource,
    ) -> Result<(), Error> {
        let meant =
            |(v, plural, _): &(Verb, String, Status)| *v == verb && *plural == resource.resource;
        match self.faults.iter().position(meant) {
            Some(place) => Err(self.faults.remove(place).2.into()),
            None => Ok(()),
        }
    }

    pub(super) fn find(
        &self,
        resource: &GroupVersionResource,
        key: &ObjectKey,
    ) -> Option<Arc<Object>> {
        self.objects.get(resource)?.get(key).cloned()
    }

    pub(super) fn select(
        &self,
        resource: &GroupVersionResource,
        selection: &Selection,
    ) -> Vec<Arc<Object>> {
        let all = self.objects.get(resource).into_iter().flat_map(BTreeMap::values);
        all.filter(|object| selection.shows(object)).cloned().collect()
    }

    /// Takes over what stays when an object is replaced as a whole.
    pub(super) fn inherit(
        &self,
        resource: &GroupVersionResource,
        mut object: Value,
    ) -> Result<Value, Error> {
        if let Some(old) = self.find(resource, &key_of(&object)) {
            let old = old.value()?;
            let metadata = metadata_mut(&mut object);
            for field in ["uid", "creationTimestamp", "generation"] {
                if let Some(value) = old["metadata"].get(field) {
                    metadata.entry(field).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(object)
    }

    /// What a new object gets: type, name, uid, creation time, generation.
    pub(super) fn complete(
        &mut self,
        resource: &GroupVersionResource,
        namespace: &str,
        mut object: Value,
        now: &str,
    ) -> Value {
        self.number += 1;
        let number = self.number;
        let row = row_of(resource);
        if let (Some(row), Some(fields)) = (row, object.as_object_mut()) {
            fields.entry("apiVersion").or_insert_with(|| row.api_version().into());
            fields.entry("kind").or_insert_with(|| row.kind.into());
        }
        let metadata = metadata_mut(&mut object);
        let base = metadata.get("generateName").and_then(Value::as_str).unwrap_or("");
        let generated = format!("{base}{}", suffix(number));
        metadata.entry("name").or_insert_with(|| generated.into());
        if !namespace.is_empty() {
            metadata.entry("namespace").or_insert_with(|| namespace.into());
        }
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        metadata.entry("uid").or_insert_with(|| uid.into());
        metadata.entry("creationTimestamp").or_insert_with(|| now.into());
        if row.is_some_and(|row| row.has_generation) {
            metadata.entry("generation").or_insert_with(|| 1.into());
        }
        object
    }

    /// Stores an object under the next revision; nothing happens when nothing changed.
    pub(super) fn store(
        &mut self,
        resource: &GroupVersionResource,
        object: &Value,
    ) -> Result<Arc<Object>, Error> {
        let stored = encode(object)?;
        let key = key_of(object);
        let fields = fields_of(resource);
        let old = self.find(resource, &key);
        if let Some(old) = &old
            && encode(&old.value()?)? == stored
        {
            return Ok(Arc::clone(old));
        }
        let revision = self.revision + 1;
        let new = Arc::new(Object::from_stored(&stored, revision, fields)?);
        let last = match &old {
            Some(old) => Arc::new(Object::from_stored(&encode(&old.value()?)?, revision, fields)?),
            None => Arc::clone(&new),
        };
        self.revision = revision;
        self.objects.entry(resource.clone()).or_default().insert(key, Arc::clone(&new));
        let (resource, shown) = (resource.clone(), Some(Arc::clone(&new)));
        self.log.push(Record { revision, resource, old, new: shown, last });
        Ok(new)
    }

    /// Takes an object out; answers its last state.
    pub(super) fn erase(
        &mut self,
        resource: &GroupVersionResource,
        key: &ObjectKey,
    ) -> Result<Option<Arc<Object>>, Error> {
        let Some(old) = self.find(resource, key) else { return Ok(None) };
        let revision = self.revision + 1;
        let bytes = encode(&old.value()?)?;
        let last = Arc::new(Object::from_stored(&bytes, revision, fields_of(resource))?);
        self.revision = revision;
        if let Some(objects) = self.objects.get_mut(resource) {
            objects.remove(key);
        }
        let (resource, seen) = (resource.clone(), Arc::clone(&last));
        self.log.push(Record { revision, resource, old: Some(old), new: None, last: seen });
        Ok(Some(last))
    }

    pub(super) fn answer(&mut self, request: Request, now: &str) -> Result<Response, Error> {
        let key = ObjectKey::new(&request.namespace, &request.name);
        match (request.verb, request.subresource.as_str()) {
            (Verb::Get, "" | "status") => Ok(response(self.existing(&request.resource, &key)?)),
            (Verb::List, "") => self.list(&request),
            (Verb::Create, "") => self.create(request, now),
            (Verb::Create, "binding") => self.bind(&request, &key),
            (Verb::Create, "eviction") => {
                let options = WriteOptions {
                    grace_period_seconds: match &request.body {
                        Body::Object(body) => i64_at(body, "deleteOptions.gracePeriodSeconds"),
                        _ => None,
                    },
                    ..WriteOptions::default()
                };
                self.delete(&request.resource, &key, &options, now)?;
                Ok(Response::Status(Status::success(Details::default())))
            }
            (Verb::Update, "" | "status") => {
                let Body::Object(object) = request.body else { return Err(no_body()) };
                let place = (&request.resource, &key, request.subresource.as_str());
                self.write(place, object, request.write.dry_run)
            }
            (Verb::Patch, "" | "status") => self.patch(request, &key, now),
            (Verb::Delete, "") => self.delete(&request.resource, &key, &request.write, now),
            (Verb::DeleteCollection, "") => {
                let Response::List { meta, items, .. } = self.list(&request)? else {
                    return Err(no_body());
                };
                for object in &items {
                    let key = ObjectKey::of(object.head());
                    self.delete(&request.resource, &key, &request.write, now)?;
                }
                Ok(Response::List { meta, items, warnings: Vec::new() })
            }
            _ => Err(Status::method_not_allowed().into()),
        }
    }

    fn existing(
        &self,
        resource: &GroupVersionResource,
        key: &ObjectKey,
    ) -> Result<Arc<Object>, Error> {
        self.find(resource, key)
            .ok_or_else(|| Status::not_found(&resource.group_resource(), &key.name).into())
    }

    fn list(&self, request: &Request) -> Result<Response, Error> {
        let Request { resource, namespace, list, .. } = request;
        let row = row_of(resource);
        let selection = Selection::new(namespace, &list.label_selector, &list.field_selector, row)?;
        let items = self.select(resource, &selection);
        let meta = ListMeta { resource_version: self.revision, ..ListMeta::default() };
        Ok(Response::List { meta, items, warnings: Vec::new() })
    }

    fn create(&mut self, request: Request, now: &str) -> Result<Response, Error> {
        let Body::Object(object) = request.body else { return Err(no_body()) };
        let object = self.complete(&request.resource, &request.namespace, object, now);
        let key = key_of(&object);
        if self.find(&request.resource, &key).is_some() {
            let plural = request.resource.group_resource();
            return Err(Status::already_exists(&plural, &key.name).into());
        }
        if request.write.dry_run {
            let warnings = Vec::new();
            return Ok(Response::Document { value: object, created: true, warnings });
        }
        let object = self.store(&request.resource, &object)?;
        Ok(Response::Object { object, created: true, warnings: Vec::new() })
    }

    fn bind(&mut self, request: &Request, key: &ObjectKey) -> Result<Response, Error> {
        let Body::Object(binding) = &request.body else { return Err(no_body()) };
        let pod = self.existing(&request.resource, key)?;
        let plural = request.resource.group_resource();
        let uid = str_at(binding, "metadata.uid");
        if !uid.is_empty() && uid != pod.head().uid {
            return Err(Status::conflict(&plural, &key.name, "the uid is another").into());
        }
        let mut value = pod.value()?;
        let taken = str_at(&value, "spec.nodeName");
        if !taken.is_empty() {
            let text = format!("pod {} is already assigned to node {taken:?}", key.name);
            return Err(Status::conflict(&plural, &key.name, &text).into());
        }
        value["spec"]["nodeName"] = str_at(binding, "target.name").into();
        self.store(&request.resource, &value)?;
        Ok(Response::Status(Status::success(Details::default())))
    }

    fn patch(&mut self, request: Request, key: &ObjectKey, now: &str) -> Result<Response, Error> {
        let Body::Patch(kind, bytes) = request.body else { return Err(no_body()) };
        let Some(old) = self.find(&request.resource, key) else {
            if kind != PatchKind::Apply {
                return self.existing(&request.resource, key).map(response);
            }
            let whole = serde_json::from_slice(&bytes)
                .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
            let (verb, body) = (Verb::Create, Body::Object(whole));
            return self.create(Request { verb, body, ..request }, now);
        };
        let mut value = old.value()?;
        let kind = match kind {
            PatchKind::Json => PatchType::Json,
            PatchKind::Merge | PatchKind::Apply => PatchType::Merge,
            PatchKind::Strategic => PatchType::Strategic,
        };
        let schema = row_of(&request.resource)
            .and_then(|row| onggi_api::schema::of(row.group, row.version, row.kind));
        patch::apply(kind, schema, &mut value, &bytes)
            .map_err(|e| Status::failure(e.code(), reason_of(e.code()), e.to_string()))?;
        let place = (&request.resource, key, request.subresource.as_str());
        self.write(place, value, request.write.dry_run)
    }

    /// An update: of the object without its status, or of the status alone.
    fn write(
        &mut self,
        (resource, key, subresource): (&GroupVersionResource, &ObjectKey, &str),
        mut object: Value,
        dry_run: bool,
    ) -> Result<Response, Error> {
        let old = self.existing(resource, key)?;
        let plural = resource.group_resource();
        let version = str_at(&object, "metadata.resourceVersion");
        if !version.is_empty() && version != old.head().resource_version.to_string() {
            let text = "the object has been modified; please apply your changes to the latest \
                        version and try again";
            return Err(Status::conflict(&plural, &key.name, text).into());
        }
        let before = old.value()?;
        let row = row_of(resource);
        if subresource == "status" {
            let status = object["status"].take();
            object = before.clone();
            object["status"] = status;
        } else if row.is_some_and(|row| row.has_status) {
            match before.get("status") {
                Some(status) => object["status"] = status.clone(),
                None => drop(object.as_object_mut().and_then(|fields| fields.remove("status"))),
            }
        }
        let metadata = metadata_mut(&mut object);
        for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp"] {
            match before["metadata"].get(field) {
                Some(value) => drop(metadata.insert(field.to_owned(), value.clone())),
                None => drop(metadata.remove(field)),
            }
        }
        if row.is_some_and(|row| row.has_generation) && desired(&object) != desired(&before) {
            object["metadata"]["generation"] = (old.head().generation + 1).into();
        }
        if dry_run {
            let warnings = Vec::new();
            return Ok(Response::Document { value: object, created: false, warnings });
        }
        let stored = self.store(resource, &object)?;
        let released = stored.head().deleting
            && stored.head().finalizers.is_empty()
            && i64_at(&object, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0;
        if released {
            // The answer is the object all the same.
            self.erase(resource, key)?;
        }
        Ok(response(stored))
    }

    fn delete(
        &mut self,
        resource: &GroupVersionResource,
        key: &ObjectKey,
        options: &WriteOptions,
        now: &str,
    ) -> Result<Response, Error> {
        let old = self.existing(resource, key)?;
        let plural = resource.group_resource();
        let head = old.head();
        if let Some(uid) = options.precondition_uid.as_ref().filter(|uid| **uid != head.uid) {
            let found = &head.uid;
            let text =
                format!("Precondition failed: UID in precondition: {uid}, UID in object: {found}");
            return Err(Status::conflict(&plural, &key.name, &text).into());
        }
        if let Some(wanted) = &options.precondition_resource_version
            && *wanted != head.resource_version.to_string()
        {
            let text = format!("Precondition failed: ResourceVersion {wanted}");
            return Err(Status::conflict(&plural, &key.name, &text).into());
        }
        let mut value = old.value()?;
        // A pod on a node goes when its kubelet says so.
        let on_node = resource.resource == "pods" && !str_at(&value, "spec.nodeName").is_empty();
        let asked = options.grace_period_seconds;
        let pending = i64_at(&value, "metadata.deletionGracePeriodSeconds");
        let spec = i64_at(&value, "spec.terminationGracePeriodSeconds");
        let grace = if on_node { asked.or(pending).or(spec).unwrap_or(30) } else { 0 };
        if grace == 0 && list_at(&value, "metadata.finalizers").is_empty() {
            let details = Details {
                name: key.name.clone(),
                group: resource.group.clone(),
                kind: resource.resource.clone(),
                uid: head.uid.clone(),
                ..Details::default()
            };
            self.erase(resource, key)?;
            return Ok(Response::Status(Status::success(details)));
        }
        if !is_set(&value, "metadata.deletionTimestamp") {
            value["metadata"]["deletionTimestamp"] = now.into();
        }
        value["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        Ok(response(self.store(resource, &value)?))
    }
}

fn key_of(object: &Value) -> ObjectKey {
    ObjectKey::new(str_at(object, "metadata.namespace"), str_at(object, "metadata.name"))
}

fn response(object: Arc<Object>) -> Response {
    Response::Object { object, created: false, warnings: Vec::new() }
}

fn reason_of(code: u16) -> &'static str {
    if code == 422 { reason::INVALID } else { reason::BAD_REQUEST }
}

fn no_body() -> Error {
    Status::bad_request("the request has no body").into()
}

/// What the generation counts: all but metadata and status.
fn desired(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status")).collect()
}

fn suffix(mut number: usize) -> String {
    let mut text = String::new();
    for _ in 0..5 {
        text.push(char::from(SUFFIX[number % SUFFIX.len()]));
        number /= SUFFIX.len();
    }
    text
}

//! The dynamic client: every verb on every kind, objects as they are.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, Object};
use onggi_base::backoff::Backoff;
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::{Value, json};

use crate::transport::{
    Body, Error, ListMeta, ListOptions, PatchKind, Request, Response, Transport, WriteOptions,
};
use crate::typed::Api;

/// How often a read-change-write is begun anew when others write in between.
const CONFLICT_RETRIES: u32 = 8;
const CONFLICT_BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(5), Duration::from_millis(500));

/// A client with the identity of its transport. A cheap handle.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    field_manager: Arc<str>,
}

/// What changes of an object, and how it is written down.
#[derive(Debug, Clone)]
pub struct Patch {
    kind: PatchKind,
    body: Value,
    force: bool,
}

/// What became of a delete.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object is gone.
    Gone,
    /// It has a deletion timestamp, and goes when its grace period is over and its finalizers are.
    Marked(Arc<Object>),
}

// === impl Patch ===

impl Patch {
    /// RFC 7386: `null` takes a field away, lists are replaced.
    pub fn merge(body: Value) -> Self {
        Self { kind: PatchKind::Merge, body, force: false }
    }

    /// Kubernetes' strategic merge: lists with a key are merged by it.
    pub fn strategic(body: Value) -> Self {
        Self { kind: PatchKind::Strategic, body, force: false }
    }

    /// RFC 6902: a list of operations.
    pub fn json(operations: Value) -> Self {
        Self { kind: PatchKind::Json, body: operations, force: false }
    }

    /// Server-side apply.
    pub fn apply(body: Value) -> Self {
        Self { kind: PatchKind::Apply, body, force: false }
    }

    /// Server-side apply that takes fields from their managers.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }
}

// === impl Client ===

impl Client {
    /// Over a transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, field_manager: "".into() }
    }

    /// Writes under this name (`fieldManager`), as `deployment-controller`.
    pub fn field_manager(mut self, name: &str) -> Self {
        self.field_manager = name.into();
        self
    }

    /// The transport.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// A typed view of a kind in a namespace; empty for cluster-scoped kinds.
    pub fn api<K>(&self, namespace: &str) -> Api<K> {
        Api::new(self.clone(), namespace)
    }

    /// Any request; sets the field manager where it names none.
    pub fn call(&self, mut request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            if request.write.field_manager.is_empty() {
                self.field_manager.as_ref().clone_into(&mut request.write.field_manager);
            }
            self.transport.call(request).await
        })
    }

    /// `GET`.
    pub async fn get(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Error> {
        self.object(Request::new(Verb::Get, resource.clone(), namespace, name)).await
    }

    /// `GET` of a collection, as far as the options' limit goes.
    pub async fn list(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: ListOptions,
    ) -> Result<(ListMeta, Vec<Arc<Object>>), Error> {
        let mut request = Request::new(Verb::List, resource.clone(), namespace, "");
        request.list = options;
        match self.call(request).await? {
            Response::List { meta, items, .. } => Ok((meta, items)),
            other => Err(unexpected("a list", &other)),
        }
    }

    /// `POST`.
    pub async fn create(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Object>, Error> {
        let request = Request::new(Verb::Create, resource.clone(), namespace, "");
        self.object(request.body(Body::Object(object))).await
    }

    /// `POST`; where the name is taken, the object that has it. Says whether it was created.
    pub async fn create_or_get(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        object: Value,
    ) -> Result<(Arc<Object>, bool), Error> {
        let name = str_at(&object, "metadata.name").to_owned();
        match self.create(resource, namespace, object).await {
            Ok(object) => Ok((object, true)),
            Err(error) if error.is_already_exists() && !name.is_empty() => {
                Ok((self.get(resource, namespace, &name).await?, false))
            }
            Err(error) => Err(error),
        }
    }

    /// `PUT`: the whole object; a conflict when it names a resource version that is not the last.
    pub async fn update(
        &self,
        resource: &GroupVersionResource,
        object: Value,
    ) -> Result<Arc<Object>, Error> {
        self.put(resource, "", object).await
    }

    /// `PUT` of the `status`; the rest of the object is left as it is.
    pub async fn update_status(
        &self,
        resource: &GroupVersionResource,
        object: Value,
    ) -> Result<Arc<Object>, Error> {
        self.put(resource, "status", object).await
    }

    async fn put(
        &self,
        resource: &GroupVersionResource,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Object>, Error> {
        let (namespace, name) =
            (str_at(&object, "metadata.namespace"), str_at(&object, "metadata.name"));
        let request = Request::new(Verb::Update, resource.clone(), namespace, name);
        self.object(request.subresource(subresource).body(Body::Object(object))).await
    }

    /// `PATCH`.
    pub async fn patch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        patch: Patch,
    ) -> Result<Arc<Object>, Error> {
        self.patch_part(resource, namespace, name, "", patch).await
    }

    /// `PATCH` of the `status`.
    pub async fn patch_status(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        patch: Patch,
    ) -> Result<Arc<Object>, Error> {
        self.patch_part(resource, namespace, name, "status", patch).await
    }

    async fn patch_part(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        Patch { kind, body, force }: Patch,
    ) -> Result<Arc<Object>, Error> {
        let bytes = serde_json::to_vec(&body).map_err(|e| Error::Decode(e.to_string()))?;
        let mut request = Request::new(Verb::Patch, resource.clone(), namespace, name)
            .subresource(subresource)
            .body(Body::Patch(kind, bytes.into()));
        request.write.force = force;
        self.object(request).await
    }

    /// Reads, changes and writes until nobody wrote in between; `subresource` is empty or `status`.
    /// Nothing is written when nothing changed.
    pub async fn modify(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        mut change: impl FnMut(&mut Value) + Send,
    ) -> Result<Arc<Object>, Error> {
        let mut backoff = CONFLICT_BACKOFF;
        for _ in 0..CONFLICT_RETRIES {
            let object = self.get(resource, namespace, name).await?;
            let before = object.value()?;
            let mut value = before.clone();
            change(&mut value);
            if value == before {
                return Ok(object);
            }
            match self.put(resource, subresource, value).await {
                Err(error) if error.is_conflict() => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                result => return result,
            }
        }
        let text = format!("others kept changing it; gave up after {CONFLICT_RETRIES} tries");
        Err(onggi_api::Status::conflict(&resource.group_resource(), name, &text).into())
    }

    /// `DELETE`; the options carry grace period, propagation and preconditions.
    pub async fn delete(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        options: WriteOptions,
    ) -> Result<Deleted, Error> {
        let mut request = Request::new(Verb::Delete, resource.clone(), namespace, name);
        request.write = options;
        match self.call(request).await? {
            Response::Object { object, .. } if object.head().deleting && waits(&object)? => {
                Ok(Deleted::Marked(object))
            }
            Response::Object { .. } | Response::Document { .. } | Response::Status(_) => {
                Ok(Deleted::Gone)
            }
            other => Err(unexpected("the end of an object", &other)),
        }
    }

    /// `POST pods/NAME/binding`: the pod goes to a node. With a uid, only that very pod does.
    pub async fn bind(
        &self,
        namespace: &str,
        pod: &str,
        uid: &str,
        node: &str,
    ) -> Result<(), Error> {
        let mut metadata = json!({"name": pod, "namespace": namespace});
        if !uid.is_empty() {
            metadata["uid"] = uid.into();
        }
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.pod_action(namespace, pod, "binding", binding).await
    }

    /// `POST pods/NAME/eviction`: deletes a pod unless a disruption budget forbids it (429).
    pub async fn evict(
        &self,
        namespace: &str,
        pod: &str,
        grace_period_seconds: Option<i64>,
    ) -> Result<(), Error> {
        let mut eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        });
        if let Some(seconds) = grace_period_seconds {
            eviction["deleteOptions"] = json!({"gracePeriodSeconds": seconds});
        }
        self.pod_action(namespace, pod, "eviction", eviction).await
    }

    async fn pod_action(
        &self,
        namespace: &str,
        pod: &str,
        action: &str,
        body: Value,
    ) -> Result<(), Error> {
        let pods = GroupVersionResource::new("", "v1", "pods");
        let request = Request::new(Verb::Create, pods, namespace, pod).subresource(action);
        self.call(request.body(Body::Object(body))).await.map(drop)
    }

    async fn object(&self, request: Request) -> Result<Arc<Object>, Error> {
        match self.call(request).await? {
            Response::Object { object, .. } => Ok(object),
            Response::Document { value, .. } => Ok(Arc::new(Object::from_value(&value, &[])?)),
            other => Err(unexpected("an object", &other)),
        }
    }
}

/// Whether something must be done before the object can go. Some kinds are answered with their
/// last state after they are gone.
fn waits(object: &Object) -> Result<bool, Error> {
    let value = object.value()?;
    let holds = |pointer| value.pointer(pointer).and_then(Value::as_array);
    let held = ["/metadata/finalizers", "/spec/finalizers"]
        .into_iter()
        .filter_map(holds)
        .any(|finalizers| !finalizers.is_empty());
    Ok(held || value["metadata"]["deletionGracePeriodSeconds"] != 0)
}

fn unexpected(wanted: &str, response: &Response) -> Error {
    let got = match response {
        Response::Object { .. } => "an object",
        Response::Document { .. } => "a document",
        Response::List { .. } => "a list",
        Response::Status(_) => "a status",
    };
    Error::Decode(format!("wanted {wanted}, got {got}"))
}

//! ReplicaSets, and ReplicationControllers through an adapter: as many pods of a template as are
//! wanted.

mod adapter;
mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use onggi_api::object::metadata_mut;
use onggi_api::{GroupVersionResource, Object};
use onggi_client::events::reference_to;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Deleted, Index, Next, ObjectKey, Patch, Source, WriteOptions};
use onggi_machinery::value::{at, entries_at};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::Error;
use crate::claim::{adopt, controller_reference, may_adopt, namespace_ends, release};
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Pod, ReplicaSet, by_controller, controller_key, orphans_of};
use adapter::{REPLICA_SET, REPLICATION_CONTROLLER, Variant};
use plan::{Plan, Snapshot};

struct ReplicaSets {
    context: Context,
    variant: &'static Variant,
    resource: GroupVersionResource,
    pods_resource: GroupVersionResource,
    sets: Cache<Keep<ReplicaSet>>,
    siblings: Index<Keep<ReplicaSet>>,
    pods: Cache<Pod>,
    by_controller: Index<Pod>,
    /// Uids of deleted pods that the cache still shows, by set. What was created is simply waited
    /// for; a deletion that is answered with success has no revision to wait for.
    deleted: Mutex<HashMap<ObjectKey, HashSet<String>>>,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    launch_for(&REPLICA_SET, context)
}

pub(crate) fn launch_replication_controllers(context: Context) -> BoxFuture<'static, ()> {
    launch_for(&REPLICATION_CONTROLLER, context)
}

fn launch_for(variant: &'static Variant, context: Context) -> BoxFuture<'static, ()> {
    let resource = GroupVersionResource::new(variant.group, "v1", variant.plural);
    let pods_resource = GroupVersionResource::new("", "v1", "pods");
    let sets: Cache<Keep<ReplicaSet>> = context.cache(Source::all(resource.clone()));
    let pods: Cache<Pod> = context.cache(Source::all(pods_resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&sets, |change| vec![change.key().clone()]);
    let selecting = sets.clone();
    harness.watch(&pods, move |change| {
        let of = |pod: &Arc<Pod>| {
            let owner = pod.metadata.controller().filter(|owner| owner.kind == variant.kind);
            owner.map(|owner| ObjectKey::new(&pod.metadata.namespace, &owner.name))
        };
        let mut keys: Vec<_> = change.before().and_then(of).into_iter().collect();
        if let Some(pod) = change.after() {
            match pod.metadata.controller() {
                Some(_) => keys.extend(of(pod)),
                None => keys.extend(selects(&selecting, pod)),
            }
        }
        keys
    });
    let siblings = sets.index("controller", |set| vec![controller_key(&set.metadata)]);
    let by_controller = by_controller(&pods);
    harness.run(ReplicaSets {
        context,
        variant,
        resource,
        pods_resource,
        sets,
        siblings,
        pods,
        by_controller,
        deleted: Mutex::default(),
    })
}

/// The sets that would adopt a pod.
fn selects(sets: &Cache<Keep<ReplicaSet>>, pod: &Pod) -> Vec<ObjectKey> {
    let sets = sets.list_in(&pod.metadata.namespace);
    let selecting = sets.iter().filter(|set| set.spec.selector.matches(&pod.metadata.labels));
    selecting.map(|set| set.metadata.key()).collect()
}

#[async_trait]
impl Controller for ReplicaSets {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.get_key(key) else {
            self.deleted.lock().remove(key);
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let plan = self.plan(key, &set, now);
        self.claim(&set, &plan).await?;
        let failed = match self.scale(&set, &plan).await {
            Err((_, error)) if namespace_ends(&error) => None,
            result => result.err(),
        };
        let failure = failed.as_ref().map(|(reason, error)| (*reason, error.to_string()));
        let mut status = plan::status(&set, &plan, failure, now);
        if !self.variant.counts_terminating {
            status.terminating_replicas = None;
        }
        if status != set.status {
            let patch = Patch::merge(json!({"status": status}));
            let meta = &set.metadata;
            let client = &self.context.client;
            match client.patch_status(&self.resource, &meta.namespace, &meta.name, patch).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        if let Some((_, error)) = failed {
            return Err(error.into());
        }
        let next = plan::next_available(&set, &plan, now);
        let wait = next.and_then(|at| at.duration_since(now).try_into().ok());
        Ok(wait.map_or(Next::Done, Next::After))
    }
}

/// The reason of the condition and event, and the error.
type Failed = (&'static str, onggi_client::Error);

impl ReplicaSets {
    fn plan(&self, key: &ObjectKey, set: &ReplicaSet, now: onggi_api::jiff::Timestamp) -> Plan {
        let uid = &set.metadata.uid;
        let mut pods = self.by_controller.get(uid);
        let own = pods.iter().filter(|pod| !pod.metadata.deleting()).map(|p| &p.metadata.uid);
        let own: HashSet<&String> = own.collect();
        let deleted = match self.deleted.lock().get_mut(key) {
            Some(deleted) => {
                deleted.retain(|uid| own.contains(uid));
                deleted.clone()
            }
            None => HashSet::new(),
        };
        pods.extend(self.by_controller.get(&orphans_of(&set.metadata.namespace)));
        let crowd = self.crowd(set);
        plan::plan(&Snapshot { set, pods: &pods, deleted: &deleted, crowd: &crowd, now })
    }

    /// Active pods by node, of this set and of those that belong to the same owner.
    fn crowd(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let mut uids = vec![set.metadata.uid.clone()];
        if let Some(owner) = set.metadata.controller() {
            uids = self.siblings.get(&owner.uid).iter().map(|s| s.metadata.uid.clone()).collect();
        }
        let mut crowd = HashMap::new();
        for pod in uids.iter().flat_map(|uid| self.by_controller.get(uid)) {
            if pod.active() {
                *crowd.entry(pod.spec.node_name.clone()).or_default() += 1;
            }
        }
        crowd
    }

    async fn claim(&self, set: &Keep<ReplicaSet>, plan: &Plan) -> Result<(), Error> {
        let client = &self.context.client;
        let mut revision = 0;
        if !plan.adopt.is_empty() {
            may_adopt(client, &self.resource, &set.metadata).await?;
        }
        let owner = controller_reference(&set.object);
        for pod in &plan.adopt {
            let written = adopt(client, &self.pods_resource, &pod.metadata, &owner).await?;
            revision = revision.max(written);
        }
        for pod in &plan.release {
            let written = release(client, &self.pods_resource, &pod.metadata, &owner.uid).await?;
            revision = revision.max(written);
        }
        Ok(self.pods.caught_up(revision).await?)
    }

    async fn scale(&self, set: &Keep<ReplicaSet>, plan: &Plan) -> Result<(), Failed> {
        if plan.create > 0 {
            return self.create(set, plan.create).await.map_err(|error| ("FailedCreate", error));
        }
        self.delete(set, &plan.delete).await.map_err(|error| ("FailedDelete", error))
    }

    /// Makes pods in batches that double, so that what fails for all fails few times.
    async fn create(
        &self,
        set: &Keep<ReplicaSet>,
        count: usize,
    ) -> Result<(), onggi_client::Error> {
        let pod = new_pod(&set.object)?;
        let namespace = &set.metadata.namespace;
        let about = reference_to(&set.object);
        let (mut left, mut batch, mut revision) = (count, 1, 0);
        let mut failure = None;
        while left > 0 && failure.is_none() {
            let size = batch.min(left);
            let made = (0..size)
                .map(|_| self.context.client.create(&self.pods_resource, namespace, pod.clone()));
            for result in join_all(made).await {
                match result {
                    Ok(pod) => {
                        revision = revision.max(pod.head().resource_version);
                        let text = format!("Created pod: {}", pod.head().name);
                        self.context.events.normal(about.clone(), "SuccessfulCreate", text);
                    }
                    Err(error) => {
                        if !namespace_ends(&error) {
                            let text = format!("Error creating: {error}");
                            self.context.events.warning(about.clone(), "FailedCreate", text);
                        }
                        failure = Some(error);
                    }
                }
            }
            left -= size;
            batch *= 2;
        }
        // The next step must see these pods, or it would make them again. A cache that has
        // stopped has no next step.
        let _ = self.pods.caught_up(revision).await;
        failure.map_or(Ok(()), Err)
    }

    async fn delete(
        &self,
        set: &Keep<ReplicaSet>,
        pods: &[Arc<Pod>],
    ) -> Result<(), onggi_client::Error> {
        let about = reference_to(&set.object);
        let going = pods.iter().map(|pod| {
            let options = WriteOptions {
                precondition_uid: Some(pod.metadata.uid.clone()),
                ..WriteOptions::default()
            };
            let meta = &pod.metadata;
            self.context.client.delete(&self.pods_resource, &meta.namespace, &meta.name, options)
        });
        let (mut revision, mut failure) = (0, None);
        for (pod, result) in pods.iter().zip(join_all(going).await) {
            match result {
                Ok(deleted) => {
                    if let Deleted::Marked(object) = &deleted {
                        revision = revision.max(object.head().resource_version);
                    }
                    let mut all = self.deleted.lock();
                    all.entry(set.metadata.key()).or_default().insert(pod.metadata.uid.clone());
                    let text = format!("Deleted pod: {}", pod.metadata.name);
                    self.context.events.normal(about.clone(), "SuccessfulDelete", text);
                }
                // Somebody else was faster.
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => {
                    let text = format!("Error deleting: {error}");
                    self.context.events.warning(about.clone(), "FailedDelete", text);
                    failure = Some(error);
                }
            }
        }
        let _ = self.pods.caught_up(revision).await;
        failure.map_or(Ok(()), Err)
    }
}

/// A pod of the set's template. The template's own text is copied, not a typed view of it.
fn new_pod(set: &Object) -> Result<Value, onggi_api::DecodeError> {
    let value = set.value()?;
    let template = at(&value, "spec.template");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});
    let metadata = metadata_mut(&mut pod);
    for (key, value) in entries_at(template, "metadata") {
        if matches!(key, "labels" | "annotations" | "finalizers") {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    metadata.insert("generateName".into(), format!("{}-", set.head().name).into());
    metadata.insert("ownerReferences".into(), json!([controller_reference(set)]));
    Ok(pod)
}

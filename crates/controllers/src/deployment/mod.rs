//! Deployments: from one pod template to the next, with enough pods available all the time.

mod plan;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, Object};
use onggi_client::events::reference_to;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Index, Next, ObjectKey, Patch, Source, WriteOptions};
use onggi_machinery::value::{at, entries_at, map_mut};
use serde_json::{Value, json};

use crate::Error;
use crate::claim::{Claim, adopt, claim, controller_reference, may_adopt, namespace_ends, release};
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{
    Deployment, DeploymentStatus, Pod, ReplicaSet, by_controller, controller_key, orphans_of,
};
use plan::{Plan, Snapshot};
use sets::{REVISION, Set};

/// Tells the pods of one template from those of another.
const HASH_LABEL: &str = "pod-template-hash";
/// Letters of hashes: no vowels, nothing that looks like another.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

struct Deployments {
    context: Context,
    resource: GroupVersionResource,
    sets_resource: GroupVersionResource,
    deployments: Cache<Keep<Deployment>>,
    sets: Cache<Keep<ReplicaSet>>,
    by_controller: Index<Keep<ReplicaSet>>,
    pods_of: Index<Pod>,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let resource = GroupVersionResource::new("apps", "v1", "deployments");
    let sets_resource = GroupVersionResource::new("apps", "v1", "replicasets");
    let deployments: Cache<Keep<Deployment>> = context.cache(Source::all(resource.clone()));
    let sets: Cache<Keep<ReplicaSet>> = context.cache(Source::all(sets_resource.clone()));
    let pods: Cache<Pod> = context.cache(Source::all(GroupVersionResource::new("", "v1", "pods")));
    let mut harness = Harness::new(&context);
    harness.watch(&deployments, |change| vec![change.key().clone()]);
    let selecting = deployments.clone();
    harness.watch(&sets, move |change| {
        let mut keys: Vec<_> = change.before().and_then(|set| owner_of(set)).into_iter().collect();
        if let Some(set) = change.after() {
            match set.metadata.controller() {
                Some(_) => keys.extend(owner_of(set)),
                None => keys.extend(selects(&selecting, set)),
            }
        }
        keys
    });
    let (owners, waiting) = (sets.clone(), deployments.clone());
    harness.watch(&pods, move |change| {
        // Only a recreation waits for pods to be gone; the rest is told by the sets' status.
        let gone = change.after().is_none_or(|pod| pod.finished());
        let pod = change.latest();
        let set = pod.metadata.controller().filter(|_| gone);
        let set = set.and_then(|owner| owners.get(&pod.metadata.namespace, &owner.name));
        let key = set.and_then(|set| owner_of(&set));
        let recreates =
            |key: &ObjectKey| waiting.get_key(key).is_some_and(|found| !sets::is_rolling(&found));
        key.filter(recreates).into_iter().collect()
    });
    let by_set_controller = sets.index("controller", |set| vec![controller_key(&set.metadata)]);
    let pods_of = by_controller(&pods);
    harness.run(Deployments {
        context,
        resource,
        sets_resource,
        deployments,
        sets,
        by_controller: by_set_controller,
        pods_of,
    })
}

fn owner_of(set: &ReplicaSet) -> Option<ObjectKey> {
    let owner = set.metadata.controller().filter(|owner| owner.kind == "Deployment")?;
    Some(ObjectKey::new(&set.metadata.namespace, &owner.name))
}

/// The deployments that would adopt a set.
fn selects(deployments: &Cache<Keep<Deployment>>, set: &ReplicaSet) -> Vec<ObjectKey> {
    let all = deployments.list_in(&set.metadata.namespace);
    let selecting = all.iter().filter(|d| d.spec.selector.matches(&set.metadata.labels));
    selecting.map(|deployment| deployment.metadata.key()).collect()
}

#[async_trait]
impl Controller for Deployments {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.get_key(key) else { return Ok(Next::Done) };
        let sets = self.claimed(&deployment).await?;
        let template = deployment.object.value()?["spec"]["template"].take();
        let collisions = deployment.status.collision_count.unwrap_or(0);
        let hash = template_hash(&template, collisions);
        let snapshot = Snapshot {
            deployment: &deployment,
            sets: sets.iter().map(|set| self.seen(set, &template)).collect::<Result<_, Error>>()?,
            new_name: format!("{}-{hash}", deployment.metadata.name),
            now: self.context.now(),
        };
        let plan = plan::plan(snapshot);
        let after = plan.after;
        self.carry_out(&deployment, &sets, template, &hash, plan).await?;
        Ok(after.map_or(Next::Done, Next::After))
    }
}

impl Deployments {
    /// The sets that it manages, after adoption and release.
    async fn claimed(
        &self,
        deployment: &Keep<Deployment>,
    ) -> Result<Vec<Arc<Keep<ReplicaSet>>>, Error> {
        let meta = &deployment.metadata;
        let client = &self.context.client;
        let owner = controller_reference(&deployment.object);
        let mut sets = self.by_controller.get(&meta.uid);
        sets.extend(self.by_controller.get(&orphans_of(&meta.namespace)));
        let (mut claimed, mut revision, mut asked) = (Vec::new(), 0, false);
        for set in sets {
            match claim(meta, &deployment.spec.selector, &set.metadata) {
                Claim::Ignore => continue,
                Claim::Release => {
                    let resource = &self.sets_resource;
                    revision = release(client, resource, &set.metadata, &meta.uid).await?;
                    continue;
                }
                Claim::Adopt => {
                    if !std::mem::replace(&mut asked, true) {
                        may_adopt(client, &self.resource, meta).await?;
                    }
                    revision = adopt(client, &self.sets_resource, &set.metadata, &owner).await?;
                }
                Claim::Keep => {}
            }
            claimed.push(set);
        }
        self.sets.caught_up(revision).await?;
        Ok(claimed)
    }

    fn seen(&self, set: &Keep<ReplicaSet>, template: &Value) -> Result<Set, Error> {
        let mut own = set.object.value()?["spec"]["template"].take();
        remove_hash(&mut own);
        let mut wanted = template.clone();
        remove_hash(&mut wanted);
        let meta = &set.metadata;
        Ok(Set {
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            created: meta.created(),
            deleting: meta.deleting(),
            generation: meta.generation,
            annotations: meta.annotations.clone(),
            replicas: set.spec.replicas,
            min_ready_seconds: set.spec.min_ready_seconds,
            current: own == wanted,
            has_pods: self.pods_of.get(&meta.uid).iter().any(|pod| !pod.finished()),
            status: set.status.clone(),
        })
    }

    async fn carry_out(
        &self,
        deployment: &Keep<Deployment>,
        present: &[Arc<Keep<ReplicaSet>>],
        template: Value,
        hash: &str,
        mut plan: Plan,
    ) -> Result<(), Error> {
        let about = reference_to(&deployment.object);
        let mut revision = 0;
        if let Some(new) = plan.create.take() {
            match self.create(deployment, &template, hash, &new, &mut plan.status).await {
                Ok(Some(made)) => revision = made,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.write_status(deployment, &plan.status).await?;
                    return Err(error);
                }
            }
            self.tell(&about, &plan, &new.name);
        }
        for set in &plan.update {
            let before = present.iter().find(|before| before.metadata.name == set.name);
            let Some(before) = before else { continue };
            let patch = change_of(before, set);
            let client = &self.context.client;
            let namespace = &before.metadata.namespace;
            let written = client.patch(&self.sets_resource, namespace, &set.name, patch).await?;
            revision = revision.max(written.head().resource_version);
            self.tell(&about, &plan, &set.name);
        }
        for set in &plan.delete {
            let options =
                WriteOptions { precondition_uid: Some(set.uid.clone()), ..WriteOptions::default() };
            let namespace = &deployment.metadata.namespace;
            let client = &self.context.client;
            match client.delete(&self.sets_resource, namespace, &set.name, options).await {
                Err(error) if !error.is_not_found() && !error.is_conflict() => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        if let Some(revision) = &plan.revision {
            let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
            let meta = &deployment.metadata;
            let client = &self.context.client;
            client.patch(&self.resource, &meta.namespace, &meta.name, Patch::merge(patch)).await?;
        }
        self.write_status(deployment, &plan.status).await?;
        Ok(self.sets.caught_up(revision).await?)
    }

    fn tell(&self, about: &onggi_api::core::ObjectReference, plan: &Plan, set: &str) {
        for (_, text) in plan.scaled.iter().filter(|(name, _)| name == set) {
            self.context.events.normal(about.clone(), "ScalingReplicaSet", text.clone());
        }
    }

    /// Makes the new set and answers its revision; nothing when the namespace ends. What went
    /// wrong stands in the status.
    async fn create(
        &self,
        deployment: &Keep<Deployment>,
        template: &Value,
        hash: &str,
        new: &Set,
        status: &mut DeploymentStatus,
    ) -> Result<Option<u64>, Error> {
        let value = new_set(&deployment.object, template, hash, new)?;
        let namespace = &deployment.metadata.namespace;
        let client = &self.context.client;
        let error = match client.create(&self.sets_resource, namespace, value).await {
            Ok(made) => return Ok(Some(made.head().resource_version)),
            Err(error) if namespace_ends(&error) => return Ok(None),
            Err(error) => error,
        };
        if error.is_already_exists() {
            let taken = client.get(&self.sets_resource, namespace, &new.name).await?;
            let owner = taken.head().controller().map(|owner| owner.uid.as_str());
            let mut own = taken.value()?["spec"]["template"].take();
            let mut wanted = template.clone();
            remove_hash(&mut own);
            remove_hash(&mut wanted);
            if owner == Some(deployment.metadata.uid.as_str()) && own == wanted {
                // Made before; the cache did not show it yet.
                return Ok(Some(taken.head().resource_version));
            }
            // Another template of the same hash: a number more makes another hash.
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            return Err(Error::Stale(format!("the name {} is taken", new.name)));
        }
        let message = format!("Failed to create new replica set \"{}\": {error}", new.name);
        let about = reference_to(&deployment.object);
        self.context.events.warning(about, "ReplicaSetCreateError", message.clone());
        if status::deadline(deployment).is_some() {
            let now = self.context.now();
            let failed = status::condition(
                status::PROGRESSING,
                "False",
                "ReplicaSetCreateError",
                message,
                now,
            );
            status::set(&mut status.conditions, failed);
        }
        Err(error.into())
    }

    async fn write_status(
        &self,
        deployment: &Keep<Deployment>,
        status: &DeploymentStatus,
    ) -> Result<(), Error> {
        if *status == deployment.status {
            return Ok(());
        }
        let (meta, client) = (&deployment.metadata, &self.context.client);
        let patch = Patch::merge(json!({"status": status}));
        match client.patch_status(&self.resource, &meta.namespace, &meta.name, patch).await {
            // The next step compares with what was written now.
            Ok(written) => Ok(self.deployments.caught_up(written.head().resource_version).await?),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What changes of a set: its size, its annotations, how long its pods must be ready.
fn change_of(before: &ReplicaSet, set: &Set) -> Patch {
    let annotations: BTreeMap<_, _> = set
        .annotations
        .iter()
        .filter(|(key, value)| before.metadata.annotations.get(*key) != Some(value))
        .collect();
    let mut spec = json!({});
    if before.spec.replicas != set.replicas {
        spec["replicas"] = set.replicas.into();
    }
    if before.spec.min_ready_seconds != set.min_ready_seconds {
        spec["minReadySeconds"] = set.min_ready_seconds.into();
    }
    Patch::merge(json!({"metadata": {"annotations": annotations}, "spec": spec}))
}

/// A ReplicaSet for the template; its text is copied, not a typed view of it.
fn new_set(deployment: &Object, template: &Value, hash: &str, new: &Set) -> Result<Value, Error> {
    let value = deployment.value()?;
    let mut template = template.clone();
    map_mut(&mut template, "metadata.labels").insert(HASH_LABEL.into(), hash.into());
    let mut selector = at(&value, "spec.selector").clone();
    map_mut(&mut selector, "matchLabels").insert(HASH_LABEL.into(), hash.into());
    let labels: serde_json::Map<_, _> =
        entries_at(&template, "metadata.labels").map(|(k, v)| (k.to_owned(), v.clone())).collect();
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": new.name,
            "labels": labels,
            "annotations": new.annotations,
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {
            "replicas": new.replicas,
            "minReadySeconds": new.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    }))
}

/// Templates are compared without the hash; a person may have left it in.
fn remove_hash(template: &mut Value) {
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
}

/// FNV-1a of the template's canonical text, told apart by the number of collisions, written with
/// Kubernetes' letters.
fn template_hash(template: &Value, collisions: i32) -> String {
    let text = template.to_string();
    let mut hash: u32 = 0x811c_9dc5;
    for byte in text.bytes().chain(collisions.to_le_bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

//! Garbage collection: what belongs to nobody any more is deleted, in the way that the delete of
//! its owner asked for.

mod graph;
mod plan;

use std::collections::HashSet;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, OwnerReference};
use onggi_client::{
    Cache, Change, ListOptions, Next, ObjectKey, Patch, Source, WorkQueue, WriteOptions,
};
use onggi_machinery::value::{list_at, set};
use serde_json::{Value, json};

use crate::Error;
use crate::aggregated;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::kinds::{self, Kind, Turn};
use crate::view::Dependent;
use graph::{FOREGROUND, Graph, ORPHAN, Owner, Vertex};
use plan::{Action, FOREGROUND_POLICY, Owns};

struct GarbageCollector {
    context: Context,
    graph: Graph,
    queue: WorkQueue<Vertex>,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let graph = Graph::new(&context);
    let mut harness = Harness::new(&context);
    for (place, objects) in graph.caches().into_iter().enumerate() {
        let graph = graph.clone();
        // Of an owner, too, that came and went before it was looked at: it may have left dependents.
        harness.watch_all_ends(&objects, move |change| concerned(&graph, place, change));
    }
    let definitions = kinds::definitions(&context);
    harness.needs(&definitions);
    let services = aggregated::services(&context);
    harness.needs(&services);
    let queue = harness.queue();
    let (beside, all, found) = (context.clone(), graph.clone(), queue.clone());
    let come = move |kind: &Kind, comes: bool| {
        if comes {
            let (place, objects) = all.add(&beside, kind.clone());
            tokio::spawn(follow(all.clone(), place, objects, found.clone()));
        } else {
            // A definition and another server may have had the same resource, one after the other.
            if !all.remove(kind) {
                beside.forget(&Source::all(kind.resource.clone()));
            }
        }
    };
    let aggregated = aggregated::follow(context.clone(), services, come.clone());
    harness.beside(aggregated);
    harness.beside(kinds::follow(definitions, move |turn| match turn {
        Turn::Gone(row) => come(&Kind::of(row), false),
        Turn::Come(row) => come(&Kind::of(row), true),
    }));
    harness.run(GarbageCollector { context, graph, queue })
}

/// Follows the objects of a custom kind, or one of another server, until it is gone.
async fn follow(graph: Graph, place: usize, objects: Cache<Dependent>, queue: WorkQueue<Vertex>) {
    if objects.synced().await.is_err() {
        return;
    }
    let mut changes = objects.subscribe_to_all_ends();
    // Whose owner went before it was seen hears of no change.
    graph.bereft(place).into_iter().for_each(|vertex| queue.add(vertex));
    while let Some(change) = changes.recv().await {
        concerned(&graph, place, &change).into_iter().for_each(|vertex| queue.add(vertex));
    }
}

fn concerned(graph: &Graph, place: usize, change: &Change<Dependent>) -> Vec<Vertex> {
    let (before, after) = (change.before(), change.after());
    graph.concerned(place, change.key(), before.map(|v| &**v), after.map(|v| &**v))
}

#[async_trait]
impl Controller for GarbageCollector {
    type Key = Vertex;

    async fn reconcile(&self, vertex: &Vertex) -> Result<Next, Error> {
        let Some(object) = self.graph.get(vertex) else { return Ok(Next::Done) };
        if !object.deleting {
            self.collect(vertex, &object).await?;
        } else if object.has_finalizer(ORPHAN) {
            self.orphan(vertex).await?;
        } else if object.has_finalizer(FOREGROUND) {
            self.wait_for_dependents(vertex).await?;
        }
        Ok(Next::Done)
    }
}

impl GarbageCollector {
    fn resource(&self, vertex: &Vertex) -> GroupVersionResource {
        // A vertex has its place from the graph, which takes none away.
        let gone = || GroupVersionResource::new("", "", "");
        self.graph.kind(vertex.kind).map_or_else(gone, |kind| kind.resource.clone())
    }

    async fn collect(&self, vertex: &Vertex, object: &Dependent) -> Result<(), Error> {
        let mut owners = Vec::with_capacity(object.owners.len());
        for reference in &object.owners {
            owners.push((reference, self.look_at(&vertex.key.namespace, reference).await?));
        }
        let dependents = self.graph.dependents(&vertex.uid);
        let waits = |vertex: &Vertex| self.graph.get(vertex).is_some_and(|one| one.waits());
        match plan::plan(object, &owners, !dependents.is_empty()) {
            // A circle: what this one owns waits for its owners, and they would wait for this one.
            Action::Delete(FOREGROUND_POLICY) if dependents.iter().any(waits) => {
                self.unblock(vertex).await?;
                self.delete(vertex, FOREGROUND_POLICY).await
            }
            Action::Nothing => Ok(()),
            Action::Disown(uids) => self.disown(vertex, &uids).await,
            Action::Delete(policy) => self.delete(vertex, policy).await,
        }
    }

    async fn delete(&self, vertex: &Vertex, policy: &str) -> Result<(), Error> {
        let options = WriteOptions {
            propagation_policy: policy.to_owned(),
            precondition_uid: Some(vertex.uid.clone()),
            ..WriteOptions::default()
        };
        let (namespace, name) = (&vertex.key.namespace, &vertex.key.name);
        let client = &self.context.client;
        gone_is_fine(
            client.delete(&self.resource(vertex), namespace, name, options).await.map(drop),
        )
    }

    /// Its owners need not wait for this one.
    async fn unblock(&self, vertex: &Vertex) -> Result<(), Error> {
        let (namespace, name) = (&vertex.key.namespace, &vertex.key.name);
        let change = |value: &mut Value| {
            if value["metadata"]["uid"] != vertex.uid.as_str() {
                return;
            }
            let mut owners = list_at(value, "metadata.ownerReferences").to_vec();
            owners.iter_mut().for_each(|owner| owner["blockOwnerDeletion"] = false.into());
            set(value, "metadata.ownerReferences", owners);
        };
        let client = &self.context.client;
        let changed = client.modify(&self.resource(vertex), namespace, name, "", change).await;
        gone_is_fine(changed.map(drop))
    }

    /// How an owner is. One that the cache does not know is asked for before anything is deleted
    /// on account of its absence.
    async fn look_at(&self, namespace: &str, reference: &OwnerReference) -> Result<Owns, Error> {
        let owner = match self.graph.owner(namespace, reference) {
            Owner::Foreign => return Ok(Owns::Solid),
            Owner::Known(_, owner) => (*owner).clone(),
            Owner::Unknown(place) => {
                let Some(kind) = self.graph.kind(place) else { return Ok(Owns::Solid) };
                let namespace = if kind.namespaced { namespace } else { "" };
                match self.context.client.get(&kind.resource, namespace, &reference.name).await {
                    Ok(found) if found.head().uid == reference.uid => Dependent::of(found.head()),
                    Ok(_) => return Ok(Owns::Absent),
                    Err(error) if says_gone(&error, &reference.name) => return Ok(Owns::Absent),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(if owner.waits() { Owns::Waiting } else { Owns::Solid })
    }

    /// An owner being deleted goes when those below it that block it are gone.
    async fn wait_for_dependents(&self, vertex: &Vertex) -> Result<(), Error> {
        let mut blocked = false;
        for dependent in self.graph.dependents(&vertex.uid) {
            let Some(object) = self.graph.get(&dependent) else { continue };
            let blocks = |owner: &OwnerReference| {
                owner.uid == vertex.uid && owner.block_owner_deletion == Some(true)
            };
            blocked |= object.owners.iter().any(blocks);
            if !object.deleting {
                self.queue.add(dependent);
            }
        }
        if blocked { Ok(()) } else { self.let_go(vertex, FOREGROUND).await }
    }

    /// What an orphaning owner leaves behind forgets it; then it goes.
    async fn orphan(&self, vertex: &Vertex) -> Result<(), Error> {
        let mut dependents: HashSet<Vertex> =
            self.graph.dependents(&vertex.uid).into_iter().collect();
        dependents.extend(self.asked(vertex).await?);
        for dependent in dependents {
            self.disown(&dependent, std::slice::from_ref(&vertex.uid)).await?;
        }
        self.let_go(vertex, ORPHAN).await
    }

    /// The dependents that the API tells of, which is seldom asked: the caches may not have heard of
    /// those made just before, and they would be deleted when their owner is gone. Who does not
    /// answer may have some: then the owner waits.
    async fn asked(&self, owner: &Vertex) -> Result<Vec<Vertex>, Error> {
        let mut found = Vec::new();
        for (place, kind) in self.graph.listable() {
            let namespace = &owner.key.namespace;
            // What has no namespace is not owned by what is in one.
            let namespace = match kind.namespaced {
                true => namespace.as_str(),
                false if namespace.is_empty() => "",
                false => continue,
            };
            let client = &self.context.client;
            let (_, items) = client.list(&kind.resource, namespace, ListOptions::default()).await?;
            let heads = items.iter().map(|object| object.head());
            let owned = heads.filter(|head| {
                head.owner_references.iter().any(|reference| reference.uid == owner.uid)
            });
            found.extend(owned.map(|head| Vertex {
                kind: place,
                key: ObjectKey::new(&head.namespace, &head.name),
                uid: head.uid.clone(),
            }));
        }
        Ok(found)
    }

    async fn disown(&self, vertex: &Vertex, owners: &[String]) -> Result<(), Error> {
        if self.graph.kind(vertex.kind).is_some_and(|kind| !kind.built_in) {
            return self.disown_other(vertex, owners).await;
        }
        let off: Vec<Value> =
            owners.iter().map(|uid| json!({"$patch": "delete", "uid": uid})).collect();
        let patch = json!({"metadata": {"uid": vertex.uid, "ownerReferences": off}});
        let (namespace, name) = (&vertex.key.namespace, &vertex.key.name);
        let client = &self.context.client;
        let patch = Patch::strategic(patch);
        gone_is_fine(client.patch(&self.resource(vertex), namespace, name, patch).await.map(drop))
    }

    /// Objects of custom kinds take no strategic patches, nor may those of other servers.
    async fn disown_other(&self, vertex: &Vertex, owners: &[String]) -> Result<(), Error> {
        let (namespace, name) = (&vertex.key.namespace, &vertex.key.name);
        let change = |value: &mut Value| {
            if value["metadata"]["uid"] != vertex.uid.as_str() {
                return;
            }
            let mut left = list_at(value, "metadata.ownerReferences").to_vec();
            left.retain(|owner| !owners.iter().any(|uid| owner["uid"] == uid.as_str()));
            set(value, "metadata.ownerReferences", left);
        };
        let client = &self.context.client;
        let changed = client.modify(&self.resource(vertex), namespace, name, "", change).await;
        gone_is_fine(changed.map(drop))
    }

    async fn let_go(&self, vertex: &Vertex, finalizer: &str) -> Result<(), Error> {
        let (namespace, name) = (&vertex.key.namespace, &vertex.key.name);
        let change = |value: &mut Value| {
            if value["metadata"]["uid"] != vertex.uid.as_str() {
                return;
            }
            let mut finalizers = list_at(value, "metadata.finalizers").to_vec();
            finalizers.retain(|other| other != finalizer);
            set(value, "metadata.finalizers", finalizers);
        };
        let client = &self.context.client;
        match client.modify(&self.resource(vertex), namespace, name, "", change).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Whether it is this object that is not there: who has lost a whole path, as a server does that is
/// being replaced, says nothing about what stood there.
fn says_gone(error: &onggi_client::Error, name: &str) -> bool {
    let details = error.status().and_then(|status| status.details.as_ref());
    error.is_not_found() && details.is_some_and(|details| details.name == name)
}

/// Gone already, or another one of the same name: the caches tell soon.
fn gone_is_fine(result: Result<(), onggi_client::Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.into()),
        _ => Ok(()),
    }
}

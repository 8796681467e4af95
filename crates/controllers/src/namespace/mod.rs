//! The end of a namespace: all that is in it is deleted, and when it is gone, so is the namespace.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, Object};
use onggi_client::informer::Whole;
use onggi_client::{Body, Cache, ListOptions, Next, Patch, Request, Source, WriteOptions};
use onggi_machinery::kinds::namespace::FINALIZER;
use onggi_machinery::resource::{self, Resource, Verb};
use onggi_machinery::value::{at, list_at, set};
use parking_lot::RwLock;
use serde_json::json;

use crate::Error;
use crate::aggregated::{self, Handed};
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::kinds::{self, Kind, Turn};
use crate::view::{Condition, Dependent};
use plan::Remains;

struct Namespaces {
    context: Context,
    resource: GroupVersionResource,
    namespaces: Cache<Whole>,
    custom: Custom,
    services: Cache<Handed>,
}

/// How soon a namespace is looked at again that waits for objects of other servers, of whose end
/// nobody tells.
const AGAIN: Duration = Duration::from_secs(5);

/// The custom kinds that live in namespaces.
type Custom = Arc<RwLock<Vec<&'static Resource>>>;

/// What lives in a namespace and can be deleted; the pods first, since they may need the rest until
/// they have ended.
fn content() -> impl Iterator<Item = &'static Resource> {
    let deletable =
        |row: &&'static Resource| row.namespaced() && row.verbs.contains(&Verb::DeleteCollection);
    let all = resource::all().iter().copied().filter(deletable);
    let (pods, rest): (Vec<_>, Vec<_>) = all.partition(|row| row.plural == "pods");
    pods.into_iter().chain(rest)
}

/// Keys are namespaces.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let resource = GroupVersionResource::new("", "v1", "namespaces");
    let namespaces: Cache<Whole> = context.cache(Source::all(resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&namespaces, |change| vec![change.key().name.clone()]);
    // What ends a namespace's wait is that something in it is gone. Events go at once.
    for row in content().filter(|row| row.plural != "events") {
        let objects: Cache<Dependent> = context.cache(Source::all(row.gvr()));
        let ending = namespaces.clone();
        harness.watch(&objects, move |change| {
            let namespace = &change.key().namespace;
            let gone = change.after().is_none();
            let waits = gone && ending.get("", namespace).is_some_and(|ns| ns.head().deleting);
            waits.then(|| namespace.clone()).into_iter().collect()
        });
    }
    let services = aggregated::services(&context);
    let ending = namespaces.clone();
    harness.watch(&services, move |_| {
        // What was not to be found out about them may be now.
        let all = ending.list().into_iter().filter(|namespace| namespace.head().deleting);
        all.map(|namespace| namespace.head().name.clone()).collect()
    });
    let custom = Custom::default();
    let definitions = kinds::definitions(&context);
    harness.needs(&definitions);
    let (beside, known, queue, ending) =
        (context.clone(), Arc::clone(&custom), harness.queue(), namespaces.clone());
    harness.beside(kinds::follow(definitions, move |turn| match turn {
        Turn::Gone(row) => known.write().retain(|known| !std::ptr::eq(*known, row)),
        Turn::Come(row) if row.namespaced() => {
            known.write().push(row);
            let objects: Cache<Dependent> = beside.cache(Source::all(row.gvr()));
            tokio::spawn(follow(objects, ending.clone(), queue.clone()));
        }
        Turn::Come(_) => {}
    }));
    harness.run(Namespaces { context, resource, namespaces, custom, services })
}

/// Follows the objects of a custom kind until it is gone.
async fn follow(
    objects: Cache<Dependent>,
    namespaces: Cache<Whole>,
    queue: onggi_client::WorkQueue<String>,
) {
    let mut changes = objects.subscribe();
    while let Some(change) = changes.recv().await {
        let namespace = &change.key().namespace;
        let gone = change.after().is_none();
        if gone && namespaces.get("", namespace).is_some_and(|ns| ns.head().deleting) {
            queue.add(namespace.clone());
        }
    }
}

#[async_trait]
impl Controller for Namespaces {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get("", name) else { return Ok(Next::Done) };
        if !namespace.head().deleting {
            return Ok(Next::Done);
        }
        let mut remains = Remains::default();
        let others = self.others(&mut remains).await;
        let custom = self.custom.read().clone();
        let own = content().chain(custom).map(Kind::of);
        for kind in own.chain(others) {
            let pods = kind.built_in && kind.resource.resource == "pods";
            self.empty(name, &kind, &mut remains).await?;
            if pods && !(remains.objects.is_empty() && remains.failures.is_empty()) {
                break;
            }
        }
        if remains.is_empty() {
            return self.finalize(name).await;
        }
        self.report(&namespace, &remains).await?;
        let undiscovered = remains.undiscovered.map(|(_, why)| why);
        match remains.failures.into_iter().next().or(undiscovered) {
            Some(failure) => Err(Error::Stale(failure)),
            None if remains.elsewhere => Ok(Next::After(AGAIN)),
            None => Ok(Next::Done),
        }
    }
}

/// Whether a server does not do such a thing with a kind, whatever its discovery says.
fn is_not_allowed(error: &onggi_client::Error) -> bool {
    error.status().is_some_and(|status| status.code == 405)
}

impl Namespaces {
    /// The kinds of other servers that live in namespaces and can be deleted.
    async fn others(&self, remains: &mut Remains) -> Vec<Kind> {
        let found = match aggregated::discover(&self.context, &self.services).await {
            Ok(found) => found,
            Err(error) => {
                remains.undiscovered = Some((1, error.to_string()));
                return Vec::new();
            }
        };
        remains.undiscovered = found.failure().map(|why| (found.failed.len(), why));
        let kinds = found.kinds.into_iter();
        kinds.filter(|kind| kind.namespaced && kind.can("delete") && kind.can("list")).collect()
    }

    /// Deletes what there is of a kind, and notes down what stays for now. What is wrong with
    /// another server stops nothing but the end.
    async fn empty(&self, name: &str, kind: &Kind, remains: &mut Remains) -> Result<(), Error> {
        match self.try_to_empty(name, kind, remains).await {
            // A custom kind that has just gone. Another server that has lost a path may have objects.
            Err(error) if error.is_not_found() && !kind.elsewhere => Ok(()),
            // It cannot do that at all.
            Err(error) if kind.elsewhere && is_not_allowed(&error) => Ok(()),
            Err(error) if kind.elsewhere => {
                let what = kind.resource.group_resource();
                remains.failures.push(format!("{what}: {error}"));
                Ok(())
            }
            done => Ok(done?),
        }
    }

    async fn try_to_empty(
        &self,
        name: &str,
        kind: &Kind,
        remains: &mut Remains,
    ) -> Result<(), onggi_client::Error> {
        let client = &self.context.client;
        let resource = &kind.resource;
        let list = || client.list(resource, name, ListOptions::default());
        let mut objects = list().await?.1;
        if objects.iter().any(|object| !object.head().deleting) {
            if let Err(error) = self.delete_all(name, kind, &objects).await {
                remains.failures.push(format!("{}: {error}", resource.group_resource()));
            }
            objects = list().await?.1;
        }
        if !objects.is_empty() {
            let what = format!("{}.{}", resource.resource, resource.group);
            remains.objects.insert(what, objects.len());
            remains.elsewhere |= kind.elsewhere;
        }
        for finalizer in objects.iter().flat_map(|object| &object.head().finalizers) {
            *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// All at once, or one by one at a server that cannot do that.
    async fn delete_all(
        &self,
        name: &str,
        kind: &Kind,
        objects: &[Arc<Object>],
    ) -> Result<(), onggi_client::Error> {
        let client = &self.context.client;
        // Nothing of it is to be left behind, whatever the kind's own way is.
        let options = || WriteOptions {
            propagation_policy: "Background".to_owned(),
            ..WriteOptions::default()
        };
        if kind.can("deletecollection") {
            let mut all = Request::new(Verb::DeleteCollection, kind.resource.clone(), name, "");
            all.write = options();
            match client.call(all).await {
                Err(error) if is_not_allowed(&error) => {}
                done => return done.map(drop),
            }
        }
        for head in objects.iter().map(|object| object.head()).filter(|head| !head.deleting) {
            match client.delete(&kind.resource, name, &head.name, options()).await {
                Err(error) if is_not_allowed(&error) => return Ok(()),
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets go of the namespace.
    async fn finalize(&self, name: &str) -> Result<Next, Error> {
        let client = &self.context.client;
        let mut value = match client.get(&self.resource, "", name).await {
            Ok(object) if object.head().deleting => object.value()?,
            Ok(_) => return Ok(Next::Done),
            Err(error) if error.is_not_found() => return Ok(Next::Done),
            Err(error) => return Err(error.into()),
        };
        let mut finalizers = list_at(&value, "spec.finalizers").to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Next::Done);
        }
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        set(&mut value, "spec.finalizers", finalizers);
        let request = Request::new(Verb::Update, self.resource.clone(), "", name);
        let request = request.subresource("finalize").body(Body::Object(value));
        match client.call(request).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Next::Done),
        }
    }

    async fn report(&self, namespace: &Object, remains: &Remains) -> Result<(), Error> {
        let value = namespace.value()?;
        let old: Vec<Condition> =
            serde_json::from_value(at(&value, "status.conditions").clone()).unwrap_or_default();
        let new = plan::conditions(&old, remains, self.context.now());
        if new == old {
            return Ok(());
        }
        let patch = Patch::merge(json!({"status": {"conditions": new}}));
        let name = &namespace.head().name;
        self.context.client.patch_status(&self.resource, "", name, patch).await?;
        Ok(())
    }
}

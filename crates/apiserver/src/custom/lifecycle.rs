//! What becomes of definitions: names are given to those that wait for them, and the objects of a
//! deleted definition go before it does.

use std::sync::Weak;
use std::time::Duration;

use onggi_api::Status;
use onggi_client::{Request, WriteOptions};
use onggi_machinery::crd::{self, names};
use onggi_machinery::kinds::customresourcedefinition;
use onggi_machinery::resource::{Resource, Verb};
use onggi_machinery::value::{at, list_at, set, str_at};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ApiServer;
use crate::authn::User;
use crate::cache::Selection;
use crate::registry::{Context, Part, Registry};

/// How long until what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Works until the shutdown.
pub(crate) async fn run(server: Weak<ApiServer>, shutdown: CancellationToken) {
    let mut changes = match server.upgrade() {
        Some(server) => match server.registry.cache.of(&customresourcedefinition::RESOURCE) {
            Ok(collection) => collection.subscribe(),
            Err(_) => return,
        },
        None => return,
    };
    loop {
        changes.borrow_and_update();
        let Some(strong) = server.upgrade() else { return };
        let (waiting, failed) = sweep(&strong.registry).await;
        drop(strong);
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = any_changed(waiting) => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

/// Ends when one of the collections has changed; never when there is none.
async fn any_changed(mut waiting: Vec<watch::Receiver<u64>>) {
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    let all = waiting.iter_mut().map(|changes| Box::pin(changes.changed()));
    let _ = futures::future::select_all(all).await;
}

/// Goes over all definitions. Gives the collections whose emptying is waited for, and whether
/// something failed.
async fn sweep(registry: &Registry) -> (Vec<watch::Receiver<u64>>, bool) {
    let mut waiting = Vec::new();
    let mut failed = false;
    for definition in registry.kinds.snapshot().unsettled() {
        let done = if definition.deleting {
            terminate(registry, &definition.name, &mut waiting).await
        } else {
            settle(registry, &definition.name).await
        };
        if let Err(status) = done
            && !status.is_not_found()
        {
            let name = &definition.name;
            tracing::warn!(definition = %name, error = %status.message, "not settled yet");
            failed = true;
        }
    }
    (waiting, failed)
}

/// The names and conditions that a definition should have, beside the others.
pub(crate) fn settled(registry: &Registry, definition: &Value) -> Value {
    let snapshot = registry.kinds.snapshot();
    let (group, name) = (str_at(definition, "spec.group"), str_at(definition, "metadata.name"));
    names::status(definition, &snapshot.names_beside(group, name), &registry.clock.rfc3339())
}

async fn settle(registry: &Registry, name: &str) -> Result<(), Status> {
    change(registry, name, |value| {
        let status = settled(registry, value);
        set(value, "status", status);
    })
    .await
}

async fn change(
    registry: &Registry,
    name: &str,
    change: impl Fn(&mut Value) + Send + Sync,
) -> Result<(), Status> {
    let row = &customresourcedefinition::RESOURCE;
    // Looked at before it is written, since nearly always there is nothing to do.
    let current = registry.current(row, "", name).await?.value().map_err(Status::internal)?;
    let mut new = current.clone();
    change(&mut new);
    if new == current {
        return Ok(());
    }
    let request = Request::new(Verb::Update, row.gvr(), "", name);
    let whole = Part::Whole("status");
    registry
        .change(&context(), row, whole, &request, &mut Vec::new(), |old, _| {
            let mut new = old.clone();
            change(&mut new);
            Ok(new)
        })
        .await
        .map(drop)
}

fn context() -> Context {
    Context::new(User::new("system:apiserver", &["system:masters"]))
}

/// Empties the collection of a definition that goes; then lets go of it.
async fn terminate(
    registry: &Registry,
    name: &str,
    waiting: &mut Vec<watch::Receiver<u64>>,
) -> Result<(), Status> {
    let object = registry.current(&customresourcedefinition::RESOURCE, "", name).await?;
    if !object.head().finalizers.iter().any(|name| name == crd::FINALIZER) {
        return Ok(());
    }
    let row = registry.kinds.snapshot().storage_of(name).map(|version| version.row);
    if let Some(row) = row
        && !empty(registry, row, waiting).await?
    {
        return condition(registry, name, "True", IN_PROGRESS).await;
    }
    condition(registry, name, "False", COMPLETED).await?;
    change(registry, name, |value| {
        let mut finalizers = list_at(value, "metadata.finalizers").to_vec();
        finalizers.retain(|finalizer| finalizer != crd::FINALIZER);
        set(value, "metadata.finalizers", finalizers);
    })
    .await
}

const IN_PROGRESS: (&str, &str) =
    ("InstanceDeletionInProgress", "CustomResource deletion is in progress");
const COMPLETED: (&str, &str) = ("InstanceDeletionCompleted", "removed all instances");

async fn condition(
    registry: &Registry,
    name: &str,
    state: &str,
    why: (&str, &str),
) -> Result<(), Status> {
    change(registry, name, |value| {
        let mut conditions = at(value, "status.conditions").as_array().cloned().unwrap_or_default();
        let now = registry.clock.rfc3339();
        names::set_condition(&mut conditions, (names::TERMINATING, state), why, &now);
        set(value, "status.conditions", conditions);
    })
    .await
}

/// Deletes the objects of a kind; says whether none is left.
async fn empty(
    registry: &Registry,
    row: &'static Resource,
    waiting: &mut Vec<watch::Receiver<u64>>,
) -> Result<bool, Status> {
    let collection = registry.cache.of(row)?;
    let changes = collection.subscribe();
    let left = || collection.list(&Selection::everything(), registry.cache.applied(), 0).items;
    let options = WriteOptions::default();
    for object in left().iter().filter(|object| !object.head().deleting) {
        let head = object.head();
        let mut request = Request::new(Verb::Delete, row.gvr(), &head.namespace, &head.name);
        request.write = options.clone();
        match registry.delete(&context(), row, &request).await {
            Err(status) if !status.is_not_found() && !status.is_conflict() => return Err(status),
            _ => {}
        }
    }
    registry.cache.catch_up().await?;
    let empty = left().is_empty();
    if !empty {
        waiting.push(changes);
    }
    Ok(empty)
}

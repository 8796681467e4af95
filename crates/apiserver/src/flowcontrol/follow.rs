//! The objects that say which flows and levels there are: made where they are missing, and followed
//! as they change.

use std::sync::{Arc, Weak};

use onggi_api::{GroupVersionResource, Status};
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::kinds::flowcontrol as first;
use onggi_machinery::resource::{self, Resource, Verb};
use onggi_machinery::value::{find, list_at, str_at};
use serde_json::{Value, json};

use crate::ApiServer;
use crate::authn::User;
use crate::cache::Selection;
use crate::registry::Context;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

fn rows() -> Option<(&'static Resource, &'static Resource)> {
    let row = |plural| resource::by_gvr(GROUP, "v1", plural);
    Some((row("flowschemas")?, row("prioritylevelconfigurations")?))
}

fn context() -> Context {
    Context::new(User::new("system:apiserver", &["system:masters"]))
}

fn request(verb: Verb, row: &Resource, name: &str, body: Body) -> Request {
    let resource = GroupVersionResource::new(row.group, row.version, row.plural);
    Request::new(verb, resource, "", name).body(body)
}

/// Makes the objects that are there from the beginning, where the kinds are served. What somebody
/// has changed stays as it is.
pub(crate) async fn ensure(server: &Arc<ApiServer>) -> Result<(), Status> {
    let Some((schemas, levels)) = rows() else { return Ok(()) };
    let all = first::priority_levels().map(|level| (levels, level));
    for (row, object) in all.chain(first::flow_schemas().map(|s| (schemas, s))) {
        let create = request(Verb::Create, row, "", Body::Object(object));
        match server.handle(&context(), create).await {
            Ok(_) => {}
            Err(status) if status.is_already_exists() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

/// Follows the objects until the server ends.
pub(crate) async fn run(server: Weak<ApiServer>) {
    let Some((schemas, levels)) = rows() else { return };
    let (mut changed, mut also, shutdown) = {
        let Some(server) = server.upgrade() else { return };
        let cache = &server.registry.cache;
        let (Ok(schemas), Ok(levels)) = (cache.of(schemas), cache.of(levels)) else { return };
        (schemas.subscribe(), levels.subscribe(), server.shutdown().clone())
    };
    loop {
        changed.borrow_and_update();
        also.borrow_and_update();
        {
            let Some(server) = server.upgrade() else { return };
            take(&server, schemas, levels).await;
        }
        let ended = tokio::select! {
            () = shutdown.cancelled() => true,
            changed = changed.changed() => changed.is_err(),
            changed = also.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

async fn take(server: &Arc<ApiServer>, schemas: &'static Resource, levels: &'static Resource) {
    let (Some(schemas_now), Some(levels_now)) = (all(server, schemas), all(server, levels)) else {
        return;
    };
    server.flow_control.configure(&schemas_now, &levels_now);
    let dangling = server.flow_control.rules.load().dangling.clone();
    for schema in &schemas_now {
        let name = str_at(schema, "metadata.name");
        let level = str_at(schema, "spec.priorityLevelConfiguration.name");
        let wanted = condition(dangling.iter().any(|known| known == name), level);
        if is_told(schema, &wanted) {
            continue;
        }
        let now = server.registry.clock.rfc3339();
        let mut wanted = wanted;
        wanted["lastTransitionTime"] = now.into();
        let patch = json!({"status": {"conditions": [wanted]}}).to_string();
        let body = Body::Patch(PatchKind::Strategic, patch.into());
        let update = request(Verb::Patch, schemas, name, body).subresource("status");
        if let Err(error) = server.handle(&context(), update).await {
            tracing::debug!(%error, name, "the status of a FlowSchema stays as it is");
        }
    }
}

fn all(server: &ApiServer, row: &'static Resource) -> Option<Vec<Value>> {
    let cache = &server.registry.cache;
    let items = cache.of(row).ok()?.list(&Selection::everything(), cache.applied(), 0).items;
    items.iter().map(|object| object.value().ok()).collect()
}

/// Whether its level is there, as a schema's status says it.
fn condition(dangling: bool, level: &str) -> Value {
    let (status, reason, not) =
        if dangling { ("True", "NotFound", "no ") } else { ("False", "Found", "") };
    let message = if dangling {
        format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} but there is {not}such object"
        )
    } else {
        format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
        )
    };
    json!({"type": "Dangling", "status": status, "reason": reason, "message": message})
}

fn is_told(schema: &Value, wanted: &Value) -> bool {
    let told = find(list_at(schema, "status.conditions"), "type", "Dangling");
    told.is_some_and(|told| {
        told["status"] == wanted["status"] && told["message"] == wanted["message"]
    })
}

//! `componentstatuses`: how the parts of the control plane are. Of the store the server itself
//! knows; the others are those that run beside it in its process, as whoever started them says.

use std::collections::BTreeSet;
use std::sync::Arc;

use onggi_api::{Object, Status};
use onggi_client::{ListMeta, Request, Response};
use onggi_machinery::resource::{Resource, Verb};
use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::registry::Registry;

/// Kubernetes' name of its store.
const STORE: &str = "etcd-0";
/// All that Kubernetes tells of, in the order of their names.
const NAMES: [&str; 3] = ["controller-manager", STORE, "scheduler"];

/// The components that run in this process.
#[derive(Default)]
pub(crate) struct Components(RwLock<BTreeSet<String>>);

impl Components {
    pub(crate) fn add(&self, name: &str) {
        self.0.write().insert(name.to_owned());
    }
}

/// GET of one, or of all.
pub(crate) fn answer(
    registry: &Registry,
    row: &Resource,
    request: &Request,
) -> Result<Response, Status> {
    if request.verb == Verb::List {
        let item = |name| Object::from_value(&component(registry, name), row.fields).map(Arc::new);
        let items = NAMES.into_iter().map(item).collect::<Result<_, _>>();
        let items = items.map_err(Status::internal)?;
        return Ok(Response::List { meta: ListMeta::default(), items, warnings: Vec::new() });
    }
    let name = NAMES.into_iter().find(|name| *name == request.name);
    let name = name.ok_or_else(|| Status::not_found(&row.group_resource(), &request.name))?;
    let value = component(registry, name);
    Ok(Response::Document { value, created: false, warnings: Vec::new() })
}

fn component(registry: &Registry, name: &str) -> Value {
    let health = match name {
        STORE => registry.store.health().map_err(|error| error.to_string()),
        _ if registry.components.0.read().contains(name) => Ok(()),
        _ => Err("does not run in the server's process".to_owned()),
    };
    let (status, message) = match health {
        Ok(()) => ("True", "ok".to_owned()),
        Err(problem) => ("False", problem),
    };
    json!({
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": status, "message": message}],
    })
}

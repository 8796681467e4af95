//! `componentstatuses`: what the server itself can tell of the control plane, which is its store.
//! Schedulers and controllers tell of themselves through their leases.

use std::sync::Arc;

use onggi_api::{Object, Status};
use onggi_client::{ListMeta, Request, Response};
use onggi_machinery::resource::{Resource, Verb};
use serde_json::{Value, json};

use crate::registry::Registry;

/// Kubernetes' name of its store.
const STORE: &str = "etcd-0";

/// GET of one, or of all.
pub(crate) fn answer(
    registry: &Registry,
    row: &Resource,
    request: &Request,
) -> Result<Response, Status> {
    let store = store(registry);
    match request.verb {
        Verb::List => {
            let meta = ListMeta::default();
            let item = Object::from_value(&store, row.fields).map_err(Status::internal)?;
            Ok(Response::List { meta, items: vec![Arc::new(item)] })
        }
        _ if request.name == STORE => {
            Ok(Response::Document { value: store, created: false, warnings: Vec::new() })
        }
        _ => Err(Status::not_found(&row.group_resource(), &request.name)),
    }
}

fn store(registry: &Registry) -> Value {
    let condition = match registry.store.health() {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => {
            json!({"type": "Healthy", "status": "False", "message": error.to_string()})
        }
    };
    json!({
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "metadata": {"name": STORE},
        "conditions": [condition],
    })
}

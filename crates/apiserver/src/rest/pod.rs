//! Pods: bound once, evicted, deleted in agreement with their kubelet.

use async_trait::async_trait;
use onggi_api::object::metadata_mut;
use onggi_api::{FieldError, Status};
use onggi_client::{Body, Request, Response};
use onggi_machinery::kinds::pod::parts;
use onggi_machinery::resource::{self, Resource, Verb};
use serde_json::{Value, json};

use super::{Hooks, eviction};
use crate::registry::{Context, Part, Registry, text};

/// `terminationGracePeriodSeconds` where the pod does not say.
const DEFAULT_GRACE: i64 = 30;

pub(super) struct Pods;

#[async_trait]
impl Hooks for Pods {
    /// Nobody stops the containers of a pod that is bound to no node or has ended: it goes at once.
    fn grace(&self, pod: &Value, asked: Option<i64>) -> i64 {
        let unbound = text(pod, "/spec/nodeName").is_empty();
        let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if unbound || ended {
            return 0;
        }
        let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(DEFAULT_GRACE);
        let earlier = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
        match asked {
            Some(asked) if asked >= 0 => asked,
            // A negative time, of the request or of the pod, means a second.
            Some(_) => 1,
            None => earlier.unwrap_or(if own < 0 { 1 } else { own }),
        }
    }

    fn prepare_part(&self, part: &str, new: &mut Value, old: &Value, _: &str) {
        parts::prepare(part, new, old);
    }

    fn validate_part(&self, part: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        parts::validate(part, new, old)
    }

    async fn subresource(
        &self,
        registry: &Registry,
        context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        match (request.subresource.as_str(), request.verb, &request.body) {
            ("binding", Verb::Create, Body::Object(binding)) => {
                bind(registry, context, row, request, binding).await
            }
            ("eviction", Verb::Create, Body::Object(eviction)) => {
                eviction::evict(registry, context, row, request, eviction).await
            }
            ("ephemeralcontainers" | "resize", Verb::Get, _) => registry.get(row, request).await,
            (name @ ("ephemeralcontainers" | "resize"), verb, _) => {
                let name = if name == "resize" { "resize" } else { "ephemeralcontainers" };
                let part = Part::Whole(name);
                match verb {
                    Verb::Update => registry.update(context, row, part, request.clone()).await,
                    _ => registry.patch(context, row, part, request).await,
                }
            }
            ("log" | "exec" | "attach" | "portforward", _, _) => Err(Status::bad_request(
                "streams of a pod are reached over HTTP, or through the node connector",
            )),
            _ => Err(Status::method_not_allowed()),
        }
    }
}

fn done() -> Response {
    let mut status = Status::success(onggi_api::status::Details::default());
    status.details = None;
    status.code = 201;
    Response::Status(status)
}

/// `POST bindings`: the pod is the one of the name.
pub(super) async fn bind_by_name(
    registry: &Registry,
    context: &Context,
    request: &Request,
) -> Result<Response, Status> {
    let row = resource::by_gvr("", "v1", "pods").ok_or_else(Status::no_such_path)?;
    let Body::Object(binding) = &request.body else {
        return Err(Status::bad_request("the request has no object in its body"));
    };
    let name = text(binding, "/metadata/name").to_owned();
    let request = Request { name, body: Body::None, ..request.clone() };
    bind(registry, context, row, &request, binding).await
}

/// `POST pods/NAME/binding`: what the scheduler decides.
async fn bind(
    registry: &Registry,
    context: &Context,
    row: &'static Resource,
    request: &Request,
    binding: &Value,
) -> Result<Response, Status> {
    let named = text(binding, "/metadata/name");
    if !named.is_empty() && named != request.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let node = text(binding, "/target/name");
    if !matches!(text(binding, "/target/kind"), "" | "Node") || node.is_empty() {
        return Err(Status::bad_request(
            "target: a Binding names a Node in target.kind and target.name",
        ));
    }
    let now = registry.clock.rfc3339();
    let uid = text(binding, "/metadata/uid");
    let conflict = |why: String| Status::conflict("pods/binding", &request.name, &why);
    registry
        .change(context, row, Part::Whole("binding"), request, &mut Vec::new(), |old, _| {
            let bound = text(old, "/spec/nodeName");
            if !uid.is_empty() && uid != text(old, "/metadata/uid") {
                return Err(conflict(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    text(old, "/metadata/uid")
                )));
            }
            if old["metadata"]["deletionTimestamp"].is_string() {
                return Err(conflict(format!(
                    "pod {} is being deleted, cannot be assigned to a host",
                    request.name
                )));
            }
            if !bound.is_empty() {
                return Err(conflict(format!(
                    "pod {} is already assigned to node {bound:?}",
                    request.name
                )));
            }
            let mut new = old.clone();
            new["spec"]["nodeName"] = node.into();
            for field in ["annotations", "labels"] {
                let Some(more) = binding["metadata"][field].as_object() else { continue };
                let all = metadata_mut(&mut new).entry(field).or_insert_with(|| json!({}));
                for (key, value) in more {
                    all[key] = value.clone();
                }
            }
            set_scheduled(&mut new, &now);
            Ok(new)
        })
        .await?;
    Ok(done())
}

/// The condition `PodScheduled` becomes true.
fn set_scheduled(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|c| c["type"] == "PodScheduled") {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

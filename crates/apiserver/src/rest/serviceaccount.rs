//! `POST serviceaccounts/NAME/token`: tokens bound to audiences, a time, and perhaps a pod, a Secret
//! or a node.

use async_trait::async_trait;
use onggi_api::{FieldError, FieldPath, Status};
use onggi_client::{Body, Request, Response};
use onggi_machinery::resource::{self, Resource, Verb};
use serde_json::{Value, json};

use super::Hooks;
use crate::admission::TOKEN_SECONDS;
use crate::authn::{Bound, BoundKind, Grant};
use crate::registry::{Context, Registry, text};

/// The shortest life of a token, in seconds.
const MIN_SECONDS: i64 = 600;
/// The longest.
const MAX_SECONDS: i64 = 1 << 32;
/// How long the token lives that pods are given by themselves, for programs that read it once
/// (`--service-account-extend-token-expiration`).
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// What a token lives where nothing is asked.
const DEFAULT_SECONDS: i64 = 3600;

pub(super) struct ServiceAccounts;

#[async_trait]
impl Hooks for ServiceAccounts {
    async fn subresource(
        &self,
        registry: &Registry,
        _context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let (Verb::Create, Body::Object(sent)) = (request.verb, &request.body) else {
            return Err(Status::method_not_allowed());
        };
        let account = registry.current(row, &request.namespace, &request.name).await?;
        let wrong =
            [("name", &request.name), ("namespace", &request.namespace)].map(|(field, own)| {
                let given = sent["metadata"][field].as_str().unwrap_or_default();
                let path = FieldPath::new(format!("metadata.{field}"));
                let text = format!("must match the service account {field} if specified");
                (!given.is_empty() && given != own).then(|| FieldError::invalid(&path, given, text))
            });
        let wrong: Vec<_> = wrong.into_iter().flatten().collect();
        if !wrong.is_empty() {
            let kind = "TokenRequest.authentication.k8s.io";
            return Err(Status::invalid(kind, &request.name, &wrong));
        }
        let seconds = sent["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        if seconds < MIN_SECONDS {
            let path = FieldPath::new("spec.expirationSeconds");
            let error = FieldError::invalid(
                &path,
                seconds,
                "may not specify a duration less than 10 minutes",
            );
            return Err(Status::invalid("TokenRequest.authentication.k8s.io", "", &[error]));
        }
        if seconds > MAX_SECONDS {
            let path = FieldPath::new("spec.expirationSeconds");
            let text = "may not specify a duration larger than 2^32 seconds";
            let error = FieldError::invalid(&path, seconds, text);
            return Err(Status::invalid("TokenRequest.authentication.k8s.io", "", &[error]));
        }
        let asked = sent["spec"]["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(Into::into).collect();
        if audiences.is_empty() {
            audiences = registry.authenticators.audiences().to_vec();
        }
        let bound = bound(registry, &account.head().name, request, sent).await?;
        let now = registry.clock.seconds();
        let of_server = audiences == registry.authenticators.audiences();
        let of_pod = bound.iter().any(|(kind, _)| *kind == BoundKind::Pod);
        // Old clients read it once; the node reads it anew within the hour all the same.
        let extended = of_pod && of_server && seconds == TOKEN_SECONDS;
        let expires = now + if extended { EXTENDED_SECONDS } else { seconds };
        let token = registry.authenticators.service_accounts.mint(&Grant {
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            uid: account.head().uid.clone(),
            audiences: audiences.clone(),
            issued: now,
            expires,
            warn_after: extended.then_some(now + seconds),
            bound,
        })?;
        let expires = jiff::Timestamp::from_second(now + seconds).map_err(Status::internal)?;
        let mut spec = json!({"audiences": audiences, "expirationSeconds": seconds});
        if let Some(reference) = sent["spec"].get("boundObjectRef") {
            spec["boundObjectRef"] = reference.clone();
        }
        let value = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {
                "name": request.name,
                "namespace": request.namespace,
                "creationTimestamp": registry.clock.rfc3339(),
            },
            "spec": spec,
            "status": {
                "token": token,
                "expirationTimestamp": onggi_base::clock::rfc3339(expires),
            },
        });
        Ok(Response::Document { value, created: true, warnings: Vec::new() })
    }
}

/// What the token is to die with; of a pod also the node that it is on.
async fn bound(
    registry: &Registry,
    account: &str,
    request: &Request,
    sent: &Value,
) -> Result<Vec<(BoundKind, Bound)>, Status> {
    let Some(reference) = sent["spec"].get("boundObjectRef").filter(|r| !r.is_null()) else {
        return Ok(Vec::new());
    };
    let (kind, plural, namespace) = match (text(reference, "/apiVersion"), text(reference, "/kind"))
    {
        ("v1" | "", "Pod") => (BoundKind::Pod, "pods", request.namespace.as_str()),
        ("v1" | "", "Secret") => (BoundKind::Secret, "secrets", request.namespace.as_str()),
        ("v1" | "", "Node") => (BoundKind::Node, "nodes", ""),
        (version, kind) => {
            let text = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(Status::bad_request(text));
        }
    };
    let name = text(reference, "/name");
    let row = resource::by_gvr("", "v1", plural).ok_or_else(Status::no_such_path)?;
    let object = registry.current(row, namespace, name).await?;
    let uid = text(reference, "/uid");
    if !uid.is_empty() && uid != object.head().uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        return Err(Status::conflict(row.kind, name, &why));
    }
    let mut found = vec![(kind, Bound { name: name.into(), uid: object.head().uid.clone() })];
    if kind == BoundKind::Pod {
        let pod = object.value().map_err(Status::internal)?;
        if text(&pod, "/spec/serviceAccountName") != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different \
                 serviceaccount name."
            )));
        }
        let row = resource::by_gvr("", "v1", "nodes").ok_or_else(Status::no_such_path)?;
        let node = text(&pod, "/spec/nodeName");
        if !node.is_empty()
            && let Ok(node) = registry.current(row, "", node).await
        {
            let (name, uid) = (node.head().name.clone(), node.head().uid.clone());
            found.push((BoundKind::Node, Bound { name, uid }));
        }
    }
    Ok(found)
}

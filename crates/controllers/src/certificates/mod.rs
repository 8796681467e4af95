//! Requests for certificates: a kubelet's own are approved, what is approved is signed, and what has
//! had its time is taken away.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_base::clock::rfc3339;
use onggi_base::pki::{self, Authority};
use onggi_client::informer::Whole;
use onggi_client::{Body, Cache, Next, Patch, Request, Response, Source};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use plan::Step;

/// What a certificate lives at the most, in seconds (`--cluster-signing-duration`).
const LONGEST: i64 = 365 * 24 * 3600;

struct Certificates {
    context: Context,
    requests: Cache<Whole>,
    authority: Arc<Authority>,
}

fn requests() -> GroupVersionResource {
    GroupVersionResource::new("certificates.k8s.io", "v1", "certificatesigningrequests")
}

/// Keys are names of requests. Does nothing where there is no key to sign with.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let Some(authority) = context.options.signer.clone() else { return Box::pin(async {}) };
    let cache: Cache<Whole> = context.cache(Source::all(requests()));
    let mut harness = Harness::new(&context);
    harness.watch(&cache, |change| vec![change.key().name.clone()]);
    harness.run(Certificates { context, requests: cache, authority })
}

#[async_trait]
impl Controller for Certificates {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Next, Error> {
        let Some(request) = self.requests.get("", name) else { return Ok(Next::Done) };
        let request = request.value()?;
        let now = self.context.now().as_second();
        match plan::plan(&request, now) {
            Step::Nothing => {}
            Step::Wait(seconds) => {
                return Ok(Next::After(Duration::from_secs(seconds.unsigned_abs())));
            }
            Step::Delete => {
                let client = &self.context.client;
                match client.delete(&requests(), "", name, Default::default()).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
            Step::MayApprove => self.approve(name, &request).await?,
            Step::Sign => self.sign(name, &request).await?,
        }
        Ok(Next::Done)
    }
}

impl Certificates {
    /// Approves what a kubelet asks for itself, if whoever asks may have it.
    async fn approve(&self, name: &str, request: &Value) -> Result<(), Error> {
        let Ok(wanted) = pki::read_request(&pem(request)) else { return Ok(()) };
        if misfit(request, &wanted).is_some() {
            return Ok(());
        }
        let own = wanted.user == str_at(request, "spec.username");
        for (subresource, why) in [
            (
                "selfnodeclient",
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
            ),
            ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
        ] {
            if subresource == "selfnodeclient" && !own
                || !self.allowed(request, subresource).await?
            {
                continue;
            }
            let now = rfc3339(self.context.now());
            let condition = json!({
                "type": "Approved", "status": "True", "reason": "AutoApproved", "message": why,
                "lastUpdateTime": now,
            });
            let patch = json!({"status": {"conditions": [condition]}}).to_string();
            let approval = Request::new(Verb::Patch, requests(), "", name).subresource("approval");
            let body = Body::Patch(onggi_client::PatchKind::Merge, patch.into());
            self.context.client.transport().call(approval.body(body)).await?;
            return Ok(());
        }
        Ok(())
    }

    async fn allowed(&self, request: &Value, subresource: &str) -> Result<bool, Error> {
        let spec = &request["spec"];
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": spec["username"], "uid": spec["uid"], "groups": spec["groups"],
                "extra": spec["extra"],
                "resourceAttributes": {
                    "group": "certificates.k8s.io", "resource": "certificatesigningrequests",
                    "verb": "create", "subresource": subresource, "version": "*",
                },
            },
        });
        let reviews =
            GroupVersionResource::new("authorization.k8s.io", "v1", "subjectaccessreviews");
        let ask = Request::new(Verb::Create, reviews, "", "").body(Body::Object(review));
        Ok(match self.context.client.transport().call(ask).await? {
            Response::Document { value, .. } => value["status"]["allowed"] == true,
            _ => false,
        })
    }

    async fn sign(&self, name: &str, request: &Value) -> Result<(), Error> {
        let wanted = pki::read_request(&pem(request));
        let problem = match &wanted {
            Ok(wanted) => misfit(request, wanted).map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        let signed = match problem {
            Some(problem) => Err(problem),
            None => {
                let asked = request["spec"]["expirationSeconds"].as_i64().unwrap_or(LONGEST);
                let seconds = asked.clamp(600, LONGEST);
                let now = self.context.now().as_second();
                self.authority
                    .sign_request(&pem(request), &usages(request), seconds, now)
                    .map_err(|error| error.to_string())
            }
        };
        let status = match signed {
            Ok(certificate) => json!({"certificate": STANDARD.encode(certificate)}),
            Err(problem) => {
                let now = rfc3339(self.context.now());
                let mut conditions = list_at(request, "status.conditions").to_vec();
                conditions.push(json!({
                    "type": "Failed", "status": "True", "reason": "SignerValidationFailure",
                    "message": problem, "lastUpdateTime": now,
                }));
                json!({"conditions": conditions})
            }
        };
        let patch = Patch::merge(json!({"status": status}));
        match self.context.client.patch_status(&requests(), "", name, patch).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The request in PEM.
fn pem(request: &Value) -> String {
    let decoded = STANDARD.decode(str_at(request, "spec.request")).unwrap_or_default();
    String::from_utf8(decoded).unwrap_or_default()
}

fn usages(request: &Value) -> Vec<&str> {
    list_at(request, "spec.usages").iter().filter_map(Value::as_str).collect()
}

fn misfit(request: &Value, wanted: &pki::Requested) -> Option<&'static str> {
    let signer = str_at(request, "spec.signerName");
    plan::misfit(signer, &wanted.user, &wanted.groups, wanted.names, &usages(request))
}

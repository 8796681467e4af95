//! Admission webhooks: asked over TLS on loopback.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onggi_api::GroupVersionResource;
use onggi_base::pki::{Authority, server_config};
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::resource::Verb;
use onggi_store::{Expect, Txn};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Server;

/// A webhook that answers by a function of the path and the request, and remembers what it was
/// asked.
struct Hook {
    port: u16,
    authority: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    async fn start(answer: fn(&str, &Value) -> Value) -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("hooks", now).unwrap();
        let names = ["localhost".into(), "hook.default.svc".into()];
        let pair = authority.issue_server("hook", &names, &[[127, 0, 0, 1].into()], now).unwrap();
        let tls = Arc::new(server_config(&pair, authority.certificate()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service =
                        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                            let seen = Arc::clone(&seen);
                            async move {
                                let path = request.uri().path().to_owned();
                                let body = request.into_body().collect().await.unwrap().to_bytes();
                                let review: Value = serde_json::from_slice(&body).unwrap();
                                let asked = &review["request"];
                                let mut response = answer(&path, asked);
                                response["uid"] = asked["uid"].clone();
                                seen.lock().push(asked.clone());
                                let answer = json!({
                                    "apiVersion": review["apiVersion"], "kind": "AdmissionReview",
                                    "response": response,
                                });
                                let body = Full::new(bytes::Bytes::from(answer.to_string()));
                                Ok::<_, Infallible>(hyper::Response::new(body))
                            }
                        });
                    let _ = hyper_util::server::conn::auto::Builder::new(
                        hyper_util::rt::TokioExecutor::new(),
                    )
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                });
            }
        });
        Self { port, authority: authority.certificate().to_owned(), asked }
    }

    fn config(&self, path: &str) -> Value {
        json!({
            "url": format!("https://localhost:{}{path}", self.port),
            "caBundle": STANDARD.encode(&self.authority),
        })
    }

    fn hook(&self, name: &str, path: &str, rule: Value) -> Value {
        json!({
            "name": name, "clientConfig": self.config(path), "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        })
    }

    fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock())
    }
}

fn rule(resources: &[&str]) -> Value {
    json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources})
}

fn patch(operations: Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

fn deny(message: &str) -> Value {
    json!({"allowed": false, "status": {"message": message}})
}

async fn configure(s: &Server, kind: &str, name: &str, hooks: Value) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": hooks,
    });
    s.create(kind, "", configuration).await.unwrap();
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

#[tokio::test]
async fn mutating_hooks_change_what_is_made() {
    let s = Server::start().await;
    let hook = Hook::start(|path, asked| match path {
        "/first" => patch(json!([{"op": "add", "path": "/data/first", "value": "yes"}])),
        "/second" if asked["object"]["data"]["first"] == "yes" => {
            patch(json!([{"op": "add", "path": "/data/second", "value": "yes"}]))
        }
        _ => json!({"allowed": true}),
    })
    .await;
    let mut first = hook.hook("first.example.com", "/first", rule(&["configmaps"]));
    first["objectSelector"] = json!({"matchLabels": {"change": "me"}});
    let mut early = hook.hook("early.example.com", "/second", rule(&["configmaps"]));
    early["objectSelector"] = json!({"matchLabels": {"change": "me"}});
    early["reinvocationPolicy"] = "IfNeeded".into();
    configure(&s, MUTATING, "a", json!([early, first])).await;
    let mut object = config_map("a", json!({"own": "1"}));
    object["metadata"]["labels"] = json!({"change": "me"});
    let made = s.create("cm", "default", object).await.unwrap();
    // The first one is asked again, for the object has changed behind it.
    assert_eq!(made["data"], json!({"own": "1", "first": "yes", "second": "yes"}));
    let asked = hook.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(
        (&asked[0]["operation"], &asked[0]["kind"]["kind"], &asked[0]["userInfo"]["username"]),
        (&"CREATE".into(), &"ConfigMap".into(), &"admin".into())
    );
    assert_eq!(asked[0]["options"]["kind"], "CreateOptions");
    let other = s.create("cm", "default", config_map("b", json!({}))).await.unwrap();
    assert!(other["data"].get("first").is_none());
    assert!(hook.asked().is_empty());
}

#[tokio::test]
async fn validating_hooks_refuse() {
    let s = Server::start().await;
    let hook = Hook::start(|_, asked| match asked["operation"].as_str().unwrap() {
        "DELETE" => deny("kept"),
        "CONNECT" => deny("no way in"),
        _ if asked["object"]["data"]["bad"].is_string() => deny("bad data"),
        _ => json!({"allowed": true, "warnings": ["looked at"]}),
    })
    .await;
    let mut one = hook.hook("deny.example.com", "/", rule(&["configmaps", "pods/attach"]));
    one["namespaceSelector"] = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["default"]},
    ]});
    configure(&s, VALIDATING, "v", json!([one])).await;
    let refused = s.create("cm", "default", config_map("a", json!({"bad": "1"}))).await;
    let status = refused.unwrap_err().status().cloned().unwrap();
    assert_eq!(status.code, 400);
    assert_eq!(
        status.message,
        "admission webhook \"deny.example.com\" denied the request: bad data"
    );
    s.create("cm", "default", config_map("a", json!({}))).await.unwrap();
    s.create("cm", "kube-public", config_map("a", json!({"bad": "1"}))).await.unwrap();
    let text = crate::http::send(&s, Some(&s.admin), http::Method::GET, "/metrics", &[], "").await;
    let text = String::from_utf8(text.bytes.to_vec()).unwrap();
    for line in [
        "apiserver_admission_webhook_rejection_count{error_type=\"no_error\",\
         name=\"deny.example.com\",operation=\"CREATE\",rejection_code=\"400\",type=\"validating\"} 1",
        "apiserver_admission_webhook_request_total{code=\"200\",name=\"deny.example.com\",\
         operation=\"CREATE\",rejected=\"false\",type=\"validate\"} 1",
        "apiserver_admission_webhook_admission_duration_seconds_count{name=\"deny.example.com\",\
         operation=\"CREATE\",rejected=\"true\",type=\"validate\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let body = Body::Patch(PatchKind::Merge, r#"{"data":{"bad":"1"}}"#.into());
    let patched = s.call(s.request(Verb::Patch, "cm", "default", "a").body(body)).await;
    assert!(patched.unwrap_err().to_string().ends_with("bad data"));
    let deleted = s.delete("cm", "default", "a").await.unwrap_err();
    assert!(deleted.to_string().ends_with("kept"), "{deleted}");
    let asked = hook.asked();
    let last = asked.last().unwrap();
    assert!(last["object"].is_null() && last["oldObject"]["kind"] == "ConfigMap", "{last}");
    // Its own configuration is never shown to it.
    let mut all = hook.hook("all.example.com", "/", rule(&["*"]));
    all["matchPolicy"] = "Exact".into();
    configure(&s, VALIDATING, "w", json!([all])).await;
    s.delete(VALIDATING, "", "w").await.unwrap();
    s.delete(VALIDATING, "", "v").await.unwrap();
    s.delete("cm", "default", "a").await.unwrap();
}

#[tokio::test]
async fn failures_follow_the_policy() {
    let s = Server::start().await;
    let hook = Hook::start(|_, _| json!({"allowed": true})).await;
    let mut closed = hook.hook("closed.example.com", "/", rule(&["configmaps"]));
    closed["clientConfig"]["url"] = "https://localhost:1/x".into();
    configure(&s, VALIDATING, "closed", json!([closed])).await;
    let make = || s.create("cm", "default", config_map("a", json!({})));
    let error = make().await.unwrap_err();
    assert_eq!(error.status().unwrap().code, 500);
    let text = error.to_string();
    assert!(
        text.starts_with(
            "Internal error occurred: failed calling webhook \"closed.example.com\": failed to call \
             webhook: Post \"https://localhost:1/x?timeout=10s\": "
        ),
        "{text}"
    );
    s.delete(VALIDATING, "", "closed").await.unwrap();
    let mut open = hook.hook("open.example.com", "/", rule(&["configmaps"]));
    open["clientConfig"]["url"] = "https://localhost:1/x".into();
    open["failurePolicy"] = "Ignore".into();
    configure(&s, VALIDATING, "open", json!([open])).await;
    make().await.unwrap();
    s.delete(VALIDATING, "", "open").await.unwrap();
    let mut effects = hook.hook("effects.example.com", "/", rule(&["configmaps"]));
    effects["sideEffects"] = "NoneOnDryRun".into();
    configure(&s, VALIDATING, "effects", json!([effects])).await;
    let mut dry = s.request(Verb::Create, "cm", "default", "");
    dry.write.dry_run = true;
    s.call(dry.body(Body::Object(config_map("dry", json!({}))))).await.unwrap();
    assert_eq!(hook.asked()[0]["dryRun"], true);
}

#[tokio::test]
async fn hooks_behind_services() {
    let s = Server::start().await;
    let hook = Hook::start(|_, _| deny("from the service")).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": hook.port}]},
    });
    s.create("svc", "default", service).await.unwrap();
    // No client may name an address of the machine itself: it is put where the server reads it.
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "hook-1", "namespace": "default", "uid": "u",
            "labels": {"kubernetes.io/service-name": "hook"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": hook.port, "protocol": "TCP"}],
    });
    let key = "/registry/discovery.k8s.io/endpointslices/default/hook-1";
    let bytes = onggi_api::object::encode(&slice).unwrap();
    s.store.txn(Txn::put(key.to_owned(), Expect::Absent, bytes)).await.unwrap();
    let mut one = hook.hook("svc.example.com", "/", rule(&["configmaps"]));
    one["clientConfig"] = json!({
        "service": {"namespace": "default", "name": "hook", "path": "/here"},
        "caBundle": STANDARD.encode(&hook.authority),
    });
    configure(&s, VALIDATING, "svc", json!([one])).await;
    let error = s.create("cm", "default", config_map("a", json!({}))).await.unwrap_err();
    assert!(error.to_string().ends_with("from the service"), "{error}");
}

#[tokio::test]
async fn custom_objects_in_the_version_that_is_asked_for() {
    let s = Server::start().await;
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }},
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                      "listKind": "WidgetList"},
            "versions": [version("v1", true), version("v2", false)],
        },
    });
    s.create("crd", "", definition).await.unwrap();
    let widgets = GroupVersionResource::new("example.com", "v2", "widgets");
    let make = |name: &str| {
        let widget = json!({
            "apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": name},
            "data": {"own": "1"},
        });
        let request = Request::new(Verb::Create, widgets.clone(), "default", "");
        s.call(request.body(Body::Object(widget)))
    };
    // It is served as soon as its names are accepted.
    while make("early").await.is_err_and(|error| error.is_not_found()) {
        tokio::task::yield_now().await;
    }
    let hook = Hook::start(|_, asked| match asked["operation"].as_str().unwrap() {
        "DELETE" => deny("kept"),
        _ => patch(json!([{"op": "add", "path": "/data/more", "value": "2"}])),
    })
    .await;
    let mut mutating = hook.hook("more.example.com", "/", rule(&["widgets"]));
    mutating["rules"][0]["apiVersions"] = json!(["v1"]);
    mutating["rules"][0]["operations"] = json!(["CREATE"]);
    configure(&s, MUTATING, "more", json!([mutating])).await;
    let made = make("late").await.unwrap();
    assert_eq!(made["apiVersion"], "example.com/v2");
    assert_eq!(made["data"], json!({"own": "1", "more": "2"}));
    let asked = hook.asked().remove(0);
    assert_eq!(
        (
            &asked["kind"]["version"],
            &asked["requestKind"]["version"],
            &asked["object"]["apiVersion"]
        ),
        (&json!("v1"), &json!("v2"), &json!("example.com/v1"))
    );
    let mut exact = hook.hook("kept.example.com", "/", rule(&["widgets"]));
    exact["rules"][0]["operations"] = json!(["DELETE"]);
    configure(&s, VALIDATING, "kept", json!([exact])).await;
    let request = Request::new(Verb::Delete, widgets.clone(), "default", "late");
    assert!(s.call(request).await.unwrap_err().to_string().ends_with("denied the request: kept"));
}

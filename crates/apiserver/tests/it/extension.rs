//! An aggregated API server in the process: one kind, `flunders.wardle.example.com/v1alpha1`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_apiserver::FrontProxy;
use onggi_base::pki::{Authority, server_config};
use onggi_store::{Expect, Txn};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Server;

pub(crate) const GROUP: &str = "wardle.example.com";
const BASE: &str = "/apis/wardle.example.com/v1alpha1";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// See the module. It lets nobody in but the front proxy.
pub(crate) struct Extension {
    port: u16,
    authority: String,
    pub(crate) front: FrontProxy,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Value>>,
    /// Path and headers of the last request for objects.
    last: Mutex<Option<(String, HeaderMap)>>,
    ill: AtomicBool,
}

impl Extension {
    pub(crate) async fn start() -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("extension", now).unwrap();
        let pair = authority.issue_server("api", &["api.wardle.svc".into()], &[], now).unwrap();
        let proxies = Authority::generate("front-proxy", now).unwrap();
        let front = FrontProxy {
            client: proxies.issue_client("front-proxy-client", None, now).unwrap(),
            ca: proxies.certificate().to_owned(),
            allowed_names: vec!["front-proxy-client".into()],
        };
        let tls = Arc::new(server_config(&pair, proxies.certificate()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<State> = Arc::default();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&serving));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let known = stream.get_ref().1.peer_certificates().is_some();
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(answer(&state, known, request).await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ =
                        server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, authority: authority.certificate().to_owned(), front, state }
    }

    /// Whether it answers with 500 from now on.
    pub(crate) fn falls_ill(&self, ill: bool) {
        self.state.ill.store(ill, Ordering::SeqCst);
    }

    /// Path and headers of the last request for objects.
    pub(crate) fn last(&self) -> (String, HeaderMap) {
        self.state.last.lock().clone().unwrap()
    }

    pub(crate) fn api_service(&self) -> Value {
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1alpha1.wardle.example.com"},
            "spec": {
                "group": GROUP, "version": "v1alpha1",
                "service": {"namespace": "wardle", "name": "api"},
                "caBundle": STANDARD.encode(&self.authority),
                "groupPriorityMinimum": 1500, "versionPriority": 15,
            },
        })
    }

    /// Makes the Service that leads to it.
    pub(crate) async fn service(&self, s: &Server) {
        let space =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wardle"}});
        s.create("ns", "", space).await.unwrap();
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
            "spec": {"ports": [{"name": "https", "port": 443}]},
        });
        s.create("svc", "wardle", service).await.unwrap();
    }

    /// Says where it is. No client may name an address of the machine itself: it is put where the
    /// server reads it.
    pub(crate) async fn endpoints(&self, s: &Server) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "api-1", "namespace": "wardle", "uid": "u",
                "labels": {"kubernetes.io/service-name": "api"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
        });
        let key = "/registry/discovery.k8s.io/endpointslices/wardle/api-1";
        let bytes = onggi_api::object::encode(&slice).unwrap();
        s.store.txn(Txn::put(key.to_owned(), Expect::Absent, bytes)).await.unwrap();
    }
}

fn full(code: u16, content_type: &str, body: &Value) -> Response<Body> {
    let bytes = Full::new(Bytes::from(body.to_string()));
    Response::builder()
        .status(code)
        .header("content-type", content_type)
        .body(bytes.boxed_unsync())
        .unwrap()
}

async fn answer(
    state: &State,
    known: bool,
    mut request: http::Request<Incoming>,
) -> Response<Body> {
    const JSON: &str = "application/json";
    if !known || !request.headers().contains_key("x-remote-user") {
        return full(401, JSON, &json!({"kind": "Status", "apiVersion": "v1", "code": 401}));
    }
    if state.ill.load(Ordering::SeqCst) {
        return full(500, JSON, &json!("ill"));
    }
    let path = request.uri().path().to_owned();
    let document = match path.as_str() {
        "/apis" => Some(discovery()),
        BASE => Some(resources()),
        "/openapi/v3" => Some(json!({"paths": {
            "apis/wardle.example.com/v1alpha1": {
                "serverRelativeURL": "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=1",
            },
        }})),
        "/openapi/v3/apis/wardle.example.com/v1alpha1" => Some(openapi_v3()),
        "/openapi/v2" => Some(openapi_v2()),
        _ => None,
    };
    if let Some(document) = document {
        let kind = match path.as_str() {
            "/apis" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => JSON,
        };
        return full(200, kind, &document);
    }
    *state.last.lock() = Some((path.clone(), request.headers().clone()));
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let stream = TokioIo::new(upgrade.await.unwrap());
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        return Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(Full::new(Bytes::new()).boxed_unsync())
            .unwrap();
    }
    objects(state, &path, request).await
}

async fn objects(state: &State, path: &str, request: http::Request<Incoming>) -> Response<Body> {
    const JSON: &str = "application/json";
    let collection = format!("{BASE}/namespaces/default/flunders");
    let name = path.strip_prefix(&format!("{collection}/")).unwrap_or_default().to_owned();
    let watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    match (request.method().clone(), name.as_str()) {
        (Method::GET, "") if watch => {
            let event =
                |object: &Value| format!("{}\n", json!({"type": "ADDED", "object": object}));
            let events: String = state.objects.lock().values().map(event).collect();
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from(events)))]);
            let open = futures::StreamExt::chain(first, futures::stream::pending());
            Response::new(StreamBody::new(open).boxed_unsync())
        }
        (Method::GET, "") => {
            let items: Vec<Value> = state.objects.lock().values().cloned().collect();
            let list = json!({
                "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "FlunderList",
                "metadata": {"resourceVersion": "1"}, "items": items,
            });
            full(200, JSON, &list)
        }
        (Method::GET, name) => match state.objects.lock().get(name) {
            Some(object) => full(200, JSON, object),
            None => full(
                404,
                JSON,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                    "message": format!("flunders.wardle.example.com {name:?} not found"), "code": 404,
                }),
            ),
        },
        (Method::POST, _) => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            object["metadata"]["resourceVersion"] = "1".into();
            object["metadata"]["namespace"] = "default".into();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            state.objects.lock().insert(name, object.clone());
            full(201, JSON, &object)
        }
        _ => full(405, JSON, &json!({"kind": "Status", "apiVersion": "v1", "code": 405})),
    }
}

fn kind() -> Value {
    json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"})
}

fn discovery() -> Value {
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{"metadata": {"name": GROUP}, "versions": [{
            "version": "v1alpha1", "freshness": "Current",
            "resources": [{
                "resource": "flunders", "responseKind": kind(), "scope": "Namespaced",
                "singularResource": "flunder", "verbs": ["create", "get", "list", "watch"],
                "shortNames": ["fl"],
            }],
        }]}],
    })
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": "wardle.example.com/v1alpha1",
        "resources": [{
            "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["create", "get", "list", "watch"], "shortNames": ["fl"],
        }],
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A Flunder is an example.",
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "reference": {"type": "string", "description": "Names another flunder."},
            }},
        },
        "x-kubernetes-group-version-kind": [kind()],
    })
}

fn openapi_v3() -> Value {
    json!({
        "openapi": "3.0.0", "info": {"title": "wardle", "version": "1"},
        "paths": {format!("{BASE}/namespaces/{{namespace}}/flunders"): {"get": {
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "list", "x-kubernetes-group-version-kind": kind(),
        }}},
        "components": {"schemas": {"com.example.wardle.v1alpha1.Flunder": schema()}},
    })
}

fn openapi_v2() -> Value {
    json!({
        "swagger": "2.0", "info": {"title": "wardle", "version": "1"},
        "paths": {format!("{BASE}/namespaces/{{namespace}}/flunders"): {"get": {
            "responses": {"200": {"description": "OK", "schema": {
                "$ref": "#/definitions/com.example.wardle.v1alpha1.Flunder",
            }}},
            "x-kubernetes-action": "list", "x-kubernetes-group-version-kind": kind(),
        }}},
        "definitions": {"com.example.wardle.v1alpha1.Flunder": schema()},
    })
}

//! Users and decisions from elsewhere: OpenID Connect, webhooks for tokens, access and audit.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_apiserver::{Access, AuditOptions, AuditWebhook, TokenWebhook};
use onggi_base::pki::{Authority, server_config};
use onggi_machinery::{audit, authentication, authorization};
use onggi_store::History;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::http::send;
use crate::server::Server;

/// A server over TLS that answers by a function of path and body, and remembers what it was asked.
struct Oracle {
    url: String,
    authority: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    directory: tempfile::TempDir,
}

impl Oracle {
    async fn start(answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("oracle", now).unwrap();
        let pair = authority.issue_server("oracle", &["localhost".into()], &[], now).unwrap();
        let tls = Arc::new(server_config(&pair, authority.certificate()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&seen));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service =
                        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                            async move {
                                let path = request.uri().path().to_owned();
                                let body = request.into_body().collect().await.unwrap().to_bytes();
                                let body = serde_json::from_slice(&body).unwrap_or_default();
                                let said = answer(&path, &body).to_string();
                                seen.lock().push((path, body));
                                let said = Full::new(bytes::Bytes::from(said));
                                Ok::<_, Infallible>(hyper::Response::new(said))
                            }
                        });
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let authority = authority.certificate().to_owned();
        Self { url, authority, asked, directory: tempfile::tempdir().unwrap() }
    }

    /// A kubeconfig that leads to a path of it.
    fn kubeconfig(&self, path: &str) -> String {
        let file: PathBuf = self.directory.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("{}{path}", self.url),
                "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        file.display().to_string()
    }

    fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.asked.lock())
    }
}

async fn who_am_i(s: &Server, token: &str) -> Result<Value, StatusCode> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = send(s, None, Method::POST, path, &headers, &review.to_string()).await;
    match answer.status {
        StatusCode::CREATED => Ok(answer.body["status"]["userInfo"].clone()),
        other => Err(other),
    }
}

/// A key that signs, and its public half.
struct Key {
    id: &'static str,
    pem: String,
    jwk: Value,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Self { id, pem: pair.serialize_pem(), jwk }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let key = jsonwebtoken::EncodingKey::from_ec_pem(self.pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

#[tokio::test]
async fn users_of_an_issuer() {
    let (key, other) = (Key::new("k1"), Key::new("k2"));
    let jwk = key.jwk.clone();
    let own: Arc<Mutex<String>> = Arc::default();
    let base = Arc::clone(&own);
    let issuer = Oracle::start(move |path, _| match path {
        "/.well-known/openid-configuration" => {
            json!({"issuer": *base.lock(), "jwks_uri": format!("{}/keys", base.lock())})
        }
        "/keys" => json!({"keys": [{"kty": "odd"}, jwk]}),
        _ => json!({}),
    })
    .await;
    own.lock().clone_from(&issuer.url);
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true, "conditions": [{"path": "/version"}]},
        "jwt": [{
            "issuer": {
                "url": issuer.url, "audiences": ["onggi"],
                "certificateAuthority": issuer.authority,
            },
            "claimMappings": {
                "username": {"claim": "sub", "prefix": "idp:"},
                "groups": {"expression": "claims.roles.map(r, 'idp:' + r)"},
                "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
            },
            "userValidationRules": [
                {"expression": "user.username != 'idp:root'", "message": "not root"},
            ],
        }],
    });
    let authentication = authentication::read(&file.to_string()).unwrap();
    let s = Server::with_access(History::default(), Access { authentication, ..Access::default() })
        .await;
    let now = jiff::Timestamp::now().as_second();
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": issuer.url, "aud": "onggi", "sub": "jo", "exp": now + 600, "iat": now,
            "roles": ["dev"], "tenant": "t",
        });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let user = who_am_i(&s, &key.sign(&claims(json!({})))).await.unwrap();
    assert_eq!(user["username"], "idp:jo");
    assert_eq!(user["groups"], json!(["idp:dev", "system:authenticated"]));
    assert_eq!(user["extra"]["example.com/tenant"], json!(["t"]));
    let paths: Vec<String> = issuer.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/.well-known/openid-configuration", "/keys"]);
    for change in [
        json!({"exp": now - 1}),
        json!({"aud": ["other"]}),
        json!({"nbf": now + 3600}),
        json!({"sub": "root"}),
        json!({"tenant": null, "roles": 1}),
    ] {
        let refused = who_am_i(&s, &key.sign(&claims(change.clone()))).await;
        assert_eq!(refused, Err(StatusCode::UNAUTHORIZED), "{change}");
    }
    // Keys that are known are not asked for again, and not at all so soon.
    let refused = who_am_i(&s, &other.sign(&claims(json!({})))).await;
    assert_eq!((refused, issuer.asked().len()), (Err(StatusCode::UNAUTHORIZED), 0));
    let anonymous = async |path: &str| send(&s, None, Method::GET, path, &[], "").await.status;
    assert_eq!(anonymous("/version").await, StatusCode::OK);
    assert_eq!(anonymous("/livez").await, StatusCode::UNAUTHORIZED);
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": key.sign(&claims(json!({})))},
    });
    let review = s.create("tokenreviews", "", review).await.unwrap();
    assert_eq!(review["status"]["user"]["username"], "idp:jo");
}

#[tokio::test]
async fn tokens_that_another_server_knows() {
    let oracle = Oracle::start(|_, review| match review["spec"]["token"].as_str() {
        Some("good") => json!({"status": {
            "authenticated": true,
            "user": {"username": "jo", "uid": "7", "groups": ["dev"], "extra": {"a": ["b"]}},
        }}),
        _ => json!({"status": {"authenticated": false}}),
    })
    .await;
    let token_webhook = Some(TokenWebhook {
        kubeconfig: oracle.kubeconfig("/authenticate"),
        version: "v1".into(),
        ttl: std::time::Duration::from_secs(120),
    });
    let access = Access { token_webhook, ..Access::default() };
    let s = Server::with_access(History::default(), access).await;
    for _ in 0..2 {
        let user = who_am_i(&s, "good").await.unwrap();
        assert_eq!((&user["username"], &user["uid"]), (&"jo".into(), &"7".into()));
        assert_eq!(user["groups"], json!(["dev", "system:authenticated"]));
        assert_eq!(who_am_i(&s, "bad").await, Err(StatusCode::UNAUTHORIZED));
    }
    let asked = oracle.asked();
    assert_eq!(asked.len(), 2, "answers are kept");
    let (path, review) = &asked[0];
    assert_eq!(path, "/authenticate");
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&"TokenReview".into(), &"authentication.k8s.io/v1".into())
    );
    let audience = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(review["spec"]["audiences"], json!([audience]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_decides() {
    let oracle = Oracle::start(|_, review| {
        let spec = &review["spec"];
        match spec["resourceAttributes"]["resource"].as_str() {
            Some("pods") => json!({"status": {"allowed": true, "reason": "by the oracle"}}),
            Some("secrets") => {
                json!({"status": {"allowed": false, "denied": true, "reason": "never"}})
            }
            _ => json!({"status": {"allowed": false, "reason": "no idea"}}),
        }
    })
    .await;
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Webhook", "name": "oracle", "webhook": {
                "timeout": "5s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
                "matchConditionSubjectAccessReviewVersion": "v1",
                "connectionInfo": {
                    "type": "KubeConfigFile", "kubeConfigFile": oracle.kubeconfig("/authorize"),
                },
                "matchConditions": [{"expression": "has(request.resourceAttributes)"}],
            }},
            {"type": "RBAC", "name": "rbac"},
        ],
    });
    let authorization = authorization::read(&file.to_string()).unwrap();
    let access = Access { authorization, ..Access::default() };
    let s = Server::with_access(History::default(), access).await;
    oracle.asked();
    let jo = s.authority.issue_client("jo", None, time::OffsetDateTime::now_utc()).unwrap();
    let get = async |path: &str| send(&s, Some(&jo), Method::GET, path, &[], "").await;
    assert_eq!(get("/api/v1/namespaces/default/pods").await.status, StatusCode::OK);
    assert_eq!(get("/api/v1/namespaces/default/pods").await.status, StatusCode::OK);
    let (path, review) = oracle.asked().remove(0);
    assert_eq!(path, "/authorize");
    assert_eq!(
        review["spec"]["resourceAttributes"],
        json!({"namespace": "default", "verb": "list", "resource": "pods"})
    );
    assert_eq!(review["spec"]["user"], "jo");
    assert!(oracle.asked().is_empty(), "answers are kept");
    let refused = get("/api/v1/namespaces/default/secrets").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body["message"].as_str().unwrap().ends_with(": never"), "{}", refused.body);
    let unknown = get("/api/v1/namespaces/default/services").await;
    assert!(unknown.body["message"].as_str().unwrap().ends_with(": no idea"), "{}", unknown.body);
    // Paths are not for the webhook: RBAC decides.
    oracle.asked();
    assert_eq!(get("/version").await.status, StatusCode::OK);
    assert!(oracle.asked().is_empty());
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "jo", "resourceAttributes": {"resource": "secrets", "verb": "get"}},
    });
    let review = s.create("subjectaccessreviews", "", review).await.unwrap();
    assert_eq!(review["status"], json!({"allowed": false, "denied": true, "reason": "never"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_another_server_together() {
    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: [admin], resources: [{resources: [configmaps]}]}
";
    let oracle = Oracle::start(|_, _| json!({})).await;
    let webhook = AuditWebhook::new(oracle.kubeconfig("/events"));
    let options =
        AuditOptions { policy: audit::read(POLICY).unwrap(), log: None, webhook: Some(webhook) };
    let access = Access { audit: Some(options), ..Access::default() };
    let s = Server::with_access(History::default(), access).await;
    for name in ["one", "two"] {
        let path = format!("/api/v1/namespaces/default/configmaps/{name}");
        send(&s, Some(&s.admin), Method::GET, &path, &[], "").await;
    }
    s.server.flush_audit().await;
    let asked = oracle.asked();
    let [(path, list)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(path, "/events");
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&"EventList".into(), &"audit.k8s.io/v1".into())
    );
    let names: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|event| &event["objectRef"]["name"]).collect();
    assert_eq!(names, ["one", "two"]);
    let metrics = send(&s, Some(&s.admin), Method::GET, "/metrics", &[], "").await;
    let text = String::from_utf8(metrics.bytes.to_vec()).unwrap();
    assert!(text.contains("apiserver_audit_event_total 2\n"), "{text}");
    assert!(text.contains("apiserver_audit_error_total{plugin=\"webhook\"} 0\n"), "{text}");
}

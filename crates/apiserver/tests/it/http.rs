//! The bytes on the wire.

use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_base::pki::Pair;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::server::Server;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
    pub(crate) bytes: bytes::Bytes,
}

pub(crate) async fn send(
    server: &Server,
    client: Option<&Pair>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = server.tls(client).connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request =
        http::Request::builder().method(method).uri(format!("https://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body.as_ref()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { status: parts.status, headers: parts.headers, body, bytes }
}

#[tokio::test]
async fn errors_have_the_bodies_that_clients_know() {
    let s = Server::start().await;
    let admin = Some(&s.admin);
    let cases = [
        (
            admin,
            Method::GET,
            "/api/v1/namespaces/default/pods/x",
            404,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "pods \"x\" not found", "reason": "NotFound",
                "details": {"name": "x", "kind": "pods"}, "code": 404,
            }),
        ),
        (admin, Method::GET, "/apis/nowhere/v1/things", 404, json!("404 page not found\n")),
        (
            admin,
            Method::GET,
            "/apis/apps/v1/things",
            404,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "the server could not find the requested resource",
                "reason": "NotFound", "details": {}, "code": 404,
            }),
        ),
        (
            admin,
            Method::POST,
            "/api/v1/pods",
            405,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "the server does not allow this method on the requested resource",
                "reason": "MethodNotAllowed", "details": {}, "code": 405,
            }),
        ),
        (admin, Method::DELETE, "/api/v1/pods", 405, json!(null)),
        (admin, Method::PATCH, "/api/v1/pods", 405, json!(null)),
        (admin, Method::GET, "/api/v1/pods/x", 404, json!(null)),
        (admin, Method::POST, "/api/v1/bindings", 404, json!(null)),
        (admin, Method::GET, "/api/v1/namespaces/default/nodes", 404, json!(null)),
        (admin, Method::POST, "/api/v1/namespaces/default/pods/x", 405, json!(null)),
        (admin, Method::POST, "/foo", 404, json!("404 page not found\n")),
        (admin, Method::POST, "/version", 405, json!(null)),
        (None, Method::GET, "/apis/nowhere/v1", 401, json!(null)),
        (
            None,
            Method::GET,
            "/api/v1/namespaces/default/pods",
            401,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
            }),
        ),
        (admin, Method::GET, "/api/v1/pods?labelSelector=a%20b", 400, json!(null)),
        (admin, Method::PUT, "/api/v1/namespaces/default/pods", 405, json!(null)),
        (None, Method::GET, "/livez", 200, json!("ok")),
    ];
    for (client, method, path, code, body) in cases {
        let answer = send(&s, client, method, path, &[], "").await;
        assert_eq!(answer.status.as_u16(), code, "{path}: {}", answer.body);
        if !body.is_null() {
            assert_eq!(answer.body, body, "{path}");
        }
    }
    let bad = [("authorization", "Bearer x.y.z")];
    assert_eq!(send(&s, None, Method::GET, "/version", &bad, "").await.status, 401);
}

#[tokio::test]
async fn accept_and_content_type_are_heeded() {
    let s = Server::start().await;
    let admin = Some(&s.admin);
    let path = "/api/v1/namespaces/default/configmaps";
    let yaml =
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: from-yaml}\ndata: {a: b}\nextra: 1\n";
    let made =
        send(&s, admin, Method::POST, path, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.headers[header::WARNING], "299 - \"unknown field \\\"extra\\\"\"");
    let strict = send(
        &s,
        admin,
        Method::POST,
        &format!("{path}?fieldValidation=Strict"),
        &[("content-type", "application/json")],
        r#"{"metadata":{"name":"z","name":"z"}}"#,
    )
    .await;
    assert_eq!(strict.status, 400);
    assert_eq!(
        strict.body["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
         duplicate field \"metadata.name\""
    );
    let other = [("content-type", "text/plain")];
    assert_eq!(send(&s, admin, Method::POST, path, &other, "x").await.status, 415);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = send(&s, admin, Method::GET, path, &[("accept", table)], "").await;
    assert_eq!(table.body["kind"], "Table");
    assert_eq!(table.body["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let only = [("accept", "application/cbor")];
    assert_eq!(send(&s, admin, Method::GET, path, &only, "").await.status, 406);
}

#[tokio::test]
async fn too_large_a_body_is_refused() {
    let s = Server::start().await;
    let body = format!(r#"{{"data":{{"a":"{}"}}}}"#, "x".repeat(4 << 20));
    let path = "/api/v1/namespaces/default/configmaps";
    let answer = send(&s, Some(&s.admin), Method::POST, path, &[], &body).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body["message"], "Request entity is too large: limit is 3145728");
}

#[tokio::test]
async fn service_account_tokens_say_who_it_is() {
    let s = Server::start().await;
    use onggi_machinery::resource::Verb;
    let request = s.request(Verb::Create, "sa", "default", "default").subresource("token");
    let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"});
    let granted = s.call(request.body(onggi_client::Body::Object(asked))).await.unwrap();
    let token = format!("Bearer {}", granted["status"]["token"].as_str().unwrap());
    let headers = [("authorization", token.as_str())];
    assert_eq!(send(&s, None, Method::GET, "/apis", &headers, "").await.status, 200);
    let denied = send(&s, None, Method::GET, "/api/v1/secrets", &headers, "").await;
    assert_eq!(denied.status, 403);
    let user = "User \"system:serviceaccount:default:default\" cannot list resource \"secrets\"";
    assert!(denied.body["message"].as_str().unwrap().contains(user), "{}", denied.body);
    s.delete("sa", "default", "default").await.unwrap();
    // The cache hears of it a moment later.
    let mut status = StatusCode::OK;
    for _ in 0..100 {
        status = send(&s, None, Method::GET, "/apis", &headers, "").await.status;
        if status == 401 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status, 401);
}

#[tokio::test]
async fn odd_requests_are_refused_and_break_nothing() {
    let s = Server::start().await;
    let json = [("content-type", "application/json")];
    let bodies = [
        "",
        "null",
        "1",
        "[]",
        "{",
        "{}",
        r#"{"spec":1}"#,
        r#"{"metadata":[]}"#,
        r#"{"metadata":{"name":"x"},"spec":null}"#,
        r#"{"metadata":{"name":"x"},"spec":{}}"#,
        r#"{"metadata":{"name":"x","annotations":{"a":1}}}"#,
        "\u{0}\u{1}",
        r#"{"apiVersion":"v9","kind":"Nothing"}"#,
        r#"{"target":{"name":7}}"#,
        r#"{"spec":{"expirationSeconds":9223372036854775807}}"#,
        r#"{"gracePeriodSeconds":9223372036854775807,"propagationPolicy":"Sideways"}"#,
    ];
    let paths = [
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/services",
        "/api/v1/namespaces/default/pods/x/binding",
        "/api/v1/namespaces/default/pods/x/eviction",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        "/api/v1/namespaces",
        "/apis/apps/v1/namespaces/default/deployments",
        "/api/v1/nodes",
        "/apis/extensions/v1beta1/namespaces/default/deployments",
        "/api/v1/namespaces/x/finalize",
    ];
    for path in paths {
        for body in bodies {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                let answer = send(&s, Some(&s.admin), method.clone(), path, &json, body).await;
                assert!(answer.status.as_u16() < 500, "{method} {path} {body}: {}", answer.body);
            }
        }
    }
    for path in [
        "/api/v1/pods?limit=-1",
        "/api/v1/pods?limit=x",
        "/api/v1/pods?continue=%21",
        "/api/v1/pods?resourceVersion=x",
        "/api/v1/pods?fieldSelector=nothing%3D1",
        "/api/v1/pods?watch=1&timeoutSeconds=x",
        "/api/v1/pods?watch=1&sendInitialEvents=true",
        "/api/v1/pods?resourceVersion=0&resourceVersionMatch=Exact",
        "/api/v1/%ff/%00",
        "/api//",
        "/api/v1/namespaces/%2e%2e/pods/..%2fx",
        "/apis/apps/v1/namespaces",
        "//",
    ] {
        let answer = send(&s, Some(&s.admin), Method::GET, path, &[], "").await;
        assert!(answer.status.as_u16() < 500, "{path}: {}", answer.body);
    }
    assert_eq!(send(&s, None, Method::GET, "/readyz", &[], "").await.status, 200);
}

#[tokio::test]
async fn one_may_act_as_another_where_that_is_allowed() {
    let s = Server::start().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let who = async |client: &Pair, headers: &[(&str, &str)]| {
        send(&s, Some(client), Method::POST, path, headers, body).await
    };
    let answer = who(
        &s.admin,
        &[
            ("impersonate-user", "jo"),
            ("impersonate-group", "dev"),
            ("impersonate-extra-acme.com%2fproject", "x"),
        ],
    )
    .await;
    assert_eq!(
        answer.body["status"]["userInfo"],
        json!({
            "username": "jo", "groups": ["dev", "system:authenticated"],
            "extra": {"acme.com/project": ["x"]},
        })
    );
    let answer = who(&s.admin, &[("impersonate-user", "system:serviceaccount:a:b")]).await;
    assert_eq!(
        answer.body["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])
    );
    let answer = who(&s.admin, &[("impersonate-group", "dev")]).await;
    assert_eq!(answer.status, 400);
    let text = "requested [{Group  dev    }] without impersonating a user";
    assert_eq!(answer.body["message"], text);
    let jo = s.authority.issue_client("jo", None, time::OffsetDateTime::now_utc()).unwrap();
    let answer = who(&jo, &[]).await;
    let id =
        &answer.body["status"]["userInfo"]["extra"]["authentication.kubernetes.io/credential-id"];
    assert!(id[0].as_str().unwrap().starts_with("X509SHA256="), "{}", answer.body);
    let answer = who(&jo, &[("impersonate-user", "jan")]).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.body["message"],
        "users \"jan\" is forbidden: User \"jo\" cannot impersonate resource \"users\" in API group \
         \"\" at the cluster scope"
    );
}

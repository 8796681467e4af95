//! What the audit log holds.

use futures::StreamExt;
use http::Method;
use onggi_apiserver::{Access, AuditOptions, Log, LogPlace, StaticTokens, User};
use onggi_machinery::audit;
use onggi_machinery::resource::Verb;
use onggi_store::History;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::http::send;
use crate::node;
use crate::server::Server;

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, users: [system:apiserver]}
- {level: RequestResponse, resources: [{resources: [configmaps]}], omitStages: [RequestReceived]}
- {level: Metadata, resources: [{resources: [secrets, pods/exec]}], omitStages: [RequestReceived]}
- {level: Metadata, nonResourceURLs: [/version]}
";

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn start(path: std::path::PathBuf) -> Server {
    let log =
        Log { place: LogPlace::File(path), max_age_days: 0, max_backups: 0, max_megabytes: 0 };
    let access = Access {
        static_tokens: StaticTokens::parse("jos,jo,7,devs\n").unwrap(),
        audit: Some(AuditOptions {
            policy: audit::read(POLICY).unwrap(),
            log: Some(log),
            webhook: None,
        }),
        ..Access::default()
    };
    Server::with_access(History::default(), access).await
}

/// The events so far of requests for an address that begins so.
async fn events(s: &Server, path: &std::path::Path, address: &str) -> Vec<Value> {
    s.server.flush_audit().await;
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["requestURI"].as_str().unwrap().starts_with(address))
        .collect()
}

#[tokio::test]
async fn who_asked_for_what_and_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let s = start(path.clone()).await;
    let admin = Some(&s.admin);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let headers = [("audit-id", "first"), ("user-agent", "test"), ("x-forwarded-for", "1.2.3.4")];
    let uri = format!("{MAPS}?fieldManager=me");
    let created = send(&s, admin, Method::POST, &uri, &headers, &map.to_string()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let found = events(&s, &path, MAPS).await;
    let [event] = found.as_slice() else { panic!("{found:?}") };
    let times = [&event["requestReceivedTimestamp"], &event["stageTimestamp"]];
    assert!(
        times
            .iter()
            .all(|time| time.as_str().unwrap().len() == "2026-01-02T03:04:05.123456Z".len())
    );
    let mut answered = created.body.clone();
    answered["metadata"].as_object_mut().unwrap().remove("managedFields");
    let user = event["user"].clone();
    assert_eq!(user["username"], "admin");
    assert_eq!(
        *event,
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
            "auditID": "first", "stage": "ResponseComplete", "requestURI": uri,
            "verb": "create", "user": user, "sourceIPs": ["1.2.3.4", "127.0.0.1"],
            "userAgent": "test",
            "objectRef": {
                "resource": "configmaps", "namespace": "default", "name": "m", "apiVersion": "v1",
            },
            "responseStatus": {"metadata": {}, "code": 201},
            "requestObject": map, "responseObject": answered,
            "requestReceivedTimestamp": times[0], "stageTimestamp": times[1],
            "annotations": {
                "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "",
            },
        })
    );
    // The bytes have Kubernetes' order.
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"#;
    assert!(text.lines().all(|line| line.starts_with(begin)), "{text}");

    let jo = [("authorization", "Bearer jos")];
    send(&s, None, Method::GET, &format!("{SECRETS}/s"), &jo, "").await;
    send(&s, None, Method::GET, SECRETS, &[("authorization", "Bearer other")], "").await;
    send(&s, admin, Method::GET, &format!("{SECRETS}/x"), &[("impersonate-user", "jo")], "").await;
    send(&s, admin, Method::POST, SECRETS, &[], "{").await;
    let found = events(&s, &path, SECRETS).await;
    let cells = |event: &Value, pointers: &[&str]| -> Vec<Value> {
        pointers.iter().map(|at| event.pointer(at).cloned().unwrap_or_default()).collect()
    };
    let ended = ["/stage", "/verb", "/user/username", "/responseStatus/code"];
    let why = |event: &Value| event["annotations"]["authorization.k8s.io/decision"].clone();
    let [forbidden, refused, other, bad] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(json!(cells(forbidden, &ended)), json!(["ResponseComplete", "get", "jo", 403]));
    assert_eq!(why(forbidden), "forbid");
    assert_eq!(forbidden["responseStatus"]["reason"], "Forbidden");
    assert_eq!(json!(cells(refused, &ended)), json!(["ResponseStarted", "list", null, 401]));
    let message = "Authentication failed, attempted: bearer";
    assert_eq!(refused["responseStatus"]["message"], message);
    assert_eq!(json!(cells(other, &ended)), json!(["ResponseComplete", "get", "admin", 403]));
    assert_eq!(other["impersonatedUser"]["username"], "jo");
    assert_eq!(json!(cells(bad, &ended)), json!(["ResponseComplete", "create", "admin", 400]));
    assert!(
        found.iter().all(|event| event["level"] == "Metadata" && event["requestObject"].is_null())
    );

    send(&s, admin, Method::GET, "/version", &[], "").await;
    let found = events(&s, &path, "/version").await;
    let stages: Vec<_> = found.iter().map(|event| &event["stage"]).collect();
    assert_eq!(stages, ["RequestReceived", "ResponseComplete"]);
    assert!(found.iter().all(|event| event["objectRef"].is_null()));
    assert!(events(&s, &path, "/livez").await.is_empty());
}

#[tokio::test]
async fn streams_and_parts_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let s = start(path.clone()).await;
    let stream = node::with_pod(&s).await;
    let exec = "/api/v1/namespaces/default/pods/p/exec";
    let uri = format!("wss://localhost{exec}?command=echo&command=hi&stdout=true");
    let mut request = uri.into_client_request().unwrap();
    let protocol = "v5.channel.k8s.io".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    // The session ends with its last word, or a moment later.
    let found = loop {
        let found = events(&s, &path, exec).await;
        if found.len() == 2 {
            break found;
        }
        tokio::task::yield_now().await;
    };
    for (event, stage) in found.iter().zip(["ResponseStarted", "ResponseComplete"]) {
        assert_eq!(
            (&event["stage"], &event["responseStatus"]["code"]),
            (&json!(stage), &json!(101))
        );
        assert_eq!(
            (&event["verb"], &event["objectRef"]["subresource"]),
            (&json!("get"), &json!("exec"))
        );
    }

    // Inside of the process.
    let robot = s.server.transport(User::new("system:kube-scheduler", &[]));
    robot.call(s.request(Verb::Get, "secrets", "default", "x")).await.unwrap_err();
    let found = events(&s, &path, &format!("{SECRETS}/x")).await;
    let [event] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(event["user"]["username"], "system:kube-scheduler");
    assert_eq!(
        (&event["userAgent"], &event["responseStatus"]["code"]),
        (&json!("kube-scheduler"), &json!(403))
    );
}

//! Aggregated API servers.

use http::{Method, StatusCode};
use onggi_apiserver::Access;
use onggi_store::History;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::extension::{Extension, GROUP};
use crate::http::{Answer, send};
use crate::kubectl::Kubectl;
use crate::server::Server;

const NAME: &str = "v1alpha1.wardle.example.com";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

fn access(extension: &Extension) -> Access {
    Access {
        front_proxy: Some(extension.front.clone()),
        client_ca: "-----BEGIN CERTIFICATE-----\n".into(),
        ..Access::default()
    }
}

async fn start(extension: &Extension) -> Server {
    Server::with_access(History::default(), access(extension)).await
}

/// Waits until the condition `Available` gives this reason.
async fn settles(s: &Server, name: &str, reason: &str) -> Value {
    let mut changes = s.watch("apiservices", "").await;
    loop {
        if let Ok(object) = s.get("apiservices", "", name).await {
            let condition = &object["status"]["conditions"][0];
            if condition["reason"] == reason {
                return condition.clone();
            }
        }
        changes.changed().await;
    }
}

async fn get(s: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(s, Some(&s.admin), Method::GET, path, headers, "").await
}

#[tokio::test]
async fn a_group_is_answered_by_another_server() {
    let extension = Extension::start().await;
    let s = start(&extension).await;
    s.create("apiservices", "", extension.api_service()).await.unwrap();
    let condition = settles(&s, NAME, "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/api in \"wardle\" is not present");
    let down = get(&s, FLUNDERS, &[]).await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(&down.bytes[..], b"service unavailable\n");
    extension.service(&s).await;
    settles(&s, NAME, "EndpointsNotFound").await;
    extension.endpoints(&s).await;
    let condition = settles(&s, NAME, "Passed").await;
    assert_eq!(
        (&condition["status"], &condition["message"]),
        (&"True".into(), &"all checks passed".into())
    );

    let flunder = json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Flunder", "metadata": {"name": "a"}});
    let headers = [
        ("content-type", "application/json"),
        ("x-remote-user", "somebody"),
        ("x-remote-group", "else"),
        ("audit-id", "my-id"),
    ];
    let made =
        send(&s, Some(&s.admin), Method::POST, FLUNDERS, &headers, &flunder.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let (path, headers) = extension.last();
    let all = |name: &str| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(path, FLUNDERS);
    assert_eq!(all("x-remote-user"), "admin");
    assert_eq!(all("x-remote-group"), "system:masters system:authenticated");
    assert_eq!(all("audit-id"), "my-id");
    assert!(
        all("x-remote-extra-authentication.kubernetes.io%2fcredential-id")
            .starts_with("X509SHA256=")
    );
    assert_eq!(get(&s, &format!("{FLUNDERS}/a"), &[]).await.body["metadata"]["name"], "a");
    assert_eq!(get(&s, &format!("{FLUNDERS}/b"), &[]).await.status, StatusCode::NOT_FOUND);
    // Whoever may nothing here may nothing there.
    let stranger = s.authority.issue_client("jo", None, time::OffsetDateTime::now_utc()).unwrap();
    let refused = send(&s, Some(&stranger), Method::GET, FLUNDERS, &[], "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    extension.falls_ill(true);
    // It is asked again because its endpoints have changed.
    s.delete("svc", "wardle", "api").await.unwrap();
    settles(&s, NAME, "ServiceNotFound").await;
    let text = String::from_utf8(get(&s, "/metrics", &[]).await.bytes.to_vec()).unwrap();
    for line in [
        format!("aggregator_unavailable_apiservice{{name=\"{NAME}\"}} 1"),
        "aggregator_unavailable_apiservice{name=\"v1.apps\"} 0".to_owned(),
        format!(
            "aggregator_unavailable_apiservice_total{{name=\"{NAME}\",reason=\"ServiceNotFound\"}} 1"
        ),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    extension.falls_ill(false);
    s.delete("apiservices", "", NAME).await.unwrap();
    assert_eq!(get(&s, FLUNDERS, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_server_that_answers_with_errors_is_not_available() {
    let extension = Extension::start().await;
    extension.falls_ill(true);
    let s = start(&extension).await;
    extension.service(&s).await;
    extension.endpoints(&s).await;
    s.create("apiservices", "", extension.api_service()).await.unwrap();
    let condition = settles(&s, NAME, "FailedDiscoveryCheck").await;
    let url = "https://api.wardle.svc:443/apis/wardle.example.com/v1alpha1";
    let expected = format!("failing or missing response from {url}: bad status from {url}: 500");
    assert_eq!(condition["message"], expected);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = get(&s, "/apis", &[("accept", aggregated)]).await.body;
    let items = groups["items"].as_array().unwrap();
    let group = items.iter().find(|item| item["metadata"]["name"] == GROUP).unwrap();
    assert_eq!(group["versions"], json!([{"version": "v1alpha1", "freshness": "Stale"}]));
    // It is asked again by itself.
    extension.falls_ill(false);
    settles(&s, NAME, "Passed").await;
}

#[tokio::test]
async fn what_it_serves_stands_among_our_own() {
    let extension = Extension::start().await;
    let s = start(&extension).await;
    extension.service(&s).await;
    extension.endpoints(&s).await;
    s.create("apiservices", "", extension.api_service()).await.unwrap();
    settles(&s, NAME, "Passed").await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let headers = [("accept", aggregated), ("user-agent", "kubectl/v1.36.0")];
    let groups = get(&s, "/apis", &headers).await.body;
    let names: Vec<_> = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].clone())
        .collect();
    // 1500 stands behind the built-in groups, and before what is kept for old manifests.
    assert_eq!(names[names.len() - 2..], [GROUP, "extensions"], "{names:?}");
    let group = &groups["items"][names.len() - 2];
    assert_eq!(group["versions"][0]["freshness"], "Current");
    assert_eq!(group["versions"][0]["resources"][0]["resource"], "flunders");
    let legacy = get(&s, "/apis", &[]).await.body;
    let listed = legacy["groups"].as_array().unwrap().iter().find(|g| g["name"] == GROUP).unwrap();
    assert_eq!(listed["preferredVersion"]["groupVersion"], "wardle.example.com/v1alpha1");
    assert_eq!(get(&s, "/apis/wardle.example.com", &[]).await.body["kind"], "APIGroup");
    let resources = get(&s, "/apis/wardle.example.com/v1alpha1", &[]).await.body;
    assert_eq!(resources["resources"][0]["name"], "flunders");
    let index = get(&s, "/openapi/v3", &[]).await.body;
    let place = &index["paths"]["apis/wardle.example.com/v1alpha1"]["serverRelativeURL"];
    let document = get(&s, place.as_str().unwrap(), &[]).await.body;
    assert!(document["components"]["schemas"]["com.example.wardle.v1alpha1.Flunder"].is_object());
    let swagger = get(&s, "/openapi/v2", &[]).await.body;
    assert!(swagger["definitions"]["com.example.wardle.v1alpha1.Flunder"].is_object());
    assert!(swagger["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    assert!(
        get(&s, "/", &[]).await.body["paths"]
            .to_string()
            .contains("/apis/wardle.example.com/v1alpha1")
    );
}

#[tokio::test]
async fn watches_and_upgrades_pass_through() {
    let extension = Extension::start().await;
    let s = start(&extension).await;
    extension.service(&s).await;
    extension.endpoints(&s).await;
    s.create("apiservices", "", extension.api_service()).await.unwrap();
    settles(&s, NAME, "Passed").await;
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(s.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        s.tls(Some(&s.admin)).connect(name, stream).await.unwrap()
    };
    let flunder = json!({"metadata": {"name": "a"}}).to_string();
    send(&s, Some(&s.admin), Method::POST, FLUNDERS, &[], &flunder).await;
    let mut stream = connect().await;
    let request = format!("GET {FLUNDERS}?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    // The answer has no end.
    while !String::from_utf8_lossy(&read).contains("ADDED") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    let mut stream = connect().await;
    let request = format!(
        "GET {FLUNDERS}/a/shell HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    assert_eq!(extension.last().1["x-remote-user"], "admin");
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn custom_groups_have_objects_of_their_own() {
    let s = Server::start().await;
    let local = s.get("apiservices", "", "v1.apps").await.unwrap();
    assert_eq!(local["status"]["conditions"][0]["reason"], "Local");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    s.create("crds", "", definition).await.unwrap();
    settles(&s, "v1.stable.example.com", "Local").await;
    let made = s.get("apiservices", "", "v1.stable.example.com").await.unwrap();
    assert_eq!(made["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    assert_eq!(made["spec"]["groupPriorityMinimum"], 1000);
    assert_eq!(made["spec"]["versionPriority"], 100);
    let mut changes = s.watch("apiservices", "").await;
    s.delete("crds", "", "crontabs.stable.example.com").await.unwrap();
    while s.get("apiservices", "", "v1.stable.example.com").await.is_ok() {
        changes.changed().await;
    }
}

#[tokio::test]
async fn aggregated_servers_are_told_whom_to_believe() {
    let extension = Extension::start().await;
    let s = start(&extension).await;
    let map = s.get("cm", "kube-system", "extension-apiserver-authentication").await.unwrap();
    let data = &map["data"];
    assert!(data["client-ca-file"].as_str().unwrap().contains("CERTIFICATE"));
    assert_eq!(data["requestheader-client-ca-file"], extension.front.ca);
    assert_eq!(data["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    assert_eq!(data["requestheader-extra-headers-prefix"], "[\"X-Remote-Extra-\"]");
}

#[tokio::test]
async fn what_the_server_needs_is_made_again() {
    let extension = Extension::start().await;
    let s = start(&extension).await;
    for (plural, namespace, name) in [
        ("services", "default", "kubernetes"),
        ("endpointslices", "default", "kubernetes"),
        ("cm", "kube-system", "extension-apiserver-authentication"),
    ] {
        let uid = s.get(plural, namespace, name).await.unwrap()["metadata"]["uid"].clone();
        let mut changes = s.watch(plural, namespace).await;
        s.delete(plural, namespace, name).await.unwrap();
        loop {
            match s.get(plural, namespace, name).await {
                Ok(object) if object["metadata"]["uid"] != uid => break,
                _ => changes.changed().await,
            };
        }
    }
}

#[tokio::test]
async fn kubectl_knows_its_kinds() {
    let extension = Extension::start().await;
    let Some(k) = Kubectl::start_with(access(&extension)).await else { return };
    extension.service(&k.server).await;
    extension.endpoints(&k.server).await;
    let service = extension.api_service().to_string();
    k.run_with("create -f -", &service).await;
    k.run(&format!("wait --for=condition=Available apiservice/{NAME}")).await;
    let line = k.run("get apiservices v1alpha1.wardle.example.com --no-headers").await;
    assert!(line.contains("wardle/api") && line.contains("True"), "{line}");
    let kinds = k.run("api-resources --api-group wardle.example.com").await;
    assert!(kinds.contains("flunders") && kinds.contains("Flunder"), "{kinds}");
    let flunder = json!({
        "apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "a"},
        "spec": {"reference": "b"},
    });
    let made = k.run_with("create -f -", &flunder.to_string()).await;
    assert_eq!(made, "flunder.wardle.example.com/a created\n");
    assert!(k.run("get fl").await.contains("\na "));
    assert_eq!(k.run("get flunder a -o jsonpath={.spec.reference}").await, "b");
    assert!(k.run("explain flunder.spec.reference").await.contains("Names another flunder."));
    assert!(k.run("explain flunders").await.contains("A Flunder is an example."));
    k.run("delete svc api -n wardle").await;
    settles(&k.server, NAME, "ServiceNotFound").await;
    let down = k.try_run("get flunders", "").await;
    assert!(
        down.stderr.contains("the server is currently unable to handle the request"),
        "{}",
        down.stderr
    );
}

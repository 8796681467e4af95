//! Formats, lists in pages, watches, health and counts, as clients see them.

use std::convert::Infallible;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_client::WatchSpec;
use onggi_machinery::protobuf;
use onggi_machinery::resource::by_any_name;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::http::{Answer, send};
use crate::node;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn get(s: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(s, Some(&s.admin), Method::GET, path, headers, "").await
}

async fn make(s: &Server, name: &str, data: &str) -> Value {
    let body = json!({"metadata": {"name": name, "labels": {"app": "x"}}, "data": {"k": data}});
    s.create("configmaps", "default", body).await.unwrap()
}

#[tokio::test]
async fn objects_lists_and_errors_in_protobuf() {
    let s = Server::start().await;
    make(&s, "one", "1").await;
    make(&s, "two", "2").await;
    let accept = [("accept", PROTOBUF)];
    let one = get(&s, &format!("{MAPS}/one"), &accept).await;
    assert_eq!(one.headers[header::CONTENT_TYPE], PROTOBUF);
    let decoded = protobuf::decode(&one.bytes).unwrap();
    assert_eq!(decoded, get(&s, &format!("{MAPS}/one"), &[]).await.body);
    let list = protobuf::decode(&get(&s, MAPS, &accept).await.bytes).unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][1]["data"]["k"]),
        (&json!("ConfigMapList"), &json!("2"))
    );
    let gone = get(&s, &format!("{MAPS}/nothing"), &accept).await;
    assert_eq!(gone.status, 404);
    let status = protobuf::decode(&gone.bytes).unwrap();
    assert_eq!((&status["reason"], &status["code"]), (&json!("NotFound"), &json!(404)));
    // Metadata alone, of one and of many, as the metadata client asks for it.
    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let partial = get(&s, MAPS, &[("accept", &partial)]).await;
    // The message has the place of `metadata` in common with every object.
    let text = String::from_utf8_lossy(&partial.bytes).into_owned();
    assert!(text.contains("PartialObjectMetadataList") && text.contains("two"), "{text}");
    let json = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one = get(&s, &format!("{MAPS}/one"), &[("accept", json)]).await.body;
    assert_eq!((&one["kind"], &one["data"]), (&json!("PartialObjectMetadata"), &Value::Null));
    let many = get(&s, MAPS, &[("accept", json)]).await;
    assert_eq!(many.status, 406);
    let why = "you requested PartialObjectMetadata, but the requested object is a list \
               (*core.ConfigMapList)";
    assert_eq!(many.body["message"], why);
    let yaml = get(&s, &format!("{MAPS}/one"), &[("accept", "application/yaml")]).await;
    assert!(yaml.body.as_str().unwrap().contains("\nkind: ConfigMap\n"), "{}", yaml.body);
}

#[tokio::test]
async fn watches_in_every_form() {
    let s = Server::start().await;
    make(&s, "one", "1").await;
    let path = format!("{MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name=one");
    let events = get(&s, &path, &[("accept", &format!("{PROTOBUF};stream=watch"))]).await;
    assert_eq!(events.headers[header::CONTENT_TYPE], format!("{PROTOBUF};stream=watch").as_str());
    let length = u32::from_be_bytes(events.bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(length, events.bytes.len() - 4);
    assert_eq!(&events.bytes[4..11], b"\n\x05ADDED");
    let at = events.bytes.windows(4).position(|w| w == b"k8s\0").unwrap();
    assert_eq!(protobuf::decode(&events.bytes[at..]).unwrap()["data"]["k"], "1");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let events = get(&s, &path, &[("accept", table)]).await.body;
    assert_eq!(events["object"]["rows"][0]["cells"][0], "one");
    let old =
        get(&s, "/api/v1/watch/namespaces/default/configmaps/one?timeoutSeconds=1", &[]).await;
    assert_eq!(old.body["object"]["metadata"]["name"], "one");
    let yaml = get(&s, &path, &[("accept", "application/yaml")]).await;
    assert_eq!(yaml.status, 406, "{}", yaml.body);
    let odd = format!("{MAPS}?watch=1&resourceVersionMatch=NotOlderThan");
    let odd = get(&s, &odd, &[]).await;
    assert_eq!(odd.status, 422);
    assert_eq!(odd.body["details"]["causes"][0]["reason"], "FieldValueForbidden");
    // A list and its end in one stream.
    let list = format!(
        "{MAPS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true\
         &resourceVersionMatch=NotOlderThan&labelSelector=app%3Dx"
    );
    let lines = get(&s, &list, &[]).await;
    let lines: Vec<Value> = std::str::from_utf8(&lines.bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["type"], "ADDED");
    assert_eq!(lines[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_over_websocket() {
    let s = Server::start().await;
    make(&s, "one", "1").await;
    let stream = TcpStream::connect(s.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = s.tls(Some(&s.admin)).connect(name, stream).await.unwrap();
    let uri = format!("wss://localhost{MAPS}?watch=1&labelSelector=app%3Dx");
    let (mut socket, _) = tokio_tungstenite::client_async(uri, stream).await.unwrap();
    let message = socket.next().await.unwrap().unwrap();
    let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["data"]["k"]), (&json!("ADDED"), &json!("1")));
    make(&s, "two", "2").await;
    let message = socket.next().await.unwrap().unwrap();
    assert!(message.to_text().unwrap().contains("\"name\":\"two\""));
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn a_watch_says_farewell() {
    let s = Server::start().await;
    make(&s, "one", "1").await;
    let path = format!("{MAPS}?watch=1&timeoutSeconds=3&allowWatchBookmarks=true");
    let lines = get(&s, &path, &[]).await;
    let last = std::str::from_utf8(&lines.bytes).unwrap().lines().last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["type"], "BOOKMARK");
    // It is a place from which a watch can go on.
    let version = last["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    let on = format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={version}");
    assert_eq!(get(&s, &on, &[]).await.body, "");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let s = Server::start().await;
    let stream = TcpStream::connect(s.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = s.tls(Some(&s.admin)).connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (_never, body) = futures::channel::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let request = http::Request::post(format!("{MAPS}?timeout=1s"))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(StreamBody::new(body))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 504);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["reason"], "Timeout");
}

#[tokio::test]
async fn pages_of_a_state_that_is_gone() {
    let s = Server::start().await;
    for n in 0..6 {
        make(&s, &format!("m{n}"), "").await;
    }
    let own = "labelSelector=app%3Dx";
    let first = get(&s, &format!("{MAPS}?limit=2&{own}"), &[]).await.body;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    make(&s, "late", "").await;
    let second = get(&s, &format!("{MAPS}?limit=2&{own}&continue={token}"), &[]).await.body;
    assert_eq!(second["items"][0]["metadata"]["name"], "m2");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    s.store.compact(s.store.revision()).await.unwrap();
    let gone = get(&s, &format!("{MAPS}?limit=2&{own}&continue={token}"), &[]).await;
    assert_eq!((gone.status.as_u16(), &gone.body["reason"]), (410, &json!("Expired")));
    let token = gone.body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&s, &format!("{MAPS}?limit=20&{own}&continue={token}"), &[]).await.body;
    assert_eq!(rest["items"].as_array().unwrap().len(), 4, "m2 to m5: late comes before them");
    let exact = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact =
        get(&s, &format!("{MAPS}?resourceVersion={exact}&resourceVersionMatch=Exact"), &[]).await;
    assert_eq!(exact.status, 410);
    assert_eq!(exact.body["message"], "The resourceVersion for the provided list is too old.");
    let all = get(&s, &format!("{MAPS}?limit=2&resourceVersion=0&{own}"), &[]).await.body;
    assert_eq!(all["items"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn the_token_of_a_page_grows_old_where_nobody_writes() {
    let s = Server::start().await;
    for n in 0..4 {
        make(&s, &format!("m{n}"), "").await;
    }
    let own = "limit=2&labelSelector=app%3Dx";
    let first = get(&s, &format!("{MAPS}?{own}"), &[]).await.body;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    // Clients look for ten minutes whether it has expired.
    let (mut passed, step) = (Duration::ZERO, Duration::from_secs(285));
    let gone = loop {
        assert!(passed + step < Duration::from_secs(580), "{passed:?}");
        let before = s.store.revision();
        tokio::time::pause();
        tokio::time::advance(step).await;
        tokio::time::resume();
        passed += step;
        // The first time the state is not to stay the newest; then what is older is forgotten.
        loop {
            let next = get(&s, &format!("{MAPS}?{own}&continue={token}"), &[]).await;
            if next.status != 200 || s.store.revision() > before {
                break;
            }
            tokio::task::yield_now().await;
        }
        let next = get(&s, &format!("{MAPS}?{own}&continue={token}"), &[]).await;
        if next.status != 200 {
            break next;
        }
    };
    assert_eq!((gone.status.as_u16(), &gone.body["reason"]), (410, &json!("Expired")));
    let token = gone.body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&s, &format!("{MAPS}?{own}&continue={token}"), &[]).await.body;
    assert_eq!(rest["items"][0]["metadata"]["name"], "m2");
    assert_ne!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_watch_of_what_is_forgotten_is_told_so() {
    let s = Server::start().await;
    // More than is kept for those who come late.
    for n in 0..20 {
        make(&s, &format!("m{n}"), &"x".repeat(900 << 10)).await;
    }
    let path = format!("{MAPS}?watch=1&resourceVersion=1&timeoutSeconds=5");
    let told = get(&s, &path, &[]).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.body["type"], "ERROR");
    assert_eq!(
        (&told.body["object"]["code"], &told.body["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_wants_it() {
    let s = Server::start().await;
    make(&s, "large", &"x".repeat(200 << 10)).await;
    let path = format!("{MAPS}/large");
    let packed = get(&s, &path, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(packed.headers[header::VARY], "Accept-Encoding");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.bytes[..]).read_to_string(&mut text).unwrap();
    let plain = get(&s, &path, &[]).await;
    assert_eq!(text.as_bytes(), &plain.bytes[..]);
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    // A list so large is put together while it is sent.
    make(&s, "larger", &"y".repeat(300 << 10)).await;
    let plain = get(&s, MAPS, &[]).await;
    let length = plain.headers[header::CONTENT_LENGTH].to_str().unwrap().to_owned();
    assert_eq!(length, plain.bytes.len().to_string());
    let packed = get(&s, MAPS, &[("accept-encoding", "gzip")]).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text.as_bytes(), &plain.bytes[..]);
    let document = get(&s, "/openapi/v3/apis/apps/v1", &[]).await;
    let etag = document.headers[header::ETAG].to_str().unwrap().to_owned();
    let same = get(&s, "/openapi/v3/apis/apps/v1", &[("if-none-match", &etag)]).await;
    assert_eq!((same.status.as_u16(), same.bytes.len()), (304, 0));
    let moved = get(&s, "/openapi/v3/apis/apps/v1?hash=old", &[]).await;
    let to = moved.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(moved.status, 301);
    let kept = get(&s, to, &[]).await;
    assert_eq!(kept.headers[header::CACHE_CONTROL], "public, immutable");
    let wanted = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let message = get(&s, to, &[("accept", wanted)]).await;
    assert_eq!(
        message.headers[header::CONTENT_TYPE],
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
    );
    assert_eq!(message.headers[header::ETAG], kept.headers[header::ETAG]);
    assert!(message.bytes.starts_with(b"\x0a\x053.0.0\x12"), "{:?}", &message.bytes[..20]);
    assert_eq!(get(&s, to, &[("accept", "text/html")]).await.status, 406);
    let v2 = get(&s, "/openapi/v2", &[]).await.body;
    assert_eq!(
        v2["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"],
        json!({
            "$ref": "#/definitions/io.k8s.api.core.v1.PodSpec",
            "description": "Specification of the desired behavior of the pod. More info: \
                https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#spec-and-status",
        })
    );
    let core = get(&s, "/api/v1", &[]).await;
    let maps = r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","#;
    assert!(String::from_utf8_lossy(&core.bytes).contains(maps), "the order of the fields");
    let services = &v2["definitions"]["io.k8s.api.core.v1.ServiceList"]["properties"]["items"];
    assert_eq!(services["description"], "List of services");
    let asked = v2["paths"]["/api/v1/namespaces/{namespace}/services"]["get"]["parameters"].clone();
    assert!(asked.as_array().unwrap().contains(&json!({"$ref": "#/parameters/watch"})), "{asked}");
    let watch = &v2["parameters"]["watch"];
    assert_eq!((&watch["in"], &watch["type"]), (&json!("query"), &json!("boolean")));
    let v3 = get(&s, "/openapi/v3/api/v1", &[]).await.body;
    assert_eq!(v3["components"]["parameters"]["watch"]["schema"]["type"], "boolean");
}

/// Numbers that are new in v1.36.
#[tokio::test]
async fn young_fields_come_through_in_protobuf() {
    let s = Server::start().await;
    let driver = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "d"},
        "spec": {"serviceAccountTokenInSecrets": true, "tokenRequests": [{"audience": ""}]},
    });
    let body = protobuf::encode(&driver).unwrap();
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let path = "/apis/storage.k8s.io/v1/csidrivers";
    let made = send(&s, Some(&s.admin), Method::POST, path, &headers, &body).await;
    assert_eq!(made.status, 201, "{:?}", made.bytes);
    let told = protobuf::decode(&made.bytes).unwrap();
    assert_eq!(told["spec"]["serviceAccountTokenInSecrets"], true);
    let plain = get(&s, &format!("{path}/d"), &[]).await.body;
    assert_eq!(plain["spec"]["serviceAccountTokenInSecrets"], true);
}

#[tokio::test]
async fn reads_of_removed_versions_are_warned_of() {
    let s = Server::start().await;
    let old = "/apis/rbac.authorization.k8s.io/v1beta1/namespaces/default/roles";
    for path in [old.to_owned(), format!("{old}/none")] {
        let warning = get(&s, &path, &[]).await.headers[header::WARNING].clone();
        let warning = warning.to_str().unwrap();
        assert!(
            warning.contains("rbac.authorization.k8s.io/v1beta1 Role is deprecated"),
            "{warning}"
        );
    }
    let current = get(&s, &old.replace("v1beta1", "v1"), &[]).await;
    assert!(!current.headers.contains_key(header::WARNING));
}

/// kubectl sends a strategic merge patch where a kind's operation says that it takes one.
#[tokio::test]
async fn custom_kinds_offer_no_strategic_patch() {
    let s = Server::start().await;
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "pots.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
                 "names": {"plural": "pots", "kind": "Pot"}, "versions": [version]},
    });
    s.create("customresourcedefinitions", "", definition).await.unwrap();
    for (place, path, offered) in [
        ("apis/example.com/v1", "/apis/example.com/v1/namespaces/{namespace}/pots/{name}", false),
        ("api/v1", "/api/v1/namespaces/{namespace}/configmaps/{name}", true),
    ] {
        let v3 = get(&s, &format!("/openapi/v3/{place}"), &[]).await.body;
        let body = &v3["paths"][path]["patch"]["requestBody"]["content"];
        assert!(body.get("application/merge-patch+json").is_some(), "{v3}");
        let found = body.get("application/strategic-merge-patch+json").is_some();
        assert_eq!(found, offered, "{path}");
    }
}

#[tokio::test]
async fn health_and_counts() {
    let s = Server::start().await;
    let plain = get(&s, "/livez/ping", &[]).await;
    assert_eq!(plain.body, "ok");
    let all = get(&s, "/readyz?verbose&exclude=etcd&exclude=nothing", &[]).await;
    let text = all.body.as_str().unwrap();
    for line in [
        "[+]ping ok",
        "[+]etcd excluded: ok",
        "[+]informer-sync ok",
        "warn: some health checks cannot be excluded: no matches for \"nothing\"",
        "readyz check passed",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(get(&s, "/readyz/nothing", &[]).await.status, 404);
    // The names that monitoring asks for.
    for path in ["/livez", "/healthz", "/readyz"] {
        let all = get(&s, &format!("{path}?verbose"), &[]).await;
        let roles = "poststarthook/rbac/bootstrap-roles";
        assert!(all.body.as_str().unwrap().contains(&format!("[+]{roles} ok")), "{}", all.body);
        assert_eq!(get(&s, &format!("{path}/{roles}"), &[]).await.body, "ok");
    }
    let paths = get(&s, "/", &[]).await.body;
    assert!(paths["paths"].as_array().unwrap().contains(&json!("/livez/autoregister-completion")));
    let answer = get(&s, MAPS, &[("audit-id", "mine")]).await;
    assert_eq!(answer.headers["audit-id"], "mine");
    let probe = send(&s, None, Method::GET, "/livez", &[], "").await;
    let level = "x-kubernetes-pf-prioritylevel-uid";
    assert_eq!(answer.headers[level], probe.headers[level], "neither is ever held up");
    let schema = "x-kubernetes-pf-flowschema-uid";
    assert_ne!(answer.headers[schema], probe.headers[schema]);
    let text = get(&s, "/metrics", &[]).await;
    let text = text.body.as_str().unwrap();
    for part in [
        "apiserver_request_total{code=\"200\",dry_run=\"\",component=\"apiserver\",group=\"\",\
         resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1\n",
        "apiserver_storage_objects{resource=\"namespaces\"} 4\n",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"system\"} ",
        "etcd_request_duration_seconds_count{operation=\"txn\"} ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for (query, code) in [("timeout=10s", 200), ("timeout=0", 200), ("timeout=soon", 400)] {
        assert_eq!(get(&s, &format!("{MAPS}?{query}"), &[]).await.status.as_u16(), code, "{query}");
    }
}

#[tokio::test]
async fn flow_schemas_are_followed() {
    let Some(row) = by_any_name("flowschemas") else { return println!("skipped: no such kind") };
    let s = Server::start().await;
    let all = get(&s, "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", &[]).await.body;
    assert_eq!(all["items"].as_array().unwrap().len(), 13);
    let schema = json!({"metadata": {"name": "mine"}, "spec": {
        "matchingPrecedence": 3, "priorityLevelConfiguration": {"name": "mine"},
        "rules": [{"subjects": [{"kind": "Group", "group": {"name": "system:nodes"}}],
            "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"],
                "clusterScope": true, "namespaces": ["*"]}]}]}});
    let schema = s.create("flowschemas", "", schema).await.unwrap();
    let mut spec = WatchSpec::all(row.gvr());
    spec.field_selector = "metadata.name=mine".into();
    let mut events = s.transport.watch(spec).await.unwrap();
    let mut told = async |wanted: &str| loop {
        let object = events.next().await.unwrap().unwrap().object.value().unwrap();
        if object["status"]["conditions"][0]["status"] == wanted {
            break;
        }
    };
    told("True").await;
    let level = json!({"metadata": {"name": "mine"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
    let level = s.create("prioritylevelconfigurations", "", level).await.unwrap();
    told("False").await;
    let now = time::OffsetDateTime::now_utc();
    let node = s.authority.issue_client("system:node:n1", Some("system:nodes"), now).unwrap();
    let answer = send(&s, Some(&node), Method::GET, "/api/v1/nodes/n1", &[], "").await;
    for (header, object) in
        [("x-kubernetes-pf-flowschema-uid", schema), ("x-kubernetes-pf-prioritylevel-uid", level)]
    {
        assert_eq!(answer.headers[header], object["metadata"]["uid"].as_str().unwrap());
    }
}

/// A client that opens more requests than there are seats, and finishes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_client_does_not_keep_nodes_waiting() {
    let s = Server::start().await;
    let now = time::OffsetDateTime::now_utc();
    let noisy = s.authority.issue_client("system:kube-scheduler", None, now).unwrap();
    let node = s.authority.issue_client("system:node:n1", Some("system:nodes"), now).unwrap();
    let stream = TcpStream::connect(s.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = s.tls(Some(&noisy)).connect(name, stream).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut open = Vec::new();
    for _ in 0..450 {
        let (never, body) = futures::channel::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let request = http::Request::post("https://localhost/api/v1/namespaces/default/events")
            .body(StreamBody::new(body))
            .unwrap();
        let mut sender = sender.clone();
        sender.ready().await.unwrap();
        open.push((never, tokio::spawn(sender.send_request(request))));
    }
    let waiting =
        "apiserver_flowcontrol_current_inqueue_requests{priority_level=\"workload-high\"} ";
    loop {
        let text = get(&s, "/metrics", &[]).await;
        let text = text.body.as_str().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(waiting)).unwrap();
        if line != "0" {
            break;
        }
        tokio::task::yield_now().await;
    }
    let answer = send(&s, Some(&node), Method::GET, "/api/v1/nodes/n1", &[], "").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    connection.abort();
}

#[tokio::test]
async fn discovery_has_what_clients_compare() {
    let s = Server::start().await;
    let list = get(&s, "/api/v1", &[]).await.body;
    let resources = list["resources"].as_array().unwrap();
    let pods = resources.iter().find(|r| r["name"] == "pods").unwrap();
    assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
    let names: Vec<&str> = resources.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let protobuf = get(&s, "/apis/apps/v1", &[("accept", PROTOBUF)]).await;
    assert_eq!(protobuf::decode(&protobuf.bytes).unwrap()["groupVersion"], "apps/v1");
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = get(&s, "/apis", &[("accept", v2)]).await;
    assert_eq!(groups.headers[header::CACHE_CONTROL], "public");
    assert_eq!(groups.headers[header::CONTENT_TYPE], v2);
    assert_eq!(groups.body["items"][0]["metadata"]["name"], "apiregistration.k8s.io");
    assert_eq!(groups.body["items"][1]["metadata"]["name"], "apps");
}

/// Who looks a kind up by its name alone finds one of it; who has an old manifest finds its own.
#[tokio::test]
async fn removed_versions_are_listed_for_manifests_alone() {
    let s = Server::start().await;
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut tags = Vec::new();
    for (agent, listed) in [
        ("OpenAPI-Generator/34.1.0/python", false),
        ("Helm/3.19.0", false),
        ("kubectl/v1.36.0 (linux/amd64) kubernetes/abcdef0", true),
        ("onggi/0.1.0", true),
    ] {
        let of = |accept| [("user-agent", agent), ("accept", accept)];
        let legacy = get(&s, "/apis", &of("application/json")).await.body;
        let groups = legacy["groups"].as_array().unwrap();
        let find = |name: &str| groups.iter().find(|group| group["name"] == name);
        let apps = find("apps").unwrap();
        assert_eq!(apps["preferredVersion"]["version"], "v1");
        assert_eq!(apps["versions"].as_array().unwrap().len() > 1, listed, "{agent}");
        assert_eq!(find("extensions").is_some(), listed, "{agent}");
        // The next client may share the cache of this one.
        let answer = get(&s, "/apis", &of(v2)).await;
        let vary: Vec<_> = answer.headers.get_all(header::VARY).iter().collect();
        assert!(vary.iter().any(|by| *by == "User-Agent"), "{vary:?}");
        tags.push(answer.headers[header::ETAG].clone());
        let items = answer.body["items"].as_array().unwrap();
        let old = items.iter().any(|group| group["metadata"]["name"] == "extensions");
        assert_eq!(old, listed, "{agent}");
        // What is asked for by its name is there for everybody.
        for path in [
            "/apis/extensions",
            "/apis/extensions/v1beta1",
            "/apis/apps/v1beta1",
            "/apis/extensions/v1beta1/namespaces/default/deployments",
        ] {
            let answer = get(&s, path, &of("application/json")).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }
    assert_eq!((&tags[0], &tags[2]), (&tags[1], &tags[3]));
    assert_ne!(tags[0], tags[2]);
}

#[tokio::test]
async fn a_forwarded_port_closes_with_the_pods_side() {
    let s = Server::start().await;
    let stream = node::with_pod(&s).await;
    let uri = "wss://localhost/api/v1/namespaces/default/pods/p/portforward?ports=82";
    let mut request = uri.into_client_request().unwrap();
    let protocol = "v4.channel.k8s.io".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut said = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() {
            said.push(message.into_data());
        }
    }
    // The port on both channels, then what the pod said.
    assert_eq!(said, [&b"\0\x52\0"[..], b"\x01\x52\0", b"\0bye"]);
}

//! What every verb does, through the transport inside the process.

use futures::StreamExt;
use onggi_apiserver::User;
use onggi_client::transport::EventType;
use onggi_client::{Body, PatchKind, Response, WatchSpec};
use onggi_machinery::resource::{Verb, by_any_name};
use onggi_store::History;
use serde_json::{Value, json};

use crate::server::Server;

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

#[tokio::test]
async fn an_object_has_one_life() {
    let s = Server::start().await;
    let made = s.create("cm", "default", config_map("a", json!({"k": "1"}))).await.unwrap();
    assert!(
        made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string()
    );
    let again = s.create("cm", "default", config_map("a", json!({}))).await.unwrap_err();
    assert_eq!(again.to_string(), "configmaps \"a\" already exists");

    let mut changed = made.clone();
    changed["data"]["k"] = "2".into();
    changed["metadata"]["uid"] = Value::Null;
    let stored = s.update("cm", "default", changed.clone()).await.unwrap();
    assert_eq!(stored["metadata"]["uid"], made["metadata"]["uid"]);
    let conflict = s.update("cm", "default", changed).await.unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please \
         apply your changes to the latest version and try again"
    );
    // A write that changes nothing leaves the version alone.
    let same = s.update("cm", "default", stored.clone()).await.unwrap();
    assert_eq!(same["metadata"]["resourceVersion"], stored["metadata"]["resourceVersion"]);

    let gone = s.delete("cm", "default", "a").await.unwrap();
    assert_eq!(
        (&gone["status"], &gone["details"]["kind"]),
        (&"Success".into(), &"configmaps".into())
    );
    assert!(s.get("cm", "default", "a").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn concurrent_patches_are_all_kept() {
    let s = Server::start().await;
    s.create("cm", "default", config_map("a", json!({"x": "0"}))).await.unwrap();
    let patches = (0..20).map(|i| {
        let patch = format!(r#"{{"data":{{"k{i}":"v"}}}}"#);
        let request = s.request(Verb::Patch, "cm", "default", "a");
        s.call(request.body(Body::Patch(PatchKind::Merge, patch.into())))
    });
    for result in futures::future::join_all(patches).await {
        result.unwrap();
    }
    let all = s.get("cm", "default", "a").await.unwrap();
    assert_eq!(all["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there() {
    let s = Server::start().await;
    s.create("cm", "default", config_map("a", json!({}))).await.unwrap();
    let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
    spec.namespace = "default".into();
    spec.label_selector = "w=1".into();
    let mut labelled = config_map("b", json!({}));
    labelled["metadata"]["labels"] = json!({"w": "1"});
    s.create("cm", "default", labelled).await.unwrap();
    let mut events = s.transport.watch(spec).await.unwrap();
    let mut next = async || {
        let event = events.next().await.unwrap().unwrap();
        (event.kind, event.object.head().name.clone(), event.initial_events_end)
    };
    assert_eq!(next().await, (EventType::Added, "b".into(), false));
    assert_eq!(next().await, (EventType::Bookmark, String::new(), true));
    let label = |name: &str, value: &str| {
        let patch = format!(r#"{{"metadata":{{"labels":{{"w":"{value}"}}}}}}"#);
        let request = s.request(Verb::Patch, "cm", "default", name);
        s.call(request.body(Body::Patch(PatchKind::Merge, patch.into())))
    };
    label("a", "1").await.unwrap();
    assert_eq!(next().await, (EventType::Added, "a".into(), false));
    label("a", "2").await.unwrap();
    assert_eq!(next().await, (EventType::Deleted, "a".into(), false));
    s.delete("cm", "default", "b").await.unwrap();
    assert_eq!(next().await, (EventType::Deleted, "b".into(), false));
}

#[tokio::test]
async fn pages_show_one_moment() {
    let s = Server::start().await;
    for i in 0..10 {
        s.create("cm", "default", config_map(&format!("c{i}"), json!({}))).await.unwrap();
    }
    let mut request = s.request(Verb::List, "cm", "default", "");
    request.list.limit = 4;
    let mut names = Vec::new();
    let mut revisions = Vec::new();
    loop {
        let Response::List { meta, items, .. } = s.transport.call(request.clone()).await.unwrap()
        else {
            panic!("a list")
        };
        names.extend(items.iter().map(|o| o.head().name.clone()));
        revisions.push(meta.resource_version);
        if meta.continue_token.is_empty() {
            break;
        }
        assert_eq!(meta.remaining, Some(10 - names.len() as u64));
        request.list.continue_token = meta.continue_token;
        // Neither of these is seen by the pages that follow.
        let _ = s.delete("cm", "default", "c9").await;
        let _ = s.create("cm", "default", config_map("c99", json!({}))).await;
    }
    assert_eq!(names.len(), 10);
    assert_eq!(names[9], "c9");
    revisions.dedup();
    assert_eq!(revisions.len(), 1);
}

#[tokio::test]
async fn pods_are_bound_once_and_deleted_with_grace() {
    let s = Server::start().await;
    let made = s.create("pods", "default", pod("p")).await.unwrap();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["readOnly"], true);
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(made["status"]["phase"], "Pending");
    let bind = |node: &str| {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
            "target": {"kind": "Node", "name": node},
        });
        let request = s.request(Verb::Create, "pods", "default", "p").subresource("binding");
        s.call(request.body(Body::Object(binding)))
    };
    bind("n1").await.unwrap();
    let again = bind("n2").await.unwrap_err();
    assert_eq!(
        again.to_string(),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
    // Where it runs is nothing that somebody desires of it; that it is to go is.
    let bound = s.get("pods", "default", "p").await.unwrap();
    assert_eq!(
        (&bound["spec"]["nodeName"], &bound["metadata"]["generation"]),
        (&"n1".into(), &1.into())
    );
    let waiting = s.delete("pods", "default", "p").await.unwrap();
    assert_eq!(waiting["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(waiting["metadata"]["generation"], 2);
    let twice = s.delete("pods", "default", "p").await.unwrap();
    assert_eq!(twice["metadata"]["resourceVersion"], waiting["metadata"]["resourceVersion"]);
    let mut last = s.request(Verb::Delete, "pods", "default", "p");
    last.write.grace_period_seconds = Some(0);
    // Some kinds are answered with their last state.
    let gone = s.call(last).await.unwrap();
    assert_eq!((&gone["kind"], &gone["spec"]["nodeName"]), (&"Pod".into(), &"n1".into()));
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0);
    // Nobody runs a pod that is bound to no node.
    s.create("pods", "default", pod("q")).await.unwrap();
    assert_eq!(s.delete("pods", "default", "q").await.unwrap()["kind"], "Pod");
    assert!(s.get("pods", "default", "q").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn finalizers_hold_what_is_deleted() {
    let s = Server::start().await;
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    s.create("cm", "default", object).await.unwrap();
    let mut held = s.delete("cm", "default", "a").await.unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    held["metadata"]["finalizers"] = json!([]);
    s.update("cm", "default", held).await.unwrap();
    assert!(s.get("cm", "default", "a").await.unwrap_err().is_not_found());

    s.create("cm", "default", config_map("b", json!({}))).await.unwrap();
    let mut foreground = s.request(Verb::Delete, "cm", "default", "b");
    foreground.write.propagation_policy = "Foreground".into();
    let held = s.call(foreground).await.unwrap();
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn namespaces_end_in_two_steps() {
    let s = Server::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    s.create("ns", "", namespace).await.unwrap();
    s.create("cm", "n", config_map("a", json!({}))).await.unwrap();
    let ending = s.delete("ns", "", "n").await.unwrap();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = s.create("cm", "n", config_map("b", json!({}))).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "configmaps \"b\" is forbidden: unable to create new content in namespace n because it is \
         being terminated"
    );
    let mut done = ending.clone();
    done["spec"]["finalizers"] = json!([]);
    let request = s.request(Verb::Update, "ns", "", "n").subresource("finalize");
    s.call(request.body(Body::Object(done))).await.unwrap();
    assert!(s.get("ns", "", "n").await.unwrap_err().is_not_found());
    let kept = s.delete("ns", "", "default").await.unwrap_err();
    assert_eq!(
        kept.to_string(),
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}

#[tokio::test]
async fn services_share_no_address_and_no_port() {
    let s = Server::start().await;
    let service = |name: &str, spec: Value| {
        let mut spec = spec;
        spec["ports"] = json!([{"port": 80}]);
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    };
    let kubernetes = s.get("svc", "default", "kubernetes").await.unwrap();
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
    let many = (0..30).map(|i| {
        s.create("svc", "default", service(&format!("s{i}"), json!({"type": "NodePort"})))
    });
    let mut seen = std::collections::HashSet::new();
    for made in futures::future::join_all(many).await {
        let made = made.unwrap();
        assert!(seen.insert(made["spec"]["clusterIP"].to_string()));
        assert!(seen.insert(made["spec"]["ports"][0]["nodePort"].to_string()));
        assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    }
    let taken = s
        .create("svc", "default", service("t", json!({"clusterIP": "10.96.0.1"})))
        .await
        .unwrap_err();
    assert_eq!(
        taken.to_string(),
        "Service \"t\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: failed to \
         allocate IP 10.96.0.1: provided IP is already allocated"
    );
    let outside = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "o"},
        "spec": {"type": "ExternalName", "externalName": "example.com"},
    });
    let outside = s.create("svc", "default", outside).await.unwrap();
    assert_eq!((outside["spec"].get("ports"), outside["spec"].get("clusterIP")), (None, None));
    let headless =
        s.create("svc", "default", service("h", json!({"clusterIP": "None"}))).await.unwrap();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    // What goes is free again.
    let fixed = service("f", json!({"clusterIP": "10.96.7.7"}));
    s.create("svc", "default", fixed.clone()).await.unwrap();
    s.delete("svc", "default", "f").await.unwrap();
    s.create("svc", "default", fixed).await.unwrap();
}

#[tokio::test]
async fn a_new_server_goes_on_from_the_store() {
    let s = Server::start().await;
    let made = s.create("cm", "default", config_map("a", json!({}))).await.unwrap();
    let again = s.another().await;
    let transport = again.transport(User::new("admin", &["system:masters"]));
    let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
    let mut events = transport.watch(spec.clone()).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.object.value().unwrap(), made);
    // What happened before it began it does not know any more.
    spec.initial_events = false;
    spec.resource_version = Some(1);
    let error = transport.watch(spec).await.unwrap().next().await.unwrap().unwrap_err();
    assert!(error.is_expired());
    assert!(error.to_string().starts_with("too old resource version: 1 ("), "{error}");
    again.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_falls_behind_begins_anew() {
    // So little history that the cache itself is too slow for it now and then.
    let s = Server::with(History { revisions: 1, bytes: 1 }).await;
    let writers = (0..16).map(|w| {
        let s = &s;
        async move {
            for i in 0..20 {
                s.create("cm", "default", config_map(&format!("c{w}-{i}"), json!({})))
                    .await
                    .unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let all = s.call(s.request(Verb::List, "cm", "default", "")).await.unwrap();
    assert_eq!(all.as_array().unwrap().len(), 320);
    let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
    spec.namespace = "default".into();
    let mut events = s.transport.watch(spec).await.unwrap();
    for _ in 0..320 {
        assert_eq!(events.next().await.unwrap().unwrap().kind, EventType::Added);
    }
    assert!(events.next().await.unwrap().unwrap().initial_events_end);
}

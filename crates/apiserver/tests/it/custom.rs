//! Custom kinds: served as soon as their definition is written, in every version, after a restart
//! too, and gone with it.

use futures::StreamExt;
use onggi_api::GroupVersionResource;
use onggi_apiserver::User;
use onggi_client::{Body, Error, EventType, PatchKind, Request, Response, WatchSpec};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::server::Server;

const CRDS: &str = "customresourcedefinitions";

/// A definition with a served version that is stored, and another one.
fn definition(plural: &str, kind: &str) -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "default": 1},
                    "colour": {"type": "string"},
                }},
                "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
            }}},
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"},
            },
            "selectableFields": [{"jsonPath": ".spec.colour"}],
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [&plural[..2]]},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    })
}

fn gvr(version: &str, plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("example.com", version, plural)
}

fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": kind,
        "metadata": {"name": name}, "spec": spec})
}

async fn create(s: &Server, version: &str, plural: &str, object: Value) -> Result<Value, Error> {
    let request = Request::new(Verb::Create, gvr(version, plural), "default", "");
    s.call(request.body(Body::Object(object))).await
}

fn merge(patch: &Value) -> Body {
    Body::Patch(PatchKind::Merge, patch.to_string().into())
}

fn status_of(error: Error) -> onggi_api::Status {
    match error {
        Error::Status(status) => *status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_kind_is_served_with_its_definition() {
    let s = Server::start().await;
    let none = create(&s, "v1", "pots", object("v1", "Pot", "a", json!({}))).await.unwrap_err();
    let none = status_of(none);
    assert_eq!(none.code, 404);
    assert_eq!(none.message, "the server could not find the requested resource");

    let made = s.create(CRDS, "", definition("pots", "Pot")).await.unwrap();
    let names = &made["status"]["acceptedNames"];
    assert_eq!((&names["singular"], &names["listKind"]), (&json!("pot"), &json!("PotList")));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["status"]["conditions"][1]["type"], "Established");
    assert_eq!(made["status"]["conditions"][1]["status"], "True");

    let mut watch = s.transport.watch(WatchSpec::all(gvr("v1beta1", "pots"))).await.unwrap();
    let spec = json!({"size": 2, "colour": "red"});
    let pot = create(&s, "v1", "pots", object("v1", "Pot", "a", spec)).await.unwrap();
    assert_eq!(pot["metadata"]["generation"], 1);
    let seen = loop {
        let seen = watch.next().await.unwrap().unwrap();
        if seen.kind != EventType::Bookmark {
            break seen;
        }
    };
    assert_eq!(seen.kind, EventType::Added);
    assert_eq!(seen.object.head().api_version, "example.com/v1beta1");

    // In the other version, with a selector on its fields.
    create(&s, "v1beta1", "pots", object("v1beta1", "Pot", "b", json!({}))).await.unwrap();
    let mut list = Request::new(Verb::List, gvr("v1beta1", "pots"), "default", "");
    list.list.field_selector = "spec.colour=red".into();
    let found = s.call(list).await.unwrap();
    assert_eq!(found[0]["metadata"]["name"], "a");
    assert_eq!(found[0]["apiVersion"], "example.com/v1beta1");
    assert_eq!(found.as_array().unwrap().len(), 1);

    // Status and scale.
    let patch = |sub: &str, patch: Value| {
        let request = Request::new(Verb::Patch, gvr("v1", "pots"), "default", "a");
        s.call(request.subresource(sub).body(merge(&patch)))
    };
    let changed =
        patch("status", json!({"status": {"ready": 1}, "spec": {"size": 9}})).await.unwrap();
    assert_eq!((&changed["spec"]["size"], &changed["status"]["ready"]), (&json!(2), &json!(1)));
    assert_eq!(changed["metadata"]["generation"], 1);
    let scale = patch("scale", json!({"spec": {"replicas": 5}})).await.unwrap();
    assert_eq!(scale["spec"]["replicas"], 5);
    assert_eq!(scale["status"]["replicas"], 1);

    // A server that starts on what is stored.
    let other = s.another().await;
    let transport = other.transport(User::new("admin", &["system:masters"]));
    let get = Request::new(Verb::Get, gvr("v1", "pots"), "default", "a");
    let Response::Object { object, .. } = transport.call(get).await.unwrap() else { panic!() };
    assert_eq!(object.value().unwrap()["spec"]["size"], 5);
    other.close();
}

#[tokio::test]
async fn objects_go_before_their_definition() {
    let s = Server::start().await;
    s.create(CRDS, "", definition("cups", "Cup")).await.unwrap();
    let mut held = object("v1", "Cup", "a", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    create(&s, "v1", "cups", held).await.unwrap();
    create(&s, "v1", "cups", object("v1", "Cup", "b", json!({}))).await.unwrap();
    let mut definitions = {
        let mut spec =
            WatchSpec::all(GroupVersionResource::new("apiextensions.k8s.io", "v1", CRDS));
        spec.field_selector = "metadata.name=cups.example.com".into();
        s.transport.watch(spec).await.unwrap()
    };
    s.call(s.request(Verb::Delete, CRDS, "", "cups.example.com")).await.unwrap();
    // It waits for the one that is held.
    let mut reasons = Vec::new();
    loop {
        let event = definitions.next().await.unwrap().unwrap();
        let conditions = event.object.value().unwrap()["status"]["conditions"].clone();
        let found = conditions
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Terminating");
        reasons.extend(found.map(|c| c["reason"].as_str().unwrap().to_owned()));
        if reasons.last().is_some_and(|reason| reason == "InstanceDeletionInProgress") {
            break;
        }
    }
    let refused = create(&s, "v1", "cups", object("v1", "Cup", "c", json!({}))).await;
    let refused = status_of(refused.unwrap_err());
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (405, "create not allowed while custom resource definition is terminating")
    );
    let patch = merge(&json!({"metadata": {"finalizers": null}}));
    let request = Request::new(Verb::Patch, gvr("v1", "cups"), "default", "a");
    s.call(request.body(patch)).await.unwrap();
    loop {
        let event = definitions.next().await.unwrap().unwrap();
        if event.kind == EventType::Deleted {
            break;
        }
    }
    let gone = s.call(Request::new(Verb::List, gvr("v1", "cups"), "default", "")).await;
    assert_eq!(status_of(gone.unwrap_err()).code, 404);
}

#[tokio::test]
async fn the_first_has_the_name() {
    let s = Server::start().await;
    s.create(CRDS, "", definition("jars", "Jar")).await.unwrap();
    let second = s.create(CRDS, "", definition("urns", "Jar")).await.unwrap();
    let condition = &second["status"]["conditions"][0];
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("ListKindConflict"))
    );
    let urns = Request::new(Verb::List, gvr("v1", "urns"), "default", "");
    assert_eq!(status_of(s.call(urns.clone()).await.unwrap_err()).code, 404);
    let mut watch = {
        let spec = WatchSpec::all(GroupVersionResource::new("apiextensions.k8s.io", "v1", CRDS));
        s.transport.watch(spec).await.unwrap()
    };
    s.call(s.request(Verb::Delete, CRDS, "", "jars.example.com")).await.unwrap();
    loop {
        let object = watch.next().await.unwrap().unwrap().object;
        let value = object.value().unwrap();
        if object.head().name == "urns.example.com"
            && value["status"]["conditions"][1]["status"] == "True"
        {
            break;
        }
    }
    s.call(urns).await.unwrap();
}

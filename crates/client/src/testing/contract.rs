//! What every [`Transport`] must do, whichever way it goes. Run it with [`run`] over each of them.
//!
//! Objects are made in a namespace of their own and removed afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "called by tests only")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use onggi_api::{GroupVersionResource, Object};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::client::{Client, Deleted, Patch};
use crate::transport::{
    Body, Error, EventStream, EventType, ListOptions, Request, Response, Transport, WatchEvent,
    WatchSpec, WriteOptions,
};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Runs every check; panics at the first that fails.
pub async fn run(transport: Arc<dyn Transport>) {
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let namespace = format!("contract-{}-{number}", std::process::id());
    let client = Client::new(Arc::clone(&transport)).field_manager("contract");
    let spaces = GroupVersionResource::new("", "v1", "namespaces");
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    client.create(&spaces, "", space).await.unwrap();
    let t = Contract { client, namespace };
    t.an_object_is_created_once_and_read().await;
    t.names_are_generated().await;
    t.what_is_not_there_is_not_found().await;
    t.a_write_on_an_old_state_is_a_conflict().await;
    t.patches_change_fields().await;
    t.nothing_changes_without_a_revision().await;
    t.lists_select().await;
    t.dry_runs_leave_nothing().await;
    t.deletes_keep_preconditions().await;
    t.finalizers_hold_an_object().await;
    t.the_status_is_apart().await;
    t.a_pod_is_bound_once().await;
    t.a_watch_begins_with_what_is_there().await;
    t.a_watch_goes_on_from_a_list().await;
    t.a_watch_sees_its_selection().await;
    t.a_watch_that_nobody_reads_holds_up_no_call().await;
    t.a_collection_is_deleted().await;
    client_delete(&t.client, &spaces, "", &t.namespace).await;
}

struct Contract {
    client: Client,
    namespace: String,
}

fn config_maps() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "configmaps")
}

fn config_map(name: &str, labels: Value, data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": data,
    })
}

async fn client_delete(
    client: &Client,
    resource: &GroupVersionResource,
    namespace: &str,
    name: &str,
) -> Deleted {
    client.delete(resource, namespace, name, WriteOptions::default()).await.unwrap()
}

impl Contract {
    async fn create(&self, name: &str, labels: Value, data: Value) -> Arc<Object> {
        let object = config_map(name, labels, data);
        self.client.create(&config_maps(), &self.namespace, object).await.unwrap()
    }

    async fn get(&self, name: &str) -> Result<Arc<Object>, Error> {
        self.client.get(&config_maps(), &self.namespace, name).await
    }

    async fn delete(&self, name: &str) -> Deleted {
        client_delete(&self.client, &config_maps(), &self.namespace, name).await
    }

    async fn patch(&self, name: &str, patch: Patch) -> Arc<Object> {
        self.client.patch(&config_maps(), &self.namespace, name, patch).await.unwrap()
    }

    async fn names(&self, labels: &str) -> Vec<String> {
        let options = ListOptions { label_selector: labels.to_owned(), ..ListOptions::default() };
        let (_, items) = self.client.list(&config_maps(), &self.namespace, options).await.unwrap();
        items.iter().map(|object| object.head().name.clone()).collect()
    }

    async fn watch(&self, change: impl FnOnce(&mut WatchSpec)) -> EventStream {
        let mut spec = WatchSpec::all(config_maps());
        spec.namespace.clone_from(&self.namespace);
        change(&mut spec);
        self.client.transport().watch(spec).await.unwrap()
    }

    async fn an_object_is_created_once_and_read(&self) {
        let object = config_map("one", json!({}), json!({"a": "1"}));
        let mut request = Request::new(Verb::Create, config_maps(), &self.namespace, "");
        request.body = Body::Object(object.clone());
        let Response::Object { object: made, created, .. } =
            self.client.call(request).await.unwrap()
        else {
            panic!("a create answers with the object")
        };
        assert!(created);
        assert_eq!(made.head().kind, "ConfigMap");
        assert_eq!(made.head().api_version, "v1");
        assert_eq!(made.head().namespace, self.namespace);
        assert!(!made.head().uid.is_empty());
        assert!(made.head().resource_version > 0);
        let value = made.value().unwrap();
        assert!(value["metadata"]["creationTimestamp"].is_string(), "{value}");
        assert_eq!(self.get("one").await.unwrap().json(), made.json());
        let again = self.client.create(&config_maps(), &self.namespace, object.clone()).await;
        let error = again.unwrap_err();
        assert!(error.is_already_exists(), "{error}");
        assert_eq!(error.to_string(), "configmaps \"one\" already exists");
        let (found, created) =
            self.client.create_or_get(&config_maps(), &self.namespace, object).await.unwrap();
        assert!(!created);
        assert_eq!(found.head().uid, made.head().uid);
        assert!(matches!(self.delete("one").await, Deleted::Gone));
    }

    async fn names_are_generated(&self) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"},
        });
        let made = self.client.create(&config_maps(), &self.namespace, object).await.unwrap();
        let name = &made.head().name;
        assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
        self.delete(name).await;
    }

    async fn what_is_not_there_is_not_found(&self) {
        let error = self.get("none").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "configmaps \"none\" not found");
        let status = error.status().unwrap();
        assert_eq!(status.code, 404);
        let details = status.details.as_ref().unwrap();
        assert_eq!((details.name.as_str(), details.kind.as_str()), ("none", "configmaps"));
        let options = WriteOptions::default();
        let gone = self.client.delete(&config_maps(), &self.namespace, "none", options).await;
        assert!(gone.unwrap_err().is_not_found());
        let patch = Patch::merge(json!({"data": {"a": "1"}}));
        let gone = self.client.patch(&config_maps(), &self.namespace, "none", patch).await;
        assert!(gone.unwrap_err().is_not_found());
    }

    async fn a_write_on_an_old_state_is_a_conflict(&self) {
        let first = self.create("two", json!({}), json!({"a": "1"})).await;
        let mut value = first.value().unwrap();
        value["data"]["a"] = "2".into();
        let second = self.client.update(&config_maps(), value.clone()).await.unwrap();
        assert!(second.head().resource_version > first.head().resource_version);
        assert_eq!(second.head().uid, first.head().uid);
        value["data"]["a"] = "3".into();
        let error = self.client.update(&config_maps(), value).await.unwrap_err();
        assert!(error.is_conflict(), "{error}");
        let mut tries = 0;
        let maps = config_maps();
        let modified = self.client.modify(&maps, &self.namespace, "two", "", |value| {
            tries += 1;
            value["data"]["a"] = "4".into();
        });
        assert_eq!(modified.await.unwrap().value().unwrap()["data"]["a"], "4");
        assert_eq!(tries, 1);
        self.delete("two").await;
    }

    async fn patches_change_fields(&self) {
        self.create("p", json!({"x": "y"}), json!({"a": "1", "b": "2"})).await;
        let merged = self.patch("p", Patch::merge(json!({"data": {"a": null, "c": "3"}}))).await;
        assert_eq!(merged.value().unwrap()["data"], json!({"b": "2", "c": "3"}));
        let operations = json!([{"op": "replace", "path": "/data/b", "value": "5"}]);
        let patched = self.patch("p", Patch::json(operations)).await;
        assert_eq!(patched.value().unwrap()["data"], json!({"b": "5", "c": "3"}));
        let strategic = json!({"metadata": {"labels": {"z": "1"}}});
        let patched = self.patch("p", Patch::strategic(strategic)).await;
        assert_eq!(patched.head().labels.len(), 2);
        self.delete("p").await;
    }

    async fn nothing_changes_without_a_revision(&self) {
        let first = self.create("same", json!({}), json!({"a": "1"})).await;
        let same = self.patch("same", Patch::merge(json!({"data": {"a": "1"}}))).await;
        assert_eq!(same.head().resource_version, first.head().resource_version);
        self.delete("same").await;
    }

    async fn lists_select(&self) {
        self.create("l1", json!({"app": "a", "tier": "x"}), json!({})).await;
        self.create("l2", json!({"app": "b"}), json!({})).await;
        assert_eq!(self.names("app=a").await, ["l1"]);
        assert_eq!(self.names("app").await, ["l1", "l2"]);
        assert_eq!(self.names("app!=a,app").await, ["l2"]);
        assert_eq!(self.names("app,!tier").await, ["l2"]);
        assert_eq!(self.names("app in (a,c)").await, ["l1"]);
        assert_eq!(self.names("app,app notin (a)").await, ["l2"]);
        let mut request = Request::new(Verb::List, config_maps(), "", "");
        request.list.field_selector =
            format!("metadata.name=l2,metadata.namespace={}", self.namespace);
        let Response::List { meta, items, .. } = self.client.call(request).await.unwrap() else {
            panic!("a list answers with a list")
        };
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].head().kind, "ConfigMap");
        assert!(meta.resource_version >= items[0].head().resource_version);
        self.delete("l1").await;
        self.delete("l2").await;
    }

    async fn dry_runs_leave_nothing(&self) {
        let object = config_map("dry", json!({}), json!({}));
        let mut request = Request::new(Verb::Create, config_maps(), &self.namespace, "");
        request.body = Body::Object(object);
        request.write.dry_run = true;
        let response = self.client.call(request).await.unwrap();
        assert!(matches!(response, Response::Document { created: true, .. }), "{response:?}");
        assert!(self.get("dry").await.unwrap_err().is_not_found());
    }

    async fn deletes_keep_preconditions(&self) {
        let object = self.create("pre", json!({}), json!({})).await;
        let place = (config_maps(), &self.namespace);
        let wrong =
            WriteOptions { precondition_uid: Some("another".into()), ..WriteOptions::default() };
        let kept = self.client.delete(&place.0, place.1, "pre", wrong).await.unwrap_err();
        assert!(kept.is_conflict(), "{kept}");
        let right = WriteOptions {
            precondition_uid: Some(object.head().uid.clone()),
            precondition_resource_version: Some(object.head().resource_version.to_string()),
            ..WriteOptions::default()
        };
        let gone = self.client.delete(&place.0, place.1, "pre", right).await.unwrap();
        assert!(matches!(gone, Deleted::Gone));
    }

    async fn finalizers_hold_an_object(&self) {
        let mut object = config_map("fin", json!({}), json!({}));
        object["metadata"]["finalizers"] = json!(["onggi.dev/contract"]);
        self.client.create(&config_maps(), &self.namespace, object).await.unwrap();
        let Deleted::Marked(marked) = self.delete("fin").await else {
            panic!("a finalizer holds the object")
        };
        assert!(marked.head().deleting);
        assert!(self.get("fin").await.unwrap().head().deleting);
        self.patch("fin", Patch::merge(json!({"metadata": {"finalizers": null}}))).await;
        assert!(self.get("fin").await.unwrap_err().is_not_found());
    }

    async fn the_status_is_apart(&self) {
        let resource = GroupVersionResource::new("apps", "v1", "deployments");
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        });
        let made = self.client.create(&resource, &self.namespace, object).await.unwrap();
        assert_eq!(made.head().generation, 1);
        let both = json!({"spec": {"replicas": 3}, "status": {"replicas": 2}});
        let status = self
            .client
            .patch_status(&resource, &self.namespace, "d", Patch::merge(both.clone()))
            .await
            .unwrap();
        assert_eq!(status.head().generation, 1);
        let value = status.value().unwrap();
        assert_eq!(
            (&value["spec"]["replicas"], &value["status"]["replicas"]),
            (&json!(1), &json!(2))
        );
        let other = json!({"spec": {"replicas": 3}, "status": {"replicas": 9}});
        let spec =
            self.client.patch(&resource, &self.namespace, "d", Patch::merge(other)).await.unwrap();
        assert_eq!(spec.head().generation, 2);
        let containers = json!([{"name": "c", "image": "j"}, {"name": "d", "image": "k"}]);
        let strategic = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let strategic = Patch::strategic(strategic);
        let merged = self.client.patch(&resource, &self.namespace, "d", strategic).await.unwrap();
        let merged = merged.value().unwrap();
        let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        let images: Vec<_> = containers.iter().map(|c| c["image"].as_str().unwrap()).collect();
        assert_eq!(images, ["j", "k"]);
        let value = spec.value().unwrap();
        assert_eq!(
            (&value["spec"]["replicas"], &value["status"]["replicas"]),
            (&json!(3), &json!(2))
        );
        client_delete(&self.client, &resource, &self.namespace, "d").await;
    }

    async fn a_pod_is_bound_once(&self) {
        let resource = GroupVersionResource::new("", "v1", "pods");
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "pod"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        let pod = self.client.create(&resource, &self.namespace, object).await.unwrap();
        let uid = &pod.head().uid;
        self.client.bind(&self.namespace, "pod", uid, "n1").await.unwrap();
        let bound = self.client.get(&resource, &self.namespace, "pod").await.unwrap();
        assert_eq!(bound.value().unwrap()["spec"]["nodeName"], "n1");
        let again = self.client.bind(&self.namespace, "pod", uid, "n2").await.unwrap_err();
        assert!(again.is_conflict(), "{again}");
        let graceful = WriteOptions::default();
        let first = self.client.delete(&resource, &self.namespace, "pod", graceful).await.unwrap();
        assert!(matches!(first, Deleted::Marked(_)), "a pod on a node goes with grace: {first:?}");
        let now = WriteOptions { grace_period_seconds: Some(0), ..WriteOptions::default() };
        let last = self.client.delete(&resource, &self.namespace, "pod", now).await.unwrap();
        assert!(matches!(last, Deleted::Gone));
    }

    async fn a_watch_begins_with_what_is_there(&self) {
        self.create("w1", json!({}), json!({})).await;
        let mut events = self.watch(|_| {}).await;
        let first = next(&mut events).await;
        assert_eq!((first.kind, first.object.head().name.as_str()), (EventType::Added, "w1"));
        assert!(!first.initial_events_end);
        let end = next(&mut events).await;
        assert_eq!(end.kind, EventType::Bookmark);
        assert!(end.initial_events_end);
        assert!(end.object.head().resource_version >= first.object.head().resource_version);
        self.create("w2", json!({}), json!({})).await;
        self.patch("w1", Patch::merge(json!({"data": {"a": "1"}}))).await;
        self.delete("w1").await;
        self.delete("w2").await;
        let seen = changes(&mut events, 4).await;
        let brief: Vec<_> = seen.iter().map(|e| (e.kind, e.object.head().name.as_str())).collect();
        let expected = [
            (EventType::Added, "w2"),
            (EventType::Modified, "w1"),
            (EventType::Deleted, "w1"),
            (EventType::Deleted, "w2"),
        ];
        assert_eq!(brief, expected);
        assert!(seen.windows(2).all(|pair| revision(&pair[0]) < revision(&pair[1])));
        assert!(revision(&seen[0]) > end.object.head().resource_version);
    }

    async fn a_watch_goes_on_from_a_list(&self) {
        let listed = self.create("r1", json!({}), json!({})).await.head().resource_version;
        self.create("r2", json!({}), json!({})).await;
        self.delete("r1").await;
        let mut events = self
            .watch(|spec| {
                spec.resource_version = Some(listed);
                spec.initial_events = false;
            })
            .await;
        self.delete("r2").await;
        let seen = changes(&mut events, 3).await;
        let brief: Vec<_> = seen.iter().map(|e| (e.kind, e.object.head().name.as_str())).collect();
        let expected =
            [(EventType::Added, "r2"), (EventType::Deleted, "r1"), (EventType::Deleted, "r2")];
        assert_eq!(brief, expected);
    }

    async fn a_watch_sees_its_selection(&self) {
        let mut events = self.watch(|spec| spec.label_selector = "app=a".into()).await;
        assert!(next(&mut events).await.initial_events_end);
        self.create("s1", json!({"app": "b"}), json!({})).await;
        let enter = Patch::merge(json!({"metadata": {"labels": {"app": "a"}}}));
        self.patch("s1", enter).await;
        let leave = Patch::merge(json!({"metadata": {"labels": {"app": "c"}}}));
        let left = self.patch("s1", leave).await;
        self.create("s2", json!({"app": "a"}), json!({})).await;
        self.delete("s1").await;
        self.delete("s2").await;
        let seen = changes(&mut events, 4).await;
        let brief: Vec<_> = seen.iter().map(|e| (e.kind, e.object.head().name.as_str())).collect();
        let expected = [
            (EventType::Added, "s1"),
            (EventType::Deleted, "s1"),
            (EventType::Added, "s2"),
            (EventType::Deleted, "s2"),
        ];
        assert_eq!(brief, expected);
        assert_eq!(revision(&seen[1]), left.head().resource_version);
    }

    async fn a_watch_that_nobody_reads_holds_up_no_call(&self) {
        let unread = self.watch(|_| {}).await;
        let payload = "x".repeat(300_000);
        for name in ["large-1", "large-2", "large-3"] {
            self.create(name, json!({}), json!({"payload": payload})).await;
        }
        for name in ["large-1", "large-2", "large-3"] {
            assert!(self.get(name).await.is_ok());
            self.delete(name).await;
        }
        drop(unread);
    }

    async fn a_collection_is_deleted(&self) {
        self.create("c1", json!({"set": "x"}), json!({})).await;
        self.create("c2", json!({"set": "x"}), json!({})).await;
        self.create("c3", json!({}), json!({})).await;
        let mut request = Request::new(Verb::DeleteCollection, config_maps(), &self.namespace, "");
        request.list.label_selector = "set=x".into();
        self.client.call(request).await.unwrap();
        assert!(self.names("set=x").await.is_empty());
        assert!(self.get("c3").await.is_ok());
        self.delete("c3").await;
    }
}

/// The next event; fails rather than waiting for ever.
async fn next(events: &mut EventStream) -> WatchEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    event.unwrap().unwrap().unwrap()
}

/// The next so many events, bookmarks left out.
async fn changes(events: &mut EventStream, count: usize) -> Vec<WatchEvent> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let event = next(events).await;
        if event.kind != EventType::Bookmark {
            seen.push(event);
        }
    }
    seen
}

fn revision(event: &WatchEvent) -> u64 {
    event.object.head().resource_version
}

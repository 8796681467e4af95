//! Informers against the fake API server: what they know after connections break and history goes.

use std::sync::Arc;

use onggi_api::core::{ConfigMap, Pod};
use onggi_api::{DecodeError, GroupVersionResource, Object, Status};
use onggi_base::Shutdown;
use onggi_client::informer::{HeadOnly, Keep, Whole};
use onggi_client::testing::FakeApi;
use onggi_client::{
    Cache, Change, Patch, Project, SharedInformers, Source, Subscription, WriteOptions,
};
use onggi_machinery::resource::Verb;
use serde::Deserialize;
use serde_json::{Value, json};

fn maps() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "configmaps")
}

fn map(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "d", "name": name},
        "data": data,
    })
}

struct World {
    fake: FakeApi,
    informers: SharedInformers,
    shutdown: Shutdown,
}

impl World {
    fn new() -> Self {
        let fake = FakeApi::new();
        let shutdown = Shutdown::new();
        let informers = SharedInformers::new(fake.transport(), shutdown.clone());
        Self { fake, informers, shutdown }
    }

    async fn put(&self, name: &str, data: Value) -> u64 {
        self.fake.put(map(name, data)).unwrap().head().resource_version
    }
}

async fn told<T: Send + Sync + 'static>(changes: &mut Subscription<T>) -> String {
    match changes.recv().await.unwrap() {
        Change::Added { key, .. } => format!("+{}", key.name),
        Change::Updated { key, .. } => format!("~{}", key.name),
        Change::Deleted { key, .. } => format!("-{}", key.name),
    }
}

#[tokio::test]
async fn a_cache_follows_its_collection() {
    let world = World::new();
    world.put("a", json!({"k": "1"})).await;
    let cache: Cache<ConfigMap> = world.informers.informer(Source::of::<ConfigMap>());
    cache.synced().await.unwrap();
    assert_eq!(cache.get("d", "a").unwrap().data.as_ref().unwrap()["k"], "1");
    let mut changes = cache.subscribe();
    assert_eq!(told(&mut changes).await, "+a");
    let revision = world.put("b", json!({})).await;
    cache.caught_up(revision).await.unwrap();
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.resource_version("d", "b"), Some(revision));
    assert_eq!(told(&mut changes).await, "+b");
    world.put("a", json!({"k": "2"})).await;
    assert_eq!(told(&mut changes).await, "~a");
    world.fake.remove(&maps(), "d", "b");
    assert_eq!(told(&mut changes).await, "-b");
    assert_eq!(cache.list_in("d").len(), 1);
    assert!(cache.list_in("e").is_empty());
    world.shutdown.cancel();
    assert!(changes.recv().await.is_none());
    assert!(cache.caught_up(u64::MAX).await.is_err());
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_difference() {
    let world = World::new();
    world.put("a", json!({"k": "0"})).await;
    world.put("gone", json!({})).await;
    let cache: Cache<ConfigMap> = world.informers.informer(Source::of::<ConfigMap>());
    cache.synced().await.unwrap();
    let mut changes = cache.subscribe();
    assert_eq!(told(&mut changes).await, "+a");
    assert_eq!(told(&mut changes).await, "+gone");
    for step in 1..100 {
        world.put("a", json!({"k": step.to_string()})).await;
        world.put("brief", json!({})).await;
        world.fake.remove(&maps(), "d", "brief");
    }
    world.fake.remove(&maps(), "d", "gone");
    let revision = world.put("gone", json!({"again": "1"})).await;
    cache.caught_up(revision).await.unwrap();
    match changes.recv().await.unwrap() {
        Change::Updated { old, new, .. } => {
            assert_eq!(old.data.as_ref().unwrap()["k"], "0");
            assert_eq!(new.data.as_ref().unwrap()["k"], "99");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(told(&mut changes).await, "-gone");
    assert_eq!(told(&mut changes).await, "+gone");
    assert!(changes.try_recv().is_none());
}

#[tokio::test]
async fn who_counts_is_told_of_what_came_and_went_unseen() {
    let world = World::new();
    let cache: Cache<ConfigMap> = world.informers.informer(Source::of::<ConfigMap>());
    cache.synced().await.unwrap();
    let mut changes = cache.subscribe_to_all_ends();
    world.put("brief", json!({"k": "1"})).await;
    world.put("brief", json!({"k": "2"})).await;
    world.fake.remove(&maps(), "d", "brief");
    let revision = world.put("last", json!({})).await;
    cache.caught_up(revision).await.unwrap();
    match changes.recv().await.unwrap() {
        Change::Deleted { old, .. } => assert_eq!(old.data.as_ref().unwrap()["k"], "2"),
        other => panic!("{other:?}"),
    }
    assert_eq!(told(&mut changes).await, "+last");
    assert!(changes.try_recv().is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_when_the_connection_breaks() {
    let world = World::new();
    world.put("a", json!({})).await;
    world.put("b", json!({})).await;
    let cache: Cache<Whole> = world.informers.informer(Source::all(maps()));
    cache.synced().await.unwrap();
    world.fake.disconnect();
    world.fake.fail_next(Verb::Watch, "configmaps", Status::unavailable("starting"));
    world.fake.remove(&maps(), "d", "a");
    let revision = world.put("c", json!({})).await;
    cache.caught_up(revision).await.unwrap();
    let names: Vec<_> = cache.keys().into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_history_is_made_up_by_the_difference() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.put(name, json!({})).await;
    }
    let cache: Cache<HeadOnly> = world.informers.informer(Source::all(maps()));
    cache.synced().await.unwrap();
    let mut changes = cache.subscribe();
    for _ in 0..3 {
        changes.recv().await.unwrap();
    }
    world.fake.disconnect();
    world.fake.remove(&maps(), "d", "a");
    world.put("b", json!({"k": "2"})).await;
    let revision = world.put("e", json!({})).await;
    world.fake.compact();
    cache.caught_up(revision).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(told(&mut changes).await);
    }
    seen.sort();
    assert_eq!(seen, ["+e", "-a", "~b"]);
    assert!(changes.try_recv().is_none(), "c did not change");
}

#[derive(Debug, Deserialize)]
struct Number {
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    n: String,
}

impl Project for Number {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

#[tokio::test]
async fn one_bad_object_does_not_spoil_the_rest() {
    let world = World::new();
    world.put("bad", json!({"other": "1"})).await;
    world.put("good", json!({"n": "1"})).await;
    let cache: Cache<Number> = world.informers.informer(Source::all(maps()));
    cache.synced().await.unwrap();
    assert_eq!(cache.len(), 1);
    // What cannot be read any more stays as it was known.
    world.put("good", json!({})).await;
    let revision = world.put("bad", json!({"n": "2"})).await;
    cache.caught_up(revision).await.unwrap();
    assert_eq!(cache.get("d", "good").unwrap().data.n, "1");
    assert_eq!(cache.get("d", "bad").unwrap().data.n, "2");
}

#[tokio::test]
async fn indexes_follow_and_informers_are_shared() {
    let world = World::new();
    let client = world.fake.client();
    let pods = GroupVersionResource::new("", "v1", "pods");
    for (name, node) in [("a", "n1"), ("b", "n1"), ("c", "n2")] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "d", "name": name},
            "spec": {"nodeName": node, "containers": []},
        });
        world.fake.put(pod).unwrap();
    }
    let on_node = |pod: &Pod| -> Vec<String> {
        pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect()
    };
    let cache: Cache<Pod> = world.informers.informer(Source::of::<Pod>());
    let early = cache.index("node", on_node);
    let other: Cache<Pod> = world.informers.informer(Source::of::<Pod>());
    world.informers.synced().await.unwrap();
    assert!(Arc::ptr_eq(&cache.get("d", "a").unwrap(), &other.get("d", "a").unwrap()));
    let late = other.index("node again", on_node);
    for index in [&early, &late] {
        assert_eq!((index.count("n1"), index.count("n2"), index.count("n3")), (2, 1, 0));
    }
    let moved = Patch::merge(json!({"spec": {"nodeName": "n3"}}));
    let moved = client.patch(&pods, "d", "a", moved).await.unwrap();
    let now = WriteOptions { grace_period_seconds: Some(0), ..WriteOptions::default() };
    client.delete(&pods, "d", "c", now).await.unwrap();
    cache.caught_up(moved.head().resource_version + 1).await.unwrap();
    assert_eq!(early.keys("n3")[0].name, "a");
    assert_eq!((late.count("n1"), late.count("n2"), late.count("n3")), (1, 0, 1));
    let selected: Cache<Keep<Pod>> =
        world.informers.informer(Source::of::<Pod>().fields("spec.nodeName=n1"));
    selected.synced().await.unwrap();
    assert_eq!(selected.len(), 1);
    assert_eq!(selected.get("d", "b").unwrap().object.head().name, "b");
}

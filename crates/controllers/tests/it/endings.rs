//! Namespaces, service accounts, and what is collected when its owner goes.

use onggi_api::GroupVersionResource;
use onggi_client::{Patch, WriteOptions};
use serde_json::{Value, json};

use crate::world::World;

fn owned(name: &str, owners: &[&Value]) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                   "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap",
           "metadata": {"name": name, "ownerReferences": references}})
}

/// The names of ConfigMaps, those that the cluster itself has left out.
fn maps(all: &[Value]) -> Vec<&str> {
    const OWN: [&str; 2] = ["kube-root-ca.crt", "extension-apiserver-authentication"];
    let names = all.iter().map(|map| map["metadata"]["name"].as_str().unwrap());
    names.filter(|name| !OWN.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_an_account_and_a_root_certificate_and_ends_with_all_in_it() {
    let world = World::start().await;
    world
        .create(
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .await;
    let is_in =
        |wanted: &'static str| move |object: &Value| object["metadata"]["namespace"] == wanted;
    let accounts = world.until("serviceaccounts", |all| all.iter().any(is_in("shop"))).await;
    assert!(accounts.iter().all(|account| account["metadata"]["name"] == "default"));
    let found = world.until("configmaps", |all| all.iter().any(is_in("shop"))).await;
    let ca = found.iter().find(|map| is_in("shop")(map)).unwrap();
    assert!(ca["data"]["ca.crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));

    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    world.create_in("replicasets", "shop", set).await;
    world
        .until("pods", |pods| {
            pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count() == 3
        })
        .await;
    world.delete("namespaces", "shop", "").await;
    let is_shop = |ns: &Value| ns["metadata"]["name"] == "shop";
    world.until("namespaces", |all| !all.iter().any(is_shop)).await;
    for plural in ["pods", "replicasets", "configmaps", "serviceaccounts", "secrets"] {
        assert!(!world.list(plural).await.iter().any(is_in("shop")), "{plural}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finalizer_holds_is_reported() {
    let world = World::start().await;
    world
        .create(
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "held", "finalizers": ["x.y/z"]}});
    world.create_in("configmaps", "shop", held).await;
    world.delete("namespaces", "shop", "").await;
    let shop = |all: &[Value]| all.iter().find(|ns| ns["metadata"]["name"] == "shop").cloned();
    let told = |ns: &Value| {
        let conditions = ns["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| {
            c["type"] == "NamespaceFinalizersRemaining"
                && c["message"].as_str().unwrap().contains("x.y/z in 1 resource instances")
        })
    };
    world.until("namespaces", |all| shop(all).is_some_and(|ns| told(&ns))).await;
    let free = onggi_client::Patch::merge(json!({"metadata": {"finalizers": null}}));
    let maps = crate::world::gvr("configmaps");
    world.client.patch(&maps, "shop", "held", free).await.unwrap();
    world.until("namespaces", |all| shop(all).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_with_their_owners() {
    for (policy, left) in [
        ("Background", vec!["other"]),
        ("Foreground", vec!["other"]),
        ("Orphan", vec!["child", "grandchild", "other", "shared"]),
    ] {
        let world = World::start().await;
        let value = |object: std::sync::Arc<onggi_api::Object>| object.value().unwrap();
        let root = value(world.create("configmaps", owned("root", &[])).await);
        let other = value(world.create("configmaps", owned("other", &[])).await);
        let child = value(world.create("configmaps", owned("child", &[&root])).await);
        world.create("configmaps", owned("grandchild", &[&child])).await;
        let shared = world.create("configmaps", owned("shared", &[&root, &other])).await;
        let mut left = left;
        if !left.contains(&"shared") {
            left.push("shared");
        }
        world.delete("configmaps", "root", policy).await;
        let all = world.until("configmaps", |all| maps(all) == left).await;
        // The owner that is gone is forgotten by what stays.
        let uid = root["metadata"]["uid"].clone();
        world
            .until("configmaps", |all| {
                !all.iter().any(|map| map.to_string().contains(uid.as_str().unwrap()))
            })
            .await;
        assert!(!all.is_empty() && !shared.head().deleting);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_deployment_takes_all_with_it() {
    for policy in ["Background", "Foreground"] {
        let world = World::start().await;
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}},
        });
        world.create("deployments", deployment).await;
        world.until("pods", |pods| pods.len() == 3).await;
        world.delete("deployments", "web", policy).await;
        world.until("pods", <[Value]>::is_empty).await;
        world.until("replicasets", <[Value]>::is_empty).await;
        world.until("deployments", <[Value]>::is_empty).await;
    }
}

/// Each of three owns the next: none may wait for ever for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_owners_goes_as_a_whole() {
    let world = World::start().await;
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(world.create("configmaps", owned(name, &[])).await.value().unwrap());
    }
    for (object, owner) in [(0, 2), (1, 0), (2, 1)] {
        let name = made[object]["metadata"]["name"].as_str().unwrap();
        let owners = &owned(name, &[&made[owner]])["metadata"]["ownerReferences"];
        world.patch("configmaps", name, json!({"metadata": {"ownerReferences": owners}})).await;
    }
    world.delete("configmaps", "one", "Foreground").await;
    world.until("configmaps", |all| maps(all).is_empty()).await;
}

/// An owner that never was.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_an_absent_owner_is_collected() {
    let world = World::start().await;
    let ghost =
        json!({"metadata": {"name": "ghost", "uid": "11111111-1111-4111-8111-111111111111"}});
    world.create("configmaps", owned("haunted", &[&ghost])).await;
    world.until("configmaps", |all| maps(all).is_empty()).await;
}

/// What objects of a custom kind own goes with them, and they go with their namespace.
#[tokio::test(flavor = "multi_thread")]
async fn custom_kinds_own_and_end_as_others_do() {
    let world = World::start().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "lids.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "lids", "kind": "Lid"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    world.create("customresourcedefinitions", definition).await;
    let lids = GroupVersionResource::new("example.com", "v1", "lids");
    let lid = |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Lid", "metadata": {"name": name}});
    let owner = world.client.create(&lids, "default", lid("a")).await.unwrap();
    let mut map = owned("below", &[]);
    map["metadata"]["ownerReferences"] = json!([{"apiVersion": "example.com/v1", "kind": "Lid",
        "name": "a", "uid": owner.head().uid}]);
    world.create("configmaps", map).await;
    world.client.delete(&lids, "default", "a", WriteOptions::default()).await.unwrap();
    world.until("configmaps", |all| !maps(all).contains(&"below")).await;

    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shelf"}});
    world.create("namespaces", space).await;
    let mut held = lid("b");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.client.create(&lids, "shelf", held).await.unwrap();
    world.delete("namespaces", "shelf", "").await;
    let waits = |ns: &Value| {
        let conditions = ns["status"]["conditions"].as_array().into_iter().flatten();
        ns["metadata"]["name"] == "shelf"
            && conditions.into_iter().any(|c| {
                c["message"].as_str().is_some_and(|m| m.contains("lids.example.com has 1 resource"))
            })
    };
    world.until("namespaces", |all| all.iter().any(waits)).await;
    let patch = Patch::merge(json!({"metadata": {"finalizers": null}}));
    world.client.patch(&lids, "shelf", "b", patch).await.unwrap();
    world.until("namespaces", |all| all.iter().all(|ns| ns["metadata"]["name"] != "shelf")).await;
}

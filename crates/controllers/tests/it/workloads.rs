//! Deployments, ReplicaSets and EndpointSlices.

use serde_json::{Value, json};

use crate::world::World;

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [
            {"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]},
        ]},
    })
}

fn deployment(replicas: i32, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "strategy": strategy,
                 "selector": {"matchLabels": {"app": "web"}}, "template": template("one")},
    })
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

/// All pods of the one image, as many as wanted, none on its way out.
fn all(image_wanted: &str, count: usize) -> impl Fn(&[Value]) -> bool {
    move |pods| {
        pods.len() == count
            && pods.iter().all(|pod| image(pod) == image_wanted)
            && pods.iter().all(|pod| pod["status"]["phase"] == "Running")
    }
}

fn complete(deployments: &[Value]) -> bool {
    let Some(web) = deployments.first() else { return false };
    let (wanted, status) = (&web["spec"]["replicas"], &web["status"]);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let progressed = conditions.clone().any(|c| c["reason"] == "NewReplicaSetAvailable");
    progressed
        && status["observedGeneration"] == web["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|k| status[*k] == *wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_out_scales_and_goes_back() {
    let world = World::start().await;
    world.create("deployments", deployment(3, json!({}))).await;
    world.until("deployments", complete).await;
    world.until("pods", all("one", 3)).await;
    let sets = world.list("replicasets").await;
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(sets[0]["metadata"]["name"], format!("web-{hash}"));
    assert_eq!(sets[0]["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);

    world.patch("deployments", "web", json!({"spec": {"template": template("two")}})).await;
    world.until("pods", all("two", 3)).await;
    let web = world.until("deployments", complete).await;
    assert_eq!(web[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");

    world.patch("deployments", "web", json!({"spec": {"replicas": 5}})).await;
    world.until("pods", all("two", 5)).await;
    world.patch("deployments", "web", json!({"spec": {"replicas": 1}})).await;
    world.until("pods", all("two", 1)).await;
    world.until("deployments", complete).await;

    world.patch("deployments", "web", json!({"spec": {"template": template("one")}})).await;
    world.until("pods", all("one", 1)).await;
    let web = world.until("deployments", complete).await;
    assert_eq!(web[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(world.list("replicasets").await.len(), 2, "the old set is used again");
    let events = world.until("events", |all| {
        all.iter().any(|e| e["message"].as_str().unwrap().contains("from 3 to 5"))
    });
    let events = events.await;
    let first = events.iter().find(|e| e["reason"] == "ScalingReplicaSet").unwrap();
    assert_eq!(first["source"]["component"], "deployment-controller");
    let text = format!("Scaled up replica set web-{hash} from 0 to 3");
    assert!(events.iter().any(|e| e["message"] == text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreation_never_mixes() {
    let world = World::start().await;
    world.create("deployments", deployment(3, json!({"type": "Recreate"}))).await;
    world.until("pods", all("one", 3)).await;
    world.patch("deployments", "web", json!({"spec": {"template": template("two")}})).await;
    world
        .until("pods", |pods| {
            let mixed =
                pods.iter().any(|p| image(p) == "one") && pods.iter().any(|p| image(p) == "two");
            assert!(!mixed, "{pods:?}");
            all("two", 3)(pods)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_rollout_waits() {
    let world = World::start().await;
    world.create("deployments", deployment(2, json!({}))).await;
    world.until("deployments", complete).await;
    let patch = json!({"spec": {"paused": true, "template": template("two")}});
    world.patch("deployments", "web", patch).await;
    world.patch("deployments", "web", json!({"spec": {"replicas": 4}})).await;
    world.until("pods", all("one", 4)).await;
    world.patch("deployments", "web", json!({"spec": {"paused": null}})).await;
    world.until("pods", all("two", 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_replaces_adopts_and_releases() {
    let world = World::start().await;
    let mut stray = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray"}});
    stray["metadata"]["labels"] = json!({"app": "web"});
    stray["spec"] = template("one")["spec"].clone();
    world.create("pods", stray).await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                 "template": template("one")},
    });
    world.create("replicasets", set).await;
    let ready = |count: i64| {
        move |sets: &[Value]| sets.first().is_some_and(|s| s["status"]["readyReplicas"] == count)
    };
    world.until("replicasets", ready(3)).await;
    let pods = world.until("pods", all("one", 3)).await;
    let owned = |pod: &Value| pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet";
    assert!(pods.iter().all(owned), "stray is adopted");

    world.patch("pods", "stray", json!({"metadata": {"labels": {"app": "other"}}})).await;
    let pods = world.until("pods", all("one", 4)).await;
    let stray = pods.iter().find(|pod| pod["metadata"]["name"] == "stray").unwrap();
    assert!(!owned(stray), "released");

    let gone = pods.iter().find(|pod| owned(pod)).unwrap()["metadata"]["name"].clone();
    world.delete("pods", gone.as_str().unwrap(), "").await;
    world
        .until("pods", |pods| {
            all("one", 4)(pods) && pods.iter().all(|pod| pod["metadata"]["name"] != gone)
        })
        .await;
}

/// Neither too many nor too few, however late the cache is.
#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_are_made_once() {
    let world = World::without_kubelet().await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": 120, "selector": {"matchLabels": {"app": "web"}},
                 "template": template("one")},
    });
    world.create("replicasets", set).await;
    world
        .until("pods", |pods| {
            assert!(pods.len() <= 120);
            pods.len() == 120
        })
        .await;
    world.patch("replicasets", "web", json!({"spec": {"replicas": 20}})).await;
    world
        .until("pods", |pods| {
            assert!(pods.len() >= 20);
            pods.len() == 20
        })
        .await;
    world.until("replicasets", |sets| sets[0]["status"]["replicas"] == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_follow_the_pods_of_a_service() {
    let world = World::start().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "h", "port": 80, "targetPort": "http"}]},
    });
    world.create("services", service).await;
    let ready = |count: usize| {
        move |slices: &[Value]| {
            let of = slices.iter().filter(|s| {
                s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
                    == "endpointslice-controller.k8s.io"
            });
            let endpoints = of.flat_map(|s| s["endpoints"].as_array().into_iter().flatten());
            endpoints.filter(|e| e["conditions"]["ready"] == true).count() == count
        }
    };
    world.create("deployments", deployment(3, json!({}))).await;
    let slices = world.until("endpointslices", ready(3)).await;
    let slice = slices
        .iter()
        .find(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
        .unwrap();
    assert_eq!(slice["ports"], json!([{"name": "h", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["metadata"]["ownerReferences"][0]["name"], "web");
    world.patch("deployments", "web", json!({"spec": {"replicas": 1}})).await;
    world.until("endpointslices", ready(1)).await;
    assert_eq!(world.list("endpointslices").await.len(), 2, "one each for web and kubernetes");
}

//! Deployments: rollout, undo, scale.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::network::get;
use crate::rig::{Cluster, deployment, service};

/// Ends a loop in another thread.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_rollout_loses_no_request() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut shop = deployment("shop", 2, &["shop", "product"]);
    let main = &mut shop["spec"]["template"]["spec"]["containers"][0];
    main["env"] =
        json!([{"name": "PORT", "value": "8080"}, {"name": "SHOP_VERSION", "value": "v1"}]);
    main["readinessProbe"]["httpGet"]["path"] = json!("/actuator/health");
    let mut open = service("shop");
    open["spec"]["type"] = json!("NodePort");
    open["spec"]["ports"][0]["nodePort"] = json!(30081);
    cluster.apply(&[shop, open]);
    cluster.k(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    let info = || get(&cluster, "127.0.0.1:30081", "/actuator/info");
    cluster.until("the first answer", || info().ok());

    let over = AtomicBool::new(false);
    let (asked, faults) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut asked, mut faults) = (0_u32, Vec::new());
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                faults.extend(info().err().map(|error| error.to_string()));
            }
            (asked, faults)
        });
        // Also when something fails here.
        let _end = End(&over);
        let version = |expected: &str| {
            cluster.until(expected, || info().ok()?.contains(expected).then_some(()));
        };
        cluster.k(&["set", "env", "deployment/shop", "SHOP_VERSION=v2"]);
        cluster.k(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
        version("\"v2\"");
        cluster.k(&["rollout", "undo", "deployment/shop"]);
        cluster.k(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
        version("\"v1\"");
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(faults.is_empty(), "{} of {asked} failed: {faults:?}", faults.len());
    let history = cluster.k(&["rollout", "history", "deployment/shop"]);
    let revisions: Vec<_> =
        history.lines().filter_map(|l| l.split_whitespace().next()?.parse::<u32>().ok()).collect();
    assert_eq!(revisions, [2, 3], "{history}");
}

#[test]
fn a_deployment_is_scaled_and_mended() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[deployment("web", 1, &["serve", "8080"])]);
    cluster.wait("deployment/web", "condition=Available");
    cluster.k(&["scale", "deployment/web", "--replicas=4"]);
    cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=4");
    assert!(cluster.k(&["get", "deployment", "web"]).contains("4/4"));
    let first = cluster.field("pods", ".items[0].metadata.name");
    cluster.k(&["delete", "pod", &first]);
    cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=4");
    cluster.k(&["scale", "deployment/web", "--replicas=0"]);
    cluster.until("no pod is left", || {
        cluster.k(&["get", "pods", "-o", "name"]).is_empty().then_some(())
    });
    cluster.k(&["scale", "deployment/web", "--replicas=1"]);
    cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=1");
    // With its Deployment everything goes.
    cluster.k(&["delete", "deployment", "web"]);
    cluster.until("nothing is left", || {
        cluster.k(&["get", "replicasets,pods", "-o", "name"]).is_empty().then_some(())
    });
}

#[test]
fn a_bad_rollout_stops_and_is_undone() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[deployment("web", 2, &["serve", "8080"])]);
    cluster.wait("deployment/web", "condition=Available");
    cluster.k(&["set", "image", "deployment/web", "main=not/there:v2"]);
    cluster.until("the new pod does not come", || {
        cluster.k(&["get", "pods"]).contains("ErrImageNeverPull").then_some(())
    });
    // 25 % of two, rounded down: none may be missing.
    assert_eq!(cluster.field("deployment/web", ".status.availableReplicas"), "2");
    cluster.k(&["rollout", "undo", "deployment/web"]);
    cluster.k(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.until("two pods are left", || {
        (cluster.k(&["get", "pods", "-o", "name"]).lines().count() == 2).then_some(())
    });
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.k(&["create", "namespace", "team"]);
    let mut web = deployment("web", 1, &["serve", "8080"]);
    web["metadata"]["namespace"] = json!("team");
    let mut open = service("web");
    open["metadata"]["namespace"] = json!("team");
    cluster.apply(&[web, open]);
    cluster.k(&[
        "-n",
        "team",
        "wait",
        "deployment/web",
        "--for=condition=Available",
        "--timeout=60s",
    ]);
    cluster.k(&["delete", "namespace", "team", "--timeout=60s"]);
    let said = cluster.kubectl(&["get", "namespace", "team"]);
    assert!(said.err.contains("namespaces \"team\" not found"), "{}", said.err);
    assert_eq!(cluster.k(&["get", "all", "-n", "team", "-o", "name"]), "");
}

#[test]
fn what_fits_nowhere_says_why() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut large = crate::rig::pod("large", &["wait"]);
    large["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}});
    let mut picky = crate::rig::pod("picky", &["wait"]);
    picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    cluster.apply(&[large, picky]);
    cluster.until("the events", || {
        let events = cluster.k(&["get", "events", "--field-selector=reason=FailedScheduling"]);
        let both = events.contains("0/1 nodes are available: 1 Insufficient cpu")
            && events.contains("1 node(s) didn't match Pod's node affinity/selector");
        both.then_some(())
    });
    assert_eq!(cluster.field("pod/picky", ".status.phase"), "Pending");
    cluster.k(&["label", "node", "node", "disk=ssd"]);
    cluster.wait("pod/picky", "condition=Ready");
}

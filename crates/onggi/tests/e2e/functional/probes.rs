//! Probes decide who gets requests and who is started again; hooks have their say.

use serde_json::json;

use crate::rig::{Cluster, pod};

#[test]
fn readiness_goes_and_comes() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut pod = pod("one", &["serve", "8080"]);
    pod["spec"]["containers"][0]["readinessProbe"] = json!({
        "httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1,
    });
    cluster.apply(&[pod]);
    cluster.wait("pod/one", "jsonpath={.status.containerStatuses[0].started}=true");
    assert_eq!(cluster.field("pod/one", ".status.containerStatuses[0].ready"), "false");
    cluster.exec("one", &["write", "/ready", "yes"]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.exec("one", &["remove", "/ready"]);
    cluster.wait("pod/one", "condition=Ready=false");
    cluster.until("the event", || {
        let events = cluster.k(&["get", "events", "--field-selector=reason=Unhealthy"]);
        events
            .contains("Readiness probe failed: HTTP probe failed with statuscode: 404")
            .then_some(())
    });
    assert_eq!(cluster.field("pod/one", ".status.containerStatuses[0].restartCount"), "0");
}

#[test]
fn a_container_that_is_not_alive_is_started_again() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let sick = json!({"exec": {"command": ["/guest", "cat", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1});
    let mut one = pod("one", &["write", "/alive", "yes", ",", "serve", "8080"]);
    one["spec"]["containers"][0]["livenessProbe"] = sick;
    one["spec"]["containers"][0]["startupProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30});
    cluster.apply(&[one]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.exec("one", &["remove", "/alive"]);
    cluster.wait("pod/one", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    cluster.wait("pod/one", "condition=Ready");
    // It was asked to end before it was started anew.
    assert!(cluster.k(&["logs", "-p", "one"]).ends_with("told to end\n"));
    let events = cluster.k(&["get", "events"]);
    assert!(events.contains("Container main failed liveness probe, will be restarted"), "{events}");
}

#[test]
fn a_pod_ends_within_its_grace() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut polite = pod("polite", &["say", "begins", ",", "wait"]);
    polite["spec"]["terminationGracePeriodSeconds"] = json!(300);
    polite["spec"]["containers"][0]["lifecycle"] =
        json!({"preStop": {"exec": {"command": ["/guest", "append", "/proc/1/fd/1", "preStop"]}}});
    let mut deaf = pod("deaf", &["deaf"]);
    deaf["spec"]["terminationGracePeriodSeconds"] = json!(1);
    let mut stuck = pod("stuck", &["deaf"]);
    stuck["spec"]["terminationGracePeriodSeconds"] = json!(300);
    let mut forced = stuck.clone();
    forced["metadata"]["name"] = json!("forced");
    cluster.apply(&[polite, deaf, stuck, forced]);
    for name in ["polite", "deaf", "stuck", "forced"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    let mut follower = cluster.begin(&["logs", "-f", "polite"]);
    assert_eq!(follower.line(), "begins");
    cluster.k(&["delete", "pod", "polite", "deaf"]);
    let log = follower.finish("").out;
    assert_eq!(log, "preStop\ntold to end\n");
    // A shorter grace cuts the one that runs.
    cluster.k(&["delete", "pod", "stuck", "--wait=false"]);
    assert!(cluster.k(&["get", "pod", "stuck"]).contains("Terminating"));
    cluster.k(&["delete", "pod", "stuck", "--grace-period=1"]);
    cluster.k(&["delete", "pod", "forced", "--grace-period=0", "--force"]);
    cluster.until("no container is left", || {
        let groups = std::fs::read_dir(cluster.paths().run.join("sandboxes")).unwrap();
        (groups.count() == 0).then_some(())
    });
}

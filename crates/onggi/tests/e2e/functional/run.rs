//! Containers run, say something, end, and are started again.

use serde_json::json;

use crate::rig::{Cluster, container, pod};

#[test]
fn a_pod_runs_to_its_end() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut once = pod("once", &["say", "one", ",", "warn", "two", ",", "say", "three"]);
    once["spec"]["restartPolicy"] = json!("Never");
    let mut fails = pod("fails", &["exit", "5"]);
    fails["spec"]["restartPolicy"] = json!("Never");
    let mut eats = pod("eats", &["fill", "200"]);
    eats["spec"]["restartPolicy"] = json!("Never");
    eats["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "32Mi"}});
    cluster.apply(&[once, fails, eats]);
    cluster.wait("pod/once", "jsonpath={.status.phase}=Succeeded");
    let lines: Vec<_> = cluster.k(&["logs", "once"]).lines().map(str::to_owned).collect();
    assert_eq!(lines.iter().filter(|l| *l != "two").collect::<Vec<_>>(), ["one", "three"]);
    assert!(lines.iter().any(|line| line == "two"), "standard error is logged too: {lines:?}");
    let ended = ".status.containerStatuses[0].state.terminated";
    for (name, expected) in [("fails", "5 Error"), ("eats", "137 OOMKilled")] {
        cluster.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Failed");
        let found = cluster.field(&format!("pod/{name}"), &format!("{ended}['exitCode','reason']"));
        assert_eq!(found, expected);
    }
}

#[test]
fn logs_are_followed_to_the_end() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut talks = pod("talks", &["count", "3", ",", "wait"]);
    talks["spec"]["restartPolicy"] = json!("Never");
    cluster.apply(&[talks]);
    cluster.wait("pod/talks", "condition=Ready");
    let mut follower = cluster.begin(&["logs", "-f", "talks"]);
    assert_eq!(follower.line(), "line 1");
    cluster.k(&["delete", "pod", "talks"]);
    let said = follower.finish("");
    assert_eq!(said.out, "line 2\nline 3\ntold to end\n", "{}", said.err);
}

#[test]
fn logs_can_be_cut() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut talks = pod("talks", &["count", "2000", ",", "wait"]);
    talks["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["/guest", "say", "here"]}, "periodSeconds": 1});
    cluster.apply(&[talks]);
    cluster.wait("pod/talks", "condition=Ready");
    cluster.until("all is logged", || {
        (cluster.k(&["logs", "talks"]).lines().count() == 2000).then_some(())
    });
    assert_eq!(cluster.k(&["logs", "talks", "--tail=2"]), "line 1999\nline 2000\n");
    assert_eq!(cluster.k(&["logs", "talks", "--limit-bytes=6"]), "line 1");
    let dated = cluster.k(&["logs", "talks", "--tail=1", "--timestamps"]);
    assert!(dated.starts_with("20") && dated.ends_with("Z line 2000\n"), "{dated}");
    let said = cluster.kubectl(&["logs", "talks", "-p"]);
    assert!(said.err.contains("previous terminated container \"main\""), "{}", said.err);
    let said = cluster.kubectl(&["logs", "talks", "-c", "other"]);
    assert!(said.err.contains("container other is not valid for pod talks"), "{}", said.err);
}

#[test]
fn a_container_that_keeps_ending_is_started_ever_later() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("crash", &["say", "attempt", ",", "exit", "3"])]);
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff";
    cluster.wait("pod/crash", waiting);
    assert_eq!(cluster.k(&["logs", "-p", "crash"]), "attempt\n");
    assert_eq!(cluster.field("pod/crash", ".status.phase"), "Running");
    let last = ".status.containerStatuses[0].lastState.terminated.exitCode";
    assert_eq!(cluster.field("pod/crash", last), "3");
    let events = cluster.k(&["get", "events", "--field-selector=reason=BackOff"]);
    assert!(events.contains("Back-off restarting failed container main"), "{events}");
    assert!(cluster.k(&["get", "pods"]).contains("CrashLoopBackOff"));
}

#[test]
fn init_containers_come_one_after_the_other() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut pod = pod("staged", &["cat", "/shared/log", ",", "wait"]);
    let shared = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut first = container("first", &["append", "/shared/log", "first"]);
    let mut second = container("second", &["append", "/shared/log", "second"]);
    first["volumeMounts"] = shared.clone();
    second["volumeMounts"] = shared.clone();
    pod["spec"]["initContainers"] = json!([first, second]);
    pod["spec"]["containers"][0]["volumeMounts"] = shared;
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    let mut stuck = self::pod("stuck", &["wait"]);
    stuck["spec"]["restartPolicy"] = json!("Never");
    stuck["spec"]["initContainers"] = json!([container("first", &["exit", "9"])]);
    cluster.apply(&[pod, stuck]);
    cluster.wait("pod/staged", "condition=Ready");
    assert_eq!(cluster.k(&["logs", "staged", "-c", "main"]), "first\nsecond\n");
    cluster.wait("pod/stuck", "jsonpath={.status.phase}=Failed");
    assert!(cluster.k(&["get", "pod", "stuck"]).contains("Init:Error"));
}

#[test]
fn what_cannot_start_says_why() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut absent = pod("absent", &["wait"]);
    absent["spec"]["containers"][0]["image"] = json!("not/here:v1");
    let mut program = pod("program", &[]);
    program["spec"]["containers"][0]["command"] = json!(["/nothing"]);
    let mut secret = pod("secret", &["wait"]);
    secret["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "none"}}]);
    let mut volume = pod("volume", &["wait"]);
    volume["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "none"}}]);
    volume["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    cluster.apply(&[absent, program, secret, volume]);
    let reason =
        |reason| format!("jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}");
    cluster.wait("pod/absent", &reason("ErrImageNeverPull"));
    cluster.wait("pod/secret", &reason("CreateContainerConfigError"));
    let message = ".status.containerStatuses[0].state.waiting.message";
    assert_eq!(cluster.field("pod/secret", message), "secret \"none\" not found");
    cluster.wait("pod/volume", &reason("ContainerCreating"));
    cluster.until("the event of the volume", || {
        let events = cluster.k(&["get", "events", "--field-selector=reason=FailedMount"]);
        events.contains("configmap \"none\" not found").then_some(())
    });
    cluster.until("the program's fault", || {
        let states = cluster.field("pod/program", ".status.containerStatuses[0]");
        (states.contains("/nothing") && states.contains("no such file")).then_some(())
    });
    // What was missing comes: the pods go on by themselves.
    cluster.k(&["create", "secret", "generic", "none", "--from-literal=A=b"]);
    cluster.k(&["create", "configmap", "none", "--from-literal=A=b"]);
    cluster.wait("pod/secret", "condition=Ready");
    cluster.wait("pod/volume", "condition=Ready");
}

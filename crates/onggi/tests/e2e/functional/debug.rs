//! Containers that are put beside others for a look, and programs whose output is waited for.

use serde_json::Value;

use crate::rig::{Cluster, on_path, pod};

/// By our own command line, and by kubectl where there is one.
fn both(cluster: &Cluster, arguments: &[&str], input: &str) -> Vec<crate::rig::Said> {
    let own = cluster.start(env!("CARGO_BIN_EXE_onggi").as_ref(), arguments).finish(input);
    let theirs = on_path("kubectl").map(|path| cluster.start(&path, arguments).finish(input));
    std::iter::once(own).chain(theirs).collect()
}

#[test]
fn an_ephemeral_container_looks_at_another() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    let debug = |command: &'static [&'static str]| {
        let start = [
            "debug",
            "-q",
            "-i",
            "one",
            "--image=guest",
            "--image-pull-policy=Never",
            "--target=main",
            "--",
        ];
        [&start, command].concat()
    };
    // What it said before anybody had joined, and what it is given.
    let told = debug(&["/guest", "cat", "/proc/1/cmdline", ",", "line"]);
    for said in both(&cluster, &told, "to and fro\n") {
        assert_eq!(said.out, "/guest\0wait\0to and fro\n", "{}", said.err);
        assert!(said.ok, "{}", said.err);
    }
    // It may end before anybody can join.
    for said in both(&cluster, &debug(&["/guest", "say", "brief"]), "") {
        assert_eq!(said.out, "brief\n", "{}", said.err);
    }
    // One that stays.
    let stays = ["debug", "-q", "one", "--image=guest", "--image-pull-policy=Never", "-c", "stays"];
    cluster.ok(&[&stays[..], &["--", "/guest", "say", "here", ",", "wait"]].concat());
    let status = || -> Vec<Value> {
        let list = cluster.field("pod/one", ".status.ephemeralContainerStatuses");
        serde_json::from_str(&list).unwrap_or_default()
    };
    let find = |wanted: &str| {
        let list = status();
        list.iter().find(|s| s["name"] == wanted).map_or(Value::Null, |s| s["state"].clone())
    };
    let started = cluster
        .until("it runs", || find("stays")["running"]["startedAt"].as_str().map(str::to_owned));
    assert_eq!(cluster.k(&["logs", "one", "-c", "stays"]), "here\n");
    assert_eq!(
        cluster.k(&["exec", "one", "-c", "stays", "--", "/guest", "say", "there"]),
        "there\n"
    );
    let events =
        cluster.k(&["get", "events", "-o", "jsonpath={.items[*].involvedObject.fieldPath}"]);
    assert!(events.contains("spec.ephemeralContainers{stays}"), "{events}");
    for client in both(&cluster, &["describe", "pod", "one"], "") {
        let about = &client.out;
        assert!(about.contains("Ephemeral Containers:\n"), "{about}");
        assert!(about.contains("  stays:\n"), "{about}");
    }
    // Another daemon takes it up as it is, and starts none of them anew.
    let ended: Vec<Value> = status().into_iter().filter(|s| s["name"] != "stays").collect();
    crate::faults::kill_daemon(&cluster);
    cluster.ok(&["up"]);
    cluster.wait("pod/one", "condition=Ready");
    assert_eq!(find("stays")["running"]["startedAt"], started);
    let now: Vec<Value> = status().into_iter().filter(|s| s["name"] != "stays").collect();
    assert_eq!(now, ended);
    assert_eq!(cluster.field("pod/one", ".status.containerStatuses[0].restartCount"), "0");
    cluster.k(&["delete", "pod", "one"]);
}

#[test]
fn run_shows_all_that_a_program_says() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let run = |name: &'static str, more: &[&'static str]| {
        let start = ["run", name, "-q", "--rm", "-i", "--restart=Never", "--image=guest"];
        [&start, &["--image-pull-policy=Never"][..], more].concat()
    };
    // Over before anybody can join, or soon after.
    for said in both(&cluster, &run("brief", &["--", "say", "brief"]), "") {
        assert!(said.out.starts_with("brief\n"), "{}{}", said.out, said.err);
        assert_eq!(said.out.matches("brief\n").count(), 1, "{}{}", said.out, said.err);
    }
    // It speaks first and waits then.
    for said in both(&cluster, &run("talks", &["--", "say", "begins", ",", "stdin"]), "and ends\n")
    {
        assert!(said.out.starts_with("begins\nand ends\n"), "{}{}", said.out, said.err);
        assert_eq!(said.out.matches("begins").count(), 1, "{}{}", said.out, said.err);
    }
    // Its exit code is ours.
    for said in both(&cluster, &run("fails", &["--", "say", "once", ",", "exit", "7"]), "") {
        assert_eq!(said.code, Some(7), "{}{}", said.out, said.err);
        assert_eq!(said.out.matches("once").count(), 1, "{}{}", said.out, said.err);
    }
    assert_eq!(cluster.k(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn the_kubelet_answers_through_the_api() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["count", "3", ",", "wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    let path = |path: &str| format!("/api/v1/nodes/node/proxy/{path}");
    let raw = |of: &str| cluster.k(&["get", "--raw", &path(of)]);
    assert_eq!(raw("healthz"), "ok");
    let pods: Value = serde_json::from_str(&raw("pods")).unwrap();
    assert_eq!(pods["kind"], "PodList");
    let names = pods["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]["name"]);
    assert!(names.into_iter().any(|name| name == "one"), "{pods}");
    let summary: Value = serde_json::from_str(&raw("stats/summary")).unwrap();
    assert_eq!(summary["node"]["nodeName"], "node");
    let of_pod = &summary["pods"].as_array().unwrap()[0];
    assert_eq!(of_pod["containers"][0]["name"], "main");
    assert!(of_pod["memory"]["workingSetBytes"].as_u64().unwrap() > 0, "{summary}");
    let metrics = raw("metrics/resource");
    let cpu =
        "container_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"one\"}";
    assert!(metrics.contains(cpu), "{metrics}");
    assert!(raw("metrics").contains("kubelet_running_pods 1\n"));
    assert!(raw("metrics/cadvisor").contains("container_memory_working_set_bytes{"));
    assert!(raw("configz").contains("\"clusterDomain\":\"cluster.local\""));
    cluster.until("all is logged", || {
        let log = raw("containerLogs/default/one/main?tailLines=2");
        (log == "line 2\nline 3\n").then_some(())
    });
    let said = cluster.kubectl(&["get", "--raw", &path("containerLogs/default/none/main")]);
    assert!(!said.ok && said.err.contains("NotFound"), "{}", said.err);
    assert!(raw("logs/").starts_with("<pre>\n"));
    // The same log by all of its options.
    let log = |more: &[&str]| cluster.k(&[&["logs", "one"], more].concat());
    assert_eq!(log(&["--since=1h"]), "line 1\nline 2\nline 3\n");
    assert_eq!(log(&["--since-time=2999-01-01T00:00:00Z"]), "");
    assert_eq!(log(&["--tail=0"]), "");
    assert_eq!(log(&["--tail=1", "--prefix"]), "[pod/one/main] line 3\n");
    assert_eq!(log(&["--limit-bytes=4"]), "line");
    // Who may only read nodes may not reach through them.
    cluster.k(&["create", "clusterrole", "reader", "--verb=get", "--resource=nodes"]);
    cluster.k(&["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=eve"]);
    let may = |what: &str| cluster.kubectl(&["get", "--raw", what, "--as=eve"]);
    assert!(may("/api/v1/nodes/node").ok);
    let said = may(&path("healthz"));
    assert!(!said.ok && said.err.contains("nodes/proxy"), "{}", said.err);
}

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

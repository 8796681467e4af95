//! Programs in running containers, and what a container may not do.

use serde_json::json;

use crate::rig::{Cluster, pod};

#[test]
fn exec_has_all_streams_and_the_exit_code() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    let said = cluster.kubectl(&["exec", "one", "--", "/guest", "say", "a", ",", "warn", "b"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("a\n", "b\n"));
    let said = cluster.kubectl_reads(&["exec", "-i", "one", "--", "/guest", "stdin"], "to and fro");
    assert_eq!(said.out, "to and fro");
    let said = cluster.kubectl(&["exec", "one", "--", "/guest", "exit", "7"]);
    assert_eq!(said.code, Some(7), "{}", said.err);
    let said = cluster.kubectl(&["exec", "one", "--", "/nothing"]);
    assert!(!said.ok && said.err.contains("/nothing"), "{}", said.err);
    let said = cluster.kubectl(&["exec", "one", "-c", "other", "--", "/guest"]);
    assert!(said.err.contains("container other"), "{}", said.err);
    let much = "x".repeat(3 << 20);
    let said = cluster.kubectl_reads(&["exec", "-i", "one", "--", "/guest", "stdin"], &much);
    assert_eq!(said.out.len(), much.len(), "{}", said.err);
    let said = cluster.kubectl(&["exec", "one", "--", "/guest", "count", "100000"]);
    assert!(said.out.ends_with("line 100000\n"), "{}", said.err);
}

#[test]
fn containers_are_confined() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let plain = pod("plain", &["cat", "/proc/self/status", ",", "wait"]);
    let mut strict = pod("strict", &["cat", "/proc/self/status", ",", "write", "/x", "y"]);
    strict["spec"]["restartPolicy"] = json!("Never");
    strict["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 2000});
    strict["spec"]["containers"][0]["securityContext"] = json!({
        "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
    });
    cluster.apply(&[plain, strict]);
    cluster.wait("pod/plain", "condition=Ready");
    let own = cluster.k(&["logs", "plain"]);
    let exec = cluster.exec("plain", &["cat", "/proc/self/status"]);
    for status in [&own, &exec] {
        assert_eq!(line(status, "Seccomp:"), "2");
        // Docker's and containerd's set.
        assert_eq!(line(status, "CapEff:"), "00000000a80425fb");
    }
    let hidden = cluster.exec("plain", &["cat", "/proc/keys", ",", "ls", "/proc/acpi"]);
    assert_eq!(hidden, "");
    let said =
        cluster.kubectl(&["exec", "plain", "--", "/guest", "write", "/proc/sys/kernel/panic", "1"]);
    assert!(said.err.contains("Read-only file system"), "{}", said.err);
    let names = cluster.exec("plain", &["ls", "/proc"]);
    assert_eq!(names.lines().filter(|n| n.parse::<u32>().is_ok()).count(), 2, "{names}");

    cluster.wait("pod/strict", "jsonpath={.status.phase}=Failed");
    let log = cluster.k(&["logs", "strict"]);
    assert_eq!(line(&log, "Uid:"), "1000\t1000\t1000\t1000");
    assert_eq!(line(&log, "Gid:"), "2000\t2000\t2000\t2000");
    assert_eq!(line(&log, "CapEff:"), "0000000000000000");
    assert_eq!(line(&log, "NoNewPrivs:"), "1");
    assert!(log.contains("write /x y: Read-only file system"), "{log}");
}

fn line<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

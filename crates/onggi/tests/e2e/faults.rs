//! What happens when something is killed.

use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::rig::{Cluster, deployment, pod};

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn ended(pid: i32) -> Option<()> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    (stat.is_empty() || stat.contains(") Z ")).then_some(())
}

pub(crate) fn kill_daemon(cluster: &Cluster) {
    let pid = cluster.daemon();
    kill(pid);
    cluster.until("the daemon's end", || ended(pid));
}

/// Processes whose arguments have all these words.
fn processes(words: &[&str]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if words.iter().all(|word| line.contains(word)) {
            found.push(pid);
        }
    }
    found
}

#[test]
fn pods_outlive_the_daemon() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["count", "3", ",", "serve", "8080"]), pod("two", &["wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.wait("pod/two", "condition=Ready");
    let about = |name: &str| {
        cluster.field(name, ".status.containerStatuses[0].containerID")
            + &cluster.field(name, ".status.podIP")
            + &cluster.field(name, ".status.containerStatuses[0].restartCount")
    };
    let before = (about("pod/one"), about("pod/two"));
    let ip = cluster.field("pod/one", ".status.podIP");
    kill_daemon(&cluster);
    let answer = crate::network::get(&cluster, &format!("{ip}:8080"), "/").unwrap();
    assert_eq!(answer, "one", "the pod goes on alone");
    cluster.ok(&["up"]);
    cluster.wait("pod/one", "condition=Ready");
    assert_eq!((about("pod/one"), about("pod/two")), before, "the same containers");
    assert!(cluster.k(&["logs", "one"]).starts_with("line 1\nline 2\nline 3\n"));
    assert_eq!(cluster.exec("two", &["say", "hello"]), "hello\n");
    let answer = cluster.exec("two", &["get", &format!("http://{ip}:8080/")]);
    assert_eq!(answer, "one\n");
    cluster.k(&["delete", "pod", "one", "two"]);
}

#[test]
fn what_ended_while_the_daemon_was_away_is_seen() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut job = pod("job", &["wait"]);
    job["spec"]["restartPolicy"] = json!("Never");
    cluster.apply(&[job, pod("service", &["write", "/x", "1", ",", "wait"])]);
    cluster.wait("pod/job", "condition=Ready");
    cluster.wait("pod/service", "condition=Ready");
    kill_daemon(&cluster);
    let containers = processes(&["/guest", "wait"]);
    let ours: Vec<_> = containers
        .into_iter()
        .filter(|pid| {
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            groups.contains(&cluster.paths().instance)
        })
        .collect();
    assert_eq!(ours.len(), 2);
    ours.iter().for_each(|pid| kill(*pid));
    cluster.ok(&["up"]);
    cluster.wait("pod/job", "jsonpath={.status.phase}=Failed");
    let code = ".status.containerStatuses[0].state.terminated.exitCode";
    assert_eq!(cluster.field("pod/job", code), "137");
    cluster.wait("pod/service", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    cluster.wait("pod/service", "condition=Ready");
}

#[test]
fn a_killed_shim_takes_its_pod_along_and_it_comes_back() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["serve", "8080"])]);
    cluster.wait("pod/one", "condition=Ready");
    let data = cluster.data().display().to_string();
    let shims = processes(&[&data, "shim"]);
    assert!(!shims.is_empty());
    let program = |pid: i32| {
        let file = std::fs::metadata(format!("/proc/{pid}/exe")).unwrap();
        (file.dev(), file.ino())
    };
    for &shim in &shims {
        assert_eq!(program(shim), program(cluster.daemon()), "they share the pages of one file");
    }
    shims.iter().for_each(|pid| {
        let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
    });
    cluster.wait("pod/one", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    cluster.wait("pod/one", "condition=Ready");
    let ip = cluster.field("pod/one", ".status.podIP");
    assert_eq!(crate::network::get(&cluster, &format!("{ip}:8080"), "/").unwrap(), "one");
}

#[test]
fn a_rollout_goes_on_through_killed_daemons() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[deployment("web", 3, &["serve", "8080"])]);
    for round in 0..4 {
        cluster.k(&["set", "env", "deployment/web", &format!("ROUND={round}")]);
        // Each time a little further: at once, a pod more is there ...
        cluster.until("something has begun", || {
            let pods = cluster.k(&["get", "pods", "-o", "name"]).lines().count();
            (pods >= round).then_some(())
        });
        kill_daemon(&cluster);
        cluster.ok(&["up"]);
    }
    cluster.k(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let sandboxes = cluster.paths().run.join("sandboxes");
    cluster.until("three pods, no more", || {
        let pods = cluster.k(&["get", "pods", "-o", "name"]).lines().count();
        let there = std::fs::read_dir(&sandboxes).unwrap().count();
        ((pods, there) == (3, 3)).then_some(())
    });
    for pod in cluster.k(&["get", "pods", "-o", "name"]).lines() {
        assert_eq!(cluster.exec(pod, &["env", "ROUND"]), "ROUND=3\n");
    }
}

/// Every process in a control group of the instance.
fn contained(cluster: &Cluster) -> Vec<i32> {
    let group = format!("onggi-{}", cluster.paths().instance);
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let file = format!("/proc/{pid}/cgroup");
            std::fs::read_to_string(file).is_ok_and(|groups| groups.contains(&group))
        })
        .collect()
}

#[test]
fn pods_come_back_after_everything_died_at_once() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut one = pod("one", &["write", "/m/x", "1", ",", "wait"]);
    one["spec"]["volumes"] = json!([{"name": "m", "emptyDir": {"medium": "Memory"}}]);
    one["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "m", "mountPath": "/m"}]);
    cluster.apply(&[one, deployment("web", 2, &["serve", "8080"])]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.wait("deployment/web", "condition=Available");
    // As when the machine is switched off, but its mounts and control groups stay; the second time
    // /run is empty too, as after a boot.
    for boots in [false, true] {
        kill(cluster.daemon());
        cluster.until("the end of all processes", || {
            let left = contained(&cluster);
            left.iter().for_each(|pid| {
                let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
            });
            left.is_empty().then_some(())
        });
        if boots {
            std::fs::remove_dir_all(&cluster.paths().run).unwrap();
        }
        cluster.ok(&["up"]);
        for pod in cluster.k(&["get", "pods", "-o", "name"]).lines() {
            let restarts = if boots { 2 } else { 1 };
            let restarts =
                format!("jsonpath={{.status.containerStatuses[0].restartCount}}={restarts}");
            cluster.wait(pod, &restarts);
            cluster.wait(pod, "condition=Ready");
            assert_eq!(cluster.exec(pod, &["say", "hello"]), "hello\n");
        }
        assert_eq!(cluster.exec("one", &["cat", "/m/x"]), "1");
        cluster.k(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let sandboxes = cluster.paths().run.join("sandboxes");
        cluster.until("one sandbox a pod, and at most one that tells how the last ended", || {
            (std::fs::read_dir(&sandboxes).unwrap().count() <= 6).then_some(())
        });
    }
}

#[test]
fn down_sweeps_after_a_killed_daemon() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut pod = pod("one", &["deaf"]);
    pod["spec"]["volumes"] = json!([{"name": "m", "emptyDir": {"medium": "Memory"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "m", "mountPath": "/m"}]);
    cluster.apply(&[pod, deployment("web", 2, &["serve", "8080"])]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.wait("deployment/web", "condition=Available");
    kill_daemon(&cluster);
    // The rig checks what is left.
    cluster.ok(&["down"]);
    let links = cluster.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    assert_eq!(links.lines().count(), 3, "only lo is left: {links}");
}

#[test]
fn pods_come_back_after_down() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[
        deployment("web", 1, &["serve", "8080"]),
        pod("one", &["count", "1", ",", "wait"]),
    ]);
    cluster.wait("deployment/web", "condition=Available");
    cluster.wait("pod/one", "condition=Ready");
    cluster.ok(&["down"]);
    cluster.ok(&["up"]);
    cluster.wait("deployment/web", "condition=Available");
    cluster.wait("pod/one", "condition=Ready");
    assert_eq!(cluster.exec("one", &["say", "hello"]), "hello\n");
}

#[test]
fn a_taken_port_is_named() {
    let Some(cluster) = Cluster::new() else { return };
    let taken = cluster.inside(|| std::net::TcpListener::bind("127.0.0.1:6443").unwrap());
    let said = cluster.onggi(&["up"]);
    assert!(!said.ok);
    assert!(said.err.contains("127.0.0.1:6443"), "{}", said.err);
    drop(taken);
    cluster.ok(&["up"]);
}

#[test]
fn a_name_that_no_node_can_have_is_told() {
    let Some(cluster) = Cluster::new() else { return };
    let said = cluster.onggi(&["up", "--node-name", "my_laptop"]);
    assert!(!said.ok && said.err.contains("\"my_laptop\" cannot be a node's name"), "{}", said.err);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let Some(cluster) = Cluster::up() else { return };
    let said = cluster.onggi(&["server"]);
    assert!(!said.ok);
    let expected = format!("in use by process {}", cluster.daemon());
    assert!(said.err.contains(&expected), "{}", said.err);
    assert!(cluster.k(&["get", "nodes"]).contains("Ready"), "the first one goes on");
}

#[test]
fn without_root_it_says_so() {
    let Some(cluster) = Cluster::new() else { return };
    // Root's own files are not for this user: a copy at a place that everybody reaches.
    let setpriv = std::path::Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        eprintln!("skipped: no setpriv");
        return;
    }
    let directory = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let program = directory.path().join("onggi");
    std::fs::copy(env!("CARGO_BIN_EXE_onggi"), &program).unwrap();
    let program = program.display().to_string();
    for verb in ["up", "down", "server"] {
        let said = cluster.run(setpriv, &["--reuid=65534", "--clear-groups", &program, verb]);
        assert!(!said.ok && said.err.contains("root"), "{verb}: {}{}", said.out, said.err);
    }
}

//! What a pod is told: environment, files, its token.

use serde_json::json;

use crate::rig::{Cluster, pod};

#[test]
fn environment_from_everywhere() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut pod = pod("one", &[]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let names = ["COLOUR", "PASSWORD", "POD", "IP", "HOST_IP", "MEMORY", "BOTH", "GREETING", "P_A"];
    let main = &mut pod["spec"]["containers"][0];
    main["args"] =
        json!([&["env"], names.as_slice(), &[",", "say", "$(GREETING)", "$$(X)", "$(Y)"]].concat());
    main["env"] = json!([
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": true}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "BOTH", "value": "own"},
        {"name": "GREETING", "value": "hello $(COLOUR)"},
    ]);
    main["envFrom"] = json!([{"configMapRef": {"name": "settings"}}, {"prefix": "P_", "configMapRef": {"name": "more"}}]);
    main["resources"] = json!({"limits": {"memory": "64Mi"}});
    cluster.k(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=COLOUR=green",
        "--from-literal=BOTH=map",
    ]);
    cluster.k(&["create", "configmap", "more", "--from-literal=A=prefixed"]);
    cluster.k(&["create", "secret", "generic", "keys", "--from-literal=password=s3cret"]);
    cluster.apply(&[pod]);
    cluster.wait("pod/one", "jsonpath={.status.phase}=Succeeded");
    let (ip, host) =
        (cluster.field("pod/one", ".status.podIP"), cluster.field("pod/one", ".status.hostIP"));
    let expected = format!(
        "COLOUR=green\nPASSWORD=s3cret\nPOD=one\nIP={ip}\nHOST_IP={host}\nMEMORY=64\nBOTH=own\n\
         GREETING=hello green\nP_A=prefixed\nhello green $(X) $(Y)\n"
    );
    assert_eq!(cluster.k(&["logs", "one"]), expected);
}

#[test]
fn files_from_maps_and_secrets_follow_their_objects() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.k(&["create", "configmap", "settings", "--from-literal=a=one", "--from-literal=b=two"]);
    cluster.k(&["create", "secret", "generic", "keys", "--from-literal=password=s3cret"]);
    let mut pod = pod("one", &["wait"]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        {"name": "settings", "mountPath": "/settings"},
        {"name": "keys", "mountPath": "/keys", "readOnly": true},
        {"name": "part", "mountPath": "/part"},
        {"name": "settings", "mountPath": "/single", "subPath": "a"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]);
    pod["spec"]["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "part", "configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/name"}]}},
        {"name": "scratch", "emptyDir": {"medium": "Memory"}},
    ]);
    cluster.apply(&[pod]);
    cluster.wait("pod/one", "condition=Ready");
    let read = |files: &[&str]| cluster.exec("one", &[&["cat"], files].concat());
    assert_eq!(read(&["/settings/a", "/settings/b", "/part/deep/name", "/single"]), "onetwotwoone");
    assert_eq!(cluster.exec("one", &["ls", "/part"]).lines().last(), Some("deep"));
    let about = cluster.exec("one", &["stat", "/keys/password"]);
    assert_eq!(about, "100400 0:0 6\n");
    let said = cluster.kubectl(&["exec", "one", "--", "/guest", "write", "/keys/password", "x"]);
    assert!(said.err.contains("Read-only file system"), "{}", said.err);
    cluster.exec("one", &["write", "/scratch/x", "y"]);
    cluster.k(&["patch", "configmap", "settings", "-p", r#"{"data": {"a": "changed"}}"#]);
    cluster.until("the file changes", || (read(&["/settings/a"]) == "changed").then_some(()));
    assert_eq!(read(&["/single"]), "one", "a subPath stays as it was");
}

#[test]
fn a_pod_has_a_token_that_the_api_knows() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut without = pod("without", &["wait"]);
    without["spec"]["automountServiceAccountToken"] = json!(false);
    cluster.apply(&[pod("with", &["wait"]), without]);
    cluster.wait("pod/with", "condition=Ready");
    cluster.wait("pod/without", "condition=Ready");
    let place = "/var/run/secrets/kubernetes.io/serviceaccount";
    let names = cluster.exec("with", &["ls", place]);
    for name in ["ca.crt", "namespace", "token"] {
        assert!(names.lines().any(|n| n == name), "{names}");
    }
    assert_eq!(cluster.exec("with", &["cat", &format!("{place}/namespace")]), "default");
    let ca = cluster.exec("with", &["cat", &format!("{place}/ca.crt")]);
    let token = cluster.exec("with", &["cat", &format!("{place}/token")]);
    let said = cluster.kubectl(&[
        "--kubeconfig=/dev/null",
        "--server=https://127.0.0.1:6443",
        &format!("--certificate-authority={}", cluster.file("ca.crt", &ca)),
        &format!("--token={token}"),
        "get",
        "pods",
    ]);
    let refusal = "User \"system:serviceaccount:default:default\" cannot list resource \"pods\"";
    assert!(said.err.contains(refusal), "{}", said.err);
    let said = cluster.kubectl(&["exec", "without", "--", "/guest", "ls", place]);
    assert!(said.err.contains("No such file"), "{}", said.err);
}

//! The real helm, where it is on the PATH: the life of a release. Version 4 works by server-side
//! apply.

use serde_json::Value;

use crate::rig::{Cluster, on_path};

#[test]
fn a_release_lives_from_install_to_uninstall() {
    let Some(helm) = on_path("helm") else {
        eprintln!("skipped: helm is not on the PATH");
        return;
    };
    let Some(cluster) = Cluster::with_guest() else { return };
    let chart = cluster.file("web/.keep", "").replace("/.keep", "");
    let run = |arguments: &[&str]| {
        let said = cluster.run(&helm, arguments);
        assert!(said.ok, "helm {}: {}{}", arguments.join(" "), said.out, said.err);
        said.out
    };
    // Its own example chart: Deployment, Service, ServiceAccount, Ingress, probes on `/`.
    run(&["create", &chart]);
    let values = cluster.file(
        "values.yaml",
        "image: {repository: guest, tag: latest, pullPolicy: Never}\n\
         ingress: {enabled: true}\nservice: {port: 80}\n",
    );
    let template = std::path::Path::new(&chart).join("templates/deployment.yaml");
    let text = std::fs::read_to_string(&template).unwrap();
    let args = "          imagePullPolicy:";
    assert!(text.contains(args), "the example chart has changed: {text}");
    let with = format!("          args: [serve, \"80\"]\n{args}");
    std::fs::write(&template, text.replacen(args, &with, 1)).unwrap();
    let common = ["web", chart.as_str(), "-f", &values, "--wait", "--timeout", "60s"];
    run(&[&["install"], common.as_slice()].concat());
    assert_eq!(cluster.field("deployment/web", ".status.availableReplicas"), "1");
    assert_eq!(cluster.field("ingress/web", ".spec.rules[0].host"), "chart-example.local");
    run(&[&["upgrade"], common.as_slice(), &["--set", "replicaCount=2"]].concat());
    assert_eq!(cluster.field("deployment/web", ".status.availableReplicas"), "2");
    run(&["rollback", "web", "1", "--wait", "--timeout", "60s"]);
    assert_eq!(cluster.field("deployment/web", ".spec.replicas"), "1");
    let history: Value = serde_json::from_str(&run(&["history", "web", "-o", "json"])).unwrap();
    let states: Vec<_> =
        history.as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"]);
    run(&["uninstall", "web", "--wait", "--timeout", "60s"]);
    assert_eq!(cluster.k(&["get", "deployments,ingresses", "-o", "name"]), "");
}

//! What is known to be wrong with policies.

use serde_json::{Value, json};

use crate::world::World;

fn policy(name: &str, plural: &str, group: &str, expression: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": [plural],
            }]},
            "validations": [{"expression": expression}],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_checked_against_what_they_look_at() {
    let world = World::without_kubelet().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "size": {"type": "integer"}}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "pots.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "pots", "singular": "pot", "kind": "Pot"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    world.create("customresourcedefinitions", definition).await;
    world
        .until("customresourcedefinitions", |all| {
            let conditions = all[0]["status"]["conditions"].as_array().into_iter().flatten();
            conditions.filter(|c| c["status"] == "True").any(|c| c["type"] == "Established")
        })
        .await;
    let kind = "validatingadmissionpolicies";
    for (name, plural, group, expression) in [
        ("a", "deployments", "apps", "object.spec.replicas > '1'"),
        ("b", "deployments", "apps", "object.spec.replicas > 1"),
        ("c", "pots", "example.com", "object.size == 'large'"),
    ] {
        world.create(kind, policy(name, plural, group, expression)).await;
    }
    let all = world
        .until(kind, |all| {
            let seen =
                |p: &&Value| p["status"]["observedGeneration"] == p["metadata"]["generation"];
            let warned = |p: &&Value| p["status"]["typeChecking"]["expressionWarnings"].is_array();
            all.iter().filter(seen).count() == 3 && all.iter().filter(warned).count() == 2
        })
        .await;
    let warnings = |name: &str| {
        let policy = all.iter().find(|policy| policy["metadata"]["name"] == name).unwrap();
        policy["status"]["typeChecking"]["expressionWarnings"].clone()
    };
    assert_eq!(warnings("a")[0]["fieldRef"], "spec.validations[0].expression");
    let text = warnings("a")[0]["warning"].as_str().unwrap().to_owned();
    assert!(text.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:22: "), "{text}");
    assert_eq!(warnings("b"), Value::Null);
    let text = warnings("c")[0]["warning"].as_str().unwrap().to_owned();
    assert!(text.starts_with("example.com/v1, Kind=Pot: ERROR: "), "{text}");
}

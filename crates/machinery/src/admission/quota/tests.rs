//! Quotas as tables: hard limits and what is used, objects, what comes of it.

use serde_json::{Value, json};

use super::*;
use crate::admission::amounts;

fn quota(spec: Value, used: Value) -> Value {
    json!({
        "metadata": {"name": "q"},
        "spec": spec,
        "status": {"hard": spec["hard"], "used": used},
    })
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn container(requests: Value, limits: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

fn check(quota: &Value, plural: &str, object: &Value, old: Option<&Value>) -> String {
    let request = Request { group: "", plural, object, old, now: 0 };
    match charge(std::slice::from_ref(quota), request) {
        Ok(charges) => {
            let used = charges.iter().map(|charge| amounts::pretty(&charge.used));
            used.collect::<Vec<_>>().join(" | ")
        }
        Err(why) => why,
    }
}

#[test]
fn room_for_pods() {
    let small = pod(json!({"containers": [container(
        json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": "200m"}),
    )]}));
    let silent = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    for (hard, used, object, expected) in [
        (json!({"pods": "3"}), json!({"pods": "2"}), &small, "pods=3"),
        (
            json!({"pods": "3"}),
            json!({"pods": "3"}),
            &small,
            "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3",
        ),
        (
            json!({"requests.cpu": "1", "limits.cpu": "1", "memory": "2Gi"}),
            json!({"requests.cpu": "0", "limits.cpu": "900m", "memory": "512Mi"}),
            &small,
            "exceeded quota: q, requested: limits.cpu=200m, used: limits.cpu=900m, limited: \
             limits.cpu=1",
        ),
        (json!({"memory": "2Gi"}), json!({"memory": "512Mi"}), &small, "memory=1536Mi"),
        (
            json!({"requests.cpu": "1", "memory": "1Gi"}),
            json!({"requests.cpu": "0", "memory": "0"}),
            &silent,
            "failed quota: q: must specify memory for: a,b; requests.cpu for: a,b",
        ),
        (json!({"pods": "3"}), json!({}), &small, "status unknown for quota: q, resources: pods"),
        (json!({"services": "3"}), json!({}), &small, ""),
        (json!({"count/pods": "9"}), json!({"count/pods": "1"}), &small, "count/pods=2"),
    ] {
        let quota = quota(json!({"hard": hard}), used);
        assert_eq!(check(&quota, "pods", object, None), expected, "{hard}");
    }
}

#[test]
fn scopes() {
    let best_effort = pod(json!({"containers": [{"name": "c"}]}));
    let burstable = pod(json!({"containers": [container(json!({"cpu": "1"}), json!({}))]}));
    let ending = pod(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "c"}]}));
    let important = pod(json!({"priorityClassName": "high", "containers": [{"name": "c"}]}));
    let over = pod(json!({"containers": [{"name": "c"}], "affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}],
    }}}));
    let class = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values},
        ]}})
    };
    for (spec, object, counted) in [
        (json!({"scopes": ["BestEffort"]}), &best_effort, true),
        (json!({"scopes": ["BestEffort"]}), &burstable, false),
        (json!({"scopes": ["NotBestEffort"]}), &burstable, true),
        (json!({"scopes": ["Terminating"]}), &ending, true),
        (json!({"scopes": ["NotTerminating"]}), &ending, false),
        (json!({"scopes": ["Terminating", "BestEffort"]}), &ending, true),
        (json!({"scopes": ["PriorityClass"]}), &important, true),
        (class("In", json!(["high"])), &important, true),
        (class("In", json!(["high"])), &best_effort, false),
        (class("NotIn", json!(["high"])), &best_effort, true),
        (class("DoesNotExist", json!([])), &important, false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), &over, true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), &important, false),
    ] {
        let mut spec = spec;
        spec["hard"] = json!({"pods": "1"});
        let quota = quota(spec.clone(), json!({"pods": "0"}));
        let expected = if counted { "pods=1" } else { "" };
        assert_eq!(check(&quota, "pods", object, None), expected, "{spec}");
        assert_eq!(check(&quota, "services", &json!({}), None), "", "{spec}");
    }
}

#[test]
fn services_and_claims() {
    let service = |kind: &str, ports: usize| json!({"spec": {"type": kind, "ports": vec![json!({"port": 1}); ports]}});
    let hard = json!({"services": "2", "services.nodeports": "2", "services.loadbalancers": "1"});
    let used = json!({"services": "1", "services.nodeports": "1", "services.loadbalancers": "0"});
    let full = quota(json!({"hard": hard}), used);
    let charged = check(&full, "services", &service("ClusterIP", 3), None);
    assert_eq!(charged, "services=2,services.loadbalancers=0,services.nodeports=1");
    let refused = check(&full, "services", &service("NodePort", 2), None);
    assert!(refused.starts_with("exceeded quota: q, requested: services.nodeports=2"), "{refused}");
    // A change is charged by its difference.
    let (old, new) = (service("NodePort", 1), service("NodePort", 2));
    let charged = check(&full, "services", &new, Some(&old));
    assert!(charged.contains("services.nodeports=2"), "{charged}");
    assert_eq!(check(&full, "services", &old, Some(&new)), "");

    let claim = json!({"spec": {
        "storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}},
    }});
    let hard = json!({
        "persistentvolumeclaims": "2",
        "requests.storage": "5Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    });
    let none = json!({
        "persistentvolumeclaims": "0",
        "requests.storage": "0",
        "gold.storageclass.storage.k8s.io/requests.storage": "0",
    });
    let refused =
        check(&quota(json!({"hard": hard}), none), "persistentvolumeclaims", &claim, None);
    assert_eq!(
        refused,
        "exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi, used: \
         gold.storageclass.storage.k8s.io/requests.storage=0, limited: \
         gold.storageclass.storage.k8s.io/requests.storage=1Gi"
    );
}

#[test]
fn counted_anew() {
    let quota = json!({"spec": {"hard": {
        "pods": "5", "requests.cpu": "1", "count/widgets.example.com": "3", "nonsense": "1",
        "requests.nvidia.com/gpu": "2",
    }}});
    let pods = [
        pod(
            json!({"containers": [container(json!({"cpu": "100m", "nvidia.com/gpu": "1"}), json!({}))]}),
        ),
        json!({"spec": {"containers": []}, "status": {"phase": "Succeeded"}}),
    ];
    let widgets = [json!({}), json!({})];
    let used = recount(&quota, 0, |group, plural| match (group, plural) {
        ("", "pods") => pods.iter().collect::<Vec<_>>(),
        ("example.com", "widgets") => widgets.iter().collect(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        amounts::pretty(&used),
        "count/widgets.example.com=2,pods=1,requests.cpu=100m,requests.nvidia.com/gpu=1"
    );
}

#[test]
fn names() {
    for (name, kind) in [
        ("count/deployments.apps", Some(("apps", "deployments"))),
        ("count/pods", Some(("", "pods"))),
        ("requests.storage", Some(("", "persistentvolumeclaims"))),
        ("requests.hugepages-2Mi", Some(("", "pods"))),
        ("services.nodeports", Some(("", "services"))),
        ("configmaps", Some(("", "configmaps"))),
        ("deployments", None),
    ] {
        assert_eq!(kind_of(name), kind, "{name}");
    }
    assert!(is_extended_resource("nvidia.com/gpu"));
    assert!(!is_extended_resource("cpu") && !is_extended_resource("kubernetes.io/x"));
}

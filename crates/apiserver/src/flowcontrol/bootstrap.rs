//! The flows and levels that are there before anybody has made one, as kube-apiserver has them:
//! two of each that must be, and those that it suggests.

use serde_json::{Value, json};

const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// A level with limits.
struct Level {
    name: &'static str,
    shares: u32,
    /// Hundredths of its share that others may use.
    lendable: u32,
    /// How many queues, and how many of them a flow may use.
    queues: Option<(u32, u32)>,
}

const fn level(
    name: &'static str,
    shares: u32,
    lendable: u32,
    queues: Option<(u32, u32)>,
) -> Level {
    Level { name, shares, lendable, queues }
}

const LEVELS: &[Level] = &[
    level("system", 30, 33, Some((64, 6))),
    level("node-high", 40, 25, Some((64, 6))),
    level("leader-election", 10, 0, Some((16, 4))),
    level("workload-high", 40, 50, Some((128, 6))),
    level("workload-low", 100, 90, Some((128, 6))),
    level("global-default", 20, 50, Some((128, 6))),
    level("catch-all", 5, 0, None),
];
/// How many wait in a queue.
const QUEUE_LENGTH: u32 = 50;

/// Every `PriorityLevelConfiguration`.
pub(crate) fn levels() -> Vec<Value> {
    let exempt =
        json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let limited = LEVELS.iter().map(|level| {
        let response = match level.queues {
            Some((queues, hand)) => json!({"type": "Queue", "queuing": {
                "queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH,
            }}),
            None => json!({"type": "Reject"}),
        };
        let limited = json!({
            "nominalConcurrencyShares": level.shares,
            "lendablePercent": level.lendable,
            "limitResponse": response,
        });
        (level.name, json!({"type": "Limited", "limited": limited}))
    });
    let all = std::iter::once(("exempt", exempt)).chain(limited);
    all.map(|(name, spec)| object("PriorityLevelConfiguration", name, spec)).collect()
}

/// Every `FlowSchema`.
pub(crate) fn schemas() -> Vec<Value> {
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let everything = |subjects: Vec<Value>| {
        json!({
            "subjects": subjects,
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
                "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        })
    };
    let some =
        |subjects: Vec<Value>, rules: Value| json!({"subjects": subjects, "resourceRules": rules});
    let elections = ["get", "create", "update"];
    let leases = json!({
        "verbs": elections, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "namespaces": ["*"],
    });
    let probes = json!({
        "subjects": everybody(),
        "nonResourceRules": [
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
        ],
    });
    let manager = || user("system:kube-controller-manager");
    let scheduler = || user("system:kube-scheduler");
    let nodes = || vec![group("system:nodes")];
    let system_accounts = || account("*");
    let by_user = Some("ByUser");
    let by_namespace = Some("ByNamespace");
    [
        ("exempt", 1, "exempt", None, everything(vec![group("system:masters")])),
        ("probes", 2, "exempt", None, probes),
        (
            "system-leader-election", 100, "leader-election", by_user,
            some(vec![manager(), scheduler(), system_accounts()], json!([leases])),
        ),
        (
            "endpoint-controller", 150, "workload-high", by_user,
            some(
                vec![
                    manager(),
                    account("endpoint-controller"),
                    account("endpointslicemirroring-controller"),
                ],
                json!([{"verbs": elections, "apiGroups": [""], "resources": ["endpoints"],
                        "namespaces": ["*"]}]),
            ),
        ),
        (
            "workload-leader-election", 200, "leader-election", by_user,
            some(vec![system_accounts()], json!([
                {"verbs": elections, "apiGroups": [""], "resources": ["endpoints", "configmaps"],
                 "namespaces": ["*"]},
                leases,
            ])),
        ),
        (
            "system-node-high", 400, "node-high", by_user,
            some(nodes(), json!([
                {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
                 "clusterScope": true, "namespaces": ["*"]},
                {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                 "namespaces": ["*"]},
            ])),
        ),
        ("system-nodes", 500, "system", by_user, everything(nodes())),
        ("kube-controller-manager", 800, "workload-high", by_namespace, everything(vec![manager()])),
        ("kube-scheduler", 800, "workload-high", by_namespace, everything(vec![scheduler()])),
        (
            "kube-system-service-accounts", 900, "workload-high", by_namespace,
            everything(vec![system_accounts()]),
        ),
        (
            "service-accounts", 9000, "workload-low", by_user,
            everything(vec![group("system:serviceaccounts")]),
        ),
        ("global-default", 9900, "global-default", by_user, everything(everybody())),
        ("catch-all", 10_000, "catch-all", by_user, everything(everybody())),
    ]
    .into_iter()
    .map(|(name, precedence, level, distinguisher, rule)| {
        let mut spec = json!({
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level},
            "rules": [rule],
        });
        if let Some(kind) = distinguisher {
            spec["distinguisherMethod"] = json!({"type": kind});
        }
        object("FlowSchema", name, spec)
    })
    .collect()
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let annotations = json!({"apf.kubernetes.io/autoupdate-spec": "true"});
    let metadata = json!({"name": name, "annotations": annotations});
    json!({"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}

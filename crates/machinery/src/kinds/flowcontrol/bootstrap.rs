//! The objects that are there from the start. The mandatory ones cannot be changed; the suggested
//! ones are brought back to what they should be, unless their annotation says that they are
//! somebody's own.

use serde_json::{Value, json};

/// Every priority level that is there from the start.
pub fn priority_levels() -> impl Iterator<Item = Value> {
    let queue = |queues: i64, hand: i64| {
        json!({
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50},
        })
    };
    let suggested = [
        ("system", 30, 33, queue(64, 6)),
        ("node-high", 40, 25, queue(64, 6)),
        ("leader-election", 10, 0, queue(16, 4)),
        ("workload-high", 40, 50, queue(128, 6)),
        ("workload-low", 100, 90, queue(128, 6)),
        ("global-default", 20, 50, queue(128, 6)),
    ];
    mandatory_levels().chain(
        suggested
            .into_iter()
            .map(|(name, shares, lendable, response)| limited(name, shares, lendable, response)),
    )
}

pub(super) fn mandatory_levels() -> impl Iterator<Item = Value> {
    let exempt = json!({
        "type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    });
    [
        object("PriorityLevelConfiguration", "exempt", &exempt),
        limited("catch-all", 5, 0, json!({"type": "Reject"})),
    ]
    .into_iter()
}

fn limited(name: &str, shares: i64, lendable: i64, response: Value) -> Value {
    let spec = json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": response,
        },
    });
    object("PriorityLevelConfiguration", name, &spec)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
        "spec": spec,
    })
}

const UNAUTHENTICATED: &str = "system:unauthenticated";
const AUTHENTICATED: &str = "system:authenticated";
const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

/// Every flow schema that is there from the start.
pub fn flow_schemas() -> impl Iterator<Item = Value> {
    let write = ["get", "create", "update"];
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let all_of_system = || account("*");
    let suggested = [
        schema(
            "probes",
            "exempt",
            2,
            "",
            json!({
                "subjects": groups(&[UNAUTHENTICATED, AUTHENTICATED]),
                "nonResourceRules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
                ],
            }),
        ),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            json!({
                "subjects": [user(MANAGER), user(SCHEDULER), all_of_system()],
                "resourceRules": [leases(&write)],
            }),
        ),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            json!({
                "subjects": [
                    user(MANAGER), account("endpoint-controller"),
                    account("endpointslicemirroring-controller"),
                ],
                "resourceRules": [resources(&write, "", &["endpoints"], false)],
            }),
        ),
        schema(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            json!({
                "subjects": [all_of_system()],
                "resourceRules": [leases(&write)],
            }),
        ),
        schema(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            json!({
                "subjects": groups(&["system:nodes"]),
                "resourceRules": [
                    resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"]),
                ],
            }),
        ),
        everything("system-nodes", "system", 500, "ByUser", groups(&["system:nodes"])),
        everything(
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            json!([user(MANAGER)]),
        ),
        everything("kube-scheduler", "workload-high", 800, "ByNamespace", json!([user(SCHEDULER)])),
        everything(
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            json!([all_of_system()]),
        ),
        everything(
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            groups(&["system:serviceaccounts"]),
        ),
        everything(
            "global-default",
            "global-default",
            9900,
            "ByUser",
            groups(&[UNAUTHENTICATED, AUTHENTICATED]),
        ),
    ];
    mandatory_schemas().chain(suggested)
}

pub(super) fn mandatory_schemas() -> impl Iterator<Item = Value> {
    let everybody = groups(&[UNAUTHENTICATED, AUTHENTICATED]);
    [
        everything("exempt", "exempt", 1, "", groups(&["system:masters"])),
        everything("catch-all", "catch-all", 10_000, "ByUser", everybody),
    ]
    .into_iter()
}

fn schema(name: &str, level: &str, precedence: i64, by: &str, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object("FlowSchema", name, &spec)
}

/// Whatever these subjects do.
fn everything(name: &str, level: &str, precedence: i64, by: &str, subjects: Value) -> Value {
    schema(
        name,
        level,
        precedence,
        by,
        json!({
            "subjects": subjects,
            "resourceRules": [resources(&["*"], "*", &["*"], true)],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }),
    )
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({
        "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"],
    });
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    let account = json!({"name": name, "namespace": "kube-system"});
    json!({"kind": "ServiceAccount", "serviceAccount": account})
}

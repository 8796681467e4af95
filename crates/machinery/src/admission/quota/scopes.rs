//! Which objects a quota counts: `spec.scopes` and `spec.scopeSelector`.

use serde_json::Value;

use crate::kinds::podspec::resources::{QosClass, qos_class};
use crate::value::{at, i64_at, is_set, list_at, str_at};

/// Whether every scope of the quota holds for the object. A quota with scopes counts no other kinds
/// than those that its scopes can tell apart.
pub fn matches_scopes(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let named = list_at(quota, "spec.scopes").iter().filter_map(Value::as_str);
    let mut named = named.map(|scope| (scope, "Exists", &[][..]));
    let expressions = list_at(quota, "spec.scopeSelector.matchExpressions").iter();
    let mut selected = expressions.map(|expression| {
        (
            str_at(expression, "scopeName"),
            str_at(expression, "operator"),
            list_at(expression, "values"),
        )
    });
    let holds = |(scope, operator, values): (&str, &str, &[Value])| match (group, plural) {
        ("", "pods") => pod_matches(scope, operator, values, object),
        ("", "persistentvolumeclaims") => claim_matches(scope, operator, values, object),
        _ => false,
    };
    named.all(holds) && selected.all(holds)
}

fn pod_matches(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let terminating = || i64_at(pod, "spec.activeDeadlineSeconds").is_some_and(|s| s >= 0);
    let best_effort = || qos_class(pod) == QosClass::BestEffort;
    match scope {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => compares(operator, values, str_at(pod, "spec.priorityClassName")),
        "CrossNamespacePodAffinity" => reaches_over(pod),
        _ => false,
    }
}

fn claim_matches(scope: &str, operator: &str, values: &[Value], claim: &Value) -> bool {
    if scope != "VolumeAttributesClass" {
        return false;
    }
    // Counted under the class that is asked for, under the one it has, and under the one it is on
    // its way to.
    let names = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    let mut names = names.iter().map(|path| str_at(claim, path)).filter(|name| !name.is_empty());
    match operator {
        "DoesNotExist" | "NotIn" => names.all(|name| compares(operator, values, name)),
        _ => names.any(|name| compares(operator, values, name)),
    }
}

fn compares(operator: &str, values: &[Value], name: &str) -> bool {
    let known = || !name.is_empty() && values.iter().any(|value| value == name);
    match operator {
        "In" => known(),
        "NotIn" => !known(),
        "DoesNotExist" => name.is_empty(),
        _ => !name.is_empty(),
    }
}

/// Whether a pod's placement depends on pods of other namespaces.
fn reaches_over(pod: &Value) -> bool {
    let over =
        |term: &Value| !list_at(term, "namespaces").is_empty() || is_set(term, "namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = at(at(pod, "spec.affinity"), kind);
        let required = list_at(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = list_at(affinity, "preferredDuringSchedulingIgnoredDuringExecution");
        required.chain(preferred.iter().map(|term| at(term, "podAffinityTerm"))).any(over)
    })
}

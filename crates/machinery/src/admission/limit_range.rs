//! LimitRange: what containers get that say nothing, and the bounds of containers, pods and claims
//! (`plugin/pkg/admission/limitranger`).

use onggi_api::Quantity;
use serde_json::{Map, Value};

use super::amounts::{self, Amounts};
use super::quota;
use crate::value::{at, items_mut, list_at, map_mut, str_at};

/// Where it stands what was put in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a pod the defaults of a LimitRange, and notes it down in an annotation.
pub fn default(range: &Value, pod: &mut Value) {
    let mut requests = Amounts::new();
    let mut limits = Amounts::new();
    for item in list_at(range, "spec.limits").iter().filter(|i| str_at(i, "type") == "Container") {
        requests.extend(amounts::read(at(item, "defaultRequest")));
        limits.extend(amounts::read(at(item, "default")));
    }
    let mut notes = Vec::new();
    for (list, what) in
        [("spec.containers", "container"), ("spec.initContainers", "init container")]
    {
        for container in items_mut(pod, list) {
            let limited = fill(container, "resources.limits", &limits);
            let requested = fill(container, "resources.requests", &requests);
            let name = str_at(container, "name");
            for (names, kind) in [(requested, "request"), (limited, "limit")] {
                if !names.is_empty() {
                    notes.push(format!("{} {kind} for {what} {name}", names.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        map_mut(pod, "metadata.annotations").insert(ANNOTATION.to_owned(), text.into());
    }
}

/// Puts in what is missing; gives the names.
fn fill(container: &mut Value, path: &str, defaults: &Amounts) -> Vec<String> {
    if defaults.is_empty() {
        return Vec::new();
    }
    let present: &mut Map<String, Value> = map_mut(container, path);
    let mut names = Vec::new();
    for (name, amount) in defaults {
        if !present.contains_key(name) {
            present.insert(name.clone(), amount.to_string().into());
            names.push(name.clone());
        }
    }
    names
}

/// Everything about a pod that is outside of the bounds of a LimitRange.
pub fn check_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for item in list_at(range, "spec.limits") {
        match str_at(item, "type") {
            "Container" => {
                let all = list_at(pod, "spec.containers").iter();
                for container in all.chain(list_at(pod, "spec.initContainers")) {
                    let of = |what| amounts::read(at(at(container, "resources"), what));
                    bounds(item, &of("requests"), &of("limits"), &mut problems);
                }
            }
            "Pod" => {
                let (requests, limits) =
                    (quota::total(pod, "requests"), quota::total(pod, "limits"));
                bounds(item, &requests, &limits, &mut problems);
            }
            _ => {}
        }
    }
    problems
}

/// Everything about a PersistentVolumeClaim that is outside of the bounds of a LimitRange.
pub fn check_claim(range: &Value, claim: &Value) -> Vec<String> {
    const KIND: &str = "PersistentVolumeClaim";
    let requests = amounts::read(at(claim, "spec.resources.requests"));
    let mut problems = Vec::new();
    for item in list_at(range, "spec.limits").iter().filter(|item| str_at(item, "type") == KIND) {
        let none = Amounts::new();
        problems.extend(minimum(item, &requests, &none));
        for (name, most) in amounts::read(at(item, "max")) {
            let bound = format!("maximum {name} usage per {KIND} is {most}");
            match requests.get(&name) {
                None => problems.push(format!("{bound}.  No request is specified")),
                Some(asked) if *asked > most => {
                    problems.push(format!("{bound}, but request is {asked}"));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

/// As one text, as Kubernetes puts several errors together.
pub fn together(mut problems: Vec<String>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    match problems.as_slice() {
        [] => None,
        [_] => problems.pop(),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

fn bounds(item: &Value, requests: &Amounts, limits: &Amounts, problems: &mut Vec<String>) {
    problems.extend(minimum(item, requests, limits));
    problems.extend(maximum(item, requests, limits));
    problems.extend(ratio(item, requests, limits));
}

fn minimum<'a>(
    item: &'a Value,
    requests: &'a Amounts,
    limits: &'a Amounts,
) -> impl Iterator<Item = String> + 'a {
    let kind = str_at(item, "type");
    amounts::read(at(item, "min")).into_iter().filter_map(move |(name, least)| {
        let bound = format!("minimum {name} usage per {kind} is {least}");
        let (request, limit) = (requests.get(&name), limits.get(&name));
        match (request, limit) {
            (None, _) => Some(format!("{bound}.  No request is specified")),
            (Some(request), _) if *request < least => {
                Some(format!("{bound}, but request is {request}"))
            }
            (_, Some(limit)) if *limit < least => Some(format!("{bound}, but limit is {limit}")),
            _ => None,
        }
    })
}

fn maximum<'a>(
    item: &'a Value,
    requests: &'a Amounts,
    limits: &'a Amounts,
) -> impl Iterator<Item = String> + 'a {
    let kind = str_at(item, "type");
    amounts::read(at(item, "max")).into_iter().filter_map(move |(name, most)| {
        let bound = format!("maximum {name} usage per {kind} is {most}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => Some(format!("{bound}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => Some(format!("{bound}, but limit is {limit}")),
            (Some(request), _) if *request > most => {
                Some(format!("{bound}, but request is {request}"))
            }
            _ => None,
        }
    })
}

#[allow(clippy::cast_precision_loss, reason = "shown with six digits, as Kubernetes does")]
fn ratio<'a>(
    item: &'a Value,
    requests: &'a Amounts,
    limits: &'a Amounts,
) -> impl Iterator<Item = String> + 'a {
    let kind = str_at(item, "type");
    amounts::read(at(item, "maxLimitRequestRatio")).into_iter().filter_map(move |(name, most)| {
        let bound = format!("{name} max limit to request ratio per {kind} is {most}");
        let some = |amount: Option<&Quantity>| amount.filter(|q| !q.is_zero()).copied();
        let Some(request) = some(requests.get(&name)) else {
            return Some(format!("{bound}, but no request is specified or request is 0"));
        };
        let Some(limit) = some(limits.get(&name)) else {
            return Some(format!("{bound}, but no limit is specified or limit is 0"));
        };
        let found = limit.millis() as f64 / request.millis() as f64;
        (found * 1000.0 > most.millis() as f64)
            .then(|| format!("{bound}, but provided ratio is {found:.6}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(item: Value) -> Value {
        json!({"spec": {"limits": [item]}})
    }

    #[test]
    fn defaults_are_noted_down() {
        let range = range(json!({
            "type": "Container",
            "default": {"cpu": "500m", "memory": "500Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
        }));
        let mut pod = json!({"metadata": {}, "spec": {
            "containers": [
                {"name": "a"},
                {"name": "b", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}},
            ],
            "initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1", "memory": "1"}}}],
        }});
        default(&range, &mut pod);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({
                "limits": {"cpu": "500m", "memory": "500Mi"},
                "requests": {"cpu": "100m", "memory": "200Mi"},
            })
        );
        assert_eq!(pod["spec"]["containers"][1]["resources"]["requests"]["cpu"], "1");
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for \
             container a; memory request for container b; cpu limit for container b; cpu, memory \
             request for init container i"
        );
        let before = pod.clone();
        default(&range, &mut pod);
        assert_eq!(pod, before);
    }

    #[test]
    fn bounds_of_containers() {
        let container = |requests: Value, limits: Value| {
            json!({"spec": {"containers": [
                {"name": "c", "resources": {"requests": requests, "limits": limits}},
            ]}})
        };
        for (item, pod, expected) in [
            (json!({"min": {"cpu": "50m"}}), container(json!({"cpu": "50m"}), json!({})), ""),
            (
                json!({"min": {"cpu": "50m"}}),
                container(json!({"cpu": "10m"}), json!({})),
                "minimum cpu usage per Container is 50m, but request is 10m",
            ),
            (
                json!({"min": {"cpu": "50m"}}),
                container(json!({}), json!({})),
                "minimum cpu usage per Container is 50m.  No request is specified",
            ),
            (
                json!({"max": {"memory": "1Gi"}}),
                container(json!({}), json!({"memory": "2Gi"})),
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            ),
            (
                json!({"max": {"memory": "1Gi", "cpu": "1"}}),
                container(json!({}), json!({})),
                "[maximum cpu usage per Container is 1.  No limit is specified, maximum memory \
                 usage per Container is 1Gi.  No limit is specified]",
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                container(json!({"cpu": "100m"}), json!({"cpu": "250m"})),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                container(json!({"cpu": "100m"}), json!({"cpu": "200m"})),
                "",
            ),
        ] {
            let mut item = item;
            item["type"] = "Container".into();
            let found = together(check_pod(&range(item), &pod)).unwrap_or_default();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn bounds_of_pods_and_claims() {
        let container = json!({"name": "c", "resources": {"limits": {"cpu": "600m"}}});
        let pod = json!({"spec": {"containers": [container, container]}});
        let item = json!({"type": "Pod", "max": {"cpu": "1"}});
        assert_eq!(
            check_pod(&range(item), &pod),
            ["maximum cpu usage per Pod is 1, but limit is 1200m"]
        );
        let claim = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
        let item = json!({
            "type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"},
        });
        assert_eq!(
            check_claim(&range(item), &claim),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"]
        );
    }
}

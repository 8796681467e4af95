//! Whether an aggregated server can be reached, as the `Available` condition says it
//! (`kube-aggregator/pkg/controllers/status/remote`).

use onggi_machinery::value::{at, find, i64_at, list_at, set, str_at};
use serde_json::{Value, json};

use super::remote::Place;

/// A verdict: status, reason, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) available: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    fn no(reason: &'static str, message: String) -> Self {
        Self { available: false, reason, message }
    }

    /// It answers.
    pub(super) fn passed() -> Self {
        Self { available: true, reason: "Passed", message: "all checks passed".into() }
    }

    /// It does not answer.
    pub(super) fn failed(message: String) -> Self {
        Self::no("FailedDiscoveryCheck", message)
    }
}

/// What the objects say before anyone asks the server itself; `None`: it is to be asked.
pub(super) fn objects(place: &Place, service: Option<&Value>, slices: &[Value]) -> Option<Verdict> {
    let Place { namespace, service: name, port, .. } = place;
    let Some(service) = service else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return Some(Verdict::no("ServiceNotFound", message));
    };
    if !matches!(str_at(service, "spec.type"), "" | "ClusterIP") {
        return None;
    }
    let ports = list_at(service, "spec.ports");
    let Some(found) = ports.iter().find(|known| i64_at(known, "port") == Some(*port)) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Some(Verdict::no("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Verdict::no("EndpointsNotFound", message));
    }
    let port_name = str_at(found, "name");
    let has = |slice: &Value| {
        list_at(slice, "endpoints").iter().any(|e| at(e, "conditions.ready") != false)
            && list_at(slice, "ports")
                .iter()
                .any(|port| str_at(port, "name") == port_name && !at(port, "port").is_null())
    };
    (!slices.iter().any(has)).then(|| {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name \
             {port_name:?}"
        );
        Verdict::no("MissingEndpoints", message)
    })
}

/// The object with the verdict as its condition; `None` when it says so already. `now` is RFC 3339.
pub(super) fn with(object: &Value, verdict: &Verdict, now: &str) -> Option<Value> {
    let status = if verdict.available { "True" } else { "False" };
    let conditions = list_at(object, "status.conditions");
    let old = find(conditions, "type", "Available");
    let same = old.is_some_and(|old| {
        str_at(old, "status") == status
            && str_at(old, "reason") == verdict.reason
            && str_at(old, "message") == verdict.message
    });
    if same {
        return None;
    }
    let since = old.filter(|old| str_at(old, "status") == status);
    let since = since.map_or(now, |old| str_at(old, "lastTransitionTime"));
    let condition = json!({
        "type": "Available",
        "status": status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": since,
    });
    let mut conditions = conditions.to_vec();
    conditions.retain(|condition| str_at(condition, "type") != "Available");
    conditions.push(condition);
    let mut new = object.clone();
    set(&mut new, "status.conditions", conditions);
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_objects_say() {
        let place = Place::read(&json!({"spec": {"service": {"namespace": "n", "name": "s"}}}));
        let service = |port: u16| json!({"spec": {"ports": [{"name": "https", "port": port}]}});
        let slice = |ready: bool, port: &str| {
            json!({
                "ports": [{"name": port, "port": 8443}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
            })
        };
        let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
        for (service, slices, expected) in [
            (None, vec![], "ServiceNotFound: service/s in \"n\" is not present"),
            (
                Some(service(80)),
                vec![],
                "ServicePortError: service/s in \"n\" is not listening on port 443",
            ),
            (
                Some(service(443)),
                vec![],
                "EndpointsNotFound: cannot find endpointslices for service/s in \"n\"",
            ),
            (
                Some(service(443)),
                vec![slice(false, "https"), slice(true, "http")],
                "MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with \
                 port name \"https\"",
            ),
            (Some(service(443)), vec![slice(true, "https")], ""),
            (Some(external), vec![], ""),
        ] {
            let found = objects(&place, service.as_ref(), &slices);
            let found = found.map(|v| format!("{}: {}", v.reason, v.message)).unwrap_or_default();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_condition_keeps_the_time_of_its_last_turn() {
        let one = with(&json!({}), &Verdict::passed(), "t1").unwrap();
        assert_eq!(with(&one, &Verdict::passed(), "t2"), None);
        let two = with(&one, &Verdict::failed("x".into()), "t3").unwrap();
        assert_eq!(two["status"]["conditions"][0]["lastTransitionTime"], "t3");
        let three = with(&two, &Verdict::failed("y".into()), "t4").unwrap();
        assert_eq!(three["status"]["conditions"][0]["lastTransitionTime"], "t3");
        assert_eq!(three["status"]["conditions"].as_array().unwrap().len(), 1);
    }
}

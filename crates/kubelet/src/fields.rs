//! The downward API: fields of the pod and resources of its containers, as text.

use onggi_api::Quantity;
use onggi_api::core::{ObjectFieldSelector, ResourceFieldSelector};

use crate::pod::Pod;
use crate::resources;

/// What the node adds to a pod's own fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFacts {
    pub(crate) host_ip: String,
    pub(crate) pod_ips: Vec<String>,
    /// Thousandths of a core: a limit that is not set is what the node has.
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
}

/// `fieldRef`. Empty where the field is not set yet; an error for a path that is none.
pub(crate) fn field(
    pod: &Pod,
    facts: &NodeFacts,
    selector: &ObjectFieldSelector,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let map = |map: Option<&std::collections::BTreeMap<String, String>>, key: &str| {
        map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(map(pod.metadata.labels.as_ref(), key));
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(map(pod.metadata.annotations.as_ref(), key));
    }
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => lines(pod.metadata.labels.as_ref()),
        "metadata.annotations" => lines(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => pod.spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.service_account().to_owned(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `resourceFieldRef` of a container; `default_container` where the selector names none.
pub(crate) fn resource(
    pod: &Pod,
    facts: &NodeFacts,
    selector: &ResourceFieldSelector,
    default_container: &str,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().unwrap_or(default_container);
    let (_, container) =
        pod.container(name).ok_or_else(|| format!("container {name} not found"))?;
    let (side, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let requirements = container.resources.as_ref();
    let limit = || {
        resources::limit(requirements, resource).unwrap_or_else(|| match resource {
            "cpu" => Quantity::from_millis(facts.cpu_millis),
            "memory" => Quantity::from_bytes(facts.memory_bytes),
            _ => Quantity::from_units(0),
        })
    };
    let value = match side {
        "limits" => limit(),
        "requests" => resources::request(requirements, resource)
            .or_else(|| resources::limit(requirements, resource))
            .unwrap_or_else(|| Quantity::from_units(0)),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector.divisor.as_ref().and_then(|d| d.0.parse::<Quantity>().ok());
    let by = divisor.map_or(0, |d| d.millis()).max(0);
    let by = if by == 0 { 1000 } else { by };
    Ok(div_up(i128::from(value.millis()), i128::from(by)).to_string())
}

fn div_up(value: i128, by: i128) -> i128 {
    (value + by - 1) / by
}

/// `PATH['KEY']`.
fn subscript<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

/// One `key="value"` a line.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    #[test]
    fn fields_and_resources() {
        let mut pod = pod(json!({"nodeName": "n1", "containers": [{"name": "a", "resources": {
            "limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}}]}));
        pod.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
        let facts = NodeFacts {
            pod_ips: vec!["10.0.0.1".into()],
            memory_bytes: 1 << 30,
            ..NodeFacts::default()
        };
        for (path, value) in [
            ("metadata.name", "p"),
            ("metadata.labels['app']", "x"),
            ("metadata.labels", "app=\"x\""),
            ("spec.nodeName", "n1"),
            ("status.podIP", "10.0.0.1"),
        ] {
            let selector = ObjectFieldSelector { field_path: path.into(), ..Default::default() };
            assert_eq!(field(&pod, &facts, &selector).as_deref(), Ok(value), "{path}");
        }
        for (name, divisor, value) in [
            ("limits.cpu", "", "2"),
            ("limits.cpu", "1m", "1500"),
            ("requests.memory", "1Mi", "64"),
            ("limits.memory", "1Mi", "1024"),
        ] {
            let selector: ResourceFieldSelector =
                serde_json::from_value(json!({"resource": name, "divisor": divisor})).unwrap();
            assert_eq!(resource(&pod, &facts, &selector, "a").as_deref(), Ok(value), "{name}");
        }
    }
}

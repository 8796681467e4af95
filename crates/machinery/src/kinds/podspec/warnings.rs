//! Advice on a valid pod specification: where Kubernetes warns (`pkg/api/pod/warnings.go`).

use std::collections::HashMap;

use onggi_api::Quantity;

use crate::validation::At;

/// Labels of nodes that have a newer name.
const OLD_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// What one should know of a `spec` that is right.
pub fn warnings(spec: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, value) in spec.child("nodeSelector").entries() {
        if let Some((_, new)) = OLD_NODE_LABELS.iter().find(|(old, _)| *old == key) {
            warnings.push(format!("{}: deprecated since v1.14; use \"{new}\" instead", value.path));
        }
    }
    for secret in spec.each("imagePullSecrets").map(|secret| secret.child("name")) {
        if secret.text().is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", secret.path));
        }
    }
    for container in spec.each("initContainers").chain(spec.each("containers")) {
        hidden_variables(&container, &mut warnings);
        repeated_ports(&container, &mut warnings);
        fractional_bytes(&container, &mut warnings);
    }
    warnings
}

fn hidden_variables(container: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    for variable in container.each("env") {
        let name = variable.child("name").text();
        // A variable that uses its earlier self extends it: PATH=$(PATH):/x.
        let extends = || variable.child("value").text().contains(&format!("$({name})"));
        if !seen.insert(name) && !extends() {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                variable.path
            ));
        }
    }
}

fn repeated_ports(container: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen = HashMap::new();
    for port in container.each("ports") {
        let key = (
            port.child("containerPort").int(),
            port.child("protocol").text(),
            port.child("hostPort").int(),
            port.child("hostIP").text(),
        );
        if let Some(first) = seen.get(&key) {
            warnings.push(format!("{}: duplicate port definition with {first}", port.path));
        } else {
            seen.insert(key, port.path);
        }
    }
}

fn fractional_bytes(container: &At<'_>, warnings: &mut Vec<String>) {
    for map in ["resources.limits", "resources.requests"] {
        for (name, amount) in container.child(map).entries() {
            let whole = amount.text().parse::<Quantity>().map_or(true, |q| q.is_whole());
            if matches!(name, "memory" | "ephemeral-storage") && !whole {
                warnings.push(format!(
                    "{}: fractional byte value {:?} is invalid, must be an integer",
                    amount.path,
                    amount.text()
                ));
            }
        }
    }
}

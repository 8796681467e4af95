//! `v1 Service`. Addresses and node ports are given out by the server's hook of the same name.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{proxy_of, status_of};
use crate::resource::{Column, NameRule, Resource};
use crate::table::{self, text_or};
use crate::value::{
    at, i64_at, is_set, items_mut, list_at, remove, set, set_default, set_default_text, str_at,
};

mod rules;
#[cfg(test)]
mod tests;

pub use rules::NODE_PORTS;

/// How long a client stays with its endpoint, in seconds.
const SESSION_SECONDS: i64 = 3 * 60 * 60;

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[proxy_of("ServiceProxyOptions"), status_of("", "v1", "Service")],
    fields: &["spec.clusterIP", "spec.type"],
    has_status: true,
    name: NameRule::Dns1035Label,
    columns: &[
        Column::NAME,
        Column::text("Type"),
        Column::text("Cluster-IP"),
        Column::text("External-IP"),
        Column::text("Port(s)"),
        Column::AGE,
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create,
    prepare_update: rules::prepare_update,
    validate: rules::validate,
    validate_update: rules::validate_update,
    warnings,
    answers_deleted: true,
    ..Resource::BASE
};

fn row(service: &Value, now: i64) -> Vec<Value> {
    vec![
        table::name(service),
        str_at(service, "spec.type").into(),
        text_or(str_at(service, "spec.clusterIP"), "<none>").into(),
        external_ip(service).into(),
        ports_text(service).into(),
        table::age(service, now),
        table::labels_text(at(service, "spec.selector")).into(),
    ]
}

fn external_ip(service: &Value) -> Cow<'_, str> {
    let none = match str_at(service, "spec.type") {
        "ClusterIP" | "NodePort" => "<none>",
        "LoadBalancer" => "<pending>",
        "ExternalName" => return str_at(service, "spec.externalName").into(),
        _ => return "<unknown>".into(),
    };
    let mut addresses: Vec<&str> = list_at(service, "status.loadBalancer.ingress")
        .iter()
        .map(|ingress| text_or(str_at(ingress, "ip"), str_at(ingress, "hostname")))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.extend(list_at(service, "spec.externalIPs").iter().filter_map(Value::as_str));
    if addresses.is_empty() { none.into() } else { addresses.join(",").into() }
}

fn ports_text(service: &Value) -> String {
    let port_text = |port: &Value| {
        let number = i64_at(port, "port").unwrap_or(0);
        let protocol = str_at(port, "protocol");
        match i64_at(port, "nodePort") {
            Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let texts: Vec<String> = list_at(service, "spec.ports").iter().map(port_text).collect();
    if texts.is_empty() { "<none>".to_owned() } else { texts.join(",") }
}

fn prepare_create(service: &mut Value) {
    set(service, "status", json!({"loadBalancer": {}}));
    rules::list_cluster_ip(service);
}

// === Defaults ===

fn default(service: &mut Value) {
    set_default_text(service, "spec.type", "ClusterIP");
    set_default_text(service, "spec.sessionAffinity", "None");
    match str_at(service, "spec.sessionAffinity") {
        "ClientIP" => set_default(
            service,
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            SESSION_SECONDS,
        ),
        _ => remove(service, "spec.sessionAffinityConfig"),
    }
    for port in items_mut(service, "spec.ports") {
        default_port(port);
    }
    if str_at(service, "spec.type") != "ExternalName" {
        set_default_text(service, "spec.internalTrafficPolicy", "Cluster");
    }
    if reachable_from_outside(service) {
        set_default_text(service, "spec.externalTrafficPolicy", "Cluster");
    }
    if str_at(service, "spec.type") == "LoadBalancer" {
        set_default(service, "spec.allocateLoadBalancerNodePorts", true);
        for ingress in items_mut(service, "status.loadBalancer.ingress") {
            if is_set(ingress, "ip") {
                set_default(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn default_port(port: &mut Value) {
    set_default_text(port, "protocol", "TCP");
    let target = at(port, "targetPort");
    if target.is_null() || target == 0 || target == "" {
        set(port, "targetPort", at(port, "port").clone());
    }
}

/// Whether it has an address of its own.
pub fn has_cluster_ip(service: &Value) -> bool {
    matches!(str_at(service, "spec.type"), "" | "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether its ports are opened on every node.
pub fn has_node_ports(service: &Value) -> bool {
    match str_at(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => {
            at(service, "spec.allocateLoadBalancerNodePorts").as_bool().unwrap_or(true)
        }
        _ => false,
    }
}

/// Whether a load balancer asks each node if it has endpoints.
pub fn needs_health_check(service: &Value) -> bool {
    str_at(service, "spec.type") == "LoadBalancer"
        && str_at(service, "spec.externalTrafficPolicy") == "Local"
}

/// Whether traffic from outside the cluster can come in.
fn reachable_from_outside(service: &Value) -> bool {
    match str_at(service, "spec.type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list_at(service, "spec.externalIPs").is_empty(),
        _ => false,
    }
}

/// Where Kubernetes warns.
fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if str_at(service, "spec.clusterIP") == "None" {
        if is_set(service, "spec.loadBalancerIP") {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if !list_at(service, "spec.externalIPs").is_empty() {
            warnings.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if str_at(service, "spec.sessionAffinity") == "ClientIP" {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    } else if !list_at(service, "spec.externalIPs").is_empty() {
        warnings.push(match str_at(service, "spec.type") {
            "ExternalName" => {
                "spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned()
            }
            _ => "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                .to_owned(),
        });
    }
    if str_at(service, "spec.type") != "ExternalName" && is_set(service, "spec.externalName") {
        let detail = "spec.externalName is ignored when spec.type is not \"ExternalName\"";
        warnings.push(detail.to_owned());
    }
    if str_at(service, "spec.trafficDistribution") == "PreferClose" {
        warnings.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""
                .to_owned(),
        );
    }
    warnings
}

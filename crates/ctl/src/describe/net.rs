//! NetworkPolicies, Endpoints, EndpointSlices, IngressClasses, ServiceCIDRs, IPAddresses.

use onggi_machinery::table::selector_text;
use onggi_machinery::value::{at, i64_at, list_at, str_at, time_at};
use serde_json::Value;

use super::text::{Text, or, time};
use crate::jsonpath::text_of;

pub(super) fn policy(text: &mut Text, policy: &Value) {
    text.field(0, "Name", str_at(policy, "metadata.name"));
    text.field(0, "Namespace", str_at(policy, "metadata.namespace"));
    let created = time_at(policy, "metadata.creationTimestamp").and_then(|seconds| {
        let time = jiff::Timestamp::from_second(seconds).ok()?;
        let zoned = time.to_zoned(jiff::tz::TimeZone::system());
        Some(zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string())
    });
    text.field(0, "Created on", &created.unwrap_or_default());
    text.labels(policy);
    text.annotations(policy);
    text.line(0, "Spec:");
    let selector = at(policy, "spec.podSelector");
    let all = list_at(selector, "matchExpressions").is_empty()
        && at(selector, "matchLabels").as_object().is_none_or(serde_json::Map::is_empty);
    let selected = if all {
        "<none> (Allowing the specific traffic to all pods in this namespace)".to_owned()
    } else {
        selector_text(selector)
    };
    text.line(1, &format!("PodSelector:     {selected}"));
    let types: Vec<&str> =
        list_at(policy, "spec.policyTypes").iter().filter_map(Value::as_str).collect();
    for (kind, way, rules, peers, peer, place) in [
        ("Ingress", "ingress", "spec.ingress", "from", "From", "source"),
        ("Egress", "egress", "spec.egress", "to", "To", "destination"),
    ] {
        let is_meant = types.contains(&kind) || (types.is_empty() && kind == "Ingress");
        if !is_meant {
            text.line(1, &format!("Not affecting {way} traffic"));
            continue;
        }
        text.line(1, &format!("Allowing {way} traffic:"));
        let rules = list_at(policy, rules);
        if rules.is_empty() {
            text.line(2, &format!("<none> (Selected pods are isolated for {way} connectivity)"));
        }
        for (number, rule) in rules.iter().enumerate() {
            if number > 0 {
                text.line(2, "----------");
            }
            let ports = list_at(rule, "ports");
            if ports.is_empty() {
                text.line(2, "To Port: <any> (traffic allowed to all ports)");
            }
            for port in ports {
                let number = text_of(at(port, "port"));
                let protocol = or(str_at(port, "protocol"), "TCP");
                text.line(
                    2,
                    &match i64_at(port, "endPort") {
                        Some(end) => format!("To Port Range: {number}-{end}/{protocol}"),
                        None => format!("To Port: {number}/{protocol}"),
                    },
                );
            }
            let others = list_at(rule, peers);
            if others.is_empty() {
                text.line(2, &format!("{peer}: <any> (traffic not restricted by {place})"));
            }
            for other in others {
                text.line(2, &format!("{peer}:"));
                for (label, field) in
                    [("NamespaceSelector", "namespaceSelector"), ("PodSelector", "podSelector")]
                {
                    let selector = at(other, field);
                    if !selector.is_null() {
                        let shown = selector_text(selector);
                        text.line(3, &format!("{label}: {}", or(&shown, "<none>")));
                    }
                }
                let block = at(other, "ipBlock");
                if !block.is_null() {
                    let except: Vec<&str> =
                        list_at(block, "except").iter().filter_map(Value::as_str).collect();
                    text.line(3, "IPBlock:");
                    text.line(4, &format!("CIDR: {}", str_at(block, "cidr")));
                    text.line(4, &format!("Except: {}", except.join(", ")));
                }
            }
        }
    }
    text.line(1, &format!("Policy Types: {}", types.join(", ")));
}

fn ports(text: &mut Text, level: usize, ports: &[Value]) {
    text.line(level, "Name\tPort\tProtocol");
    text.line(level, "----\t----\t--------");
    for port in ports {
        let name = or(str_at(port, "name"), "<unset>");
        let number = i64_at(port, "port").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
        text.line(level, &format!("{name}\t{number}\t{}", str_at(port, "protocol")));
    }
}

pub(super) fn endpoints(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    text.labels(object);
    text.annotations(object);
    text.line(0, "Subsets:");
    for subset in list_at(object, "subsets") {
        for (label, field) in
            [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")]
        {
            let all: Vec<&str> = list_at(subset, field).iter().map(|a| str_at(a, "ip")).collect();
            text.field(1, label, or(&all.join(","), "<none>"));
        }
        let all = list_at(subset, "ports");
        if !all.is_empty() {
            text.line(1, "Ports:");
            ports(text, 2, all);
        }
        text.line(0, "");
    }
}

pub(super) fn slice(text: &mut Text, slice: &Value) {
    text.field(0, "Name", str_at(slice, "metadata.name"));
    text.field(0, "Namespace", str_at(slice, "metadata.namespace"));
    text.labels(slice);
    text.annotations(slice);
    text.field(0, "AddressType", str_at(slice, "addressType"));
    let all = list_at(slice, "ports");
    if all.is_empty() {
        text.line(0, "Ports: <unset>");
    } else {
        text.line(0, "Ports:");
        ports(text, 1, all);
    }
    let ends = list_at(slice, "endpoints");
    if ends.is_empty() {
        text.line(0, "Endpoints: <none>");
        return;
    }
    text.line(0, "Endpoints:");
    for end in ends {
        let addresses: Vec<&str> =
            list_at(end, "addresses").iter().filter_map(Value::as_str).collect();
        text.line(1, &format!("- Addresses:\t{}", addresses.join(", ")));
        text.line(2, "Conditions:");
        let ready = at(end, "conditions.ready").as_bool();
        let ready = ready.map_or("<unset>".to_owned(), |ready| ready.to_string());
        text.field(3, "Ready", &ready);
        text.field(2, "Hostname", or(str_at(end, "hostname"), "<unset>"));
        let target = at(end, "targetRef");
        if !target.is_null() {
            let of = |field: &str| str_at(target, field);
            text.field(2, "TargetRef", &format!("{}/{}", of("kind"), of("name")));
        }
        text.field(2, "NodeName", or(str_at(end, "nodeName"), "<unset>"));
        text.field(2, "Zone", or(str_at(end, "zone"), "<unset>"));
    }
}

pub(super) fn ingress_class(text: &mut Text, class: &Value) {
    text.field(0, "Name", str_at(class, "metadata.name"));
    text.labels(class);
    text.annotations(class);
    text.field(0, "Controller", str_at(class, "spec.controller"));
    let parameters = at(class, "spec.parameters");
    if !parameters.is_null() {
        text.line(0, "Parameters:");
        for (label, field) in [("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")] {
            text.some(1, label, str_at(parameters, field));
        }
    }
}

pub(super) fn service_cidr(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.labels(object);
    text.annotations(object);
    let cidrs: Vec<&str> = list_at(object, "spec.cidrs").iter().filter_map(Value::as_str).collect();
    text.field(0, "CIDRs", &cidrs.join(", "));
    let conditions = list_at(object, "status.conditions");
    if conditions.is_empty() {
        return;
    }
    text.line(0, "Status:\nConditions:");
    text.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
    text.line(1, "----\t------\t------------------\t------\t-------");
    for condition in conditions {
        let of = |field: &str| str_at(condition, field);
        let when = time(condition, "lastTransitionTime");
        let cells = [of("type"), of("status"), &when, of("reason"), of("message")];
        text.line(1, &cells.join("\t"));
    }
}

pub(super) fn address(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.labels(object);
    text.annotations(object);
    let parent = at(object, "spec.parentRef");
    if parent.is_null() {
        return;
    }
    text.line(0, "Parent Reference:");
    for (label, field) in
        [("Group", "group"), ("Resource", "resource"), ("Namespace", "namespace"), ("Name", "name")]
    {
        text.field(1, label, str_at(parent, field));
    }
}

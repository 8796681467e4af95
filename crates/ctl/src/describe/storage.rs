//! Volumes, claims and classes; Ingresses.

use onggi_machinery::table::human_duration;
use onggi_machinery::value::{at, entries_at, i64_at, list_at, str_at, time_at};
use serde_json::Value;

use super::batch::bracketed;
use super::text::{Text, or, time};
use crate::jsonpath::text_of;

/// `RWO,ROX`.
fn modes(list: &[Value]) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    list.iter().map(short).collect::<Vec<_>>().join(",")
}

pub(super) fn claim(text: &mut Text, claim: &Value, pods: &[Value]) {
    text.field(0, "Name", str_at(claim, "metadata.name"));
    text.field(0, "Namespace", str_at(claim, "metadata.namespace"));
    text.field(0, "StorageClass", str_at(claim, "spec.storageClassName"));
    let going = !str_at(claim, "metadata.deletionTimestamp").is_empty();
    text.field(0, "Status", if going { "Terminating" } else { str_at(claim, "status.phase") });
    text.field(0, "Volume", str_at(claim, "spec.volumeName"));
    text.labels(claim);
    text.annotations(claim);
    text.field(0, "Finalizers", &bracketed(list_at(claim, "metadata.finalizers")));
    let bound = !str_at(claim, "spec.volumeName").is_empty();
    let (capacity, access) = if bound {
        (str_at(claim, "status.capacity.storage"), modes(list_at(claim, "status.accessModes")))
    } else {
        ("", String::new())
    };
    text.field(0, "Capacity", capacity);
    text.field(0, "Access Modes", &access);
    text.some(0, "VolumeMode", str_at(claim, "spec.volumeMode"));
    let source = at(claim, "spec.dataSource");
    if !source.is_null() {
        text.line(0, "DataSource:");
        text.some(1, "APIGroup", str_at(source, "apiGroup"));
        text.field(1, "Kind", str_at(source, "kind"));
        text.field(1, "Name", str_at(source, "name"));
    }
    let name = str_at(claim, "metadata.name");
    let uses = |pod: &&Value| {
        list_at(pod, "spec.volumes")
            .iter()
            .any(|v| str_at(v, "persistentVolumeClaim.claimName") == name)
    };
    let users: Vec<&str> = pods.iter().filter(uses).map(|p| str_at(p, "metadata.name")).collect();
    text.field(0, "Used By", or(&users.join("\n\t"), "<none>"));
}

/// A map on one line: `a=b,c=d`.
pub(super) fn pairs(object: &Value, path: &str) -> String {
    let pairs: Vec<String> = entries_at(object, path)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or(&pairs.join(","), "<none>").to_owned()
}

pub(super) fn volume(text: &mut Text, volume: &Value, now: i64) {
    text.field(0, "Name", str_at(volume, "metadata.name"));
    text.labels(volume);
    text.annotations(volume);
    text.field(0, "Finalizers", &bracketed(list_at(volume, "metadata.finalizers")));
    text.field(0, "StorageClass", str_at(volume, "spec.storageClassName"));
    let status = match time_at(volume, "metadata.deletionTimestamp") {
        Some(since) => format!("Terminating (lasts {})", human_duration(now - since)),
        None => str_at(volume, "status.phase").to_owned(),
    };
    text.field(0, "Status", &status);
    let claim = at(volume, "spec.claimRef");
    let claim = match claim.is_null() {
        true => String::new(),
        false => format!("{}/{}", str_at(claim, "namespace"), str_at(claim, "name")),
    };
    text.field(0, "Claim", &claim);
    text.field(0, "Reclaim Policy", str_at(volume, "spec.persistentVolumeReclaimPolicy"));
    text.field(0, "Access Modes", &modes(list_at(volume, "spec.accessModes")));
    text.some(0, "VolumeMode", str_at(volume, "spec.volumeMode"));
    text.field(0, "Capacity", or(str_at(volume, "spec.capacity.storage"), "0"));
    affinity(text, at(volume, "spec.nodeAffinity.required"));
    text.field(0, "Message", str_at(volume, "status.message"));
    text.line(0, "Source:");
    // Beside the source stand fields that are none.
    const OWN: [&str; 3] = ["capacity", "claimRef", "nodeAffinity"];
    let source = entries_at(volume, "spec")
        .filter(|(name, value)| value.is_object() && !OWN.contains(name))
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    super::pod::source(text, &Value::Object(source));
}

fn affinity(text: &mut Text, required: &Value) {
    if required.is_null() {
        text.field(0, "Node Affinity", "<none>");
        return;
    }
    text.field(0, "Node Affinity", "");
    let terms = list_at(required, "nodeSelectorTerms");
    text.field(1, "Required Terms", if terms.is_empty() { "<none>" } else { "" });
    for (place, term) in terms.iter().enumerate() {
        let expressions = list_at(term, "matchExpressions");
        if expressions.is_empty() {
            text.field(2, &format!("Term {place}"), "<none>");
        }
        for (at, one) in expressions.iter().enumerate() {
            let name = if at == 0 { format!("Term {place}:") } else { String::new() };
            let (key, operator) = (str_at(one, "key"), str_at(one, "operator").to_lowercase());
            let values: Vec<&str> =
                list_at(one, "values").iter().filter_map(Value::as_str).collect();
            let values = match values.is_empty() {
                true => String::new(),
                false => format!(" [{}]", values.join(", ")),
            };
            text.line(2, &format!("{name}\t{key} {operator}{values}"));
        }
    }
}

pub(super) fn attributes(text: &mut Text, class: &Value) {
    text.field(0, "Name", str_at(class, "metadata.name"));
    text.field(0, "Annotations", &pairs(class, "metadata.annotations"));
    text.field(0, "DriverName", str_at(class, "driverName"));
    text.field(0, "Parameters", &pairs(class, "parameters"));
}

pub(super) fn csi_node(text: &mut Text, node: &Value) {
    text.field(0, "Name", str_at(node, "metadata.name"));
    text.labels(node);
    text.annotations(node);
    text.field(0, "CreationTimestamp", &time(node, "metadata.creationTimestamp"));
    text.line(0, "Spec:");
    let drivers = at(node, "spec.drivers");
    if !drivers.is_null() {
        text.line(1, "Drivers:");
    }
    for driver in list_at(node, "spec.drivers") {
        text.line(2, &format!("{}:", str_at(driver, "name")));
        text.field(3, "Node ID", str_at(driver, "nodeID"));
        let count = at(driver, "allocatable.count");
        if !count.is_null() {
            text.line(3, "Allocatables:");
            text.field(4, "Count", &text_of(count));
        }
        if !at(driver, "topologyKeys").is_null() {
            text.field(3, "Topology Keys", &bracketed(list_at(driver, "topologyKeys")));
        }
    }
}

pub(super) fn class(text: &mut Text, class: &Value) {
    text.field(0, "Name", str_at(class, "metadata.name"));
    let default =
        at(class, "metadata.annotations").get("storageclass.kubernetes.io/is-default-class");
    let is_default = default.is_some_and(|value| value == "true");
    text.field(0, "IsDefaultClass", if is_default { "Yes" } else { "No" });
    text.field(0, "Annotations", &pairs(class, "metadata.annotations"));
    text.field(0, "Provisioner", str_at(class, "provisioner"));
    text.field(0, "Parameters", &pairs(class, "parameters"));
    let grows = at(class, "allowVolumeExpansion").as_bool();
    let grows = match grows {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    text.field(0, "AllowVolumeExpansion", grows);
    let options = list_at(class, "mountOptions");
    if options.is_empty() {
        text.field(0, "MountOptions", "<none>");
    } else {
        text.line(0, "MountOptions:");
        options.iter().for_each(|option| text.line(1, &text_of(option)));
    }
    text.some(0, "ReclaimPolicy", str_at(class, "reclaimPolicy"));
    text.some(0, "VolumeBindingMode", str_at(class, "volumeBindingMode"));
    let topologies = list_at(class, "allowedTopologies");
    if !topologies.is_empty() {
        text.line(0, "AllowedTopologies:\t");
    }
    for (place, term) in topologies.iter().enumerate() {
        let expressions = list_at(term, "matchLabelExpressions");
        if expressions.is_empty() {
            text.field(1, &format!("Term {place}"), "<none>");
        }
        for (at, one) in expressions.iter().enumerate() {
            let name = if at == 0 { format!("Term {place}:") } else { String::new() };
            let values: Vec<String> = list_at(one, "values").iter().map(text_of).collect();
            let values = match values.is_empty() {
                true => String::new(),
                false => format!(" [{}]", values.join(", ")),
            };
            text.line(1, &format!("{name}\t{} in{values}", str_at(one, "key")));
        }
    }
}

/// `services` hold those that the backends name, with their addresses.
pub(super) fn ingress(text: &mut Text, ingress: &Value, services: &[Value]) {
    text.field(0, "Name", str_at(ingress, "metadata.name"));
    text.labels(ingress);
    text.field(0, "Namespace", str_at(ingress, "metadata.namespace"));
    let addresses: Vec<&str> = list_at(ingress, "status.loadBalancer.ingress")
        .iter()
        .map(|one| or(str_at(one, "ip"), str_at(one, "hostname")))
        .collect();
    text.field(0, "Address", &addresses.join(","));
    text.field(0, "Ingress Class", or(str_at(ingress, "spec.ingressClassName"), "<none>"));
    let default = at(ingress, "spec.defaultBackend");
    let shown = if default.is_null() { "<default>".to_owned() } else { backend(default, services) };
    text.field(0, "Default backend", &shown);
    let certificates = list_at(ingress, "spec.tls");
    if !certificates.is_empty() {
        text.line(0, "TLS:");
        for one in certificates {
            let hosts: Vec<&str> = list_at(one, "hosts").iter().filter_map(Value::as_str).collect();
            match str_at(one, "secretName") {
                "" => text.line(1, &format!("SNI routes {}", hosts.join(","))),
                secret => text.line(1, &format!("{secret} terminates {}", hosts.join(","))),
            }
        }
    }
    text.line(0, "Rules:\n  Host\tPath\tBackends\n  ----\t----\t--------");
    let rules = list_at(ingress, "spec.rules");
    for rule in rules {
        text.line(1, &format!("{}\t", or(str_at(rule, "host"), "*")));
        for path in list_at(rule, "http.paths") {
            let place = or(str_at(path, "path"), "");
            text.line(2, &format!("\t{place} \t{}", backend(&path["backend"], services)));
        }
    }
    if rules.is_empty() {
        let shown =
            if default.is_null() { "<default>".to_owned() } else { backend(default, services) };
        text.line(1, &format!("*\t* \t{shown}"));
    }
    text.annotations(ingress);
}

fn backend(backend: &Value, services: &[Value]) -> String {
    let resource = at(backend, "resource");
    if !resource.is_null() {
        let of = |field: &str| str_at(resource, field);
        return format!("APIGroup: {}, Kind: {}, Name: {}", of("apiGroup"), of("kind"), of("name"));
    }
    let name = str_at(backend, "service.name");
    let port = at(backend, "service.port");
    let port = match str_at(port, "name") {
        "" => text_of(at(port, "number")),
        name => name.to_owned(),
    };
    let known = services.iter().find(|service| str_at(service, "metadata.name") == name);
    let ends = match known {
        None => format!("<error: services {name:?} not found>"),
        Some(service) => {
            let number = at(backend, "service.port.number").as_i64();
            let wanted = str_at(backend, "service.port.name");
            let fits = |port: &&Value| match number {
                Some(number) => i64_at(port, "port") == Some(number),
                None => str_at(port, "name") == wanted,
            };
            let port = list_at(service, "spec.ports").iter().rfind(fits);
            let port = port.map_or("", |port| str_at(port, "name"));
            super::rest::addresses(list_at(service, "slices"), port)
        }
    };
    format!("{name}:{port} ({ends})")
}

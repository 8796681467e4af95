//! Services, namespaces, ConfigMaps, Secrets, service accounts, and kinds that have no layout of
//! their own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_machinery::table::selector_text;
use onggi_machinery::value::{at, entries_at, i64_at, list_at, str_at};
use serde_json::{Value, json};

use super::policy;
use super::text::{Text, or};
use crate::jsonpath::text_of;

pub(super) fn service(text: &mut Text, service: &Value, slices: &[Value]) {
    let spec = at(service, "spec");
    head(text, service, true);
    let labels = json!({"matchLabels": at(spec, "selector")});
    text.field(0, "Selector", or(&selector_text(&labels), "<none>"));
    text.field(0, "Type", str_at(spec, "type"));
    let joined = |path: &str| {
        let texts: Vec<String> = list_at(spec, path).iter().map(text_of).collect();
        texts.join(",")
    };
    let is_name = str_at(spec, "type") == "ExternalName";
    if !is_name {
        text.field(0, "IP Family Policy", or(str_at(spec, "ipFamilyPolicy"), "<none>"));
    }
    text.field(0, "IP Families", or(&joined("ipFamilies"), "<none>"));
    text.field(0, "IP", or(str_at(spec, "clusterIP"), if is_name { "" } else { "<none>" }));
    text.field(0, "IPs", or(&joined("clusterIPs"), "<none>"));
    text.some(0, "External IPs", &joined("externalIPs"));
    text.some(0, "External Name", str_at(spec, "externalName"));
    for port in list_at(spec, "ports") {
        let name = or(str_at(port, "name"), "<unset>");
        let number = |field: &str| i64_at(port, field).unwrap_or(0);
        let protocol = str_at(port, "protocol");
        text.line(0, &format!("Port:\t{name}\t{}/{protocol}", number("port")));
        let target = match at(port, "targetPort") {
            Value::String(name) => name.clone(),
            target => target.to_string(),
        };
        text.field(0, "TargetPort", &format!("{target}/{protocol}"));
        if number("nodePort") > 0 {
            text.line(0, &format!("NodePort:\t{name}\t{}/{protocol}", number("nodePort")));
        }
        text.field(0, "Endpoints", &endpoints(slices, str_at(port, "name")));
    }
    text.field(0, "Session Affinity", str_at(spec, "sessionAffinity"));
    text.some(0, "External Traffic Policy", str_at(spec, "externalTrafficPolicy"));
    text.some(0, "Internal Traffic Policy", str_at(spec, "internalTrafficPolicy"));
    text.some(0, "LoadBalancer Source Ranges", &joined("loadBalancerSourceRanges"));
}

/// The first three ready addresses behind a port.
fn endpoints(slices: &[Value], port: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut found = Vec::new();
    for slice in slices {
        let number = list_at(slice, "ports").iter().find(|p| str_at(p, "name") == port);
        let Some(number) = number.and_then(|p| i64_at(p, "port")) else { continue };
        for endpoint in list_at(slice, "endpoints") {
            let ready = at(endpoint, "conditions.ready").as_bool().unwrap_or(true);
            let addresses = list_at(endpoint, "addresses").iter().filter_map(Value::as_str);
            if ready {
                found.extend(addresses.map(|address| format!("{address}:{number}")));
            }
        }
    }
    if found.len() > 3 {
        let more = found.len() - 3;
        return format!("{} + {more} more...", found[..3].join(","));
    }
    found.join(",")
}

/// The first ready addresses behind a port of some slices, as an Ingress shows them.
pub(super) fn addresses(slices: &[Value], port: &str) -> String {
    match endpoints(slices, port).as_str() {
        "<none>" => String::new(),
        text => text.to_owned(),
    }
}

/// `bounds`: its quotas and ranges of limits.
pub(super) fn namespace(text: &mut Text, namespace: &Value, bounds: &[Value]) {
    head(text, namespace, false);
    text.field(0, "Status", str_at(namespace, "status.phase"));
    let of = |kind: &str| -> Vec<&Value> {
        bounds.iter().filter(|object| str_at(object, "kind") == kind).collect()
    };
    policy::quotas(text, &of("ResourceQuota"));
    policy::ranges(text, &of("LimitRange"));
}

pub(super) fn config_map(text: &mut Text, map: &Value) {
    head(text, map, true);
    text.line(0, "\nData\n====");
    for (key, value) in entries_at(map, "data") {
        text.line(0, &format!("{key}:\n----\n{}\n", value.as_str().unwrap_or_default()));
    }
    text.line(0, "\nBinaryData\n====");
    for (key, value) in entries_at(map, "binaryData") {
        text.line(0, &format!("{key}: {} bytes", length(value)));
    }
    text.line(0, "");
}

pub(super) fn secret(text: &mut Text, secret: &Value) {
    head(text, secret, true);
    text.line(0, &format!("\nType:\t{}", str_at(secret, "type")));
    text.line(0, "\nData\n====");
    for (key, value) in entries_at(secret, "data") {
        text.line(0, &format!("{key}:\t{} bytes", length(value)));
    }
}

fn length(base64: &Value) -> usize {
    BASE64_STANDARD.decode(base64.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len())
}

pub(super) fn service_account(text: &mut Text, account: &Value) {
    head(text, account, true);
    let names = |path: &str| {
        let names: Vec<&str> = list_at(account, path).iter().map(|s| str_at(s, "name")).collect();
        or(&names.join("\n\t"), "<none>").to_owned()
    };
    text.field(0, "Image pull secrets", &names("imagePullSecrets"));
}

fn head(text: &mut Text, object: &Value, namespaced: bool) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    if namespaced {
        text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    }
    text.labels(object);
    text.annotations(object);
}

/// Every field by its name, as kubectl describes what it has no layout for.
pub(super) fn any(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    text.labels(object);
    text.annotations(object);
    let mut metadata = at(object, "metadata").clone();
    if let Some(map) = metadata.as_object_mut() {
        for told in ["name", "namespace", "labels", "annotations", "managedFields"] {
            map.remove(told);
        }
    }
    for (key, value) in object.as_object().into_iter().flatten() {
        fields(text, 0, key, if key == "metadata" { &metadata } else { value });
    }
}

fn fields(text: &mut Text, level: usize, name: &str, value: &Value) {
    let label = spaced(name);
    match value {
        Value::Object(map) => {
            text.line(level, &format!("{label}:"));
            for (key, value) in map {
                fields(text, level + 1, key, value);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            text.line(level, &format!("{label}:"));
            for item in items {
                match item {
                    Value::Object(map) => {
                        for (key, value) in map {
                            fields(text, level + 1, key, value);
                        }
                    }
                    Value::Array(inner) => {
                        let inner: Vec<String> = inner.iter().map(text_of).collect();
                        text.line(level + 1, &format!("[{}]", inner.join(" ")));
                    }
                    other => text.line(level + 1, &text_of(other)),
                }
            }
        }
        Value::Array(items) => {
            text.line(level, &format!("{label}:"));
            items.iter().for_each(|item| text.line(level + 1, &text_of(item)));
        }
        Value::Null => text.field(level, &label, "<nil>"),
        other => text.field(level, &label, &text_of(other)),
    }
}

/// `creationTimestamp` as `Creation Timestamp`, with kubectl's view of where a word ends.
fn spaced(name: &str) -> String {
    const ACRONYMS: [&str; 5] = ["API", "URL", "UID", "OSB", "GUID"];
    if !name.chars().all(|c| c.is_alphabetic() || c == '-') {
        return name.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for c in name.chars() {
        let case = (c.is_uppercase(), c.is_lowercase());
        // Of several capitals the last begins the word in small letters behind them.
        let begun = (before == Some((true, false)) && case.1)
            .then(|| words.last_mut().and_then(String::pop))
            .flatten();
        match begun {
            Some(capital) => words.push(format!("{capital}{c}")),
            None => match words.last_mut() {
                Some(word) if before == Some(case) => word.push(c),
                _ => words.push(c.to_string()),
            },
        }
        before = Some(case);
    }
    words.retain(|word| !word.is_empty());
    // Several capitals belong to the word behind them.
    let capitals = |word: &str| word.chars().count() > 1 && word.chars().all(char::is_uppercase);
    let mut merged: Vec<String> = Vec::new();
    let mut merges = false;
    for word in words {
        let begins = word.starts_with(char::is_uppercase);
        match merged.last_mut().filter(|_| std::mem::take(&mut merges) && begins) {
            Some(last) => last.push_str(&word),
            None => {
                merges = capitals(&word);
                merged.push(word);
            }
        }
    }
    let mut words = merged;
    // Several of them: `URLs`.
    if let [.., last, end] = words.as_mut_slice()
        && end == "Ls"
        && last == "UR"
    {
        last.push_str("Ls");
        words.pop();
    }
    for word in &mut words {
        let capitals = word.to_uppercase();
        if ACRONYMS.contains(&capitals.as_str()) {
            *word = capitals;
        } else if let Some(first) = word.chars().next() {
            *word = format!("{}{}", first.to_uppercase(), &word[first.len_utf8()..]);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::spaced;

    #[test]
    fn words_as_kubectl_divides_them() {
        for (name, label) in [
            ("creationTimestamp", "Creation Timestamp"),
            ("uid", "UID"),
            ("apiGroups", "API Groups"),
            ("nonResourceURLs", "Non Resource URLs"),
            ("clusterIP", "Cluster IP"),
            ("HTTPServer", "HTTPServer"),
            ("f:spec", "f:spec"),
            ("x509", "x509"),
        ] {
            assert_eq!(spaced(name), label);
        }
    }
}

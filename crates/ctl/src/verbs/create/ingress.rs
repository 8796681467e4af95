//! An Ingress from rules on one line each.

use serde_json::{Value, json};

use super::{Common, key_values, object};
use crate::error::Error;

#[derive(Debug, clap::Args)]
pub(super) struct Ingress {
    /// Its name
    name: String,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]
    #[arg(long, value_name = "HOST/PATH=SERVICE:PORT")]
    rule: Vec<String>,
    /// The class of the controller
    #[arg(long)]
    class: Option<String>,
    /// SERVICE:PORT for what no rule fits
    #[arg(long, value_name = "SERVICE:PORT")]
    default_backend: Option<String>,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// `svc:80`, `svc:http`.
fn backend(text: &str) -> Value {
    let (service, port) = text.split_once(':').unwrap_or((text, ""));
    let port = match port.parse::<u16>() {
        Ok(number) => json!({"number": number}),
        Err(_) => json!({"name": port}),
    };
    json!({"service": {"name": service, "port": port}})
}

impl Ingress {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let Self { name, rule, class, default_backend, annotation, common } = self;
        if rule.is_empty() && default_backend.is_none() {
            return Err(Error::new(
                "not enough information provided: every ingress has to either specify a \
                 default-backend (which catches all traffic) or a list of rules (which catch \
                 specific paths)",
            ));
        }
        let mut spec = json!({});
        if let Some(class) = class {
            spec["ingressClassName"] = json!(class);
        }
        if let Some(text) = default_backend {
            let is_pair =
                text.split(':').count() == 2 && !text.starts_with(':') && !text.ends_with(':');
            if !is_pair {
                return Err(Error::new(
                    "default-backend should be in format servicename:serviceport",
                ));
            }
            spec["defaultBackend"] = backend(&text);
        }
        let mut hosts: Vec<(String, Vec<Value>)> = Vec::new();
        let mut certificates: Vec<Value> = Vec::new();
        for text in &rule {
            let wrong = || {
                Error::new(format!(
                    "rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
                ))
            };
            let (place, rest) = text.split_once('=').ok_or_else(wrong)?;
            let (host, path) = place.split_once('/').ok_or_else(wrong)?;
            let mut parts = rest.split(',');
            let target = parts.next().unwrap_or_default();
            if target.split(':').count() != 2 || target.starts_with(':') || target.ends_with(':') {
                return Err(wrong());
            }
            if let Some(tls) = parts.next() {
                let mut entry = json!({});
                if !host.is_empty() {
                    entry["hosts"] = json!([host]);
                }
                match tls.split_once('=') {
                    Some(("tls", secret)) => entry["secretName"] = json!(secret),
                    None if tls == "tls" => {}
                    _ => return Err(wrong()),
                }
                if entry.as_object().is_some_and(|map| !map.is_empty()) {
                    certificates.push(entry);
                }
            }
            // A star at the end stands for all below.
            let (path, kind) = match path.strip_suffix('*') {
                Some(prefix) => (prefix, "Prefix"),
                None => (path, "Exact"),
            };
            let path =
                json!({"backend": backend(target), "path": format!("/{path}"), "pathType": kind});
            match hosts.iter_mut().find(|(known, _)| known == host) {
                Some((_, paths)) => paths.push(path),
                None => hosts.push((host.to_owned(), vec![path])),
            }
        }
        let rules = hosts.into_iter().map(|(host, paths)| match host.as_str() {
            "" => json!({"http": {"paths": paths}}),
            host => json!({"host": host, "http": {"paths": paths}}),
        });
        let rules: Vec<Value> = rules.collect();
        for (field, list) in [("rules", rules), ("tls", certificates)] {
            if !list.is_empty() {
                spec[field] = Value::Array(list);
            }
        }
        let fields = json!({"spec": spec, "status": {"loadBalancer": {}}});
        let mut made = object("networking.k8s.io/v1", "Ingress", &name, fields);
        let annotations = key_values(&annotation)?;
        if !annotations.is_empty() {
            made["metadata"]["annotations"] = Value::Object(annotations);
        }
        Ok((made, common))
    }
}

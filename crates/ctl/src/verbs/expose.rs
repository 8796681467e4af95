//! `expose`: a Service for the pods of a workload.

use onggi_machinery::value::{at, entries_at, list_at, str_at};
use serde_json::{Map, Value, json};

use super::create::{Common, key_values, print_or_send};
use super::run::overridden;
use crate::apply::annotate;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{Found, Selectors};
use crate::session::Session;

/// Flags of `expose`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Name of the Service; that of the object without it
    #[arg(long, default_value = "")]
    name: String,
    /// Port of the Service
    #[arg(long, default_value = "")]
    port: String,
    /// Port of the container, by number or name
    #[arg(long, default_value = "")]
    target_port: String,
    /// TCP, UDP or SCTP
    #[arg(long, default_value = "")]
    protocol: String,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", default_value = "")]
    kind: String,
    /// Labels of the pods, where the object does not say them
    #[arg(long, default_value = "")]
    selector: String,
    /// Labels of the Service
    #[arg(long, short, default_value = "", value_name = "KEY=VALUE,…")]
    labels: String,
    /// An address that is routed to the cluster
    #[arg(long, default_value = "")]
    external_ip: String,
    /// Address of the load balancer
    #[arg(long, default_value = "")]
    load_balancer_ip: String,
    /// Its address, or None
    #[arg(long, default_value = "")]
    cluster_ip: String,
    /// None or ClientIP
    #[arg(long, default_value = "")]
    session_affinity: String,
    /// JSON that is laid over the Service
    #[arg(long, value_name = "JSON")]
    overrides: Option<String>,
    /// How it is laid: json, merge or strategic
    #[arg(long, default_value = "merge", value_parser = ["json", "merge", "strategic"])]
    override_type: String,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// Creates the Services.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let none = Selectors::default();
        let wanted = Wanted::new(&self.args, &self.files, &none);
        let (found, mut errors) = session.gather(&wanted).await?.or_nothing("expose")?;
        for one in &found {
            if let Err(error) = self.one(session, one).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(&self, session: &Session, one: &Found) -> Result<(), Error> {
        let mut service = self.service(one)?;
        if let Some(overrides) = &self.overrides {
            service = overridden(service, overrides, &self.override_type)?;
        }
        if self.common.save_config {
            annotate(&mut service);
        }
        print_or_send(session, service, &self.common, "kubectl-expose", "exposed").await
    }

    fn service(&self, one: &Found) -> Result<Value, Error> {
        let kind = one.mapping.kind.as_str();
        let exposable = ["ReplicationController", "Service", "Pod", "Deployment", "ReplicaSet"];
        if !exposable.contains(&kind) {
            return Err(Error::new(format!("cannot expose a {kind}")));
        }
        let object = &one.value;
        let mut labels = key_values(&split(&self.labels))?;
        if labels.is_empty() {
            labels = map_at(object, "metadata.labels");
        }
        let selector = match self.selector.as_str() {
            "" => selector_of(kind, object)?,
            text => key_values(&split(text))?,
        };
        let mut spec = json!({"selector": selector});
        let ports = self.ports(kind, object)?;
        if !ports.is_empty() {
            spec["ports"] = Value::Array(ports);
        }
        for (field, text) in [
            ("type", &self.kind),
            ("loadBalancerIP", &self.load_balancer_ip),
            ("sessionAffinity", &self.session_affinity),
            ("clusterIP", &self.cluster_ip),
        ] {
            let unused = field == "loadBalancerIP" && self.kind != "LoadBalancer";
            if !text.is_empty() && !unused {
                spec[field] = json!(text);
            }
        }
        if !self.external_ip.is_empty() {
            spec["externalIPs"] = json!([self.external_ip]);
        }
        let name = if self.name.is_empty() { one.name() } else { &self.name };
        // Longer names of workloads are cut to what a Service may have.
        let name = name.get(..63).unwrap_or(name);
        let mut metadata = json!({"name": name});
        if !labels.is_empty() {
            metadata["labels"] = Value::Object(labels);
        }
        Ok(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec,
            "status": {"loadBalancer": {}},
        }))
    }

    fn ports(&self, kind: &str, object: &Value) -> Result<Vec<Value>, Error> {
        let of_object = ports_of(kind, object);
        let numbers: Vec<String> = if self.port.is_empty() {
            of_object.iter().map(|(number, _)| number.to_string()).collect()
        } else {
            split(&self.port)
        };
        if numbers.is_empty() && self.cluster_ip != "None" {
            return Err(Error::new("couldn't find port via --port flag or introspection"));
        }
        let several = numbers.len() > 1;
        let port = |(at, text): (usize, &String)| {
            let number: u16 = text.parse().map_err(|_| {
                Error::new(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })?;
            let protocol = if self.protocol.is_empty() {
                let own = of_object.iter().find(|(own, _)| *own == i64::from(number));
                own.map_or("TCP", |(_, protocol)| protocol.as_str())
            } else {
                &self.protocol
            };
            let target = match self.target_port.as_str() {
                "" => json!(number),
                text => text.parse::<u16>().map_or_else(|_| json!(text), |number| json!(number)),
            };
            let mut port = json!({"port": number, "protocol": protocol, "targetPort": target});
            if several {
                port["name"] = json!(format!("port-{}", at + 1));
            }
            Ok(port)
        };
        numbers.iter().enumerate().map(port).collect()
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn map_at(object: &Value, path: &str) -> Map<String, Value> {
    entries_at(object, path).map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

fn selector_of(kind: &str, object: &Value) -> Result<Map<String, Value>, Error> {
    let failed = |text: &str| {
        Error::new(format!(
            "couldn't retrieve selectors via --selector flag or introspection: {text}"
        ))
    };
    let (path, missing) = match kind {
        "Pod" => ("metadata.labels", "the pod has no labels and cannot be exposed"),
        "Service" => ("spec.selector", "the service has no pod selector set"),
        "ReplicationController" => ("spec.selector", "the replication controller has no selector"),
        _ => {
            if !list_at(object, "spec.selector.matchExpressions").is_empty() {
                return Err(failed("couldn't convert expressions to a map-based selector"));
            }
            (
                "spec.selector.matchLabels",
                "invalid deployment no selectors, therefore cannot be exposed",
            )
        }
    };
    let map = map_at(object, path);
    if map.is_empty() { Err(failed(missing)) } else { Ok(map) }
}

/// The ports of an object, each once, with their protocols.
fn ports_of(kind: &str, object: &Value) -> Vec<(i64, String)> {
    let mut ports = Vec::new();
    let mut add = |number: Option<i64>, protocol: &str| {
        let protocol = if protocol.is_empty() { "TCP" } else { protocol };
        let port = (number.unwrap_or(0), protocol.to_owned());
        if !ports.contains(&port) {
            ports.push(port);
        }
    };
    if kind == "Service" {
        for port in list_at(object, "spec.ports") {
            add(port["port"].as_i64(), str_at(port, "protocol"));
        }
        return ports;
    }
    let spec = if kind == "Pod" { at(object, "spec") } else { at(object, "spec.template.spec") };
    for container in list_at(spec, "containers") {
        for port in list_at(container, "ports") {
            add(port["containerPort"].as_i64(), str_at(port, "protocol"));
        }
    }
    ports
}

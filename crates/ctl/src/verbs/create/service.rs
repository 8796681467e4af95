//! Services.

use serde_json::{Value, json};

use super::{Common, object};
use crate::error::Error;

#[derive(Debug, clap::Args)]
pub(super) struct Service {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// With an address inside the cluster
    Clusterip(ClusterIp),
    /// With a port on every node
    Nodeport(NodePort),
    /// With an address of a load balancer
    Loadbalancer(Ported),
    /// A name for a host elsewhere
    Externalname(ExternalName),
}

#[derive(Debug, clap::Args)]
struct Ported {
    /// Its name
    name: String,
    /// PORT[:TARGET]
    #[arg(long, value_delimiter = ',', value_name = "PORT[:TARGET]")]
    tcp: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct ClusterIp {
    #[command(flatten)]
    ported: Ported,
    /// Its address, or None
    #[arg(long, default_value = "")]
    clusterip: String,
}

#[derive(Debug, clap::Args)]
struct NodePort {
    #[command(flatten)]
    ported: Ported,
    /// The port of the nodes
    #[arg(long, default_value_t = 0)]
    node_port: u16,
}

#[derive(Debug, clap::Args)]
struct ExternalName {
    #[command(flatten)]
    ported: Ported,
    /// The host
    #[arg(long)]
    external_name: String,
}

impl Ported {
    fn made(self, kind: &str, node_port: u16, needed: bool) -> Result<(Value, Common), Error> {
        let Self { name, tcp, common } = self;
        if needed && tcp.is_empty() {
            return Err(Error::new("at least one tcp port specifier must be provided"));
        }
        let ports = tcp.iter().map(|text| port(text, node_port)).collect::<Result<Vec<_>, _>>()?;
        let mut spec = json!({"selector": {"app": name}, "type": kind});
        if !ports.is_empty() {
            spec["ports"] = Value::Array(ports);
        }
        let fields = json!({"spec": spec, "status": {"loadBalancer": {}}});
        let mut service = object("v1", "Service", &name, fields);
        service["metadata"]["labels"] = json!({"app": name});
        Ok((service, common))
    }
}

/// `80`, `80:8080`, `80:http`.
fn port(text: &str, node_port: u16) -> Result<Value, Error> {
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok();
    let port = number(port).ok_or_else(|| {
        Error::new(format!(
            "invalid port specified: strconv.ParseInt: parsing {port:?}: invalid syntax"
        ))
    })?;
    let target = number(target).map_or_else(|| json!(target), |number| json!(number));
    let mut made = json!({
        "name": text.replace(':', "-"), "port": port, "protocol": "TCP", "targetPort": target,
    });
    if node_port > 0 {
        made["nodePort"] = json!(node_port);
    }
    Ok(made)
}

impl Service {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        match self.kind {
            Kind::Clusterip(ClusterIp { ported, clusterip }) => {
                if clusterip == "None" && !ported.tcp.is_empty() {
                    return Err(Error::new("can not map ports with clusterip=None"));
                }
                let needed = clusterip != "None";
                let (mut service, common) = ported.made("ClusterIP", 0, needed)?;
                if !clusterip.is_empty() {
                    service["spec"]["clusterIP"] = json!(clusterip);
                }
                Ok((service, common))
            }
            Kind::Nodeport(NodePort { ported, node_port }) => {
                ported.made("NodePort", node_port, true)
            }
            Kind::Loadbalancer(ported) => ported.made("LoadBalancer", 0, true),
            Kind::Externalname(ExternalName { ported, external_name }) => {
                let (mut service, common) = ported.made("ExternalName", 0, false)?;
                service["spec"]["externalName"] = json!(external_name);
                Ok((service, common))
            }
        }
    }
}

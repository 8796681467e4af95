//! Services: cluster addresses and node ports.
//!
//! What is given out is not kept apart from the services, so nothing can leak and nothing must be
//! repaired: under one lock the services that are stored say what is taken, and the lock is held
//! until the new one is stored as well.

mod families;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use onggi_api::{Cidr, FieldError, FieldPath, Status};
use onggi_machinery::kinds::service::needs_health_check;
use onggi_machinery::resource;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Claim, Hooks};
use crate::cache::Selection;
use crate::registry::{Registry, text};

/// Gives out addresses and ports.
pub(crate) struct Allocator {
    cidr: Cidr,
    ports: RangeInclusive<u16>,
    known: Arc<Mutex<Known>>,
}

/// What each service holds, by key and revision: only what changed is read again.
#[derive(Default)]
pub(crate) struct Known {
    services: HashMap<String, Holding>,
}

struct Holding {
    revision: u64,
    addresses: Vec<Ipv4Addr>,
    /// Of the nodes.
    ports: Vec<u16>,
}

/// Ports of the nodes that are given out. A number belongs to one service, which may use it once
/// for each protocol.
struct Taken {
    others: HashSet<u16>,
    /// The service's own; that of its health check has no protocol.
    own: Vec<(u16, String)>,
}

pub(super) struct Services;

impl Allocator {
    pub(crate) fn new(cidr: Cidr, ports: RangeInclusive<u16>) -> Self {
        Self { cidr, ports, known: Arc::default() }
    }

    /// The range that addresses are given out from.
    pub(crate) fn range(&self) -> Cidr {
        self.cidr
    }

    /// The address of the `kubernetes` Service: the first of the range.
    pub(crate) fn kubernetes_address(&self) -> Ipv4Addr {
        self.cidr.nth(1).unwrap_or(self.cidr.network())
    }

    async fn lock(&self, registry: &Registry) -> Result<OwnedMutexGuard<Known>, Status> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        let row = resource::by_gvr("", "v1", "services").ok_or_else(Status::no_such_path)?;
        registry.cache.catch_up().await?;
        let all =
            registry.cache.of(row)?.list(&Selection::everything(), registry.cache.applied(), 0);
        let mut services = HashMap::with_capacity(all.items.len());
        for object in &all.items {
            let head = object.head();
            let key = format!("{}/{}", head.namespace, head.name);
            let holding = match known.services.remove(&key) {
                Some(same) if same.revision == head.resource_version => same,
                _ => {
                    Holding::read(&object.value().map_err(Status::internal)?, head.resource_version)
                }
            };
            services.insert(key, holding);
        }
        known.services = services;
        Ok(known)
    }

    /// Gives a service what it asks for or lacks. `old` is what it had.
    fn assign(&self, known: &Known, service: &mut Value, old: &Value) -> Result<(), Status> {
        let name = text(service, "/metadata/name").to_owned();
        let key = format!("{}/{name}", text(service, "/metadata/namespace"));
        if text(service, "/spec/type") == "ExternalName" {
            return Ok(());
        }
        let mut errors = families::assign(service, old);
        if errors.is_empty() {
            self.assign_address(known, &key, service, old, &mut errors);
        }
        let mut taken = known.ports(&key);
        let health = service["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0);
        if let Some(number) = u16::try_from(health).ok().filter(|number| *number > 0) {
            taken.own.push((number, String::new()));
        }
        self.assign_ports(&mut taken, service, old, &mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid("Service", &name, &errors));
        }
        if !needs_health_check(service) {
            return Ok(());
        }
        let number = match u16::try_from(health) {
            Ok(0) => self.free_port(&taken).ok_or_else(|| "range is full".to_owned()),
            Ok(number) if !self.ports.contains(&number) => Err(self.outside()),
            Ok(number) if taken.others.contains(&number) => {
                Err("provided port is already allocated".to_owned())
            }
            Ok(number) => Ok(number),
            // Its rules say so.
            Err(_) => return Ok(()),
        };
        let refused = |why| {
            Status::internal(format!(
                "failed to allocate requested HealthCheck NodePort {health}: {why}"
            ))
        };
        service["spec"]["healthCheckNodePort"] = number.map_err(refused)?.into();
        Ok(())
    }

    fn assign_address(
        &self,
        known: &Known,
        key: &str,
        service: &mut Value,
        old: &Value,
        errors: &mut Vec<FieldError>,
    ) {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let path = FieldPath::new("spec.clusterIPs");
        let first = spec.get("clusterIPs").and_then(|all| all.get(0)).and_then(Value::as_str);
        let asked = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty());
        // What an update leaves out stays.
        let kept = text(old, "/spec/clusterIP");
        let asked = asked.or(first).unwrap_or(kept).to_owned();
        let address = match asked.as_str() {
            "None" => "None".to_owned(),
            "" => match self.free_address(known) {
                Some(address) => address.to_string(),
                None => {
                    let text = "failed to allocate a serviceIP: range is full";
                    errors.push(FieldError::invalid(&path, json!([]), text));
                    return;
                }
            },
            text => match text.parse::<Ipv4Addr>() {
                Err(_) => {
                    let why = "must be a valid IP address, (e.g. 10.9.8.7)";
                    errors.push(FieldError::invalid(&path.index(0), text, why));
                    return;
                }
                Ok(address) if !self.cidr.contains(address) => {
                    let why = format!(
                        "failed to allocate IP {address}: the provided IP ({address}) is not in the \
                         valid range. The range of valid IPs is {}",
                        self.cidr
                    );
                    errors.push(FieldError::invalid(&path, json!([text]), why));
                    return;
                }
                Ok(address) if known.holds_address(key, address) => {
                    let why = format!(
                        "failed to allocate IP {address}: provided IP is already allocated"
                    );
                    errors.push(FieldError::invalid(&path, json!([text]), why));
                    return;
                }
                Ok(address) => address.to_string(),
            },
        };
        if !matches!(kept, "" | "None")
            && kept != address
            && text(old, "/spec/type") != "ExternalName"
        {
            let why = "may not change once set";
            errors.push(FieldError::invalid(&path.index(0), address, why));
            return;
        }
        spec.insert("clusterIP".into(), address.clone().into());
        spec.insert("clusterIPs".into(), json!([address]));
    }

    fn assign_ports(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        old: &Value,
        errors: &mut Vec<FieldError>,
    ) {
        let wanted = matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer");
        // Whoever wants none may still choose one.
        let gives = text(service, "/spec/type") == "NodePort"
            || service["spec"]["allocateLoadBalancerNodePorts"] != false;
        let path = FieldPath::new("spec.ports");
        let old_ports = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let Some(ports) = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else {
            return;
        };
        if !wanted {
            // A service that goes back to ClusterIP gives its ports back.
            if text(old, "/spec/type") == "NodePort" {
                for port in ports.iter_mut().filter_map(Value::as_object_mut) {
                    port.remove("nodePort");
                }
            }
            return;
        }
        let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
        for (index, port) in ports.iter_mut().enumerate() {
            let at = path.index(index).child("nodePort");
            let protocol_name = protocol(port);
            let same = |old: &&Value| old["port"] == port["port"] && protocol(old) == protocol_name;
            let kept = old_ports.iter().find(same).filter(|_| gives);
            let kept = kept.and_then(|old| old["nodePort"].as_u64());
            match port["nodePort"].as_u64().filter(|number| *number > 0).or(kept) {
                Some(number) => {
                    let number = u16::try_from(number).unwrap_or(0);
                    if !self.ports.contains(&number) {
                        errors.push(FieldError::invalid(&at, number, self.outside()));
                    // What it has it keeps, whoever has it too.
                    } else if kept != Some(u64::from(number)) && taken.has(number, &protocol_name) {
                        let why = "provided port is already allocated";
                        errors.push(FieldError::invalid(&at, number, why));
                    }
                    taken.own.push((number, protocol_name));
                    port["nodePort"] = number.into();
                }
                None if !gives => {}
                None => match self.free_port(taken) {
                    Some(number) => {
                        taken.own.push((number, protocol_name));
                        port["nodePort"] = number.into();
                    }
                    None => errors.push(FieldError::invalid(
                        &at,
                        0,
                        "failed to allocate a nodePort: range is full",
                    )),
                },
            }
        }
    }

    /// A random free address of the upper part of the range; of the lower part, which is for those
    /// who choose (`kubernetes`, DNS), only when that is full.
    fn free_address(&self, known: &Known) -> Option<Ipv4Addr> {
        // The last address is the broadcast one.
        let end = u32::try_from(self.cidr.size() - 1).unwrap_or(u32::MAX);
        let (first, low) = (1, (end / 16).clamp(16, 256).min(end));
        let free =
            |index: u32| self.cidr.nth(index).filter(|address| !known.holds_address("", *address));
        let mut random = rand::rng();
        for _ in 0..16 {
            if low < end
                && let Some(address) = free(random.random_range(low..end))
            {
                return Some(address);
            }
        }
        (low..end).chain(first..low).find_map(free)
    }

    /// What is wrong with a port that is not of the range.
    fn outside(&self) -> String {
        let (first, last) = (self.ports.start(), self.ports.end());
        format!(
            "provided port is not in the valid range. The range of valid ports is {first}-{last}"
        )
    }

    fn free_port(&self, taken: &Taken) -> Option<u16> {
        let free = |port: &u16| {
            !taken.others.contains(port) && !taken.own.iter().any(|(number, _)| number == port)
        };
        let mut random = rand::rng();
        let tries = (0..16).map(|_| random.random_range(self.ports.clone()));
        let tries: Vec<u16> = tries.collect();
        tries.into_iter().find(free).or_else(|| self.ports.clone().find(free))
    }
}

impl Holding {
    fn read(service: &Value, revision: u64) -> Self {
        let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        Self {
            revision,
            addresses: addresses.filter_map(|ip| ip.as_str()?.parse().ok()).collect(),
            ports: ports
                .map(|port| &port["nodePort"])
                .chain([&service["spec"]["healthCheckNodePort"]])
                .filter_map(|number| u16::try_from(number.as_u64()?).ok())
                .filter(|number| *number > 0)
                .collect(),
        }
    }
}

impl Taken {
    fn has(&self, number: u16, protocol: &str) -> bool {
        let same = |(own, of): &(u16, String)| *own == number && (of.is_empty() || of == protocol);
        self.others.contains(&number) || self.own.iter().any(same)
    }
}

impl Known {
    fn holds_address(&self, but: &str, address: Ipv4Addr) -> bool {
        self.services.iter().any(|(key, held)| key != but && held.addresses.contains(&address))
    }

    /// What services but this one have of the nodes' ports.
    fn ports(&self, but: &str) -> Taken {
        let others = self.services.iter().filter(|(key, _)| *key != but);
        let others = others.flat_map(|(_, held)| held.ports.iter().copied()).collect();
        Taken { others, own: Vec::new() }
    }
}

#[async_trait]
impl Hooks for Services {
    async fn before_create(
        &self,
        registry: &Registry,
        service: &mut Value,
    ) -> Result<Claim, Status> {
        claim(registry, service, &Value::Null).await
    }

    async fn before_update(
        &self,
        registry: &Registry,
        service: &mut Value,
        old: &Value,
    ) -> Result<Claim, Status> {
        if service["spec"] == old["spec"] {
            return Ok(None);
        }
        claim(registry, service, old).await
    }
}

async fn claim(registry: &Registry, service: &mut Value, old: &Value) -> Result<Claim, Status> {
    let known = registry.services.lock(registry).await?;
    registry.services.assign(&known, service, old)?;
    Ok(Some(Box::new(known)))
}

//! The service proxy: Services as elements of nftables maps.
//!
//! [`plan`] says what the kernel should hold; [`Proxy::apply`] brings it there in one transaction a
//! call and tells which revision has been applied. Connections that exist go on where they are.
//!
//! The first call compares with what the kernel holds from an earlier process, the others with the
//! call before: plans that are the same `Arc` are not looked into.

mod elements;
mod host_port;
pub mod model;
pub mod node_port;
pub mod plan;
mod run;
pub mod slots;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use onggi_sys::nft::Nft;
use tokio::sync::{Mutex, watch};

pub use model::{EndpointSlice, Name, Protocol, Service};
pub use plan::{Backends, Desired, Frontend, Node, ServicePlan, plan, plan_service};

use crate::node::Kernel;
use crate::{Error, NodeNetwork};
use elements::{Change, Elements, SETS, describe, elements as elements_of};
use node_port::NodePorts;

/// Keeps the kernel's maps.
pub struct Proxy {
    network: NodeNetwork,
    state: Mutex<State>,
    applied: watch::Sender<u64>,
}

struct State {
    /// `None`: not known, ask the kernel.
    applied: Option<Desired>,
    owners: HashMap<Frontend, Name>,
    node_ports: NodePorts,
}

/// What an [`Proxy::apply`] did, beside what was asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Elements that were added and deleted.
    pub changed: usize,
    /// In words: addresses and ports that another Service or process holds.
    pub conflicts: Vec<String>,
}

impl Proxy {
    /// A proxy for the node. Node ports listen on 127.0.0.1 in the network namespace of the runtime's
    /// threads, which must be the one in which the network was opened.
    pub fn new(network: NodeNetwork) -> Self {
        let node_ports = NodePorts::new();
        let state = State { applied: None, owners: HashMap::new(), node_ports };
        Self { network, state: Mutex::new(state), applied: watch::Sender::new(0) }
    }

    /// The node, for [`plan`].
    pub fn node(&self, name: &str) -> Node {
        let answered_here = self.network.options().answered_here.iter().copied().collect();
        Node { name: name.to_owned(), answered_here }
    }

    /// The newest revision that the kernel has whole. One number a node stands for all its
    /// endpoints: whoever withdraws one waits here.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Brings the kernel to `desired`, which is the state of the API at `revision`. One transaction:
    /// after an error nothing of it is in force, and the next call begins with what the kernel
    /// holds.
    pub async fn apply(&self, desired: &Desired, revision: u64) -> Result<Applied, Error> {
        let mut state = self.state.lock().await;
        let mut result = self.bring(&mut state, desired).await;
        if result.is_err() {
            // Somebody flushed the rules, most likely: once more, from what is there.
            state.applied = None;
            result = self.bring(&mut state, desired).await;
        }
        let mut applied = match result {
            Ok(applied) => applied,
            Err(error) => {
                state.applied = None;
                return Err(error);
            }
        };
        let node = self.network.options().node_address();
        let plans = state.applied.iter().flat_map(|applied| applied.values());
        let wanted = plans.flat_map(|plan| plan.iter()).filter_map(|(frontend, backends)| {
            Some(((frontend.protocol, frontend.port), listens(frontend, backends, node)?))
        });
        let wanted = wanted.collect();
        applied.conflicts.extend(state.node_ports.listen(&wanted).await);
        self.applied.send_if_modified(|now| {
            let newer = revision > *now;
            *now = revision.max(*now);
            newer
        });
        Ok(applied)
    }

    /// Ends the listeners of node ports. The kernel's maps stay: connections go on without us.
    pub async fn stop(&self) {
        self.state.lock().await.node_ports.listen(&BTreeMap::new()).await;
    }

    async fn bring(&self, state: &mut State, desired: &Desired) -> Result<Applied, Error> {
        let table = self.network.options().instance.table();
        let Some(known) = state.applied.take() else {
            let (merged, owners, conflicts) = merge(desired);
            let all = flatten(&merged);
            let changed = self
                .network
                .with_nft(move |nft, kernel| {
                    kernel.install_rules(nft)?;
                    let mut change = Change::default();
                    change.elements(&read(nft, &table)?, &all);
                    commit(nft, kernel, &change, &table)
                })
                .await?;
            (state.applied, state.owners) = (Some(merged), owners);
            return Ok(Applied { changed, conflicts });
        };
        let step = step(known, &mut state.owners, desired);
        let Step { applied, change, conflicts } = step;
        let changed = if change.is_empty() {
            0
        } else {
            self.network.with_nft(move |nft, kernel| commit(nft, kernel, &change, &table)).await?
        };
        state.applied = Some(applied);
        Ok(Applied { changed, conflicts })
    }
}

/// Where a listener on 127.0.0.1 hands its connections on; `None`: there is none.
fn listens(frontend: &Frontend, backends: &Backends, node: Ipv4Addr) -> Option<SocketAddrV4> {
    match frontend.address {
        None => Some(SocketAddrV4::new(node, frontend.port)),
        Some(address) if address.is_loopback() => backends.endpoints.first().copied(),
        Some(_) => None,
    }
}

struct Step {
    applied: Desired,
    change: Change,
    conflicts: Vec<String>,
}

/// What leads from one state to the next; looks only at Services that changed.
fn step(mut known: Desired, owners: &mut HashMap<Frontend, Name>, desired: &Desired) -> Step {
    let same = |name: &Name, plan: &Arc<ServicePlan>, other: &Desired| {
        other.get(name).is_some_and(|found| Arc::ptr_eq(found, plan) || found == plan)
    };
    let left: Vec<Name> = known
        .iter()
        .filter(|(name, plan)| !same(name, plan, desired))
        .map(|(name, _)| name.clone())
        .collect();
    let entered: Vec<Name> = desired
        .iter()
        .filter(|(name, plan)| !same(name, plan, &known))
        .map(|(name, _)| name.clone())
        .collect();
    let (mut before, mut after) = (ServicePlan::new(), ServicePlan::new());
    for name in left {
        for (frontend, backends) in known.remove(&name).iter().flat_map(|plan| plan.iter()) {
            owners.remove(frontend);
            before.insert(*frontend, backends.clone());
        }
    }
    let mut conflicts = Vec::new();
    for name in entered {
        let Some(plan) = desired.get(&name) else { continue };
        let own = claim(&name, plan, owners, &mut conflicts);
        after.extend(own.iter().map(|(frontend, backends)| (*frontend, backends.clone())));
        known.insert(name, own);
    }
    let mut change = Change::default();
    change.elements(&flatten_plan(&before), &flatten_plan(&after));
    let frontends: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for frontend in frontends {
        change.flows(frontend, before.get(frontend), after.get(frontend));
    }
    Step { applied: known, change, conflicts }
}

/// The part of a plan that nobody else holds. Where that is less, it differs from what is desired, so
/// that the next step tries again.
fn claim(
    name: &Name,
    plan: &Arc<ServicePlan>,
    owners: &mut HashMap<Frontend, Name>,
    conflicts: &mut Vec<String>,
) -> Arc<ServicePlan> {
    let mut own = Arc::clone(plan);
    for frontend in plan.keys() {
        match owners.get(frontend) {
            Some(other) if other != name => {
                conflicts.push(format!("Service {name}: {frontend} belongs to Service {other}"));
                Arc::make_mut(&mut own).remove(frontend);
            }
            _ => {
                owners.insert(*frontend, name.clone());
            }
        }
    }
    own
}

fn merge(desired: &Desired) -> (Desired, HashMap<Frontend, Name>, Vec<String>) {
    let (mut owners, mut conflicts) = (HashMap::new(), Vec::new());
    let merged = desired
        .iter()
        .map(|(name, plan)| (name.clone(), claim(name, plan, &mut owners, &mut conflicts)))
        .collect();
    (merged, owners, conflicts)
}

fn flatten(desired: &Desired) -> Elements {
    let mut all = Elements::new();
    for (frontend, backends) in desired.values().flat_map(|plan| plan.iter()) {
        elements_of(frontend, backends, &mut all);
    }
    all
}

fn flatten_plan(plan: &ServicePlan) -> Elements {
    let mut all = Elements::new();
    for (frontend, backends) in plan {
        elements_of(frontend, backends, &mut all);
    }
    all
}

fn read(nft: &mut Nft, table: &str) -> Result<Elements, Error> {
    let mut found = BTreeMap::new();
    for set in SETS {
        let elements = nft.elements(table, set)?;
        found.extend(elements.into_iter().map(|element| ((set, element.key), element.data)));
    }
    Ok(found)
}

fn commit(
    nft: &mut Nft,
    kernel: &Kernel<'_>,
    change: &Change,
    table: &str,
) -> Result<usize, Error> {
    nft.commit(change.batch(table)).map_err(|error| match &error {
        onggi_sys::nft::Error::Refused { key: Some(key), .. } => {
            Error::Element { element: describe(key), source: error }
        }
        _ => error.into(),
    })?;
    for flows in &change.forget {
        kernel.forget(flows)?;
    }
    Ok(change.delete.values().chain(change.add.values()).map(Vec::len).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slots::Slots;

    fn service(node_port: u16, endpoint: u8) -> Arc<ServicePlan> {
        let frontend = Frontend { address: None, protocol: Protocol::Tcp, port: node_port };
        let endpoint = SocketAddrV4::new(Ipv4Addr::new(10, 244, 0, endpoint), 80);
        let backends = Backends { slots: Slots::Random(1), endpoints: vec![endpoint] };
        Arc::new([(frontend, backends)].into())
    }

    #[test]
    fn a_port_goes_to_the_next_service_when_the_first_is_gone() {
        let (a, b) = (Name::new("d", "a"), Name::new("d", "b"));
        let desired: Desired =
            [(a.clone(), service(30000, 2)), (b.clone(), service(30000, 3))].into();
        let (known, mut owners, conflicts) = merge(&desired);
        assert_eq!(conflicts, ["Service d/b: node port 30000/TCP belongs to Service d/a"]);
        // Still refused, and nothing to do.
        let next = step(known, &mut owners, &desired);
        assert_eq!(next.conflicts.len(), 1);
        assert!(next.change.is_empty());
        let only: Desired = [(b.clone(), service(30000, 3))].into();
        let next = step(next.applied, &mut owners, &only);
        assert!(next.conflicts.is_empty());
        // The endpoint of the one slot changes, the rest stays.
        assert_eq!(next.change.add.values().map(Vec::len).sum::<usize>(), 1);
        assert_eq!(owners.into_values().collect::<Vec<_>>(), [b]);
        assert_eq!(next.applied, only);
    }
}

//! The node authorizer: a node reads only what its own pods name, and writes only its own.
//!
//! The graph from objects to nodes follows the watch cache as the index of RBAC does: whoever asks
//! first after a change takes it in. A pod is read once when it is bound and not again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use onggi_api::Object;
use onggi_machinery::rbac::PolicyRule;
use onggi_machinery::references::{self, Kind};
use onggi_machinery::resource::{self, Resource};
use onggi_machinery::selector::FieldSelector;
use parking_lot::Mutex;

use super::{Attributes, Authorizer, Because, Decision, Rules, Target, policy};
use crate::authn::User;
use crate::cache::{Cache, Collection, Selection};
use crate::registry::text;

/// See the module.
pub(super) struct Node {
    cache: Arc<Cache>,
    rules: Vec<PolicyRule>,
    graph: Mutex<Graph>,
}

/// An object that pods name: kind, namespace, name.
type Vertex = (Kind, String, String);

#[derive(Default)]
struct Graph {
    /// By `namespace/name`.
    pods: HashMap<String, Known>,
    /// How many pods of a node name an object.
    holders: HashMap<Vertex, HashMap<String, usize>>,
    cursor: Option<u64>,
}

struct Known {
    uid: String,
    node: String,
    names: Vec<Vertex>,
}

fn no(why: impl Into<String>) -> Decision {
    Decision::NoOpinion(Because::Text(why.into()))
}

impl Node {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        Self { cache, rules: policy::node_rules(), graph: Mutex::default() }
    }

    fn holds(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let mut graph = self.graph.lock();
        graph.catch_up(&self.cache);
        let vertex = (kind, namespace.to_owned(), name.to_owned());
        graph.holders.get(&vertex).is_some_and(|nodes| nodes.contains_key(node))
    }

    /// A persistent volume is named by a claim that a pod of the node names.
    fn holds_volume(&self, node: &str, name: &str) -> bool {
        let Some(volume) = self.find("", "v1", "persistentvolumes", "", name) else {
            return false;
        };
        let Ok(volume) = volume.value() else { return false };
        let (namespace, claim) =
            (text(&volume, "/spec/claimRef/namespace"), text(&volume, "/spec/claimRef/name"));
        self.holds(node, Kind::PersistentVolumeClaim, namespace, claim)
    }

    fn find(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let row = resource::by_gvr(group, version, plural)?;
        self.cache.of(row).ok()?.get(&crate::cache::key(row, namespace, name))
    }

    fn pod_is_on(&self, node: &str, namespace: &str, name: &str) -> bool {
        let pod = self.find("", "v1", "pods", namespace, name);
        pod.is_some_and(|pod| node_of(&pod) == node)
    }

    fn slice_is_of(&self, node: &str, name: &str) -> bool {
        let slice = self.find("resource.k8s.io", "v1", "resourceslices", "", name);
        let slice = slice.and_then(|slice| slice.value().ok());
        slice.is_some_and(|slice| text(&slice, "/spec/nodeName") == node)
    }

    /// What the graph says; `None`: the rules decide.
    fn by_graph(&self, node: &str, attributes: &Attributes<'_>) -> Option<Decision> {
        let Target::Resource { group, resource, subresource, namespace, name, selector } =
            &attributes.target
        else {
            return None;
        };
        let verb = attributes.verb;
        let reads = matches!(verb, "get" | "list" | "watch");
        let stranger =
            || no(format!("no relationship found between node '{node}' and this object"));
        let related = |yes: bool| if yes { Decision::Allow(Because::Nothing) } else { stranger() };
        let single = |verbs: &[&str]| {
            if !verbs.contains(&verb) {
                return Some(no(match verbs {
                    ["get"] => "can only get individual resources of this type",
                    _ => "can only read resources of this type",
                }));
            }
            if !subresource.is_empty() {
                return Some(no("cannot read subresource"));
            }
            name.is_empty().then(|| no("No Object name found"))
        };
        Some(match (*group, *resource) {
            ("", "secrets" | "configmaps") => {
                let kind = if *resource == "secrets" { Kind::Secret } else { Kind::ConfigMap };
                single(&["get", "list", "watch"])
                    .unwrap_or_else(|| related(self.holds(node, kind, namespace, name)))
            }
            ("", "persistentvolumeclaims") => {
                let held = || self.holds(node, Kind::PersistentVolumeClaim, namespace, name);
                if *subresource == "status" {
                    match verb {
                        "get" | "update" | "patch" => related(held()),
                        _ => no("can only get/update/patch this type"),
                    }
                } else {
                    single(&["get"]).unwrap_or_else(|| related(held()))
                }
            }
            ("", "persistentvolumes") => {
                single(&["get"]).unwrap_or_else(|| related(self.holds_volume(node, name)))
            }
            ("resource.k8s.io", "resourceclaims") => single(&["get"])
                .unwrap_or_else(|| related(self.holds(node, Kind::ResourceClaim, namespace, name))),
            ("storage.k8s.io", "volumeattachments") => single(&["get"]).unwrap_or_else(|| {
                let found = self.find("storage.k8s.io", "v1", "volumeattachments", "", name);
                let value = found.and_then(|object| object.value().ok());
                related(value.is_some_and(|value| text(&value, "/spec/nodeName") == node))
            }),
            ("", "serviceaccounts") => {
                let held = || self.holds(node, Kind::ServiceAccount, namespace, name);
                match (verb, *subresource) {
                    ("create", "token") | ("get", "") if !name.is_empty() => related(held()),
                    _ => no("can only create tokens for individual service accounts"),
                }
            }
            ("coordination.k8s.io", "leases") => {
                let may = matches!(verb, "get" | "create" | "update" | "patch" | "delete");
                if !may {
                    no("can only get, create, update, patch, or delete a node lease")
                } else if *namespace != "kube-node-lease" {
                    no("can only access leases in the \"kube-node-lease\" system namespace")
                } else if verb != "create" && *name != node {
                    no("can only access node lease with the same name as the requesting node")
                } else {
                    Decision::Allow(Because::Nothing)
                }
            }
            ("storage.k8s.io", "csinodes") => match verb {
                _ if !subresource.is_empty() => no("cannot authorize CSINode subresources"),
                "get" | "create" | "update" | "patch" | "delete"
                    if verb == "create" || *name == node =>
                {
                    Decision::Allow(Because::Nothing)
                }
                _ => no("can only access CSINode with the same name as the requesting node"),
            },
            ("", "nodes") if reads && subresource.is_empty() => {
                if *name == node {
                    Decision::Allow(Because::Nothing)
                } else {
                    no(format!("node '{node}' cannot read '{name}', only its own Node object"))
                }
            }
            ("", "pods") if reads && subresource.is_empty() => {
                if verb == "get" {
                    related(self.pod_is_on(node, namespace, name))
                } else if selects(selector, node)
                    || !name.is_empty() && self.pod_is_on(node, namespace, name)
                {
                    Decision::Allow(Because::Nothing)
                } else {
                    no("can only list/watch pods with spec.nodeName field selector")
                }
            }
            ("resource.k8s.io", "resourceslices") => match verb {
                _ if !subresource.is_empty() => no("cannot authorize ResourceSlice subresources"),
                "create" => Decision::Allow(Because::Nothing),
                "get" | "update" | "patch" | "delete" => related(self.slice_is_of(node, name)),
                "list" | "watch" | "deletecollection" if selects(selector, node) => {
                    Decision::Allow(Because::Nothing)
                }
                _ => no(
                    "can only list/watch/deletecollection resourceslices with nodeName field selector",
                ),
            },
            _ => return None,
        })
    }
}

/// Whether only objects of this node are asked for.
fn selects(selector: &str, node: &str) -> bool {
    FieldSelector::parse(selector).is_ok_and(|fields| fields.exact("spec.nodeName") == Some(node))
}

impl Authorizer for Node {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if !attributes.user.is_in("system:nodes") {
            return Decision::NoOpinion(Because::Nothing);
        }
        let Some(node) = attributes.user.node() else {
            return no(format!("unknown node for user {:?}", attributes.user.name));
        };
        if let Some(decided) = self.by_graph(node, attributes) {
            return decided;
        }
        let Attributes { verb, target, .. } = attributes;
        let allowed = self.rules.iter().any(|rule| match target {
            Target::Resource { group, resource, subresource, name, .. } => {
                rule.allows_resource(verb, group, resource, subresource, name)
            }
            Target::Path(_) => false,
        });
        if allowed {
            Decision::Allow(Because::Nothing)
        } else {
            Decision::NoOpinion(Because::Nothing)
        }
    }

    fn rules(&self, user: &User, _: &str) -> Rules {
        if user.node().is_none() {
            return Rules::default();
        }
        let errors = vec!["node authorizer does not support user rule resolution".to_owned()];
        Rules { incomplete: true, errors, ..Rules::default() }
    }
}

/// The node that a pod is bound to, from its selectable fields.
fn node_of(pod: &Object) -> &str {
    let at = pods().and_then(|row| row.fields.iter().position(|field| *field == "spec.nodeName"));
    at.and_then(|at| pod.head().fields.get(at)).map_or("", String::as_str)
}

fn pods() -> Option<&'static Resource> {
    resource::by_gvr("", "v1", "pods")
}

// === impl Graph ===

impl Graph {
    fn catch_up(&mut self, cache: &Cache) {
        let Some(collection) = pods().and_then(|row| cache.of(row).ok()) else { return };
        let followed = self.cursor.is_some_and(|from| self.follow(&collection, from));
        if !followed {
            *self = Self::default();
            let snapshot = collection.list(&Selection::everything(), 0, 0);
            snapshot.items.iter().for_each(|pod| self.apply(pod));
            self.cursor = Some(snapshot.revision);
        }
    }

    fn follow(&mut self, collection: &Collection, mut cursor: u64) -> bool {
        loop {
            let Ok(changes) = collection.changes_after(cursor) else { return false };
            for change in &changes {
                cursor = change.revision();
                if change.deleted() {
                    self.remove(&place(&change.object));
                } else {
                    self.apply(&change.object);
                }
            }
            self.cursor = Some(cursor);
            if changes.is_empty() {
                return true;
            }
        }
    }

    fn apply(&mut self, pod: &Object) {
        let node = node_of(pod);
        if node.is_empty() {
            return;
        }
        let place = place(pod);
        let known = self.pods.get(&place);
        // What a pod names is settled when it is made, but for containers put in later.
        if known.is_some_and(|k| k.uid == pod.head().uid && k.node == node) && !may_grow(pod) {
            return;
        }
        self.remove(&place);
        let Ok(value) = pod.value() else { return };
        let namespace = &pod.head().namespace;
        let names: HashSet<Vertex> = references::of_pod(&value)
            .into_iter()
            .map(|(kind, name)| (kind, namespace.clone(), name))
            .collect();
        for vertex in &names {
            let nodes = self.holders.entry(vertex.clone()).or_default();
            *nodes.entry(node.to_owned()).or_default() += 1;
        }
        let names = names.into_iter().collect();
        let known = Known { uid: pod.head().uid.clone(), node: node.to_owned(), names };
        self.pods.insert(place, known);
    }

    fn remove(&mut self, place: &str) {
        let Some(Known { node, names, .. }) = self.pods.remove(place) else { return };
        for vertex in names {
            let Some(nodes) = self.holders.get_mut(&vertex) else { continue };
            if let Some(count) = nodes.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&node);
                }
            }
            if nodes.is_empty() {
                self.holders.remove(&vertex);
            }
        }
    }
}

fn place(pod: &Object) -> String {
    format!("{}/{}", pod.head().namespace, pod.head().name)
}

/// Whether the pod has what may come to name more: debug containers, claims made for it.
fn may_grow(pod: &Object) -> bool {
    pod.mentions(b"\"ephemeralContainers\"") || pod.mentions(b"\"resourceClaims\"")
}

//! Roles by name and bindings by subject, kept up from the changes of the watch cache.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use onggi_api::Object;
use onggi_machinery::rbac::PolicyRule;
use onggi_machinery::resource;
use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use crate::authn::User;
use crate::authz::policy::GROUP;
use crate::cache::{Cache, Collection, Selection};

const KINDS: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// A binding as its subject sees it: where rules come from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    binding: Arc<Binding>,
    subject: usize,
}

#[derive(Debug)]
struct Binding {
    /// Empty for one of the whole cluster.
    namespace: String,
    name: String,
    role_kind: String,
    role_name: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

/// Bindings of one namespace, or of the cluster, by who they are for; the inner maps by name, so
/// that answers do not depend on the order of events.
#[derive(Default)]
struct Bindings {
    all: HashMap<String, Arc<Binding>>,
    users: HashMap<String, BTreeMap<String, Source>>,
    groups: HashMap<String, BTreeMap<String, Source>>,
}

/// See the module.
pub(super) struct Index {
    /// Of the four kinds, in the order of [`KINDS`]; `None` where the kind is not served.
    collections: [Option<Arc<Collection>>; 4],
    /// By namespace (empty: the cluster) and name.
    roles: HashMap<String, HashMap<String, Arc<[PolicyRule]>>>,
    bindings: HashMap<String, Bindings>,
    /// How far the changes of each kind have been taken in; `None`: not read yet.
    cursors: [Option<u64>; 4],
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { namespace, name, role_kind, role_name, subjects } = &*self.binding;
        let (kind, place) = if namespace.is_empty() {
            ("ClusterRoleBinding", String::new())
        } else {
            ("RoleBinding", format!("/{namespace}"))
        };
        let full = format!("{name}{place}");
        write!(f, "{kind} {full:?} of {role_kind} {role_name:?} to ")?;
        match subjects.get(self.subject) {
            Some(Subject { kind, name, namespace }) if kind == "ServiceAccount" => {
                let account = format!("{name}/{namespace}");
                write!(f, "{kind} {account:?}")
            }
            Some(Subject { kind, name, .. }) => write!(f, "{kind} {name:?}"),
            None => Ok(()),
        }
    }
}

// === impl Binding ===

impl Binding {
    fn read(object: &Value) -> Self {
        let own = str_at(object, "metadata.namespace");
        let subject = |subject: &Value| {
            let named = str_at(subject, "namespace");
            Subject {
                kind: str_at(subject, "kind").into(),
                name: str_at(subject, "name").into(),
                // An account without a namespace is one beside the binding.
                namespace: if named.is_empty() { own } else { named }.into(),
            }
        };
        Self {
            namespace: own.into(),
            name: str_at(object, "metadata.name").into(),
            role_kind: str_at(object, "roleRef.kind").into(),
            role_name: str_at(object, "roleRef.name").into(),
            subjects: list_at(object, "subjects").iter().map(subject).collect(),
        }
    }
}

// === impl Bindings ===

impl Bindings {
    fn remove(&mut self, name: &str) {
        let Some(binding) = self.all.remove(name) else { return };
        for subject in &binding.subjects {
            let Some((groups, key)) = place(subject) else { continue };
            let map = if groups { &mut self.groups } else { &mut self.users };
            if let Some(bound) = map.get_mut(&key) {
                bound.remove(name);
                if bound.is_empty() {
                    map.remove(&key);
                }
            }
        }
    }

    fn insert(&mut self, binding: Binding) {
        self.remove(&binding.name);
        let binding = Arc::new(binding);
        for (at, subject) in binding.subjects.iter().enumerate() {
            let Some((groups, key)) = place(subject) else { continue };
            let map = if groups { &mut self.groups } else { &mut self.users };
            let source = Source { binding: Arc::clone(&binding), subject: at };
            // The first subject that applies is the one to name.
            map.entry(key).or_default().entry(binding.name.clone()).or_insert(source);
        }
        self.all.insert(binding.name.clone(), binding);
    }

    /// Those of a user, each once.
    fn of<'b>(&'b self, user: &'b User) -> impl Iterator<Item = &'b Source> {
        let own = self.users.get(&user.name).into_iter();
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        own.chain(groups).flat_map(BTreeMap::values)
    }
}

/// Where a subject is looked up: among groups or users, and under which name.
fn place(subject: &Subject) -> Option<(bool, String)> {
    let Subject { kind, name, namespace } = subject;
    match kind.as_str() {
        "User" => Some((false, name.clone())),
        "Group" => Some((true, name.clone())),
        "ServiceAccount" if !namespace.is_empty() => {
            Some((false, format!("system:serviceaccount:{namespace}:{name}")))
        }
        _ => None,
    }
}

// === impl Index ===

impl Index {
    /// Nothing is read yet.
    pub(super) fn new(cache: &Cache) -> Self {
        let find = |plural| cache.of(resource::by_gvr(GROUP, "v1", plural)?).ok();
        Self {
            collections: KINDS.map(find),
            roles: HashMap::new(),
            bindings: HashMap::new(),
            cursors: [None; 4],
        }
    }

    /// Whether a kind has changed since it was read.
    pub(super) fn is_behind(&self) -> bool {
        self.collections.iter().zip(&self.cursors).any(|(collection, cursor)| {
            let collection = collection.as_ref();
            collection.is_some_and(|found| cursor.is_none_or(|at| found.revision() > at))
        })
    }

    /// Takes in the changes; reads a kind anew where they reach back too far.
    pub(super) fn catch_up(&mut self) {
        for at in 0..KINDS.len() {
            let Some(collection) = self.collections[at].clone() else { continue };
            let followed = self.cursors[at].is_some_and(|from| self.follow(at, &collection, from));
            if !followed {
                self.read(at, &collection);
            }
        }
    }

    fn follow(&mut self, at: usize, collection: &Collection, from: u64) -> bool {
        let mut cursor = from;
        loop {
            let Ok(changes) = collection.changes_after(cursor) else { return false };
            for change in &changes {
                cursor = change.revision();
                self.apply(at, &change.object, change.deleted());
            }
            self.cursors[at] = Some(cursor);
            if changes.is_empty() {
                return true;
            }
        }
    }

    fn read(&mut self, at: usize, collection: &Collection) {
        match at {
            0 => _ = self.roles.remove(""),
            1 => self.roles.retain(|namespace, _| namespace.is_empty()),
            2 => _ = self.bindings.remove(""),
            _ => self.bindings.retain(|namespace, _| namespace.is_empty()),
        }
        let snapshot = collection.list(&Selection::everything(), 0, 0);
        for object in &snapshot.items {
            self.apply(at, object, false);
        }
        self.cursors[at] = Some(snapshot.revision);
    }

    fn apply(&mut self, at: usize, object: &Object, deleted: bool) {
        let head = object.head();
        let value = match object.value() {
            Ok(value) => value,
            Err(error) => return tracing::error!(?object, %error, "an access rule is unreadable"),
        };
        let (namespace, name) = (head.namespace.clone(), head.name.as_str());
        if at < 2 {
            let roles = self.roles.entry(namespace).or_default();
            if deleted {
                roles.remove(name);
            } else {
                roles.insert(name.to_owned(), PolicyRule::of_role(&value).into());
            }
            return;
        }
        let bindings = self.bindings.entry(namespace).or_default();
        if deleted {
            bindings.remove(name);
        } else {
            bindings.insert(Binding::read(&value));
        }
    }

    /// See [`super::Rbac::role`].
    pub(super) fn role(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<[PolicyRule]>, String> {
        let (place, resource) = match kind {
            "Role" => (namespace, "role"),
            "ClusterRole" => ("", "clusterrole"),
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        let found = self.roles.get(place).and_then(|roles| roles.get(name));
        found.cloned().ok_or_else(|| format!("{resource}.{GROUP} {name:?} not found"))
    }

    /// See [`super::Rbac::visit`].
    pub(super) fn visit(
        &self,
        user: &User,
        namespace: &str,
        visit: &mut dyn FnMut(&Source, &PolicyRule) -> bool,
    ) -> Vec<String> {
        let mut errors = Vec::new();
        let places: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for place in places {
            let Some(bindings) = self.bindings.get(*place) else { continue };
            for source in bindings.of(user) {
                let Binding { role_kind, role_name, .. } = &*source.binding;
                let rules = match self.role(role_kind, place, role_name) {
                    Ok(rules) => rules,
                    Err(error) => {
                        errors.push(error);
                        continue;
                    }
                };
                if rules.iter().any(|rule| !visit(source, rule)) {
                    return errors;
                }
            }
        }
        errors
    }
}

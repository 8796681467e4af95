//! Role-based access control: who holds which rules, looked up by subject.
//!
//! The index follows the watch cache: whoever asks first after a change brings it up to date, so a
//! binding counts from the moment its write was answered, and nobody pays while nothing changes.

mod index;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onggi_machinery::rbac::PolicyRule;
use parking_lot::RwLock;

use super::{Attributes, Authorizer, Because, Decision, Rules, Target};
use crate::authn::User;
use crate::cache::Cache;

use index::Index;
pub(crate) use index::Source;

/// See the module.
pub(super) struct Rbac {
    cache: Arc<Cache>,
    index: RwLock<Index>,
    /// The revision of the store up to which the index is known to be right.
    seen: AtomicU64,
}

impl Rbac {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        let index = RwLock::new(Index::new(&cache));
        Self { cache, index, seen: AtomicU64::new(0) }
    }

    /// Takes in what has changed. Cheap when nothing has: one look at the revision.
    fn refresh(&self) {
        let applied = self.cache.applied();
        if self.seen.load(Ordering::Acquire) >= applied {
            return;
        }
        let behind = self.index.read().is_behind();
        if behind {
            self.index.write().catch_up();
        }
        self.seen.fetch_max(applied, Ordering::AcqRel);
    }

    /// Calls `visit` with every rule of a user until it says stop (`false`); gives the errors met.
    fn visit(
        &self,
        user: &User,
        namespace: &str,
        visit: &mut dyn FnMut(&Source, &PolicyRule) -> bool,
    ) -> Vec<String> {
        self.refresh();
        self.index.read().visit(user, namespace, visit)
    }

    /// All rules of a user in a namespace.
    pub(super) fn held(&self, user: &User, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let mut rules = Vec::new();
        let errors = self.visit(user, namespace, &mut |_, rule| {
            // A binding may name a user and a group of theirs.
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
            true
        });
        (rules, errors)
    }

    /// The rules of the role that a binding names, or that it is not there.
    pub(super) fn role(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<[PolicyRule]>, String> {
        self.refresh();
        self.index.read().role(kind, namespace, name)
    }
}

impl Authorizer for Arc<Rbac> {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let Attributes { user, verb, target } = attributes;
        let mut found = None;
        let namespace = match target {
            Target::Resource { namespace, .. } => namespace,
            Target::Path(_) => "",
        };
        let errors = self.visit(user, namespace, &mut |source, rule| {
            let allows = match target {
                Target::Resource { group, resource, subresource, name, .. } => {
                    rule.allows_resource(verb, group, resource, subresource, name)
                }
                Target::Path(path) => rule.allows_path(verb, path),
            };
            if allows {
                found = Some(source.clone());
            }
            !allows
        });
        match found {
            Some(source) => Decision::Allow(Because::Binding(source)),
            None if errors.is_empty() => Decision::NoOpinion(Because::Nothing),
            None => Decision::NoOpinion(Because::Text(format!("RBAC: {}", aggregate(&errors)))),
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        let (rules, errors) = self.held(user, namespace);
        let errors = if errors.is_empty() { errors } else { vec![aggregate(&errors)] };
        Rules { rules, incomplete: false, errors }
    }
}

/// Several errors as Go's aggregate prints them: each once, in brackets when there are more.
pub(super) fn aggregate(errors: &[String]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for error in errors {
        if !once.contains(&error.as_str()) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

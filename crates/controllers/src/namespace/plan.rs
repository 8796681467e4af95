//! What is left of a namespace, and what its status says about it.

use std::collections::BTreeMap;

use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;

use crate::view::Condition;

/// What is still there.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// How many objects of a kind, as `pods.` or `replicasets.apps`.
    pub(super) objects: BTreeMap<String, usize>,
    /// How many objects a finalizer holds.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// What could not be deleted, and why.
    pub(super) failures: Vec<String>,
    /// How many groups and versions nobody answers for, and what client-go says of it: what is in
    /// them may be in the namespace.
    pub(super) undiscovered: Option<(usize, String)>,
    /// Some of it is with another server, which tells nobody when it is gone.
    pub(super) elsewhere: bool,
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty() && self.undiscovered.is_none()
    }
}

/// The conditions of a namespace that ends.
pub(super) fn conditions(old: &[Condition], remains: &Remains, now: Timestamp) -> Vec<Condition> {
    let counted = |map: &BTreeMap<String, usize>, verb: &str| {
        let parts = map.iter().map(|(k, n)| format!("{k} {verb} {n} resource instances"));
        parts.collect::<Vec<_>>().join(", ")
    };
    let told = |kind: &str, problem: Option<(&str, String)>, (reason, message): (&str, &str)| {
        let (status, reason, message) = match problem {
            Some((reason, message)) => ("True", reason.to_owned(), message),
            None => ("False", reason.to_owned(), message.to_owned()),
        };
        let same = Condition::find(old, kind).filter(|c| c.status == status);
        let since = same.and_then(|c| c.last_transition_time.clone()).unwrap_or(Time(now));
        Condition {
            kind: kind.into(),
            status: status.into(),
            reason,
            message,
            last_update_time: None,
            last_transition_time: Some(since),
        }
    };
    let some = |there: bool, reason, message: String| there.then_some((reason, message));
    vec![
        told(
            "NamespaceDeletionDiscoveryFailure",
            remains.undiscovered.as_ref().map(|(failing, why)| {
                let text = format!("Discovery failed for some groups, {failing} failing: {why}");
                ("DiscoveryFailed", text)
            }),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        told(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        told(
            "NamespaceDeletionContentFailure",
            some(
                !remains.failures.is_empty(),
                "ContentDeletionFailed",
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    remains.failures.len(),
                    remains.failures.join(", ")
                ),
            ),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        told(
            "NamespaceContentRemaining",
            some(
                !remains.objects.is_empty(),
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", counted(&remains.objects, "has")),
            ),
            ("ContentRemoved", "All content successfully removed"),
        ),
        told(
            "NamespaceFinalizersRemaining",
            some(
                !remains.finalizers.is_empty(),
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    counted(&remains.finalizers, "in")
                ),
            ),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_said() {
        let mut remains = Remains::default();
        remains.objects.insert("pods.".into(), 2);
        remains.finalizers.insert("x/y".into(), 1);
        let found = conditions(&[], &remains, Timestamp::UNIX_EPOCH);
        let of = |kind| Condition::find(&found, kind).unwrap();
        let remaining = of("NamespaceContentRemaining");
        assert_eq!(
            remaining.message,
            "Some resources are remaining: pods. has 2 resource instances"
        );
        assert_eq!(of("NamespaceFinalizersRemaining").status, "True");
        assert_eq!(of("NamespaceDeletionContentFailure").status, "False");
        let why = "unable to retrieve the complete list of server APIs: a.b/v1: stale".to_owned();
        let lacking = Remains { undiscovered: Some((1, why)), ..Remains::default() };
        assert!(!lacking.is_empty());
        let told = conditions(&[], &lacking, Timestamp::UNIX_EPOCH);
        let told = Condition::find(&told, "NamespaceDeletionDiscoveryFailure").unwrap();
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "DiscoveryFailed"));
        assert_eq!(
            told.message,
            "Discovery failed for some groups, 1 failing: \
             unable to retrieve the complete list of server APIs: a.b/v1: stale"
        );
        let later = Timestamp::from_second(9).unwrap();
        let again = conditions(&found, &Remains::default(), later);
        let remaining = Condition::find(&again, "NamespaceContentRemaining").unwrap();
        assert_eq!(remaining.last_transition_time, Some(Time(later)));
        let same = Condition::find(&again, "NamespaceDeletionContentFailure").unwrap();
        assert_eq!(same.last_transition_time, Some(Time(Timestamp::UNIX_EPOCH)));
    }
}

//! A deployment's ReplicaSets as the plan sees and changes them, and the arithmetic on them.

use std::collections::BTreeMap;

use onggi_api::IntOrString;
use onggi_api::jiff::Timestamp;

use crate::view::{Condition, Deployment, ReplicaSetStatus};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that a set does not take over from its deployment.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// One ReplicaSet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<Timestamp>,
    pub(super) deleting: bool,
    pub(super) generation: i64,
    pub(super) annotations: BTreeMap<String, String>,
    /// `spec.replicas`: what it should have.
    pub(super) replicas: i32,
    pub(super) min_ready_seconds: i32,
    /// Whether its template is the deployment's.
    pub(super) current: bool,
    /// Whether a pod of it has not ended, deleted ones included.
    pub(super) has_pods: bool,
    pub(super) status: ReplicaSetStatus,
}

impl Set {
    pub(super) fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn number(&self, annotation: &str) -> Option<i32> {
        self.annotations.get(annotation)?.parse().ok()
    }

    /// How many replicas the deployment wanted when it was last looked at.
    pub(super) fn desired(&self) -> Option<i32> {
        self.number(DESIRED)
    }

    /// How many pods there might be at most then.
    pub(super) fn maximum(&self) -> Option<i32> {
        self.number(MAXIMUM)
    }

    /// Notes down what the deployment wants.
    pub(super) fn note(&mut self, deployment: &Deployment) {
        let wanted = deployment.spec.replicas;
        self.annotations.insert(DESIRED.into(), wanted.to_string());
        self.annotations.insert(MAXIMUM.into(), (wanted + max_surge(deployment)).to_string());
    }

    /// Takes over the deployment's annotations and, where it is not the newest yet, a revision.
    pub(super) fn take_over(&mut self, deployment: &Deployment, revision: i64) {
        for (key, value) in &deployment.metadata.annotations {
            if !NOT_COPIED.contains(&key.as_str()) {
                self.annotations.insert(key.clone(), value.clone());
            }
        }
        let old = self.revision();
        if old >= revision {
            return;
        }
        if let Some(before) = self.annotations.insert(REVISION.into(), revision.to_string()) {
            let history = self.annotations.entry(REVISION_HISTORY.into()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&before);
        }
    }

    pub(super) fn failure(&self) -> Option<&Condition> {
        Condition::find(&self.status.conditions, "ReplicaFailure")
    }
}

/// The sum of a count over sets.
pub(super) fn sum<'a>(sets: impl IntoIterator<Item = &'a Set>, count: impl Fn(&Set) -> i32) -> i32 {
    sets.into_iter().map(count).fold(0, i32::saturating_add)
}

// === How far a rolling update may go ===

pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    deployment.spec.strategy.kind != "Recreate"
}

/// How many pods there may be beyond the wanted.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { bounds(deployment).0 } else { 0 }
}

/// How many of the wanted pods may be missing.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let replicas = deployment.spec.replicas;
    if !is_rolling(deployment) || replicas == 0 {
        return 0;
    }
    bounds(deployment).1.min(replicas)
}

/// Surge is rounded up, unavailability down; both zero would stand still.
fn bounds(deployment: &Deployment) -> (i32, i32) {
    let rolling = &deployment.spec.strategy.rolling_update;
    let replicas = deployment.spec.replicas;
    let surge = share(rolling.max_surge.as_ref(), replicas, true);
    let unavailable = share(rolling.max_unavailable.as_ref(), replicas, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A count, or a percentage of the replicas. The API server has checked its form.
fn share(share: Option<&IntOrString>, replicas: i32, up: bool) -> i32 {
    match share {
        None => 0,
        Some(IntOrString::Int(count)) => *count,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let parts = percent.saturating_mul(replicas.into());
            let count = if up { parts.saturating_add(99) / 100 } else { parts / 100 };
            i32::try_from(count).unwrap_or(i32::MAX)
        }
    }
}

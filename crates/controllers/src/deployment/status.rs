//! The status of a deployment: counts, and the conditions Available, Progressing and
//! ReplicaFailure.

use std::time::Duration;

use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_api::meta::Time;

use super::sets::{Set, max_unavailable, sum};
use crate::view::{Condition, Deployment, DeploymentStatus};

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The seconds within which a rollout must get on; the largest number means for ever.
pub(super) fn deadline(deployment: &Deployment) -> Option<i64> {
    deployment.spec.progress_deadline_seconds.filter(|s| *s != i32::MAX).map(i64::from)
}

pub(super) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Puts a condition in; one of the same status and reason stays as it is.
pub(super) fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    if let Some(old) = Condition::find(conditions, &new.kind) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time.clone_from(&old.last_transition_time);
        }
    }
    remove(conditions, &new.kind);
    conditions.push(new);
}

pub(super) fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.kind != kind);
}

/// Whether all that was wanted is there, and nothing else.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas;
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// A rollout that was paused is not late, and begins anew when it goes on.
pub(super) fn note_pause(deployment: &Deployment, conditions: &mut Vec<Condition>, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let reason = Condition::find(conditions, PROGRESSING).map(|c| c.reason.as_str());
    let (reason, message) = match (reason, deployment.spec.paused) {
        (Some(TIMED_OUT), _) => return,
        (Some(PAUSED), true) => return,
        (_, true) => (PAUSED, "Deployment is paused"),
        (Some(PAUSED), false) => ("DeploymentResumed", "Deployment is resumed"),
        (_, false) => return,
    };
    set(conditions, condition(PROGRESSING, "Unknown", reason, message.into(), now));
}

/// The counts, and whether enough is available; the other conditions are those given.
pub(super) fn counts<'a>(
    deployment: &Deployment,
    sets: impl IntoIterator<Item = &'a Set> + Clone,
    new: Option<&Set>,
    mut conditions: Vec<Condition>,
    now: Timestamp,
) -> DeploymentStatus {
    let sets = || sets.clone();
    let available = sum(sets(), |set| set.status.available_replicas);
    let enough = available >= deployment.spec.replicas - max_unavailable(deployment);
    let (status, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut conditions, condition(AVAILABLE, status, reason, message.into(), now));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: sum(sets(), |set| set.status.replicas),
        updated_replicas: new.map_or(0, |set| set.status.replicas),
        ready_replicas: sum(sets(), |set| set.status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (sum(sets(), |set| set.replicas) - available).max(0),
        terminating_replicas: sum(sets(), |set| set.status.terminating_replicas.unwrap_or(0)),
        collision_count: deployment.status.collision_count,
        conditions,
    }
}

/// How the rollout gets on: complete, progressing, or too late.
pub(super) fn progress<'a>(
    deployment: &Deployment,
    sets: impl IntoIterator<Item = &'a Set>,
    new: Option<&Set>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let old = &deployment.status;
    let present = Condition::find(&status.conditions, PROGRESSING).cloned();
    let settled = status.replicas == status.updated_replicas
        && present.as_ref().is_some_and(|c| c.reason == NEW_SET_AVAILABLE);
    match deadline(deployment) {
        None => remove(&mut status.conditions, PROGRESSING),
        Some(_) if settled => {}
        Some(seconds) => {
            let what = match new {
                Some(set) => format!("ReplicaSet \"{}\"", set.name),
                None => format!("Deployment \"{}\"", deployment.metadata.name),
            };
            let told = |value, reason, text: &str| {
                condition(PROGRESSING, value, reason, format!("{what} {text}"), now)
            };
            if is_complete(deployment, status) {
                let done = told("True", NEW_SET_AVAILABLE, "has successfully progressed.");
                set(&mut status.conditions, done);
            } else if gets_on(old, status) {
                let mut moving = told("True", "ReplicaSetUpdated", "is progressing.");
                if let Some(present) = present.filter(|c| c.status == "True") {
                    moving.last_transition_time = present.last_transition_time;
                }
                // Each step counts from now, so it replaces one of the same reason too.
                remove(&mut status.conditions, PROGRESSING);
                status.conditions.push(moving);
            } else if is_late(present.as_ref(), seconds, now) {
                let late = told("False", TIMED_OUT, "has timed out progressing.");
                set(&mut status.conditions, late);
            }
        }
    }
    remove(&mut status.conditions, REPLICA_FAILURE);
    let failing = sets.into_iter().filter_map(Set::failure);
    let own = new.and_then(Set::failure);
    if let Some(failure) = own.or_else(|| failing.into_iter().next()) {
        let known = Condition::find(&old.conditions, REPLICA_FAILURE);
        let same = known.filter(|c| c.status == failure.status && c.reason == failure.reason);
        status.conditions.push(same.cloned().unwrap_or_else(|| {
            let last_update_time = failure.last_transition_time.clone();
            Condition { last_update_time, ..failure.clone() }
        }));
    }
}

fn gets_on(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn is_late(present: Option<&Condition>, seconds: i64, now: Timestamp) -> bool {
    let Some(present) = present else { return false };
    match present.reason.as_str() {
        NEW_SET_AVAILABLE => false,
        TIMED_OUT => true,
        _ => late_at(present, seconds).is_some_and(|at| at < now),
    }
}

fn late_at(present: &Condition, seconds: i64) -> Option<Timestamp> {
    let since = present.last_update_time.as_ref()?.0;
    since.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// How long until a rollout that stands still is late; nothing when it cannot become late.
pub(super) fn until_late(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let present = Condition::find(&status.conditions, PROGRESSING)?;
    if is_complete(deployment, status) || matches!(present.reason.as_str(), TIMED_OUT | PAUSED) {
        return None;
    }
    let left = late_at(present, deadline(deployment)?)?.duration_since(now);
    // A second more, because times are whole seconds.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

//! Rollouts of workloads: how far one is, which revisions there were, whose pods are whose. The
//! decisions are pure.

use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::{at, find, i64_at, list_at, str_at};
use serde_json::Value;

use crate::error::Error;
use crate::select::Selectors;
use crate::session::Session;

/// The number of a Deployment's revision, on it and on its ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Why a revision came to be.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// How far a rollout is, with kubectl's sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not yet.
    Waiting(String),
    /// All pods are of the newest template and available.
    Done(String),
    /// It will not come to an end.
    Failed(String),
}

/// How far a Deployment's rollout is.
pub fn deployment(object: &Value) -> Progress {
    let name = str_at(object, "metadata.name");
    let number = |path: &str| i64_at(object, path).unwrap_or(0);
    if number("metadata.generation") > number("status.observedGeneration") {
        return Progress::Waiting(
            "Waiting for deployment spec update to be observed...".to_owned(),
        );
    }
    let progressing = find(list_at(object, "status.conditions"), "type", "Progressing");
    if progressing.is_some_and(|c| str_at(c, "reason") == "ProgressDeadlineExceeded") {
        return Progress::Failed(format!("deployment {name:?} exceeded its progress deadline"));
    }
    let wanted = i64_at(object, "spec.replicas").unwrap_or(1);
    let (all, updated, available) = (
        number("status.replicas"),
        number("status.updatedReplicas"),
        number("status.availableReplicas"),
    );
    let waiting = |what: String| {
        Progress::Waiting(format!("Waiting for deployment {name:?} rollout to finish: {what}..."))
    };
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Done(format!("deployment {name:?} successfully rolled out"))
    }
}

/// How far the rollout of a workload of any kind is; an error where it has none.
pub fn progress(object: &Value) -> Result<Progress, Error> {
    match str_at(object, "kind") {
        "Deployment" => Ok(deployment(object)),
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        kind => Err(Error::new(format!("no status viewer has been implemented for {kind}"))),
    }
}

fn only_rolling(object: &Value) -> Result<(), Error> {
    if str_at(object, "spec.updateStrategy.type") == "RollingUpdate" {
        return Ok(());
    }
    Err(Error::new("rollout status is only available for RollingUpdate strategy type"))
}

/// How far a DaemonSet's rollout is.
fn daemon_set(object: &Value) -> Result<Progress, Error> {
    only_rolling(object)?;
    let name = str_at(object, "metadata.name");
    let number = |path: &str| i64_at(object, path).unwrap_or(0);
    if number("metadata.generation") > number("status.observedGeneration") {
        let text = "Waiting for daemon set spec update to be observed...";
        return Ok(Progress::Waiting(text.to_owned()));
    }
    let wanted = number("status.desiredNumberScheduled");
    let (updated, available) =
        (number("status.updatedNumberScheduled"), number("status.numberAvailable"));
    let waiting = |what: String| {
        Progress::Waiting(format!("Waiting for daemon set {name:?} rollout to finish: {what}..."))
    };
    Ok(if updated < wanted {
        waiting(format!("{updated} out of {wanted} new pods have been updated"))
    } else if available < wanted {
        waiting(format!("{available} of {wanted} updated pods are available"))
    } else {
        Progress::Done(format!("daemon set {name:?} successfully rolled out"))
    })
}

/// How far a StatefulSet's rollout is.
fn stateful_set(object: &Value) -> Result<Progress, Error> {
    only_rolling(object)?;
    let number = |path: &str| i64_at(object, path).unwrap_or(0);
    let observed = number("status.observedGeneration");
    if observed == 0 || number("metadata.generation") > observed {
        let text = "Waiting for statefulset spec update to be observed...";
        return Ok(Progress::Waiting(text.to_owned()));
    }
    let wanted = i64_at(object, "spec.replicas").unwrap_or(1);
    let (ready, updated) = (number("status.readyReplicas"), number("status.updatedReplicas"));
    if ready < wanted {
        return Ok(Progress::Waiting(format!(
            "Waiting for {} pods to be ready...",
            wanted - ready
        )));
    }
    if let Some(partition) =
        i64_at(object, "spec.updateStrategy.rollingUpdate.partition").filter(|p| *p > 0)
    {
        let of = wanted - partition;
        if updated < of {
            return Ok(Progress::Waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {of} new pods have \
                 been updated..."
            )));
        }
        let text =
            format!("partitioned roll out complete: {updated} new pods have been updated...");
        return Ok(Progress::Done(text));
    }
    let (update, current) =
        (str_at(object, "status.updateRevision"), str_at(object, "status.currentRevision"));
    if update != current {
        return Ok(Progress::Waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision \
             {update}..."
        )));
    }
    let pods = number("status.currentReplicas");
    let text = format!("statefulset rolling update complete {pods} pods at revision {current}...");
    Ok(Progress::Done(text))
}

/// The revisions of a StatefulSet or DaemonSet, in the shape of a Deployment's ReplicaSets; what
/// an undo sends stands in `data`.
pub async fn controller_revisions(session: &Session, owner: &Value) -> Result<Vec<Value>, Error> {
    let mapping = session.mapper().await?.by_name("controllerrevisions.apps")?;
    let namespace = str_at(owner, "metadata.namespace");
    let all = session.list(mapping, namespace, &Selectors::default()).await?;
    let own = all.into_iter().filter(|revision| is_controlled_by(revision, owner));
    let shaped = own.map(|revision| {
        let mut annotations = at(&revision, "metadata.annotations").clone();
        if !annotations.is_object() {
            annotations = serde_json::json!({});
        }
        let number = i64_at(&revision, "revision").unwrap_or(0).to_string();
        annotations[REVISION] = number.into();
        let mut template = at(&revision, "data.spec.template").clone();
        if let Some(map) = template.as_object_mut() {
            map.remove("$patch");
        }
        serde_json::json!({
            "metadata": {"name": revision["metadata"]["name"], "annotations": annotations},
            "spec": {"template": template},
            "data": revision["data"],
        })
    });
    Ok(shaped.collect())
}

/// A revision of an object; 0 where it has none.
pub fn revision(object: &Value) -> i64 {
    let annotation = at(object, "metadata.annotations").get(REVISION);
    annotation.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether an object is controlled by another.
pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    let uid = str_at(owner, "metadata.uid");
    list_at(object, "metadata.ownerReferences")
        .iter()
        .any(|o| o["controller"] == true && str_at(o, "uid") == uid)
}

/// The revision that an undo goes to: the given one, or the one before the newest.
pub fn target<'a>(sets: &'a [Value], to: i64) -> Option<&'a Value> {
    let mut sorted: Vec<&'a Value> = sets.iter().filter(|set| revision(set) > 0).collect();
    sorted.sort_by_key(|set| revision(set));
    match to {
        0 => sorted.iter().rev().nth(1).copied(),
        to => sorted.into_iter().find(|set| revision(set) == to),
    }
}

/// The template of a revision, without the label that its ReplicaSet added.
pub fn template(set: &Value) -> Value {
    let mut template = at(set, "spec.template").clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    template
}

/// The ReplicaSets of a Deployment.
pub async fn replica_sets(session: &Session, deployment: &Value) -> Result<Vec<Value>, Error> {
    let mapping = session.mapper().await?.by_name("replicasets.apps")?;
    let selected = selectors(deployment)?;
    let namespace = str_at(deployment, "metadata.namespace");
    let mut sets = session.list(mapping, namespace, &selected).await?;
    sets.retain(|set| is_controlled_by(set, deployment));
    Ok(sets)
}

/// The pods that a workload or a service selects, those that are ready and longest so first.
pub async fn pods_of(session: &Session, workload: &Value) -> Result<Vec<Value>, Error> {
    let mapping = session.mapper().await?.by_name("pods")?;
    let selected = selectors(workload)?;
    let namespace = str_at(workload, "metadata.namespace");
    let mut pods = session.list(mapping, namespace, &selected).await?;
    let rank = |pod: &Value| {
        let ready = find(list_at(pod, "status.conditions"), "type", "Ready")
            .is_some_and(|c| str_at(c, "status") == "True");
        let running = str_at(pod, "status.phase") == "Running";
        (!ready, !running, str_at(pod, "metadata.creationTimestamp").to_owned())
    };
    pods.sort_by_key(rank);
    Ok(pods)
}

fn selectors(workload: &Value) -> Result<Selectors, Error> {
    let selector = at(workload, "spec.selector");
    let nothing = || {
        let kind = str_at(workload, "kind");
        Error::new(format!("{kind} {} selects no pods", str_at(workload, "metadata.name")))
    };
    let is_plain = matches!(str_at(workload, "kind"), "Service" | "ReplicationController");
    let text = if is_plain {
        let map = selector.as_object().filter(|map| !map.is_empty()).ok_or_else(nothing)?;
        let one = |(key, value): (&String, &Value)| {
            format!("{key}={}", value.as_str().unwrap_or_default())
        };
        map.iter().map(one).collect::<Vec<_>>().join(",")
    } else {
        if selector.is_null() {
            return Err(nothing());
        }
        LabelSelector::from_object(selector).map_err(|e| Error::new(e.to_string()))?;
        onggi_machinery::table::selector_text(selector)
    };
    Ok(Selectors { selector: Some(text), field_selector: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sentences_of_a_rollout() {
        let with = |generation: i64, status: Value| {
            let metadata = json!({"name": "web", "generation": generation});
            deployment(&json!({"metadata": metadata, "spec": {"replicas": 3}, "status": status}))
        };
        let prefix = "Waiting for deployment \"web\" rollout to finish: ";
        for (status, text) in [
            (json!({"updatedReplicas": 1}), "1 out of 3 new replicas have been updated..."),
            (
                json!({"replicas": 4, "updatedReplicas": 3}),
                "1 old replicas are pending termination...",
            ),
            (
                json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
                "2 of 3 updated replicas are available...",
            ),
        ] {
            assert_eq!(with(0, status), Progress::Waiting(format!("{prefix}{text}")));
        }
        let full = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        let done = "deployment \"web\" successfully rolled out".to_owned();
        assert_eq!(with(0, full.clone()), Progress::Done(done));
        assert!(matches!(with(2, full), Progress::Waiting(text) if text.contains("observed")));
        let stuck = json!({"conditions": [
            {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]});
        assert!(matches!(with(0, stuck), Progress::Failed(_)));
    }

    #[test]
    fn an_undo_goes_to_the_revision_before() {
        let set = |n: i64| json!({"metadata": {"annotations": {REVISION: n.to_string()}}});
        let sets = [set(3), set(1), set(2)];
        assert_eq!(target(&sets, 0).map(revision), Some(2));
        assert_eq!(target(&sets, 1).map(revision), Some(1));
        assert_eq!(target(&sets, 7), None);
        assert_eq!(target(&sets[..1], 0), None);
    }
}

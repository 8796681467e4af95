//! The two kinds of one controller: a ReplicationController is read as the ReplicaSet that it is
//! but for the form of its selector.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use onggi_machinery::selector::LabelSelector;
use serde::Deserialize;

use crate::view::{Meta, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, Template};

/// A kind that is brought to as many pods as it wants.
pub(super) struct Variant {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    /// Whether its status has `terminatingReplicas`.
    pub(super) counts_terminating: bool,
}

pub(super) const REPLICA_SET: Variant =
    Variant { group: "apps", plural: "replicasets", kind: "ReplicaSet", counts_terminating: true };

pub(super) const REPLICATION_CONTROLLER: Variant = Variant {
    group: "",
    plural: "replicationcontrollers",
    kind: "ReplicationController",
    counts_terminating: false,
};

impl Project for ReplicaSet {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        if object.head().kind == REPLICATION_CONTROLLER.kind {
            return Ok(object.decode::<ReplicationController>()?.into());
        }
        object.decode()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReplicationController {
    metadata: Meta,
    spec: ReplicationControllerSpec,
    status: ReplicaSetStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReplicationControllerSpec {
    replicas: i32,
    min_ready_seconds: i32,
    selector: BTreeMap<String, String>,
    template: Template,
}

impl Default for ReplicationControllerSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            min_ready_seconds: 0,
            selector: BTreeMap::new(),
            template: Template::default(),
        }
    }
}

impl From<ReplicationController> for ReplicaSet {
    fn from(controller: ReplicationController) -> Self {
        let ReplicationController { metadata, spec, status } = controller;
        // One without selector would own every pod.
        let selector = if spec.selector.is_empty() {
            LabelSelector::nothing()
        } else {
            LabelSelector::from_map(&spec.selector)
        };
        let spec = ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: spec.template,
        };
        Self { metadata, spec, status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value) -> ReplicaSet {
        let value = json!({
            "apiVersion": "v1", "kind": "ReplicationController",
            "metadata": {"name": "web", "namespace": "d"}, "spec": spec,
        });
        ReplicaSet::project(&Arc::new(Object::from_value(&value, &[]).unwrap())).unwrap()
    }

    #[test]
    fn its_selector_is_a_map() {
        let pod = |app: &str| [("app".to_owned(), app.to_owned())].into();
        let set = read(json!({"replicas": 3, "minReadySeconds": 5, "selector": {"app": "web"}}));
        assert_eq!((set.spec.replicas, set.spec.min_ready_seconds), (3, 5));
        assert!(set.spec.selector.matches(&pod("web")));
        assert!(!set.spec.selector.matches(&pod("other")));
        assert!(!read(json!({})).spec.selector.matches(&pod("web")));
    }
}

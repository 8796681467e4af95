//! A pod as the kubelet keeps it, and the questions that every part of it asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use onggi_api::core::{Container, PodSpec, PodStatus};
use onggi_api::jiff::Timestamp;
use onggi_api::meta::{ObjectMeta, Time};
use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use serde::Deserialize;

use crate::ephemeral;

/// `terminationGracePeriodSeconds` where the pod does not say.
const DEFAULT_GRACE: i64 = 30;

/// The projection of a pod: without who wrote which field.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Parts")]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
    /// `spec.ephemeralContainers`.
    ephemeral: Vec<Container>,
}

/// A pod as it is written.
#[derive(Deserialize)]
struct Parts {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl From<Parts> for Pod {
    fn from(Parts { metadata, spec, status }: Parts) -> Self {
        let ephemeral = spec.ephemeral_containers.iter().flatten().cloned();
        let ephemeral = ephemeral.map(ephemeral::as_container).collect();
        Self { metadata, spec, status, ephemeral }
    }
}

/// Where in a pod a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in its turn and stays.
    Sidecar,
    /// One of `spec.containers`.
    App,
    /// One of `spec.ephemeralContainers`: starts once, whatever the others do.
    Ephemeral,
}

/// `spec.restartPolicy`, of the pod or of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Project for Pod {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let mut pod: Self = object.decode()?;
        pod.metadata.managed_fields = None;
        Ok(pod)
    }
}

impl Pod {
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.resourceVersion`; 0 where there is none.
    pub(crate) fn revision(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    /// `NAME_NAMESPACE(UID)`, as Kubernetes names pods in messages.
    pub(crate) fn full_name(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }

    pub(crate) fn deletion(&self) -> Option<Timestamp> {
        self.metadata.deletion_timestamp.as_ref().map(|Time(at)| *at)
    }

    pub(crate) fn is_host_network(&self) -> bool {
        self.spec.host_network.unwrap_or(false)
    }

    pub(crate) fn service_account(&self) -> &str {
        match self.spec.service_account_name.as_deref() {
            None | Some("") => "default",
            Some(name) => name,
        }
    }

    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        match self.spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }

    /// Seconds between TERM and KILL: what the deletion says, else what the pod says.
    pub(crate) fn grace_seconds(&self) -> i64 {
        let own = self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        let asked = match self.metadata.deletion_timestamp {
            Some(_) => self.metadata.deletion_grace_period_seconds,
            None => None,
        };
        asked.unwrap_or(own).max(1)
    }

    /// Whether the API says that it ended for good.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    pub(crate) fn init_containers(&self) -> &[Container] {
        self.spec.init_containers.as_deref().unwrap_or_default()
    }

    /// `spec.ephemeralContainers`.
    pub(crate) fn ephemeral_containers(&self) -> &[Container] {
        &self.ephemeral
    }

    /// The container whose processes an ephemeral one is to see.
    pub(crate) fn target_of(&self, ephemeral: &str) -> Option<&str> {
        let mut all = self.spec.ephemeral_containers.iter().flatten();
        let found = all.find(|container| container.name == ephemeral)?;
        found.target_container_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The containers that make the pod, in the order of their start.
    pub(crate) fn containers(&self) -> impl DoubleEndedIterator<Item = (Place, &Container)> {
        let init = self.init_containers().iter().map(|c| (place_of_init(c), c));
        init.chain(self.spec.containers.iter().map(|c| (Place::App, c)))
    }

    /// These and the ephemeral ones, which wait for nobody.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = (Place, &Container)> {
        self.ephemeral.iter().map(|c| (Place::Ephemeral, c)).chain(self.containers())
    }

    /// A container by its name, and its place.
    pub(crate) fn container(&self, name: &str) -> Option<(Place, &Container)> {
        self.all_containers().find(|(_, container)| container.name == name)
    }

    /// The policy that holds for a container in its place.
    pub(crate) fn policy_of(&self, place: Place) -> RestartPolicy {
        match (place, self.restart_policy()) {
            (Place::Sidecar, _) => RestartPolicy::Always,
            (Place::Ephemeral, _) => RestartPolicy::Never,
            // An init container that succeeded is not run again, whatever the pod's policy.
            (Place::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
            (_, policy) => policy,
        }
    }

    /// `spec.containers{NAME}`: the part that an event is about.
    pub(crate) fn field_path(&self, container: &str) -> String {
        let list = match self.container(container).map(|(place, _)| place) {
            Some(Place::App) => "containers",
            Some(Place::Ephemeral) => "ephemeralContainers",
            _ => "initContainers",
        };
        format!("spec.{list}{{{container}}}")
    }

    /// The names of the ConfigMaps and of the Secrets that the pod refers to.
    pub(crate) fn references(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
        for (_, container) in self.all_containers() {
            for from in container.env_from.iter().flatten() {
                maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
                secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
            }
            for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
                maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
                secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
            }
        }
        for volume in self.spec.volumes.iter().flatten() {
            maps.extend(volume.config_map.iter().map(|v| v.name.clone()));
            secrets.extend(volume.secret.iter().filter_map(|v| v.secret_name.clone()));
            let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
            for source in projected {
                maps.extend(source.config_map.iter().map(|v| v.name.clone()));
                secrets.extend(source.secret.iter().map(|v| v.name.clone()));
            }
        }
        let pull = self.spec.image_pull_secrets.iter().flatten();
        secrets.extend(pull.map(|r| r.name.clone()));
        maps.remove("");
        secrets.remove("");
        (maps, secrets)
    }
}

impl RestartPolicy {
    /// Whether a container that ended so is started again.
    pub(crate) fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

impl Qos {
    /// As the API names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

fn place_of_init(container: &Container) -> Place {
    match container.restart_policy.as_deref() {
        Some("Always") => Place::Sidecar,
        _ => Place::Init,
    }
}

/// `metav1.Time` of nanoseconds since 1970; whole seconds, as it is written. None: not yet.
pub(crate) fn time_of(nanos: i128) -> Option<Time> {
    let seconds = i64::try_from(nanos / 1_000_000_000).ok().filter(|s| *s != 0)?;
    Timestamp::from_second(seconds).ok().map(Time)
}

/// Without the part of a second, as it comes back from the API.
pub(crate) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

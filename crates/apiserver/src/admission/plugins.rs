//! The plugins by their names, in the order in which they are asked, which is Kubernetes'
//! (`pkg/kubeapiserver/options/plugins.go`).

use super::Plugin;
use super::{
    always, certificates, default_class, default_toleration_seconds, limit_ranger,
    namespace_lifecycle, node_restriction, node_taint, owner_references, pod_security,
    pod_topology_labels, priority, restrictions, runtime_class, service_account, storage_in_use,
    tolerations, volume_resize,
};

/// What stands behind a name.
enum Kind {
    /// One of ours.
    Ours(&'static dyn Plugin),
    /// Not a plugin in the list of ours: has its own place at the end of the chain.
    Stage(Stage),
    /// The feature that it belongs to is off by default in Kubernetes, so it does nothing.
    Idle,
    /// Needs a configuration that this server does not take; cannot be switched on.
    Missing,
}

/// The last links of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    MutatingPolicies,
    MutatingWebhooks,
    ValidatingPolicies,
    ValidatingWebhooks,
    Quota,
}

struct Row {
    name: &'static str,
    /// Without being asked for.
    on: bool,
    kind: Kind,
}

const fn on(name: &'static str, plugin: &'static dyn Plugin) -> Row {
    Row { name, on: true, kind: Kind::Ours(plugin) }
}

const fn off(name: &'static str, plugin: &'static dyn Plugin) -> Row {
    Row { name, on: false, kind: Kind::Ours(plugin) }
}

const fn stage(name: &'static str, stage: Stage) -> Row {
    Row { name, on: true, kind: Kind::Stage(stage) }
}

const fn idle(name: &'static str) -> Row {
    Row { name, on: true, kind: Kind::Idle }
}

const fn missing(name: &'static str) -> Row {
    Row { name, on: false, kind: Kind::Missing }
}

/// In this order. To add a plugin: a file beside this one, and a line here.
const ROWS: &[Row] = &[
    off("AlwaysAdmit", &always::AlwaysAdmit),
    missing("NamespaceAutoProvision"),
    on("NamespaceLifecycle", &namespace_lifecycle::NamespaceLifecycle),
    off("NamespaceExists", &restrictions::NamespaceExists),
    off("LimitPodHardAntiAffinityTopology", &restrictions::LimitPodHardAntiAffinityTopology),
    on("LimitRanger", &limit_ranger::LimitRanger),
    on("ServiceAccount", &service_account::ServiceAccount),
    Row {
        name: "NodeRestriction",
        // Kubernetes leaves it to the installer, and every installer switches it on.
        on: true,
        kind: Kind::Ours(&node_restriction::NodeRestriction),
    },
    on("TaintNodesByCondition", &node_taint::TaintNodesByCondition),
    off("AlwaysPullImages", &always::AlwaysPullImages),
    missing("ImagePolicyWebhook"),
    on("PodSecurity", &pod_security::PodSecurity),
    missing("PodNodeSelector"),
    on("Priority", &priority::Priority),
    on("DefaultTolerationSeconds", &default_toleration_seconds::DefaultTolerationSeconds),
    missing("PodTolerationRestriction"),
    missing("EventRateLimit"),
    off("ExtendedResourceToleration", &tolerations::ExtendedResourceToleration),
    on("DefaultStorageClass", &default_class::DefaultStorageClass),
    on("StorageObjectInUseProtection", &storage_in_use::StorageObjectInUseProtection),
    idle("PodGroupProtection"),
    off(
        "OwnerReferencesPermissionEnforcement",
        &owner_references::OwnerReferencesPermissionEnforcement,
    ),
    on("PersistentVolumeClaimResize", &volume_resize::PersistentVolumeClaimResize),
    on("RuntimeClass", &runtime_class::RuntimeClass),
    on("CertificateApproval", &certificates::CertificateApproval),
    on("CertificateSigning", &certificates::CertificateSigning),
    idle("ClusterTrustBundleAttest"),
    on("CertificateSubjectRestriction", &certificates::CertificateSubjectRestriction),
    on("DefaultIngressClass", &default_class::DefaultIngressClass),
    off("DenyServiceExternalIPs", &restrictions::DenyServiceExternalIPs),
    on("PodTopologyLabels", &pod_topology_labels::PodTopologyLabels),
    idle("PodGroupWorkloadExists"),
    idle("NodeDeclaredFeatureValidator"),
    idle("JobValidation"),
    idle("PodResizeValidator"),
    stage("MutatingAdmissionPolicy", Stage::MutatingPolicies),
    stage("MutatingAdmissionWebhook", Stage::MutatingWebhooks),
    stage("ValidatingAdmissionPolicy", Stage::ValidatingPolicies),
    stage("ValidatingAdmissionWebhook", Stage::ValidatingWebhooks),
    stage("ResourceQuota", Stage::Quota),
    off("AlwaysDeny", &always::AlwaysDeny),
];

/// The plugins that are on.
pub struct Plugins {
    ours: Vec<&'static dyn Plugin>,
    /// Beside them.
    names_of_ours: Vec<&'static str>,
    stages: Vec<Stage>,
    names: Vec<&'static str>,
}

/// `--enable-admission-plugins` or `--disable-admission-plugins` cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownPlugin {
    /// No such name.
    #[error("{option} plugin {name:?} is unknown")]
    Unknown {
        /// Which option.
        option: &'static str,
        /// The name.
        name: String,
    },
    /// On and off at once.
    #[error("[{0}] in enable-admission-plugins and disable-admission-plugins overlapped")]
    Both(String),
    /// One that needs an admission configuration file.
    #[error(
        "enable-admission-plugins plugin {0:?} needs a configuration of its own, which this server \
         does not take"
    )]
    Missing(String),
}

impl Plugins {
    /// What is on by default, and `enable`, without `disable`. `*` in `disable` means all that are
    /// not named in `enable`.
    pub fn new(enable: &[String], disable: &[String]) -> Result<Self, UnknownPlugin> {
        for (option, names) in
            [("enable-admission-plugins", enable), ("disable-admission-plugins", disable)]
        {
            for name in names {
                if !ROWS.iter().any(|row| row.name == *name) {
                    return Err(UnknownPlugin::Unknown { option, name: name.clone() });
                }
            }
        }
        if let Some(both) = enable.iter().find(|name| disable.contains(name)) {
            return Err(UnknownPlugin::Both(both.clone()));
        }
        let mut found = Self {
            ours: Vec::new(),
            names_of_ours: Vec::new(),
            stages: Vec::new(),
            names: Vec::new(),
        };
        for row in ROWS {
            let named = |names: &[String]| names.iter().any(|name| name == row.name);
            if !(row.on || named(enable)) || named(disable) {
                continue;
            }
            match row.kind {
                Kind::Ours(plugin) => {
                    found.ours.push(plugin);
                    found.names_of_ours.push(row.name);
                }
                Kind::Stage(stage) => found.stages.push(stage),
                Kind::Idle => {}
                Kind::Missing => return Err(UnknownPlugin::Missing(row.name.to_owned())),
            }
            found.names.push(row.name);
        }
        Ok(found)
    }

    /// The names of those that are on.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Every name that the options take, in the order of the chain.
    pub fn known() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    pub(super) fn ours(&self) -> &[&'static dyn Plugin] {
        &self.ours
    }

    /// The names of [`Self::ours`].
    pub(super) fn names_of_ours(&self) -> &[&'static str] {
        &self.names_of_ours
    }

    pub(super) fn has(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
}

impl Default for Plugins {
    fn default() -> Self {
        let all = |kind| ROWS.iter().filter(|row| row.on).filter_map(kind);
        Self {
            ours: all(|row: &Row| match row.kind {
                Kind::Ours(plugin) => Some(plugin),
                _ => None,
            })
            .collect(),
            names_of_ours: ROWS
                .iter()
                .filter(|row| row.on && matches!(row.kind, Kind::Ours(_)))
                .map(|row| row.name)
                .collect(),
            stages: ROWS
                .iter()
                .filter_map(|row| match row.kind {
                    Kind::Stage(stage) if row.on => Some(stage),
                    _ => None,
                })
                .collect(),
            names: ROWS.iter().filter(|row| row.on).map(|row| row.name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let new = |enable: &[&str], disable: &[&str]| {
            Plugins::new(&owned(enable), &owned(disable)).map(|found| found.names)
        };
        let usual = new(&[], &[]).unwrap();
        assert_eq!(usual, Plugins::default().names);
        assert!(!usual.contains(&"AlwaysPullImages"));
        let other = new(&["AlwaysPullImages"], &["Priority"]).unwrap();
        assert!(other.contains(&"AlwaysPullImages") && !other.contains(&"Priority"));
        for (enable, disable, error) in [
            (&["Nonsense"][..], &[][..], "enable-admission-plugins plugin \"Nonsense\" is unknown"),
            (
                &["Priority"],
                &["Priority"],
                "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
            ),
        ] {
            assert_eq!(new(enable, disable).unwrap_err().to_string(), error);
        }
    }
}

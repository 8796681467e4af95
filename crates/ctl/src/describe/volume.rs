//! The sources of volumes that are described field by field.

use onggi_machinery::value::{at, list_at, str_at};
use serde_json::Value;

use super::text::Text;
use crate::jsonpath::text_of;

/// How a field is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A text that is nothing where it is not there.
    OrNone,
    /// A text behind a label without a colon, as kubectl has it.
    Bare,
    Number,
    Flag,
    Texts,
    /// A reference to a Secret.
    Secret,
}

use Kind::{Bare, Flag, Number, OrNone, Secret, Text as Words, Texts};

/// The name of the source in a volume, what it is, and its fields: label, name, kind.
type Source = (&'static str, &'static str, &'static [(&'static str, &'static str, Kind)]);

const SOURCES: &[Source] = &[
    (
        "gcePersistentDisk",
        "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
        &[
            ("PDName", "pdName", Words),
            ("FSType", "fsType", Words),
            ("Partition", "partition", Number),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "awsElasticBlockStore",
        "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
        &[
            ("VolumeID", "volumeID", Words),
            ("FSType", "fsType", Words),
            ("Partition", "partition", Number),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "gitRepo",
        "GitRepo (a volume that is pulled from git when the pod is created)",
        &[("Repository", "repository", Words), ("Revision", "revision", Words)],
    ),
    (
        "iscsi",
        "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then \
         exposed to the pod)",
        &[
            ("TargetPortal", "targetPortal", Words),
            ("IQN", "iqn", Words),
            ("Lun", "lun", Number),
            ("ISCSIInterface", "iscsiInterface", Bare),
            ("FSType", "fsType", Words),
            ("ReadOnly", "readOnly", Flag),
            ("Portals", "portals", Texts),
            ("DiscoveryCHAPAuth", "chapAuthDiscovery", Flag),
            ("SessionCHAPAuth", "chapAuthSession", Flag),
            ("SecretRef", "secretRef", Secret),
            ("InitiatorName", "initiatorName", OrNone),
        ],
    ),
    (
        "glusterfs",
        "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)",
        &[
            ("EndpointsName", "endpoints", Words),
            ("Path", "path", Words),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "rbd",
        "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)",
        &[
            ("CephMonitors", "monitors", Texts),
            ("RBDImage", "image", Words),
            ("FSType", "fsType", Words),
            ("RBDPool", "pool", Words),
            ("RadosUser", "user", Words),
            ("Keyring", "keyring", Words),
            ("SecretRef", "secretRef", Secret),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "cephfs",
        "CephFS (a CephFS mount on the host that shares a pod's lifetime)",
        &[
            ("Monitors", "monitors", Texts),
            ("Path", "path", Words),
            ("User", "user", Words),
            ("SecretFile", "secretFile", Words),
            ("SecretRef", "secretRef", Secret),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "cinder",
        "Cinder (a Persistent Disk resource in OpenStack)",
        &[
            ("VolumeID", "volumeID", Words),
            ("FSType", "fsType", Words),
            ("ReadOnly", "readOnly", Flag),
            ("SecretRef", "secretRef", Secret),
        ],
    ),
    (
        "azureDisk",
        "AzureDisk (an Azure Data Disk mount on the host and bind mount to the pod)",
        &[
            ("DiskName", "diskName", Words),
            ("DiskURI", "diskURI", Words),
            ("Kind", "kind", Words),
            ("FSType", "fsType", Words),
            ("CachingMode", "cachingMode", Words),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
    (
        "vsphereVolume",
        "vSphereVolume (a Persistent Disk resource in vSphere)",
        &[
            ("VolumePath", "volumePath", Words),
            ("FSType", "fsType", Words),
            ("StoragePolicyName", "storagePolicyName", Words),
        ],
    ),
    (
        "portworxVolume",
        "PortworxVolume (a Portworx Volume resource)",
        &[("VolumeID", "volumeID", Words)],
    ),
    (
        "quobyte",
        "Quobyte (a Quobyte mount on the host that shares a pod's lifetime)",
        &[
            ("Registry", "registry", Words),
            ("Volume", "volume", Words),
            ("ReadOnly", "readOnly", Flag),
        ],
    ),
];

/// Describes a source of the table; whether it is one.
pub(super) fn listed(text: &mut Text, level: usize, volume: &Value) -> bool {
    let found = SOURCES.iter().find_map(|(name, what, fields)| {
        Some((volume.get(*name).filter(|source| !source.is_null())?, what, fields))
    });
    let Some((source, what, fields)) = found else { return false };
    text.field(level, "Type", what);
    for (label, name, kind) in *fields {
        let value = at(source, name);
        let shown = match kind {
            Words | Bare => str_at(source, name).to_owned(),
            OrNone => value.as_str().unwrap_or("<none>").to_owned(),
            Number => value.as_i64().unwrap_or(0).to_string(),
            Flag => value.as_bool().unwrap_or(false).to_string(),
            Texts => {
                let texts: Vec<String> = list_at(source, name).iter().map(text_of).collect();
                format!("[{}]", texts.join(" "))
            }
            Secret if value.is_null() => "nil".to_owned(),
            Secret => match str_at(value, "namespace") {
                "" => format!("&LocalObjectReference{{Name:{},}}", str_at(value, "name")),
                namespace => {
                    format!(
                        "&SecretReference{{Name:{},Namespace:{namespace},}}",
                        str_at(value, "name")
                    )
                }
            },
        };
        match kind {
            Bare => text.line(level, &format!("{label}\t{shown}")),
            _ => text.field(level, label, &shown),
        }
    }
    true
}

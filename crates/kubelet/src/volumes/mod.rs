//! Volumes. A type is one file that says, purely, what its directory holds, and one line in
//! [`PLUGINS`]; writing, ownership and mounts are the same for all and live here and beside.

mod atomic;
mod configmap;
mod downward;
mod emptydir;
mod hostpath;
pub(crate) mod mounts;
mod projected;
mod secret;
mod subpath;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onggi_api::core::{Container, KeyToPath, Volume};
use onggi_node_api::Mount;

use crate::fields::NodeFacts;
use crate::objects::{Data, Kind};
use crate::pod::Pod;
use atomic::{File, Payload};
use mounts::Mounts;

/// What the content of volumes is made from.
pub(crate) struct Sources {
    pub(crate) pod: Arc<Pod>,
    pub(crate) facts: NodeFacts,
    pub(crate) objects: BTreeMap<(Kind, String), Arc<Data>>,
    /// Service account tokens by volume and path.
    pub(crate) tokens: BTreeMap<(String, String), String>,
}

/// What a volume is.
pub(crate) enum Content {
    /// A path of the node, as it is.
    Host,
    /// A directory that containers fill; on tmpfs with `memory`, of at most `size` bytes.
    Directory { memory: bool, size: Option<u64> },
    /// Files that we write; on tmpfs with `memory`.
    Files { memory: bool, payload: Payload },
}

/// A type of volume.
trait Plugin: Sync {
    /// As in the path of the volume: `kubernetes.io~NAME`.
    fn name(&self) -> &'static str;
    /// Whether a volume is of this type.
    fn handles(&self, volume: &Volume) -> bool;
    /// What the volume is. An error is what `FailedMount` says.
    fn content(&self, volume: &Volume, sources: &Sources) -> Result<Content, String>;
}

/// Every type of volume.
const PLUGINS: &[&dyn Plugin] = &[
    &configmap::ConfigMaps,
    &downward::DownwardApi,
    &emptydir::EmptyDirs,
    &hostpath::HostPaths,
    &projected::Projected,
    &secret::Secrets,
];

/// The files of one pod: `DATA_DIR/pods/UID`.
#[derive(Clone)]
pub(crate) struct PodFiles {
    root: PathBuf,
    mounts: Arc<dyn Mounts>,
}

/// A volume that is not to be had; the text of the event `FailedMount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub(crate) struct MountError {
    volume: String,
    message: String,
}

impl PodFiles {
    pub(crate) fn new(data_dir: &Path, uid: &str, mounts: Arc<dyn Mounts>) -> Self {
        Self { root: data_dir.join("pods").join(uid), mounts }
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.root.join("etc-hosts")
    }

    fn volume(&self, plugin: &dyn Plugin, name: &str) -> PathBuf {
        self.root.join("volumes").join(format!("kubernetes.io~{}", plugin.name())).join(name)
    }

    /// Sets up every volume of the pod, or brings it up to date. `stamp` is new with every call.
    /// Blocks on the disk.
    pub(crate) fn set_up(&self, sources: &Sources, stamp: &str) -> Result<(), MountError> {
        for volume in sources.pod.spec.volumes.iter().flatten() {
            let fail = |message: String| MountError { volume: volume.name.clone(), message };
            let plugin = plugin_of(volume).map_err(fail)?;
            let content = plugin.content(volume, sources).map_err(fail)?;
            let path = self.volume(plugin, &volume.name);
            let group = fs_group(&sources.pod);
            self.realize(&path, content, group, stamp)
                .map_err(|error| fail(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }

    fn realize(
        &self,
        path: &Path,
        content: Content,
        group: Option<u32>,
        stamp: &str,
    ) -> io::Result<()> {
        let (memory, size) = match &content {
            Content::Host => return Ok(()),
            Content::Directory { memory, size } => (*memory, *size),
            Content::Files { memory, .. } => (*memory, None),
        };
        let fresh = !path.exists();
        fs::create_dir_all(path)?;
        if memory && !mounts::is_mount_point(path)? {
            self.mounts.tmpfs(path, size)?;
        }
        if fresh {
            let mode = if matches!(content, Content::Directory { .. }) { 0o777 } else { 0o755 };
            let set_group_id = if group.is_some() { 0o2000 } else { 0 };
            if let Some(group) = group {
                std::os::unix::fs::chown(path, None, Some(group))?;
            }
            // After chown, which takes the set-group-id bit away.
            fs::set_permissions(path, fs::Permissions::from_mode(mode | set_group_id))?;
        }
        match content {
            Content::Files { payload, .. } => atomic::write(path, &payload, group, stamp),
            _ => Ok(()),
        }
    }

    /// The bind mounts of a container. `expand` replaces `$(NAME)` in `subPathExpr`. Blocks on the
    /// disk.
    pub(crate) fn mounts(
        &self,
        sources: &Sources,
        container: &Container,
        expand: impl Fn(&str) -> String,
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        let volumes = sources.pod.spec.volumes.as_deref().unwrap_or_default();
        for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
            let volume = volumes
                .iter()
                .find(|volume| volume.name == mount.name)
                .ok_or_else(|| format!("volume {:?} not found", mount.name))?;
            let plugin = plugin_of(volume)?;
            let root = match &volume.host_path {
                Some(host) => PathBuf::from(&host.path),
                None => self.volume(plugin, &volume.name),
            };
            let sub = match (&mount.sub_path_expr, &mount.sub_path) {
                (Some(expression), _) if !expression.is_empty() => expand(expression),
                (_, Some(path)) => path.clone(),
                _ => String::new(),
            };
            let readonly = mount.read_only.unwrap_or(false);
            let host_path = if sub.is_empty() {
                if let Some(host) = &volume.host_path {
                    hostpath::make_missing(host)?;
                }
                root
            } else {
                let place = self.root.join("volume-subpaths").join(&volume.name);
                let place = place.join(&container.name).join(at.to_string());
                subpath::bind(&*self.mounts, &root, &sub, &place).map_err(|error| {
                    format!("failed to prepare subPath for volumeMount {:?}: {error}", mount.name)
                })?;
                place
            };
            mounts.push(Mount {
                host_path,
                container_path: PathBuf::from(&mount.mount_path),
                readonly,
                propagation: mount.mount_propagation.clone().unwrap_or_else(|| "None".into()),
            });
        }
        Ok(mounts)
    }

    /// Unmounts all; with `files`, removes all. Blocks on the disk.
    pub(crate) fn release(&self, files: bool) -> io::Result<()> {
        self.mounts.unmount_below(&self.root)?;
        if !files {
            return Ok(());
        }
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn plugin_of(volume: &Volume) -> Result<&'static dyn Plugin, String> {
    PLUGINS.iter().copied().find(|plugin| plugin.handles(volume)).ok_or_else(|| {
        "no volume plugin matched: this node knows configMap, downwardAPI, emptyDir, hostPath, \
         projected and secret"
            .to_owned()
    })
}

pub(crate) fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.security_context.as_ref()?;
    context.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// Bits of a file's mode, as the API holds them.
fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644) & 0o777
}

/// The files of a ConfigMap or Secret: all keys, or those of `items`.
fn files_of(
    data: Option<&Data>,
    reference: (Kind, &str),
    items: Option<&Vec<KeyToPath>>,
    default_mode: Option<i32>,
    optional: bool,
) -> Result<Payload, String> {
    let (kind, name) = reference;
    let Some(data) = data else {
        let missing = || format!("{} {name:?} not found", kind.as_str());
        return if optional { Ok(Payload::new()) } else { Err(missing()) };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let file = |value: &Vec<u8>| File::new(value.clone(), mode(None, default_mode));
        return Ok(data.entries.iter().map(|(key, value)| (key.clone(), file(value))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.entries.get(&item.key) {
            Some(value) => {
                let file = File::new(value.clone(), mode(item.mode, default_mode));
                payload.insert(item.path.clone(), file);
            }
            None if optional => {}
            None => {
                let word = if kind == Kind::Secret { "secret" } else { "config" };
                return Err(format!("references non-existent {word} key: {}", item.key));
            }
        }
    }
    Ok(payload)
}

impl Sources {
    fn object(&self, kind: Kind, name: &str) -> Option<&Data> {
        self.objects.get(&(kind, name.to_owned())).map(|data| &**data)
    }
}

#[cfg(test)]
mod tests;

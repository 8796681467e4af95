//! `RUN`: a process on an overlay of the layers so far; what it changed becomes a layer.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use onggi_node_api::{Mount, StepConfig, StepRunner};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::sync::mpsc;

use super::layer::LayerWriter;
use crate::error::Context;
use crate::progress::{Event, Progress};
use crate::store::{Store, TempDir};
use crate::unpack::View;
use crate::{Error, Result};

/// The overlay's directory in a temporary directory; the store unmounts what a crash left there.
pub(crate) const MERGED: &str = "merged";

/// Files of the node that a step sees.
const BORROWED: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What the runtime may put into a root file system as mount points.
const MOUNT_POINTS: [&str; 9] = [
    "proc",
    "sys",
    "dev",
    "etc",
    "etc/resolv.conf",
    "etc/hosts",
    "etc/hostname",
    "dev/pts",
    "dev/shm",
];

/// A process to run.
pub(super) struct Process {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: String,
    pub(super) user: String,
    pub(super) network: bool,
    /// Cache directories: on the node, in the image.
    pub(super) caches: Vec<(PathBuf, String)>,
}

/// A writable overlay; unmounted and removed with this.
struct Overlay {
    dir: TempDir,
}

impl Overlay {
    fn new(store: &Store, layers: &[PathBuf]) -> Result<Self> {
        let dir = store.temp_dir()?;
        let at = |name: &str| dir.path().join(name);
        for name in ["upper", "work", MERGED] {
            fs::create_dir(at(name)).at(&at(name))?;
        }
        // The root's own mode, owner and time are the image's, not ours.
        if let Some(top) = layers.first() {
            use std::os::unix::fs::{MetadataExt, chown};
            let meta = fs::metadata(top).at(top)?;
            chown(at("upper"), Some(meta.uid()), Some(meta.gid())).at(&at("upper"))?;
            fs::set_permissions(at("upper"), meta.permissions()).at(&at("upper"))?;
        }
        let lower: Vec<_> = layers.iter().map(|l| l.display().to_string()).collect();
        // Without redirects and the like: the upper directory alone must say what changed.
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off",
            lower.join(":"),
            at("upper").display(),
            at("work").display()
        );
        let options = std::ffi::CString::new(options)
            .map_err(|_| Error::invalid("the data directory's path has a null byte"))?;
        mount("overlay", at(MERGED), "overlay", MountFlags::empty(), options.as_c_str()).context(
            || "mounting the root file system of a RUN (needs root and overlayfs)".to_owned(),
        )?;
        Ok(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Err(e) = unmount(self.path(MERGED), UnmountFlags::DETACH) {
            tracing::warn!(error = %e, "the root file system of a RUN stays mounted");
        }
    }
}

/// Runs it; what it changed is written to `layer`. Answers whether it changed anything.
pub(super) fn run(
    store: &Store,
    runner: &dyn StepRunner,
    process: Process,
    layers: &[PathBuf],
    progress: &Progress,
    layer: &mut LayerWriter,
) -> Result<bool> {
    let overlay = Overlay::new(store, layers)?;
    let view = View::new(layers.to_vec());
    let mut mounts = Vec::new();
    for file in BORROWED {
        if process.network && Path::new(file).exists() {
            mounts.push(mount_of(Path::new(file), Path::new(file), true));
        }
    }
    for (host, target) in &process.caches {
        fs::create_dir_all(host).at(host)?;
        mounts.push(mount_of(host, Path::new(target), false));
    }
    let shown = process.args.join(" ");
    let config = StepConfig {
        rootfs: overlay.path(MERGED),
        args: process.args,
        env: process.env,
        working_dir: process.working_dir,
        user: process.user,
        mounts,
        network: process.network,
    };
    let code = tokio::runtime::Handle::current().block_on(async {
        let (sender, mut output) = mpsc::channel::<Vec<u8>>(64);
        let tell = async {
            while let Some(bytes) = output.recv().await {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                progress.tell(Event::Output { text }).await;
            }
        };
        let (code, ()) = tokio::join!(runner.run_step(config, sender), tell);
        code
    });
    match code {
        Ok(0) => {}
        Ok(code) => return Err(Error::invalid(format!("{shown:?} ended with code {code}"))),
        Err(e) => return Err(Error::invalid(format!("{shown:?}: {e}"))),
    }
    // Mount points that were not there before, and that nothing was put into.
    let left_behind = |path: &Path, meta: &Metadata| {
        let known = MOUNT_POINTS.iter().any(|p| Path::new(p) == path);
        let steps: Vec<_> = path.iter().map(Into::into).collect();
        let empty = match meta.is_dir() {
            true => only_mount_points(&overlay.path("upper"), path),
            false => meta.is_file() && meta.len() == 0,
        };
        known && empty && view.lookup(&steps).is_ok_and(|found| found.is_none())
    };
    Ok(layer.upper(&overlay.path("upper"), &left_behind)? > 0)
}

fn only_mount_points(upper: &Path, dir: &Path) -> bool {
    fs::read_dir(upper.join(dir)).is_ok_and(|entries| {
        entries.flatten().all(|entry| {
            let path = dir.join(entry.file_name());
            MOUNT_POINTS.iter().any(|p| Path::new(p) == path)
                && entry.metadata().is_ok_and(|meta| match meta.is_dir() {
                    true => only_mount_points(upper, &path),
                    false => meta.is_file() && meta.len() == 0,
                })
        })
    })
}

fn mount_of(host: &Path, target: &Path, readonly: bool) -> Mount {
    Mount {
        host_path: host.to_owned(),
        container_path: target.to_owned(),
        readonly,
        propagation: String::new(),
    }
}

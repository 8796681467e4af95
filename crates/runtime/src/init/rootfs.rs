//! Builds the file system of a container, in the container's own mount namespace, and moves into
//! it. Runs in the forked child; what it mounts goes away with the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use onggi_sys::mounts::{
    Attributes, Propagation, attach, clone_tree, clone_tree_at, is_directory, make_target,
    new_filesystem, open_in_root, overlay, set_attributes, set_propagation,
};
use onggi_sys::namespaces::{LinkNameSpaceType, enter, own};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use crate::protocol::Failure;
use crate::spec::{BindPropagation, ContainerSpec, MountSource, MountSpec, RootSpec};

const SAFE: Attributes = Attributes::NOSUID.with(Attributes::NODEV);
const DATA: Attributes = SAFE.with(Attributes::NOEXEC);

/// Links that programs expect in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// What the shim hands to every container of its pod.
pub(crate) struct Shared<'a> {
    /// The mount namespace of the node.
    pub(crate) node_mounts: BorrowedFd<'a>,
    /// The pod's `/dev/shm`.
    pub(crate) shared_memory: &'a Path,
}

/// Builds it and pivots.
pub(super) fn enter_root(spec: &ContainerSpec, shared: &Shared<'_>) -> Result<(), Failure> {
    // Copies of the node's mounts are taken first: below they stop being what they were.
    let mut binds = Vec::new();
    for mount in &spec.mounts {
        binds.push(bind_source(mount, shared, spec.all_devices)?);
    }
    let devices = device_sources(spec)?;
    let null = clone_tree(Path::new("/dev/null"), false).map_err(node("/dev/null"))?;
    set_propagation(Path::new("/"), Propagation::Slave).map_err(node("mounts of the node"))?;

    let root = mount_root(spec)?;
    for (mount, source) in spec.mounts.iter().zip(binds) {
        place(&root, mount, source, spec)?;
    }
    for (target, source) in devices {
        let at = make_target(&root, &target, true).map_err(target_error(&target))?;
        attach(source, at).map_err(target_error(&target))?;
    }
    for path in &spec.masked_paths {
        mask(&root, path, &null)?;
    }
    for path in &spec.readonly_paths {
        protect(&root, path)?;
    }
    make_target(&root, &spec.process.cwd, false).map_err(|error| {
        let cwd = spec.process.cwd.display();
        Failure::config(format!("working directory {cwd} cannot be made: {error}"))
    })?;
    if spec.readonly_root {
        set_attributes(&root, Attributes::RDONLY, None, false).map_err(node("root"))?;
    }
    pivot(root.as_fd())
}

/// The root file system, attached at a place of the node that nobody else sees.
fn mount_root(spec: &ContainerSpec) -> Result<OwnedFd, Failure> {
    let attributes = if spec.all_devices { Attributes::default() } else { Attributes::NODEV };
    let (tree, place) = match &spec.root {
        RootSpec::Overlay { lower, dir } => {
            let (upper, work) = (dir.join("upper"), dir.join("work"));
            let tree = overlay(lower, &upper, &work, attributes)
                .map_err(|e| Failure::io("root file system (overlay) cannot be mounted", e))?;
            (tree, dir.join("root"))
        }
        RootSpec::Directory(dir) => {
            let tree = clone_tree(dir, true).map_err(node(&dir.display().to_string()))?;
            set_attributes(&tree, attributes, Some(Propagation::Private), true)
                .map_err(node("root file system"))?;
            (tree, dir.clone())
        }
    };
    let at = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Failure::io(&place.display().to_string(), error))?;
    attach(&tree, at).map_err(node("root file system"))?;
    Ok(tree)
}

fn node(what: &str) -> impl Fn(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::io(&what, error)
}

fn target_error(target: &Path) -> impl Fn(std::io::Error) -> Failure {
    let target = target.to_owned();
    move |error| Failure::config(format!("mount on {}: {error}", target.display()))
}

/// A detached copy of what a bind mount shows. Who may not use every device may not make one in a
/// volume either.
fn bind_source(
    mount: &MountSpec,
    shared: &Shared<'_>,
    all_devices: bool,
) -> Result<Option<OwnedFd>, Failure> {
    let (path, propagation) = match &mount.source {
        MountSource::Filesystem { .. } => return Ok(None),
        MountSource::SharedMemory => (shared.shared_memory, BindPropagation::Private),
        MountSource::Bind { path, propagation } => (path.as_path(), *propagation),
    };
    let missing = |error: std::io::Error| {
        Failure::config(format!(
            "mount of {} on {}: {error}",
            path.display(),
            mount.target.display()
        ))
    };
    let tree = if matches!(mount.source, MountSource::SharedMemory) {
        clone_tree(path, true)
    } else {
        // Among the node's own mounts: those that are younger than the pod are not in our copy,
        // and only a copy made there has them as peers.
        let here = own("mnt").map_err(missing)?;
        enter(shared.node_mounts, LinkNameSpaceType::Mount).map_err(missing)?;
        let tree = clone_tree(path, true);
        enter(here, LinkNameSpaceType::Mount).map_err(missing)?;
        tree
    }
    .map_err(missing)?;
    let mut attributes = if all_devices { Attributes::default() } else { Attributes::NODEV };
    if mount.readonly {
        attributes = attributes.with(Attributes::RDONLY);
    }
    let propagation = match propagation {
        BindPropagation::Private => Some(Propagation::Private),
        BindPropagation::HostToContainer => Some(Propagation::Slave),
        BindPropagation::Bidirectional => None,
    };
    set_attributes(&tree, attributes, propagation, true).map_err(missing)?;
    Ok(Some(tree))
}

fn place(
    root: &OwnedFd,
    mount: &MountSpec,
    source: Option<OwnedFd>,
    spec: &ContainerSpec,
) -> Result<(), Failure> {
    let wrong = target_error(&mount.target);
    let tree = match (&mount.source, source) {
        (_, Some(tree)) => tree,
        (MountSource::Filesystem { kind, options, exec }, None) => {
            let mut attributes = if *exec { SAFE } else { DATA };
            if kind == "tmpfs" && spec.all_devices {
                attributes = Attributes::NOSUID;
            }
            if kind == "devpts" {
                // Its files are devices.
                attributes = Attributes::NOSUID.with(Attributes::NOEXEC);
            }
            if mount.readonly {
                attributes = attributes.with(Attributes::RDONLY);
            }
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            new_filesystem(kind, &options, attributes).map_err(&wrong)?
        }
        (_, None) => return Ok(()),
    };
    let file = !is_directory(&tree).map_err(&wrong)?;
    let at = make_target(root, &mount.target, file).map_err(&wrong)?;
    if is_directory(&at).map_err(&wrong)? == file {
        let text = "one is a directory and the other is not";
        return Err(wrong(std::io::Error::other(text)));
    }
    attach(&tree, at).map_err(&wrong)?;
    if mount.target == Path::new("/dev") {
        for (name, target) in LINKS {
            rustix::fs::symlinkat(target, &tree, name).map_err(|e| wrong(e.into()))?;
        }
        if spec.all_devices {
            copy_devices(Path::new("/dev"), tree.as_fd());
        }
    }
    Ok(())
}

/// Devices are bound, not made: so the file system below `/dev` needs none of its own, and a
/// device that the container makes for itself does not work, on any version of cgroups.
fn device_sources(spec: &ContainerSpec) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let mut sources = Vec::new();
    for (device, target) in &spec.devices {
        let tree = clone_tree(device, false)
            .map_err(|error| Failure::config(format!("device {}: {error}", device.display())))?;
        // A detached copy keeps its peers unless told otherwise.
        set_attributes(&tree, Attributes::default(), Some(Propagation::Private), false)
            .map_err(node("device"))?;
        sources.push((target.clone(), tree));
    }
    Ok(sources)
}

/// Makes every device of the node in a privileged container. One that cannot be made is left out,
/// as one that is plugged in later.
fn copy_devices(from: &Path, to: BorrowedFd<'_>) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let path = entry.path();
        let Ok(stat) = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match FileType::from_raw_mode(stat.st_mode) {
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                let _ = rustix::fs::mknodat(to, &name, kind, mode, stat.st_rdev);
            }
            FileType::Directory if !["pts", "shm", "mqueue"].iter().any(|own| name == *own) => {
                let _ = rustix::fs::mkdirat(to, &name, mode);
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                if let Ok(below) = rustix::fs::openat(to, &name, flags, Mode::empty()) {
                    copy_devices(&path, below.as_fd());
                }
            }
            _ => {}
        }
    }
}

/// Hides a path behind nothing.
fn mask(root: &OwnedFd, path: &Path, null: &OwnedFd) -> Result<(), Failure> {
    let Ok(at) = open_in_root(root, path, OFlags::PATH, Mode::empty()) else { return Ok(()) };
    let wrong = target_error(path);
    let cover = if is_directory(&at).map_err(&wrong)? {
        let attributes = DATA.with(Attributes::RDONLY);
        new_filesystem("tmpfs", &["size=0", "nr_inodes=1"], attributes).map_err(&wrong)?
    } else {
        clone_null(null).map_err(&wrong)?
    };
    attach(cover, at).map_err(&wrong)
}

/// Before Linux 6.15 a detached mount cannot be copied, but the node's file can.
fn clone_null(detached: &OwnedFd) -> std::io::Result<OwnedFd> {
    clone_tree_at(detached).or_else(|_| clone_tree(Path::new("/dev/null"), false))
}

fn protect(root: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let Ok(at) = open_in_root(root, path, OFlags::PATH, Mode::empty()) else { return Ok(()) };
    let wrong = target_error(path);
    let tree = clone_tree_at(&at).map_err(&wrong)?;
    set_attributes(&tree, Attributes::RDONLY, None, true).map_err(&wrong)?;
    attach(tree, at).map_err(&wrong)
}

/// Makes `root` the root of this mount namespace and lets go of the old one.
fn pivot(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| Failure::io("pivot_root", error);
    rustix::process::fchdir(root).map_err(failed)?;
    rustix::process::pivot_root(".", ".").map_err(failed)?;
    // The old root is now mounted over the new one.
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).map_err(failed)?;
    rustix::process::chdir("/").map_err(failed)
}

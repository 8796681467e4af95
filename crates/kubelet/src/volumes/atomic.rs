//! Files that all change in one moment: a reader sees the old set or the new one.
//!
//! The layout is Kubernetes', applications watch it: the files lie in a directory of their own,
//! `..data` points to it, and what users see are links through `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path};

const DATA: &str = "..data";

/// A file's content, its permission bits and its owner where it is not the kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: Option<u32>,
}

impl File {
    pub(crate) fn new(content: Vec<u8>, mode: u32) -> Self {
        Self { content, mode, owner: None }
    }
}

/// Files by their path below the volume.
pub(crate) type Payload = BTreeMap<String, File>;

/// Makes the directory show the payload and nothing else; does nothing when it does already.
pub(super) fn write(
    directory: &Path,
    payload: &Payload,
    group: Option<u32>,
    stamp: &str,
) -> io::Result<()> {
    if let Some(bad) = payload.keys().find(|path| !is_inside(path)) {
        let text = format!("{bad:?} leaves the volume");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let current = fs::read_link(directory.join(DATA)).ok();
    if let Some(current) = &current
        && holds(&directory.join(current), payload)
    {
        return Ok(());
    }
    let name = format!("..{stamp}");
    let fresh = directory.join(&name);
    fs::create_dir(&fresh)?;
    set_mode(&fresh, 0o755, None, group)?;
    for (path, file) in payload {
        let place = fresh.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        out.write_all(&file.content)?;
        let group_bits = if group.is_some() { 0o440 } else { 0 };
        set_mode(&place, file.mode | group_bits, file.owner, group)?;
    }
    let temporary = directory.join("..data_tmp");
    remove_file(&temporary)?;
    symlink(&name, &temporary)?;
    fs::rename(&temporary, directory.join(DATA))?;
    link_names(directory, payload)?;
    if let Some(old) = current {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

/// One link for each first component of a path; others are taken away.
fn link_names(directory: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(&*name) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

fn holds(directory: &Path, payload: &Payload) -> bool {
    let mut files = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(directory) else { return false };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    files == payload.len()
        && payload.iter().all(|(path, file)| {
            let place = directory.join(path);
            fs::read(&place).is_ok_and(|content| content == file.content)
                && fs::metadata(&place).is_ok_and(|found| {
                    found.permissions().mode() & file.mode == file.mode
                        && file.owner.is_none_or(|owner| owner == found.uid())
                })
        })
}

fn set_mode(path: &Path, mode: u32, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    if owner.or(group).is_some() {
        std::os::unix::fs::chown(path, owner, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_inside(path: &str) -> bool {
    let mut components = Path::new(path).components();
    !path.is_empty()
        && !path.starts_with("..")
        && components.all(|component| matches!(component, Component::Normal(_)))
}

//! `hostPath`: a path of the node, checked or made as `type` says.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::Path;

use onggi_api::core::{HostPathVolumeSource, Volume};

use super::{Content, Plugin, Sources};

pub(super) struct HostPaths;

impl Plugin for HostPaths {
    fn name(&self) -> &'static str {
        "host-path"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    fn content(&self, volume: &Volume, _sources: &Sources) -> Result<Content, String> {
        let source = volume.host_path.clone().unwrap_or_default();
        check(Path::new(&source.path), source.type_.as_deref().unwrap_or_default())?;
        Ok(Content::Host)
    }
}

/// Makes what a container is to mount and no `type` asks for, as other runtimes do.
pub(super) fn make_missing(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    if source.type_.as_deref().is_some_and(|kind| !kind.is_empty()) || path.exists() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| format!("failed to create {}: {error}", path.display()))
}

fn check(path: &Path, kind: &str) -> Result<(), String> {
    let make = |error: std::io::Error| format!("cannot create {}: {error}", path.display());
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(path).map_err(make)?,
        "FileOrCreate" if !path.exists() => fs::write(path, b"").map_err(make)?,
        _ => {}
    }
    let Ok(found) = fs::metadata(path) else {
        // What is not checked is made when a container mounts it.
        let missing = || format!("hostPath type check failed: {} is not there", path.display());
        return if kind.is_empty() { Ok(()) } else { Err(missing()) };
    };
    let file_type = found.file_type();
    let (fits, wanted) = match kind {
        "Directory" | "DirectoryOrCreate" => (file_type.is_dir(), "a directory"),
        "File" | "FileOrCreate" => (file_type.is_file(), "a file"),
        "Socket" => (file_type.is_socket(), "a socket file"),
        "CharDevice" => (file_type.is_char_device(), "a character device"),
        "BlockDevice" => (file_type.is_block_device(), "a block device"),
        _ => return Ok(()),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("hostPath type check failed: {} is not {wanted}", path.display()))
    }
}

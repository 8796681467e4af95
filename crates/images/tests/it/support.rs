//! Archives and images for tests.

use std::path::Path;
use std::sync::Arc;

use onggi_images::spec::{Config, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use onggi_images::store::{Pins, Store, StoredImage};
use onggi_images::{Digest, Reference};
use tar::EntryType;

/// Whether we are root; says so when not.
pub fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("{test}: skipped, needs root");
    }
    root
}

/// A tar in the making; names are taken as they are, also bad ones.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        mode: u32,
        data: &[u8],
    ) -> Self {
        self.push(kind, name, link, mode, data, (0, 0));
        self
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, name, "", 0o644, data.as_bytes())
    }

    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, "", mode, b"")
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, 0o777, b"")
    }

    pub fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, 0o644, b"")
    }

    pub fn device(mut self, name: &str, major: u32, minor: u32) -> Self {
        self.push(EntryType::Char, name, "", 0o666, b"", (major, minor));
        self
    }

    /// PAX attributes for the next entry.
    pub fn xattrs(mut self, attributes: &[(&str, &str)]) -> Self {
        let mut data = String::new();
        for (name, value) in attributes {
            let field = format!(" SCHILY.xattr.{name}={value}\n");
            let mut len = field.len() + 2;
            while format!("{len}{field}").len() != len {
                len += 1;
            }
            data.push_str(&format!("{len}{field}"));
        }
        self.push(EntryType::XHeader, "pax", "", 0o644, data.as_bytes(), (0, 0));
        self
    }

    fn push(
        &mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        mode: u32,
        data: &[u8],
        device: (u32, u32),
    ) {
        let mut header = tar::Header::new_ustar();
        {
            let raw = header.as_old_mut();
            raw.name[..name.len()].copy_from_slice(name.as_bytes());
            raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(if kind == EntryType::Symlink { 0 } else { 7 });
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_device_major(device.0).unwrap();
        header.set_device_minor(device.1).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// An image from plain layers, published under `name`.
pub fn image(store: &Arc<Store>, name: &str, layers: Vec<Vec<u8>>) -> StoredImage {
    let pins = store.pins();
    let manifest = manifest(store, layers, &pins);
    let reference: Reference = name.parse().unwrap();
    store.publish(&manifest, &[reference]).unwrap()
}

/// The manifest of an image from plain layers.
pub fn manifest(store: &Arc<Store>, layers: Vec<Vec<u8>>, pins: &Pins) -> Digest {
    let mut config =
        Config { architecture: "amd64".into(), os: "linux".into(), ..Config::default() };
    config.config.cmd = vec!["/bin/sh".into()];
    let layers: Vec<Descriptor> = layers
        .into_iter()
        .map(|layer| {
            config.rootfs.diff_ids.push(Digest::of(&layer));
            store.put(&layer, OCI_LAYER, pins).unwrap()
        })
        .collect();
    let config = store.put(&serde_json::to_vec(&config).unwrap(), OCI_CONFIG, pins).unwrap();
    let manifest =
        Manifest { schema_version: 2, media_type: Some(OCI_MANIFEST.into()), config, layers };
    store.put(&serde_json::to_vec(&manifest).unwrap(), OCI_MANIFEST, pins).unwrap().digest
}

/// Every path below a directory, sorted, with the contents of files.
pub fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                out.push(format!("{name}/"));
                walk(root, &path, out);
            } else if meta.is_symlink() {
                out.push(format!("{name} -> {}", std::fs::read_link(&path).unwrap().display()));
            } else if meta.is_file() {
                out.push(format!(
                    "{name} = {}",
                    String::from_utf8_lossy(&std::fs::read(&path).unwrap())
                ));
            } else {
                out.push(format!("{name} !"));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, root, &mut out);
    out.sort();
    out
}

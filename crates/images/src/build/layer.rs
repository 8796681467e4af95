//! Writing a layer: a tar whose bytes depend on nothing but its entries.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::{EntryType, Header};

use crate::error::Context;
use crate::spec::{Descriptor, OCI_LAYER};
use crate::store::{BlobWriter, Pins, Store};
use crate::unpack::{is_whiteout, opaque};
use crate::{Digest, Error, Result};

/// Owner, mode and time of an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits.
    pub(super) mode: u32,
    /// Seconds since 1970.
    pub(super) mtime: i64,
}

impl Attributes {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, mtime: meta.mtime() }
    }
}

/// A layer in the making.
pub(super) struct LayerWriter {
    tar: tar::Builder<BufWriter<BlobWriter>>,
    /// `SOURCE_DATE_EPOCH`: no time is later.
    epoch: Option<i64>,
}

impl LayerWriter {
    pub(super) fn new(store: &Arc<Store>, epoch: Option<i64>) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 20, store.writer()?);
        Ok(Self { tar: tar::Builder::new(out), epoch })
    }

    fn header(&self, kind: EntryType, attributes: Attributes, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        let mtime = self.epoch.map_or(attributes.mtime, |epoch| attributes.mtime.min(epoch));
        header.set_mtime(u64::try_from(mtime).unwrap_or(0));
        header.set_size(size);
        header
    }

    fn append(&mut self, header: &mut Header, path: &Path, data: impl Read) -> Result<()> {
        self.tar.append_data(header, path, data).context(|| format!("layer: {}", path.display()))
    }

    pub(super) fn dir(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push("/");
        let mut header = self.header(EntryType::Directory, attributes, 0);
        self.append(&mut header, Path::new(&name), std::io::empty())
    }

    pub(super) fn file(&mut self, path: &Path, attributes: Attributes, from: &Path) -> Result<()> {
        let file = File::open(from).at(from)?;
        let size = file.metadata().at(from)?.len();
        self.xattrs(from)?;
        let mut header = self.header(EntryType::Regular, attributes, size);
        // A file that shrinks meanwhile must not shift what follows.
        let mut data = file.take(size);
        self.append(&mut header, path, &mut data)?;
        match data.limit() {
            0 => Ok(()),
            _ => Err(Error::invalid(format!("{} changed while it was read", from.display()))),
        }
    }

    pub(super) fn bytes(&mut self, path: &Path, attributes: Attributes, data: &[u8]) -> Result<()> {
        let mut header = self.header(EntryType::Regular, attributes, data.len() as u64);
        self.append(&mut header, path, data)
    }

    pub(super) fn symlink(&mut self, path: &Path, attributes: Attributes, to: &Path) -> Result<()> {
        let mut header = self.header(EntryType::Symlink, attributes, 0);
        self.tar.append_link(&mut header, path, to).context(|| format!("layer: {}", path.display()))
    }

    fn hard_link(&mut self, path: &Path, attributes: Attributes, to: &Path) -> Result<()> {
        let mut header = self.header(EntryType::Link, attributes, 0);
        self.tar.append_link(&mut header, path, to).context(|| format!("layer: {}", path.display()))
    }

    /// Devices and pipes; sockets are of no use to anybody else.
    pub(super) fn special(&mut self, path: &Path, meta: &Metadata) -> Result<()> {
        let kind = match meta.file_type() {
            t if t.is_char_device() => EntryType::Char,
            t if t.is_block_device() => EntryType::Block,
            t if t.is_fifo() => EntryType::Fifo,
            _ => return Ok(()),
        };
        let mut header = self.header(kind, Attributes::of(meta), 0);
        let device = meta.rdev();
        let set = header
            .set_device_major(rustix::fs::major(device))
            .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
        set.context(|| path.display().to_string())?;
        self.append(&mut header, path, std::io::empty())
    }

    /// File capabilities, for the next entry.
    fn xattrs(&mut self, from: &Path) -> Result<()> {
        let mut value = [0u8; 256];
        if let Ok(n) = rustix::fs::lgetxattr(from, "security.capability", &mut value[..]) {
            let value = value.get(..n).unwrap_or_default();
            self.tar
                .append_pax_extensions([("SCHILY.xattr.security.capability", value)])
                .context(|| from.display().to_string())?;
        }
        Ok(())
    }

    /// Entries of an archive, moved below `dest`.
    pub(super) fn archive(&mut self, dest: &Path, from: &Path) -> Result<()> {
        let what = || from.display().to_string();
        let plain = crate::unpack::decompress(File::open(from).at(from)?).context(what)?;
        for entry in tar::Archive::new(plain).entries().context(what)? {
            let mut entry = entry.context(what)?;
            let path = below(dest, &entry.path().context(what)?)?;
            if path.as_os_str().is_empty() {
                continue;
            }
            let header = entry.header();
            let attributes = Attributes {
                uid: header.uid().context(what)? as u32,
                gid: header.gid().context(what)? as u32,
                mode: header.mode().context(what)? & 0o7777,
                mtime: header.mtime().context(what)? as i64,
            };
            let link = entry.link_name().context(what)?.map(|l| l.into_owned()).unwrap_or_default();
            match header.entry_type() {
                EntryType::Directory => self.dir(&path, attributes)?,
                EntryType::Symlink => self.symlink(&path, attributes, &link)?,
                EntryType::Link => self.hard_link(&path, attributes, &below(dest, &link)?)?,
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut header = self.header(EntryType::Regular, attributes, entry.size());
                    self.append(&mut header, &path, &mut entry)?;
                }
                // An archive of files, not of devices.
                _ => {}
            }
        }
        Ok(())
    }

    /// What a step changed: an overlay's upper directory, in the form of layers. `skip` are mount
    /// points that the runtime left behind.
    pub(super) fn upper(
        &mut self,
        upper: &Path,
        skip: &dyn Fn(&Path, &Metadata) -> bool,
    ) -> Result<usize> {
        let mut links = HashMap::new();
        self.upper_dir(upper, Path::new(""), skip, &mut links)
    }

    fn upper_dir(
        &mut self,
        upper: &Path,
        at: &Path,
        skip: &dyn Fn(&Path, &Metadata) -> bool,
        links: &mut HashMap<u64, PathBuf>,
    ) -> Result<usize> {
        let dir = upper.join(at);
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            names.push(entry.at(&dir)?.file_name());
        }
        names.sort();
        let mut entries = 0;
        for name in names {
            let path = at.join(&name);
            let real = upper.join(&path);
            let meta = fs::symlink_metadata(&real).at(&real)?;
            if skip(&path, &meta) {
                continue;
            }
            entries += 1;
            let attributes = Attributes::of(&meta);
            if is_whiteout(&meta) {
                let hidden = at.join(whiteout(&name));
                self.bytes(&hidden, Attributes::default(), b"")?;
            } else if meta.is_dir() {
                self.dir(&path, attributes)?;
                if opaque(&real).at(&real)? {
                    self.bytes(&path.join(".wh..wh..opq"), Attributes::default(), b"")?;
                }
                entries += self.upper_dir(upper, &path, skip, links)?;
            } else if meta.is_symlink() {
                let to = fs::read_link(&real).at(&real)?;
                self.symlink(&path, attributes, &to)?;
            } else if meta.is_file() {
                match links.get(&meta.ino()).filter(|_| meta.nlink() > 1) {
                    Some(first) => self.hard_link(&path, attributes, &first.clone())?,
                    None => {
                        self.file(&path, attributes, &real)?;
                        links.insert(meta.ino(), path);
                    }
                }
            } else {
                self.special(&path, &meta)?;
            }
        }
        Ok(entries)
    }

    /// The layer as a blob, and its diff id: the same, since it is not compressed.
    pub(super) fn finish(self, pins: &Pins) -> Result<(Descriptor, Digest)> {
        let writer = self
            .tar
            .into_inner()
            .and_then(|buffer| buffer.into_inner().map_err(|e| e.into_error()))
            .context(|| "writing a layer".to_owned())?;
        let (digest, size) = writer.commit(None, pins)?;
        Ok((Descriptor::new(OCI_LAYER, digest.clone(), size), digest))
    }
}

fn whiteout(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".wh.");
    hidden.push(OsStr::from_bytes(name.as_bytes()));
    hidden
}

fn below(dest: &Path, path: &Path) -> Result<PathBuf> {
    let mut out = dest.to_owned();
    for step in crate::unpack::steps(path) {
        if step == ".." {
            return Err(Error::invalid(format!("archive: {} leaves it (\"..\")", path.display())));
        }
        out.push(step);
    }
    Ok(out)
}

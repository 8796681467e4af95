//! The file with the key-encryption key: a number and 64 hexadecimal digits a line. While the key is
//! being changed it holds two lines; the highest number is the one to use.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Key;

const HEAD: &str = "\
# The key that seals the keys of this store. Without this file no Secret can be read again:
# keep a copy of it with every backup of the store, in another place than the backup.
";

/// See the module.
pub(crate) struct KeyFile {
    path: PathBuf,
    keys: BTreeMap<u32, Key>,
}

impl KeyFile {
    /// Reads the file; `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let failed = |problem: String| format!("{}: {problem}", path.display());
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        if mode & 0o077 != 0 {
            let mode = mode & 0o777;
            return Err(failed(format!(
                "others may read this key (mode {mode:o}): chmod 600 it, and rotate the key"
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let text = zeroize::Zeroizing::new(text);
        let mut keys = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, key) = parse(line).ok_or_else(|| failed("a line holds no key".into()))?;
            keys.insert(id, key);
        }
        if keys.is_empty() {
            return Err(failed("holds no key".into()));
        }
        Ok(Some(Self { path: path.to_owned(), keys }))
    }

    /// Makes a file with a new key.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let mut file = Self { path: path.to_owned(), keys: BTreeMap::new() };
        file.keys.insert(1, Key::generate()?);
        file.write()?;
        Ok(file)
    }

    /// The key to use, and its number.
    pub(crate) fn newest(&self) -> Result<(u32, &Key), String> {
        let newest = self.keys.last_key_value().map(|(id, key)| (*id, key));
        newest.ok_or_else(|| format!("{}: holds no key", self.path.display()))
    }

    /// A key by its number.
    pub(crate) fn get(&self, id: u32) -> Result<&Key, String> {
        self.keys.get(&id).ok_or_else(|| {
            format!(
                "{}: holds no key {id}, by which the store's keys are sealed; put back the file \
                 that belongs to this store",
                self.path.display()
            )
        })
    }

    /// Adds a new key, which is the one to use from now on.
    pub(crate) fn add(&mut self) -> Result<(), String> {
        let next = self.newest()?.0 + 1;
        self.keys.insert(next, Key::generate()?);
        self.write()
    }

    /// Drops all keys but the newest.
    pub(crate) fn retire(&mut self) -> Result<(), String> {
        let newest = self.newest()?.0;
        if self.keys.len() > 1 {
            self.keys.retain(|id, _| *id == newest);
            self.write()?;
        }
        Ok(())
    }

    /// The old content or the new one, never a part.
    fn write(&self) -> Result<(), String> {
        let mut text = zeroize::Zeroizing::new(HEAD.to_owned());
        for (id, key) in &self.keys {
            let digits = zeroize::Zeroizing::new(hex::encode(key.0));
            text.push_str(&format!("{id} {}\n", digits.as_str()));
        }
        let path = &self.path;
        let directory =
            path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = (|| {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let new = path.with_extension("new");
            let mut how = OpenOptions::new();
            let mut file = how.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(directory)?.sync_all()
        })();
        written.map_err(|error: io::Error| format!("{}: {error}", path.display()))
    }
}

fn parse(line: &str) -> Option<(u32, Key)> {
    let (id, digits) = line.split_once(' ')?;
    let bytes = zeroize::Zeroizing::new(hex::decode(digits.trim()).ok()?);
    Some((id.parse().ok()?, Key(bytes.as_slice().try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_of_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/store.key");
        assert!(KeyFile::read(&path).unwrap().is_none());
        let mut file = KeyFile::create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        file.add().unwrap();
        let mut read = KeyFile::read(&path).unwrap().unwrap();
        assert_eq!(read.newest().unwrap().0, 2);
        assert_eq!(read.get(1).unwrap().0, file.get(1).unwrap().0);
        read.retire().unwrap();
        assert!(KeyFile::read(&path).unwrap().unwrap().get(1).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = KeyFile::read(&path).err().unwrap();
        assert!(error.contains("mode 640"), "{error}");
    }
}

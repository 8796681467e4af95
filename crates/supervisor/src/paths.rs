//! Where everything of an instance lies, and the id that its kernel objects carry.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The format of the data directory that this version writes.
const FORMAT: &str = "1";

/// The data directory and the run directory of one instance.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Eight hexadecimal digits, derived from the data directory's path: it stands in the names of
    /// network interfaces, tables, cgroups and directories, so that two instances on one machine
    /// never touch each other's.
    pub instance: String,
    /// `--data-dir`, absolute.
    pub data: PathBuf,
    /// `/run/onggi/<instance>`: sockets and what does not outlive a boot.
    pub run: PathBuf,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Written by another version.
    #[error(
        "{path} has data format {found}, this onggi knows format {FORMAT}; use the version that wrote it, or another --data-dir"
    )]
    Format {
        /// The data directory.
        path: PathBuf,
        /// What its `VERSION` says.
        found: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// The path without links, as far as it is there: the same before it is made and after.
fn real(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(real(parent)?.join(name))
        }
        (result, ..) => result,
    }
}

impl Paths {
    /// The paths for a data directory, which need not exist.
    pub fn new(data_dir: &Path) -> Result<Self, Error> {
        let data = std::path::absolute(data_dir).map_err(io_error(data_dir))?;
        let data = real(&data).map_err(io_error(&data))?;
        let digest = hex::encode(Sha256::digest(data.as_os_str().as_encoded_bytes()));
        let instance = digest[..8].to_owned();
        let run = Path::new("/run/onggi").join(&instance);
        Ok(Self { instance, data, run })
    }

    /// Makes what is missing and refuses another version's data.
    pub fn create(&self) -> Result<(), Error> {
        for directory in [
            self.data.clone(),
            self.pki(),
            self.store(),
            self.images(),
            self.pods(),
            self.bin(),
            self.log(),
            self.run.clone(),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(io_error(&directory))?;
        }
        let version = self.data.join("VERSION");
        match fs::read_to_string(&version) {
            Ok(text) if text.trim() == FORMAT => Ok(()),
            Ok(text) => {
                Err(Error::Format { path: self.data.clone(), found: text.trim().to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let content = format!("{FORMAT}\n");
                onggi_base::files::write_atomic(&version, content.as_bytes(), 0o644)
                    .map_err(io_error(&version))
            }
            Err(error) => Err(io_error(&version)(error)),
        }
    }

    /// Held by the process that uses the data directory.
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// The API server's store.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// The key by which Secrets are sealed in the store: beside it, so that a copy of the store alone
    /// gives nothing away.
    pub fn store_key(&self) -> PathBuf {
        self.data.join("keys/store.key")
    }

    /// Image content and unpacked layers.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Volumes and logs, a directory a pod. (Writable layers are in `containers/`.)
    pub fn pods(&self) -> PathBuf {
        self.data.join("pods")
    }

    /// Read-only copies of our own executable, for the shims.
    pub fn bin(&self) -> PathBuf {
        self.data.join("bin")
    }

    /// The daemon's log and the pods' logs.
    pub fn log(&self) -> PathBuf {
        self.data.join("log")
    }

    /// The daemon's own log.
    pub fn daemon_log(&self) -> PathBuf {
        self.log().join("onggi.log")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// The node's socket: images, builds.
    pub fn node_socket(&self) -> PathBuf {
        self.run.join("node.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let one = Paths::new(&directory.path().join("a")).unwrap();
        let two = Paths::new(&directory.path().join("b")).unwrap();
        assert_eq!(one.instance.len(), 8);
        assert_ne!(one.instance, two.instance);
        assert_eq!(one.instance, Paths::new(&directory.path().join("a")).unwrap().instance);
    }

    #[test]
    fn a_link_is_what_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("disk")).unwrap();
        std::os::unix::fs::symlink(root.join("disk"), root.join("link")).unwrap();
        let new = |name: &str| Paths::new(&root.join(name)).unwrap();
        let before = new("link/lib/data");
        assert_eq!(before.data, root.join("disk/lib/data"));
        fs::create_dir_all(&before.data).unwrap();
        assert_eq!(new("link/lib/data").instance, before.instance);
        assert_eq!(new("disk/lib/data").instance, before.instance);
    }

    #[test]
    fn another_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut paths = Paths::new(directory.path()).unwrap();
        paths.run = directory.path().join("run");
        paths.create().unwrap();
        paths.create().unwrap();
        fs::write(directory.path().join("VERSION"), "9\n").unwrap();
        let error = paths.create().unwrap_err().to_string();
        assert!(error.contains("data format 9"), "{error}");
    }
}

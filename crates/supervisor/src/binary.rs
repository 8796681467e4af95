//! A read-only copy of our own executable for the daemon and its shims: an upgrade or a
//! `cargo build` that replaces the file does not touch those that run, and all share its pages.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The copy of this process' executable in `directory`, made where it is not there:
/// `onggi-<digest>`. A process that runs from it has it already.
pub fn copy_of_self(directory: &Path) -> io::Result<PathBuf> {
    let executable = Path::new("/proc/self/exe");
    let program = fs::read_link(executable)?;
    if program.parent() == Some(&*fs::canonicalize(directory)?) && program.exists() {
        return Ok(program);
    }
    copy(executable, directory)
}

fn copy(executable: &Path, directory: &Path) -> io::Result<PathBuf> {
    let mut source = File::open(executable)?;
    // The same file has the same identity: then nothing is read again.
    let meta = source.metadata()?;
    let identity = format!("{}-{}-{}-{}", meta.dev(), meta.ino(), meta.size(), meta.mtime_nsec());
    let known = directory.join(format!(".{identity}"));
    if let Ok(name) = fs::read_to_string(&known) {
        let path = directory.join(name.trim());
        if path.exists() {
            return Ok(path);
        }
    }
    let temporary = directory.join(format!(".copy-{}", std::process::id()));
    let copied = (|| {
        let mut target = File::create(&temporary)?;
        io::copy(&mut source, &mut target)?;
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(&temporary)?, &mut hasher)?;
        let name = format!("onggi-{}", &hex::encode(hasher.finalize())[..16]);
        target.set_permissions(Permissions::from_mode(0o555))?;
        target.sync_all()?;
        let path = directory.join(&name);
        fs::rename(&temporary, &path)?;
        onggi_base::files::write_atomic(&known, name.as_bytes(), 0o600)?;
        Ok(path)
    })();
    copied.map_err(|error: io::Error| {
        // What a full disk cut short only fills it further.
        let _ = fs::remove_file(&temporary);
        io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_for_one_content() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        fs::write(&program, "one").unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let one = copy(&program, &bin).unwrap();
        assert_eq!(copy(&program, &bin).unwrap(), one);
        fs::remove_file(&program).unwrap();
        fs::write(&program, "other").unwrap();
        let two = copy(&program, &bin).unwrap();
        assert_ne!(one, two);
        assert_eq!(fs::read_to_string(&one).unwrap(), "one");
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o555);
    }

    #[test]
    fn half_a_copy_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        // It can be opened and not be read.
        let error = copy(Path::new("/"), directory.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", directory.path().display())), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

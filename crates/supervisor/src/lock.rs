//! One process a data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The hold on a data directory; gone with the process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the data directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error(
        "{path} is in use by process {pid}; stop it with `onggi down`, or use another --data-dir"
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who.
        pid: i32,
    },
    /// The file.
    #[error("{path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

/// Takes the lock, or says who holds it.
pub fn acquire(path: &Path) -> Result<Lock, Error> {
    let failed = io_error(path);
    let mut file = open(path).map_err(&failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0).map_err(&failed)?;
            file.rewind().map_err(&failed)?;
            writeln!(file, "{}", std::process::id()).map_err(&failed)?;
            Ok(Lock { _file: file })
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::Held { path: path.to_owned(), pid: read_pid(&mut file).map_err(&failed)? })
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Who holds the lock now, if anybody does. A holder that was killed keeps it for as long as the
/// kernel takes to end its threads: that is waited for.
pub fn holder(path: &Path) -> Result<Option<i32>, Error> {
    let failed = io_error(path);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    loop {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
        file.rewind().map_err(&failed)?;
        let pid = read_pid(&mut file).map_err(&failed)?;
        match std::fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) if is_ending(&status) => {
                flock(&file, FlockOperation::LockShared).map_err(|e| failed(e.into()))?;
                return Ok(None);
            }
            Ok(_) => return Ok(Some(pid)),
            // A new holder that has not written who it is yet: a matter of microseconds.
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Whether `/proc/PID/status` tells of a process that is dead or has a SIGKILL waiting.
fn is_ending(status: &str) -> bool {
    const KILL: u64 = 1 << (9 - 1);
    status.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| match name {
        "State" => value.trim_start().starts_with(['Z', 'X']),
        "SigPnd" | "ShdPnd" => {
            u64::from_str_radix(value.trim(), 16).is_ok_and(|set| set & KILL != 0)
        }
        _ => false,
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn read_pid(file: &mut File) -> io::Result<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert_eq!(holder(&path).unwrap(), None);
        let lock = acquire(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(holder(&path).unwrap(), Some(own));
        let error = acquire(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {own}")), "{error}");
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        acquire(&path).unwrap();
    }

    #[test]
    fn the_dead_and_the_dying_are_told_from_the_living() {
        let alive = "Name:\tonggi\nState:\tS (sleeping)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n";
        assert!(!is_ending(alive));
        assert!(is_ending(&alive.replace("S (sleeping)", "Z (zombie)")));
        assert!(is_ending(
            &alive.replace("SigPnd:\t0000000000000000", "SigPnd:\t0000000000000100")
        ));
        assert!(is_ending(&alive.replace("4000", "4100")));
    }
}

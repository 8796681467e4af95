//! The log itself: a file that is put aside when it is full, or the standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onggi_base::Clock;

use super::rotation::{self, Limits};

/// `--audit-log-path` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where.
    pub place: Place,
    /// Days that full files are kept; 0: for ever.
    pub max_age_days: u32,
    /// How many full files are kept; 0: all.
    pub max_backups: u32,
    /// The size, in MiB, at which a file is full; 0: 100.
    pub max_megabytes: u32,
}

/// Where the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `-`.
    Stdout,
    /// A file; its directory is made.
    File(PathBuf),
}

/// What writes to it.
pub(super) enum Writer {
    Stdout,
    File(Rotated),
}

pub(super) struct Rotated {
    path: PathBuf,
    /// `None`: it has been put aside, and there is no new one yet.
    file: Option<File>,
    size: u64,
    max_size: u64,
    limits: Limits,
    clock: Arc<dyn Clock>,
    /// The time in the name of the last file put aside.
    last: Option<jiff::Timestamp>,
}

impl Writer {
    /// Opens the log; the error names it.
    pub(super) fn open(log: &Log, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let Place::File(path) = &log.place else { return Ok(Self::Stdout) };
        let mebibytes = if log.max_megabytes == 0 { 100 } else { log.max_megabytes };
        let mut rotated = Rotated {
            path: path.clone(),
            file: None,
            size: 0,
            max_size: u64::from(mebibytes) << 20,
            limits: Limits { max_age_days: log.max_age_days, max_backups: log.max_backups },
            clock,
            last: None,
        };
        let problem = |error| format!("cannot open the audit log {}: {error}", path.display());
        rotated.open().map_err(problem)?;
        Ok(Self::File(rotated))
    }

    /// Writes lines; the error tells how many of them are in the log.
    pub(super) fn write(&mut self, lines: &[Vec<u8>]) -> Result<(), (io::Error, usize)> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&lines.concat()).and_then(|()| out.flush()).map_err(|e| (e, 0))
            }
            Self::File(rotated) => {
                let mut written = 0;
                while written < lines.len() {
                    let count =
                        rotated.write(&lines[written..]).map_err(|error| (error, written))?;
                    written += count;
                }
                Ok(())
            }
        }
    }
}

impl Rotated {
    fn open(&mut self) -> io::Result<()> {
        if let Some(directory) = self.path.parent().filter(|path| !path.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        // Bodies of requests are for nobody else.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Writes as many lines as the file has room for, one at the least; tells how many.
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<usize> {
        let first = lines.first().map_or(0, |line| line.len() as u64);
        if self.file.is_some() && self.size > 0 && self.size + first > self.max_size {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.open()?;
        }
        let mut size = self.size;
        let fitting = lines.iter().take_while(|line| {
            size += line.len() as u64;
            size <= self.max_size
        });
        let count = fitting.count().max(1).min(lines.len());
        let bytes = lines[..count].concat();
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&bytes)
        {
            // Half a line may be there: the next one begins on its own.
            let whole = file.metadata().is_ok_and(|now| now.len() == self.size);
            if whole || file.set_len(self.size).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.size += bytes.len() as u64;
        Ok(count)
    }

    /// Puts the file aside, and removes what is too old or too much.
    fn rotate(&mut self) -> io::Result<()> {
        let mut now = self.clock.now();
        let aside = loop {
            let name = rotation::backup(&self.path, now);
            // Two in one millisecond: the later one says so, also where the earlier one went.
            if !name.try_exists()? && self.last.is_none_or(|last| now > last) {
                break name;
            }
            now += rotation::STEP;
        };
        self.last = Some(now);
        match fs::rename(&self.path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Someone has taken it away already.
            _ => {}
        }
        self.file = None;
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "old audit logs could not be removed");
        }
        Ok(())
    }

    fn sweep(&self) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(path) if !path.as_os_str().is_empty() => path,
            _ => Path::new("."),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        for name in rotation::surplus(&self.path, &names, self.limits, self.clock.now()) {
            fs::remove_file(directory.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use onggi_base::clock::FakeClock;

    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/audit.log");
        let log = Log {
            place: Place::File(path.clone()),
            max_age_days: 0,
            max_backups: 2,
            max_megabytes: 1,
        };
        let mut writer = Writer::open(&log, Arc::new(FakeClock::at(1_000_000_000))).unwrap();
        // Two lines fill a file; the clock stands still.
        let line = |digit: u8| {
            let mut line = vec![digit; 500 << 10];
            line.push(b'\n');
            line
        };
        writer.write(&(b'0'..=b'8').map(line).collect::<Vec<_>>()).unwrap();
        let mut found: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                let digits: String = text.lines().map(|line| &line[..1]).collect();
                (entry.file_name().into_string().unwrap(), digits)
            })
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                ("audit-2001-09-09T01-46-40.002.log".to_owned(), "45".to_owned()),
                ("audit-2001-09-09T01-46-40.003.log".to_owned(), "67".to_owned()),
                ("audit.log".to_owned(), "8".to_owned()),
            ]
        );
        // A second server goes on where the first has ended.
        let mut writer = Writer::open(&log, Arc::new(FakeClock::at(1_000_000_000))).unwrap();
        writer.write(&[b"9\n".to_vec()]).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("8\n9\n"));
    }
}

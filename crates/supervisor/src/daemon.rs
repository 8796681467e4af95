//! The daemon behind `onggi up`: started in the background, heard until it is ready.
//!
//! The parent reads one JSON line a step from the child's standard output, so that nobody polls:
//! the last line says ready or failed, and a child that dies closes the pipe.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::binary;
use crate::options::Options;
use crate::paths::Paths;

/// What the child tells its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// A step begins.
    Step(String),
    /// The node is ready.
    Ready,
    /// It cannot start, and why.
    Failed(String),
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It said why.
    #[error("{0}")]
    Failed(String),
    /// It ended without a word.
    #[error("the daemon ended ({status}) before it was ready; its log: {log}\n{tail}")]
    Died {
        /// How.
        status: std::process::ExitStatus,
        /// Where its log is.
        log: String,
        /// The last lines of the log.
        tail: String,
    },
    /// It could not be started.
    #[error("cannot start the daemon: {0}")]
    Spawn(io::Error),
}

/// Starts `onggi daemon` in the background and waits until it is ready; `step` hears its progress.
pub fn spawn(options: &Options, paths: &Paths, mut step: impl FnMut(&str)) -> Result<(), Error> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(paths.daemon_log())
        .map_err(Error::Spawn)?;
    // The daemon's working directory is another.
    let options = Options { data_dir: paths.data.clone(), ..options.clone() };
    let text = serde_json::to_string(&options).map_err(|e| Error::Spawn(e.into()))?;
    let program = binary::copy_of_self(&paths.bin()).map_err(Error::Spawn)?;
    let mut child = Command::new(program)
        .args(["daemon", "--options", &text])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(Error::Spawn)?;
    let Some(output) = child.stdout.take() else {
        return Err(Error::Spawn(io::Error::other("no pipe to the daemon")));
    };
    for line in BufReader::new(output).lines() {
        let line = line.map_err(Error::Spawn)?;
        match serde_json::from_str(&line) {
            Ok(Report::Step(text)) => step(&text),
            Ok(Report::Ready) => return Ok(()),
            Ok(Report::Failed(text)) => {
                // It ends by itself after this line; reap it.
                let _ = child.wait();
                return Err(Error::Failed(text));
            }
            Err(_) => tracing::debug!(line, "the daemon wrote something else"),
        }
    }
    let status = child.wait().map_err(Error::Spawn)?;
    let log = paths.daemon_log();
    Err(Error::Died { status, tail: tail(&log), log: log.display().to_string() })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The child's end.
#[derive(Debug, Default)]
pub struct Reporter {
    /// Whether a parent listens; `onggi server` has none and logs instead.
    pub parent: bool,
}

impl Reporter {
    /// Tells the parent; one that left early does not matter.
    pub fn report(&self, report: &Report) {
        if !self.parent {
            tracing::info!(?report, "start");
            return;
        }
        if let Ok(line) = serde_json::to_string(report) {
            let mut output = io::stdout().lock();
            let _ = writeln!(output, "{line}").and_then(|()| output.flush());
        }
    }

    /// A step begins.
    pub fn step(&self, text: &str) {
        self.report(&Report::Step(text.to_owned()));
    }
}

//! A container's output: read from a pipe or terminal, framed into the log, copied to whoever is
//! attached.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::logs::{Framer, LogFile, timestamp};

/// Bytes read at once.
const CHUNK: usize = 32 << 10;
/// Reads before others get their turn.
const TURNS: usize = 8;
/// Whoever is attached and reads slower than this many bytes behind is let go.
const MAX_BACKLOG: usize = 1 << 20;

/// How much is kept for the first who attaches; of more, the latest.
const MAX_EARLY: usize = MAX_BACKLOG;

/// One stream of output.
#[derive(Debug)]
pub(super) struct Output {
    /// None: at its end.
    pub(super) source: Option<OwnedFd>,
    pub(super) framer: Framer,
    pub(super) taps: Vec<Tap>,
    /// What came before anybody attached, where somebody is awaited.
    early: Option<Vec<u8>>,
}

/// Somebody attached.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) fd: OwnedFd,
    pub(super) backlog: Vec<u8>,
}

impl Output {
    /// `awaited`: the container has an input, so somebody will attach, and is to see what it said
    /// until then: a program may say all it has to say before.
    pub(super) fn new(
        source: OwnedFd,
        stream: &'static str,
        awaited: bool,
    ) -> rustix::io::Result<Self> {
        set_nonblocking(&source)?;
        let (framer, early) = (Framer::new(stream), awaited.then(Vec::new));
        Ok(Self { source: Some(source), framer, taps: Vec::new(), early })
    }

    /// Somebody attaches. The first one gets what came before.
    pub(super) fn join(&mut self, mut tap: Tap) {
        let over = self.source.is_none();
        if tap.offer(&self.early.take().unwrap_or_default()) && !(over && tap.backlog.is_empty()) {
            self.taps.push(tap);
        }
    }

    /// Reads what is there; `all`: until nothing is left.
    pub(super) fn pump(&mut self, log: Option<&mut LogFile>, all: bool) {
        let mut log = log;
        let mut buffer = vec![0; CHUNK];
        let mut turns = 0;
        while let Some(source) = &self.source {
            if turns == TURNS && !all {
                break;
            }
            turns += 1;
            match rustix::io::read(source, &mut buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok(0) | Err(_) => self.end(log.as_deref_mut()),
                Ok(count) => {
                    let bytes = &buffer[..count];
                    if let Some(log) = log.as_deref_mut() {
                        let mut lines = Vec::new();
                        self.framer.feed(bytes, &timestamp(jiff::Timestamp::now()), &mut lines);
                        keep(log, &lines);
                    }
                    self.taps.retain_mut(|tap| tap.offer(bytes));
                    if let Some(early) = &mut self.early {
                        early.extend_from_slice(bytes);
                        early.drain(..early.len().saturating_sub(MAX_EARLY));
                    }
                }
            }
        }
    }

    /// No more will come.
    pub(super) fn end(&mut self, log: Option<&mut LogFile>) {
        self.source = None;
        self.taps.retain(|tap| !tap.backlog.is_empty());
        if let Some(log) = log {
            let mut lines = Vec::new();
            self.framer.finish(&timestamp(jiff::Timestamp::now()), &mut lines);
            keep(log, &lines);
        }
    }

    /// Sends on what taps did not take before.
    pub(super) fn flush_taps(&mut self) {
        let over = self.source.is_none();
        self.taps.retain_mut(|tap| tap.offer(&[]) && !(over && tap.backlog.is_empty()));
    }
}

/// A full disk costs lines of the log, not the container.
fn keep(log: &mut LogFile, lines: &[u8]) {
    if lines.is_empty() {
        return;
    }
    if let Err(error) = log.write(lines) {
        eprintln!("shim: log: {error}");
    }
}

impl Tap {
    pub(super) fn new(fd: OwnedFd) -> rustix::io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd, backlog: Vec::new() })
    }

    /// Whether it is still worth keeping.
    fn offer(&mut self, bytes: &[u8]) -> bool {
        self.backlog.extend_from_slice(bytes);
        while !self.backlog.is_empty() {
            match rustix::io::write(&self.fd, &self.backlog) {
                Ok(count) => drop(self.backlog.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.backlog.len() <= MAX_BACKLOG,
                Err(_) => return false,
            }
        }
        true
    }
}

fn set_nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

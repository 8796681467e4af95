//! Log files in CRI format: `<RFC 3339 time> <stream> <F|P> <line>`, rotated by size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::spec::LogSpec;

/// Longer lines are cut; all parts but the last are marked `P`.
const MAX_LINE: usize = 16 << 10;

/// Turns the bytes of one stream into log lines.
#[derive(Debug)]
pub(super) struct Framer {
    stream: &'static str,
    rest: Vec<u8>,
}

impl Framer {
    pub(super) fn new(stream: &'static str) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Appends the lines that `bytes` completes to `out`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                self.cut(line, time, out, true);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.cut(&whole, time, out, true);
                whole.clear();
                // An idle container keeps no long buffer.
                if whole.capacity() <= 1024 {
                    self.rest = whole;
                }
            }
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > MAX_LINE {
            let whole = std::mem::take(&mut self.rest);
            let full = whole.len() / MAX_LINE * MAX_LINE;
            let (full, rest) =
                whole.split_at(if full == whole.len() { full - MAX_LINE } else { full });
            self.cut(full, time, out, false);
            self.rest = rest.to_vec();
        }
    }

    /// The stream is at its end: what has no newline is no whole line, and gets none from a reader.
    pub(super) fn finish(&mut self, time: &str, out: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.cut(&rest, time, out, false);
        }
    }

    fn cut(&self, line: &[u8], time: &str, out: &mut Vec<u8>, complete: bool) {
        let mut parts = line.chunks(MAX_LINE).peekable();
        if line.is_empty() && complete {
            self.entry(b"", time, out, 'F');
        }
        while let Some(part) = parts.next() {
            let last = complete && parts.peek().is_none();
            self.entry(part, time, out, if last { 'F' } else { 'P' });
        }
    }

    fn entry(&self, part: &[u8], time: &str, out: &mut Vec<u8>, tag: char) {
        out.reserve(time.len() + part.len() + 12);
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.stream.as_bytes());
        out.extend_from_slice(&[b' ', tag as u8, b' ']);
        out.extend_from_slice(part);
        out.push(b'\n');
    }
}

/// The time in a log line.
pub(super) fn timestamp(now: jiff::Timestamp) -> String {
    format!("{now:.9}")
}

/// A log file that becomes `NAME.1`, `NAME.2` … as it grows.
#[derive(Debug)]
pub(super) struct LogFile {
    spec: LogSpec,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens it to append.
    pub(super) fn open(spec: LogSpec) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&spec.path)?;
        let size = file.metadata()?.len();
        Ok(Self { spec, file, size })
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + lines.len() as u64 > self.spec.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.spec.path;
        for number in (1..self.spec.max_files.saturating_sub(1)).rev() {
            rename(&numbered(path, number), &numbered(path, number + 1))?;
        }
        if self.spec.max_files > 1 {
            rename(path, &numbered(path, 1))?;
        } else {
            std::fs::remove_file(path)?;
        }
        *self = Self::open(self.spec.clone())?;
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(chunks: &[&[u8]]) -> Vec<(char, usize)> {
        let mut framer = Framer::new("stdout");
        let mut out = Vec::new();
        for chunk in chunks {
            framer.feed(chunk, "T", &mut out);
        }
        framer.finish("T", &mut out);
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                let body = line.strip_prefix(b"T stdout ").unwrap();
                (body[0] as char, body.len() - 2)
            })
            .collect()
    }

    #[test]
    fn lines() {
        let long = vec![b'x'; MAX_LINE * 2 + 5];
        let exact = vec![b'x'; MAX_LINE];
        assert_eq!(framed(&[b"ab\n\nc"]), [('F', 2), ('F', 0), ('P', 1)]);
        assert_eq!(framed(&[b"a", b"b\nc", b"\n"]), [('F', 2), ('F', 1)]);
        assert_eq!(framed(&[&long, b"\n"]), [('P', MAX_LINE), ('P', MAX_LINE), ('F', 5)]);
        assert_eq!(framed(&[&exact, b"\nz\n"]), [('F', MAX_LINE), ('F', 1)]);
        assert_eq!(framed(&[&exact, &exact, b"\n"]), [('P', MAX_LINE), ('F', MAX_LINE)]);
        assert_eq!(framed(&[]), []);
    }

    #[test]
    fn times_have_nine_digits() {
        let time = jiff::Timestamp::new(0, 5_000_000).unwrap();
        assert_eq!(timestamp(time), "1970-01-01T00:00:00.005000000Z");
    }

    #[test]
    fn rotation_keeps_a_number_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let spec = LogSpec { path: path.clone(), max_bytes: 10, max_files: 3 };
        let mut log = LogFile::open(spec).unwrap();
        for number in 0..5 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        let expected: Vec<(std::ffi::OsString, Vec<u8>)> = vec![
            ("0.log".into(), b"line 4\n".into()),
            ("0.log.1".into(), b"line 3\n".into()),
            ("0.log.2".into(), b"line 2\n".into()),
        ];
        assert_eq!(files, expected);
    }
}

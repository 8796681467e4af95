//! Lines of a log in CRI format: `TIME STREAM TAG TEXT`, the tag `F` for a whole line and `P` for
//! a part of one.

use onggi_api::jiff::Timestamp;

/// An entry of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// As it is written.
    pub(super) time: &'a str,
    pub(super) is_partial: bool,
    pub(super) text: &'a [u8],
}

/// Reads a line without its newline; none when it is no entry.
pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = fields.next()?;
    let tags = fields.next()?;
    if !matches!(stream, b"stdout" | b"stderr") {
        return None;
    }
    let is_partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    Some(Entry { time, is_partial, text: fields.next().unwrap_or_default() })
}

impl Entry<'_> {
    /// Whether it is not older; what has no readable time is not.
    pub(super) fn is_since(&self, nanos: i128) -> bool {
        self.time.parse::<Timestamp>().map_or(true, |time| time.as_nanosecond() >= nanos)
    }

    /// As a client sees it.
    pub(super) fn write(&self, timestamps: bool, out: &mut Vec<u8>) {
        if timestamps {
            out.extend_from_slice(self.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.text);
        if !self.is_partial {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let line = b"2026-01-02T03:04:05.000000001Z stderr P half ";
        let entry = parse(line).unwrap();
        assert!(entry.is_partial && entry.text == b"half ");
        assert!(entry.is_since(0) && !entry.is_since(i128::MAX));
        let mut out = Vec::new();
        entry.write(false, &mut out);
        parse(b"2026-01-02T03:04:05Z stdout F line").unwrap().write(true, &mut out);
        assert_eq!(out, b"half 2026-01-02T03:04:05Z line\n");
        for bad in [&b"x"[..], b"a b c d", b"\xff stdout F x", b""] {
            assert_eq!(parse(bad), None);
        }
        // An empty line.
        assert_eq!(parse(b"t stdout F ").unwrap().text, b"");
        assert_eq!(parse(b"t stdout F").unwrap().text, b"");
    }
}

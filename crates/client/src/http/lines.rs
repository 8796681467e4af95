//! A stream of bytes cut into lines, as a watch sends them.

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream, Stream, StreamExt};

use crate::transport::Error;

/// Far above the largest object that a server stores (1.5 MiB, escaped).
const LONGEST: usize = 16 << 20;

struct Lines {
    parts: BoxStream<'static, Result<Bytes, Error>>,
    rest: BytesMut,
    /// Up to here there is no line end.
    searched: usize,
    ended: bool,
}

/// The lines of a stream, without their ends; empty ones are left out. A last line without an end
/// is dropped: the connection broke within it.
pub(super) fn lines(
    parts: BoxStream<'static, Result<Bytes, Error>>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let lines = Lines { parts, rest: BytesMut::new(), searched: 0, ended: false };
    stream::unfold(lines, |mut lines| async {
        let line = lines.next().await?;
        lines.ended |= line.is_err();
        Some((line, lines))
    })
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while !self.ended {
            if let Some(line) = self.cut() {
                if !line.is_empty() {
                    return Some(Ok(line));
                }
                continue;
            }
            if self.rest.len() > LONGEST {
                return Some(Err(Error::Decode(format!("a line is longer than {LONGEST} bytes"))));
            }
            match self.parts.next().await? {
                Ok(part) => self.rest.extend_from_slice(&part),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn cut(&mut self) -> Option<Bytes> {
        let found = self.rest[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(offset) = found else {
            self.searched = self.rest.len();
            return None;
        };
        let line = self.rest.split_to(self.searched + offset).freeze();
        self.rest.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_over_parts() {
        let parts = ["a", "b\nc", "\n\nlong", "er\nx\ny\n", "broken"];
        let parts = stream::iter(parts.map(|part| Ok(Bytes::from(part)))).boxed();
        let found: Vec<_> = lines(parts).map(|line| line.unwrap()).collect().await;
        assert_eq!(found, ["ab", "c", "longer", "x", "y"]);
    }
}

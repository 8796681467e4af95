//! Reading and following a container's log.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use onggi_client::node::{LogRequest, NodeError};
use onggi_node_api::{ContainerState, ContainerStatus};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::{mpsc, watch};

use super::inotify::Inotify;
use super::lines;
use crate::directory::View;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for a slow client.
const WAITING: usize = 4;

/// The log as the request wants it.
pub(super) fn stream(
    request: LogRequest,
    container: ContainerStatus,
    view: watch::Receiver<Arc<View>>,
    inotify: Inotify,
) -> BoxStream<'static, Result<Bytes, NodeError>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let path = container.log_path.clone();
        let reader = Reader {
            left: request.limit_bytes.unwrap_or(u64::MAX),
            since: request.since_nanos.unwrap_or(i128::MIN),
            timestamps: request.timestamps,
            rest: Vec::new(),
            sender: sender.clone(),
        };
        let follow = request.follow.then_some((view, inotify));
        if let Err(error) = reader.run(&container, request.tail_lines, follow).await {
            let text = format!("cannot read {}: {error}", path.display());
            // A client that has left hears nothing.
            let _ = sender.send(Err(NodeError::Failed(text))).await;
        }
    });
    let next = |mut receiver: mpsc::Receiver<_>| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    };
    stream::unfold(receiver, next).boxed()
}

/// The text of the last entries, at most so many bytes.
pub(super) async fn tail(path: &Path, lines: u64, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let end = file.metadata().await?.len();
    let start = tail_start(&mut file, end, lines).await?;
    file.seek(SeekFrom::Start(start)).await?;
    let mut file = file.take(end - start);
    let mut raw = Vec::new();
    file.read_to_end(&mut raw).await?;
    let mut text = Vec::new();
    for line in raw.split(|byte| *byte == b'\n') {
        if let Some(entry) = lines::parse(line) {
            entry.write(false, &mut text);
        }
    }
    let most = usize::try_from(bytes).unwrap_or(usize::MAX);
    let cut = text.len().saturating_sub(most);
    Ok(String::from_utf8_lossy(&text[cut..]).into_owned())
}

/// Where the last `lines` lines before `end` begin.
async fn tail_start(file: &mut File, end: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(end);
    }
    let mut seen = 0;
    let mut position = end;
    let mut chunk = vec![0; CHUNK];
    while position > 0 {
        let length = usize::try_from(position).unwrap_or(CHUNK).min(CHUNK);
        position -= length as u64;
        file.seek(SeekFrom::Start(position)).await?;
        let part = &mut chunk[..length];
        file.read_exact(part).await?;
        for (at, byte) in part.iter().enumerate().rev() {
            let here = position + at as u64;
            // The newline that ends the file ends the last line, and begins none.
            if *byte == b'\n' && here + 1 != end {
                seen += 1;
                if seen == lines {
                    return Ok(here + 1);
                }
            }
        }
    }
    Ok(0)
}

struct Reader {
    /// Bytes that may still be sent.
    left: u64,
    since: i128,
    timestamps: bool,
    /// A line that is not whole yet.
    rest: Vec<u8>,
    sender: mpsc::Sender<Result<Bytes, NodeError>>,
}

impl Reader {
    async fn run(
        mut self,
        container: &ContainerStatus,
        tail_lines: Option<u64>,
        follow: Option<(watch::Receiver<Arc<View>>, Inotify)>,
    ) -> io::Result<()> {
        let path = &container.log_path;
        let mut file = File::open(path).await?;
        let end = file.metadata().await?.len();
        let start = match tail_lines {
            Some(lines) => tail_start(&mut file, end, lines).await?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start)).await?;
        let Some((mut view, inotify)) = follow else {
            // What is written meanwhile is not part of the answer: it would be more lines than
            // were asked for, and a busy container's log might never end.
            return self.drain(&mut file.take(end - start)).await.map(drop);
        };
        let watch = inotify.watch(path)?;
        loop {
            // Asked before the file is read: what it wrote before it ended is read once more.
            let running = is_running(&view.borrow_and_update(), &container.id);
            if !self.drain(&mut file).await? {
                return Ok(());
            }
            if let Some(next) = replaced(&file, path).await? {
                // Nothing is written to the old file any more; what was, is read first.
                self.drain(&mut file).await?;
                file = next;
                watch.renew(path)?;
                continue;
            }
            if !running {
                return Ok(());
            }
            tokio::select! {
                () = watch.changed() => {}
                changed = view.changed() => if changed.is_err() { return Ok(()) },
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    /// Sends what is there; false when no more is wanted.
    async fn drain(&mut self, file: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).await?;
            if length == 0 {
                return Ok(true);
            }
            self.rest.extend_from_slice(&chunk[..length]);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let later = self.rest.split_off(end + 1);
            let lines = std::mem::replace(&mut self.rest, later);
            let mut out = Vec::with_capacity(lines.len());
            for line in lines.split(|byte| *byte == b'\n') {
                match lines::parse(line) {
                    Some(entry) if entry.is_since(self.since) => {
                        entry.write(self.timestamps, &mut out);
                    }
                    _ => {}
                }
            }
            if !self.send(out).await {
                return Ok(false);
            }
        }
    }

    async fn send(&mut self, mut out: Vec<u8>) -> bool {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        out.truncate(most);
        self.left -= out.len() as u64;
        let sent = out.is_empty() || self.sender.send(Ok(out.into())).await.is_ok();
        sent && self.left > 0
    }
}

fn is_running(view: &View, id: &str) -> bool {
    view.containers.iter().any(|c| c.id == id && c.state == ContainerState::Running)
}

/// The file that took the place of an open one: the log was rotated.
async fn replaced(open: &File, path: &Path) -> io::Result<Option<File>> {
    let own = open.metadata().await?.ino();
    match tokio::fs::metadata(path).await {
        Ok(found) if found.ino() != own => Ok(Some(File::open(path).await?)),
        Ok(_) => Ok(None),
        // Between two files; the next event tells.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

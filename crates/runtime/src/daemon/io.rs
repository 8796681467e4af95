//! Pipes between the daemon and processes of containers.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;

pub(super) use onggi_sys::stream::FdStream;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Read end for us, write end for a container.
pub(super) fn output_pipe() -> io::Result<(FdStream, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((FdStream::new(read)?, write))
}

/// Write end for us, read end for a container.
pub(super) fn input_pipe() -> io::Result<(OwnedFd, FdStream)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((read, FdStream::new(write)?))
}

/// Copies output until its end. When `ended` is ready (the process is dead), what is there is
/// still copied, but nobody waits for a child of it that keeps the pipe open.
pub(super) async fn copy_output(
    mut from: FdStream,
    to: &mut (dyn AsyncWrite + Send + Unpin),
    ended: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut ended = std::pin::pin!(ended);
    let mut buffer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            biased;
            count = from.read(&mut buffer) => match count? {
                0 => break,
                count => {
                    to.write_all(&buffer[..count]).await?;
                    to.flush().await?;
                }
            },
            () = &mut ended => {
                while let Some(count) = from.read_now(&mut buffer) {
                    to.write_all(&buffer[..count]).await?;
                }
                break;
            }
        }
    }
    to.flush().await
}

//! The terminal of the user: raw while a remote one is shown in it, its size told when it changes.

use std::io::{self, IsTerminal, Read};
use std::thread;

use bytes::Bytes;
use futures::stream;
use onggi_client::node::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncRead;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

/// Whether input comes from a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The terminal in raw mode; as it was when this is dropped.
pub(crate) struct Raw(Termios);

impl Raw {
    /// `None` where the input is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.0) {
            tracing::warn!(%error, "the terminal stays in raw mode; `reset` mends it");
        }
    }
}

/// The sizes of the terminal: the present one, and each that follows.
pub(crate) fn sizes() -> io::Result<mpsc::Receiver<TerminalSize>> {
    let mut changes = signal(SignalKind::window_change())?;
    let (to, sizes) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let Ok(size) = tcgetwinsize(io::stdout()) else { return };
            let size = TerminalSize { width: size.ws_col, height: size.ws_row };
            if to.send(size).await.is_err() || changes.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(sizes)
}

/// The standard input. It is read by a thread that nobody waits for: a read of a terminal cannot
/// be broken off, and the process must end when the remote command does.
pub(crate) fn input() -> impl AsyncRead + Send + Unpin {
    let (to, parts) = mpsc::channel::<io::Result<Bytes>>(4);
    thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let part = match io::stdin().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if to.blocking_send(part).is_err() || failed {
                return;
            }
        }
    });
    let parts =
        stream::unfold(parts, |mut parts| async { parts.recv().await.map(|part| (part, parts)) });
    StreamReader::new(Box::pin(parts))
}

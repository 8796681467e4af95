//! The terminal of the user: raw while a remote one is shown in it, its size told when it changes.

use std::io::{self, IsTerminal, Read};
use std::thread;

use bytes::Bytes;
use futures::stream;
use onggi_client::node::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncRead;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::StreamReader;

use crate::error::Error;

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

/// What is typed to leave a container to itself: `ctrl-p,ctrl-q`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Keys(Vec<u8>);

impl Keys {
    /// Reads letters, and `ctrl-` before one.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let one = |key: &str| {
            let (held, letter) = match key.strip_prefix("ctrl-") {
                Some(letter) => (true, letter),
                None => (false, key),
            };
            match letter.as_bytes() {
                [byte] if !held => Ok(*byte),
                [byte @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => Ok(byte & 0x1f),
                _ => Err(Error::new(format!(
                    "could not bind detach keys: Unknown character: '{key}'"
                ))),
            }
        };
        text.split(',').filter(|key| !key.is_empty()).map(one).collect::<Result<_, _>>().map(Self)
    }
}

/// Looks for keys in what is typed.
#[derive(Default)]
struct Watch {
    keys: Vec<u8>,
    /// How many of them were typed last.
    met: usize,
}

impl Watch {
    /// What of it goes on, and whether all keys have been typed.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if !self.keys.is_empty() && byte == self.keys[self.met] {
                self.met += 1;
                if self.met == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.met]);
            self.met = usize::from(self.keys.first() == Some(&byte));
            if self.met == 0 {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

/// The standard input, and what is done when the keys are typed; without keys it never is. It is
/// read by a thread that nobody waits for: a read of a terminal cannot be broken off, and the
/// process must end when the remote command does.
pub(crate) fn input(keys: Keys) -> (impl AsyncRead + Send + Unpin, impl Future<Output = ()>) {
    let (to, parts) = mpsc::channel::<io::Result<Bytes>>(4);
    let (leave, left) = oneshot::channel();
    // Read from when somebody asks for the first part.
    let mut start = Some(move || {
        let mut buffer = vec![0; 16 << 10];
        let mut watch = Watch { keys: keys.0, met: 0 };
        loop {
            let part = match io::stdin().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    let (part, is_left) = watch.pass(&buffer[..length]);
                    if is_left {
                        // Where nobody waits for it, it has ended already.
                        let _ended = leave.send(());
                        return;
                    }
                    Ok(Bytes::from(part))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if to.blocking_send(part).is_err() || failed {
                return;
            }
        }
    });
    let parts = stream::unfold(parts, move |mut parts| {
        if let Some(start) = start.take() {
            thread::spawn(start);
        }
        async { parts.recv().await.map(|part| (part, parts)) }
    });
    let left = async {
        if left.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    (StreamReader::new(Box::pin(parts)), left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_leave() {
        let keys = Keys::parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys, Keys(vec![0x10, 0x11]));
        assert_eq!(Keys::parse("a,ctrl-[").unwrap(), Keys(vec![b'a', 0x1b]));
        assert!(Keys::parse("ctrl-pp").is_err());
        let mut watch = Watch { keys: keys.0, met: 0 };
        assert_eq!(watch.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(watch.pass(b"c\x10"), (b"\x10c".to_vec(), false));
        assert_eq!(watch.pass(b"\x10\x11d"), (b"\x10".to_vec(), true));
        assert_eq!(Watch::default().pass(b"a\x10\x11"), (b"a\x10\x11".to_vec(), false));
    }
}

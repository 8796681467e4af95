//! Frames with file descriptors over a Unix stream socket: length, number of descriptors (both
//! 32 bits, little endian), JSON. The same code serves the single-threaded shim and the daemon's
//! tasks: it never waits, its owner does.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

/// No frame is longer: a peer that says so is broken.
const MAX_FRAME: usize = 64 << 20;
/// No frame has more descriptors.
const MAX_FDS: usize = 4;
const HEADER: usize = 8;

/// A frame: JSON and descriptors.
pub(crate) type Frame = (Vec<u8>, Vec<OwnedFd>);

/// One end of a connection, over a non-blocking socket.
#[derive(Debug)]
pub(crate) struct Wire<S = UnixStream> {
    socket: S,
    input: Vec<u8>,
    input_fds: VecDeque<OwnedFd>,
    output: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Wire {
    /// Takes over a connection.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::over(socket))
    }
}

impl<S: AsFd> Wire<S> {
    /// Over a socket that does not block.
    pub(crate) fn over(socket: S) -> Self {
        let (input, input_fds, output) = Default::default();
        Self { socket, input, input_fds, output }
    }

    /// Whether something waits to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: &impl Serialize, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut bytes = vec![0; HEADER];
        serde_json::to_writer(&mut bytes, message)?;
        let length = (bytes.len() - HEADER) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&(fds.len() as u32).to_le_bytes());
        self.output.push_back(Outgoing { bytes, sent: 0, fds });
        Ok(())
    }

    /// Sends what the socket takes; whether all is sent.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while let Some(next) = self.output.front_mut() {
            let fds: Vec<_> = next.fds.iter().map(AsFd::as_fd).collect();
            match send(&self.socket, &next.bytes[next.sent..], &fds) {
                Ok(count) => {
                    next.sent += count;
                    // They travel with the first byte.
                    next.fds.clear();
                    if next.sent == next.bytes.len() {
                        self.output.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Reads what is there; whether the other end may send more.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            match receive(&self.socket, &mut buffer) {
                Ok((0, _)) => return Ok(false),
                Ok((count, fds)) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    self.input_fds.extend(fds);
                }
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next whole frame that was read.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let Some((head, rest)) = self.input.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, f0, f1, f2, f3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let fds = u32::from_le_bytes([f0, f1, f2, f3]) as usize;
        if length > MAX_FRAME || fds > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame of impossible size"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        if self.input_fds.len() < fds {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost"));
        }
        let body = rest[..length].to_vec();
        self.input.drain(..HEADER + length);
        Ok(Some((body, self.input_fds.drain(..fds).collect())))
    }
}

impl<S: AsFd> AsFd for Wire<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends bytes and descriptors.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Receives bytes and descriptors.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let count = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let fds = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    Ok((count, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_descriptors_of_any_size() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Wire::new(a).unwrap(), Wire::new(b).unwrap());
        let big = "x".repeat(3 << 20);
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        a.push(&"small", vec![file()]).unwrap();
        a.push(&big, vec![file(), file()]).unwrap();
        a.push(&1, vec![]).unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            a.flush().unwrap();
            assert!(b.fill().unwrap());
            while let Some((body, fds)) = b.next_frame().unwrap() {
                got.push((body.len(), fds.len()));
            }
        }
        assert_eq!(got, [(7, 1), (big.len() + 2, 2), (1, 0)]);
        drop(a);
        assert!(!b.fill().unwrap());
    }

    #[test]
    fn impossible_frame_is_refused() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut b = Wire::new(b).unwrap();
        io::Write::write_all(&mut &a, &[255; 8]).unwrap();
        b.fill().unwrap();
        assert!(b.next_frame().is_err());
    }
}

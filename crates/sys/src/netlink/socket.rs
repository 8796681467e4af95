//! A netlink socket that stays open.
//!
//! Closing one after a deletion waits for the kernel's clean-up (about 16 ms); kept open, an update
//! takes some 0.04 ms. A socket keeps the network namespace in which it was opened.
#![allow(unsafe_code)] // setsockopt of two options that no safe wrapper has

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};

use super::attr::{attributes, string, u32_at};
use super::message::{DUMP, HEADER, Messages};
use super::{Error, Refusal, attr};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NETLINK_CAP_ACK: libc::c_int = 10;
const NETLINK_EXT_ACK: libc::c_int = 11;
/// The largest part of a dump is 32 KiB.
const RECEIVE: usize = 64 << 10;
/// Ten thousand Services are 7 MiB in one batch.
const SEND_BUFFER: usize = 64 << 20;
/// So often a dump begins again that a change interrupted.
const DUMP_ATTEMPTS: usize = 16;

/// Which part of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// The socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A message from the kernel: its type, and what follows the netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `nlmsg_type`.
    pub kind: u16,
    /// Payload.
    pub payload: Vec<u8>,
}

struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Socket {
    /// Opens it in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        let protocol = match protocol {
            Protocol::Route => SockProtocol::NetlinkRoute,
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(protocol))
                .map_err(|errno| Error::Socket { doing: "open", source: errno.into() })?;
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            let on: libc::c_int = 1;
            // SAFETY: the descriptor is open and owned here; the value is a live c_int and its size
            // is the one given.
            let result = unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const on).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
            if result != 0 {
                let source = io::Error::last_os_error();
                return Err(Error::Socket { doing: "set an option", source });
            }
        }
        // Refused without CAP_NET_ADMIN in the first user namespace: then large batches fail with
        // EMSGSIZE, which says so.
        let _ = setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER);
        Ok(Self { fd, sequence: 0, buffer: vec![0; RECEIVE] })
    }

    /// Sends messages and reads every answer that the kernel gave. Answers data; refusals that a
    /// message does not tolerate are an error, the first of them. `acknowledged`: how many of the
    /// messages ask for an acknowledgement.
    pub fn transact(
        &mut self,
        messages: &mut Messages,
        acknowledged: usize,
    ) -> Result<Vec<Answer>, Error> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.send(messages)?;
        let (mut data, mut answered, mut refused) = (Vec::new(), 0, None::<Refusal>);
        // All answers are queued when send returns: the kernel works within it.
        while self.receive(MsgFlags::MSG_DONTWAIT, |received| {
            let index = received.sequence.wrapping_sub(first) as usize;
            let Some(part) = messages.parts.get(index) else { return Ok(()) };
            if received.kind != NLMSG_ERROR {
                data.push(Answer { kind: received.kind, payload: received.payload.to_vec() });
                return Ok(());
            }
            answered += 1;
            let refusal = refusal(&received, index, &part.what)?;
            if refusal.errno != 0 && !part.tolerated.contains(&refusal.errno) {
                refused.get_or_insert(refusal);
            }
            Ok(())
        })? {}
        match refused {
            Some(refusal) => Err(refusal.into()),
            None if answered < acknowledged => Err(Error::Protocol("no acknowledgement")),
            None => Ok(data),
        }
    }

    /// Everything that a request of one message lists. Begins again when a change interrupts it.
    pub fn dump(
        &mut self,
        kind: u16,
        what: &'static str,
        body: impl Fn(&mut Vec<u8>),
    ) -> Result<Vec<Answer>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut messages = Messages::default();
            messages.push(kind, DUMP, what, &body);
            let first = self.send(&mut messages)?;
            let (mut found, mut done, mut interrupted) = (Vec::new(), false, false);
            while !done {
                self.receive(MsgFlags::empty(), |received| {
                    if received.sequence != first {
                        return Ok(());
                    }
                    interrupted |= received.flags & NLM_F_DUMP_INTR != 0;
                    match received.kind {
                        NLMSG_ERROR => return Err(refusal(&received, 0, what)?.into()),
                        NLMSG_DONE => {
                            done = true;
                            let errno = u32_at(received.payload, 0).unwrap_or(0) as i32;
                            if errno < 0 {
                                let refusal = Refusal {
                                    index: 0,
                                    what: what.to_owned(),
                                    errno: -errno,
                                    message: None,
                                    offset: None,
                                };
                                return Err(refusal.into());
                            }
                        }
                        kind => found.push(Answer { kind, payload: received.payload.to_vec() }),
                    }
                    Ok(())
                })?;
            }
            if !interrupted {
                return Ok(found);
            }
        }
        Err(Error::Protocol("changes interrupted every attempt to list"))
    }

    fn send(&mut self, messages: &mut Messages) -> Result<u32, Error> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(messages.len() as u32);
        messages.number(first);
        let sent = send(self.fd.as_raw_fd(), messages.bytes(), MsgFlags::empty())
            .map_err(|errno| Error::Socket { doing: "send", source: errno.into() })?;
        if sent == messages.bytes().len() {
            Ok(first)
        } else {
            Err(Error::Protocol("sent in part"))
        }
    }

    /// Reads one datagram; `false`: there is none.
    fn receive(
        &mut self,
        flags: MsgFlags,
        mut each: impl FnMut(Received<'_>) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, flags) {
                Ok(length) => break length,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(false),
                Err(errno) => {
                    return Err(Error::Socket { doing: "receive", source: errno.into() });
                }
            }
        };
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while rest.len() >= HEADER {
            let length = u32_at(rest, 0).unwrap_or(0) as usize;
            let message = rest.get(..length).filter(|message| message.len() >= HEADER);
            let Some(message) = message else { return Err(Error::Protocol("a broken answer")) };
            each(Received {
                kind: attr::u16_at(message, 4).unwrap_or(0),
                flags: attr::u16_at(message, 6).unwrap_or(0),
                sequence: u32_at(message, 8).unwrap_or(0),
                payload: &message[HEADER..],
            })?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(true)
    }
}

/// Reads `struct nlmsgerr`; an error number of 0 is an acknowledgement.
fn refusal(received: &Received<'_>, index: usize, what: &str) -> Result<Refusal, Error> {
    let payload = received.payload;
    let errno = u32_at(payload, 0).ok_or(Error::Protocol("a broken error"))? as i32;
    let mut refusal = Refusal {
        index,
        what: what.to_owned(),
        errno: errno.wrapping_neg(),
        message: None,
        offset: None,
    };
    if received.flags & NLM_F_ACK_TLVS != 0 {
        let original = u32_at(payload, 4).unwrap_or(0) as usize;
        let copied = if received.flags & NLM_F_CAPPED != 0 { HEADER } else { original };
        let extended = payload.get((4 + copied).next_multiple_of(4)..).unwrap_or_default();
        for (kind, value) in attributes(extended) {
            match kind {
                1 => refusal.message = Some(string(value)),
                2 => refusal.offset = u32_at(value, 0).map(|offset| offset as usize),
                _ => {}
            }
        }
    }
    Ok(refusal)
}

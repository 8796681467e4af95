//! Connection tracking (ctnetlink): forgetting flows whose other end is gone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::attr::{AttrWriter, find, ipv4};
use super::message::{ACK, Messages};
use super::socket::Answer;
use super::{Error, Protocol, Socket};

const LIST: &str = "list tracked connections";
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const INET: u8 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const FILTER: u16 = 25;
/// Answers of one send must fit the receive buffer.
const CHUNK: usize = 64;

/// Which flows; a field that is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flows {
    /// IP protocol; needed where a port is given.
    pub protocol: Option<u8>,
    /// Who began it.
    pub source: Option<Ipv4Addr>,
    /// Where it was sent, before translation.
    pub destination: Option<Ipv4Addr>,
    /// Port where it was sent, before translation.
    pub destination_port: Option<u16>,
    /// Who answers, that is the destination after translation.
    pub answered_by: Option<Ipv4Addr>,
}

/// A socket for it.
#[derive(Debug)]
pub struct Conntrack(Socket);

impl Conntrack {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Socket::open(Protocol::Netfilter).map(Self)
    }

    /// Forgets flows: their next packet is translated anew. Answers how many there were. The kernel
    /// walks its table once and picks them (Linux 5.8).
    pub fn forget(&mut self, flows: &Flows) -> Result<usize, Error> {
        let found = self.0.dump(GET, LIST, |b| write(b, flows))?;
        self.delete(&found)
    }

    /// Forgets every flow that one of the addresses began or answers: one walk for all of them.
    pub fn forget_addresses(&mut self, gone: &BTreeSet<Ipv4Addr>) -> Result<usize, Error> {
        let mut found = self.0.dump(GET, LIST, |b| b.extend([INET, 0, 0, 0]))?;
        found.retain(|answer| {
            let attrs = answer.payload.get(4..).unwrap_or_default();
            [ORIGINAL, REPLY].into_iter().any(|tuple| {
                let source = find(attrs, tuple).and_then(|t| find(t, 1)).and_then(|ip| find(ip, 1));
                source.and_then(ipv4).is_some_and(|source| gone.contains(&source))
            })
        });
        self.delete(&found)
    }

    fn delete(&mut self, found: &[Answer]) -> Result<usize, Error> {
        for chunk in found.chunks(CHUNK) {
            let mut messages = Messages::default();
            for answer in chunk {
                let attrs = answer.payload.get(4..).unwrap_or_default();
                let Some(tuple) = find(attrs, ORIGINAL) else { continue };
                messages.push(DELETE, ACK, "forget a tracked connection", |b| {
                    b.extend([INET, 0, 0, 0]);
                    b.nested(ORIGINAL, |b| b.extend(tuple));
                    if let Some(id) = find(attrs, ID) {
                        b.attr(ID, id);
                    }
                });
                messages.tolerate(&[libc::ENOENT]);
            }
            let count = messages.len();
            self.0.transact(&mut messages, count)?;
        }
        Ok(found.len())
    }
}

fn write(b: &mut Vec<u8>, flows: &Flows) {
    let bit = |set: bool, at: u32| u32::from(set) << at;
    // CTA_FILTER_FLAG: address pair 0 and 1, protocol 3, ports 4 and 5.
    let original = bit(flows.source.is_some(), 0)
        | bit(flows.destination.is_some(), 1)
        | bit(flows.protocol.is_some(), 3)
        | bit(flows.destination_port.is_some(), 5);
    let reply = bit(flows.answered_by.is_some(), 0);
    b.extend([INET, 0, 0, 0]);
    if original != 0 {
        b.nested(ORIGINAL, |b| {
            if flows.source.is_some() || flows.destination.is_some() {
                b.nested(1, |b| {
                    if let Some(source) = flows.source {
                        b.attr_ipv4(1, source);
                    }
                    if let Some(destination) = flows.destination {
                        b.attr_ipv4(2, destination);
                    }
                });
            }
            if let Some(protocol) = flows.protocol {
                b.nested(2, |b| {
                    b.attr_u8(1, protocol);
                    if let Some(port) = flows.destination_port {
                        b.attr_be16(3, port);
                    }
                });
            }
        });
    }
    if let Some(address) = flows.answered_by {
        b.nested(REPLY, |b| b.nested(1, |b| b.attr_ipv4(1, address)));
    }
    b.nested(FILTER, |b| {
        b.attr_u32(1, original);
        b.attr_u32(2, reply);
    });
}

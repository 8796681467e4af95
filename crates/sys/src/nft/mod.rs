//! nf_tables by raw netlink: tables, chains, rules, sets, and the elements of sets.
//!
//! A [`Batch`] is applied whole or not at all. Keep one [`Nft`] for the life of the process (see
//! [`crate::netlink::socket`]). Family IPv4; another family is another table.

pub mod batch;
pub mod rule;

pub use batch::{Batch, Data, Element, Hook, Maps, Set, Verdict};
pub use rule::{Reg, Rule};

use std::io;

use crate::netlink::attr::{AttrWriter, attributes, find, string, u32_at};
use crate::netlink::message::Messages;
use crate::netlink::{self, Protocol, Socket};

use batch::{GETCHAIN, GETSETELEM, GETTABLE, IPV4, SUBSYSTEM};

/// Why the kernel did not take it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused one part of a batch, and so the whole batch.
    #[error("nftables: {what}{}: {}{}", element(key), io::Error::from_raw_os_error(*errno), words(message))]
    Refused {
        /// What the part was to do.
        what: String,
        /// The key of the element that is at fault, where it is an element.
        key: Option<Vec<u8>>,
        /// The error number, positive.
        errno: i32,
        /// The kernel's own words.
        message: Option<String>,
    },
    /// The socket failed.
    #[error("nftables: {0}")]
    Netlink(#[from] netlink::Error),
}

fn element(key: &Option<Vec<u8>>) -> String {
    let hex = |key: &Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    key.as_ref().map(|key| format!(" (element {})", hex(key))).unwrap_or_default()
}

fn words(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

impl Error {
    /// The error number where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Netlink(error) => error.errno(),
        }
    }
}

/// The open connection to nf_tables.
#[derive(Debug)]
pub struct Nft(Socket);

impl Nft {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Socket::open(Protocol::Netfilter)?))
    }

    /// Applies a batch, whole or not at all.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut messages = batch.finish();
        match self.0.transact(&mut messages, 1) {
            Ok(_) => Ok(()),
            Err(netlink::Error::Refused(refusal)) => Err(Error::Refused {
                key: refusal.offset.and_then(|at| key_at(messages.message(refusal.index), at)),
                what: refusal.what,
                errno: refusal.errno,
                message: refusal.message,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of all tables.
    pub fn tables(&mut self) -> Result<Vec<String>, Error> {
        let found = self.0.dump(SUBSYSTEM | GETTABLE, "list tables", |b| b.extend(IPV4))?;
        let name = |answer: &netlink::socket::Answer| find(answer.payload.get(4..)?, 1).map(string);
        Ok(found.iter().filter_map(name).collect())
    }

    /// Whether there is such a chain.
    pub fn has_chain(&mut self, table: &str, chain: &str) -> Result<bool, Error> {
        let mut messages = Messages::default();
        messages.push(SUBSYSTEM | GETCHAIN, 0, format!("look up chain {chain}"), |b| {
            b.extend(IPV4);
            b.attr_str(1, table);
            b.attr_str(3, chain);
        });
        messages.tolerate(&[libc::ENOENT]);
        Ok(!self.0.transact(&mut messages, 0)?.is_empty())
    }

    /// Every element of a set.
    pub fn elements(&mut self, table: &str, set: &str) -> Result<Vec<Element>, Error> {
        let found = self.0.dump(SUBSYSTEM | GETSETELEM, "list elements", |b| {
            b.extend(IPV4);
            b.attr_str(1, table);
            b.attr_str(2, set);
        })?;
        let mut elements = Vec::new();
        for answer in &found {
            let attrs = answer.payload.get(4..).unwrap_or_default();
            for (_, item) in attributes(find(attrs, 3).unwrap_or_default()) {
                elements.extend(read_element(item));
            }
        }
        Ok(elements)
    }
}

fn read_element(item: &[u8]) -> Option<Element> {
    let key = find(find(item, 1)?, 1)?.to_vec();
    let data = find(item, 2).and_then(|data| {
        if let Some(value) = find(data, 1) {
            return Some(Data::Value(value.to_vec()));
        }
        let verdict = find(data, 2)?;
        let code = find(verdict, 1).and_then(|code| u32_at(code, 0)).map(u32::from_be)?;
        let chain = find(verdict, 2).map(string).unwrap_or_default();
        Some(Data::Verdict(Verdict::of(code as i32, chain)))
    });
    Some(Element { key, data })
}

/// The key of the element that an error's offset points at.
fn key_at(message: &[u8], offset: usize) -> Option<Vec<u8>> {
    let (_, item) = attributes(message.get(offset..)?).next()?;
    let key = find(find(item, 1)?, 1)?;
    Some(key.to_vec())
}

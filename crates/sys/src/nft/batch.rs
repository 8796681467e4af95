//! What is changed in one go.

use std::borrow::Cow;

use crate::netlink::attr::AttrWriter;
use crate::netlink::message::{APPEND, CREATE, Messages};

use super::Rule;

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYSTEM: u16 = 10 << 8;
pub(super) const GETTABLE: u16 = 1;
pub(super) const GETCHAIN: u16 = 4;
pub(super) const GETSETELEM: u16 = 13;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `struct nfgenmsg`: NFPROTO_IPV4, version 0, resource 0.
pub(super) const IPV4: [u8; 4] = [2, 0, 0, 0];
/// `struct nfgenmsg` of the batch's ends: the subsystem in network order.
const BATCH: [u8; 4] = [0, 0, 0, 10];
/// An attribute is at most 64 KiB; an element with a long key and a chain's name is 88 bytes.
const ELEMENTS: usize = 700;
/// `NFT_DATA_VERDICT`.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// Where a base chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// All that comes in, before routing.
    Prerouting,
    /// What is forwarded.
    Forward,
    /// What a local process sends.
    Output,
    /// All that goes out, after routing.
    Postrouting,
}

/// A set or a map.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// Types of the parts of the key (as `nft` numbers them: ipv4_addr 7, inet_proto 12,
    /// inet_service 13, mark 19), four bytes each.
    pub key: &'a [u32],
    /// What a key leads to.
    pub maps_to: Maps<'a>,
}

/// What the elements of a set lead to.
#[derive(Debug, Clone, Copy)]
pub enum Maps<'a> {
    /// Nothing: a set.
    Nothing,
    /// Values of these types, four bytes each.
    Values(&'a [u32]),
    /// A verdict.
    Verdicts,
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Its key, each part padded to four bytes.
    pub key: Vec<u8>,
    /// What it leads to, in a map.
    pub data: Option<Data>,
}

/// What an element leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Registers.
    Value(Vec<u8>),
    /// Where to go on.
    Verdict(Verdict),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// This base chain lets it pass.
    Accept,
    /// Away with it.
    Drop,
    /// Goes on after the rule that jumped here.
    Return,
    /// Goes through a chain and comes back.
    Jump(Cow<'static, str>),
    /// Goes through a chain and comes back to where this one was jumped from.
    Goto(Cow<'static, str>),
}

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    pub(super) fn of(code: i32, chain: String) -> Self {
        match code {
            1 => Self::Accept,
            -3 => Self::Jump(chain.into()),
            -4 => Self::Goto(chain.into()),
            -5 => Self::Return,
            _ => Self::Drop,
        }
    }

    pub(super) fn write(&self, b: &mut Vec<u8>) {
        b.nested(2, |b| {
            b.attr_be32(1, self.code() as u32);
            if let Self::Jump(chain) | Self::Goto(chain) = self {
                b.attr_str(2, chain);
            }
        });
    }
}

/// Changes of one table that are applied whole or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    table: String,
    messages: Messages,
}

impl Batch {
    /// An empty one.
    pub fn new(table: &str) -> Self {
        let mut messages = Messages::default();
        messages.push(BATCH_BEGIN, 0, "apply the batch", |b| b.extend(BATCH));
        Self { table: table.to_owned(), messages }
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.messages.len() == 1
    }

    /// The bytes as they are sent, but for the sequence numbers and the batch's end.
    pub fn bytes(&self) -> &[u8] {
        self.messages.bytes()
    }

    /// The table; nothing happens where it is there already.
    pub fn add_table(&mut self) -> &mut Self {
        self.message(NEWTABLE, CREATE, format!("add table {}", self.table), |_| {})
    }

    /// Deletes the table with all that is in it.
    pub fn delete_table(&mut self) -> &mut Self {
        self.message(DELTABLE, 0, format!("delete table {}", self.table), |_| {})
    }

    /// A chain that others jump to.
    pub fn add_chain(&mut self, name: &str) -> &mut Self {
        self.message(NEWCHAIN, CREATE, format!("add chain {name}"), |b| b.attr_str(3, name))
    }

    /// A chain that the kernel calls; `kind` is `filter` or `nat`; what falls through is accepted.
    pub fn add_base_chain(
        &mut self,
        name: &str,
        kind: &str,
        hook: Hook,
        priority: i32,
    ) -> &mut Self {
        let number = match hook {
            Hook::Prerouting => 0,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        self.message(NEWCHAIN, CREATE, format!("add {kind} chain {name}"), |b| {
            b.attr_str(3, name);
            b.nested(4, |b| {
                b.attr_be32(1, number);
                b.attr_be32(2, priority as u32);
            });
            b.attr_str(7, kind);
        })
    }

    /// A rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: Rule) -> &mut Self {
        let what = format!("add a rule to chain {chain} ({})", rule.names());
        self.message(NEWRULE, CREATE | APPEND, what, |b| {
            b.attr_str(2, chain);
            b.nested(4, |b| b.extend(rule.bytes()));
        })
    }

    /// A set or map; without a size the kernel lets it grow and shrink.
    pub fn add_set(&mut self, set: Set<'_>) -> &mut Self {
        let concatenated = |types: &[u32]| types.iter().fold(0, |all, part| all << 6 | part);
        let bytes = |types: &[u32]| 4 * types.len() as u32;
        self.message(NEWSET, CREATE, format!("add set {}", set.name), |b| {
            b.attr_str(2, set.name);
            b.attr_be32(3, if matches!(set.maps_to, Maps::Nothing) { 0 } else { 8 });
            b.attr_be32(4, concatenated(set.key));
            b.attr_be32(5, bytes(set.key));
            match set.maps_to {
                Maps::Nothing => {}
                Maps::Values(types) => {
                    b.attr_be32(6, concatenated(types));
                    b.attr_be32(7, bytes(types));
                }
                Maps::Verdicts => b.attr_be32(6, VERDICT_TYPE),
            }
            // Unique within the batch; the kernel wants one and nothing here refers to it.
            b.attr_be32(10, 1);
        })
    }

    /// Elements; the key must be new or have the same data already.
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(NEWSETELEM, CREATE, "add", set, elements)
    }

    /// Deletes elements, all of which must be there.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(DELSETELEM, 0, "delete", set, elements)
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        verb: &str,
        set: &str,
        elements: &[Element],
    ) -> &mut Self {
        for part in elements.chunks(ELEMENTS) {
            let what = format!("{verb} {} elements in {set}", part.len());
            self.message(kind, flags, what, |b| {
                b.attr_str(2, set);
                b.nested(3, |b| {
                    for element in part {
                        b.nested(1, |b| element.write(b, kind == NEWSETELEM));
                    }
                });
            });
        }
        self
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        what: String,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        let table = &self.table;
        self.messages.push(SUBSYSTEM | kind, flags, what, |b| {
            b.extend(IPV4);
            b.attr_str(1, table);
            body(b);
        });
        self
    }

    pub(super) fn finish(self) -> Messages {
        let mut messages = self.messages;
        messages.acknowledge_last();
        messages.push(BATCH_END, 0, "end the batch", |b| b.extend(BATCH));
        messages
    }
}

impl Element {
    fn write(&self, b: &mut Vec<u8>, with_data: bool) {
        b.nested(1, |b| b.attr(1, &self.key));
        match &self.data {
            Some(Data::Value(value)) if with_data => b.nested(2, |b| b.attr(1, value)),
            Some(Data::Verdict(verdict)) if with_data => b.nested(2, |b| verdict.write(b)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Recorded on little-endian machines; nf_tables took these bytes.
    #[cfg(target_endian = "little")]
    #[test]
    fn an_element_is_encoded_as_recorded() {
        let mut batch = Batch::new("t");
        let begin = batch.bytes().len();
        assert_eq!(hex(batch.bytes()), "140000001000010000000000000000000000000a");
        batch.add_elements(
            "m",
            &[Element { key: vec![10, 96, 0, 1], data: Some(Data::Value(vec![10, 244, 0, 2])) }],
        );
        let expected = [
            "44000000", "0c0a", "0104", "00000000", "00000000", // nlmsghdr
            "02000000", // nfgenmsg
            "06000100", "74000000", // table "t"
            "06000200", "6d000000", // set "m"
            "20000380", "1c000180", // elements, element
            "0c000180", "08000100", "0a600001", // key
            "0c000280", "08000100", "0af40002", // data
        ];
        assert_eq!(hex(&batch.bytes()[begin..]), expected.concat());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_verdict_is_encoded_as_recorded() {
        let mut bytes = Vec::new();
        Verdict::Goto("c".into()).write(&mut bytes);
        assert_eq!(hex(&bytes), "1400028008000100fffffffc0600020063000000");
    }

    #[test]
    fn many_elements_are_several_messages_none_too_long() {
        let elements: Vec<_> = (0..2000_u32)
            .map(|i| Element {
                key: [[0; 4], [0; 4], [0; 4], i.to_be_bytes()].concat(),
                data: Some(Data::Verdict(Verdict::Goto("a-chain-of-a-long-name".into()))),
            })
            .collect();
        let mut batch = Batch::new("t");
        batch.add_elements("m", &elements).delete_elements("m", &elements);
        assert_eq!(batch.messages.len(), 1 + 3 + 3);
        for index in 0..batch.messages.len() {
            assert!(batch.messages.message(index).len() < 1 << 16);
        }
    }

    #[test]
    fn only_the_last_message_asks_for_an_answer() {
        let mut batch = Batch::new("t");
        batch.add_table().add_chain("c");
        let messages = batch.finish();
        let flags: Vec<_> = (0..messages.len()).map(|i| messages.message(i)[6] & 4).collect();
        assert_eq!(flags, [0, 0, 4, 0]);
    }
}

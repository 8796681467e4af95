//! Rules: expressions that load registers, compare them, and act.

use std::net::Ipv4Addr;

use crate::netlink::attr::AttrWriter;

use super::Verdict;

/// One of sixteen registers of four bytes (`NFT_REG32_00` …).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u8);

/// The expressions of a rule, in order; the first that does not hold ends it.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    bytes: Vec<u8>,
    names: Vec<&'static str>,
}

/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
/// `IPS_DST_NAT`.
const DNAT_DONE: u32 = 1 << 5;

impl Rule {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn names(&self) -> String {
        self.names.join(", ")
    }

    // --- loading ---

    /// `ip saddr`.
    pub fn load_source(self, to: Reg) -> Self {
        self.payload(to, 1, 12, 4)
    }

    /// `ip daddr`.
    pub fn load_destination(self, to: Reg) -> Self {
        self.payload(to, 1, 16, 4)
    }

    /// `th dport`.
    pub fn load_destination_port(self, to: Reg) -> Self {
        self.payload(to, 2, 2, 2)
    }

    /// `meta l4proto`.
    pub fn load_protocol(self, to: Reg) -> Self {
        self.meta(to, 16)
    }

    /// A constant.
    pub fn load_value(self, to: Reg, value: [u8; 4]) -> Self {
        self.expression("immediate", |b| {
            b.attr_be32(1, to.number());
            b.nested(2, |b| b.attr(1, &value));
        })
    }

    /// A random number below `modulus`.
    pub fn load_random(self, to: Reg, modulus: u32) -> Self {
        self.expression("numgen", |b| {
            b.attr_be32(1, to.number());
            b.attr_be32(2, modulus);
            b.attr_be32(3, 1);
            b.attr_be32(4, 0);
        })
    }

    /// A hash of a register, below `modulus`.
    pub fn load_hash(self, from: Reg, to: Reg, modulus: u32, seed: u32) -> Self {
        self.expression("hash", |b| {
            b.attr_be32(1, from.number());
            b.attr_be32(2, to.number());
            b.attr_be32(3, 4);
            b.attr_be32(4, modulus);
            b.attr_be32(5, seed);
            b.attr_be32(7, 0);
        })
    }

    /// The value to which a map leads from the key in `key` and the registers after it.
    pub fn load_from_map(self, map: &str, key: Reg, to: Reg) -> Self {
        self.expression("lookup", |b| {
            b.attr_str(1, map);
            b.attr_be32(2, key.number());
            b.attr_be32(3, to.number());
        })
    }

    // --- conditions ---

    /// Whether the register holds this.
    pub fn equals(self, register: Reg, value: &[u8]) -> Self {
        self.compare(register, 0, value)
    }

    /// Whether the register holds something else.
    pub fn differs(self, register: Reg, value: &[u8]) -> Self {
        self.compare(register, 1, value)
    }

    /// Whether the address in the register is in a range; changes the register.
    pub fn within(self, register: Reg, network: Ipv4Addr, prefix: u8) -> Self {
        self.mask(register, prefix).compare(register, 0, &network.octets())
    }

    /// Whether the address in the register is outside a range; changes the register.
    pub fn outside(self, register: Reg, network: Ipv4Addr, prefix: u8) -> Self {
        self.mask(register, prefix).compare(register, 1, &network.octets())
    }

    /// Whether the key is in a set.
    pub fn in_set(self, set: &str, key: Reg) -> Self {
        self.expression("lookup", |b| {
            b.attr_str(1, set);
            b.attr_be32(2, key.number());
        })
    }

    /// `fib daddr type local`: the packet is for an address of this node.
    pub fn destination_is_local(self, scratch: Reg) -> Self {
        self.expression("fib", |b| {
            b.attr_be32(1, scratch.number());
            b.attr_be32(2, 3);
            b.attr_be32(3, 2);
        })
        .compare(scratch, 0, &LOCAL.to_ne_bytes())
    }

    /// `ct status dnat`: the destination was translated.
    pub fn destination_was_translated(self, scratch: Reg) -> Self {
        self.expression("ct", |b| {
            b.attr_be32(1, scratch.number());
            b.attr_be32(2, 2);
        })
        .bitwise(scratch, DNAT_DONE.to_ne_bytes(), [0; 4])
        .compare(scratch, 1, &[0; 4])
    }

    /// The packet does not go out through this interface.
    pub fn not_out_through(self, scratch: Reg, interface: u32) -> Self {
        self.meta(scratch, 5).compare(scratch, 1, &interface.to_ne_bytes())
    }

    /// The packet's mark has these bits.
    pub fn has_mark(self, scratch: Reg, bits: u32) -> Self {
        self.meta(scratch, 3).bitwise(scratch, bits.to_ne_bytes(), [0; 4]).compare(
            scratch,
            0,
            &bits.to_ne_bytes(),
        )
    }

    // --- acting ---

    /// Sets bits of the packet's mark.
    pub fn set_mark(self, scratch: Reg, bits: u32) -> Self {
        self.meta(scratch, 3)
            .bitwise(scratch, (!bits).to_ne_bytes(), bits.to_ne_bytes())
            .expression("meta", |b| {
                b.attr_be32(2, 3);
                b.attr_be32(3, scratch.number());
            })
    }

    /// A verdict.
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.expression("immediate", |b| {
            b.attr_be32(1, 0);
            b.nested(2, |b| verdict.write(b));
        })
    }

    /// The verdict to which a map leads.
    pub fn verdict_from_map(self, map: &str, key: Reg) -> Self {
        self.expression("lookup", |b| {
            b.attr_str(1, map);
            b.attr_be32(2, key.number());
            b.attr_be32(3, 0);
        })
    }

    /// Sends it to another address and port.
    pub fn translate_destination(self, address: Reg, port: Reg) -> Self {
        self.expression("nat", |b| {
            b.attr_be32(1, 1);
            b.attr_be32(2, 2);
            b.attr_be32(3, address.number());
            b.attr_be32(5, port.number());
        })
    }

    /// Gives it another source address.
    pub fn translate_source(self, address: Reg) -> Self {
        self.expression("nat", |b| {
            b.attr_be32(1, 0);
            b.attr_be32(2, 2);
            b.attr_be32(3, address.number());
        })
    }

    /// Gives it the source address of the interface through which it goes out.
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    /// Answers with a TCP reset.
    pub fn reject_with_reset(self) -> Self {
        self.expression("reject", |b| {
            b.attr_be32(1, 1);
            b.attr_u8(2, 0);
        })
    }

    /// Answers "port unreachable".
    pub fn reject_with_unreachable(self) -> Self {
        self.expression("reject", |b| {
            b.attr_be32(1, 0);
            b.attr_u8(2, 3);
        })
    }

    // --- parts ---

    fn payload(self, to: Reg, base: u32, offset: u32, length: u32) -> Self {
        self.expression("payload", |b| {
            b.attr_be32(1, to.number());
            b.attr_be32(2, base);
            b.attr_be32(3, offset);
            b.attr_be32(4, length);
        })
    }

    fn meta(self, to: Reg, key: u32) -> Self {
        self.expression("meta", |b| {
            b.attr_be32(2, key);
            b.attr_be32(1, to.number());
        })
    }

    fn compare(self, register: Reg, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |b| {
            b.attr_be32(1, register.number());
            b.attr_be32(2, operation);
            b.nested(3, |b| b.attr(1, value));
        })
    }

    fn mask(self, register: Reg, prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        self.bitwise(register, mask.to_be_bytes(), [0; 4])
    }

    fn bitwise(self, register: Reg, mask: [u8; 4], xor: [u8; 4]) -> Self {
        self.expression("bitwise", |b| {
            b.attr_be32(1, register.number());
            b.attr_be32(2, register.number());
            b.attr_be32(3, 4);
            b.nested(4, |b| b.attr(1, &mask));
            b.nested(5, |b| b.attr(1, &xor));
        })
    }

    fn expression(mut self, name: &'static str, body: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.names.push(name);
        self.bytes.nested(1, |b| {
            b.attr_str(1, name);
            b.nested(2, body);
        });
        self
    }
}

impl Reg {
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

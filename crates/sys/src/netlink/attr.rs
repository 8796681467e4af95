//! Netlink attributes (`struct nlattr`): type, length, value, padded to four bytes.

use std::net::Ipv4Addr;

/// Set on attributes that hold attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The type without its flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

/// Writes attributes at the end of a buffer.
pub trait AttrWriter {
    /// An attribute with bytes.
    fn attr(&mut self, kind: u16, value: &[u8]);
    /// An attribute that holds the attributes which `body` writes.
    fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>));
    /// Text with the closing zero.
    fn attr_str(&mut self, kind: u16, value: &str);
    /// A number in the machine's order, as rtnetlink has them.
    fn attr_u32(&mut self, kind: u16, value: u32);
    /// A number in network order, as netfilter has them.
    fn attr_be32(&mut self, kind: u16, value: u32);
    /// A port in network order.
    fn attr_be16(&mut self, kind: u16, value: u16);
    /// One byte.
    fn attr_u8(&mut self, kind: u16, value: u8);
    /// An address.
    fn attr_ipv4(&mut self, kind: u16, value: Ipv4Addr);
}

impl AttrWriter for Vec<u8> {
    fn attr(&mut self, kind: u16, value: &[u8]) {
        debug_assert!(value.len() + 4 <= usize::from(u16::MAX));
        self.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.extend(kind.to_ne_bytes());
        self.extend(value);
        pad(self);
    }

    fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.len();
        self.extend([0; 2]);
        self.extend((kind | NESTED).to_ne_bytes());
        body(self);
        let length = self.len() - start;
        debug_assert!(length <= usize::from(u16::MAX));
        self[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        pad(self);
    }

    fn attr_str(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    fn attr_be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    fn attr_be16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_be_bytes());
    }

    fn attr_u8(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    fn attr_ipv4(&mut self, kind: u16, value: Ipv4Addr) {
        self.attr(kind, &value.octets());
    }
}

fn pad(buffer: &mut Vec<u8>) {
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// Reads attributes one after the other; ends at the first that does not fit.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a type.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// An address.
pub fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// Text up to its closing zero.
pub fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut buffer = Vec::new();
        buffer.attr_str(1, "eth0");
        buffer.nested(2, |b| b.attr_be16(3, 443));
        buffer.attr_u32(4, 7);
        assert_eq!(
            buffer[..12],
            *[9u16.to_ne_bytes(), 1u16.to_ne_bytes()]
                .concat()
                .into_iter()
                .chain(*b"eth0\0\0\0\0")
                .collect::<Vec<_>>()
        );
        assert_eq!(string(find(&buffer, 1).unwrap()), "eth0");
        assert_eq!(find(find(&buffer, 2).unwrap(), 3), Some(&[1, 187][..]));
        assert_eq!(find(&buffer, 4).and_then(|v| u32_at(v, 0)), Some(7));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        for bytes in [&[][..], &[1], &[3, 0, 1, 0], &[255, 255, 1, 0, 1], &[0, 0, 0, 0, 0, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}

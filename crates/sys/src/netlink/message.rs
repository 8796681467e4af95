//! Messages on their way to the kernel, several in one buffer.

use std::borrow::Cow;

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer also when it worked.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all there are.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: put it in the place of what is there.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail where it is there.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub const APPEND: u16 = 0x800;

pub(super) const HEADER: usize = 16;

/// Messages that are sent together. Sequence numbers are written when they are sent.
#[derive(Debug, Default, Clone)]
pub struct Messages {
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) what: Cow<'static, str>,
    pub(super) tolerated: &'static [i32],
}

impl Messages {
    /// Adds a message; `what` says in an error what it was to do, `body` writes what follows the
    /// netlink header.
    pub fn push(
        &mut self,
        kind: u16,
        flags: u16,
        what: impl Into<Cow<'static, str>>,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend([0; 8]);
        body(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.parts.push(Part { start, what: what.into(), tolerated: &[] });
    }

    /// The last message may fail with these error numbers: then what it asks for is so already.
    pub fn tolerate(&mut self, errnos: &'static [i32]) {
        if let Some(part) = self.parts.last_mut() {
            part.tolerated = errnos;
        }
    }

    /// Sets `NLM_F_ACK` on the last message.
    pub fn acknowledge_last(&mut self) {
        if let Some(part) = self.parts.last() {
            let at = part.start + 6;
            let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
            self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The bytes as they are sent, but for the sequence numbers.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of one message, header included.
    pub fn message(&self, index: usize) -> &[u8] {
        let Some(part) = self.parts.get(index) else { return &[] };
        let end = self.parts.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        &self.bytes[part.start..end]
    }

    /// The same messages in parts of at most `size`.
    pub(super) fn split(&self, size: usize) -> Vec<Self> {
        (0..self.len())
            .collect::<Vec<_>>()
            .chunks(size)
            .map(|indexes| {
                let mut part = Self::default();
                for &index in indexes {
                    let Part { what, tolerated, .. } = self.parts[index].clone();
                    part.parts.push(Part { start: part.bytes.len(), what, tolerated });
                    part.bytes.extend(self.message(index));
                }
                part
            })
            .collect()
    }

    pub(super) fn number(&mut self, first: u32) {
        for (part, sequence) in self.parts.iter().zip(first..) {
            let at = part.start + 8;
            self.bytes[at..at + 4].copy_from_slice(&sequence.to_ne_bytes());
        }
    }
}

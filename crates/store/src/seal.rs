//! The first byte of a stored value says how the rest is sealed.
//!
//! Only the identity is known now. The byte stands from the first write, so that encryption at
//! rest can come later without a new format: old values stay readable beside sealed ones.

use bytes::Bytes;

/// The rest is the value as it is.
const IDENTITY: u8 = 0;

/// How to seal what is written. Everything that was ever sealed can be opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Seal {
    /// Not at all.
    #[default]
    Identity,
}

impl Seal {
    /// Replaces what is in `out` by the stored form of `value`.
    pub(crate) fn seal(self, value: &[u8], out: &mut Vec<u8>) {
        out.clear();
        match self {
            Seal::Identity => {
                out.push(IDENTITY);
                out.extend_from_slice(value);
            }
        }
    }

    /// The value of a stored form, or what is wrong with it.
    pub(crate) fn open(self, stored: Vec<u8>) -> Result<Bytes, String> {
        let mut stored = Bytes::from(stored);
        match stored.first() {
            Some(&IDENTITY) => Ok(stored.split_off(1)),
            Some(scheme) => Err(format!("sealed by scheme {scheme}, which is not known here")),
            None => Err("without the prefix that says how it is sealed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed() {
        for value in [&b""[..], b"x", b"\0\x01{}"] {
            let mut stored = b"left over".to_vec();
            Seal::Identity.seal(value, &mut stored);
            assert_eq!(stored.len(), value.len() + 1);
            assert_eq!(Seal::Identity.open(stored).as_deref(), Ok(value));
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(Seal::Identity.open(vec![]).unwrap_err().contains("without the prefix"));
        assert!(Seal::Identity.open(vec![1, 2]).unwrap_err().contains("scheme 1"));
    }
}

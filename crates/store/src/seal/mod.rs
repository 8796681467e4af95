//! Values at rest: the first byte of a stored value says how the rest is sealed.
//!
//! What is sealed is encrypted with AES-256-GCM by a **data key**, and bound to its own key in the
//! store, so that no value can be put in the place of another. Data keys lie in the database,
//! themselves sealed by the **key-encryption key**, which lies in a file beside it ([`key_file`]).
//!
//! ```text
//! 0  value
//! 1  id of the data key (4 bytes)  nonce (12)  ciphertext  tag (16)
//! ```

mod key_file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

pub(crate) use key_file::KeyFile;

/// The rest is the value as it is.
const IDENTITY: u8 = 0;
/// The rest is sealed by a data key.
const SEALED: u8 = 1;
/// What stands before the ciphertext.
const HEADER: usize = 1 + 4 + NONCE_LEN;
/// As many bytes of a stored value as tell how it is sealed.
pub(crate) const PEEK: i64 = 5;

/// Which values to seal, and where the key lies.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The file of the key-encryption key, made if it is missing; its directory is for its owner
    /// alone.
    pub key_file: PathBuf,
    /// Values are sealed whose keys begin with one of these.
    pub prefixes: Vec<String>,
}

/// 256 bits that no log shows.
pub(crate) struct Key(pub(crate) [u8; 32]);

/// Seals what is written; opens everything that was ever sealed.
#[derive(Default)]
pub(crate) struct Seal {
    prefixes: Vec<String>,
    keys: BTreeMap<u32, LessSafeKey>,
}

impl Key {
    pub(crate) fn generate() -> Result<Self, String> {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn cipher(&self) -> Result<LessSafeKey, String> {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| "not a key of 256 bits")?;
        Ok(LessSafeKey::new(key))
    }

    /// Another key, sealed by this one.
    pub(crate) fn wrap(&self, id: u32, other: &Self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        encrypt(&self.cipher()?, &wrap_label(id), &other.0, &mut out)?;
        Ok(out)
    }

    /// What [`Self::wrap`] has sealed.
    pub(crate) fn unwrap(&self, id: u32, mut sealed: Vec<u8>) -> Result<Self, String> {
        let open = decrypt(&self.cipher()?, &wrap_label(id), &mut sealed, 0)?;
        let bytes = open.try_into().map_err(|_| "a data key has not 256 bits")?;
        Ok(Self(bytes))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

fn wrap_label(id: u32) -> Vec<u8> {
    [b"onggi data key ".as_slice(), &id.to_be_bytes()].concat()
}

fn fill(bytes: &mut [u8]) -> Result<(), String> {
    SystemRandom::new().fill(bytes).map_err(|_| "the system gives no random numbers".to_owned())
}

/// Appends nonce, ciphertext and tag.
fn encrypt(key: &LessSafeKey, label: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(label), &mut out[start..])
        .map_err(|_| "too large to be sealed")?;
    out.extend_from_slice(tag.as_ref());
    Ok(())
}

/// What stands behind the first `skip` bytes.
fn decrypt<'s>(
    key: &LessSafeKey,
    label: &[u8],
    stored: &'s mut [u8],
    skip: usize,
) -> Result<&'s [u8], String> {
    let broken = || "sealed by another key, or changed since".to_owned();
    let (nonce, rest) = stored
        .get_mut(skip..)
        .and_then(|s| s.split_at_mut_checked(NONCE_LEN))
        .ok_or_else(broken)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
    key.open_in_place(nonce, Aad::from(label), rest).map(|plain| &*plain).map_err(|_| broken())
}

/// What a sealed value is bound to.
fn label(id: u32, key: &str) -> Vec<u8> {
    [&[SEALED], id.to_be_bytes().as_slice(), key.as_bytes()].concat()
}

impl Seal {
    pub(crate) fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes, keys: BTreeMap::new() }
    }

    /// Knows a data key from now on; the one with the highest number seals.
    pub(crate) fn add(&mut self, id: u32, key: &Key) -> Result<(), String> {
        self.keys.insert(id, key.cipher()?);
        Ok(())
    }

    /// Forgets all data keys but the one that seals; gives the numbers of the others.
    pub(crate) fn retire(&mut self) -> Vec<u32> {
        let Some(active) = self.active() else { return Vec::new() };
        let old = self.keys.keys().copied().filter(|id| *id != active).collect();
        self.keys.retain(|id, _| *id == active);
        old
    }

    /// The number of the data key that seals.
    pub(crate) fn active(&self) -> Option<u32> {
        self.keys.keys().next_back().copied()
    }

    /// Whether there is more than the key that seals.
    pub(crate) fn is_rotating(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether values of a key are to be sealed.
    fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
    }

    /// Whether a stored value, of which this is the beginning, is not sealed as it would be now.
    pub(crate) fn is_stale(&self, key: &str, beginning: &[u8]) -> bool {
        let Some(active) = self.active() else { return false };
        match beginning {
            [SEALED, id @ ..] => {
                id.first_chunk().is_none_or(|id| u32::from_be_bytes(*id) != active)
            }
            _ => self.covers(key),
        }
    }

    /// Replaces what is in `out` by the stored form of a value.
    pub(crate) fn seal(&self, key: &str, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.clear();
        let active = self.keys.last_key_value().filter(|_| self.covers(key));
        match active {
            None => {
                out.push(IDENTITY);
                out.extend_from_slice(value);
                Ok(())
            }
            Some((id, cipher)) => {
                out.push(SEALED);
                out.extend_from_slice(&id.to_be_bytes());
                encrypt(cipher, &label(*id, key), value, out)
            }
        }
    }

    /// The value of a stored form, or what is wrong with it.
    pub(crate) fn open(&self, key: &str, mut stored: Vec<u8>) -> Result<Bytes, String> {
        match stored.as_slice() {
            [IDENTITY, ..] => Ok(Bytes::from(stored).split_off(1)),
            [SEALED, a, b, c, d, ..] => {
                let id = u32::from_be_bytes([*a, *b, *c, *d]);
                let cipher = self
                    .keys
                    .get(&id)
                    .ok_or_else(|| format!("sealed by data key {id}, which is not known here"))?;
                let end = decrypt(cipher, &label(id, key), &mut stored, HEADER - NONCE_LEN)?.len();
                stored.truncate(HEADER + end);
                Ok(Bytes::from(stored).split_off(HEADER))
            }
            [scheme, ..] => Err(format!("sealed by scheme {scheme}, which is not known here")),
            [] => Err("without the prefix that says how it is sealed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(ids: &[u32]) -> Seal {
        let mut seal = Seal::new(vec!["/secrets/".into()]);
        for id in ids {
            seal.add(*id, &Key([u8::try_from(*id).unwrap(); 32])).unwrap();
        }
        seal
    }

    #[test]
    fn opens_what_it_sealed() {
        let seal = seal(&[1, 2]);
        for (key, hidden) in [("/secrets/a", true), ("/maps/a", false)] {
            for value in [&b""[..], b"x", b"\0\x01{}", b"a value that would be found"] {
                let mut stored = b"left over".to_vec();
                seal.seal(key, value, &mut stored).unwrap();
                assert!(!seal.is_stale(key, &stored[..5.min(stored.len())]));
                let found = value.len() > 4 && stored.windows(value.len()).any(|w| w == value);
                assert_eq!(found, value.len() > 4 && !hidden, "{key}");
                assert_eq!(seal.open(key, stored).as_deref(), Ok(value));
            }
        }
    }

    #[test]
    fn refuses_what_it_does_not_know_and_what_was_changed() {
        let one = seal(&[1]);
        assert!(one.open("k", vec![]).unwrap_err().contains("without the prefix"));
        assert!(one.open("k", vec![7, 2]).unwrap_err().contains("scheme 7"));
        assert!(one.open("k", vec![1]).unwrap_err().contains("scheme 1"));
        let mut stored = Vec::new();
        one.seal("/secrets/a", b"value", &mut stored).unwrap();
        let error = seal(&[]).open("/secrets/a", stored.clone()).unwrap_err();
        assert!(error.contains("data key 1"), "{error}");
        assert!(one.open("/secrets/b", stored.clone()).unwrap_err().contains("changed"));
        *stored.last_mut().unwrap() ^= 1;
        assert!(one.open("/secrets/a", stored).unwrap_err().contains("changed"));
    }

    #[test]
    fn what_is_to_be_sealed_anew() {
        let mut both = seal(&[1]);
        let mut stored = Vec::new();
        both.seal("/secrets/a", b"value", &mut stored).unwrap();
        both.add(2, &Key([2; 32])).unwrap();
        assert!(both.is_stale("/secrets/a", &stored[..5]));
        assert!(both.is_stale("/secrets/a", &[IDENTITY, 1]) && !both.is_stale("/m/a", &[IDENTITY]));
        assert_eq!(both.retire(), [1]);
        assert_eq!(both.active(), Some(2));
    }

    #[test]
    fn keys_are_wrapped() {
        let (outer, inner) = (Key([9; 32]), Key([3; 32]));
        let sealed = outer.wrap(4, &inner).unwrap();
        assert_eq!(outer.unwrap(4, sealed.clone()).unwrap().0, inner.0);
        assert!(outer.unwrap(5, sealed.clone()).is_err());
        assert!(inner.unwrap(4, sealed).is_err());
    }
}

//! What is made once and asked for often: discovery and OpenAPI, with a hash.

use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::http::compress;

/// A document with its hash.
pub(crate) struct Document {
    /// None where only the packed form is kept.
    whole: Option<Bytes>,
    packed: OnceLock<Option<Bytes>>,
    pub(crate) etag: HeaderValue,
    pub(crate) content_type: &'static str,
}

impl Document {
    pub(crate) fn new(value: &impl Serialize, content_type: &'static str) -> Self {
        Self::from_bytes(json(value), content_type)
    }

    pub(crate) fn from_bytes(bytes: Bytes, content_type: &'static str) -> Self {
        let hash = hex::encode_upper(Sha256::digest(&bytes));
        let etag = HeaderValue::try_from(format!("\"{hash}\""))
            .unwrap_or(HeaderValue::from_static("\"\""));
        Self { whole: Some(bytes), etag, content_type, packed: OnceLock::new() }
    }

    /// Kept as most clients take it, compressed: a tenth of the memory.
    pub(crate) fn compact(value: &impl Serialize, content_type: &'static str) -> Self {
        Self::compact_bytes(json(value), content_type)
    }

    pub(crate) fn compact_bytes(bytes: Bytes, content_type: &'static str) -> Self {
        let mut document = Self::from_bytes(bytes, content_type);
        if let Some(packed) = document.whole.as_ref().and_then(|bytes| compress::pack(bytes)) {
            document.packed = OnceLock::from(Some(packed));
            document.whole = None;
        }
        document
    }

    /// As it was made; unpacked where only that is kept.
    pub(crate) fn bytes(&self) -> Bytes {
        let unpacked = || self.packed.get()?.as_ref().and_then(|packed| compress::unpack(packed));
        self.whole.clone().or_else(unpacked).unwrap_or_default()
    }

    /// Compressed, where that is worth it; done once.
    pub(crate) fn packed(&self) -> Option<Bytes> {
        let pack = || self.whole.as_ref().and_then(|bytes| compress::if_large(bytes));
        self.packed.get_or_init(pack).clone()
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_compact_one_says_the_same() {
        let value = json!({"a": "b".repeat(1000)});
        let (plain, compact) = (Document::new(&value, "a/b"), Document::compact(&value, "a/b"));
        assert_eq!(compact.bytes(), plain.bytes());
        assert_eq!(compact.etag, plain.etag);
        assert_eq!(plain.packed(), None, "not worth it");
        assert!(compact.packed().is_some_and(|packed| packed.len() < 100));
    }
}

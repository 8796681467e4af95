//! Heads of what is being written: the writer has the object as a tree, so that the cache need not
//! read the bytes once more when they come back from the store.

use std::collections::HashMap;

use bytes::Bytes;
use onggi_api::Head;
use onggi_machinery::resource::Resource;
use parking_lot::Mutex;
use serde_json::Value;

/// By the place of the bytes in memory, which are kept alive for as long as they are listed.
#[derive(Default)]
pub(super) struct Heads(Mutex<HashMap<usize, Head>>);

/// Held by the writer until its write was answered.
#[must_use]
pub(crate) struct Announced<'c> {
    heads: &'c Heads,
    bytes: Bytes,
}

impl Heads {
    /// Before the store gets the bytes. Objects of custom kinds may be stored in another version
    /// than they are held in; they are read.
    pub(super) fn announce(&self, row: &Resource, object: &Value, bytes: &Bytes) -> Announced<'_> {
        if row.custom.is_none() {
            self.0.lock().insert(place(bytes), Head::of(object, row.fields));
        }
        Announced { heads: self, bytes: bytes.clone() }
    }

    /// The head of bytes that the store tells of.
    pub(super) fn take(&self, bytes: &Bytes) -> Option<Head> {
        self.0.lock().remove(&place(bytes))
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.heads.0.lock().remove(&place(&self.bytes));
    }
}

fn place(bytes: &Bytes) -> usize {
    bytes.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use onggi_machinery::resource::by_any_name;
    use serde_json::json;

    use super::*;

    #[test]
    fn known_once_and_no_longer_than_the_write() {
        let row = by_any_name("configmaps").unwrap();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let bytes = Bytes::from(object.to_string());
        let heads = Heads::default();
        let announced = heads.announce(row, &object, &bytes);
        let copy = Bytes::copy_from_slice(&bytes);
        assert_eq!(heads.take(&copy), None);
        assert_eq!(heads.take(&bytes.clone()).unwrap().name, "a");
        assert_eq!(heads.take(&bytes), None);
        drop(announced);
        drop(heads.announce(row, &object, &bytes));
        assert_eq!(heads.take(&bytes), None);
    }
}

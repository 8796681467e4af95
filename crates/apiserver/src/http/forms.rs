//! Objects in the forms that watchers ask for beside JSON, encoded once for all of them.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use bytes::Bytes;
use onggi_api::{Object, Status};
use parking_lot::Mutex;

use super::accept::{Format, Shape};

/// How many encodings are kept: those of the latest events, which all watchers are about to send.
const SLOTS: usize = 1024;
/// Larger ones are not kept.
const MAX_BYTES: usize = 64 << 10;

/// Which form.
pub(super) type Form = (Format, Shape, &'static str);

struct Slot {
    /// Held, so that no other object can come to lie at its address.
    object: Arc<Object>,
    form: Form,
    bytes: Bytes,
}

/// See the module. A place for each hash; what comes later takes it.
pub(crate) struct Forms(Box<[Mutex<Option<Slot>>]>);

impl Default for Forms {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }
}

impl Forms {
    /// The object in a form; `make` is called where nobody has asked for it yet.
    pub(super) fn get(
        &self,
        object: &Arc<Object>,
        form: Form,
        make: impl FnOnce() -> Result<Bytes, Status>,
    ) -> Result<Bytes, Status> {
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        let at = hasher.hash_one((Arc::as_ptr(object) as usize, form)) as usize % SLOTS;
        // Held while it is encoded: whoever else wants it waits instead of doing the same.
        let mut slot = self.0[at].lock();
        if let Some(known) = slot.as_ref()
            && Arc::ptr_eq(&known.object, object)
            && known.form == form
        {
            return Ok(known.bytes.clone());
        }
        let bytes = make()?;
        if bytes.len() <= MAX_BYTES {
            *slot = Some(Slot { object: Arc::clone(object), form, bytes: bytes.clone() });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_encoding_for_all() {
        let forms = Forms::default();
        let value = serde_json::json!({"apiVersion": "v1", "kind": "X", "metadata": {}});
        let object = Arc::new(Object::from_value(&value, &[]).unwrap());
        let form = (Format::Protobuf, Shape::Whole, "v1");
        let first = forms.get(&object, form, || Ok(Bytes::from_static(b"1"))).unwrap();
        let second = forms.get(&object, form, || Ok(Bytes::from_static(b"2"))).unwrap();
        assert_eq!((first.as_ref(), second.as_ref()), (&b"1"[..], &b"1"[..]));
        let other = (Format::Json, Shape::Metadata, "v1");
        assert_eq!(forms.get(&object, other, || Ok(Bytes::from_static(b"3"))).unwrap(), "3");
        let again = Arc::new(Object::from_value(&value, &[]).unwrap());
        assert_eq!(forms.get(&again, form, || Ok(Bytes::from_static(b"4"))).unwrap(), "4");
    }
}

//! What many watchers are told at once, written once for all of them.
//!
//! Watchers of the same are woken together and find the same changes, whatever each selects. So the
//! text is looked up by the very events, and need not know who asked for them and why.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use bytes::Bytes;
use onggi_client::{EventType, WatchEvent};
use parking_lot::Mutex;

use super::forms::Form;

/// How many texts are kept: those that are being sent just now.
const SLOTS: usize = 32;
/// Larger ones are not kept.
const MAX_BYTES: usize = 64 << 10;

struct Slot {
    /// Held, so that no other objects can come to lie at their addresses.
    events: Vec<WatchEvent>,
    form: Form,
    text: Bytes,
}

/// See the module. A place for each hash; what comes later takes it.
#[derive(Default)]
pub(crate) struct Batches([Mutex<Option<Slot>>; SLOTS]);

impl Batches {
    /// The events in a form; `write` is called where nobody has asked for it yet.
    pub(super) fn get(
        &self,
        events: &[WatchEvent],
        form: Form,
        write: impl FnOnce() -> Bytes,
    ) -> Bytes {
        // Everybody gets bookmarks of their own.
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return write() };
        if events.iter().any(|event| event.kind == EventType::Bookmark) {
            return write();
        }
        let places = [first, last].map(|event| Arc::as_ptr(&event.object) as usize);
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        let at = hasher.hash_one((places, events.len(), form)) as usize % SLOTS;
        // Held while it is written: whoever else wants it waits instead of doing the same.
        let mut slot = self.0[at].lock();
        if let Some(known) = slot.as_ref()
            && known.form == form
            && same(&known.events, events)
        {
            return known.text.clone();
        }
        let text = write();
        if text.len() <= MAX_BYTES {
            *slot = Some(Slot { events: events.to_vec(), form, text: text.clone() });
        }
        text
    }
}

fn same(one: &[WatchEvent], other: &[WatchEvent]) -> bool {
    let equal = |(one, other): (&WatchEvent, &WatchEvent)| {
        one.kind == other.kind && Arc::ptr_eq(&one.object, &other.object)
    };
    one.len() == other.len() && one.iter().zip(other).all(equal)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use onggi_api::Object;
    use serde_json::json;

    use super::super::accept::{Format, Shape};
    use super::*;

    fn event(kind: EventType) -> WatchEvent {
        let value = json!({"apiVersion": "v1", "kind": "X", "metadata": {}});
        let object = Arc::new(Object::from_value(&value, &[]).unwrap());
        WatchEvent { kind, object, initial_events_end: false }
    }

    #[test]
    fn one_text_for_the_same_events() {
        let batches = Batches::default();
        let form = (Format::Json, Shape::Whole, "v1");
        let get = |events: &[WatchEvent], form, text: &'static str| {
            batches.get(events, form, || Bytes::from_static(text.as_bytes()))
        };
        let (one, two) = (event(EventType::Added), event(EventType::Added));
        assert_eq!(get(&[one.clone(), two.clone()], form, "1"), "1");
        assert_eq!(get(&[one.clone(), two.clone()], form, "2"), "1");
        assert_eq!(get(from_ref(&one), form, "3"), "3", "fewer");
        assert_eq!(get(&[two, one.clone()], form, "4"), "4", "in another order");
        let modified = WatchEvent { kind: EventType::Modified, ..one.clone() };
        assert_eq!(get(&[modified], form, "5"), "5", "the same object, told otherwise");
        let other = (Format::Protobuf, Shape::Whole, "v1");
        assert_eq!(get(&[one], other, "6"), "6", "in another form");
        let bookmark = event(EventType::Bookmark);
        assert_eq!(get(from_ref(&bookmark), form, "7"), "7");
        assert_eq!(get(from_ref(&bookmark), form, "8"), "8");
    }
}

//! What the tests share.

use std::sync::Arc;

use futures::StreamExt;
use onggi_store::{Error, Event, Expect, KeyValue, Store, Txn, WatchStream};

/// A small generator, so that a failing seed can be run again.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

pub(crate) async fn put(store: &dyn Store, key: &str, expect: Expect, value: &str) -> u64 {
    store.txn(Txn::put(key, expect, value.to_owned())).await.unwrap().revision
}

pub(crate) fn text(kv: &KeyValue) -> String {
    String::from_utf8(kv.value.to_vec()).unwrap()
}

/// `key=value@mod_revision` of each.
pub(crate) fn lines(items: &[KeyValue]) -> Vec<String> {
    items.iter().map(|kv| format!("{}={}@{}", kv.key, text(kv), kv.mod_revision)).collect()
}

pub(crate) async fn next(stream: &mut WatchStream) -> Result<Arc<Event>, Error> {
    stream.next().await.expect("the stream goes on until an error")
}

/// Everything from the stream up to `revision`.
pub(crate) async fn until(stream: &mut WatchStream, revision: u64) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while stream.progress() < revision {
        events.push(next(stream).await.unwrap());
    }
    events
}

/// All the history there is. Compaction goes on meanwhile, so it may take more than one attempt.
pub(crate) async fn history(store: &dyn Store) -> Vec<Arc<Event>> {
    let newest = store.revision();
    loop {
        let Ok(mut stream) = store.watch("", Some(store.oldest())).await else { continue };
        let mut events = Vec::new();
        while stream.progress() < newest {
            match next(&mut stream).await {
                Ok(event) => events.push(event),
                Err(Error::Lagged { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        if stream.progress() >= newest && events.last().is_none_or(|e| e.revision == newest) {
            return events;
        }
    }
}

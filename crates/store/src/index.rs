//! Everything a store knows, in memory: live values, the history window, past states.
//!
//! A past state needs no copy of its own: a key at revision R held what the first later event of
//! that key replaced. So history is the list of events alone, found by revision for watches and
//! by key for reads in the past.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use bytes::Bytes;

use crate::{Error, Event, EventKind, History, INITIAL_REVISION, KeyValue};

/// Allowance for the bookkeeping of one event, in bytes.
const EVENT_OVERHEAD: usize = 256;

#[derive(Debug, Default)]
struct Slot {
    live: Option<KeyValue>,
    /// The events of this key inside the window, oldest first.
    events: VecDeque<Arc<Event>>,
}

impl Slot {
    fn at(&self, revision: u64) -> Option<&KeyValue> {
        // Newest first: most reads are of now or of a moment ago.
        let later = self.events.iter().rev().take_while(|e| e.revision > revision).last();
        later.map_or(self.live.as_ref(), |event| event.previous.as_ref())
    }
}

/// See the module. Only the committer changes it.
#[derive(Debug)]
pub(crate) struct Index {
    keys: BTreeMap<Arc<str>, Slot>,
    /// The window: one event a revision, without holes, from `pruned + 1` to `revision`.
    events: VecDeque<Arc<Event>>,
    revision: u64,
    pruned: u64,
    /// What readers are told; at least `pruned`, which follows it in small steps.
    compacted: u64,
    bytes: usize,
}

fn cost(event: &Event) -> usize {
    EVENT_OVERHEAD + event.key.len() + event.value.len()
}

impl Index {
    /// An empty store whose history before `compacted` is gone.
    pub(crate) fn new(compacted: u64) -> Self {
        Self {
            keys: BTreeMap::new(),
            events: VecDeque::new(),
            revision: compacted,
            pruned: compacted,
            compacted,
            bytes: 0,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Readers see nothing before this revision.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// The history before this revision is really gone.
    pub(crate) fn pruned(&self) -> u64 {
        self.pruned
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)?.live.as_ref()
    }

    /// Appends the next event. Its revision must be the next one.
    pub(crate) fn apply(&mut self, event: Arc<Event>) {
        debug_assert_eq!(event.revision, self.revision + 1);
        self.revision = event.revision;
        self.bytes += cost(&event);
        let slot = self.keys.entry(event.key.clone()).or_default();
        slot.live = event.current();
        slot.events.push_back(event.clone());
        self.events.push_back(event);
    }

    /// Takes up one stored version when a store is opened; versions come in order of revision.
    /// `value` is `None` for a deletion. Answers what is wrong with it.
    pub(crate) fn restore(
        &mut self,
        revision: u64,
        key: &str,
        create_revision: u64,
        value: Option<Bytes>,
    ) -> Result<(), String> {
        let previous = self.get(key).cloned();
        let key = previous.as_ref().map_or_else(|| Arc::from(key), |kv| kv.key.clone());
        if revision > self.pruned {
            if revision != self.revision + 1 {
                return Err(format!("revision {} is missing", self.revision + 1));
            }
            let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
            let value = value.unwrap_or_default();
            self.apply(Arc::new(Event { revision, kind, key, value, create_revision, previous }));
            return Ok(());
        }
        let (Some(value), None) = (value, previous) else {
            return Err(format!("revision {revision} of {key:?} should have been compacted away"));
        };
        let live = KeyValue { key: key.clone(), value, create_revision, mod_revision: revision };
        self.keys.insert(key, Slot { live: Some(live), events: VecDeque::new() });
        Ok(())
    }

    /// The events from `revision` on, which must be inside the window.
    pub(crate) fn events_from(&self, revision: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skip = revision.saturating_sub(self.pruned + 1);
        self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// The revision to read at when `asked` is asked for.
    pub(crate) fn readable(&self, asked: Option<u64>) -> Result<u64, Error> {
        match asked {
            None => Ok(self.revision),
            Some(asked) if asked < self.compacted => {
                Err(Error::Compacted { oldest: self.compacted })
            }
            Some(asked) if asked > self.revision => {
                Err(Error::FutureRevision { asked, newest: self.revision })
            }
            Some(asked) => Ok(asked),
        }
    }

    /// Visits up to `budget` keys of a range as they were at `revision`. Answers the key to go on
    /// after, or `None` at the end.
    pub(crate) fn walk(
        &self,
        revision: u64,
        span: (Bound<&str>, Bound<&str>),
        budget: usize,
        mut visit: impl FnMut(&KeyValue) -> ControlFlow<()>,
    ) -> Option<Arc<str>> {
        // The map's own range() takes offence at bounds in the wrong order.
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) = span
            && a >= b
        {
            return None;
        }
        for (seen, (key, slot)) in self.keys.range::<str, _>(span).enumerate() {
            if let Some(kv) = slot.at(revision)
                && visit(kv).is_break()
            {
                return None;
            }
            if seen + 1 >= budget {
                return Some(key.clone());
            }
        }
        None
    }

    /// Refuses readers the history before `revision` from now on.
    pub(crate) fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision.min(self.revision));
    }

    /// Whether the window is larger than `history` plus a `slack`th of it.
    pub(crate) fn exceeds(&self, history: &History, slack: usize) -> bool {
        let over = |have: usize, limit: usize| have > limit.saturating_add(limit / slack);
        over(self.events.len(), history.revisions) || over(self.bytes, history.bytes)
    }

    /// The next step of compaction: up to `step` of the oldest events, not beyond `compacted`
    /// unless the window is larger than `history`. Answers the revision reached and the stored
    /// versions that nobody can read from there on.
    pub(crate) fn prunable(&self, history: &History, step: usize) -> (u64, Vec<u64>) {
        let (mut upto, mut rows) = (self.pruned, Vec::new());
        let (mut count, mut bytes) = (self.events.len(), self.bytes);
        for event in self.events.iter().take(step) {
            let wanted = event.revision <= self.compacted;
            if !wanted && count <= history.revisions && bytes <= history.bytes {
                break;
            }
            count -= 1;
            bytes -= cost(event);
            upto = event.revision;
            rows.extend(event.previous.as_ref().map(|kv| kv.mod_revision));
            rows.extend((event.kind == EventKind::Delete).then_some(event.revision));
        }
        (upto, rows)
    }

    /// Forgets the events up to `upto`.
    pub(crate) fn prune(&mut self, upto: u64) {
        self.compact(upto);
        while let Some(event) = self.events.pop_front_if(|e| e.revision <= upto) {
            self.bytes -= cost(&event);
            self.pruned = event.revision;
            if let Some(slot) = self.keys.get_mut(&event.key) {
                slot.events.pop_front();
                if slot.live.is_none() && slot.events.is_empty() {
                    self.keys.remove(&event.key);
                } else if slot.events.is_empty() {
                    // A key that was busy once need not hold the room for ever.
                    slot.events = VecDeque::new();
                }
            }
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new(INITIAL_REVISION)
    }
}

/// The end of the keys that begin with `prefix`: its successor among all strings that are no
/// longer; `None` if there is none.
pub(crate) fn prefix_end(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // UTF-8 sorts as its code points do, and between them lie the surrogates, which are none.
        let next =
            if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        for (prefix, end) in [
            ("", None),
            ("a", Some("b")),
            ("/pods/", Some("/pods0")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("가", Some("각")),
        ] {
            assert_eq!(prefix_end(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    /// Applies `text`, one word a revision from 2 on: `a1` puts 1 to a, `a-` deletes a.
    fn index(text: &str) -> Index {
        let mut index = Index::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_at(1);
            let revision = index.revision + 1;
            let created = index.get(key).map_or(revision, |kv| kv.create_revision);
            let value = (value != "-").then(|| Bytes::from(value.to_owned()));
            index.restore(revision, key, created, value).unwrap();
        }
        index
    }

    fn state(index: &Index, revision: u64) -> String {
        let mut words = Vec::new();
        index.walk(revision, (Bound::Unbounded, Bound::Unbounded), usize::MAX, |kv| {
            words.push(format!("{}{}", kv.key, String::from_utf8_lossy(&kv.value)));
            ControlFlow::Continue(())
        });
        words.join(" ")
    }

    #[test]
    fn past_states_survive_compaction_up_to_it() {
        let text = "a1 b1 a2 b- c1 a3 b2 c-";
        let states = ["", "a1", "a1 b1", "a2 b1", "a2", "a2 c1", "a3 c1", "a3 b2 c1", "a3 b2"];
        for compacted in 1..=9u64 {
            for step in 1..4 {
                let mut index = index(text);
                index.compact(compacted);
                let mut removed = Vec::new();
                while index.pruned() < compacted {
                    let (upto, rows) = index.prunable(&History::default(), step);
                    removed.extend(rows);
                    index.prune(upto);
                }
                for (revision, expected) in (1..).zip(states) {
                    if revision >= compacted {
                        assert_eq!(state(&index, revision), expected, "{revision} of {compacted}");
                        index.readable(Some(revision)).unwrap();
                    } else {
                        let oldest = compacted;
                        assert_eq!(
                            index.readable(Some(revision)),
                            Err(Error::Compacted { oldest })
                        );
                    }
                }
                // Each version is removed once, and none that a read could still need.
                let unique: std::collections::BTreeSet<_> = removed.iter().collect();
                assert_eq!(unique.len(), removed.len());
                let kept = 8 - removed.len();
                let needed = state(&index, compacted).split_whitespace().count();
                assert_eq!(kept, needed + (9 - compacted as usize), "compacted at {compacted}");
            }
        }
    }

    #[test]
    fn the_window_is_bounded() {
        let mut index = index("a1 a2 a3 a4 a5 a6 a7 a8");
        let history = History { revisions: 3, bytes: usize::MAX };
        assert!(index.exceeds(&history, 8));
        let (upto, rows) = index.prunable(&history, 100);
        assert_eq!((upto, rows), (6, vec![2, 3, 4, 5]));
        index.prune(upto);
        assert!(!index.exceeds(&history, 8));
        assert_eq!((index.compacted(), index.events_from(7).count()), (6, 3));

        let tight = History { revisions: 100, bytes: 0 };
        assert_eq!(index.prunable(&tight, 2).0, 8);
        index.prune(9);
        assert_eq!((index.bytes, index.events.len(), state(&index, 9).as_str()), (0, 0, "a8"));
    }

    #[test]
    fn holes_and_leftovers_are_damage() {
        let mut index = Index::new(5);
        index.restore(3, "a", 3, Some(Bytes::new())).unwrap();
        for (revision, key, value, text) in [
            (4, "a", Some(Bytes::new()), "compacted away"),
            (4, "b", None, "compacted away"),
            (7, "a", Some(Bytes::new()), "revision 6 is missing"),
        ] {
            assert!(index.restore(revision, key, 3, value).unwrap_err().contains(text));
        }
        index.restore(6, "a", 3, None).unwrap();
        assert_eq!((index.revision(), index.get("a")), (6, None));
    }
}

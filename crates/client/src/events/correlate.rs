//! Which events are written, and which only counted: as client-go's `EventCorrelator`. Pure.
//!
//! 1. The same source saying the same of the same object counts up one event.
//! 2. From the eleventh on, events within ten minutes that differ only in their message are one
//!    event, `(combined from similar events): …`.
//! 3. A source may write 25 events about an object at once, and one more every five minutes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use onggi_api::core::ObjectReference;
use onggi_api::jiff::Timestamp;
use onggi_base::clock::rfc3339;
use serde_json::{Value, json};

use super::{EventKind, Occurrence, Reporter};

/// How many objects and events are remembered.
const REMEMBERED: usize = 4096;
/// So many messages of one reason are told apart …
const SIMILAR: usize = 10;
/// … when they come within this many seconds.
const SIMILAR_SECONDS: i64 = 600;
/// Events about one object that may come at once …
const BURST: f64 = 25.0;
/// … and seconds until one more may.
const REFILL_SECONDS: f64 = 300.0;

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The event's namespace.
    pub namespace: String,
    /// The event's name.
    pub name: String,
    /// The whole event.
    pub whole: Value,
    /// Where it is there already: a merge patch that counts it up.
    pub change: Option<Value>,
}

/// Remembers what was told.
pub struct Correlator {
    reporter: Reporter,
    buckets: Recent<About, Bucket>,
    similar: Recent<(About, EventKind, String), Similar>,
    counted: Recent<(About, EventKind, String, String), Counted>,
    last_name: i128,
}

/// An object, as far as events are about it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct About {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    field_path: String,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

struct Similar {
    messages: Vec<String>,
    last: Timestamp,
}

struct Counted {
    name: String,
    count: i64,
    first: String,
}

impl Correlator {
    /// Of one reporter.
    pub fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            buckets: Recent::new(),
            similar: Recent::new(),
            counted: Recent::new(),
            last_name: 0,
        }
    }

    /// What to write for an occurrence; `None`: nothing, there were too many.
    pub fn observe(&mut self, occurrence: &Occurrence, now: Timestamp) -> Option<Step> {
        let about = About::of(&occurrence.about);
        if !self.allows(&about, now) {
            return None;
        }
        let Occurrence { about: object, kind, reason, message } = occurrence;
        let combined = self.combines(&about, occurrence, now);
        let told = if combined { "" } else { message.as_str() };
        let key = (about, *kind, reason.clone(), told.to_owned());
        let message = if combined {
            format!("(combined from similar events): {message}")
        } else {
            message.clone()
        };
        let time = rfc3339(now);
        let known = self.counted.get(&key).is_some();
        if !known {
            let name = self.new_name(object, now);
            self.counted.insert(key.clone(), Counted { name, count: 0, first: time.clone() });
        }
        let counted = self.counted.get(&key)?;
        counted.count += 1;
        // Events about objects of the cluster stand in `default`.
        let namespace = object.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let (name, count, first) = (counted.name.clone(), counted.count, counted.first.clone());
        let Reporter { component, host } = &self.reporter;
        let mut source = json!({"component": component});
        if !host.is_empty() {
            source["host"] = host.as_str().into();
        }
        let kind = match kind {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        };
        let whole = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": object,
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": first,
            "lastTimestamp": time,
            "count": count,
            "type": kind,
            "eventTime": null,
            "reportingComponent": component,
            "reportingInstance": host,
        });
        let change =
            known.then(|| json!({"count": count, "lastTimestamp": time, "message": message}));
        Some(Step { namespace, name, whole, change })
    }

    fn allows(&mut self, about: &About, now: Timestamp) -> bool {
        if self.buckets.get(about).is_none() {
            self.buckets.insert(about.clone(), Bucket { tokens: BURST, at: now });
        }
        let Some(bucket) = self.buckets.get(about) else { return true };
        let passed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / REFILL_SECONDS).min(BURST);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    fn combines(&mut self, about: &About, occurrence: &Occurrence, now: Timestamp) -> bool {
        let key = (about.clone(), occurrence.kind, occurrence.reason.clone());
        if self.similar.get(&key).is_none() {
            self.similar.insert(key.clone(), Similar { messages: Vec::new(), last: now });
        }
        let Some(similar) = self.similar.get(&key) else { return false };
        if now.as_second() - similar.last.as_second() > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.contains(&occurrence.message) {
            return false;
        }
        if similar.messages.len() >= SIMILAR {
            return true;
        }
        similar.messages.push(occurrence.message.clone());
        false
    }

    /// `NAME.NANOSECONDS`, in hexadecimal, as Kubernetes names them; never the same twice.
    fn new_name(&mut self, object: &ObjectReference, now: Timestamp) -> String {
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        format!("{}.{:x}", object.name.as_deref().unwrap_or_default(), self.last_name)
    }
}

impl About {
    fn of(object: &ObjectReference) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            kind: text(&object.kind),
            namespace: text(&object.namespace),
            name: text(&object.name),
            uid: text(&object.uid),
            field_path: text(&object.field_path),
        }
    }
}

/// A map that forgets what was put in first.
struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlator() -> Correlator {
        Correlator::new(Reporter { component: "kubelet".into(), host: "n1".into() })
    }

    fn occurrence(message: &str) -> Occurrence {
        Occurrence {
            about: ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some("d".into()),
                name: Some("p".into()),
                ..ObjectReference::default()
            },
            kind: EventKind::Warning,
            reason: "BackOff".into(),
            message: message.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_is_counted() {
        let mut correlator = correlator();
        let first = correlator.observe(&occurrence("m"), at(100)).unwrap();
        assert_eq!(first.change, None);
        assert_eq!(first.whole["source"], json!({"component": "kubelet", "host": "n1"}));
        assert_eq!(first.whole["count"], 1);
        assert_eq!(first.name, "p.174876e800");
        let second = correlator.observe(&occurrence("m"), at(160)).unwrap();
        assert_eq!(second.name, first.name);
        let change = second.change.unwrap();
        assert_eq!(
            (&change["count"], &change["lastTimestamp"]),
            (&json!(2), &json!("1970-01-01T00:02:40Z"))
        );
        assert_eq!(second.whole["firstTimestamp"], "1970-01-01T00:01:40Z");
    }

    #[test]
    fn many_similar_ones_are_one() {
        let mut correlator = correlator();
        for number in 0..10 {
            let step = correlator.observe(&occurrence(&number.to_string()), at(100)).unwrap();
            assert_eq!(step.change, None);
        }
        let eleventh = correlator.observe(&occurrence("ten"), at(101)).unwrap();
        assert_eq!(eleventh.whole["message"], "(combined from similar events): ten");
        let twelfth = correlator.observe(&occurrence("eleven"), at(102)).unwrap();
        assert_eq!(twelfth.name, eleventh.name);
        assert_eq!(twelfth.change.unwrap()["message"], "(combined from similar events): eleven");
        let later = correlator.observe(&occurrence("late"), at(800)).unwrap();
        assert_eq!(later.whole["message"], "late");
    }

    #[test]
    fn a_flood_is_cut_short_for_its_object_alone() {
        let mut correlator = correlator();
        let written = (0..100).filter(|_| correlator.observe(&occurrence("m"), at(100)).is_some());
        assert_eq!(written.count(), 25);
        assert!(correlator.observe(&occurrence("m"), at(399)).is_none());
        assert!(correlator.observe(&occurrence("m"), at(401)).is_some());
        let mut other = occurrence("m");
        other.about.name = Some("q".into());
        assert!(correlator.observe(&other, at(401)).is_some());
    }
}

//! Writers and watchers in any interleaving: whatever the store says has happened, each watcher is
//! told of what its selection sees, in order, once. A failure prints its seed, and `ONGGI_SEED=n`
//! runs it alone.

use futures::{FutureExt, StreamExt};
use onggi_client::{Body, EventStream, EventType, PatchKind, WatchEvent, WatchSpec};
use onggi_machinery::resource::{Verb, by_any_name};
use onggi_store::{Event, EventKind};
use serde_json::{Value, json};

use crate::server::Server;

const STEPS: u64 = 60;
const NAMESPACES: [&str; 2] = ["default", "kube-public"];

/// A small generator, so that a failing seed can be run again.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// What is selected: the texts of the request, and what they mean.
#[derive(Clone, Copy)]
struct Select {
    labels: &'static str,
    fields: &'static str,
    holds: fn(&Seen) -> bool,
}

const SELECTS: [Select; 6] = [
    Select { labels: "", fields: "", holds: |_| true },
    Select { labels: "w=1", fields: "", holds: |o| o.label.as_deref() == Some("1") },
    Select { labels: "w!=1", fields: "", holds: |o| o.label.as_deref() != Some("1") },
    Select { labels: "!w", fields: "", holds: |o| o.label.is_none() },
    Select {
        labels: "w in (0,1)",
        fields: "metadata.name!=c3",
        holds: |o| o.label.as_deref().is_some_and(|w| w == "0" || w == "1") && o.name != "c3",
    },
    Select { labels: "", fields: "metadata.name=c2", holds: |o| o.name == "c2" },
];

/// What a watcher is told, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    namespace: String,
    name: String,
    label: Option<String>,
    revision: u64,
    /// Which write made it.
    turn: String,
}

impl Seen {
    fn of_stored(value: &[u8], revision: u64) -> Self {
        let object: Value = serde_json::from_slice(value).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            label: object["metadata"]["labels"]["w"].as_str().map(str::to_owned),
            revision,
            turn: text(&object["data"]["turn"]),
        }
    }

    fn of_event(event: &WatchEvent) -> Self {
        Self::of_stored(&event.object.json(), event.object.head().resource_version)
    }
}

struct Watcher {
    namespace: &'static str,
    select: Select,
    from: u64,
    seen: Vec<(EventType, Seen)>,
    events: EventStream,
}

impl Watcher {
    fn take(&mut self, event: &WatchEvent) {
        self.seen.push((event.kind, Seen::of_event(event)));
    }

    /// What the store's changes look like through the selection.
    fn expected(&self, changes: &[Event]) -> Vec<(EventType, Seen)> {
        let sees = |seen: &Seen| {
            (self.namespace.is_empty() || self.namespace == seen.namespace)
                && (self.select.holds)(seen)
        };
        let told = changes.iter().filter(|change| change.revision > self.from);
        told.filter_map(|change| {
            let at = change.revision;
            let before = change.previous.as_ref().map(|kv| Seen::of_stored(&kv.value, at));
            let after = (change.kind == EventKind::Put).then(|| Seen::of_stored(&change.value, at));
            match (before.filter(sees), after.filter(sees)) {
                (None, None) => None,
                (None, Some(after)) => Some((EventType::Added, after)),
                (Some(_), Some(after)) => Some((EventType::Modified, after)),
                (Some(before), None) => Some((EventType::Deleted, before)),
            }
        })
        .collect()
    }
}

struct Scene {
    s: Server,
    rng: Rng,
    start: u64,
    turn: u64,
    watchers: Vec<Watcher>,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        let s = Server::start().await;
        let namespace = json!({"metadata": {"name": "kube-public"}});
        // It may be there from the beginning.
        let _ = s.create("ns", "", namespace).await;
        let start = s.store.revision();
        let rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { s, rng, start, turn: 0, watchers: Vec::new() }
    }

    /// One write of some kind; who loses against another one is told so, which is right.
    fn write(&mut self) -> impl Future<Output = ()> + use<'_> {
        self.turn += 1;
        let namespace = NAMESPACES[self.rng.below(2)];
        let name = format!("c{}", self.rng.below(6));
        let labels = [json!({"w": "0"}), json!({"w": "1"}), json!({}), json!({"w": null})]
            [self.rng.below(4)]
        .clone();
        let object = json!({
            "metadata": {"name": name, "labels": labels}, "data": {"turn": self.turn.to_string()},
        });
        let request = match self.rng.below(4) {
            0 => self.s.request(Verb::Delete, "cm", namespace, &name),
            1 => {
                let patch = object.to_string().into();
                let request = self.s.request(Verb::Patch, "cm", namespace, &name);
                request.body(Body::Patch(PatchKind::Merge, patch))
            }
            2 => {
                let request = self.s.request(Verb::Update, "cm", namespace, &name);
                request.body(Body::Object(object))
            }
            _ => {
                let request = self.s.request(Verb::Create, "cm", namespace, "");
                request.body(Body::Object(object))
            }
        };
        let s = &self.s;
        async move {
            if let Err(error) = s.call(request).await {
                let code = error.status().map(|status| status.code);
                assert!(matches!(code, Some(404 | 409)), "{error}");
            }
        }
    }

    async fn writes(&mut self) {
        for _ in 0..1 + self.rng.below(3) {
            self.write().await;
        }
    }

    async fn open(&mut self) {
        let namespace = ["", "default", "kube-public"][self.rng.below(3)];
        let select = SELECTS[self.rng.below(SELECTS.len())];
        let newest = self.s.store.revision();
        // So that the cache has come as far.
        self.s.call(self.s.request(Verb::List, "cm", "", "")).await.unwrap();
        let from = self.start + self.rng.below((newest - self.start + 1) as usize) as u64;
        let from_now = self.rng.below(3) == 0;
        let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
        spec.namespace = namespace.into();
        spec.label_selector = select.labels.into();
        spec.field_selector = select.fields.into();
        spec.resource_version = (!from_now).then_some(from);
        spec.initial_events = from_now;
        let mut events = self.s.transport.watch(spec).await.unwrap();
        let mut from = from;
        if from_now {
            from = self.initial(&mut events, namespace, select).await;
        }
        self.watchers.push(Watcher { namespace, select, from, seen: Vec::new(), events });
    }

    /// The state that a watch begins with, and its revision.
    async fn initial(
        &self,
        events: &mut EventStream,
        namespace: &'static str,
        select: Select,
    ) -> u64 {
        let mut found = Vec::new();
        let revision = loop {
            let event = events.next().await.unwrap().unwrap();
            if event.initial_events_end {
                break event.object.head().resource_version;
            }
            assert_eq!(event.kind, EventType::Added);
            found.push(Seen::of_event(&event));
        };
        let range = onggi_store::RangeRequest {
            revision: Some(revision),
            ..onggi_store::RangeRequest::all("/registry/core/configmaps/")
        };
        let stored = self.s.store.range(range).await.unwrap();
        let expected: Vec<Seen> = stored
            .items
            .iter()
            .map(|kv| Seen::of_stored(&kv.value, kv.mod_revision))
            .filter(|seen| namespace.is_empty() || seen.namespace == namespace)
            .filter(|seen| (select.holds)(seen))
            .collect();
        assert_eq!(found, expected, "the state at {revision}");
        revision
    }

    /// A watcher reads what is there for it now.
    fn look(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let at = self.rng.below(self.watchers.len());
        let most = 1 + self.rng.below(8);
        let watcher = &mut self.watchers[at];
        for _ in 0..most {
            let Some(event) = watcher.events.next().now_or_never() else { return };
            watcher.take(&event.unwrap().unwrap());
        }
    }

    async fn end(mut self) {
        let newest = self.s.store.revision();
        let mut stored = self.s.store.watch("/registry/core/configmaps/", Some(self.start)).await;
        let stored = stored.as_mut().unwrap();
        let mut changes = Vec::new();
        while stored.progress() < newest {
            changes.push(Event::clone(&*stored.next().await.unwrap().unwrap()));
        }
        for watcher in &mut self.watchers {
            let expected = watcher.expected(&changes);
            while watcher.seen.len() < expected.len() {
                let event = watcher.events.next().await.unwrap().unwrap();
                watcher.take(&event);
            }
            let (labels, fields) = (watcher.select.labels, watcher.select.fields);
            assert_eq!(watcher.seen, expected, "{labels:?} {fields:?} from {}", watcher.from);
            assert!(watcher.events.next().now_or_never().is_none(), "told more than there is");
        }
    }
}

/// Names the seed of a failure.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with ONGGI_SEED={}", self.0);
        }
    }
}

#[tokio::test]
async fn watchers_see_what_their_selection_sees() {
    let seeds = match std::env::var("ONGGI_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=6).collect(),
    };
    for seed in seeds {
        let _seed = Seed(seed);
        let mut scene = Scene::new(seed).await;
        for _ in 0..STEPS {
            match scene.rng.below(6) {
                0..3 => scene.writes().await,
                3 => scene.open().await,
                _ => scene.look(),
            }
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told_and_holds_up_nobody() {
    let s = Server::start().await;
    let watch = async || {
        let mut spec = WatchSpec::all(by_any_name("cm").unwrap().gvr());
        spec.namespace = "default".into();
        spec.resource_version = Some(s.store.revision());
        spec.initial_events = false;
        s.transport.watch(spec).await.unwrap()
    };
    let large = |turn: usize| {
        let data = json!({"turn": turn.to_string(), "large": "x".repeat(900_000)});
        json!({"metadata": {"name": "c"}, "data": data})
    };
    s.create("cm", "default", large(0)).await.unwrap();
    s.call(s.request(Verb::List, "cm", "", "")).await.unwrap();
    let (mut quick, mut slow) = (watch().await, watch().await);
    // More than is kept for those who come late.
    for turn in 1..=25 {
        s.update("cm", "default", large(turn)).await.unwrap();
        let event = quick.next().await.unwrap().unwrap();
        assert_eq!(Seen::of_event(&event).turn, turn.to_string());
    }
    let error = slow.next().await.unwrap().unwrap_err();
    assert!(error.is_expired(), "{error}");
    assert!(error.to_string().starts_with("too old resource version: "), "{error}");
    assert!(slow.next().await.is_none());
}

//! Limits on how much of the server each flow of requests may have at once, in the way of API
//! priority and fairness: `FlowSchema` objects say which flow and level a request belongs to,
//! `PriorityLevelConfiguration` objects how many seats a level has and where it waits for them. So
//! one noisy client waits for itself, and nobody else does.
//!
//! The decisions stand in `queues`, without a clock; here are the tasks that wait. Requests of
//! components inside this process do not come by here.

mod follow;
mod queues;
mod rules;

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use onggi_api::Status;
use onggi_machinery::kinds::flowcontrol as first;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};

use crate::authz::{Attributes, Target};
use queues::{Arrival, Queues, Ticket};
use rules::{Distinguisher, Level, Schema};

pub(crate) use follow::{ensure, run};

/// Seats of the whole server: `--max-requests-inflight` and `--max-mutating-requests-inflight` of
/// kube-apiserver together.
const SEATS: u32 = 600;
/// Nobody waits longer for a seat.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most seats of one request; so many objects are one seat (KEP-1040).
const MOST_SEATS: u32 = 10;
const OBJECTS_A_SEAT: u64 = 100;
/// A level makes large answers on so many of the cores at once, at least on one.
const PART_OF_CORES: usize = 2;

/// See the module.
pub(crate) struct FlowControl {
    rules: ArcSwap<Rules>,
    state: Mutex<State>,
}

/// What requests are compared with.
struct Rules {
    /// Those whose level is there, in the order in which they are tried.
    schemas: Vec<Flow>,
    /// Schemas without a level.
    dangling: Vec<String>,
}

struct Flow {
    schema: Schema,
    level: Arc<Known>,
    header: HeaderValue,
    /// Goes on over all changes of the schema.
    counts: Arc<Counts>,
}

/// A level, the same over all changes of the rules.
struct Known {
    id: usize,
    name: String,
    limited: bool,
    nominal: u32,
    header: HeaderValue,
    /// Where its large answers are made in turn.
    lane: Arc<Semaphore>,
}

#[derive(Default)]
struct Counts {
    dispatched: AtomicU64,
    refused_full: AtomicU64,
    refused_late: AtomicU64,
}

struct State {
    queues: Queues,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// Numbers of levels by name, those that are gone too: their requests may still run.
    ids: HashMap<String, usize>,
    /// By these numbers.
    lanes: Vec<Arc<Semaphore>>,
}

/// What a request was taken for.
pub(crate) struct Classified {
    rules: Arc<Rules>,
    at: usize,
    flow: u64,
}

/// Seats; given back when dropped.
pub(crate) struct Permit<'c> {
    control: &'c FlowControl,
    level: usize,
    seats: u32,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.control.state.lock();
        let called = state.queues.leave(self.level, self.seats);
        state.wake(called);
    }
}

/// A place in a queue; given back when dropped.
struct Place<'c> {
    control: &'c FlowControl,
    level: usize,
    ticket: Ticket,
    seats: u32,
    called: oneshot::Receiver<()>,
    left: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = self.control.state.lock();
        let told = self.called.try_recv();
        state.waiting.remove(&self.ticket);
        let called = match told {
            // Called at the same moment: the seats are there and nobody takes them.
            Ok(()) => Some(state.queues.leave(self.level, self.seats)),
            Err(TryRecvError::Empty) => state.queues.give_up(self.level, self.ticket),
            // Its queue is no more.
            Err(TryRecvError::Closed) => None,
        };
        state.wake(called.unwrap_or_default());
    }
}

impl Rules {
    fn counts(&self, schema: &str) -> Arc<Counts> {
        let known = self.schemas.iter().find(|flow| flow.schema.name == schema);
        known.map(|flow| Arc::clone(&flow.counts)).unwrap_or_default()
    }
}

impl State {
    fn wake(&mut self, called: Vec<Ticket>) {
        for ticket in called {
            // Who is gone gives its seats back itself: its place is dropped with it.
            if let Some(waiting) = self.waiting.remove(&ticket) {
                let _ = waiting.send(());
            }
        }
    }
}

impl Classified {
    fn flow(&self) -> &Flow {
        &self.rules.schemas[self.at]
    }

    /// `X-Kubernetes-PF-FlowSchema-UID` and `X-Kubernetes-PF-PriorityLevel-UID`.
    pub(crate) fn headers(&self) -> [(&'static str, HeaderValue); 2] {
        let flow = self.flow();
        [
            ("x-kubernetes-pf-flowschema-uid", flow.header.clone()),
            ("x-kubernetes-pf-prioritylevel-uid", flow.level.header.clone()),
        ]
    }
}

impl FlowControl {
    /// With the flows and levels that are there from the beginning.
    pub(crate) fn new() -> Self {
        let state = State {
            queues: Queues::new(SEATS),
            waiting: HashMap::new(),
            ids: HashMap::new(),
            lanes: Vec::new(),
        };
        let empty = Rules { schemas: Vec::new(), dangling: Vec::new() };
        let control = Self { rules: ArcSwap::from_pointee(empty), state: Mutex::new(state) };
        control.configure(&[], &[]);
        control
    }

    /// Takes these objects for what is to be; what must be there and is not is added.
    fn configure(&self, schemas: &[Value], levels: &[Value]) {
        let mut levels: Vec<Level> = levels.iter().map(Level::read).collect();
        let missing = first::priority_levels().map(|level| Level::read(&level));
        // The suggested ones only as long as there are no objects at all.
        let bare = levels.is_empty();
        for level in missing.filter(|level| bare || is_mandatory(&level.name)) {
            if levels.iter().all(|known| known.name != level.name) {
                levels.push(level);
            }
        }
        let mut schemas: Vec<Schema> = schemas.iter().map(Schema::read).collect();
        let bare = schemas.is_empty();
        for schema in first::flow_schemas().map(|schema| Schema::read(&schema)) {
            let wanted = bare || is_mandatory(&schema.name);
            if wanted && schemas.iter().all(|known| known.name != schema.name) {
                schemas.push(schema);
            }
        }
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let known = self.apply(&levels);
        let before = self.rules.load();
        let (mut flows, mut dangling) = (Vec::new(), Vec::new());
        for schema in schemas {
            match known.get(&schema.level) {
                Some(level) => flows.push(Flow {
                    header: uid_header(&schema.uid),
                    level: Arc::clone(level),
                    counts: before.counts(&schema.name),
                    schema,
                }),
                None => dangling.push(schema.name),
            }
        }
        self.rules.store(Arc::new(Rules { schemas: flows, dangling }));
    }

    fn apply(&self, levels: &[Level]) -> HashMap<String, Arc<Known>> {
        let shares = levels.iter().filter_map(|level| Some(level.limited.as_ref()?.shares()));
        let shares = shares.fold(0, u32::saturating_add);
        let mut state = self.state.lock();
        let mut known = HashMap::new();
        let mut orphans = Vec::new();
        for level in levels {
            let next = state.ids.len();
            let id = *state.ids.entry(level.name.clone()).or_insert(next);
            if id == state.lanes.len() {
                state.lanes.push(new_lane());
            }
            let limits = level.limited.as_ref().map(|limited| limited.limits(shares, SEATS));
            if let Some(limits) = limits {
                orphans.extend(state.queues.configure(id, limits));
            }
            let entry = Known {
                id,
                name: level.name.clone(),
                limited: limits.is_some(),
                nominal: limits.map_or(0, |limits| limits.nominal),
                header: uid_header(&level.uid),
                lane: Arc::clone(&state.lanes[id]),
            };
            known.insert(level.name.clone(), Arc::new(entry));
        }
        let gone: Vec<usize> = {
            let is_limited = |name: &String| known.get(name).is_some_and(|level| level.limited);
            let gone = state.ids.iter().filter(|(name, _)| !is_limited(name));
            gone.map(|(_, id)| *id).collect()
        };
        for id in gone {
            orphans.extend(state.queues.retire(id));
        }
        // Their senders are dropped: they are told to come again.
        for ticket in orphans {
            state.waiting.remove(&ticket);
        }
        known
    }

    /// What a request is taken for.
    pub(crate) fn classify(&self, asked: &Attributes<'_>) -> Option<Classified> {
        let rules = self.rules.load_full();
        let at =
            rules.schemas.iter().position(|flow| flow.schema.matches(asked)).or_else(|| {
                rules.schemas.iter().position(|flow| flow.schema.name == "catch-all")
            })?;
        let schema = &rules.schemas[at].schema;
        let distinguisher = match (schema.distinguisher, &asked.target) {
            (Distinguisher::User, _) => asked.user.name.as_str(),
            (Distinguisher::Namespace, Target::Resource { namespace, .. }) => namespace,
            _ => "",
        };
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        let flow = hasher.hash_one((schema.name.as_str(), distinguisher));
        Some(Classified { rules, at, flow })
    }

    /// Waits for seats; `None` where none are needed. 429 when there is no room to wait, or it took
    /// too long.
    pub(crate) async fn enter(
        &self,
        what: &Classified,
        seats: u32,
    ) -> Result<Option<Permit<'_>>, Status> {
        let flow = what.flow();
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if !flow.level.limited {
            count(&flow.counts.dispatched);
            return Ok(None);
        }
        let level = flow.level.id;
        let mut place = {
            let mut state = self.state.lock();
            let seats = state.queues.width(level, seats);
            match state.queues.arrive(level, what.flow, seats) {
                Arrival::Go => {
                    count(&flow.counts.dispatched);
                    return Ok(Some(Permit { control: self, level, seats }));
                }
                Arrival::Refused => {
                    count(&flow.counts.refused_full);
                    return Err(too_many());
                }
                Arrival::Wait(ticket) => {
                    let (sender, called) = oneshot::channel();
                    state.waiting.insert(ticket, sender);
                    Place { control: self, level, ticket, seats, called, left: false }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, &mut place.called).await {
            Ok(Ok(())) => {
                place.left = true;
                count(&flow.counts.dispatched);
                Ok(Some(Permit { control: self, level, seats: place.seats }))
            }
            Ok(Err(_)) => {
                // The level is another one now, and this place is gone with the old queues.
                place.left = true;
                Err(too_many())
            }
            Err(_) => {
                count(&flow.counts.refused_late);
                Err(too_many())
            }
        }
    }

    /// In the text format of Prometheus.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        let rules = self.rules.load();
        let series = |flow: &Flow| {
            format!("flow_schema=\"{}\",priority_level=\"{}\"", flow.schema.name, flow.level.name)
        };
        let mut section = |name: &str, kind: &str, lines: Vec<(String, u64)>| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# TYPE apiserver_flowcontrol_{name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(out, "apiserver_flowcontrol_{name}{{{labels}}} {value}");
            }
        };
        let flows = || rules.schemas.iter();
        let dispatched =
            |flow: &Flow| (series(flow), flow.counts.dispatched.load(Ordering::Relaxed));
        section("dispatched_requests_total", "counter", flows().map(dispatched).collect());
        let refused = flows().flat_map(|flow| {
            let Counts { refused_full, refused_late, .. } = &*flow.counts;
            [("queue-full", refused_full), ("time-out", refused_late)].map(|(reason, count)| {
                let labels = format!("{},reason=\"{reason}\"", series(flow));
                (labels, count.load(Ordering::Relaxed))
            })
        });
        section("rejected_requests_total", "counter", refused.filter(|(_, n)| *n > 0).collect());
        let state = self.state.lock();
        let mut levels: Vec<&Arc<Known>> = flows().map(|flow| &flow.level).collect();
        levels.sort_by_key(|level| level.id);
        levels.dedup_by_key(|level| level.id);
        let of = |pick: fn(&Known, (u32, u32, u32)) -> u32| -> Vec<(String, u64)> {
            let line = |level: &&Arc<Known>| {
                let value = pick(level, state.queues.counts(level.id));
                (format!("priority_level=\"{}\"", level.name), u64::from(value))
            };
            levels.iter().filter(|level| level.limited).map(line).collect()
        };
        section("nominal_limit_seats", "gauge", of(|level, _| level.nominal));
        section("request_concurrency_limit", "gauge", of(|level, _| level.nominal));
        section("current_inqueue_requests", "gauge", of(|_, (waiting, ..)| waiting));
        section("current_executing_requests", "gauge", of(|_, (_, executing, _)| executing));
        section("current_executing_seats", "gauge", of(|_, (.., seats)| seats));
    }
}

fn is_mandatory(name: &str) -> bool {
    matches!(name, "exempt" | "catch-all")
}

fn too_many() -> Status {
    Status::too_many_requests("too many requests, please try again later.", 1)
}

/// Where large answers of such a request are made, in turn with those of its level.
pub(crate) fn lane(what: Option<&Classified>) -> Arc<Semaphore> {
    what.map_or_else(new_lane, |what| Arc::clone(&what.flow().level.lane))
}

fn new_lane() -> Arc<Semaphore> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((cores / PART_OF_CORES).max(1)))
}

/// Objects that nobody has stored have no uid; clients want one.
fn uid_header(uid: &str) -> HeaderValue {
    let made = if uid.is_empty() { uuid::Uuid::new_v4().to_string() } else { uid.to_owned() };
    HeaderValue::try_from(made).unwrap_or(HeaderValue::from_static(""))
}

/// How many seats a list of so many objects takes.
pub(crate) fn seats_of_list(objects: u64) -> u32 {
    u32::try_from(objects.div_ceil(OBJECTS_A_SEAT)).unwrap_or(MOST_SEATS).clamp(1, MOST_SEATS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::User;
    use serde_json::json;

    fn pods<'a>(user: &'a User, verb: &'a str) -> Attributes<'a> {
        let target = Target::Resource {
            selector: "",
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "default",
            name: "",
        };
        Attributes { user, verb, target }
    }

    fn taken(control: &FlowControl, asked: &Attributes<'_>) -> String {
        let found = control.classify(asked).unwrap();
        format!("{} {}", found.flow().schema.name, found.flow().level.name)
    }

    #[test]
    fn requests_are_taken_for_what_they_are() {
        let control = FlowControl::new();
        let of =
            |name: &str, groups: &[&str]| taken(&control, &pods(&User::new(name, groups), "list"));
        assert_eq!(of("admin", &["system:masters"]), "exempt exempt");
        assert_eq!(of("system:node:a", &["system:nodes"]), "system-nodes system");
        assert_eq!(of("jane", &["devs"]), "global-default global-default");
        assert_eq!(
            of("system:serviceaccount:kube-system:x", &["system:serviceaccounts"]),
            "kube-system-service-accounts workload-high"
        );
        assert_eq!(
            of("system:serviceaccount:d:x", &["system:serviceaccounts"]),
            "service-accounts workload-low"
        );
        let nobody = User::anonymous();
        let probe = Attributes { user: &nobody, verb: "get", target: Target::Path("/livez") };
        assert_eq!(taken(&control, &probe), "probes exempt");
        let node = User::new("system:node:a", &["system:nodes"]);
        let target = Target::Resource {
            selector: "",
            group: "",
            resource: "nodes",
            subresource: "status",
            namespace: "",
            name: "a",
        };
        let status = Attributes { user: &node, verb: "patch", target };
        assert_eq!(taken(&control, &status), "system-node-high node-high");
    }

    #[test]
    fn objects_change_the_rules() {
        let control = FlowControl::new();
        let level = json!({"metadata": {"name": "mine", "uid": "level-uid"}, "spec": {"type": "Limited",
            "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
        let schema = |name: &str, level: &str, uid: &str| {
            json!({
                "metadata": {"name": name, "uid": uid},
                "spec": {"matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": level},
                    "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                               "resourceRules": [{"verbs": ["list"], "apiGroups": [""],
                                   "resources": ["pods"], "namespaces": ["*"]}]}]},
            })
        };
        let schemas = [schema("mine", "mine", "schema-uid"), schema("lost", "nowhere", "x")];
        control.configure(&schemas, &[level]);
        assert_eq!(control.rules.load().dangling, ["lost"]);
        let jane = User::new("jane", &[]);
        assert_eq!(taken(&control, &pods(&jane, "list")), "mine mine");
        let found = control.classify(&pods(&jane, "list")).unwrap();
        assert_eq!(found.headers().map(|(_, value)| value), ["schema-uid", "level-uid"]);
        assert_eq!(taken(&control, &pods(&jane, "get")), "catch-all catch-all");
    }

    #[tokio::test]
    async fn who_waits_is_called_or_leaves() {
        let control = FlowControl::new();
        let level = json!({"metadata": {"name": "l"}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {
                "type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}}}}});
        let schema = json!({"metadata": {"name": "s"}, "spec": {"matchingPrecedence": 5,
            "priorityLevelConfiguration": {"name": "l"}, "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "*"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                                   "namespaces": ["*"]}]}]}});
        control.configure(&[schema], &[level]);
        let jane = User::new("jane", &[]);
        let what = control.classify(&pods(&jane, "list")).unwrap();
        let first = control.enter(&what, 3).await.unwrap().unwrap();
        assert_eq!(first.seats, 1);
        let mut second = Box::pin(control.enter(&what, 1));
        let mut third = Box::pin(control.enter(&what, 1));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!(control.enter(&what, 1).await.err().map(|status| status.code), Some(429));
        drop(second);
        drop(first);
        let third = third.await.unwrap();
        assert_eq!(control.state.lock().queues.counts(what.flow().level.id), (0, 1, 1));
        drop(third);
        assert_eq!(control.state.lock().queues.counts(what.flow().level.id), (0, 0, 0));
        assert!(control.state.lock().waiting.is_empty());
        let mut text = String::new();
        control.write_metrics(&mut text);
        assert!(text.contains(
            "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"s\",priority_level=\"l\"} 2"
        ));
    }
}

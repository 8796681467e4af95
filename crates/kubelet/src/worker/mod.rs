//! One worker a pod: a task that knows the pod, plans ([`plan`]) after everything that happens, and
//! has the actions done beside it, so that a slow pull never holds up a deletion.

mod act;
pub(crate) mod config;
mod done;
mod hooks;
pub(crate) mod plan;
pub(crate) mod snapshot;
mod tokens;
mod watching;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use onggi_api::core::PodStatus;
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_node_api::{ContainerStatus, PodSandbox};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::admit;
use crate::context::Context;
use crate::directory::{Entry, View};
use crate::pod::Pod;
use crate::probe::{ProbeReport, Probes};
use crate::status;
use done::Done;
use plan::{Action, plan};
use snapshot::{Goal, Kill, Memory, Retry, Slot, Snapshot, Stopping};
use watching::Watching;

/// The first delay before failed work of the node is tried again, in seconds; doubles.
const RETRY_FIRST: i64 = 1;
const RETRY_MOST: i64 = 60;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Wake {
    /// The pod changed.
    Pod(Arc<Pod>),
    /// The API no longer has it.
    Gone,
    /// Something happened to a container.
    Container(String),
    /// Something happened to the sandbox, or events were missed: look at everything.
    List,
    /// A probe has news.
    Probe(ProbeReport),
    /// A ConfigMap or Secret of the pod changed.
    Objects,
}

/// What the runtime has of a pod.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) sandboxes: Vec<PodSandbox>,
    pub(crate) containers: Vec<ContainerStatus>,
}

/// The task of a pod.
pub(crate) struct Worker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    gone: bool,
    mailbox: mpsc::UnboundedReceiver<Wake>,
    own_mailbox: mpsc::UnboundedSender<Wake>,
    view: watch::Sender<Arc<View>>,
    sandboxes: Vec<PodSandbox>,
    containers: Vec<ContainerStatus>,
    memory: Memory,
    watching: Watching,
    tokens: tokens::Tokens,
    probes: Probes,
    busy: BTreeSet<Slot>,
    work: JoinSet<Done>,
    /// Which work a task is, while it is the one that counts.
    tasks: HashMap<Id, Slot>,
    handles: BTreeMap<Slot, AbortHandle>,
    /// The status that the API has, as far as we know.
    written: Option<PodStatus>,
    /// The revision of our last write of it.
    written_at: u64,
}

impl Worker {
    /// A worker that takes up what the runtime has of the pod, and the entry by which it is found.
    pub(crate) fn new(context: Arc<Context>, pod: Arc<Pod>, found: Found) -> (Self, Entry) {
        let (own_mailbox, mailbox) = mpsc::unbounded_channel();
        let view = watch::Sender::new(Arc::new(View { pod: Arc::clone(&pod), ..View::default() }));
        let entry = Entry { mailbox: own_mailbox.clone(), view: view.subscribe() };
        for sandbox in &found.sandboxes {
            context.directory.bind(&sandbox.id, pod.uid());
        }
        let known = pod.status.clone();
        let memory = Memory {
            // Conditions and addresses go on from what was told before.
            status: PodStatus { phase: known.phase.clone(), ..known.clone() },
            ..Memory::default()
        };
        let watching = Watching::new(&context, &pod, &own_mailbox);
        let probes = Probes::new(own_mailbox.clone());
        let worker = Self {
            context,
            pod,
            gone: false,
            mailbox,
            own_mailbox,
            view,
            sandboxes: found.sandboxes,
            containers: found.containers,
            memory,
            watching,
            tokens: tokens::Tokens::default(),
            probes,
            busy: BTreeSet::new(),
            work: JoinSet::new(),
            tasks: HashMap::new(),
            handles: BTreeMap::new(),
            written: Some(known),
            written_at: 0,
        };
        (worker, entry)
    }

    /// Until nothing of the pod is left. Dropping the future leaves the pod running.
    pub(crate) async fn run(mut self) {
        self.containers = act::with_messages(&self.pod, std::mem::take(&mut self.containers)).await;
        loop {
            self.observe();
            self.tell_status();
            let plan = plan(&self.snapshot(self.context.clock.now()));
            if plan.finished {
                return;
            }
            // What is done at once changes what we know: plan again.
            let again = plan.actions.iter().any(|action| action.slot().is_none());
            for action in plan.actions {
                self.begin(action);
            }
            if !again {
                self.wait(plan.wake_at).await;
            }
        }
    }

    fn snapshot(&self, now: Timestamp) -> Snapshot<'_> {
        Snapshot {
            pod: &self.pod,
            gone: self.gone,
            now,
            sandboxes: &self.sandboxes,
            containers: &self.containers,
            memory: &self.memory,
            busy: &self.busy,
        }
    }

    /// Waits for news, and takes in all there is.
    async fn wait(&mut self, wake_at: Option<Timestamp>) {
        let now = self.context.clock.now();
        let timer = async {
            match wake_at {
                Some(at) => {
                    let left = at.duration_since(now).max(SignedDuration::ZERO);
                    // A moment later than the time, so that it has come.
                    let left = left + SignedDuration::from_millis(1);
                    tokio::time::sleep(left.unsigned_abs()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(wake) = self.mailbox.recv() => self.take(wake),
            Some(done) = self.work.join_next_with_id() => self.finish(done),
            () = timer => {}
        }
        while let Ok(wake) = self.mailbox.try_recv() {
            self.take(wake);
        }
        while let Some(done) = self.work.try_join_next_with_id() {
            self.finish(done);
        }
    }

    fn take(&mut self, wake: Wake) {
        match wake {
            Wake::Pod(pod) => self.take_pod(pod),
            Wake::Gone => self.gone = true,
            Wake::Container(id) => self.refresh(id),
            Wake::List => self.refresh(String::new()),
            Wake::Probe(report) => self.take_probe(report),
            Wake::Objects => {
                // What failed for want of it is tried at once; files are brought up to date.
                self.memory.mounted = false;
                self.memory.mount_trouble = None;
                self.memory.troubles.retain(|_, t| t.reason != config::CONFIG_ERROR);
            }
        }
    }

    fn take_pod(&mut self, pod: Arc<Pod>) {
        // Somebody else wrote the status since our last write: it is compared with theirs.
        if pod.revision() > self.written_at && !self.busy.contains(&Slot::Status) {
            let ready = |status: &PodStatus| {
                let list = status.conditions.iter().flatten();
                list.filter(|c| c.type_.ends_with("Ready")).map(|c| c.status.clone()).collect()
            };
            let (theirs, ours): (Vec<_>, Option<Vec<_>>) =
                (ready(&pod.status), self.written.as_ref().map(ready));
            if ours.is_some_and(|ours| ours != theirs) {
                self.written = None;
            }
        }
        if pod.spec != self.pod.spec {
            self.watching.follow(&self.context, &pod, &self.own_mailbox);
            for (_, container) in pod.containers() {
                let old = self.pod.container(&container.name).map(|(_, old)| &old.image);
                if old.is_some_and(|old| *old != container.image) {
                    self.memory.images.remove(&container.name);
                    self.memory.troubles.remove(&container.name);
                }
            }
        }
        if pod.metadata.labels != self.pod.metadata.labels
            || pod.metadata.annotations != self.pod.metadata.annotations
        {
            // The downward API shows them.
            self.memory.mounted = false;
        }
        self.pod = pod;
    }

    fn take_probe(&mut self, report: ProbeReport) {
        let now = self.context.clock.now();
        let Some(health) = self.memory.health.get_mut(&report.id) else { return };
        match report.verdict {
            crate::probe::Verdict::Started => health.started = true,
            crate::probe::Verdict::Ready(ready) => health.ready = ready,
            crate::probe::Verdict::Kill { message, grace } => {
                health.ready = false;
                let grace = grace.unwrap_or_else(|| self.pod.grace_seconds());
                let kill = Kill { message, grace, since: now };
                self.memory.kills.entry(report.id).or_insert(kill);
            }
        }
    }

    /// Draws what follows at once from the records: probes, definitions that changed, the
    /// beginning of the end.
    fn observe(&mut self) {
        let now = self.context.clock.now();
        let goal = self.snapshot(now).goal();
        if goal != Goal::Run && self.memory.ending_since.is_none() {
            self.memory.ending_since = Some(now);
            if let (false, Some(refusal)) = (self.pod.is_terminal(), admit::refusal(&self.pod)) {
                self.context.events.warning(&self.pod, None, refusal.reason, refusal.message);
            }
            self.cancel(|slot| matches!(slot, Slot::Image(_)));
        }
        let s = self.snapshot(now);
        let running: Vec<ContainerStatus> = s.running().cloned().collect();
        let ips = s.sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        for record in &running {
            let starting = self.busy.contains(&Slot::Start(record.name.clone()))
                || self.busy.contains(&Slot::PostStart(record.id.clone()));
            let Some((_, container)) = self.pod.container(&record.name) else { continue };
            if !starting && !self.memory.health.contains_key(&record.id) {
                let health = self.probes.begin(&self.context, &self.pod, container, record, &ips);
                self.memory.health.insert(record.id.clone(), health);
            }
            let wanted = container.image.as_deref().unwrap_or_default();
            if goal == Goal::Run && record.user_image != wanted && !record.user_image.is_empty() {
                let name = &record.name;
                let message = format!("Container {name} definition changed, will be restarted");
                let kill = Kill { message, grace: self.pod.grace_seconds(), since: now };
                self.memory.kills.entry(record.id.clone()).or_insert(kill);
            }
        }
        let alive = |id: &String| running.iter().any(|record| record.id == *id);
        self.probes.retain(alive);
        self.memory.health.retain(|id, _| alive(id));
    }

    /// Computes the status, shows it to logs and exec, and has it written where it changed.
    fn tell_status(&mut self) {
        let now = self.context.clock.now();
        let status = status::status(&self.snapshot(now), self.context.options.node_ip);
        let settled = self.written.as_ref() == Some(&status);
        self.memory.status_settled = settled || self.gone;
        let s = self.snapshot(now);
        let view = View {
            pod: Arc::clone(&self.pod),
            status: status.clone(),
            sandbox: s.sandbox().map(|sandbox| sandbox.id.clone()),
            containers: self.containers.clone(),
        };
        self.view.send_if_modified(|old| {
            let changed = **old != view;
            if changed {
                *old = Arc::new(view);
            }
            changed
        });
        self.memory.status = status;
        let waits = self.memory.retries.get(&Slot::Status).is_some_and(|retry| retry.until > now);
        if self.memory.status_settled || waits || self.busy.contains(&Slot::Status) {
            return;
        }
        let (old, new) = (self.pod.status.clone(), self.memory.status.clone());
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        self.spawn(Slot::Status, async move {
            let written = act::write_status(&context, &pod, &old, &new).await;
            Done::StatusWritten { status: Box::new(new), written }
        });
    }

    fn begin(&mut self, action: Action) {
        let now = self.context.clock.now();
        match &action {
            Action::TellBackOff { container, id, delay } => {
                return self.tell_back_off(container, id.as_deref(), *delay);
            }
            Action::Start { container, .. } => {
                self.memory.images.remove(container);
                self.note_restart(container, now);
            }
            Action::PreStop { container, id, .. } | Action::Stop { container, id, .. } => {
                self.note_stop(container, id, &action, now);
            }
            _ => {}
        }
        let Some(slot) = action.slot() else { return };
        // A shorter grace period replaces the one that runs.
        self.cancel(|other| *other == slot);
        let job = self.job();
        self.spawn(slot, job.run(action));
    }

    fn facts(&self) -> crate::fields::NodeFacts {
        let status = &self.memory.status;
        crate::fields::NodeFacts {
            host_ip: self.context.options.node_ip.to_string(),
            pod_ips: status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
            cpu_millis: self.context.machine.cpu_millis,
            memory_bytes: self.context.machine.memory_bytes,
        }
    }

    fn note_restart(&mut self, container: &str, now: Timestamp) {
        let s = self.snapshot(now);
        let Some(dead) = s.latest(container) else { return };
        let finished = snapshot::timestamp(dead.finished_at);
        let crash = snapshot::Crash::next(self.memory.crashes.get(container), finished, now);
        self.memory.crashes.insert(container.to_owned(), crash);
    }

    fn note_stop(&mut self, container: &str, id: &str, action: &Action, now: Timestamp) {
        if !self.memory.stops.contains_key(id) {
            let kill = self.memory.kills.get(id).map(|kill| kill.message.clone());
            let text = kill.unwrap_or_else(|| format!("Stopping container {container}"));
            self.context.events.normal(&self.pod, Some(container), "Killing", text);
        }
        let stopping = self
            .memory
            .stops
            .entry(id.to_owned())
            .or_insert(Stopping { pre_stop_done: false, kill_at: None });
        if let Action::Stop { grace, .. } = action {
            stopping.kill_at = Some(now + SignedDuration::from_secs(*grace));
        }
    }

    fn refresh(&mut self, id: String) {
        let slot = Slot::Refresh(id.clone());
        // One that is under way may have asked before this happened.
        self.cancel(|other| *other == slot);
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        self.spawn(slot, async move {
            if id.is_empty() {
                return Done::Listed(act::list(&context, &pod).await);
            }
            Done::Refreshed { status: act::refresh(&context, &pod, &id).await, id }
        });
    }

    fn spawn(&mut self, slot: Slot, work: impl Future<Output = Done> + Send + 'static) {
        let handle = self.work.spawn(work);
        self.tasks.insert(handle.id(), slot.clone());
        self.handles.insert(slot.clone(), handle);
        self.busy.insert(slot);
    }

    fn cancel(&mut self, which: impl Fn(&Slot) -> bool) {
        let chosen: Vec<Slot> = self.handles.keys().filter(|slot| which(slot)).cloned().collect();
        for slot in chosen {
            if let Some(handle) = self.handles.remove(&slot) {
                handle.abort();
                self.tasks.remove(&handle.id());
            }
            self.busy.remove(&slot);
        }
    }

    /// Work failed: it is tried again a little later.
    fn retry_later(&mut self, slot: Slot) {
        let now = self.context.clock.now();
        let retry = self.memory.retries.entry(slot).or_insert(Retry { until: now, failures: 0 });
        let delay = RETRY_FIRST.saturating_mul(1 << retry.failures.min(10)).min(RETRY_MOST);
        retry.until = now + SignedDuration::from_secs(delay);
        retry.failures += 1;
    }
}

//! What to do next for a pod: a pure function from a [`Snapshot`] to actions and the time of the
//! next look. It is asked again after every event; work that is under way is in the snapshot.

use std::path::PathBuf;

use onggi_api::core::Container;
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_node_api::{ContainerState, ContainerStatus};

use super::snapshot::{Goal, Slot, Snapshot, timestamp};
use crate::pod::Place;

/// What TERM is given at least, where preStop used up the grace period.
const LEAST_GRACE: i64 = 2;
/// Dead records of a container that are kept: `lastState`, and logs of the previous run.
const RECORDS_KEPT: usize = 2;

/// What is to be done, in no order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Mount the volumes.
    Mount,
    CreateSandbox {
        attempt: u32,
    },
    /// See that the image of a container is there.
    Pull {
        container: String,
    },
    /// Say that a container waits before it is started again. `id`: the dead one, or none when it
    /// is the image that is waited for.
    TellBackOff {
        container: String,
        id: Option<String>,
        delay: SignedDuration,
    },
    /// Create a container and start it.
    Start {
        container: String,
        attempt: u32,
        sandbox: String,
        image: String,
        /// The id of the container whose processes it is to see.
        target: Option<String>,
    },
    /// Take the pod out of every router and wait until requests in flight have ended.
    Withdraw {
        seconds: i64,
    },
    PreStop {
        container: String,
        id: String,
        seconds: i64,
    },
    /// TERM, and KILL after the grace period.
    Stop {
        container: String,
        id: String,
        grace: i64,
    },
    /// Remove a record and its log.
    Remove {
        id: String,
        log: PathBuf,
    },
    StopSandbox {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// Unmount the volumes for good; with `files`, remove all files of the pod.
    Release {
        files: bool,
    },
    /// Take the object out of the API: the node is done with it.
    FinalDelete,
}

/// The answer of [`plan`].
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// When to ask again although nothing happens.
    pub(crate) wake_at: Option<Timestamp>,
    /// Nothing is left to do, ever.
    pub(crate) finished: bool,
}

/// What to do next.
pub(crate) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut planner = Planner { s: snapshot, plan: Plan::default() };
    match snapshot.goal() {
        Goal::Run => planner.run(),
        goal => planner.end(goal),
    }
    planner.plan
}

impl Action {
    /// The work that it is; none for what is done at once.
    pub(crate) fn slot(&self) -> Option<Slot> {
        Some(match self {
            Self::Mount => Slot::Volumes,
            Self::CreateSandbox { .. } => Slot::CreateSandbox,
            Self::Pull { container } => Slot::Image(container.clone()),
            Self::TellBackOff { .. } => return None,
            Self::Start { container, .. } => Slot::Start(container.clone()),
            Self::Withdraw { .. } => Slot::Withdraw,
            Self::PreStop { id, .. } => Slot::PreStop(id.clone()),
            Self::Stop { id, .. } => Slot::Stop(id.clone()),
            Self::Remove { id, .. } => Slot::Remove(id.clone()),
            Self::StopSandbox { id } | Self::RemoveSandbox { id } => Slot::Sandbox(id.clone()),
            Self::Release { .. } => Slot::Release,
            Self::FinalDelete => Slot::Delete,
        })
    }
}

struct Planner<'a> {
    s: &'a Snapshot<'a>,
    plan: Plan,
}

impl Planner<'_> {
    /// An action, unless it is being done, or failed a moment ago.
    fn act(&mut self, action: Action) {
        if let Some(slot) = action.slot() {
            if self.s.is_busy(&slot) {
                return;
            }
            if let Some(retry) = self.s.memory.retries.get(&slot)
                && retry.until > self.s.now
            {
                return self.wake(retry.until);
            }
        }
        self.plan.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |other| other.min(at)));
    }

    // === Running ===

    fn run(&mut self) {
        if let Some(deadline) = self.s.deadline() {
            self.wake(deadline);
        }
        self.mount();
        if self.s.sandbox().is_none() {
            self.create_sandbox();
        }
        self.bring_up();
        for record in self.s.running() {
            if let Some(kill) = self.s.memory.kills.get(&record.id) {
                self.stop(record, kill.since, kill.grace);
            }
        }
        self.prune();
    }

    fn mount(&mut self) {
        let memory = self.s.memory;
        if memory.mounted {
            match memory.refresh_at {
                Some(at) if at <= self.s.now => self.act(Action::Mount),
                Some(at) => self.wake(at),
                None => {}
            }
            return;
        }
        match &memory.mount_trouble {
            Some(trouble) if trouble.until > self.s.now => self.wake(trouble.until),
            _ => self.act(Action::Mount),
        }
    }

    /// What a dead sandbox holds is given back before the next one is made.
    fn create_sandbox(&mut self) {
        let memory = self.s.memory;
        let left: Vec<_> = self
            .s
            .sandboxes
            .iter()
            .filter(|sandbox| !memory.stopped_sandboxes.contains(&sandbox.id))
            .map(|sandbox| sandbox.id.clone())
            .collect();
        if !left.is_empty() {
            left.into_iter().for_each(|id| self.act(Action::StopSandbox { id }));
            return;
        }
        match &memory.sandbox_trouble {
            Some(trouble) if trouble.until > self.s.now => self.wake(trouble.until),
            _ => {
                let last = self.s.sandboxes.iter().map(|sandbox| sandbox.config.attempt).max();
                self.act(Action::CreateSandbox { attempt: last.map_or(0, |last| last + 1) });
            }
        }
    }

    /// Init containers one after the other, then the others all at once; ephemeral ones wait for
    /// none of them, for it may be they that need a look.
    fn bring_up(&mut self) {
        let initialized = self.s.is_initialized();
        for (place, container) in self.s.pod.all_containers() {
            if place == Place::Init && initialized {
                continue;
            }
            let present = self.s.present(&container.name);
            let running = present.is_some_and(|record| self.s.is_running(record));
            if !running && self.is_wanted(place, container) {
                self.start(container);
            }
            if !initialized && !self.s.init_is_done(place, container) {
                return;
            }
        }
    }

    fn is_wanted(&self, place: Place, container: &Container) -> bool {
        let policy = self.s.pod.policy_of(place);
        match (place, self.s.present(&container.name)) {
            // A new sandbox begins with its init containers again.
            (Place::Init | Place::Sidecar, None) => true,
            (Place::Ephemeral, _) => !self.s.was_started(&container.name),
            _ => self.s.exit_code(&container.name).is_none_or(|code| policy.restarts(code)),
        }
    }

    fn start(&mut self, container: &Container) {
        let name = &container.name;
        if self.s.is_busy(&Slot::Start(name.clone())) || self.waits(name) {
            return;
        }
        let Some(image) = self.s.memory.images.get(name).cloned() else {
            return self.act(Action::Pull { container: name.clone() });
        };
        let Some(sandbox) = self.s.sandbox().map(|sandbox| sandbox.id.clone()) else { return };
        if self.s.memory.mounted {
            let attempt = self.s.next_attempt(name);
            let target = self.s.pod.target_of(name).and_then(|target| self.s.present(target));
            let target = target.map(|record| record.id.clone());
            self.act(Action::Start { container: name.clone(), attempt, sandbox, image, target });
        }
    }

    /// Whether a container is not yet to be started, after a crash or a failed try.
    fn waits(&mut self, name: &str) -> bool {
        let (now, memory) = (self.s.now, self.s.memory);
        if let Some(trouble) = memory.troubles.get(name)
            && trouble.until > now
        {
            self.wake(trouble.until);
            match &trouble.then {
                Some((at, ..)) if *at > now => self.wake(*at),
                Some(_) => {
                    let delay = trouble.until.duration_since(now);
                    self.act(Action::TellBackOff { container: name.to_owned(), id: None, delay });
                }
                None => {}
            }
            return true;
        }
        let Some((until, delay, id)) = crash_wait(self.s, name) else { return false };
        self.wake(until);
        if !memory.waits_told.contains(&id) {
            self.act(Action::TellBackOff { container: name.to_owned(), id: Some(id), delay });
        }
        true
    }

    /// Removes records that nobody looks at: older ones, and those that were never started.
    fn prune(&mut self) {
        let sandbox = self.s.sandbox().map(|sandbox| sandbox.id.clone());
        let mut needed = Vec::new();
        for (_, container) in self.s.pod.all_containers() {
            let records = self.s.records(&container.name);
            for (at, record) in records.iter().enumerate() {
                if at < RECORDS_KEPT {
                    needed.push(record.sandbox.clone());
                } else if !self.s.is_running(record) {
                    self.remove(record);
                }
            }
        }
        for record in self.s.containers {
            let starting = self.s.is_busy(&Slot::Start(record.name.clone()));
            if record.state == ContainerState::Created && !starting {
                self.remove(record);
            }
        }
        for old in self.s.sandboxes {
            let idle = self.s.memory.stopped_sandboxes.contains(&old.id);
            if idle && Some(&old.id) != sandbox.as_ref() && !needed.contains(&old.id) {
                self.act(Action::RemoveSandbox { id: old.id.clone() });
            }
        }
    }

    fn remove(&mut self, record: &ContainerStatus) {
        self.act(Action::Remove { id: record.id.clone(), log: record.log_path.clone() });
    }

    // === Ending ===

    /// Withdraw → drained → preStop → TERM → KILL, then sandbox, volumes, object.
    fn end(&mut self, goal: Goal) {
        let memory = self.s.memory;
        let since = memory.ending_since.unwrap_or(self.s.now);
        // Nobody waits for a pod that the API has forgotten.
        let most = if self.s.gone { LEAST_GRACE } else { i64::MAX };
        let grace = self.s.pod.grace_seconds().min(most);
        let deadline = since + SignedDuration::from_secs(grace);
        let running: Vec<&ContainerStatus> = self.s.running().collect();
        let starting = self
            .s
            .busy
            .iter()
            .any(|slot| matches!(slot, Slot::Start(_) | Slot::CreateSandbox | Slot::Volumes));
        if !running.is_empty() {
            if !memory.drained && self.s.now < deadline {
                self.wake(deadline);
                return self.act(Action::Withdraw { seconds: grace });
            }
            self.stop_in_order(&running, since, grace);
        }
        if !running.is_empty() || starting {
            return;
        }
        let mut stopping = false;
        for sandbox in self.s.sandboxes {
            if !memory.stopped_sandboxes.contains(&sandbox.id) {
                stopping = true;
                self.act(Action::StopSandbox { id: sandbox.id.clone() });
            }
        }
        if stopping {
            return;
        }
        if goal == Goal::Finish {
            if !memory.released {
                self.act(Action::Release { files: false });
            }
            return;
        }
        for sandbox in self.s.sandboxes {
            self.act(Action::RemoveSandbox { id: sandbox.id.clone() });
        }
        if !self.s.sandboxes.is_empty() {
            return;
        }
        if !memory.removed {
            return self.act(Action::Release { files: true });
        }
        if self.s.gone {
            self.plan.finished = true;
        } else if memory.status_settled && !memory.deleted {
            self.act(Action::FinalDelete);
        }
    }

    /// Sidecars outlive the others, and end in the reverse order of their start.
    fn stop_in_order(&mut self, running: &[&ContainerStatus], since: Timestamp, grace: i64) {
        let place = |record: &ContainerStatus| self.s.pod.container(&record.name).map(|(p, _)| p);
        let (sidecars, others): (Vec<&ContainerStatus>, Vec<&ContainerStatus>) =
            running.iter().partition(|record| place(record) == Some(Place::Sidecar));
        if !others.is_empty() {
            return others.into_iter().for_each(|record| self.stop(record, since, grace));
        }
        let last = self.s.pod.containers().rev().find_map(|(_, container)| {
            sidecars.iter().find(|record| record.name == container.name)
        });
        if let Some(record) = last {
            self.stop(record, since, grace);
        }
    }

    fn stop(&mut self, record: &ContainerStatus, since: Timestamp, grace: i64) {
        let id = record.id.clone();
        let deadline = since + SignedDuration::from_secs(grace);
        let stopping = self.s.memory.stops.get(&id);
        let container = self.s.pod.container(&record.name).map(|(_, container)| container);
        let has_pre_stop = container
            .and_then(|container| container.lifecycle.as_ref())
            .is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
        let pre_stop_done = stopping.is_some_and(|stopping| stopping.pre_stop_done);
        let name = record.name.clone();
        if has_pre_stop && !pre_stop_done && self.s.now < deadline {
            self.wake(deadline);
            return self.act(Action::PreStop { container: name, id, seconds: grace });
        }
        let least = if has_pre_stop { LEAST_GRACE.min(grace) } else { 1 };
        let wanted = deadline.max(self.s.now + SignedDuration::from_secs(least));
        let slot = Slot::Stop(id.clone());
        // A shorter grace period than the one that runs takes its place. What runs was rounded up.
        let kill_at = stopping.and_then(|stopping| stopping.kill_at);
        let second = SignedDuration::from_secs(1);
        let sooner = kill_at.is_some_and(|at| at.duration_since(wanted) >= second);
        if !self.s.is_busy(&slot) || sooner {
            // What was begun of a second is the container's: the way to here took some of it.
            let left = wanted.duration_since(self.s.now);
            let grace = left.as_secs() + i64::from(left.subsec_nanos() > 0);
            let stop = Action::Stop { container: name, id, grace };
            if sooner {
                self.plan.actions.push(stop);
            } else {
                self.act(stop);
            }
        }
    }
}

/// Until when a dead container waits, for how long, and its id.
pub(crate) fn crash_wait(
    s: &Snapshot<'_>,
    name: &str,
) -> Option<(Timestamp, SignedDuration, String)> {
    let dead = s.latest(name).filter(|record| !s.is_running(record))?;
    let crash = s.memory.crashes.get(name)?;
    let until = crash.wait(timestamp(dead.finished_at))?;
    (until > s.now).then(|| (until, crash.delay, dead.id.clone()))
}

#[cfg(test)]
mod tests;

//! What a pod's worker knows at one moment: the input of the plan and of the status.

use std::collections::{BTreeMap, BTreeSet};

use onggi_api::core::{Container, PodStatus};
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_node_api::{ContainerState, ContainerStatus, PodSandbox};

use crate::admit;
use crate::pod::{Place, Pod, RestartPolicy};

/// Exit code of a container of which nobody knows how it ended (as if by SIGKILL).
pub(crate) const LOST_EXIT_CODE: i32 = 137;

/// A pod, what the runtime has of it, and what was tried.
pub(crate) struct Snapshot<'a> {
    pub(crate) pod: &'a Pod,
    /// The API no longer has it.
    pub(crate) gone: bool,
    pub(crate) now: Timestamp,
    pub(crate) sandboxes: &'a [PodSandbox],
    pub(crate) containers: &'a [ContainerStatus],
    pub(crate) memory: &'a Memory,
    /// What is being done.
    pub(crate) busy: &'a BTreeSet<Slot>,
}

/// Work that is never done twice at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Volumes,
    CreateSandbox,
    Sandbox(String),
    Image(String),
    Start(String),
    PostStart(String),
    Withdraw,
    PreStop(String),
    Stop(String),
    Remove(String),
    Release,
    Delete,
    Status,
    Refresh(String),
}

/// What a worker remembers between plans.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// Whether the volumes are mounted.
    pub(crate) mounted: bool,
    /// When they must be brought up to date: a token in them runs out.
    pub(crate) refresh_at: Option<Timestamp>,
    /// Why they are not.
    pub(crate) mount_trouble: Option<Trouble>,
    pub(crate) sandbox_trouble: Option<Trouble>,
    /// By container: id of the image that its next start uses.
    pub(crate) images: BTreeMap<String, String>,
    /// By container: why it was not started.
    pub(crate) troubles: BTreeMap<String, Trouble>,
    /// By container: the back-off of restarts.
    pub(crate) crashes: BTreeMap<String, Crash>,
    /// By container id: what the probes say.
    pub(crate) health: BTreeMap<String, Health>,
    /// By container id: what must end although the pod goes on.
    pub(crate) kills: BTreeMap<String, Kill>,
    /// By container id: what is being ended.
    pub(crate) stops: BTreeMap<String, Stopping>,
    /// Work that failed: when to try it again.
    pub(crate) retries: BTreeMap<Slot, Retry>,
    /// Ids of dead containers whose restart was said to wait.
    pub(crate) waits_told: BTreeSet<String>,
    /// When the end of the pod began.
    pub(crate) ending_since: Option<Timestamp>,
    /// Nobody sends it requests any more.
    pub(crate) drained: bool,
    pub(crate) stopped_sandboxes: BTreeSet<String>,
    /// Volumes are unmounted for good.
    pub(crate) released: bool,
    /// No file of it is left.
    pub(crate) removed: bool,
    /// The API was told that the node is done with it.
    pub(crate) deleted: bool,
    /// The API has the status that follows from this snapshot.
    pub(crate) status_settled: bool,
    /// The status as it was last computed.
    pub(crate) status: PodStatus,
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    /// `state.waiting.reason`.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// When to say that we back off: then reason and message change to these.
    pub(crate) then: Option<(Timestamp, String, String)>,
    /// When to try again.
    pub(crate) until: Timestamp,
    pub(crate) failures: u32,
}

/// When failed work is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retry {
    pub(crate) until: Timestamp,
    pub(crate) failures: u32,
}

/// The back-off of a container's restarts (`flowcontrol.Backoff`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) delay: SignedDuration,
    /// When the container was last started because of it.
    pub(crate) started: Timestamp,
}

/// What the probes say of a running container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

/// A container that must end and is then restarted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kill {
    /// The message of the event.
    pub(crate) message: String,
    pub(crate) grace: i64,
    pub(crate) since: Timestamp,
}

/// A container that is being ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stopping {
    pub(crate) pre_stop_done: bool,
    /// When SIGKILL comes, once SIGTERM was asked for.
    pub(crate) kill_at: Option<Timestamp>,
}

/// What is wanted of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Its containers run.
    Run,
    /// It ended, or must, and the object stays: containers dead, network and volumes given back.
    Finish,
    /// As `Finish`; then nothing of it is left and the object goes.
    Delete,
}

impl Crash {
    pub(crate) const FIRST: SignedDuration = SignedDuration::from_secs(10);
    pub(crate) const MOST: SignedDuration = SignedDuration::from_secs(300);

    /// How long a container that ended at `finished` waits; none when it ran long enough.
    pub(crate) fn wait(&self, finished: Timestamp) -> Option<Timestamp> {
        let ran = finished.duration_since(self.started);
        (ran <= Self::MOST * 2).then(|| finished + self.delay)
    }

    /// After a restart at `now` of a container that ended at `finished`.
    pub(crate) fn next(old: Option<&Self>, finished: Timestamp, now: Timestamp) -> Self {
        let grown = old.filter(|old| old.wait(finished).is_some()).map(|old| old.delay * 2);
        Self { delay: grown.unwrap_or(Self::FIRST).min(Self::MOST), started: now }
    }
}

impl Snapshot<'_> {
    pub(crate) fn goal(&self) -> Goal {
        if self.gone || self.pod.deletion().is_some() {
            Goal::Delete
        } else if self.ended_for_good()
            || self.deadline_passed()
            || self.is_complete()
            || admit::refusal(self.pod).is_some()
        {
            Goal::Finish
        } else {
            Goal::Run
        }
    }

    /// A phase that is never left again.
    pub(crate) fn ended_for_good(&self) -> bool {
        let ended = |phase: Option<&str>| matches!(phase, Some("Succeeded" | "Failed"));
        self.pod.is_terminal() || ended(self.memory.status.phase.as_deref())
    }

    /// When `activeDeadlineSeconds` are over; none where there are none.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.active_deadline_seconds?;
        let start = self.memory.status.start_time.as_ref()?.0;
        Some(start + SignedDuration::from_secs(seconds))
    }

    pub(crate) fn deadline_passed(&self) -> bool {
        self.deadline().is_some_and(|deadline| self.now >= deadline)
    }

    /// The sandbox in which containers run.
    pub(crate) fn sandbox(&self) -> Option<&PodSandbox> {
        let usable = |s: &&PodSandbox| s.ready && !self.memory.stopped_sandboxes.contains(&s.id);
        self.sandboxes.iter().filter(usable).max_by_key(|s| s.config.attempt)
    }

    pub(crate) fn is_busy(&self, slot: &Slot) -> bool {
        self.busy.contains(slot)
    }

    /// The records of a container that was started once, newest first.
    pub(crate) fn records(&self, name: &str) -> Vec<&ContainerStatus> {
        let started = |c: &&ContainerStatus| c.name == name && c.state != ContainerState::Created;
        let mut records: Vec<_> = self.containers.iter().filter(started).collect();
        records.sort_by_key(|c| std::cmp::Reverse(c.attempt));
        records
    }

    /// The newest record of a container, in whichever sandbox.
    pub(crate) fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        let started = |c: &&ContainerStatus| c.name == name && c.state != ContainerState::Created;
        self.containers.iter().filter(started).max_by_key(|c| c.attempt)
    }

    /// The newest record of a container in the present sandbox.
    pub(crate) fn present(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = self.sandbox()?;
        self.latest(name).filter(|c| c.sandbox == sandbox.id)
    }

    /// Whether a record is of a container that runs: the processes of a dead sandbox do not.
    pub(crate) fn is_running(&self, record: &ContainerStatus) -> bool {
        let alive = |s: &PodSandbox| s.id == record.sandbox && s.ready;
        record.state == ContainerState::Running && self.sandboxes.iter().any(alive)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|record| self.is_running(record))
    }

    /// The exit code of a container that was started and does not run. What the runtime has no
    /// record of, as after a reboot, is known from the status in the API.
    pub(crate) fn exit_code(&self, name: &str) -> Option<i32> {
        let Some(record) = self.latest(name) else {
            let known = self.known_status(name)?;
            known.container_id.as_ref()?;
            let state = known.state.as_ref()?;
            let ended = state.terminated.as_ref().map(|t| t.exit_code);
            return ended.or_else(|| state.running.is_some().then_some(LOST_EXIT_CODE));
        };
        match record.state {
            _ if self.is_running(record) => None,
            ContainerState::Exited => Some(record.exit_code),
            _ => Some(LOST_EXIT_CODE),
        }
    }

    /// What the API knew of a container when the worker began.
    pub(crate) fn known_status(&self, name: &str) -> Option<&onggi_api::core::ContainerStatus> {
        let status = &self.pod.status;
        let all = status.container_statuses.iter().chain(&status.init_container_statuses);
        let all = all.chain(&status.ephemeral_container_statuses);
        all.flatten().find(|c| c.name == name)
    }

    /// Whether a container was started ever, in whichever sandbox, as far as anybody knows.
    pub(crate) fn was_started(&self, name: &str) -> bool {
        self.latest(name).is_some()
            || self.known_status(name).is_some_and(|known| known.container_id.is_some())
    }

    /// The number of the next start of a container.
    pub(crate) fn next_attempt(&self, name: &str) -> u32 {
        if let Some(last) = self.latest(name) {
            return last.attempt + 1;
        }
        let known = self.known_status(name).filter(|known| known.container_id.is_some());
        known.and_then(|known| u32::try_from(known.restart_count).ok()).map_or(0, |n| n + 1)
    }

    /// Whether the init containers are through in this sandbox.
    pub(crate) fn is_initialized(&self) -> bool {
        let app_started =
            self.pod.spec.containers.iter().any(|c| {
                self.present(&c.name).is_some() || self.is_busy(&Slot::Start(c.name.clone()))
            });
        app_started || self.pod.containers().all(|(place, c)| self.init_is_done(place, c))
    }

    /// Whether a container no longer holds up those after it.
    pub(crate) fn init_is_done(&self, place: Place, container: &Container) -> bool {
        match place {
            Place::App | Place::Ephemeral => true,
            Place::Init => self.present(&container.name).is_some_and(|record| {
                record.state == ContainerState::Exited && record.exit_code == 0
            }),
            Place::Sidecar => self.present(&container.name).is_some_and(|record| {
                self.is_running(record)
                    && self.memory.health.get(&record.id).is_some_and(|health| health.started)
            }),
        }
    }

    /// Whether no container will be started again.
    pub(crate) fn is_complete(&self) -> bool {
        if self.busy.iter().any(|slot| matches!(slot, Slot::Start(_))) {
            return false;
        }
        self.init_failed() || self.apps_ended()
    }

    fn apps_ended(&self) -> bool {
        let policy = self.pod.restart_policy();
        !self.pod.spec.containers.is_empty()
            && self.pod.spec.containers.iter().all(|container| {
                self.exit_code(&container.name).is_some_and(|code| !policy.restarts(code))
            })
    }

    /// An init container failed that is not tried again.
    pub(crate) fn init_failed(&self) -> bool {
        self.pod.restart_policy() == RestartPolicy::Never
            && self.pod.containers().any(|(place, container)| {
                place == Place::Init
                    && self.latest(&container.name).is_some()
                    && self.exit_code(&container.name).is_some_and(|code| code != 0)
            })
    }
}

/// Nanoseconds since 1970 as a time.
pub(crate) fn timestamp(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_and_recover() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let mut crash = Crash::next(None, at(0), at(0));
        let mut delays = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            // It dies at once.
            let until = crash.wait(at(now)).unwrap();
            delays.push(until.as_second() - now);
            crash = Crash::next(Some(&crash), at(now), until);
            now = until.as_second();
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        // It ran for ten minutes: it may start at once, and begins anew.
        assert_eq!(crash.wait(at(now + 601)), None);
        assert_eq!(Crash::next(Some(&crash), at(now + 601), at(now + 601)).delay, Crash::FIRST);
    }
}

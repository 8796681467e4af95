//! `containerStatuses[]`.

use onggi_api::core::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus as ApiStatus,
};
use onggi_node_api::{ContainerState, ContainerStatus};

use crate::pod::{Place, time_of};
use crate::worker::plan::crash_wait;
use crate::worker::snapshot::{Goal, LOST_EXIT_CODE, Snapshot};

/// `containerID` is `onggi://ID`.
const RUNTIME: &str = "onggi";

/// A container, with what is known of it.
pub(super) struct State<'a> {
    pub(super) place: Place,
    pub(super) container: &'a Container,
    /// Its last run.
    record: Option<&'a ContainerStatus>,
    /// The run before.
    previous: Option<&'a ContainerStatus>,
    running: bool,
    /// Of the last run, where it ended.
    pub(super) exit_code: Option<i32>,
    pub(super) started: bool,
    pub(super) ready: bool,
}

impl<'a> State<'a> {
    pub(super) fn of(s: &'a Snapshot<'a>, place: Place, container: &'a Container) -> Self {
        let records = s.records(&container.name);
        let record = records.first().copied();
        let running = record.is_some_and(|record| s.is_running(record));
        let health =
            record.and_then(|record| s.memory.health.get(&record.id)).copied().unwrap_or_default();
        let exit_code = s.exit_code(&container.name);
        let ready = match place {
            // An init container is ready when it is through.
            Place::Init => exit_code == Some(0),
            // No pod's readiness hangs on one.
            Place::Ephemeral => false,
            _ => running && health.ready,
        };
        Self {
            place,
            container,
            record,
            previous: records.get(1).copied(),
            running,
            exit_code,
            started: running && health.started,
            ready,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn status(&self, s: &Snapshot<'_>) -> ApiStatus {
        let waiting = self.waiting(s);
        let terminated = self.terminated(s);
        let (state, last_state) = match (waiting, self.record) {
            (Some(waiting), _) => {
                let waiting = ApiState { waiting: Some(waiting), ..ApiState::default() };
                (waiting, terminated)
            }
            (None, Some(record)) if self.running => {
                let started_at = time_of(record.started_at);
                let running = Some(ContainerStateRunning { started_at });
                let last = self.previous.map(|previous| ended(previous, s));
                (ApiState { running, ..ApiState::default() }, last)
            }
            (None, _) => {
                let last = self.previous.map(|previous| ended(previous, s));
                let ended = ApiState { terminated, ..ApiState::default() };
                return self.assemble(s, ended, last);
            }
        };
        self.assemble(s, state, last_state)
    }

    fn assemble(
        &self,
        s: &Snapshot<'_>,
        state: ApiState,
        last: Option<ContainerStateTerminated>,
    ) -> ApiStatus {
        let known = s.known_status(&self.container.name);
        let record = self.record;
        let restarts = match record {
            Some(record) => i32::try_from(record.attempt).unwrap_or(i32::MAX),
            None => known.map_or(0, |known| known.restart_count),
        };
        let image = self.container.image.clone().unwrap_or_default();
        // Nothing is set aside for an ephemeral container, and nobody asks whether it has started.
        let lasts = self.place != Place::Ephemeral;
        let resources = lasts.then(|| self.container.resources.clone().unwrap_or_default());
        ApiStatus {
            name: self.container.name.clone(),
            container_id: record
                .map(|record| format!("{RUNTIME}://{}", record.id))
                .or_else(|| known.and_then(|known| known.container_id.clone())),
            image: record
                .map(|record| record.user_image.clone())
                .filter(|image| !image.is_empty())
                .unwrap_or(image),
            image_id: record.map(|record| record.image.clone()).unwrap_or_default(),
            state: Some(state),
            last_state: Some(ApiState { terminated: last, ..ApiState::default() }),
            ready: self.ready,
            started: lasts.then_some(self.started),
            restart_count: restarts,
            allocated_resources: resources.as_ref().and_then(|r| r.requests.clone()),
            resources,
            ..ApiStatus::default()
        }
    }

    /// How the last run ended, where it did.
    fn terminated(&self, s: &Snapshot<'_>) -> Option<ContainerStateTerminated> {
        match self.record {
            Some(record) if !self.running => Some(ended(record, s)),
            Some(_) => None,
            None => {
                let known = s.known_status(&self.container.name)?;
                let state = known.state.as_ref()?;
                let last = || known.last_state.as_ref().and_then(|last| last.terminated.clone());
                let lost = || lost(known.container_id.clone(), state.running.as_ref());
                state
                    .terminated
                    .clone()
                    .or_else(|| state.running.is_some().then(lost))
                    .or_else(last)
            }
        }
    }

    /// Why it does not run, where it has not run yet or is to run again.
    fn waiting(&self, s: &Snapshot<'_>) -> Option<ContainerStateWaiting> {
        if self.running || s.goal() != Goal::Run {
            // A pod that ended or ends starts nothing: what never ran keeps waiting.
            let never_ran = self.record.is_none() && self.exit_code.is_none();
            return (never_ran && !self.running).then(|| self.not_yet(s));
        }
        let name = &self.container.name;
        if self.place == Place::Init && s.init_is_done(Place::Init, self.container) {
            return None;
        }
        if self.place == Place::Ephemeral && self.record.is_some() {
            return None;
        }
        if let Some(trouble) = s.memory.troubles.get(name) {
            return Some(waiting(&trouble.reason, Some(trouble.message.clone())));
        }
        if let Some((_, delay, _)) = crash_wait(s, name) {
            let message = format!(
                "back-off {} restarting failed container={name} pod={}",
                go_duration(delay.as_secs()),
                s.pod.full_name()
            );
            return Some(waiting("CrashLoopBackOff", Some(message)));
        }
        if self.exit_code.is_some() {
            return None;
        }
        Some(self.not_yet(s))
    }

    /// A pod with init containers is initializing, and so are these themselves.
    fn not_yet(&self, s: &Snapshot<'_>) -> ContainerStateWaiting {
        let initializes = !s.pod.init_containers().is_empty();
        waiting(if initializes { "PodInitializing" } else { "ContainerCreating" }, None)
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerStateWaiting {
    ContainerStateWaiting { reason: Some(reason.to_owned()), message }
}

fn ended(record: &ContainerStatus, s: &Snapshot<'_>) -> ContainerStateTerminated {
    let container_id = Some(format!("{RUNTIME}://{}", record.id));
    if record.state != ContainerState::Exited {
        let running = ContainerStateRunning { started_at: time_of(record.started_at) };
        return lost(container_id, Some(&running));
    }
    let reason = match record.reason.as_str() {
        "" if record.exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
    };
    ContainerStateTerminated {
        container_id,
        exit_code: record.exit_code,
        reason: Some(reason.to_owned()),
        message: Some(record.message.clone()).filter(|message| !message.is_empty()),
        started_at: time_of(record.started_at),
        finished_at: time_of(record.finished_at).or_else(|| Some(crate::pod::whole_seconds(s.now))),
        signal: None,
    }
}

fn lost(
    container_id: Option<String>,
    running: Option<&ContainerStateRunning>,
) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id,
        exit_code: LOST_EXIT_CODE,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        started_at: running.and_then(|running| running.started_at.clone()),
        ..ContainerStateTerminated::default()
    }
}

/// Seconds as Go writes a duration: `10s`, `1m20s`.
pub(crate) fn go_duration(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

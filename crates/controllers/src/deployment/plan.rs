//! What a Deployment does next, from what is: one step of a rollout, a scaling, or nothing.

use std::time::Duration;

use onggi_api::jiff::Timestamp;

use super::sets::{REVISION, Set, is_rolling, max_surge, max_unavailable, sum};
use super::status;
use crate::view::{Condition, Deployment, DeploymentStatus};

/// What is.
pub(super) struct Snapshot<'a> {
    pub(super) deployment: &'a Deployment,
    /// The sets that it manages.
    pub(super) sets: Vec<Set>,
    /// What a set for the deployment's template is called.
    pub(super) new_name: String,
    pub(super) now: Timestamp,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A set for the template.
    pub(super) create: Option<Set>,
    /// Sets as they should be, by name.
    pub(super) update: Vec<Set>,
    /// Sets that nobody will go back to.
    pub(super) delete: Vec<Set>,
    /// The revision that the deployment is annotated with.
    pub(super) revision: Option<String>,
    /// Texts of events `ScalingReplicaSet`, with the set that each is about.
    pub(super) scaled: Vec<(String, String)>,
    /// The status as it should be.
    pub(super) status: DeploymentStatus,
    /// When to look again though nothing happens.
    pub(super) after: Option<Duration>,
}

/// Decides.
pub(super) fn plan(snapshot: Snapshot<'_>) -> Plan {
    let Snapshot { deployment, sets, new_name, now } = snapshot;
    let mut step = Step {
        deployment,
        before: sets.clone(),
        sets,
        new_name,
        now,
        plan: Plan::default(),
        conditions: deployment.status.conditions.clone(),
    };
    step.sets.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    step.decide();
    step.finish()
}

/// A step in the making. The new set is the oldest one with the deployment's template.
struct Step<'a> {
    deployment: &'a Deployment,
    before: Vec<Set>,
    /// Oldest first.
    sets: Vec<Set>,
    new_name: String,
    now: Timestamp,
    plan: Plan,
    conditions: Vec<Condition>,
}

impl Step<'_> {
    fn decide(&mut self) {
        let deployment = self.deployment;
        if deployment.metadata.deleting() {
            return self.report(false);
        }
        status::note_pause(deployment, &mut self.conditions, self.now);
        if deployment.spec.paused || self.was_scaled() {
            self.sync_new(false);
            self.scale();
            if deployment.spec.paused {
                self.clean_up();
            }
            return self.report(false);
        }
        if is_rolling(deployment) {
            self.roll()
        } else {
            self.recreate()
        }
        self.report(true);
    }

    /// Whether another number is wanted than when the sets were last scaled.
    fn was_scaled(&self) -> bool {
        let wanted = self.deployment.spec.replicas;
        let mut active = self.sets.iter().filter(|set| set.replicas > 0);
        active.any(|set| set.desired().is_some_and(|desired| desired != wanted))
    }

    // --- Sets ---

    fn new_place(&self) -> Option<usize> {
        self.sets.iter().position(|set| set.current)
    }

    fn new_set(&self) -> Option<&Set> {
        self.new_place().map(|place| &self.sets[place])
    }

    /// Places of the old sets, oldest first.
    fn old_places(&self) -> Vec<usize> {
        let new = self.new_place();
        (0..self.sets.len()).filter(|place| Some(*place) != new).collect()
    }

    fn old_sets(&self) -> impl Iterator<Item = &Set> {
        self.old_places().into_iter().map(|place| &self.sets[place])
    }

    /// Brings revision and annotations of the new set up to date; makes it where that is asked.
    fn sync_new(&mut self, create: bool) {
        let deployment = self.deployment;
        let revision = self.old_sets().map(Set::revision).max().unwrap_or(0) + 1;
        let place = match self.new_place() {
            Some(place) => {
                let set = &mut self.sets[place];
                set.take_over(deployment, revision);
                set.min_ready_seconds = deployment.spec.min_ready_seconds;
                let found =
                    ("FoundNewReplicaSet", format!("Found new replica set \"{}\"", set.name));
                if Condition::find(&self.conditions, status::PROGRESSING).is_none() {
                    self.note_progress(found);
                }
                place
            }
            None if create => {
                let mut set = Set {
                    name: self.new_name.clone(),
                    current: true,
                    min_ready_seconds: deployment.spec.min_ready_seconds,
                    ..Set::default()
                };
                set.take_over(deployment, revision);
                set.note(deployment);
                self.sets.push(set);
                let place = self.sets.len() - 1;
                let replicas = self.room_for_new(place);
                let set = &mut self.sets[place];
                set.replicas = replicas;
                let name = set.name.clone();
                if replicas > 0 {
                    let text = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.plan.scaled.push((name.clone(), text));
                }
                let text = format!("Created new replica set \"{name}\"");
                self.note_progress(("NewReplicaSetCreated", text));
                place
            }
            None => return,
        };
        let revision = self.sets[place].annotations.get(REVISION);
        if deployment.metadata.annotations.get(REVISION) != revision {
            self.plan.revision = revision.cloned();
        }
    }

    fn note_progress(&mut self, (reason, message): (&str, String)) {
        if status::deadline(self.deployment).is_some() {
            let told = status::condition(status::PROGRESSING, "True", reason, message, self.now);
            status::set(&mut self.conditions, told);
        }
    }

    /// Scales a set, notes down what is wanted, and says so. Answers whether its size changed.
    fn resize(&mut self, place: usize, replicas: i32) -> bool {
        let set = &mut self.sets[place];
        set.note(self.deployment);
        let before = std::mem::replace(&mut set.replicas, replicas);
        if before == replicas {
            return false;
        }
        let way = if before < replicas { "up" } else { "down" };
        let name = set.name.clone();
        let text = format!("Scaled {way} replica set {name} from {before} to {replicas}");
        self.plan.scaled.push((name, text));
        true
    }

    /// The size of the new set as far as the surge allows (`NewRSNewReplicas`).
    fn room_for_new(&self, place: usize) -> i32 {
        let (wanted, present) = (self.deployment.spec.replicas, self.sets[place].replicas);
        if !is_rolling(self.deployment) {
            return wanted;
        }
        let most = wanted.saturating_add(max_surge(self.deployment));
        let room = most - sum(&self.sets, |set| set.replicas);
        if room <= 0 { present } else { present + room.min(wanted - present) }
    }

    // --- Strategies ---

    /// One step of a rolling update: up by the surge, else down by what may be unavailable.
    fn roll(&mut self) {
        self.sync_new(true);
        let Some(new) = self.new_place() else { return };
        let wanted = self.deployment.spec.replicas;
        let replicas = match self.sets[new].replicas {
            present if present == wanted => wanted,
            present if present > wanted => wanted,
            _ => self.room_for_new(new),
        };
        if replicas != self.sets[new].replicas && self.resize(new, replicas) {
            return;
        }
        if self.shrink_old(new) {
            return;
        }
        self.clean_up_when_complete();
    }

    /// Scales old sets down as far as enough stays available. Unhealthy pods go first, since they
    /// cost nothing.
    fn shrink_old(&mut self, new: usize) -> bool {
        let old: Vec<usize> =
            self.old_places().into_iter().filter(|&p| self.sets[p].replicas > 0).collect();
        if old.is_empty() {
            return false;
        }
        let least = self.deployment.spec.replicas - max_unavailable(self.deployment);
        let all = sum(&self.sets, |set| set.replicas);
        let new_set = &self.sets[new];
        let not_yet = new_set.replicas - new_set.status.available_replicas;
        let may_go = all - least - not_yet;
        if may_go <= 0 {
            return false;
        }
        let mut gone = 0;
        for &place in &old {
            let set = &self.sets[place];
            let unhealthy = set.replicas - set.status.available_replicas;
            let step = unhealthy.min(may_go - gone);
            if step > 0 {
                let replicas = set.replicas - step;
                self.resize(place, replicas);
                gone += step;
            }
        }
        let available = sum(&self.sets, |set| set.status.available_replicas);
        let (may_go, mut down) = (available - least, 0);
        for &place in &old {
            let step = self.sets[place].replicas.min(may_go - down);
            if step > 0 {
                let replicas = self.sets[place].replicas - step;
                self.resize(place, replicas);
                down += step;
            }
        }
        gone + down > 0
    }

    /// All old pods end before the first new one begins.
    fn recreate(&mut self) {
        self.sync_new(false);
        let mut scaled = false;
        for place in self.old_places() {
            if self.sets[place].replicas > 0 {
                scaled |= self.resize(place, 0);
            }
        }
        if scaled || self.old_sets().any(|set| set.status.replicas > 0 || set.has_pods) {
            return;
        }
        self.sync_new(true);
        if let Some(new) = self.new_place()
            && self.sets[new].replicas != self.deployment.spec.replicas
        {
            self.resize(new, self.deployment.spec.replicas);
        }
        self.clean_up_when_complete();
    }

    // --- Scaling while a rollout stands or goes on ---

    fn scale(&mut self) {
        let wanted = self.deployment.spec.replicas;
        if let Some(only) = self.active_or_latest() {
            self.resize(only, wanted);
            return;
        }
        let saturated = self.new_set().is_some_and(|new| {
            new.replicas == wanted
                && new.desired() == Some(wanted)
                && new.status.available_replicas == wanted
        });
        if saturated {
            for place in self.old_places() {
                if self.sets[place].replicas > 0 {
                    self.resize(place, 0);
                }
            }
        } else if is_rolling(self.deployment) {
            self.scale_in_proportion();
        }
    }

    /// The set that alone has replicas or, where none has, the newest.
    fn active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> =
            (0..self.sets.len()).filter(|&place| self.sets[place].replicas > 0).collect();
        match active.as_slice() {
            [] => self.new_place().or_else(|| self.old_places().last().copied()),
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Each active set gets its share, so that a rollout in the middle keeps its risk.
    fn scale_in_proportion(&mut self) {
        let wanted = self.deployment.spec.replicas;
        let mut active: Vec<usize> =
            (0..self.sets.len()).filter(|&place| self.sets[place].replicas > 0).collect();
        let present = sum(active.iter().map(|&place| &self.sets[place]), |set| set.replicas);
        let most = if wanted > 0 { wanted + max_surge(self.deployment) } else { 0 };
        let change = most - present;
        // The largest first; of equals the newest grows, the oldest shrinks.
        active.sort_by(|&a, &b| {
            let by_age = if change > 0 { b.cmp(&a) } else { a.cmp(&b) };
            self.sets[b].replicas.cmp(&self.sets[a].replicas).then(by_age)
        });
        let mut done = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for &place in &active {
            let share = self.share(&self.sets[place], change, done);
            done += share;
            sizes.push(self.sets[place].replicas + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + change - done).max(0);
        }
        for (place, size) in active.into_iter().zip(sizes) {
            self.resize(place, size);
        }
    }

    fn share(&self, set: &Set, change: i32, done: i32) -> i32 {
        if change == 0 || change == done {
            return 0;
        }
        let wanted = self.deployment.spec.replicas;
        let fraction = if wanted == 0 {
            -set.replicas
        } else {
            let most = wanted + max_surge(self.deployment);
            let before = set.maximum().filter(|before| *before != 0);
            let before = before.unwrap_or(self.deployment.status.replicas);
            let before = if before == 0 { most } else { before };
            let exact = f64::from(set.replicas) * f64::from(most) / f64::from(before);
            // A number of replicas: it fits.
            #[allow(clippy::cast_possible_truncation)]
            let size = exact.round() as i32;
            size - set.replicas
        };
        let left = change - done;
        if change > 0 { fraction.min(left) } else { fraction.max(left) }
    }

    // --- The end of a step ---

    fn clean_up_when_complete(&mut self) {
        if status::is_complete(self.deployment, &self.deployment.status) {
            self.clean_up();
        }
    }

    /// Keeps as many old sets to go back to as are asked for.
    fn clean_up(&mut self) {
        let limit = self.deployment.spec.revision_history_limit.filter(|limit| *limit != i32::MAX);
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
        let mut old: Vec<&Set> = self.old_sets().filter(|set| !set.deleting).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| set.revision());
        let idle = |set: &&&Set| {
            set.status.replicas == 0
                && set.replicas == 0
                && set.generation <= set.status.observed_generation
        };
        let doomed: Vec<Set> =
            old.iter().take(surplus).filter(idle).map(|set| (*set).clone()).collect();
        self.plan.delete = doomed;
    }

    fn report(&mut self, rollout: bool) {
        let conditions = std::mem::take(&mut self.conditions);
        let new = self.new_set();
        let mut status = status::counts(self.deployment, &self.sets, new, conditions, self.now);
        if rollout {
            status::progress(self.deployment, &self.sets, new, &mut status, self.now);
            self.plan.after = status::until_late(self.deployment, &status, self.now);
        }
        self.plan.status = status;
    }

    /// What differs from before is what is done.
    fn finish(mut self) -> Plan {
        for set in &self.sets {
            match self.before.iter().find(|before| before.name == set.name) {
                None => self.plan.create = Some(set.clone()),
                Some(before) if before != set => self.plan.update.push(set.clone()),
                Some(_) => {}
            }
        }
        let doomed = &self.plan.delete;
        self.plan.update.retain(|set| doomed.iter().all(|gone| gone.name != set.name));
        self.plan
    }
}

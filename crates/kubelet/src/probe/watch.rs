//! The timing of a container's probes and what their results mean.

use std::sync::Arc;
use std::time::Duration;

use onggi_api::core::{Container, Probe};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::{ProbeReport, Target, Verdict, look};
use crate::context::Context;
use crate::pod::Pod;
use crate::worker::Wake;
use crate::worker::snapshot::Health;

/// The first pause of a container that is not ready yet; doubles up to the period.
const EARLY: Duration = Duration::from_millis(25);
/// In its first moments nobody expects a program to answer: failures are not told.
const STARTING: Duration = Duration::from_secs(1);

pub(super) struct Watch {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) target: Target,
    /// How long the container runs already.
    pub(super) age: Duration,
    pub(super) mailbox: mpsc::UnboundedSender<Wake>,
    pub(super) health: Health,
}

/// A probe's numbers.
struct Timing {
    initial_delay: Duration,
    period: Duration,
    successes: u32,
    failures: u32,
}

/// When the next look is, and whether it counts.
struct Pace {
    regular: Instant,
    early: Duration,
    period: Duration,
}

impl Watch {
    pub(super) async fn run(self) {
        let born = Instant::now().checked_sub(self.age).unwrap_or_else(Instant::now);
        if let Some(probe) = &self.container.startup_probe
            && !self.health.started
        {
            if !self.startup(probe, born).await {
                return;
            }
            self.tell(Verdict::Started);
            if self.container.readiness_probe.is_none() {
                self.tell(Verdict::Ready(true));
            }
        }
        let readiness = async {
            if let Some(probe) = &self.container.readiness_probe {
                self.readiness(probe, born).await;
            }
        };
        let liveness = async {
            if let Some(probe) = &self.container.liveness_probe {
                self.liveness(probe, born).await;
            }
        };
        tokio::join!(readiness, liveness);
    }

    /// False when it did not start in its time.
    async fn startup(&self, probe: &Probe, born: Instant) -> bool {
        let timing = Timing::of(probe);
        sleep_until(born + timing.initial_delay).await;
        let mut pace = Pace::new(timing.period);
        let mut failures = 0;
        loop {
            let counts = pace.counts();
            match look(&self.target, probe).await {
                Ok(()) => return true,
                Err(text) if counts => {
                    failures += 1;
                    self.unhealthy("Startup", &text, born);
                }
                Err(_) => {}
            }
            if failures >= timing.failures {
                self.kill("startup", probe);
                return false;
            }
            pace.wait(true).await;
        }
    }

    async fn readiness(&self, probe: &Probe, born: Instant) {
        let timing = Timing::of(probe);
        sleep_until(born + timing.initial_delay).await;
        let mut pace = Pace::new(timing.period);
        let (mut successes, mut failures) = (0, 0);
        let mut ready = self.health.ready;
        let mut was_ready = ready;
        loop {
            let counts = pace.counts();
            match look(&self.target, probe).await {
                Ok(()) => {
                    failures = 0;
                    successes += 1;
                    if !ready && successes >= timing.successes {
                        (ready, was_ready) = (true, true);
                        self.tell(Verdict::Ready(true));
                    }
                }
                Err(text) => {
                    successes = 0;
                    failures += 1;
                    if counts {
                        self.unhealthy("Readiness", &text, born);
                    }
                    if ready && failures >= timing.failures {
                        ready = false;
                        self.tell(Verdict::Ready(false));
                    }
                }
            }
            pace.wait(!was_ready && successes == 0).await;
        }
    }

    async fn liveness(&self, probe: &Probe, born: Instant) {
        let timing = Timing::of(probe);
        sleep_until(born + timing.initial_delay).await;
        let mut failures = 0;
        while failures < timing.failures {
            match look(&self.target, probe).await {
                Ok(()) => failures = 0,
                Err(text) => {
                    failures += 1;
                    self.unhealthy("Liveness", &text, born);
                }
            }
            if failures < timing.failures {
                sleep(timing.period).await;
            }
        }
        self.kill("liveness", probe);
    }

    fn kill(&self, kind: &str, probe: &Probe) {
        let name = &self.container.name;
        let message = format!("Container {name} failed {kind} probe, will be restarted");
        self.tell(Verdict::Kill { message, grace: probe.termination_grace_period_seconds });
    }

    fn unhealthy(&self, kind: &str, text: &str, born: Instant) {
        if born.elapsed() < STARTING {
            return;
        }
        let text = format!("{kind} probe failed: {text}");
        self.context.events.warning(&self.pod, Some(&self.container.name), "Unhealthy", text);
    }

    fn tell(&self, verdict: Verdict) {
        let report = ProbeReport { id: self.target.container.clone(), verdict };
        // Without a worker there is nobody to tell, and this task is about to be ended.
        let _ = self.mailbox.send(Wake::Probe(report));
    }
}

impl Timing {
    fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| {
            value.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(default)
        };
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        Self {
            initial_delay: seconds(number(probe.initial_delay_seconds, 0)),
            period: seconds(number(probe.period_seconds, 10)),
            successes: number(probe.success_threshold, 1),
            failures: number(probe.failure_threshold, 3),
        }
    }
}

impl Pace {
    fn new(period: Duration) -> Self {
        Self { regular: Instant::now(), early: EARLY, period }
    }

    /// Whether the look that begins now is one of the regular ones.
    fn counts(&mut self) -> bool {
        let now = Instant::now();
        let counts = now >= self.regular;
        if counts {
            self.regular = now + self.period;
        }
        counts
    }

    /// Until the next look; with `eager` not always a regular one.
    async fn wait(&mut self, eager: bool) {
        if !eager {
            return sleep_until(self.regular).await;
        }
        sleep_until(self.regular.min(Instant::now() + self.early)).await;
        self.early = (self.early * 2).min(self.period);
    }
}

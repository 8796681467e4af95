//! What admission counts, under Kubernetes' names (`apiserver/pkg/admission/metrics`). A plugin that
//! is asked costs a look at the clock and two additions; what is said of webhooks is looked up, which
//! beside their calls is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Attributes, Operation};
use crate::metrics::{Histogram, Table, title};

/// Upper bounds, in seconds.
const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Of webhooks.
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Codes above are counted as this one.
const HIGHEST_CODE: u16 = 600;

const OPERATIONS: [Operation; 4] =
    [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];

/// Which half of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Admit,
    Validate,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }

    /// Of webhooks, which have a name of their own for it.
    fn of_webhooks(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validating",
        }
    }
}

/// By step, operation and whether it was refused.
struct Series([[[Histogram; 2]; 4]; 2]);

impl Series {
    fn new() -> Self {
        let one = || Histogram::new(SECONDS);
        let operations = || std::array::from_fn(|_| [one(), one()]);
        Self([operations(), operations()])
    }

    fn observe(&self, step: Step, operation: Operation, refused: bool, took: Duration) {
        self.0[step as usize][operation as usize][usize::from(refused)].observe(took.as_secs_f64());
    }

    /// Each with its labels.
    fn each(&self, mut show: impl FnMut(&Histogram, String)) {
        for (step, operations) in [Step::Admit, Step::Validate].into_iter().zip(&self.0) {
            for (operation, both) in OPERATIONS.into_iter().zip(operations) {
                for (refused, histogram) in [false, true].into_iter().zip(both) {
                    let labels = format!(
                        "operation=\"{}\",rejected=\"{refused}\",type=\"{}\"",
                        operation.as_str(),
                        step.as_str()
                    );
                    show(histogram, labels);
                }
            }
        }
    }
}

/// How a webhook was called: its name, half, operation, and whether that refused the request.
type Called = (Arc<str>, &'static str, &'static str, bool);

struct Calls(Histogram);

impl Default for Calls {
    fn default() -> Self {
        Self(Histogram::new(WEBHOOK_SECONDS))
    }
}

/// See the module.
pub(super) struct Metrics {
    steps: Series,
    /// One for each plugin that is on, in their order.
    plugins: Vec<(&'static str, Series)>,
    webhooks: Table<Called, Calls>,
    codes: Table<(Called, u16), AtomicU64>,
    /// With what kind of error it was, and the code of the refusal.
    rejections: Table<(Called, &'static str, u16), AtomicU64>,
    fail_open: Table<(Arc<str>, &'static str), AtomicU64>,
}

/// How a call of a webhook ended.
pub(super) enum Outcome {
    /// It let the request pass.
    Passed,
    /// It said no, with this code.
    Refused(u16),
    /// It could not be asked or understood, which ends the request unless `ignored`.
    Failed {
        /// The failure policy lets the request go on.
        ignored: bool,
    },
    /// What it said could not be done.
    Broken,
}

impl Metrics {
    pub(super) fn new(plugins: impl Iterator<Item = &'static str>) -> Self {
        Self {
            steps: Series::new(),
            plugins: plugins.map(|name| (name, Series::new())).collect(),
            webhooks: Table::default(),
            codes: Table::default(),
            rejections: Table::default(),
            fail_open: Table::default(),
        }
    }

    /// A half is done.
    pub(super) fn step(&self, step: Step, of: &Attributes<'_>, refused: bool, began: Instant) {
        self.steps.observe(step, of.operation, refused, began.elapsed());
    }

    /// The plugin at this place has answered; gives the time, at which the next one begins.
    pub(super) fn plugin(
        &self,
        (at, step): (usize, Step),
        of: &Attributes<'_>,
        refused: bool,
        began: Instant,
    ) -> Instant {
        let now = Instant::now();
        if let Some((_, series)) = self.plugins.get(at) {
            series.observe(step, of.operation, refused, now.saturating_duration_since(began));
        }
        now
    }

    /// A webhook has answered, or not.
    pub(super) fn webhook(
        &self,
        (name, step): (&str, Step),
        of: &Attributes<'_>,
        took: Duration,
        outcome: &Outcome,
    ) {
        let name: Arc<str> = name.into();
        let operation = of.operation.as_str();
        let (code, refused, error) = match outcome {
            Outcome::Passed => (200, false, None),
            Outcome::Refused(code) => (*code, true, Some("no_error")),
            Outcome::Failed { ignored } => (500, !ignored, Some("calling_webhook_error")),
            Outcome::Broken => (500, true, Some("apiserver_internal_error")),
        };
        let code = code.min(HIGHEST_CODE);
        let called = (Arc::clone(&name), step.as_str(), operation, refused);
        self.webhooks.of(called.clone()).0.observe(took.as_secs_f64());
        self.codes.of((called.clone(), code)).fetch_add(1, Ordering::Relaxed);
        if let Some(error) = error {
            let called = (Arc::clone(&name), step.of_webhooks(), operation, refused);
            // Only what it said itself has a code here.
            let code = if error == "no_error" { code } else { 0 };
            self.rejections.of((called, error, code)).fetch_add(1, Ordering::Relaxed);
        }
        if matches!(outcome, Outcome::Failed { ignored: true }) {
            self.fail_open.of((name, step.of_webhooks())).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// In the text format of Prometheus.
    pub(super) fn write(&self, out: &mut String) {
        use std::fmt::Write;
        let name = "apiserver_admission_step_admission_duration_seconds";
        title(out, name, "histogram", "How long the halves of admission took.");
        self.steps.each(|histogram, labels| histogram.write(name, &labels, out));
        let name = "apiserver_admission_step_admission_duration_seconds_summary";
        title(out, name, "summary", "How long the halves of admission took, in all.");
        self.steps.each(|histogram, labels| histogram.write_sum(name, &labels, out));
        let name = "apiserver_admission_controller_admission_duration_seconds";
        title(out, name, "histogram", "How long plugins took that were asked.");
        for (plugin, series) in &self.plugins {
            series.each(|histogram, labels| {
                histogram.write(name, &format!("name=\"{plugin}\",{labels}"), out);
            });
        }
        let labels = |(hook, step, operation, refused): &Called| {
            let hook = escaped(hook);
            format!(
                "name=\"{hook}\",operation=\"{operation}\",rejected=\"{refused}\",type=\"{step}\""
            )
        };
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        title(out, name, "histogram", "How long webhooks took.");
        for (called, calls) in self.webhooks.sorted() {
            calls.0.write(name, &labels(&called), out);
        }
        let name = "apiserver_admission_webhook_request_total";
        title(out, name, "counter", "Calls of webhooks.");
        for ((called, code), count) in self.codes.sorted() {
            let (labels, count) = (labels(&called), count.load(Ordering::Relaxed));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{{code=\"{code}\",{labels}}} {count}");
        }
        let name = "apiserver_admission_webhook_rejection_count";
        title(out, name, "counter", "Calls of webhooks that refused or failed.");
        for (((hook, step, operation, _), error, code), count) in self.rejections.sorted() {
            let (hook, count) = (escaped(&hook), count.load(Ordering::Relaxed));
            let _ = writeln!(
                out,
                "{name}{{error_type=\"{error}\",name=\"{hook}\",operation=\"{operation}\",\
                 rejection_code=\"{code}\",type=\"{step}\"}} {count}"
            );
        }
        let name = "apiserver_admission_webhook_fail_open_count";
        title(out, name, "counter", "Failures of webhooks that stopped nothing.");
        for ((hook, step), count) in self.fail_open.sorted() {
            let (hook, count) = (escaped(&hook), count.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{name=\"{hook}\",type=\"{step}\"}} {count}");
        }
    }
}

/// A text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

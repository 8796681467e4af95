//! Admission webhooks: servers of the user's that are asked before a write.
//!
//! `configuration.rs` keeps the configurations ready to be matched, `invocation.rs` says whether a
//! hook is asked, this file asks: mutating hooks one after the other, validating ones at once.
//! Nothing here costs anything while there is no configuration.

mod configuration;
mod invocation;

use std::time::{Duration, Instant};

use futures::future::join_all;
use onggi_api::Status;
use onggi_machinery::admission::review::{self, Answer, Question};
use onggi_machinery::patch::{self, PatchType};
use serde_json::{Value, json};

use super::metrics::{Outcome, Step};
use super::rounds::Rounds;
use super::{Attributes, matching, versions};
use crate::registry::Registry;
pub(super) use configuration::Configurations;
use configuration::Hook;
use invocation::Invocation;

/// Why a hook gave no answer that counts.
#[allow(clippy::large_enum_variant, reason = "the end of a request, taken apart at once")]
enum Failure {
    /// It could not be asked, or its answer could not be read: its failure policy decides.
    Call(String),
    /// It said no, or the request fails whatever its policy is.
    Refusal(Status),
}

/// Configurations of webhooks and of policies are never shown to webhooks and policies: a wrong one
/// could not be taken away again.
pub(super) fn is_exempt(attributes: &Attributes<'_>) -> bool {
    attributes.row.group == "admissionregistration.k8s.io"
}

/// The mutating hooks, in order.
pub(super) async fn mutate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &mut Value,
    rounds: &mut Rounds,
) -> Result<(), Status> {
    let hooks = registry.admission.configurations.mutating(registry)?;
    if hooks.is_empty() || is_exempt(attributes) {
        return Ok(());
    }
    let number = rounds.number;
    rounds.hooks.begin(number, object);
    for (index, hook) in hooks.iter().enumerate() {
        let invoked = invocation::invocation(registry, hook, attributes, object).await?;
        let admitted = rounds.hooks.admits(number, &hook.id);
        let Some(invocation) = invoked.filter(|_| admitted) else { continue };
        let began = Instant::now();
        let asked = ask_to_mutate(registry, attributes, &invocation, object, (number, index)).await;
        let took = began.elapsed();
        attributes.context.notes.waited(took);
        count(registry, attributes, (hook, Step::Admit), took, asked.as_ref().err());
        match asked {
            Ok(true) => {
                rounds.hooks.ask_again();
                rounds.changed = true;
            }
            Ok(false) => {}
            Err(failure) => settle(attributes, hook, failure, "mutation", (number, index))?,
        }
        if hook.reinvoke {
            rounds.hooks.asked(&hook.id);
        }
    }
    rounds.hooks.end(object);
    Ok(())
}

/// The validating hooks, all at once; the first refusal in their order counts.
pub(super) async fn validate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    let hooks = registry.admission.configurations.validating(registry)?;
    if hooks.is_empty() || is_exempt(attributes) {
        return Ok(());
    }
    let mut invocations = Vec::new();
    for hook in hooks.iter() {
        invocations.extend(invocation::invocation(registry, hook, attributes, object).await?);
    }
    let asking = invocations.iter().map(|invocation| async {
        let began = Instant::now();
        let answer = ask_to_validate(registry, attributes, invocation, object).await;
        let (hook, why) = (invocation.hook, answer.as_ref().err());
        count(registry, attributes, (hook, Step::Validate), began.elapsed(), why);
        answer
    });
    let began = Instant::now();
    let answers = join_all(asking).await;
    attributes.context.notes.waited(began.elapsed());
    for (index, (invocation, answer)) in invocations.iter().zip(answers).enumerate() {
        if let Err(failure) = answer {
            settle(attributes, invocation.hook, failure, "validating", (0, index))?;
        }
    }
    Ok(())
}

async fn ask_to_validate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    invocation: &Invocation<'_>,
    object: &Value,
) -> Result<Answer, Failure> {
    let none = Value::Null;
    let shown = invocation.shown(registry, attributes, object).await?;
    let old = invocation.shown(registry, attributes, attributes.old.unwrap_or(&none)).await?;
    ask(registry, attributes, invocation, &shown, &old, false).await
}

fn count(
    registry: &Registry,
    attributes: &Attributes<'_>,
    (hook, step): (&Hook, Step),
    took: Duration,
    failure: Option<&Failure>,
) {
    let outcome = match failure {
        None => Outcome::Passed,
        Some(Failure::Refusal(status)) if status.code == 500 => Outcome::Broken,
        Some(Failure::Refusal(status)) => Outcome::Refused(status.code),
        Some(Failure::Call(_)) => Outcome::Failed { ignored: hook.ignores_failure },
    };
    registry.admission.metrics.webhook((&hook.name, step), attributes, took, &outcome);
}

/// A failure by the policy of the hook: let go, or the end of the request.
fn settle(
    attributes: &Attributes<'_>,
    hook: &Hook,
    failure: Failure,
    kind: &str,
    (round, index): (usize, usize),
) -> Result<(), Status> {
    match failure {
        Failure::Refusal(status) => Err(status),
        Failure::Call(why) if hook.ignores_failure => {
            tracing::warn!(webhook = hook.name, why, "a webhook failed; the request goes on");
            let key =
                format!("failed-open.{kind}.webhook.admission.k8s.io/round_{round}_index_{index}");
            attributes.context.notes.annotate(key, hook.name.clone());
            Ok(())
        }
        Failure::Call(why) => {
            Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
        }
    }
}

/// Asks a mutating hook and does what it says; whether the object has changed.
async fn ask_to_mutate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    invocation: &Invocation<'_>,
    object: &mut Value,
    (round, index): (usize, usize),
) -> Result<bool, Failure> {
    let none = Value::Null;
    let hook = invocation.hook;
    let shown = invocation.shown(registry, attributes, object).await?;
    let old = invocation.shown(registry, attributes, attributes.old.unwrap_or(&none)).await?;
    let answer = ask(registry, attributes, invocation, &shown, &old, true).await?;
    let changed = match is_empty(&answer.patch)? {
        true => false,
        false if object.is_null() => {
            return Err(Failure::Refusal(Status::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for \
                 this operation",
                hook.name
            ))));
        }
        false => {
            let mut patched = shown.clone();
            patch::apply(PatchType::Json, None, &mut patched, &answer.patch)
                .map_err(|error| Failure::Refusal(Status::internal(error.reason())))?;
            let back = invocation.back(registry, attributes, patched).await?;
            let back = versions::readmit(registry, attributes, back)
                .map_err(|status| Failure::Refusal(Status::internal(status.message)))?;
            let changed = back != *object;
            *object = back;
            changed
        }
    };
    let said = json!({
        "configuration": hook.configuration, "webhook": hook.name, "mutated": changed,
    });
    let key = format!("mutation.webhook.admission.k8s.io/round_{round}_index_{index}");
    attributes.context.notes.annotate(key, said.to_string());
    Ok(changed)
}

/// Whether a patch does nothing.
fn is_empty(patch: &[u8]) -> Result<bool, Failure> {
    if patch.is_empty() {
        return Ok(true);
    }
    match serde_json::from_slice::<Vec<Value>>(patch) {
        Ok(operations) => Ok(operations.is_empty()),
        Err(error) => {
            Err(Failure::Call(format!("received undecodable patch in webhook response: {error}")))
        }
    }
}

async fn ask(
    registry: &Registry,
    attributes: &Attributes<'_>,
    invocation: &Invocation<'_>,
    object: &Value,
    old: &Value,
    mutating: bool,
) -> Result<Answer, Failure> {
    let hook = invocation.hook;
    if attributes.dry_run() && hook.has_side_effects {
        return Err(Failure::Refusal(review::no_dry_run(&hook.name)));
    }
    let uid = uuid::Uuid::new_v4().to_string();
    let user = attributes.user().to_value();
    let question = Question {
        uid: &uid,
        kind: matching::kind_in(attributes, invocation.row),
        target: matching::target_in(attributes, invocation.row),
        request_kind: attributes.kind(),
        request_version: attributes.row.version,
        user: &user,
        object,
        old_object: old,
        dry_run: attributes.dry_run(),
        options: &attributes.options_value(),
    };
    let review = review::review(hook.version, &question);
    let seconds = hook.timeout;
    let query = format!("timeout={seconds}s");
    let answered = registry
        .webhooks
        .call(&registry.cache, &hook.client_config, &query, &review, Duration::from_secs(seconds))
        .await
        .map_err(|error| Failure::Call(error.to_string()))?;
    let answer = review::answer(hook.version, &uid, mutating, &answered)
        .map_err(|why| Failure::Call(format!("received invalid webhook response: {why}")))?;
    let notes = &attributes.context.notes;
    for (key, value) in &answer.annotations {
        notes.annotate(format!("{}/{key}", hook.name), value.clone());
    }
    answer.warnings.iter().for_each(|warning| notes.warn(warning.clone()));
    if answer.allowed {
        return Ok(answer);
    }
    Err(Failure::Refusal(review::denied(&hook.name, &answer.result)))
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refusal(status)
    }
}

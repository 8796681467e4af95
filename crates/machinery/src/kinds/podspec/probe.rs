//! What is wrong with probes and life-cycle hooks.

use crate::validation::{At, Errors, names};

/// Exactly one handler of those allowed.
fn handler(holder: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    let set = holder.named(allowed);
    for (_, extra) in set.iter().skip(1) {
        errors.push(extra.forbidden("may not specify more than 1 handler type"));
    }
    match set.first() {
        None => errors.push(holder.required("must specify a handler type")),
        Some((name, action)) => match *name {
            "exec" => exec(action, errors),
            "httpGet" => http_get(action, errors),
            "tcpSocket" => action.child("port").port_or_name(errors),
            "grpc" => action.child("port").port_number(errors),
            _ => {}
        },
    }
}

fn exec(action: &At<'_>, errors: &mut Errors) {
    let command = action.child("command");
    if command.items().next().is_none() {
        errors.push(command.required(""));
    }
}

fn http_get(action: &At<'_>, errors: &mut Errors) {
    action.child("path").must_be_set(errors);
    action.child("port").port_or_name(errors);
    action.child("scheme").one_of(&["HTTP", "HTTPS"], errors);
    for header in action.each("httpHeaders") {
        header.child("name").must(names::http_header, errors);
    }
}

/// A probe; `kind` is its field. Only readiness may ask for several successes, only the others may
/// have a grace period.
pub(super) fn probe(probe: &At<'_>, kind: &str, errors: &mut Errors) {
    if !probe.is_set() {
        return;
    }
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        probe.child(field).not_negative(errors);
    }
    let grace = probe.child("terminationGracePeriodSeconds");
    if kind == "readinessProbe" {
        if grace.is_set() {
            errors.push(grace.invalid("must not be set for readinessProbes"));
        }
        return;
    }
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        errors.push(grace.invalid("must be greater than 0"));
    }
    let successes = probe.child("successThreshold");
    if successes.int().is_some_and(|count| count != 1) {
        errors.push(successes.invalid("must be 1"));
    }
}

/// `postStart` or `preStop`; `grace` is how long the pod has to end, in seconds.
pub(super) fn hook(hook: &At<'_>, grace: i64, errors: &mut Errors) {
    handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
    let seconds = hook.child("sleep.seconds");
    if seconds.int().is_some_and(|seconds| !(0..=grace).contains(&seconds)) {
        errors.push(seconds.invalid(format!(
            "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        )));
    }
}

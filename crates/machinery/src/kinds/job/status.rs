//! What is wrong with the status that a controller writes: a job that has ended stays so, and what
//! it counts only grows.

use serde_json::Value;

use super::has_condition;
use super::validate::parse_indexes;
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, i64_at, list_at, time_at};

pub(super) fn validate_update(job: &Value, old: &Value, errors: &mut Errors) {
    let status = At::root(job).child("status");
    counts(&status, errors);
    conditions(&status, errors);
    times(job, old, &status, errors);
    indexes(job, &status, errors);
    transitions(&status, at(old, "status"), errors);
}

fn counts(status: &At<'_>, errors: &mut Errors) {
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        status.child(field).not_negative(errors);
    }
    let ready = status.child("ready");
    let active = status.child("active").int().unwrap_or(0);
    if ready.int().is_some_and(|count| count > active) {
        errors.push(ready.invalid("cannot set more ready pods than active"));
    }
}

fn conditions(status: &At<'_>, errors: &mut Errors) {
    let has = |kind| has_condition(status.value, kind);
    let list = status.child("conditions");
    let mut wrong = |broken: bool, detail: &str| {
        if broken {
            errors.push(onggi_api::FieldError::invalid(&list.path, Value::Null, detail));
        }
    };
    let (complete, failed) = (has("Complete"), has("Failed"));
    let (target, met) = (has("FailureTarget"), has("SuccessCriteriaMet"));
    wrong(complete && failed, "cannot set Complete=True and Failed=true conditions");
    wrong(complete && target, "cannot set Complete=True and FailureTarget=true conditions");
    wrong(
        failed && !target,
        "cannot set Failed=True condition without the FailureTarget=true condition",
    );
    wrong(
        complete && !met,
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    );
    wrong(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    wrong(met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    if !(complete || failed) {
        return;
    }
    let active = status.child("active");
    if active.int().unwrap_or(0) > 0 {
        errors.push(active.invalid("active>0 is invalid for finished job"));
    }
    let terminating = status.child("terminating");
    if terminating.int().unwrap_or(0) > 0 {
        errors.push(terminating.invalid("terminating>0 is invalid for finished job"));
    }
    if !status.child("startTime").is_set() {
        errors.push(status.child("startTime").required("startTime is required for finished job"));
    }
    let uncounted = status.child("uncountedTerminatedPods");
    if ["succeeded", "failed"].iter().any(|f| !list_at(uncounted.value, f).is_empty()) {
        let detail = "uncountedTerminatedPods needs to be empty for finished job";
        errors.push(uncounted.invalid(detail));
    }
}

fn times(job: &Value, old: &Value, status: &At<'_>, errors: &mut Errors) {
    let (begun, ended) = (status.child("startTime"), status.child("completionTime"));
    let complete = has_condition(status.value, "Complete");
    if ended.is_set() && !complete {
        let detail = "cannot set completionTime when there is no Complete=True condition";
        errors.push(ended.invalid(detail));
    }
    if complete && !ended.is_set() {
        errors.push(ended.required("completionTime is required for Complete jobs"));
    }
    let time = |field| time_at(status.value, field);
    if let (Some(start), Some(end)) = (time("startTime"), time("completionTime"))
        && end < start
    {
        errors.push(ended.invalid("completionTime cannot be set before startTime"));
    }
    let earlier = at(old, "status.completionTime");
    if ended.is_set() && !earlier.is_null() && ended.value != earlier {
        errors.push(ended.invalid("completionTime cannot be mutated"));
    }
    let earlier = at(old, "status.startTime");
    if !earlier.is_null() && begun.value != earlier && !bool_at(job, "spec.suspend") {
        errors.push(begun.required("startTime cannot be removed for unsuspended job"));
    }
}

fn indexes(job: &Value, status: &At<'_>, errors: &mut Errors) {
    let indexed = crate::value::str_at(job, "spec.completionMode") == "Indexed";
    let (completed, failed) = (status.child("completedIndexes"), status.child("failedIndexes"));
    if !completed.text().is_empty() && !indexed {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(completed.invalid(detail));
    }
    let per_index = !at(job, "spec.backoffLimitPerIndex").is_null();
    if failed.is_set() && !per_index {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(failed.invalid(detail));
    }
    let Some(completions) = i64_at(job, "spec.completions") else { return };
    let mut read = |field: &At<'_>, name: &str| match parse_indexes(field.text(), completions) {
        Ok(intervals) => intervals,
        Err(why) => {
            errors.push(field.invalid(format!("error parsing {name}: {why}")));
            Vec::new()
        }
    };
    let done = read(&completed, "completedIndexes");
    let lost = if per_index { read(&failed, "failedIndexes") } else { Vec::new() };
    if let Some(index) = overlap(&done, &lost) {
        errors.push(
            failed.invalid(format!("failedIndexes and completedIndexes overlap at index: {index}")),
        );
    }
}

/// The first index that is in both; intervals ascend.
fn overlap(done: &[(i64, i64)], lost: &[(i64, i64)]) -> Option<i64> {
    let mut rest = lost.iter().peekable();
    done.iter().find_map(|(low, high)| {
        while rest.next_if(|(_, to)| to < low).is_some() {}
        rest.peek().filter(|(from, _)| from <= high).map(|(from, _)| *from.max(low))
    })
}

fn transitions(status: &At<'_>, old: &Value, errors: &mut Errors) {
    let list = status.child("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if has_condition(old, kind) && !has_condition(status.value, kind) {
            let detail = format!("cannot disable the terminal {kind}=True condition");
            errors.push(onggi_api::FieldError::invalid(&list.path, Value::Null, detail));
        }
    }
    if has_condition(old, "SuccessCriteriaMet")
        && !has_condition(status.value, "SuccessCriteriaMet")
    {
        let detail = "cannot disable the SuccessCriteriaMet=True condition";
        errors.push(onggi_api::FieldError::invalid(&list.path, Value::Null, detail));
    }
    for field in ["failed", "succeeded"] {
        let count = status.child(field);
        if count.int().unwrap_or(0) < i64_at(old, field).unwrap_or(0) {
            errors.push(count.invalid(format!("cannot decrease the {field} counter")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;
    use crate::kinds::testing::Dice;

    #[test]
    fn the_first_common_index() {
        let mut dice = Dice(7);
        for _ in 0..1000 {
            let mut intervals = || {
                let mut next = 0;
                let count = dice.roll(4);
                Vec::from_iter((0..count).map(|_| {
                    let low = next + dice.roll(4) as i64;
                    let high = low + dice.roll(3) as i64;
                    next = high + 1;
                    (low, high)
                }))
            };
            let (done, lost) = (intervals(), intervals());
            let within =
                |list: &[(i64, i64)], n: i64| list.iter().any(|(a, b)| (*a..=*b).contains(&n));
            let expected = (0..30).find(|n| within(&done, *n) && within(&lost, *n));
            assert_eq!(overlap(&done, &lost), expected, "{done:?} {lost:?}");
        }
    }
}

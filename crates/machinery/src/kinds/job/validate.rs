//! What is wrong with a job (`pkg/apis/batch/validation/validation.go`).

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use super::{CONTROLLER_UID, JOB_NAME, workload};
use crate::selector::LabelSelector;
use crate::validation::{At, Errors, labels, names};
use crate::value::{bool_at, str_at};

const INDEXED: &str = "Indexed";
const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Above so many completions an indexed job with a limit for each index has tighter bounds.
const MANY: i64 = 100_000;
const PARALLELISM_OF_MANY: i64 = 10_000;
const FAILED_INDEXES_OF_MANY: i64 = 10_000;
const RULES_MAX: usize = 20;
const INDEXES_TEXT_MAX: usize = 64 * 1024;

pub(super) fn validate(job: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(job);
    let spec = root.child("spec");
    generated(&root, &mut errors);
    self::spec(&spec, &mut errors);
    let selector = spec.child("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
    }
    labels::selector(&selector, &mut errors);
    let marks = spec.child("template.metadata.labels");
    if let Ok(wanted) = LabelSelector::from_object(selector.value)
        && selector.is_set()
        && !wanted.matches_value(marks.value)
    {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&marks.path, marks.value.clone(), detail));
    }
    let completions = spec.child("completions").int().unwrap_or(0);
    if is_indexed(&spec) && completions > 0 {
        // The index becomes part of the pod's host name.
        let name = root.child("metadata.name");
        let longest = format!("{}-{}", name.text(), completions - 1);
        if !names::dns1123_label(&longest).is_empty() {
            errors.push(
                name.invalid(format!(
                    "will not able to create pod with invalid DNS label: {longest}"
                )),
            );
        }
    }
    errors
}

fn is_indexed(spec: &At<'_>) -> bool {
    spec.child("completionMode").text() == INDEXED
}

/// The labels and the selector that the server makes are as it makes them.
fn generated(job: &At<'_>, errors: &mut Errors) {
    let selector = job.child("spec.selector");
    if bool_at(job.value, "spec.manualSelector") || !selector.is_set() {
        return;
    }
    let (uid, name) = (str_at(job.value, "metadata.uid"), str_at(job.value, "metadata.name"));
    let metadata = job.child("spec.template.metadata");
    let marks = metadata.child("labels");
    let mut expected = serde_json::Map::new();
    for (keys, value) in [(CONTROLLER_UID, uid), (JOB_NAME, name)] {
        // The older names first.
        for label in keys.into_iter().rev() {
            let path = marks.path.key(label);
            match marks.value.get(label).and_then(Value::as_str) {
                Some(found) if found == value => {}
                Some(_) => errors.push(FieldError::invalid(
                    &path,
                    marks.value.clone(),
                    format!("must be '{value}'"),
                )),
                None => {
                    errors.push(FieldError::required(&path, format!("must be '{value}'")));
                }
            }
            expected.insert(label.to_owned(), value.into());
        }
    }
    let wanted = LabelSelector::from_object(selector.value);
    if wanted.is_ok_and(|wanted| !wanted.matches_value(&Value::Object(expected))) {
        errors.push(selector.invalid("`selector` not auto-generated"));
    }
}

/// The rules for a job in the template of a CronJob.
pub(in crate::kinds) fn template(template: &At<'_>, errors: &mut Errors) {
    let spec = template.child("spec");
    self::spec(&spec, errors);
    let (selector, manual) = (spec.child("selector"), spec.child("manualSelector"));
    if selector.is_set() {
        errors.push(selector.invalid("`selector` will be auto-generated"));
    }
    if manual.flag() {
        errors.push(FieldError::not_supported(&manual.path, true, &["nil", "false"]));
    }
}

fn spec(spec: &At<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.child(field).not_negative(errors);
    }
    let per_index = spec.child("backoffLimitPerIndex");
    if spec.child("maxFailedIndexes").is_set() && !per_index.is_set() {
        errors.push(per_index.required("when maxFailedIndexes is specified"));
    }
    managed_by(&spec.child("managedBy"), errors);
    spec.child("completionMode").one_of(&["NonIndexed", INDEXED], errors);
    indexes(spec, errors);
    let failures = spec.child("podFailurePolicy");
    if failures.is_set() {
        failure_policy(&failures, spec, errors);
    }
    let success = spec.child("successPolicy");
    if success.is_set() {
        if is_indexed(spec) {
            success_policy(&success, spec, errors);
        } else {
            errors.push(success.invalid("requires indexed completion mode"));
        }
    }
    let replace = spec.child("podReplacementPolicy");
    let known: &[&str] =
        if failures.is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if replace.is_set() && !known.contains(&replace.text()) {
        errors.push(FieldError::not_supported(&replace.path, replace.text(), known));
    }
    let pod = workload::template(&spec.child("template"), errors);
    let policy = pod.child("restartPolicy");
    match policy.text() {
        "" | "Always" => {
            errors.push(policy.required("valid values: \"OnFailure\", \"Never\""));
        }
        "Never" => {}
        "OnFailure" if !failures.is_set() => {}
        "OnFailure" => errors
            .push(policy.invalid("only \"Never\" is supported when podFailurePolicy is specified")),
        other => {
            errors.push(FieldError::not_supported(&policy.path, other, &["OnFailure", "Never"]));
        }
    }
}

fn managed_by(by: &At<'_>, errors: &mut Errors) {
    const LONGEST: usize = 63;
    if !by.is_set() || !by.must_be_set(errors) {
        return;
    }
    match by.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            by.must(|_| names::dns1123_subdomain(host), errors);
        }
        _ => errors.push(by.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")")),
    }
    if by.text().len() > LONGEST {
        errors.push(FieldError::too_long(&by.path, LONGEST));
    }
}

fn indexes(spec: &At<'_>, errors: &mut Errors) {
    let (completions, parallelism, failed, per_index) = (
        spec.child("completions"),
        spec.child("parallelism"),
        spec.child("maxFailedIndexes"),
        spec.child("backoffLimitPerIndex"),
    );
    let mode = spec.child("completionMode");
    if !mode.is_set() || mode.text() == "NonIndexed" {
        for field in [per_index, failed].iter().filter(|field| field.is_set()) {
            errors.push(field.invalid("requires indexed completion mode"));
        }
        return;
    }
    if !is_indexed(spec) {
        return;
    }
    if !completions.is_set() {
        errors.push(completions.required("when completion mode is Indexed"));
    }
    let mut at_most = |field: &At<'_>, most: i64, detail: String| {
        if field.int().is_some_and(|number| number > most) {
            errors.push(field.invalid(detail));
        }
    };
    let detail = format!(
        "must be less than or equal to {PARALLELISM_MAX} when completion mode is {INDEXED}"
    );
    at_most(&parallelism, PARALLELISM_MAX, detail);
    if let Some(all) = completions.int() {
        at_most(&failed, all, "must be less than or equal to completions".to_owned());
    }
    let detail = format!("must be less than or equal to {FAILED_INDEXES_MAX}");
    at_most(&failed, FAILED_INDEXES_MAX, detail);
    if completions.int().is_none_or(|all| all <= MANY) || !per_index.is_set() {
        return;
    }
    let bound = |most: i64| {
        format!(
            "must be less than or equal to {most} when completions are above {MANY} and used with \
             backoff limit per index"
        )
    };
    at_most(&parallelism, PARALLELISM_OF_MANY, bound(PARALLELISM_OF_MANY));
    at_most(&failed, FAILED_INDEXES_OF_MANY, bound(FAILED_INDEXES_OF_MANY));
    if !failed.is_set() {
        let detail = format!("must be specified when completions is above {MANY}");
        errors.push(failed.required(detail));
    }
}

// === Policies ===

fn failure_policy(policy: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let rules = policy.child("rules");
    let count = rules.items().count();
    if count > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, count, RULES_MAX));
    }
    let containers: HashSet<&str> = ["template.spec.containers", "template.spec.initContainers"]
        .into_iter()
        .flat_map(|list| spec.each(list))
        .map(|container| container.child("name").text())
        .collect();
    for rule in rules.items() {
        failure_rule(&rule, spec, &containers, errors);
    }
}

/// `valid values: ["A" "B"]`, as Go prints a list.
fn choices(known: &[&str]) -> String {
    let list: Vec<String> = known.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", list.join(" "))
}

fn required_choice(field: &At<'_>, known: &[&str], errors: &mut Errors) {
    if field.text().is_empty() {
        errors.push(field.required(choices(known)));
    } else {
        field.one_of(known, errors);
    }
}

fn failure_rule(rule: &At<'_>, spec: &At<'_>, containers: &HashSet<&str>, errors: &mut Errors) {
    const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
    let action = rule.child("action");
    required_choice(&action, ACTIONS, errors);
    if action.text() == "FailIndex" && !spec.child("backoffLimitPerIndex").is_set() {
        errors.push(action.invalid("requires the backoffLimitPerIndex to be set"));
    }
    let (codes, conditions) = (rule.child("onExitCodes"), rule.child("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, containers, errors);
    }
    let count = conditions.items().count();
    if count > RULES_MAX {
        errors.push(FieldError::too_many(&conditions.path, count, RULES_MAX));
    }
    for condition in conditions.items() {
        condition.child("type").must(names::qualified_name, errors);
        required_choice(&condition.child("status"), &["False", "True", "Unknown"], errors);
    }
    let mut wrong = |detail: &str| {
        // Go shows no value here.
        let found = FieldError::invalid(&rule.path, Value::Null, detail);
        errors.push(FieldError { value: None, ..found });
    };
    match (codes.is_set(), count > 0) {
        (true, true) => {
            wrong("specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (false, false) => wrong("specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn exit_codes(codes: &At<'_>, containers: &HashSet<&str>, errors: &mut Errors) {
    const CODES_MAX: usize = 255;
    let operator = codes.child("operator");
    required_choice(&operator, &["In", "NotIn"], errors);
    let name = codes.child("containerName");
    if name.is_set() && !containers.contains(name.text()) {
        errors.push(
            name.invalid("must be one of the container or initContainer names in the pod template"),
        );
    }
    let values = codes.child("values");
    let all: Vec<i64> = values.items().filter_map(|value| value.int()).collect();
    if all.is_empty() {
        errors.push(values.invalid("at least one value is required"));
    } else if all.len() > CODES_MAX {
        errors.push(FieldError::too_many(&values.path, all.len(), CODES_MAX));
    }
    let mut seen = HashSet::new();
    for value in values.items() {
        if operator.text() == "In" && value.int() == Some(0) {
            errors.push(value.invalid("must not be 0 for the In operator"));
        }
        if !seen.insert(value.int()) {
            errors.push(value.duplicate());
        }
    }
    if !all.is_sorted() {
        errors.push(values.invalid("must be ordered"));
    }
}

fn success_policy(policy: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let rules = policy.child("rules");
    let count = rules.items().count();
    if count == 0 {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(rules.required(detail));
    }
    if count > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, count, RULES_MAX));
    }
    let completions = spec.child("completions").int().unwrap_or(0);
    for rule in rules.items() {
        success_rule(&rule, completions, errors);
    }
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut Errors) {
    let (count, indexes) = (rule.child("succeededCount"), rule.child("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(rule.required(detail));
    }
    let mut total = 0;
    if indexes.is_set() {
        if indexes.text().len() > INDEXES_TEXT_MAX {
            errors.push(FieldError::too_long(&indexes.path, INDEXES_TEXT_MAX));
        }
        match parse_indexes(indexes.text(), completions) {
            Ok(intervals) => total = intervals.iter().map(|(low, high)| high - low + 1).sum(),
            Err(why) => {
                errors.push(indexes.invalid(format!("error parsing succeededIndexes: {why}")));
            }
        }
    }
    count.not_negative(errors);
    let Some(number) = count.int() else { return };
    if number > completions {
        errors.push(count.invalid(format!(
            "must be less than or equal to {completions} (the number of specified completions)"
        )));
    }
    if indexes.is_set() && number > total {
        errors.push(count.invalid(format!(
            "must be less than or equal to {total} (the number of indexes in the specified \
             succeededIndexes field)"
        )));
    }
}

/// `1,3-5`: ascending intervals below `completions`.
pub(super) fn parse_indexes(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals = Vec::new();
    if text.is_empty() {
        return Ok(intervals);
    }
    let mut last: Option<i64> = None;
    for part in text.split(',') {
        let limits: Vec<&str> = part.split('-').collect();
        if limits.len() > 2 {
            return Err(format!(
                "the fragment {part:?} violates the requirement that an index interval can have at \
                 most two parts separated by '-'"
            ));
        }
        let number = |text: &str| -> Result<i64, String> {
            text.parse::<i64>()
                .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
        };
        let low = number(limits.first().copied().unwrap_or(""))?;
        if low >= completions {
            return Err(format!("too large index: {:?}", limits[0]));
        }
        if last.is_some_and(|last| low <= last) {
            return Err(format!(
                "non-increasing order, previous: {}, current: {low}",
                last.unwrap_or(0)
            ));
        }
        let high = limits.get(1).map_or(Ok(low), |high| number(high))?;
        if high >= completions {
            return Err(format!("too large index: {:?}", limits[1]));
        }
        if limits.len() == 2 && high <= low {
            return Err(format!("non-increasing order, previous: {low}, current: {high}"));
        }
        last = Some(high);
        intervals.push((low, high));
    }
    Ok(intervals)
}

//! `v1 Event`.

use onggi_api::FieldError;
use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, IMMUTABLE, names};
use crate::value::{at, i64_at, is_set, str_at, time_at};

/// How long a reason, an action or the name of an instance may be.
const WORD_MAX: usize = 128;
/// How long a message of the newer form may be.
const MESSAGE_MAX: usize = 1024;

/// What `events.k8s.io` calls `reportingComponent`.
const CONTROLLER: &str = "reportingController";

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    fields: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source=source.component|reportingComponent",
        "type",
    ],
    columns: &[
        Column::text("Last Seen"),
        Column::text("Type"),
        Column::text("Reason"),
        Column::text("Object"),
        Column::wide("Subobject"),
        Column::wide("Source"),
        Column::text("Message"),
        Column::wide("First Seen"),
        Column::wide("Count"),
        Column { priority: 1, ..Column::NAME },
    ],
    row,
    validate,
    ..Resource::BASE
};

fn row(event: &Value, now: i64) -> Vec<Value> {
    let time = |path| time_at(event, path);
    let first = time("firstTimestamp").or_else(|| time("eventTime"));
    let (last, count) = if is_set(event, "series") {
        (time("series.lastObservedTime"), i64_at(event, "series.count").unwrap_or(0))
    } else {
        // An event that happened once and was reported in the newer form has no count.
        let count = i64_at(event, "count").filter(|count| *count != 0).unwrap_or(1);
        (time("lastTimestamp").or(first), count)
    };
    let text = |path| Value::from(str_at(event, path));
    vec![
        table::since(last, now).into(),
        text("type"),
        text("reason"),
        about(event).into(),
        text("involvedObject.fieldPath"),
        source(event).into(),
        str_at(event, "message").trim().into(),
        table::since(first, now).into(),
        count.into(),
        table::name(event),
    ]
}

/// `pod/web-1`.
fn about(event: &Value) -> String {
    let kind = str_at(event, "involvedObject.kind").to_lowercase();
    match str_at(event, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

/// `kubelet, node-1`: who said it, and where.
fn source(event: &Value) -> String {
    let first_of = |a, b| table::text_or(str_at(event, a), str_at(event, b));
    let component = first_of("source.component", "reportingComponent");
    match first_of("source.host", "reportingInstance") {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}

// === Rules ===

/// An event stands in the namespace of what it is about, or in `default` for a cluster's object.
/// One that says when it was seen (`eventTime`) is of the newer form and says more.
fn validate(event: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(event);
    let about = root.child("involvedObject.namespace");
    let namespace = str_at(event, "metadata.namespace");
    let newer = is_set(event, "eventTime");
    let fits = match about.text() {
        "" => namespace == "default" || newer && namespace == "kube-system",
        // The newer form may be about anything.
        text => text == namespace || newer,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid(&about.path, about.text(), detail));
    }
    if !newer {
        return errors;
    }
    // Errors have the name of the newer form.
    let controller = root.child("reportingComponent");
    let path = root.path.child(CONTROLLER);
    if controller.text().is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    let wrong = names::qualified_name(controller.text()).into_iter();
    errors.extend(wrong.map(|detail| FieldError::invalid(&path, controller.text(), detail)));
    for field in ["reportingInstance", "action", "reason"] {
        let text = root.child(field);
        if text.must_be_set(&mut errors) && text.text().len() > WORD_MAX {
            let detail = format!("can have at most {WORD_MAX} characters");
            errors.push(FieldError::invalid(&text.path, "", detail));
        }
    }
    let message = root.child("message");
    if message.text().len() > MESSAGE_MAX {
        let detail = format!("can have at most {MESSAGE_MAX} characters");
        errors.push(FieldError::invalid(&message.path, "", detail));
    }
    errors
}

// === Of `events.k8s.io/v1` ===

/// Fields that only the older form has, and what errors call them.
const OLDER: &[&[&str]] = &[
    &["firstTimestamp", "firstTimestamp"],
    &["lastTimestamp", "lastTimestamp"],
    &["count", "count"],
    &["source.component", "source"],
    &["source.host", "source"],
];

/// A request in the newer version says when it was seen, and nothing in the older form.
pub fn validate_v1_create(event: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(event);
    series(&root, &mut errors);
    let time = root.child("eventTime");
    if !time.is_set() {
        errors.push(time.required(""));
    }
    let kind = root.child("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        let detail = format!("has invalid value: {}", kind.text());
        errors.push(FieldError::invalid(&kind.path, "", detail));
    }
    let mut said = "";
    for field in OLDER {
        let [path, shown] = field else { continue };
        if is_set(event, path) && *shown != said {
            errors.push(FieldError::invalid(&root.path.child(shown), "", "needs to be unset"));
            said = shown;
        }
    }
    errors
}

/// A request in the newer version may only go on counting.
pub fn validate_v1_update(event: &Value, old: &Value) -> Errors {
    const STAYS: &[&str] = &[
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    let mut errors = Errors::new();
    let root = At::root(event);
    if at(event, "series") != at(old, "series") {
        series(&root, &mut errors);
    }
    for field in STAYS {
        let now = root.child(field);
        if now.value != at(old, field) {
            let shown = if *field == "reportingComponent" { CONTROLLER } else { field };
            let path = root.path.child(shown);
            errors.push(FieldError::invalid(&path, now.value.clone(), IMMUTABLE));
        }
    }
    errors
}

fn series(event: &At<'_>, errors: &mut Errors) {
    let series = event.child("series");
    if !series.is_set() {
        return;
    }
    if series.child("count").int().unwrap_or(0) < 2 {
        let path = series.path.child("count");
        errors.push(FieldError::invalid(&path, "", "should be at least 2"));
    }
    let last = series.child("lastObservedTime");
    if !last.is_set() {
        errors.push(last.required(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{expect, yaml};

    const NEW: &str = "{eventTime: '2026-01-01T00:00:00.000000Z', type: Normal, reason: r}";

    #[test]
    fn of_the_newer_version() {
        for (event, expected) in [
            (NEW, &[][..]),
            (
                "{}",
                &["eventTime: Required value", "type: Invalid value: \"\": has invalid value: "],
            ),
            (
                "{eventTime: t, type: Odd, firstTimestamp: t, count: 1, source: {component: c, host: h}, series: {count: 1}}",
                &[
                    "series.count: Invalid value: \"\": should be at least 2",
                    "series.lastObservedTime: Required value",
                    "type: Invalid value: \"\": has invalid value: Odd",
                    "firstTimestamp: Invalid value: \"\": needs to be unset",
                    "count: Invalid value: \"\": needs to be unset",
                    "source: Invalid value: \"\": needs to be unset",
                ],
            ),
        ] {
            expect(&validate_v1_create(&yaml(event)), expected, event);
        }
        let old = yaml(NEW);
        for (event, expected) in [
            (NEW.to_owned(), &[][..]),
            (NEW.replace('}', ", series: {count: 2, lastObservedTime: t}}"), &[]),
            (
                NEW.replace('}', ", series: {count: 1, lastObservedTime: t}}"),
                &["series.count: Invalid"],
            ),
            (
                NEW.replace("reason: r", "reason: s, reportingComponent: c"),
                &[
                    "reason: Invalid value: \"s\": field is immutable",
                    "reportingController: Invalid value: \"c\": field is immutable",
                ],
            ),
        ] {
            expect(&validate_v1_update(&yaml(&event), &old), expected, &event);
        }
    }
}

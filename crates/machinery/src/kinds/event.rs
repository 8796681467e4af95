//! `v1 Event`.

use onggi_api::FieldError;
use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{i64_at, is_set, str_at, time_at};

/// How long a reason, an action or the name of an instance may be.
const WORD_MAX: usize = 128;
/// How long a message of the newer form may be.
const MESSAGE_MAX: usize = 1024;

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
    let controller = root.child("reportingComponent");
    if controller.must_be_set(&mut errors) {
        controller.must(names::qualified_name, &mut errors);
    }
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

//! Which names a definition gets: two kinds of a group must not bear the same name. The first who
//! asks has them (`apiextensions-apiserver/pkg/controller/status`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::definition::Names;
use crate::value::{at, find, list_at, str_at};

/// The condition that the names were given.
pub const NAMES_ACCEPTED: &str = "NamesAccepted";
/// The condition that it is served.
pub const ESTABLISHED: &str = "Established";
/// The condition that it is going.
pub const TERMINATING: &str = "Terminating";

/// What others of the group are called already.
#[derive(Debug, Default)]
struct Taken<'a> {
    resources: BTreeSet<&'a str>,
    kinds: BTreeSet<&'a str>,
}

/// A complaint: the reason and message of the condition.
type Conflict = Option<(&'static str, String)>;

/// The status that a definition should have: `acceptedNames`, the conditions `NamesAccepted` and
/// `Established`. `others` are the names that others of the group have; `now` is RFC 3339 in UTC.
pub fn status(definition: &Value, others: &[&Names], now: &str) -> Value {
    let mut taken = Taken::default();
    for names in others {
        for resource in [&names.plural, &names.singular].into_iter().chain(&names.short_names) {
            taken.resources.insert(resource);
        }
        taken.kinds.extend([names.kind.as_str(), names.list_kind.as_str()]);
    }
    let old = at(definition, "status");
    let (names, conflict) = accept(at(definition, "spec.names"), at(old, "acceptedNames"), &taken);
    let mut status = match old {
        Value::Object(_) => old.clone(),
        _ => json!({}),
    };
    status["acceptedNames"] = names;
    let mut conditions = list_at(old, "conditions").to_vec();
    let established =
        find(&conditions, "type", ESTABLISHED).map(|c| str_at(c, "status")) == Some("True");
    match &conflict {
        None => set_condition(
            &mut conditions,
            (NAMES_ACCEPTED, "True"),
            ("NoConflicts", "no conflicts found"),
            now,
        ),
        Some((reason, message)) => {
            set_condition(&mut conditions, (NAMES_ACCEPTED, "False"), (reason, message), now);
        }
    }
    if conflict.is_none() && !established {
        let why = ("InitialNamesAccepted", "the initial names have been accepted");
        set_condition(&mut conditions, (ESTABLISHED, "True"), why, now);
    } else if conflict.is_some() && find(&conditions, "type", ESTABLISHED).is_none() {
        let why = ("NotAccepted", "not all names are accepted");
        set_condition(&mut conditions, (ESTABLISHED, "False"), why, now);
    }
    status["conditions"] = conditions.into();
    status
}

/// Sets a condition; its time stays where its status stays.
pub fn set_condition(
    conditions: &mut Vec<Value>,
    (kind, state): (&str, &str),
    (reason, message): (&str, &str),
    now: &str,
) {
    let known = conditions.iter_mut().find(|condition| str_at(condition, "type") == kind);
    let since = match &known {
        Some(old) if str_at(old, "status") == state => str_at(old, "lastTransitionTime").to_owned(),
        _ => now.to_owned(),
    };
    let new = json!({
        "type": kind,
        "status": state,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    });
    match known {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// The names it gets: each of the wanted ones that is free, else the one it has.
fn accept(wanted: &Value, has: &Value, taken: &Taken<'_>) -> (Value, Conflict) {
    let mut names = has.as_object().cloned().unwrap_or_default();
    let mut conflict: Conflict = None;
    let mut complain = |reason, text: &str| {
        // The last one found is told.
        conflict = Some((reason, format!("{text:?} is already in use")));
    };
    let fields = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
    ];
    let kinds =
        [("kind", "KindConflict", &taken.kinds), ("listKind", "ListKindConflict", &taken.kinds)];
    let set = |names: &mut serde_json::Map<String, Value>, field: &str, value: &Value| {
        match value {
            Value::Null => names.remove(field),
            value => names.insert(field.to_owned(), value.clone()),
        };
    };
    for (field, reason, used) in fields {
        let text = str_at(wanted, field);
        if !text.is_empty() && used.contains(text) {
            complain(reason, text);
        } else {
            set(&mut names, field, at(wanted, field));
        }
    }
    let short = list_at(wanted, "shortNames").iter().filter_map(Value::as_str);
    let used: Vec<&str> = short.filter(|name| taken.resources.contains(name)).collect();
    if used.is_empty() {
        set(&mut names, "shortNames", at(wanted, "shortNames"));
    } else {
        for name in used {
            complain("ShortNamesConflict", name);
        }
    }
    for (field, reason, used) in kinds {
        let text = str_at(wanted, field);
        if !text.is_empty() && used.contains(text) {
            complain(reason, text);
        } else {
            set(&mut names, field, at(wanted, field));
        }
    }
    set(&mut names, "categories", at(wanted, "categories"));
    // The object must have them even before any was accepted.
    for field in ["plural", "kind"] {
        names.entry(field).or_insert_with(|| "".into());
    }
    (names.into(), conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &str) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.a.b")},
            "spec": {"group": "a.b", "names": {"plural": plural, "singular": plural, "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": [short]}},
        })
    }

    #[test]
    fn the_first_has_the_names() {
        let mut first = definition("foos", "Foo", "f");
        first["status"] = status(&first, &[], "T");
        assert_eq!(first["status"]["acceptedNames"], first["spec"]["names"]);
        let of = |object: &Value, kind| {
            let c = find(list_at(object, "status.conditions"), "type", kind).cloned().unwrap();
            format!("{} {} {}", str_at(&c, "status"), str_at(&c, "reason"), str_at(&c, "message"))
        };
        assert_eq!(of(&first, NAMES_ACCEPTED), "True NoConflicts no conflicts found");
        assert_eq!(
            of(&first, ESTABLISHED),
            "True InitialNamesAccepted the initial names have been accepted"
        );
        let mut second = definition("bars", "Foo", "f");
        second["status"] =
            status(&second, &[&Names::read(at(&first, "status.acceptedNames"))], "T");
        assert_eq!(
            of(&second, NAMES_ACCEPTED),
            "False ListKindConflict \"FooList\" is already in use"
        );
        assert_eq!(of(&second, ESTABLISHED), "False NotAccepted not all names are accepted");
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bars");
        // The first goes.
        second["status"] = status(&second, &[], "U");
        assert!(of(&second, ESTABLISHED).starts_with("True"));
        let again = status(&second, &[], "V");
        assert_eq!(again, second["status"]);
    }
}

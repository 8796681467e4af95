//! `metav1.Condition` in the status of newer kinds.

use onggi_api::FieldError;

use super::{At, Errors, duplicates, names};

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;

/// A list of conditions: one a type, each whole.
pub fn conditions(conditions: &At<'_>, errors: &mut Errors) {
    duplicates(conditions.items(), "type", errors);
    for condition in conditions.items() {
        one(&condition, errors);
    }
}

fn one(condition: &At<'_>, errors: &mut Errors) {
    condition.child("type").must(names::qualified_name, errors);
    let status = condition.child("status");
    let known = ["False", "True", "Unknown"];
    if !known.contains(&status.text()) {
        errors.push(FieldError::not_supported(&status.path, status.text(), &known));
    }
    let generation = condition.child("observedGeneration");
    if generation.int().is_some_and(|number| number < 0) {
        errors.push(generation.invalid("must be greater than or equal to zero"));
    }
    let since = condition.child("lastTransitionTime");
    if !since.is_set() {
        errors.push(since.required("must be set"));
    }
    let reason = condition.child("reason");
    if reason.text().is_empty() {
        errors.push(reason.required("must be set"));
    } else {
        reason.must(is_reason, errors);
        reason.at_most(REASON_MAX, errors);
    }
    condition.child("message").at_most(MESSAGE_MAX, errors);
}

fn is_reason(text: &str) -> Vec<String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':');
    if text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(inner)
    {
        return Vec::new();
    }
    vec![
        "a condition reason must start with alphabetic character, optionally followed by a string \
         of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' \
         (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or \
         'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{expect, yaml};

    #[test]
    fn whole_and_broken() {
        let object = yaml(
            "[{type: a, status: 'True', reason: A, lastTransitionTime: '2026-01-01T00:00:00Z'},
              {type: a, status: x, reason: '1', observedGeneration: -1}, {type: b, status: 'True'}]",
        );
        let mut errors = Errors::new();
        conditions(&At::new(&object, onggi_api::FieldPath::new("c")), &mut errors);
        expect(
            &errors,
            &[
                "c[1].type: Duplicate value: \"a\"",
                "c[1].status: Unsupported value: \"x\": supported values: \"False\"",
                "c[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
                "c[1].lastTransitionTime: Required value: must be set",
                "c[1].reason: Invalid value: \"1\": a condition reason must start",
                "c[2].lastTransitionTime: Required value: must be set",
                "c[2].reason: Required value: must be set",
            ],
            "conditions",
        );
    }
}

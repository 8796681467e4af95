//! Labels and label selectors.

use serde_json::Value;

use super::{At, Errors, names};
use crate::value::{entries_at, list_at};

/// Keys and values of labels, and of maps that select by them.
pub fn labels(labels: &At<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        // Kubernetes names the map, not the key, in the path.
        let complaint = |text: &str, detail| {
            onggi_api::FieldError::invalid(&labels.path, text.to_owned(), detail)
        };
        errors.extend(names::qualified_name(key).into_iter().map(|e| complaint(key, e)));
        let text = value.text();
        errors.extend(names::label_value(text).into_iter().map(|e| complaint(text, e)));
    }
}

/// A `metav1.LabelSelector`.
pub fn selector(selector: &At<'_>, errors: &mut Errors) {
    labels(&selector.child("matchLabels"), errors);
    for expression in selector.each("matchExpressions") {
        let key = expression.child("key");
        let (operator, values) = (expression.child("operator"), expression.child("values"));
        let count = values.items().count();
        match operator.text() {
            "In" | "NotIn" if count == 0 => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"))
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                errors.push(values.forbidden(
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ))
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        key.must(names::qualified_name, errors);
        for value in values.items() {
            value.must(names::label_value, errors);
        }
    }
}

/// Whether keys and values of a selector are such as labels have (`LabelSelectorAsSelector`).
pub fn can_be_read(selector: &At<'_>) -> bool {
    let mut errors = Errors::new();
    labels(&selector.child("matchLabels"), &mut errors);
    self::selector(selector, &mut errors);
    errors.is_empty()
}

/// Whether a selector asks for nothing, and so selects everything.
pub fn selects_everything(selector: &Value) -> bool {
    entries_at(selector, "matchLabels").next().is_none()
        && list_at(selector, "matchExpressions").is_empty()
}

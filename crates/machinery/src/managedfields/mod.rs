//! Field ownership and server-side apply (`metadata.managedFields`).
//!
//! A [`FieldSet`] is a set of fields as `fieldsV1` writes it; an [`Entry`] says which manager owns
//! which set; [`Managed`] are all entries of an object. A [`Writer`] is who writes:
//! [`Writer::created`] (as text: [`Writer::created_text`]) and [`Writer::updated`] give what changed to who changed it,
//! [`Writer::applied`] merges a configuration. A [`Type`] says which values are owned as a whole and
//! which by their parts, for built-in and for custom kinds. Everything is pure; the behaviour is
//! that of `k8s.io/apimachinery/pkg/util/managedfields` and of structured-merge-diff.

mod apply;
mod compare;
mod element;
mod entries;
mod fields;
mod merge;
#[cfg(test)]
mod model;
mod reconcile;
mod reset;
pub mod scale;
mod set;
#[cfg(test)]
mod tests;
mod types;
mod unowned;
mod update;
mod validate;
mod versions;
mod written;

pub use apply::{Applied, ApplyError, Conflict, check_kind};
pub use entries::{Entry, Id, Managed, Operation, Sent, put, same_but_times, take};
pub use reset::{reset_fields, status_keeps};
pub use set::FieldSet;
pub use types::{Structural, Type};
pub use unowned::merged;
pub use update::Writer;
pub use versions::Versions;

use crate::validation::Errors;
use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

/// The longest name of a manager, in bytes.
pub const MANAGER_MAX: usize = 128;
const SUBRESOURCE_MAX: usize = 256;

/// The manager of a write: what the client says, or the first part of its user agent.
pub fn manager_of(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars() {
        if c.is_control() {
            continue;
        }
        if name.len() + c.len_utf8() > MANAGER_MAX {
            break;
        }
        name.push(c);
    }
    name
}

/// What is wrong with the name of a manager.
pub fn validate_manager(manager: &str, path: &FieldPath) -> Errors {
    let mut errors = Errors::new();
    if manager.len() > MANAGER_MAX {
        errors.push(FieldError::too_long(path, MANAGER_MAX));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let code = format!("U+{:04X}", u32::from(c));
        let detail = format!("invalid character {code} (at position {at})");
        errors.push(FieldError::invalid(path, manager, detail));
    }
    errors
}

/// What is wrong with `metadata.managedFields` of an object that is to be stored.
pub fn validate(list: &Value, path: &FieldPath) -> Errors {
    let mut errors = Errors::new();
    for (at, entry) in list.as_array().into_iter().flatten().enumerate() {
        let path = path.index(at);
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("operation") {
            "Apply" | "Update" => {}
            "" => errors.push(FieldError::required(&path.child("operation"), "must not be empty")),
            other => errors.push(FieldError::not_supported(
                &path.child("operation"),
                other,
                &["Apply", "Update"],
            )),
        }
        let kind = text("fieldsType");
        if !matches!(kind, "" | "FieldsV1") {
            let field = path.child("fieldsType");
            errors.push(FieldError::invalid(&field, kind, "must be `FieldsV1`"));
        }
        errors.extend(validate_manager(text("manager"), &path.child("manager")));
        if text("subresource").len() > SUBRESOURCE_MAX {
            errors.push(FieldError::too_long(&path.child("subresource"), SUBRESOURCE_MAX));
        }
    }
    errors
}

//! Requests for certificates: the subresource `approval`, and the times of conditions.

use onggi_api::FieldError;
use onggi_machinery::kinds::certificatesigningrequest as kind;
use serde_json::Value;

use super::Hooks;

pub(super) struct Certificates;

impl Hooks for Certificates {
    fn prepare_part(&self, part: &str, new: &mut Value, old: &Value, now: &str) {
        if part == "approval" {
            kind::prepare_approval(new, old);
        }
        kind::stamp_conditions(new, old, now);
    }

    fn validate_part(&self, part: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        if part == "approval" { kind::validate_approval(new, old) } else { Vec::new() }
    }
}

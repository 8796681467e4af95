//! `Status`: how the API says that something went wrong (`meta/v1 Status`), exactly as Kubernetes'
//! clients expect it. The one error type that crosses the transport.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field::FieldError;

/// Machine-readable reasons (`metav1.StatusReason`).
pub type Reason = &'static str;

/// The reasons that clients compare with.
pub mod reason {
    #![allow(missing_docs, reason = "the names are the meaning; see metav1.StatusReason")]
    pub const UNAUTHORIZED: &str = "Unauthorized";
    pub const FORBIDDEN: &str = "Forbidden";
    pub const NOT_FOUND: &str = "NotFound";
    pub const ALREADY_EXISTS: &str = "AlreadyExists";
    pub const CONFLICT: &str = "Conflict";
    pub const GONE: &str = "Gone";
    pub const EXPIRED: &str = "Expired";
    pub const INVALID: &str = "Invalid";
    pub const SERVER_TIMEOUT: &str = "ServerTimeout";
    pub const TIMEOUT: &str = "Timeout";
    pub const TOO_MANY_REQUESTS: &str = "TooManyRequests";
    pub const BAD_REQUEST: &str = "BadRequest";
    pub const METHOD_NOT_ALLOWED: &str = "MethodNotAllowed";
    pub const NOT_ACCEPTABLE: &str = "NotAcceptable";
    pub const REQUEST_ENTITY_TOO_LARGE: &str = "RequestEntityTooLarge";
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "UnsupportedMediaType";
    pub const INTERNAL_ERROR: &str = "InternalError";
    pub const SERVICE_UNAVAILABLE: &str = "ServiceUnavailable";
}

/// The result of a request that returns no object; of a failed one in particular.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default = "status_kind")]
    pub kind: String,
    /// Always `v1`.
    #[serde(default = "status_version")]
    pub api_version: String,
    /// List metadata; empty.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    #[serde(default)]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs; see [`reason`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP code; 0 when success.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u16,
}

/// What a [`Status`] is about (`metav1.StatusDetails`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind, or the resource's plural.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Uid of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Each fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub retry_after_seconds: u32,
}

/// One fault (`metav1.StatusCause`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// Such as `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn status_kind() -> String {
    "Status".to_owned()
}

fn status_version() -> String {
    "v1".to_owned()
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

fn is_zero_u32(seconds: &u32) -> bool {
    *seconds == 0
}

impl Status {
    /// A failure with a code and a reason.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: status_kind(),
            api_version: status_version(),
            metadata: serde_json::Map::new(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// What DELETE answers when the object is gone at once.
    pub fn success(details: Details) -> Self {
        Self {
            status: "Success".to_owned(),
            details: Some(details),
            code: 0,
            ..Self::failure(0, "", "")
        }
    }

    /// Names the object that the status is about. `resource` is `deployments.apps` or `pods`.
    pub fn about(mut self, resource: &str, name: &str) -> Self {
        let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
        let details = self.details.get_or_insert_default();
        kind.clone_into(&mut details.kind);
        group.clone_into(&mut details.group);
        name.clone_into(&mut details.name);
        self
    }

    /// 404: the object is not there.
    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::failure(404, reason::NOT_FOUND, format!("{resource} {name:?} not found"))
            .about(resource, name)
    }

    /// 404: the path names nothing that is served.
    pub fn no_such_path() -> Self {
        let text = "the server could not find the requested resource";
        Self { details: Some(Details::default()), ..Self::failure(404, reason::NOT_FOUND, text) }
    }

    /// 409 on create.
    pub fn already_exists(resource: &str, name: &str) -> Self {
        Self::failure(409, reason::ALREADY_EXISTS, format!("{resource} {name:?} already exists"))
            .about(resource, name)
    }

    /// 409: the object changed since it was read.
    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        let text = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::failure(409, reason::CONFLICT, text).about(resource, name)
    }

    /// 422: validation failed. `kind` is `Deployment.apps` or `Pod`.
    pub fn invalid(kind: &str, name: &str, errors: &[FieldError]) -> Self {
        // What was found twice is told once, and counted twice among the causes.
        let mut texts: Vec<String> = Vec::with_capacity(errors.len());
        let mut seen = std::collections::HashSet::new();
        texts.extend(
            errors.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone())),
        );
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let text = format!("{kind} {name:?} is invalid: {list}");
        let mut status = Self::failure(422, reason::INVALID, text).about(kind, name);
        if let Some(details) = &mut status.details {
            details.causes = errors
                .iter()
                .map(|e| Cause {
                    reason: e.kind.reason().to_owned(),
                    message: e.message(),
                    field: e.path.to_string(),
                })
                .collect();
        }
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, reason::BAD_REQUEST, message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::failure(401, reason::UNAUTHORIZED, "Unauthorized")
    }

    /// 403.
    pub fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        let text = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        Self::failure(403, reason::FORBIDDEN, text).about(resource, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        Self {
            details: Some(Details::default()),
            ..Self::failure(405, reason::METHOD_NOT_ALLOWED, text)
        }
    }

    /// 406.
    pub fn not_acceptable(accepted: &str) -> Self {
        let text = format!("only the following media types are accepted: {accepted}");
        Self::failure(406, reason::NOT_ACCEPTABLE, text)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let text = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let text = format!("Request entity is too large: limit is {limit}");
        Self::failure(413, reason::REQUEST_ENTITY_TOO_LARGE, text)
    }

    /// 410: the resource version is older than the history kept; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, reason::EXPIRED, message)
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let details = Details { retry_after_seconds, ..Details::default() };
        Self { details: Some(details), ..Self::failure(429, reason::TOO_MANY_REQUESTS, message) }
    }

    /// 500: a fault of ours.
    pub fn internal(message: impl fmt::Display) -> Self {
        let text = format!("Internal error occurred: {message}");
        Self::failure(500, reason::INTERNAL_ERROR, text)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, reason::SERVICE_UNAVAILABLE, message)
    }

    /// 504.
    pub fn timeout(message: impl fmt::Display) -> Self {
        let text = format!("Timeout: {message}");
        Self::failure(504, reason::TIMEOUT, text)
    }

    /// Whether it says that an object is not there.
    pub fn is_not_found(&self) -> bool {
        self.reason == reason::NOT_FOUND
    }

    /// Whether a write met another one.
    pub fn is_conflict(&self) -> bool {
        self.reason == reason::CONFLICT
    }

    /// Whether a create found the name taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason == reason::ALREADY_EXISTS
    }

    /// Whether a list or watch must begin anew (410, either reason).
    pub fn is_expired(&self) -> bool {
        self.code == 410
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldPath;

    #[test]
    fn invalid_lists_every_cause() {
        let errors = [
            FieldError::required(&FieldPath::new("spec.selector"), ""),
            FieldError::invalid(&FieldPath::new("spec.replicas"), -1, "must be non-negative"),
        ];
        let status = Status::invalid("Deployment.apps", "web", &errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, \
             spec.replicas: Invalid value: -1: must be non-negative]"
        );
        let details = status.details.unwrap();
        assert_eq!((details.kind.as_str(), details.group.as_str()), ("Deployment", "apps"));
        assert_eq!(details.causes[1].message, "Invalid value: -1: must be non-negative");
    }

    #[test]
    fn not_found_round_trips() {
        let status = Status::not_found("deployments.apps", "web");
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        assert_eq!(status.message, "deployments.apps \"web\" not found");
    }
}

//! `AdmissionReview`: what a webhook is asked and what it answers (`admission.k8s.io/v1` and
//! `v1beta1`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::Status;
use onggi_api::status::reason;
use serde_json::{Map, Value, json};

use super::rules::Target;
use crate::value::{at, entries_at, is_set, list_at, str_at};

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Names this question; the answer repeats it.
    pub uid: &'a str,
    /// In which version the webhook wants to see the object.
    pub kind: (&'a str, &'a str, &'a str),
    /// The request, in the version that the webhook has asked for.
    pub target: Target<'a>,
    /// Kind of the request as it came.
    pub request_kind: (&'a str, &'a str, &'a str),
    /// Version of the resource of the request as it came.
    pub request_version: &'a str,
    /// `authentication.k8s.io/v1 UserInfo`.
    pub user: &'a Value,
    /// `null` for a delete.
    pub object: &'a Value,
    /// `null` for a create.
    pub old_object: &'a Value,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// `CreateOptions` and its kin; `null` for a connect.
    pub options: &'a Value,
}

/// What a webhook says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Whether the request may go on.
    pub allowed: bool,
    /// A JSON patch; empty for none.
    pub patch: Vec<u8>,
    /// Why it may not go on: a `Status`, or `null`.
    pub result: Value,
    /// For people.
    pub warnings: Vec<String>,
    /// For the audit log.
    pub annotations: BTreeMap<String, String>,
}

/// The `AdmissionRequest` itself, as expressions of policies see it too.
pub fn request(question: &Question<'_>) -> Value {
    let kind = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let target = &question.target;
    let resource = |version: &str| json!({"group": target.group, "version": version, "resource": target.resource});
    let mut request = Map::new();
    let mut put = |key: &str, value: Value| request.insert(key.to_owned(), value);
    put("uid", question.uid.into());
    put("kind", kind(question.kind));
    put("resource", resource(target.version));
    put("requestKind", kind(question.request_kind));
    put("requestResource", resource(question.request_version));
    if !target.subresource.is_empty() {
        put("subResource", target.subresource.into());
        put("requestSubResource", target.subresource.into());
    }
    for (key, text) in [("name", target.name), ("namespace", target.namespace)] {
        if !text.is_empty() {
            put(key, text.into());
        }
    }
    put("operation", target.operation.into());
    put("userInfo", question.user.clone());
    put("object", question.object.clone());
    put("oldObject", question.old_object.clone());
    put("dryRun", question.dry_run.into());
    put("options", question.options.clone());
    Value::Object(request)
}

/// The review to send.
pub fn review(version: &str, question: &Question<'_>) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("admission.k8s.io/{version}"),
        "request": request(question),
    })
}

/// Reads the answer to a question; what is wrong with it otherwise.
pub fn answer(version: &str, uid: &str, mutating: bool, review: &Value) -> Result<Answer, String> {
    let response = at(review, "response");
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let patch = match str_at(response, "patch") {
        "" => Vec::new(),
        text => STANDARD.decode(text).map_err(|error| format!("response.patch: {error}"))?,
    };
    if version == "v1" {
        let found = str_at(response, "uid");
        if found != uid {
            return Err(format!("expected response.uid={uid:?}, got {found:?}"));
        }
        let kind = |api_version: &str, kind: &str| format!("{api_version}, Kind={kind}");
        let found = kind(str_at(review, "apiVersion"), str_at(review, "kind"));
        let wanted = kind("admission.k8s.io/v1", "AdmissionReview");
        if found != wanted {
            return Err(format!("expected webhook response of {wanted}, got {found}"));
        }
        let typed = is_set(response, "patchType");
        match (mutating, patch.is_empty(), typed) {
            (false, false, _) => {
                return Err("validating webhook may not return response.patch".into());
            }
            (false, _, true) => {
                return Err("validating webhook may not return response.patchType".into());
            }
            (true, false, false) => {
                return Err("webhook returned response.patch but not response.patchType".into());
            }
            (true, true, true) => {
                return Err("webhook returned response.patchType but not response.patch".into());
            }
            (true, false, true) if str_at(response, "patchType") != "JSONPatch" => {
                let kind = str_at(response, "patchType");
                return Err(format!("unsupported patch type {kind:?}"));
            }
            _ => {}
        }
    }
    let texts = list_at(response, "warnings").iter().filter_map(Value::as_str);
    let annotations = entries_at(response, "auditAnnotations")
        .filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned())));
    Ok(Answer {
        allowed: at(response, "allowed") == true,
        patch,
        result: at(response, "status").clone(),
        warnings: texts.map(str::to_owned).collect(),
        annotations: annotations.collect(),
    })
}

/// The refusal of a webhook as a `Status`.
pub fn denied(webhook: &str, result: &Value) -> Status {
    let by = format!("admission webhook {webhook:?} denied the request");
    let mut status: Status =
        serde_json::from_value(result.clone()).unwrap_or_else(|_| Status::failure(400, "", ""));
    if status.code < 400 {
        status.code = 400;
    }
    status.status = "Failure".to_owned();
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    status
}

/// A webhook that may not be asked about a dry run.
pub fn no_dry_run(webhook: &str) -> Status {
    let text = format!("admission webhook {webhook:?} does not support dry run");
    Status::failure(400, reason::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_are_checked() {
        for (mutating, response, problem) in [
            (true, json!({"uid": "u", "allowed": true}), ""),
            (true, json!({"uid": "x"}), "expected response.uid=\"u\", got \"x\""),
            (
                true,
                json!({"uid": "u", "patch": "W10="}),
                "webhook returned response.patch but not response.patchType",
            ),
            (
                true,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                false,
                json!({"uid": "u", "patch": "W10="}),
                "validating webhook may not return response.patch",
            ),
            (true, json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}), ""),
        ] {
            let found = answer("v1", "u", mutating, &respond(response.clone()));
            assert_eq!(found.err().unwrap_or_default(), problem, "{response}");
        }
        assert_eq!(answer("v1", "u", true, &json!({})).unwrap_err(), "webhook response was absent");
        // The old version promised less.
        let old = json!({"response": {"allowed": true, "patch": "W10="}});
        assert_eq!(answer("v1beta1", "u", true, &old).unwrap().patch, b"[]");
    }

    #[test]
    fn refusals() {
        for (result, code, message) in [
            (Value::Null, 400, "admission webhook \"h\" denied the request without explanation"),
            (json!({"message": "no"}), 400, "admission webhook \"h\" denied the request: no"),
            (
                json!({"status": "Failure", "reason": "because", "code": 403}),
                403,
                "admission webhook \"h\" denied the request: because",
            ),
        ] {
            let status = denied("h", &result);
            assert_eq!((status.code, status.message.as_str()), (code, message));
            assert_eq!(status.status, "Failure");
        }
    }
}

//! `authentication.k8s.io`: who holds a token (`TokenReview`), who am I (`SelfSubjectReview`).

use onggi_api::Status;
use serde_json::{Value, json};

use super::User;
use crate::registry::{Registry, text};

/// `TokenReview`: for those who must know who sent them a token.
pub(crate) async fn token_review(registry: &Registry, mut review: Value) -> Result<Value, Status> {
    let token = text(&review, "/spec/token").to_owned();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = review["spec"]["audiences"].as_array().into_iter().flatten();
    let asked: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    let own = registry.authenticators.audiences();
    let audiences = if asked.is_empty() { own } else { asked.as_slice() };
    review["status"] = match registry.authenticators.token(registry, &token, audiences).await {
        Ok(shown) => {
            let meant = if shown.audiences.is_empty() { audiences } else { &shown.audiences };
            json!({"authenticated": true, "user": shown.user.to_value(), "audiences": meant})
        }
        Err(problem) => json!({"user": {}, "error": problem}),
    };
    Ok(review)
}

/// `SelfSubjectReview`: whoever asks is told who they are.
pub(crate) fn self_subject_review(registry: &Registry, user: &User, mut review: Value) -> Value {
    review["metadata"]["creationTimestamp"] = registry.clock.rfc3339().into();
    review["status"] = json!({"userInfo": user.to_value()});
    review
}

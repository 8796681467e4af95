//! Secrets with tokens say on which day they were last used, so that who tidies up finds those that
//! nobody needs (`pkg/serviceaccount/legacy.go`).

use std::sync::Arc;

use bytes::Bytes;
use jiff::{Timestamp, ToSpan};
use onggi_api::{GroupVersionResource, Object};
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::resource::Verb;
use serde_json::json;

use super::User;
use crate::registry::{Context, Registry};

const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Since when a token counts no more, because nobody used it for long.
pub(super) const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// The days on which nothing need be written: today, and tomorrow for other clocks.
fn days(now: Timestamp) -> [String; 2] {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    [day(now), day(now.saturating_add(24.hours()).unwrap_or(now))]
}

/// Writes down that the token in a Secret was used today, once a day; nobody waits for it.
pub(super) fn mark(registry: &Registry, secret: &Arc<Object>) {
    let [today, tomorrow] = days(registry.clock.now());
    let head = secret.head();
    let known = head.labels.get(LAST_USED);
    if known.is_some_and(|day| *day == today || *day == tomorrow) {
        return;
    }
    let marking = registry.authenticators.marking.clone();
    if !marking.lock().insert(head.uid.clone()) {
        return;
    }
    let server = registry.admission.weak_server();
    let patch = json!({"metadata": {"uid": head.uid, "labels": {LAST_USED: today}}});
    let patch = Body::Patch(PatchKind::Merge, Bytes::from(patch.to_string()));
    let secrets = GroupVersionResource::new("", "v1", "secrets");
    let request = Request::new(Verb::Patch, secrets, &head.namespace, &head.name).body(patch);
    let uid = head.uid.clone();
    tokio::spawn(async move {
        if let Some(server) = server.upgrade() {
            let context = Context::new(User::new("system:apiserver", &["system:masters"]));
            if let Err(status) = server.handle(&context, request).await {
                tracing::debug!(error = %status.message, "the day of a token's last use");
            }
        }
        marking.lock().remove(&uid);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_a_day() {
        let now = Timestamp::from_second(1_735_689_599).unwrap();
        assert_eq!(days(now), ["2024-12-31", "2025-01-01"]);
    }
}

//! What is to be done with a request for a certificate.

use onggi_machinery::value::{find, list_at, str_at, time_at};
use serde_json::Value;

/// Of a client of the API server.
pub(crate) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Of a kubelet, to the API server.
pub(crate) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Of a kubelet, to those who call it.
pub(crate) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Whatever was asked for before there were signers.
pub(crate) const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A kubelet asks for its own client certificate: whether it may is asked of authorization.
    MayApprove,
    /// It is approved and ours to sign.
    Sign,
    /// It has had its time.
    Delete,
    /// Nothing now; look again after so many seconds.
    Wait(i64),
    /// Nothing.
    Nothing,
}

const HOUR: i64 = 3600;
/// What a request lives after it was approved or refused, in seconds; after it was made where
/// nothing was decided.
const DECIDED: i64 = HOUR;
const PENDING: i64 = 24 * HOUR;

/// Decides; `now` in seconds since 1970.
pub(crate) fn plan(request: &Value, now: i64) -> Step {
    let conditions = list_at(request, "status.conditions");
    let condition = |kind: &str| find(conditions, "type", kind);
    let decided = ["Approved", "Denied", "Failed"].iter().find_map(|kind| condition(kind));
    let ends = match decided {
        None => time_at(request, "metadata.creationTimestamp").map(|made| made + PENDING),
        Some(condition) => time_at(condition, "lastUpdateTime").map(|made| made + DECIDED),
    };
    if ends.is_some_and(|ends| ends <= now) {
        return Step::Delete;
    }
    let later = ends.map_or(Step::Nothing, |ends| Step::Wait(ends - now));
    let signer = str_at(request, "spec.signerName");
    let open = condition("Denied").is_none() && condition("Failed").is_none();
    let signed = !str_at(request, "status.certificate").is_empty();
    if condition("Approved").is_some() && open && !signed && is_ours(signer) {
        return Step::Sign;
    }
    if decided.is_none() && signer == KUBELET_CLIENT {
        return Step::MayApprove;
    }
    later
}

fn is_ours(signer: &str) -> bool {
    matches!(signer, CLIENT | KUBELET_CLIENT | KUBELET_SERVING | LEGACY)
}

/// Why a request does not fit its signer; nothing where it does.
pub(crate) fn misfit(
    signer: &str,
    subject: &str,
    organizations: &[String],
    names: usize,
    usages: &[&str],
) -> Option<&'static str> {
    let only = |allowed: &[&str]| usages.iter().all(|usage| allowed.contains(usage));
    let node = subject.starts_with("system:node:") && organizations == ["system:nodes"];
    match signer {
        CLIENT if !usages.contains(&"client auth") => {
            Some("usages did not contain \"client auth\"")
        }
        CLIENT if organizations.iter().any(|group| group == "system:masters") => {
            Some("the group system:masters is not given to anybody")
        }
        KUBELET_CLIENT if !node => Some("subject organization is not system:nodes"),
        KUBELET_CLIENT if names > 0 => Some("names of servers are not allowed"),
        KUBELET_CLIENT
            if !only(&["client auth", "digital signature", "key encipherment"])
                || !usages.contains(&"client auth") =>
        {
            Some("usages did not match [client auth digital signature key encipherment]")
        }
        KUBELET_SERVING if !node => Some("subject organization is not system:nodes"),
        KUBELET_SERVING if names == 0 => Some("DNS or IP subjectAltName is required"),
        KUBELET_SERVING
            if !only(&["server auth", "digital signature", "key encipherment"])
                || !usages.contains(&"server auth") =>
        {
            Some("usages did not match [digital signature key encipherment server auth]")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps() {
        let at = |second: i64| onggi_api::jiff::Timestamp::from_second(second).unwrap().to_string();
        let request = |signer: &str, condition: &str, certificate: &str| {
            let conditions = if condition.is_empty() {
                json!([])
            } else {
                json!([{"type": condition, "lastUpdateTime": at(1000)}])
            };
            json!({
                "metadata": {"creationTimestamp": at(0)},
                "spec": {"signerName": signer},
                "status": {"conditions": conditions, "certificate": certificate},
            })
        };
        for (request, now, step) in [
            (request(CLIENT, "", ""), 10, Step::Wait(PENDING - 10)),
            (request(KUBELET_CLIENT, "", ""), 10, Step::MayApprove),
            (request(CLIENT, "Approved", ""), 1010, Step::Sign),
            (request("example.com/own", "Approved", ""), 1010, Step::Wait(DECIDED - 10)),
            (request(CLIENT, "Approved", "x"), 1010, Step::Wait(DECIDED - 10)),
            (request(CLIENT, "Denied", ""), 1010, Step::Wait(DECIDED - 10)),
            (request(CLIENT, "Denied", ""), 1000 + DECIDED, Step::Delete),
            (request(CLIENT, "", ""), PENDING, Step::Delete),
        ] {
            assert_eq!(plan(&request, now), step, "{request} at {now}");
        }
    }
}

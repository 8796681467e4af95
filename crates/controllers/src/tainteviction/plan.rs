//! How long a pod may stay on a node with `NoExecute` taints.

use onggi_api::jiff::{SignedDuration, Timestamp};

use crate::view::{Taint, Toleration};

/// Until when the pod may stay; nothing means for ever. Each taint comes with the time since when
/// it counts.
pub(super) fn until(
    tolerations: &[Toleration],
    taints: &[(Taint, Timestamp)],
) -> Option<Timestamp> {
    taints.iter().filter_map(|(taint, since)| until_one(tolerations, taint, *since)).min()
}

fn until_one(tolerations: &[Toleration], taint: &Taint, since: Timestamp) -> Option<Timestamp> {
    let matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint));
    let seconds = matching.map(|toleration| toleration.toleration_seconds);
    // Of several the shortest counts; one without a time sets no bound.
    match seconds.reduce(|a, b| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }) {
        None => Some(since),
        Some(None) => None,
        Some(Some(seconds)) => since.checked_add(SignedDuration::from_secs(seconds.max(0))).ok(),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let Toleration { key, operator, value, effect, .. } = toleration;
    (effect.is_empty() || *effect == taint.effect)
        && (key.is_empty() || *key == taint.key)
        && (operator == "Exists" || *value == taint.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn how_long_a_pod_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let taint = |key: &str| {
            let taint = json!({"key": key, "effect": "NoExecute"});
            (from_value::<Taint>(taint).unwrap(), at(100))
        };
        let all = json!({"operator": "Exists"});
        let some = |key: &str, seconds: i64| {
            json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                   "tolerationSeconds": seconds})
        };
        for (tolerations, taints, expected) in [
            (json!([]), vec!["a"], Some(100)),
            (json!([all]), vec!["a"], None),
            (json!([some("a", 300)]), vec!["a"], Some(400)),
            (json!([some("a", 300), some("a", 30)]), vec!["a"], Some(130)),
            (json!([some("a", 300), all]), vec!["a"], Some(400)),
            (json!([some("a", 300)]), vec!["a", "b"], Some(100)),
            (json!([some("a", 300), some("b", 20)]), vec!["a", "b"], Some(120)),
            (json!([some("a", -5)]), vec!["a"], Some(100)),
        ] {
            let parsed: Vec<Toleration> = from_value(tolerations.clone()).unwrap();
            let taints: Vec<_> = taints.into_iter().map(taint).collect();
            assert_eq!(until(&parsed, &taints), expected.map(at), "{tolerations}");
        }
    }
}

//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or not reachable,
//! unless they say otherwise.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Plugin};
use crate::registry::{Registry, text};

const SECONDS: i64 = 300;

pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.writes() && attributes.about("", "pods")
    }

    async fn mutate(
        &self,
        _: &Registry,
        _: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        add(pod);
        Ok(())
    }
}

fn add(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(list) = tolerations.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = |toleration: &Value| {
            matches!(text(toleration, "/key"), k if k.is_empty() || k == key)
                && matches!(text(toleration, "/effect"), "" | "NoExecute")
        };
        if !list.iter().any(tolerates) {
            list.push(json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pod_says_stays() {
        for (given, expected) in [
            (json!([]), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]), 2),
            (json!([{"key": "a", "effect": "NoSchedule"}]), 3),
        ] {
            let mut pod = json!({"spec": {"tolerations": given}});
            add(&mut pod);
            add(&mut pod);
            assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), expected, "{pod}");
        }
    }
}

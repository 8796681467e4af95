//! What a namespace lacks of what every one has.

use serde_json::{Value, json};

pub(super) const ACCOUNT: &str = "default";
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";

/// One namespace.
#[derive(Debug)]
pub(super) struct Snapshot<'s> {
    /// It is being deleted, or gone.
    pub(super) ends: bool,
    /// Whether it has its ServiceAccount.
    pub(super) account: bool,
    /// The `data` of its ConfigMap; `None`: it has none.
    pub(super) map: Option<&'s Value>,
    /// The certificates, in PEM, that the ConfigMap should hold.
    pub(super) ca_pem: &'s str,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Create this ServiceAccount.
    CreateAccount(Value),
    /// Create this ConfigMap.
    CreateMap(Value),
    /// Change the ConfigMap by this JSON patch.
    PatchMap(Value),
}

pub(super) fn plan(snapshot: &Snapshot<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    if snapshot.ends {
        return actions;
    }
    if !snapshot.account {
        actions.push(Action::CreateAccount(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT},
        })));
    }
    let data = json!({"ca.crt": snapshot.ca_pem});
    match snapshot.map {
        None => actions.push(Action::CreateMap(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ROOT_CA}, "data": data,
        }))),
        Some(map) if *map != data => {
            let patch = json!([{"op": "add", "path": "/data", "value": data}]);
            actions.push(Action::PatchMap(patch));
        }
        Some(_) => {}
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made() {
        let (right, wrong) = (json!({"ca.crt": "pem"}), json!({"ca.crt": "old", "more": "x"}));
        let cases = [
            (false, false, None, vec!["account default", "map kube-root-ca.crt pem"]),
            (false, true, Some(&right), vec![]),
            (false, true, Some(&wrong), vec!["patch pem"]),
            (false, true, Some(&Value::Null), vec!["patch pem"]),
            (false, false, Some(&right), vec!["account default"]),
            (true, false, None, vec![]),
        ];
        for (ends, account, map, expected) in cases {
            let snapshot = Snapshot { ends, account, map, ca_pem: "pem" };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let actions = plan(&snapshot).into_iter().map(|action| match action {
                Action::CreateAccount(object) => {
                    format!("account {}", text(&object["metadata"]["name"]))
                }
                Action::CreateMap(object) => format!(
                    "map {} {}",
                    text(&object["metadata"]["name"]),
                    text(&object["data"]["ca.crt"])
                ),
                Action::PatchMap(patch) => format!("patch {}", text(&patch[0]["value"]["ca.crt"])),
            });
            assert_eq!(actions.collect::<Vec<_>>(), expected, "{snapshot:?}");
        }
    }
}

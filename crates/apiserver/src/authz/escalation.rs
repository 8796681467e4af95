//! Nobody gives away what they do not have: writes of roles and bindings.

use onggi_api::Status;
use onggi_machinery::rbac::{PolicyRule, compact, missing};
use onggi_machinery::resource::Resource;
use serde_json::Value;

use super::{Attributes, Chain, Target, policy};
use crate::authn::User;
use crate::registry::text;

/// Refuses a role or binding that grants what its writer does not hold; `old` is what is stored.
pub(crate) fn check(
    chain: &Chain,
    user: &User,
    row: &Resource,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if row.group != policy::GROUP || user.is_in("system:masters") {
        return Ok(());
    }
    if old.is_some_and(|old| only_collected(new, old)) {
        return Ok(());
    }
    let namespace = text(new, "/metadata/namespace");
    let name = text(new, "/metadata/name");
    let may = |verb: &str, resource: &str, namespace: &str, name: &str| {
        let target = Target::Resource {
            group: policy::GROUP,
            resource,
            subresource: "",
            namespace,
            name,
            selector: "",
        };
        chain.allows(&Attributes { user, verb, target })
    };
    let granted = match row.plural {
        "roles" | "clusterroles" => {
            if may("escalate", row.plural, namespace, name) {
                return Ok(());
            }
            let aggregates =
                |role: &Value| role.get("aggregationRule").is_some_and(Value::is_object);
            let gathers = aggregates(new) || old.is_some_and(aggregates);
            if gathers && !missing(&chain.rbac.held(user, "").0, &everything()).is_empty() {
                // What it will hold is not known now.
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(&row.group_resource(), name, why));
            }
            PolicyRule::of_role(new)
        }
        "rolebindings" | "clusterrolebindings" => {
            let (kind, role) = (text(new, "/roleRef/kind"), text(new, "/roleRef/name"));
            let resource = if kind == "Role" { "roles" } else { "clusterroles" };
            if may("bind", resource, namespace, role) {
                return Ok(());
            }
            match chain.rbac.role(kind, namespace, role) {
                Ok(rules) => rules.to_vec(),
                Err(_) => {
                    let about = format!("{resource}.{}", policy::GROUP);
                    return Err(Status::not_found(&about, role));
                }
            }
        }
        _ => return Ok(()),
    };
    confirm(chain, user, row, name, namespace, &granted)
}

fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    [
        PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() },
    ]
}

fn confirm(
    chain: &Chain,
    user: &User,
    row: &Resource,
    name: &str,
    namespace: &str,
    granted: &[PolicyRule],
) -> Result<(), Status> {
    let (held, errors) = chain.rbac.held(user, namespace);
    let lacking = missing(&held, granted);
    if lacking.is_empty() {
        return Ok(());
    }
    let mut texts: Vec<String> = compact(lacking).iter().map(ToString::to_string).collect();
    texts.sort();
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        texts.join("\n"),
    );
    if !errors.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", super::rbac::aggregate(&errors)));
    }
    Err(Status::forbidden(&row.group_resource(), name, &why))
}

/// Whether nothing but what the garbage collector writes differs.
fn only_collected(new: &Value, old: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        value
    };
    bare(new) == bare(old)
}

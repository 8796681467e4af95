//! The families of addresses that a service is of, in a cluster that gives out those of IPv4 alone
//! (`initIPFamilyFields`).

use onggi_api::{FieldError, FieldPath};
use serde_json::{Value, json};

use crate::registry::text;

const V4: &str = "IPv4";
const V6: &str = "IPv6";

/// Fills in policy and families; says what this cluster cannot give. `old` is what it had.
pub(super) fn assign(service: &mut Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let selects = service["spec"]["selector"].as_object().is_some_and(|labels| !labels.is_empty());
    // Addresses of whatever family stand behind it, and it needs none of ours.
    let is_free = text(service, "/spec/clusterIP") == "None" && !selects;
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return errors };
    let policy = match (spec.get("ipFamilyPolicy"), text(old, "/spec/ipFamilyPolicy")) {
        (Some(Value::String(policy)), _) => policy.clone(),
        (_, "") if is_free => "RequireDualStack".to_owned(),
        (_, "") => "SingleStack".to_owned(),
        (_, kept) => kept.to_owned(),
    };
    spec.insert("ipFamilyPolicy".into(), policy.as_str().into());
    let is_single = policy == "SingleStack";
    let had = texts(old["spec"].get("ipFamilies"));
    let mut families = texts(spec.get("ipFamilies"));
    let addresses = texts(spec.get("clusterIPs"));
    if is_single && families == had {
        families.truncate(1);
    }
    let at = FieldPath::new("spec.ipFamilyPolicy");
    let unfit = |detail: &str| FieldError::invalid(&at, policy.as_str(), detail);
    if !is_single && !families.is_empty() && families.len() < had.len() {
        errors.push(unfit("must be 'SingleStack' to release the secondary IP family"));
    }
    for (count, what) in [(addresses.len(), "cluster IPs"), (families.len(), "IP families")] {
        if is_single && count == 2 {
            errors.push(unfit(&format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            )));
        }
    }
    let given = addresses.iter().enumerate().take_while(|(_, address)| *address != "None");
    for (index, address) in given {
        if index < families.len() {
            continue;
        }
        if address.contains(':') {
            let path = FieldPath::new("spec.clusterIPs").index(index);
            let detail = "IPv6 is not configured on this cluster";
            errors.push(FieldError::invalid(&path, json!(addresses), detail));
        } else {
            families.push(V4.to_owned());
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    // What is stored may stay as it is.
    let is_kept = families == had && old["spec"]["ipFamilyPolicy"] == policy.as_str();
    if !is_free && !is_kept {
        if policy == "RequireDualStack" {
            errors.push(unfit("this cluster is not configured for dual-stack services"));
        }
        for (index, family) in families.iter().enumerate().filter(|(_, family)| *family != V4) {
            let path = FieldPath::new("spec.ipFamilies").index(index);
            let detail = "not configured on this cluster";
            errors.push(FieldError::invalid(&path, family.as_str(), detail));
        }
    }
    if families.is_empty() {
        families.push(V4.to_owned());
    }
    if is_free && !is_single && families.len() == 1 {
        let other = if families.iter().any(|family| family == V4) { V6 } else { V4 };
        families.push(other.to_owned());
    }
    spec.insert("ipFamilies".into(), json!(families));
    errors
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in() {
        let selected = json!({"selector": {"a": "b"}});
        let free = json!({"clusterIP": "None", "clusterIPs": ["None"]});
        let both = json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": [V4, V6]});
        for (spec, old, expected) in [
            (selected.clone(), Value::Null, ("SingleStack", vec![V4])),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                Value::Null,
                ("PreferDualStack", vec![V4]),
            ),
            (json!({"clusterIPs": ["10.96.0.9"]}), Value::Null, ("SingleStack", vec![V4])),
            (free.clone(), Value::Null, ("RequireDualStack", vec![V4, V6])),
            (
                json!({"clusterIP": "None", "ipFamilies": [V6]}),
                Value::Null,
                ("RequireDualStack", vec![V6, V4]),
            ),
            (
                json!({"clusterIP": "None", "ipFamilyPolicy": "SingleStack"}),
                Value::Null,
                ("SingleStack", vec![V4]),
            ),
            (free, json!({"ipFamilyPolicy": "SingleStack"}), ("SingleStack", vec![V4])),
            (
                json!({"clusterIP": "None", "ipFamilyPolicy": "SingleStack", "ipFamilies": [V4, V6]}),
                both,
                ("SingleStack", vec![V4]),
            ),
        ] {
            let mut service = json!({ "spec": spec });
            assert_eq!(assign(&mut service, &json!({ "spec": old })), [], "{spec}");
            let (policy, families) = expected;
            assert_eq!(service["spec"]["ipFamilyPolicy"], policy, "{spec}");
            assert_eq!(service["spec"]["ipFamilies"], json!(families), "{spec}");
        }
    }

    #[test]
    fn what_this_cluster_cannot_give() {
        for (spec, expected) in [
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({"ipFamilies": [V6]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": [V4, V6]}),
                "spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilies": [V4, V6]}),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ),
            (
                json!({"clusterIPs": ["fd00::1"]}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
        ] {
            let errors = assign(&mut json!({ "spec": spec }), &Value::Null);
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, [expected], "{spec}");
        }
        let old = json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": [V4, V6]}});
        let mut fewer = json!({"spec": {"clusterIP": "None", "ipFamilies": [V4]}});
        let errors = assign(&mut fewer, &old);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().ends_with("to release the secondary IP family"));
    }
}

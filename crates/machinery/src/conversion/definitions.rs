//! `apiextensions.k8s.io/v1beta1 CustomResourceDefinition` (removed in 1.22).

use serde_json::{Value, json};

use crate::value::{at, is_set, items_mut, list_at, map_mut, remove, set, str_at};

/// What held for all versions stood beside them; columns had their path in capitals; unknown fields
/// were kept unless they were forbidden.
pub(super) fn convert(object: &mut Value) -> Vec<String> {
    if !at(object, "spec").is_object() {
        return Vec::new();
    }
    if list_at(object, "spec.versions").is_empty() {
        let version =
            json!({"name": str_at(object, "spec.version"), "served": true, "storage": true});
        set(object, "spec.versions", vec![version]);
    }
    let spec = at(object, "spec").clone();
    for version in items_mut(object, "spec.versions") {
        for (new, old) in [
            ("schema", "validation"),
            ("subresources", "subresources"),
            ("additionalPrinterColumns", "additionalPrinterColumns"),
        ] {
            if !is_set(version, new) && is_set(&spec, old) {
                set(version, new, at(&spec, old).clone());
            }
        }
        for column in items_mut(version, "additionalPrinterColumns") {
            let column = map_mut(column, "");
            if let Some(path) = column.remove("JSONPath") {
                column.insert("jsonPath".into(), path);
            }
        }
        let keeps = spec["preserveUnknownFields"] != false;
        let schema = map_mut(version, "schema.openAPIV3Schema");
        if schema.is_empty() || keeps {
            schema.entry("type").or_insert_with(|| "object".into());
            schema.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        }
    }
    for (new, old) in [
        ("spec.conversion.webhook.clientConfig", "conversion.webhookClientConfig"),
        ("spec.conversion.webhook.conversionReviewVersions", "conversion.conversionReviewVersions"),
    ] {
        if is_set(&spec, old) {
            set(object, new, at(&spec, old).clone());
            remove(object, &format!("spec.{old}"));
        }
    }
    if str_at(&spec, "conversion.strategy") == "Webhook"
        && !is_set(&spec, "conversion.conversionReviewVersions")
    {
        set(object, "spec.conversion.webhook.conversionReviewVersions", vec!["v1beta1"]);
    }
    for gone in [
        "version",
        "validation",
        "subresources",
        "additionalPrinterColumns",
        "preserveUnknownFields",
    ] {
        remove(object, &format!("spec.{gone}"));
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_for_all_goes_into_each() {
        let mut object = json!({"spec": {
            "group": "a.b", "version": "v1", "subresources": {"status": {}},
            "validation": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}},
            "additionalPrinterColumns": [{"name": "A", "type": "string", "JSONPath": ".spec.a"}],
            "conversion": {"strategy": "Webhook", "webhookClientConfig": {"url": "https://x"}},
        }});
        convert(&mut object);
        assert_eq!(
            object["spec"],
            json!({
                "group": "a.b",
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"spec": {"type": "object"}}}},
                    "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
                }],
                "conversion": {"strategy": "Webhook", "webhook": {
                    "clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1beta1"]}},
            })
        );
    }
}

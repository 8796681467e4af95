//! What is the same as nothing. Go's types leave zeros out when they are written, except where the
//! field is a pointer; the published schemas do not say which are, so the plain ones that matter
//! stand here. Without this, `periodSeconds: 0` (and every protobuf body, which always carries the
//! zeros of plain fields) would not get its default.

use onggi_api::schema::{Field, Schema, Shape};
use serde_json::Value;

/// Numbers for which 0 is nothing.
const NUMBERS: &[&str] = &[
    "active",
    "availableReplicas",
    "currentReplicas",
    "deprecatedCount",
    "failed",
    "failureThreshold",
    "fullyLabeledReplicas",
    "generation",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "matchingPrecedence",
    "minReadySeconds",
    "nodePort",
    "number",
    "numberAvailable",
    "numberUnavailable",
    "observedGeneration",
    "periodSeconds",
    "readyReplicas",
    "retryAfterSeconds",
    "signal",
    "sizeBytes",
    "succeeded",
    "successThreshold",
    "targetPort",
    "unavailableReplicas",
    "updatedNumberScheduled",
    "updatedReplicas",
];

/// The same, where the name alone does not tell: field and definition.
const NUMBERS_OF: &[(&str, &str)] = &[
    ("timeoutSeconds", "core.v1.Probe"),
    ("count", "core.v1.Event"),
    ("count", "core.v1.EventSeries"),
    ("replicas", "apps.v1.DeploymentStatus"),
    ("partition", "core.v1.AWSElasticBlockStoreVolumeSource"),
    ("partition", "core.v1.GCEPersistentDiskVolumeSource"),
    ("deprecatedCount", "events.v1.Event"),
    ("count", "resource.v1.DeviceSubRequest"),
    ("count", "resource.v1.ExactDeviceRequest"),
];

/// Booleans for which `false` is nothing.
const BOOLEANS: &[&str] = &[
    "clusterScope",
    "denied",
    "globalDefault",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "insecureSkipTLSVerify",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];

/// Texts for which the empty one is something: a volume claim with the class "" wants no class.
const TEXTS_THAT_COUNT: &[&str] = &["storageClassName", "volumeAttributesClassName"];

/// Whether a field with this value is left out. `owner` is the object it stands in.
pub(super) fn is_nothing(owner: Schema<'_>, field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    if field.required {
        return false;
    }
    let name = &*field.name;
    match (value, owner.at(field.schema).shape()) {
        (Value::Array(items), Shape::List(_)) => items.is_empty(),
        (Value::Object(map), Shape::Map(_)) => map.is_empty(),
        (Value::String(text), Shape::String) => {
            text.is_empty() && !TEXTS_THAT_COUNT.contains(&name)
        }
        (Value::Number(number), _) if number.as_i64() == Some(0) => {
            let of = owner.name().unwrap_or_default();
            NUMBERS.binary_search(&name).is_ok()
                || NUMBERS_OF.iter().any(|(field, owner)| *field == name && of.ends_with(owner))
        }
        (Value::Bool(false), _) => {
            // In this one it is a pointer.
            let csi = || owner.name().is_some_and(|of| of.ends_with(".CSIVolumeSource"));
            BOOLEANS.binary_search(&name).is_ok() && !csi()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(NUMBERS.is_sorted() && BOOLEANS.is_sorted());
    }
}

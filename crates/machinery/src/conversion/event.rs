//! `Event` of `events.k8s.io`, stored as the core `Event`, and `EndpointSlice` of
//! `discovery.k8s.io/v1beta1`: the same fields under other names.

use serde_json::{Map, Value};

use crate::value::{at, items_mut, map_mut, set};

/// Selectable fields of `events.k8s.io`, and of the core `Event`.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("metadata.name", "metadata.name"),
    ("metadata.namespace", "metadata.namespace"),
    ("reason", "reason"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.uid", "involvedObject.uid"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];

/// Field of `events.k8s.io`, and of the core `Event`.
const NAMES: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// `events.k8s.io` to core.
pub(super) fn to_core(event: &mut Value) -> Vec<String> {
    let Value::Object(map) = event else { return Vec::new() };
    for (new, core) in NAMES {
        rename(map, new, core);
    }
    // The core kind requires it, as its Go type always writes it.
    if map.contains_key("metadata") {
        map.entry("involvedObject").or_insert_with(|| Value::Object(Map::new()));
    }
    Vec::new()
}

/// Core to `events.k8s.io`.
pub(super) fn from_core(event: &mut Value) {
    let Value::Object(map) = event else { return };
    for (new, core) in NAMES {
        rename(map, core, new);
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}

// === EndpointSlice ===

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// `discovery.k8s.io/v1beta1` had the place of an endpoint in a map.
pub(super) fn slice_to_v1(slice: &mut Value) -> Vec<String> {
    for endpoint in items_mut(slice, "endpoints") {
        let Some(Value::Object(mut topology)) =
            endpoint.as_object_mut().and_then(|map| map.remove("topology"))
        else {
            continue;
        };
        for (key, field) in [(HOST, "nodeName"), (ZONE, "zone")] {
            let place = topology.remove(key);
            if let Some(place) = place.filter(|_| at(endpoint, field).is_null()) {
                set(endpoint, field, place);
            }
        }
        if !topology.is_empty() {
            set(endpoint, "deprecatedTopology", topology);
        }
    }
    Vec::new()
}

/// And back.
pub(super) fn slice_to_v1beta1(slice: &mut Value) {
    for endpoint in items_mut(slice, "endpoints") {
        let Value::Object(map) = endpoint else { continue };
        let (topology, zone) = (map.remove("deprecatedTopology"), map.remove("zone"));
        if let Some(topology) = topology {
            map.insert("topology".to_owned(), topology);
        }
        if let Some(zone) = zone {
            map_mut(endpoint, "topology").insert(ZONE.to_owned(), zone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let core = json!({
            "metadata": {"name": "e"}, "message": "m", "count": 2, "reason": "r", "type": "Normal",
            "involvedObject": {"kind": "Pod"}, "source": {"component": "k"},
            "reportingComponent": "k", "reportingInstance": "i", "action": "a",
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z",
        });
        let mut event = core.clone();
        from_core(&mut event);
        assert_eq!(
            event,
            json!({
                "metadata": {"name": "e"}, "note": "m", "deprecatedCount": 2, "reason": "r",
                "type": "Normal", "regarding": {"kind": "Pod"},
                "deprecatedSource": {"component": "k"}, "reportingController": "k",
                "reportingInstance": "i", "action": "a",
                "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
                "deprecatedLastTimestamp": "2026-01-01T00:00:01Z",
            })
        );
        to_core(&mut event);
        assert_eq!(event, core);
    }

    #[test]
    fn places_of_endpoints() {
        let mut slice = json!({"endpoints": [
            {"addresses": ["10.0.0.1"], "topology": {HOST: "n1", ZONE: "z1", "rack": "7"}}, {}]});
        slice_to_v1(&mut slice);
        assert_eq!(
            slice["endpoints"][0],
            json!({"addresses": ["10.0.0.1"], "nodeName": "n1", "zone": "z1",
                   "deprecatedTopology": {"rack": "7"}})
        );
        slice_to_v1beta1(&mut slice);
        assert_eq!(
            slice["endpoints"][0],
            json!({"addresses": ["10.0.0.1"], "nodeName": "n1",
                   "topology": {ZONE: "z1", "rack": "7"}})
        );
    }
}

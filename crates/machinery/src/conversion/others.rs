//! Kinds of one group each, of which little has changed.

use serde_json::{Map, Value, json};

use crate::kinds::certificatesigningrequest::{LEGACY_SIGNER, kubelet_signer};
use crate::value::{
    at, at_mut, is_set, items_mut, list_at, map_mut, remove, set, set_default, set_default_text,
    str_at,
};

/// `certificates.k8s.io/v1beta1`: the signer was found out, and there were usual usages. Whatever a
/// kubelet did not ask for was signed by one for all.
pub(super) fn signing_request(object: &mut Value) -> Vec<String> {
    if !at(object, "spec").is_object() {
        return Vec::new();
    }
    set_default(object, "spec.usages", json!(["digital signature", "key encipherment"]));
    if !str_at(object, "spec.signerName").is_empty() {
        return Vec::new();
    }
    let usages: Vec<&str> =
        list_at(object, "spec.usages").iter().filter_map(Value::as_str).collect();
    let found = kubelet_signer(str_at(object, "spec.request"), &usages);
    let signer = found.unwrap_or(LEGACY_SIGNER);
    set(object, "spec.signerName", signer);
    vec![format!("spec.signerName was left out: {signer} is taken")]
}

/// `flowcontrol.apiserver.k8s.io/v1beta1` and `v1beta2`: the shares had another name.
pub(super) fn priority_level(object: &mut Value) -> Vec<String> {
    let shares = at(object, "spec.limited.assuredConcurrencyShares").clone();
    if !shares.is_null() {
        remove(object, "spec.limited.assuredConcurrencyShares");
        set_default(object, "spec.limited.nominalConcurrencyShares", shares);
    }
    zero_is_default(object)
}

/// And back.
pub(super) fn priority_level_back(object: &mut Value) {
    let shares = at(object, "spec.limited.nominalConcurrencyShares").clone();
    if !shares.is_null() {
        remove(object, "spec.limited.nominalConcurrencyShares");
        set(object, "spec.limited.assuredConcurrencyShares", shares);
    }
}

/// Until `v1beta3` no shares meant the usual number of them.
pub(super) fn zero_is_default(object: &mut Value) -> Vec<String> {
    if at(object, "spec.limited.nominalConcurrencyShares") == &json!(0) {
        remove(object, "spec.limited.nominalConcurrencyShares");
    }
    Vec::new()
}

/// `rbac.authorization.k8s.io/v1alpha1`: subjects named a version, and the user `*` was everybody.
pub(super) fn subjects(object: &mut Value) -> Vec<String> {
    for subject in items_mut(object, "subjects").filter(|subject| subject.is_object()) {
        let version = str_at(subject, "apiVersion").to_owned();
        map_mut(subject, "").remove("apiVersion");
        if let Some((group, _)) = version.split_once('/') {
            set_default_text(subject, "apiGroup", group);
        }
        if str_at(subject, "kind") == "User" && str_at(subject, "name") == "*" {
            set(subject, "kind", "Group");
            set(subject, "name", "system:authenticated");
        }
    }
    Vec::new()
}

/// `node.k8s.io/v1alpha1 RuntimeClass`: all of it stood in a spec.
pub(super) fn runtime_class(object: &mut Value) -> Vec<String> {
    let Some(spec) = at_mut(object, "spec").map(Value::take) else { return Vec::new() };
    remove(object, "spec");
    for (from, to) in
        [("runtimeHandler", "handler"), ("overhead", "overhead"), ("scheduling", "scheduling")]
    {
        if is_set(&spec, from) {
            set(object, to, at(&spec, from).clone());
        }
    }
    Vec::new()
}

/// `resource.k8s.io/v1beta1 ResourceClaim`: a request was of one device class, without a word.
pub(super) fn claim(object: &mut Value) -> Vec<String> {
    requests(object, "spec.devices.requests");
    Vec::new()
}

/// The same inside a template.
pub(super) fn claim_template(object: &mut Value) -> Vec<String> {
    requests(object, "spec.spec.devices.requests");
    Vec::new()
}

/// And back.
pub(super) fn claim_back(object: &mut Value) {
    requests_back(object, "spec.devices.requests");
}

/// And back.
pub(super) fn claim_template_back(object: &mut Value) {
    requests_back(object, "spec.spec.devices.requests");
}

fn requests_back(object: &mut Value, path: &str) {
    for request in items_mut(object, path) {
        let Some(map) = request.as_object_mut() else { continue };
        if let Some(Value::Object(exactly)) = map.remove("exactly") {
            map.extend(exactly);
        }
    }
}

fn requests(object: &mut Value, path: &str) {
    const FIELDS: [&str; 7] = [
        "adminAccess",
        "allocationMode",
        "capacity",
        "count",
        "deviceClassName",
        "selectors",
        "tolerations",
    ];
    for request in items_mut(object, path).filter(|request| request.is_object()) {
        let map = map_mut(request, "");
        let exactly: Map<String, Value> = FIELDS
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), map.remove(*field)?)))
            .collect();
        if !exactly.is_empty() {
            set_default(request, "exactly", exactly);
        }
    }
}

/// `resource.k8s.io/v1beta1 ResourceSlice`: what a device has stood under `basic`.
pub(super) fn resource_slice(object: &mut Value) -> Vec<String> {
    for device in items_mut(object, "spec.devices").filter(|device| device.is_object()) {
        if let Some(Value::Object(basic)) = map_mut(device, "").remove("basic") {
            for (field, value) in basic {
                map_mut(device, "").entry(field).or_insert(value);
            }
        }
    }
    Vec::new()
}

/// And back.
pub(super) fn resource_slice_back(object: &mut Value) {
    for device in items_mut(object, "spec.devices") {
        let Some(map) = device.as_object_mut() else { continue };
        let name = map.remove("name");
        let basic = std::mem::take(map);
        map.extend(name.map(|name| ("name".to_owned(), name)));
        map.insert("basic".to_owned(), basic.into());
    }
}

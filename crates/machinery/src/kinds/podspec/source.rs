//! What is wrong with the volumes that are somewhere in a network or a cloud: what each must say.

use onggi_api::FieldError;

use super::container::relative_path;
use crate::kinds::storage::driver_name;
use crate::validation::{At, Errors, names};

/// Texts that must be there.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "gitRepo" => &["repository"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "rbd" => &["image"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "storageos" => &["volumeName"],
        _ => &[],
    }
}

/// The rules for a source of a `kind` that stands in `volume`.
pub(super) fn validate(kind: &str, source: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    if matches!(kind, "rbd" | "cephfs") {
        let monitors = source.child("monitors");
        if monitors.items().next().is_none() {
            errors.push(monitors.required(""));
        }
    }
    for field in required(kind) {
        source.child(field).must_be_set(errors);
    }
    match kind {
        "gitRepo" => source.child("directory").may(relative_path, errors),
        "gcePersistentDisk" => google_disk(source, volume, errors),
        "awsElasticBlockStore" => partition(&source.child("partition"), errors),
        "iscsi" => iscsi(source, volume, errors),
        "flocker" => flocker(source, errors),
        "cinder" => named_secret(source, errors),
        "quobyte" => quobyte(source, errors),
        "fc" => fibre_channel(source, errors),
        "flexVolume" => options(&source.child("options"), errors),
        "azureDisk" => azure_disk(source, errors),
        "storageos" => {
            source.child("volumeName").may(names::dns1123_label, errors);
            source.child("volumeNamespace").may(names::dns1123_label, errors);
            named_secret(source, errors);
        }
        "csi" => csi(source, errors),
        _ => {}
    }
}

fn named_secret(source: &At<'_>, errors: &mut Errors) {
    if source.child("secretRef").is_set() {
        source.child("secretRef.name").must_be_set(errors);
    }
}

fn partition(partition: &At<'_>, errors: &mut Errors) {
    if partition.int().is_some_and(|number| !(0..=255).contains(&number)) {
        errors.push(partition.invalid("must be between 1 and 255, inclusive"));
    }
}

/// Kubernetes calls it `persistentDisk` when it complains.
fn google_disk(source: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    let place = volume.path.child("persistentDisk");
    if source.child("pdName").text().is_empty() {
        errors.push(FieldError::required(&place.child("pdName"), ""));
    }
    let part = source.child("partition").int().unwrap_or(0);
    if !(0..=255).contains(&part) {
        let detail = "must be between 1 and 255, inclusive";
        errors.push(FieldError::invalid(&place.child("partition"), part, detail));
    }
}

// === iSCSI ===

fn iscsi(source: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    const PORTAL_MAX: usize = 64;
    let portal = source.child("targetPortal");
    portal.must_be_set(errors);
    let name = source.child("iqn");
    if name.must_be_set(errors) {
        errors.extend(iscsi_name(name.text()).map(|detail| name.invalid(detail)));
    }
    let lun = source.child("lun");
    lun.between(0, 255, errors);
    let secret = source.child("secretRef");
    let secured = ["chapAuthDiscovery", "chapAuthSession"];
    if secured.iter().any(|field| source.child(field).flag()) && !secret.is_set() {
        errors.push(secret.required(""));
    }
    let initiator = source.child("initiatorName");
    if !initiator.is_set() {
        return;
    }
    let path = source.path.child("initiatorname");
    errors.extend(
        iscsi_name(initiator.text()).map(|e| FieldError::invalid(&path, initiator.text(), e)),
    );
    let name = volume.child("name");
    if name.text().len() + 1 + portal.text().len() > PORTAL_MAX {
        errors.push(name.invalid(
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
             iscsi.initiatorName is specified.",
        ));
    }
}

/// What is wrong with the name of a target or an initiator.
fn iscsi_name(name: &str) -> Option<&'static str> {
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    let right = match (name.get(..3), name.get(3..)) {
        (Some("iqn"), Some(rest)) => is_qualified(rest),
        // One letter of any sort after the prefix.
        (Some("eui"), Some(rest)) => {
            rest.get(1..).is_some_and(|r| r.len() == 16 && alphanumeric(r))
        }
        (Some("naa"), Some(rest)) => {
            rest.get(1..).is_some_and(|r| r.len() == 32 && alphanumeric(r))
        }
        _ => return Some("must be valid format starting with iqn, eui, or naa"),
    };
    (!right).then_some("must be valid format")
}

/// `.2001-04.com.example:storage`.
fn is_qualified(rest: &str) -> bool {
    let digits =
        |text: Option<&str>| text.is_some_and(|text| text.chars().all(|c| c.is_ascii_digit()));
    let Some((authority, target)) = rest.split_once(':') else { return false };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    authority.get(..1) == Some(".")
        && digits(authority.get(1..5))
        && authority.get(5..6) == Some("-")
        && digits(authority.get(6..8))
        && authority.get(8..9) == Some(".")
        && authority.get(9..).is_some_and(|name| !name.is_empty() && name.chars().all(known))
        && !target.is_empty()
        && !target.contains(|c: char| c.is_ascii_whitespace() || ",;*&$|".contains(c))
}

// === Others ===

fn flocker(source: &At<'_>, errors: &mut Errors) {
    let (name, uuid) = (source.child("datasetName"), source.child("datasetUUID"));
    match (name.text().is_empty(), uuid.text().is_empty()) {
        (true, true) => {
            errors.push(source.required("one of datasetName and datasetUUID is required"));
        }
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(&source.path, "resource", detail));
        }
        _ => {}
    }
    if name.text().contains('/') {
        errors.push(name.invalid("must not contain '/'"));
    }
}

fn quobyte(source: &At<'_>, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    const TENANT_MAX: usize = 64;
    let (registry, tenant) = (source.child("registry"), source.child("tenant"));
    if registry.text().is_empty() {
        errors.push(registry.required(PAIRS));
    } else if tenant.text().len() > TENANT_MAX {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(tenant.required(detail));
    } else {
        let is_pair = |pair: &&str| {
            let host = pair.rsplit_once(':').map(|(host, _)| host);
            host.is_some_and(|host| !host.contains(':') || host.starts_with('['))
        };
        let wrong = registry.text().split(',').filter(|pair| !is_pair(pair));
        errors.extend(wrong.map(|_| registry.invalid(PAIRS)));
    }
    source.child("volume").must_be_set(errors);
}

fn fibre_channel(source: &At<'_>, errors: &mut Errors) {
    let (ports, ids) = (source.child("targetWWNs"), source.child("wwids"));
    let some = |list: &At<'_>| list.items().next().is_some();
    match (some(&ports), some(&ids)) {
        (false, false) => {
            errors.push(ports.required("must specify either targetWWNs or wwids, but not both"));
        }
        (true, true) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(ports.invalid(detail));
        }
        _ => {}
    }
    let lun = source.child("lun");
    if some(&ports) && !lun.is_set() {
        errors.push(lun.required("lun is required if targetWWNs is specified"));
    } else if some(&ports) {
        lun.between(0, 255, errors);
    }
}

/// The domains of Kubernetes are its own.
fn options(options: &At<'_>, errors: &mut Errors) {
    for (key, value) in options.entries() {
        let domain = key.split('/').next().unwrap_or(key).to_lowercase();
        let reserved = ["kubernetes.io", "k8s.io"].iter().any(|own| {
            domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if reserved {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&value.path, key, detail));
        }
    }
}

fn azure_disk(source: &At<'_>, errors: &mut Errors) {
    const MANAGED: &str = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/\
                           microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/\
                        {disk-name}.vhd";
    source.child("cachingMode").one_of(&["None", "ReadOnly", "ReadWrite"], errors);
    let (kind, uri) = (source.child("kind"), source.child("diskURI"));
    kind.one_of(&["Dedicated", "Managed", "Shared"], errors);
    if !kind.is_set() {
        return;
    }
    let (start, shape) = match kind.text() {
        "Managed" => ("/subscriptions/", MANAGED),
        _ => ("https://", BLOB),
    };
    if !uri.text().starts_with(start) {
        errors.push(FieldError::not_supported(&uri.path, uri.text(), &[shape]));
    }
}

fn csi(source: &At<'_>, errors: &mut Errors) {
    driver_name(&source.child("driver"), errors);
    if !source.child("nodePublishSecretRef").is_set() {
        return;
    }
    let name = source.child("nodePublishSecretRef.name");
    if name.must_be_set(errors) {
        let wrong = names::dns1123_subdomain(name.text()).into_iter();
        let path = source.path.child("name");
        errors.extend(wrong.map(|detail| FieldError::invalid(&path, name.text(), detail)));
    }
}

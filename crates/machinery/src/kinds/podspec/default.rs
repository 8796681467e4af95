//! Defaults of a pod's specification (`pkg/apis/core/v1/defaults.go`). Quantities are written in
//! their canonical form already: the schema does it for every kind.

use serde_json::{Value, json};

use crate::value::{
    at, at_mut, i64_at, is_set, items_mut, map_mut, remove, set, set_default, set_default_text,
    str_at,
};

/// Owner may write, all may read.
const FILE_MODE: i64 = 0o644;
/// How long a projected service account token lives, in seconds.
const TOKEN_SECONDS: i64 = 3600;

/// Sets what was left out of a pod's or a template's `spec`.
pub fn default(spec: &mut Value) {
    // Behind a feature gate that is off.
    remove(spec, "schedulingGroup");
    set_default_text(spec, "restartPolicy", "Always");
    set_default_text(spec, "dnsPolicy", "ClusterFirst");
    set_default_text(spec, "schedulerName", "default-scheduler");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "securityContext", json!({}));
    service_account(spec);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for item in items_mut(spec, list) {
            container(item);
        }
    }
    for item in items_mut(spec, "volumes") {
        volume(item);
    }
}

/// The older name of the field follows the newer one.
fn service_account(spec: &mut Value) {
    let name = match str_at(spec, "serviceAccountName") {
        "" => str_at(spec, "serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = name.to_owned();
        set(spec, "serviceAccount", name.clone());
        set(spec, "serviceAccountName", name);
    }
}

// === Containers ===

fn container(container: &mut Value) {
    let image = str_at(container, "image");
    let always = is_image(image) && image_tag(image) == Some("latest");
    set_default_text(container, "imagePullPolicy", if always { "Always" } else { "IfNotPresent" });
    set_default_text(container, "terminationMessagePath", "/dev/termination-log");
    set_default_text(container, "terminationMessagePolicy", "File");
    set_default(container, "resources", json!({}));
    for port in items_mut(container, "ports") {
        set_default_text(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        field_source(variable, "valueFrom");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = at_mut(container, name) {
            probe(found);
        }
    }
    for name in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        if let Some(found) = at_mut(container, name) {
            http_get(found);
        }
    }
}

/// Whether a text can name an image: `registry:5000/path/name:tag`.
fn is_image(image: &str) -> bool {
    const NAME_MAX: usize = 255;
    let name = image.split('@').next().unwrap_or(image);
    let (above, last) = name.rsplit_once('/').map_or(("", name), |(above, last)| (above, last));
    let last = last.split(':').next().unwrap_or(last);
    let is_part = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends)
            && part.ends_with(ends)
            && part.chars().all(|c| ends(c) || matches!(c, '.' | '_' | '-'))
    };
    let is_host = |part: &str| {
        part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']'))
            && (part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part)
    };
    let mut parts = above.split('/').filter(|_| !above.is_empty());
    let first = parts.next().is_none_or(|part| is_host(part) || is_part(part));
    // An empty name has the newest tag, as far as Kubernetes can tell.
    name.len() <= NAME_MAX && (name.is_empty() || (first && parts.all(is_part) && is_part(last)))
}

/// The tag of an image: `latest` where neither tag nor digest is given, nothing where only a
/// digest is.
pub fn image_tag(image: &str) -> Option<&str> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the port of the registry.
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => Some(tag),
        (None, Some(_)) => None,
        (None, None) => Some("latest"),
    }
}

/// On the host's network a container port is a port of the host.
pub fn host_ports(container: &mut Value) {
    for port in items_mut(container, "ports") {
        if i64_at(port, "hostPort").unwrap_or(0) == 0 {
            set(port, "hostPort", at(port, "containerPort").clone());
        }
    }
}

fn probe(probe: &mut Value) {
    for (field, default) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if i64_at(probe, field).unwrap_or(0) == 0 {
            set(probe, field, default);
        }
    }
    if let Some(found) = at_mut(probe, "httpGet") {
        http_get(found);
    }
    if is_set(probe, "grpc") {
        set_default(probe, "grpc.service", "");
    }
}

fn http_get(action: &mut Value) {
    set_default_text(action, "path", "/");
    set_default_text(action, "scheme", "HTTP");
}

/// `fieldRef` and `resourceFieldRef`, in a variable or a downward file.
fn field_source(holder: &mut Value, prefix: &str) {
    let source = if prefix.is_empty() { Some(holder) } else { at_mut(holder, prefix) };
    let Some(source) = source else { return };
    if is_set(source, "fieldRef") {
        set_default_text(source, "fieldRef.apiVersion", "v1");
    }
    if is_set(source, "resourceFieldRef") {
        set_default(source, "resourceFieldRef.divisor", "0");
    }
    if is_set(source, "fileKeyRef") {
        set_default(source, "fileKeyRef.optional", false);
    }
}

// === Volumes ===

fn volume(volume: &mut Value) {
    let source = volume
        .as_object()
        .and_then(|map| map.iter().find(|(key, value)| *key != "name" && !value.is_null()))
        .map(|(key, _)| key.clone());
    let Some(source) = source else {
        map_mut(volume, "emptyDir");
        return;
    };
    let Some(found) = at_mut(volume, &source) else { return };
    match source.as_str() {
        "hostPath" => set_default(found, "type", ""),
        "secret" | "configMap" => set_default(found, "defaultMode", FILE_MODE),
        "downwardAPI" => {
            set_default(found, "defaultMode", FILE_MODE);
            downward_items(found);
        }
        "projected" => projected(found),
        "image" => {
            let always = image_tag(str_at(found, "reference")) == Some("latest");
            set_default_text(found, "pullPolicy", if always { "Always" } else { "IfNotPresent" });
        }
        "azureDisk" => {
            set_default_text(found, "cachingMode", "ReadWrite");
            set_default_text(found, "fsType", "ext4");
            set_default_text(found, "kind", "Shared");
            set_default(found, "readOnly", false);
        }
        "iscsi" => set_default_text(found, "iscsiInterface", "default"),
        "rbd" => {
            set_default_text(found, "pool", "rbd");
            set_default_text(found, "user", "admin");
            set_default_text(found, "keyring", "/etc/ceph/keyring");
        }
        "scaleIO" => {
            set_default_text(found, "storageMode", "ThinProvisioned");
            set_default_text(found, "fsType", "xfs");
        }
        "ephemeral" if is_set(found, "volumeClaimTemplate") => {
            set_default(found, "volumeClaimTemplate.spec.volumeMode", "Filesystem");
        }
        _ => {}
    }
}

fn downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        field_source(item, "");
    }
}

fn projected(volume: &mut Value) {
    set_default(volume, "defaultMode", FILE_MODE);
    for source in items_mut(volume, "sources") {
        if is_set(source, "serviceAccountToken") {
            set_default(source, "serviceAccountToken.expirationSeconds", TOKEN_SECONDS);
        }
        if let Some(downward) = at_mut(source, "downwardAPI") {
            downward_items(downward);
        }
    }
}

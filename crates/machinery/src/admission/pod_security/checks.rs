//! The checks themselves. Texts are those of Kubernetes, which people and tests look for.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::value::{at, entries_at, i64_at, is_set, list_at, str_at};

/// What is judged.
pub(super) struct Pod<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

fn found(reason: &'static str, detail: String) -> Option<Found> {
    Some(Found { reason, detail })
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| list_at(spec, list))
    }

    /// Names of the containers of which something holds.
    fn named(&self, bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| bad(c)).map(|c| str_at(c, "name")).collect()
    }

    fn is_windows(&self) -> bool {
        str_at(self.spec, "os.name") == "windows"
    }

    /// What is root inside is nobody outside.
    fn has_own_users(&self) -> bool {
        at(self.spec, "hostUsers") == false
    }
}

fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> =
        items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    items.join(", ")
}

fn plural<'t>(one: &'t str, many: &'t str, count: usize) -> &'t str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod and container "a"`.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let mut all = Vec::new();
    all.extend(pod.then(|| "pod".to_owned()));
    all.extend((!names.is_empty()).then(|| containers(names)));
    (!all.is_empty()).then(|| all.join(" and "))
}

// --- Baseline ---

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Found> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let bad = |holder: &Value| {
        let profile = at(holder, "securityContext.appArmorProfile");
        profile.is_object() && !matches!(str_at(profile, "type"), "RuntimeDefault" | "Localhost")
    };
    let kind = |holder: &Value| str_at(holder, "securityContext.appArmorProfile.type").to_owned();
    let names = pod.named(bad);
    let mut values: BTreeSet<String> = pod.containers().filter(|c| bad(c)).map(kind).collect();
    values.extend(bad(pod.spec).then(|| kind(pod.spec)));
    let mut by: Vec<String> = setters(bad(pod.spec), &names).into_iter().collect();
    let mut annotations: Vec<String> = entries_at(pod.metadata, "annotations")
        .filter(|(key, _)| key.starts_with(ANNOTATION))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| {
            !value.is_empty() && *value != "runtime/default" && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    annotations.sort();
    if !annotations.is_empty() {
        by.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if by.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().chain(annotations).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    found(
        match reason {
            "forbidden AppArmor profile" => "forbidden AppArmor profile",
            _ => "forbidden AppArmor profiles",
        },
        format!("{} must not set AppArmor profile type to {}", by.join(" and "), quoted(values)),
    )
}

const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities<'v>(container: &'v Value, what: &str) -> impl Iterator<Item = &'v str> + use<'v> {
    let all = at(at(container, "securityContext.capabilities"), what);
    all.as_array().into_iter().flatten().filter_map(Value::as_str)
}

pub(super) fn capabilities_baseline(pod: &Pod<'_>) -> Option<Found> {
    let extra = |container: &Value| -> BTreeSet<String> {
        capabilities(container, "add")
            .filter(|name| !DEFAULT_CAPABILITIES.contains(name))
            .map(str::to_owned)
            .collect()
    };
    let names = pod.named(|container| !extra(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = pod.containers().flat_map(extra).collect();
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&names),
        quoted(all)
    );
    found("non-default capabilities", detail)
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Found> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| at(pod.spec, field) == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() { None } else { found("host namespaces", shared.join(", ")) }
}

pub(super) fn host_paths(pod: &Pod<'_>) -> Option<Found> {
    let volumes = list_at(pod.spec, "volumes").iter().filter(|v| is_set(v, "hostPath"));
    let names: Vec<&str> = volumes.map(|volume| str_at(volume, "name")).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    found("hostPath volumes", detail)
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Found> {
    let ports = |container: &Value| -> BTreeSet<String> {
        let all = list_at(container, "ports").iter().filter_map(|port| i64_at(port, "hostPort"));
        all.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = pod.named(|container| !ports(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = pod.containers().flat_map(ports).collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("hostPort", "hostPorts", all.len()),
        all.into_iter().collect::<Vec<_>>().join(", ")
    );
    found("hostPort", detail)
}

pub(super) fn probe_hosts(pod: &Pod<'_>) -> Option<Found> {
    const HANDLERS: [&str; 5] = [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle.postStart",
        "lifecycle.preStop",
    ];
    let hosts = |container: &Value| -> BTreeSet<String> {
        HANDLERS
            .iter()
            .map(|handler| at(container, handler))
            .flat_map(|handler| {
                ["httpGet.host", "tcpSocket.host"].map(|host| str_at(handler, host))
            })
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let names: BTreeSet<&str> = pod.named(|c| !hosts(c).is_empty()).into_iter().collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let all: BTreeSet<String> = pod.containers().flat_map(hosts).collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", all.len()),
        quoted(all)
    );
    found("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Found> {
    let names = pod.named(|container| at(container, "securityContext.privileged") == true);
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
    found("privileged", detail)
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Found> {
    let kind = |container: &Value| match str_at(container, "securityContext.procMount") {
        "" | "Default" => None,
        other => Some(other.to_owned()),
    };
    let names = pod.named(|container| kind(container).is_some());
    if names.is_empty() {
        return None;
    }
    let kinds: BTreeSet<String> = pod.containers().filter_map(kind).collect();
    let detail = format!(
        "{} must not set securityContext.procMount to {}",
        containers(&names),
        quoted(kinds)
    );
    found("procMount", detail)
}

pub(super) fn proc_mount_1_35(pod: &Pod<'_>) -> Option<Found> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

pub(super) fn se_linux(pod: &Pod<'_>) -> Option<Found> {
    se_linux_of(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn se_linux_1_31(pod: &Pod<'_>) -> Option<Found> {
    let allowed = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    se_linux_of(pod, &allowed)
}

fn se_linux_of(pod: &Pod<'_>, allowed: &[&str]) -> Option<Found> {
    let options = |holder: &Value| at(holder, "securityContext.seLinuxOptions").clone();
    let kind = |holder: &Value| {
        let kind = str_at(&options(holder), "type").to_owned();
        (!allowed.contains(&kind.as_str())).then_some(kind)
    };
    let sets = |holder: &Value, field: &str| !str_at(&options(holder), field).is_empty();
    let bad =
        |holder: &Value| kind(holder).is_some() || sets(holder, "user") || sets(holder, "role");
    let by = setters(bad(pod.spec), &pod.named(bad))?;
    let holders = || pod.containers().chain([pod.spec]);
    let kinds: BTreeSet<String> = holders().filter_map(kind).collect();
    let mut data = Vec::new();
    if !kinds.is_empty() {
        data.push(format!("{} {}", plural("type", "types", kinds.len()), quoted(&kinds)));
    }
    for field in ["user", "role"] {
        if holders().any(|holder| sets(holder, field)) {
            data.push(format!("{field} may not be set"));
        }
    }
    let detail = format!("{by} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    found("seLinuxOptions", detail)
}

pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Found> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let keys = pod.containers().map(|c| format!("{CONTAINER}{}", str_at(c, "name")));
    let annotations = at(pod.metadata, "annotations");
    let forbidden: BTreeSet<String> = [POD.to_owned()]
        .into_iter()
        .chain(keys)
        .filter_map(|key| {
            let value = annotations.get(&key)?.as_str()?;
            let good = matches!(value, "runtime/default" | "docker/default")
                || value.starts_with("localhost/");
            (!good).then(|| format!("{key}={value:?}"))
        })
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let detail = format!(
        "forbidden {} {}",
        plural("annotation", "annotations", forbidden.len()),
        forbidden.into_iter().collect::<Vec<_>>().join(", ")
    );
    found("seccompProfile", detail)
}

/// Whether a profile is set, and whether it is a good one.
fn seccomp(holder: &Value) -> Option<bool> {
    let profile = at(holder, "securityContext.seccompProfile");
    profile.is_object().then(|| matches!(str_at(profile, "type"), "RuntimeDefault" | "Localhost"))
}

pub(super) fn seccomp_baseline(pod: &Pod<'_>) -> Option<Found> {
    let bad = |holder: &Value| seccomp(holder) == Some(false);
    let by = setters(bad(pod.spec), &pod.named(bad))?;
    let holders = pod.containers().chain([pod.spec]).filter(|holder| bad(holder));
    let kinds: BTreeSet<&str> =
        holders.map(|holder| str_at(holder, "securityContext.seccompProfile.type")).collect();
    let detail =
        format!("{by} must not set securityContext.seccompProfile.type to {}", quoted(kinds));
    found("seccompProfile", detail)
}

const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

fn sysctls_of(pod: &Pod<'_>, minor: u32) -> Option<Found> {
    let allowed =
        |name: &&str| SYSCTLS.iter().any(|(since, known)| *since <= minor && known == name);
    let set = list_at(pod.spec, "securityContext.sysctls").iter().map(|s| str_at(s, "name"));
    let forbidden: Vec<&str> = set.filter(|name| !allowed(name)).collect();
    if forbidden.is_empty() { None } else { found("forbidden sysctls", forbidden.join(", ")) }
}

pub(super) fn sysctls(pod: &Pod<'_>) -> Option<Found> {
    sysctls_of(pod, 0)
}

pub(super) fn sysctls_1_27(pod: &Pod<'_>) -> Option<Found> {
    sysctls_of(pod, 27)
}

pub(super) fn sysctls_1_29(pod: &Pod<'_>) -> Option<Found> {
    sysctls_of(pod, 29)
}

pub(super) fn sysctls_1_32(pod: &Pod<'_>) -> Option<Found> {
    sysctls_of(pod, 32)
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Found> {
    let bad = |holder: &Value| at(holder, "securityContext.windowsOptions.hostProcess") == true;
    let by = setters(bad(pod.spec), &pod.named(bad))?;
    let detail = format!("{by} must not set securityContext.windowsOptions.hostProcess=true");
    found("hostProcess", detail)
}

// --- Restricted ---

pub(super) fn privilege_escalation(pod: &Pod<'_>) -> Option<Found> {
    let names =
        pod.named(|container| at(container, "securityContext.allowPrivilegeEscalation") != false);
    if names.is_empty() {
        return None;
    }
    let detail =
        format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    found("allowPrivilegeEscalation != false", detail)
}

pub(super) fn privilege_escalation_1_25(pod: &Pod<'_>) -> Option<Found> {
    if pod.is_windows() { None } else { privilege_escalation(pod) }
}

pub(super) fn capabilities_restricted(pod: &Pod<'_>) -> Option<Found> {
    let keeping = pod.named(|container| !capabilities(container, "drop").any(|c| c == "ALL"));
    let extra = |container: &Value| -> BTreeSet<String> {
        let added = capabilities(container, "add").filter(|name| *name != "NET_BIND_SERVICE");
        added.map(str::to_owned).collect()
    };
    let adding = pod.named(|container| !extra(container).is_empty());
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeping)
        ));
    }
    if !adding.is_empty() {
        let all: BTreeSet<String> = pod.containers().flat_map(extra).collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adding),
            quoted(all)
        ));
    }
    if details.is_empty() { None } else { found("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn capabilities_restricted_1_25(pod: &Pod<'_>) -> Option<Found> {
    if pod.is_windows() { None } else { capabilities_restricted(pod) }
}

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Found> {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let bad = |volume: &&Value| !ALLOWED.iter().any(|kind| is_set(volume, kind));
    let volumes: Vec<&Value> = list_at(pod.spec, "volumes").iter().filter(bad).collect();
    if volumes.is_empty() {
        return None;
    }
    let kinds: BTreeSet<&str> = volumes
        .iter()
        .map(|volume| {
            let fields = volume.as_object().into_iter().flatten();
            let mut kinds = fields.filter(|(key, value)| *key != "name" && value.is_object());
            kinds.next().map_or("unknown", |(key, _)| key.as_str())
        })
        .collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", volumes.len()),
        quoted(volumes.iter().map(|volume| str_at(volume, "name"))),
        plural("uses", "use", volumes.len()),
        plural("restricted volume type", "restricted volume types", kinds.len()),
        quoted(kinds)
    );
    found("restricted volume types", detail)
}

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Found> {
    const REASON: &str = "runAsNonRoot != true";
    let says = |holder: &Value| at(holder, "securityContext.runAsNonRoot").as_bool();
    let names = pod.named(|container| says(container) == Some(false));
    if let Some(by) = setters(says(pod.spec) == Some(false), &names) {
        return found(REASON, format!("{by} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = match says(pod.spec) {
        Some(true) => Vec::new(),
        _ => pod.named(|container| says(container).is_none()),
    };
    if silent.is_empty() {
        return None;
    }
    let silent = containers(&silent);
    found(REASON, format!("pod or {silent} must set securityContext.runAsNonRoot=true"))
}

pub(super) fn non_root_1_35(pod: &Pod<'_>) -> Option<Found> {
    if pod.has_own_users() { None } else { non_root(pod) }
}

pub(super) fn user(pod: &Pod<'_>) -> Option<Found> {
    let root = |holder: &Value| i64_at(holder, "securityContext.runAsUser") == Some(0);
    let by = setters(root(pod.spec), &pod.named(root))?;
    found("runAsUser=0", format!("{by} must not set runAsUser=0"))
}

pub(super) fn user_1_35(pod: &Pod<'_>) -> Option<Found> {
    if pod.has_own_users() { None } else { user(pod) }
}

pub(super) fn seccomp_restricted(pod: &Pod<'_>) -> Option<Found> {
    if let Some(bad) = seccomp_baseline(pod) {
        return Some(bad);
    }
    let silent = match seccomp(pod.spec) {
        Some(true) => Vec::new(),
        _ => pod.named(|container| seccomp(container).is_none()),
    };
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    found("seccompProfile", detail)
}

pub(super) fn seccomp_restricted_1_25(pod: &Pod<'_>) -> Option<Found> {
    if pod.is_windows() { None } else { seccomp_restricted(pod) }
}

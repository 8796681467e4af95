//! Pods, their templates, containers and volumes.

use onggi_api::quantity::Quantity;
use onggi_machinery::value::{at, bool_at, entries_at, find, i64_at, list_at, str_at};
use serde_json::Value;

use super::text::{Text, or, time};

pub(super) fn pod(text: &mut Text, pod: &Value) {
    let spec = at(pod, "spec");
    let status = at(pod, "status");
    text.field(0, "Name", str_at(pod, "metadata.name"));
    text.field(0, "Namespace", str_at(pod, "metadata.namespace"));
    text.field(0, "Priority", &i64_at(spec, "priority").unwrap_or(0).to_string());
    text.some(0, "Priority Class Name", str_at(spec, "priorityClassName"));
    text.field(0, "Service Account", str_at(spec, "serviceAccountName"));
    match str_at(spec, "nodeName") {
        "" => text.field(0, "Node", "<none>"),
        node => text.field(0, "Node", &format!("{node}/{}", str_at(status, "hostIP"))),
    }
    if !str_at(status, "startTime").is_empty() {
        text.field(0, "Start Time", &time(status, "startTime"));
    }
    text.labels(pod);
    text.annotations(pod);
    if str_at(pod, "metadata.deletionTimestamp").is_empty() {
        text.field(0, "Status", str_at(status, "phase"));
    } else {
        let grace = i64_at(pod, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
        text.field(0, "Status", "Terminating");
        text.field(0, "Termination Grace Period", &format!("{grace}s"));
    }
    text.some(0, "Reason", str_at(status, "reason"));
    text.some(0, "Message", str_at(status, "message"));
    seccomp(text, 0, 0, spec);
    text.field(0, "IP", str_at(status, "podIP"));
    let addresses = list_at(status, "podIPs");
    if addresses.is_empty() {
        text.field(0, "IPs", "<none>");
    } else {
        text.line(0, "IPs:");
        for address in addresses {
            text.field(1, "IP", str_at(address, "ip"));
        }
    }
    let owner = list_at(pod, "metadata.ownerReferences").iter().find(|o| o["controller"] == true);
    if let Some(owner) = owner {
        let owner = format!("{}/{}", str_at(owner, "kind"), str_at(owner, "name"));
        text.field(0, "Controlled By", &owner);
    }
    text.some(0, "NominatedNodeName", str_at(status, "nominatedNodeName"));
    if !at(spec, "resources").is_null() {
        text.line(0, "Resources:");
        amounts(text, 1, at(spec, "resources"));
    }
    for (label, list, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        if list == "containers" || !list_at(spec, list).is_empty() {
            text.line(0, &format!("{label}:"));
            let statuses = list_at(status, statuses);
            containers(text, false, list_at(spec, list), Some((pod, statuses)));
        }
    }
    let conditions = list_at(status, "conditions");
    let gates = list_at(spec, "readinessGates");
    if !gates.is_empty() {
        text.line(0, "Readiness Gates:");
        text.line(1, "Type\tStatus");
        for gate in gates {
            let kind = str_at(gate, "conditionType");
            let met = conditions.iter().find(|c| str_at(c, "type") == kind);
            let status = met.map_or("<none>", |c| str_at(c, "status"));
            text.line(1, &format!("{kind} \t{status} "));
        }
    }
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus");
        for condition in conditions {
            let (kind, status) = (str_at(condition, "type"), str_at(condition, "status"));
            text.line(1, &format!("{kind} \t{status} "));
        }
    }
    volumes(text, false, list_at(spec, "volumes"));
    text.field(0, "QoS Class", str_at(status, "qosClass"));
    selectors_and_tolerations(text, spec);
}

fn selectors_and_tolerations(text: &mut Text, spec: &Value) {
    text.map(0, "Node-Selectors", spec, "nodeSelector", "=");
    let mut tolerations: Vec<&Value> = list_at(spec, "tolerations").iter().collect();
    tolerations.sort_by_key(|one| str_at(one, "key"));
    let tolerations: Vec<String> = tolerations.into_iter().map(toleration).collect();
    if tolerations.is_empty() {
        text.field(0, "Tolerations", "<none>");
    }
    for (at, toleration) in tolerations.iter().enumerate() {
        let name = if at == 0 { "Tolerations:" } else { "" };
        text.line(0, &format!("{name}\t{toleration}"));
    }
    for (at, constraint) in list_at(spec, "topologySpreadConstraints").iter().enumerate() {
        let name = if at == 0 { "Topology Spread Constraints:" } else { "" };
        text.line(0, &format!("{name}\t{}", spread(constraint)));
    }
}

fn spread(constraint: &Value) -> String {
    let of = |field: &str| str_at(constraint, field);
    let skew = i64_at(constraint, "maxSkew").unwrap_or(0);
    let selector = match at(constraint, "labelSelector") {
        Value::Null => String::new(),
        selector => {
            let text = onggi_machinery::table::selector_text(selector);
            format!(" for selector {text}")
        }
    };
    format!(
        "{}:{} when max skew {skew} is exceeded{selector}",
        of("topologyKey"),
        of("whenUnsatisfiable")
    )
}

fn toleration(toleration: &Value) -> String {
    let mut said = str_at(toleration, "key").to_owned();
    let (value, effect) = (str_at(toleration, "value"), str_at(toleration, "effect"));
    if !value.is_empty() {
        said += &format!("={value}");
    }
    if !effect.is_empty() {
        said += &format!(":{effect}");
    }
    if str_at(toleration, "operator") == "Exists" && value.is_empty() {
        said += if said.is_empty() { "op=Exists" } else { " op=Exists" };
    }
    if let Some(seconds) = i64_at(toleration, "tolerationSeconds") {
        said += &format!(" for {seconds}s");
    }
    said
}

/// `Pod Template:` of a workload or of a revision, with tabs.
pub fn template(template: &Value, cause: Option<&str>) -> String {
    let mut text = Text::default();
    template_into(&mut text, template, cause);
    text.0
}

pub(super) fn template_into(text: &mut Text, template: &Value, cause: Option<&str>) {
    text.line(0, "Pod Template:");
    text.map(1, "Labels", template, "metadata.labels", "=");
    let annotated = entries_at(template, "metadata.annotations").next().is_some();
    if annotated || cause.is_some() {
        let mut annotations = template.clone();
        if let Some(cause) = cause {
            let map = onggi_machinery::value::map_mut(&mut annotations, "metadata.annotations");
            map.insert(crate::rollout::CHANGE_CAUSE.to_owned(), cause.into());
        }
        text.map(1, "Annotations", &annotations, "metadata.annotations", ": ");
    }
    let spec = at(template, "spec");
    let account = str_at(spec, "serviceAccountName");
    if !account.is_empty() {
        text.field(1, "Service Account", account);
    }
    for (label, list) in [("Init Containers", "initContainers"), ("Containers", "containers")] {
        if list == "containers" || !list_at(spec, list).is_empty() {
            text.line(1, &format!("{label}:"));
            containers(text, true, list_at(spec, list), None);
        }
    }
    volumes(text, true, list_at(spec, "volumes"));
    // One level in, as the rest of the template.
    let mut rest = Text::default();
    selectors_and_tolerations(&mut rest, spec);
    for line in rest.0.lines() {
        text.line(1, line);
    }
}

/// `statuses` is `None` for a template, which has none. Names are indented by one space more there
/// (`nested`), and nothing else is.
/// The profile of what may call the kernel; its file stands on a level of its own.
fn seccomp(text: &mut Text, level: usize, inner: usize, of: &Value) {
    let profile = at(of, "securityContext.seccompProfile");
    if profile.is_null() {
        return;
    }
    text.field(level, "SeccompProfile", str_at(profile, "type"));
    text.some(inner, "LocalhostProfile", str_at(profile, "localhostProfile"));
}

/// Limits and requests.
fn amounts(text: &mut Text, level: usize, resources: &Value) {
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let mut entries = entries_at(resources, field).peekable();
        if entries.peek().is_some() {
            text.line(level, &format!("{label}:"));
        }
        for (name, quantity) in entries {
            text.field(level + 1, name, quantity.as_str().unwrap_or_default());
        }
    }
}

/// `of`: the pod and the statuses of its containers; a template has none.
fn containers(text: &mut Text, nested: bool, containers: &[Value], of: Option<(&Value, &[Value])>) {
    let (pod, statuses) = of.unzip();
    let level = 2;
    for container in containers {
        let name = str_at(container, "name");
        text.line(1, &format!("{}{name}:", if nested { " " } else { "" }));
        let status = statuses.and_then(|statuses| find(statuses, "name", name));
        if let Some(status) = status {
            text.field(level, "Container ID", str_at(status, "containerID"));
        }
        text.field(level, "Image", str_at(container, "image"));
        if let Some(status) = status {
            text.field(level, "Image ID", str_at(status, "imageID"));
        }
        ports(text, level, list_at(container, "ports"));
        seccomp(text, level, level + 1, container);
        for (label, list) in [("Command", "command"), ("Args", "args")] {
            if !list_at(container, list).is_empty() {
                text.line(level, &format!("{label}:"));
                for word in list_at(container, list).iter().filter_map(Value::as_str) {
                    word.lines().for_each(|line| text.line(level + 1, line));
                }
            }
        }
        if let Some(status) = status {
            state(text, level, "State", at(status, "state"), true);
            state(text, level, "Last State", at(status, "lastState"), false);
            let ready = if bool_at(status, "ready") { "True" } else { "False" };
            text.field(level, "Ready", ready);
            let restarts = i64_at(status, "restartCount").unwrap_or(0);
            text.field(level, "Restart Count", &restarts.to_string());
        }
        amounts(text, level, at(container, "resources"));
        for (label, field) in [
            ("Liveness", "livenessProbe"),
            ("Readiness", "readinessProbe"),
            ("Startup", "startupProbe"),
        ] {
            if let Some(probe) = container.get(field) {
                text.field(level, label, &probe_text(probe));
            }
        }
        environment(text, level, container, pod);
        let mounts = list_at(container, "volumeMounts");
        if mounts.is_empty() {
            text.field(level, "Mounts", "<none>");
        } else {
            text.line(level, "Mounts:");
        }
        let mut lines: Vec<String> = mounts.iter().map(mount).collect();
        lines.sort();
        lines.iter().for_each(|line| text.line(level + 1, line));
        let devices = list_at(container, "volumeDevices");
        if !devices.is_empty() {
            text.line(level, "Devices:");
        }
        let device = |device: &Value| {
            format!("{} from {}", str_at(device, "devicePath"), str_at(device, "name"))
        };
        let mut lines: Vec<String> = devices.iter().map(device).collect();
        lines.sort();
        lines.iter().for_each(|line| text.line(level + 1, line));
    }
}

/// What a `fieldRef` reads from the metadata of a pod.
fn field_of(pod: &Value, path: &str) -> String {
    let of = |list: &str, key: &str| {
        let key = key.trim_end_matches(']').trim_matches('\'');
        at(&pod["metadata"], list).get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let all = |list: &str, sign: &str| {
        let entries = entries_at(&pod["metadata"], list);
        let lines = entries.map(|(key, value)| format!("{key}={sign}{value}{sign}"));
        lines.collect::<Vec<_>>().join("\n").replace("\"\"", "\"")
    };
    match path {
        "metadata.name" | "metadata.namespace" | "metadata.uid" => str_at(pod, path).to_owned(),
        "metadata.labels" => all("labels", ""),
        "metadata.annotations" => all("annotations", ""),
        path => match path.strip_prefix("metadata.").and_then(|rest| rest.split_once('[')) {
            Some((list @ ("labels" | "annotations"), key)) => of(list, key),
            _ => String::new(),
        },
    }
}

/// What a `resourceFieldRef` reads, in its unit, rounded up.
fn amount_of(container: &Value, from: &Value) -> Option<String> {
    let (list, name) = str_at(from, "resource").split_once('.')?;
    let parse = |text: &str| text.parse::<Quantity>().ok();
    let amount = at(&container["resources"], list).get(name).and_then(Value::as_str);
    let amount = amount.map_or(Some(Quantity::from_units(0)), parse)?;
    let unit = match at(from, "divisor") {
        Value::String(text) => parse(text)?,
        _ => Quantity::from_units(0),
    };
    let unit = if unit.is_zero() { Quantity::from_units(1) } else { unit };
    let (amount, unit) = match name {
        "cpu" => (amount.millis(), unit.millis()),
        "memory" | "ephemeral-storage" => (amount.units(), unit.units()),
        name if name.starts_with("hugepages-") => (amount.units(), unit.units()),
        _ => return None,
    };
    (unit > 0).then(|| ((amount as f64) / (unit as f64)).ceil().to_string())
}

fn ports(text: &mut Text, level: usize, ports: &[Value]) {
    let list = |field: &str| {
        let one = |port: &Value| {
            let protocol = or(str_at(port, "protocol"), "TCP");
            let name = match str_at(port, "name") {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            format!("{}/{protocol}{name}", i64_at(port, field).unwrap_or(0))
        };
        let texts: Vec<String> = ports.iter().map(one).collect();
        if texts.is_empty() { "<none>".to_owned() } else { texts.join(", ") }
    };
    let (name, host) =
        if ports.len() > 1 { ("Ports", "Host Ports") } else { ("Port", "Host Port") };
    text.field(level, name, &list("containerPort"));
    text.field(level, host, &list("hostPort"));
}

fn state(text: &mut Text, level: usize, label: &str, state: &Value, always: bool) {
    if let Some(running) = state.get("running") {
        text.field(level, label, "Running");
        text.field(level + 1, "Started", &time(running, "startedAt"));
    } else if let Some(waiting) = state.get("waiting") {
        text.field(level, label, "Waiting");
        text.some(level + 1, "Reason", str_at(waiting, "reason"));
    } else if let Some(ended) = state.get("terminated") {
        text.field(level, label, "Terminated");
        text.some(level + 1, "Reason", str_at(ended, "reason"));
        text.some(level + 1, "Message", str_at(ended, "message"));
        let code = i64_at(ended, "exitCode").unwrap_or(0);
        text.field(level + 1, "Exit Code", &code.to_string());
        if let Some(signal) = i64_at(ended, "signal").filter(|signal| *signal > 0) {
            text.field(level + 1, "Signal", &signal.to_string());
        }
        text.field(level + 1, "Started", &time(ended, "startedAt"));
        text.field(level + 1, "Finished", &time(ended, "finishedAt"));
    } else if always {
        text.field(level, label, "Waiting");
    }
}

fn probe_text(probe: &Value) -> String {
    let number = |field: &str, default: i64| i64_at(probe, field).unwrap_or(default);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3),
    );
    let port = |action: &Value| match at(action, "port") {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    };
    if let Some(exec) = probe.get("exec") {
        let words: Vec<&str> = list_at(exec, "command").iter().filter_map(Value::as_str).collect();
        format!("exec [{}] {attributes}", words.join(" "))
    } else if let Some(http) = probe.get("httpGet") {
        let scheme = or(str_at(http, "scheme"), "HTTP").to_ascii_lowercase();
        let (host, path) = (str_at(http, "host"), str_at(http, "path"));
        format!("http-get {scheme}://{host}:{}{path} {attributes}", port(http))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{} {attributes}", str_at(tcp, "host"), port(tcp))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {} {attributes}", port(grpc), str_at(grpc, "service"))
    } else {
        format!("unknown {attributes}")
    }
}

fn environment(text: &mut Text, level: usize, container: &Value, pod: Option<&Value>) {
    let sources = list_at(container, "envFrom");
    if !sources.is_empty() {
        text.line(level, "Environment Variables from:");
    }
    for source in sources {
        let (kind, reference) = match source.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", at(source, "secretRef")),
        };
        let prefix = match str_at(source, "prefix") {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        let (name, optional) = (str_at(reference, "name"), bool_at(reference, "optional"));
        text.line(level + 1, &format!("{name}\t{kind}{prefix}\tOptional: {optional}"));
    }
    let variables = list_at(container, "env");
    if variables.is_empty() {
        text.field(level, "Environment", "<none>");
        return;
    }
    text.line(level, "Environment:");
    for variable in variables {
        let name = str_at(variable, "name");
        let source = at(variable, "valueFrom");
        let reference = |kind: &str, from: &Value| {
            let (key, of) = (str_at(from, "key"), str_at(from, "name"));
            format!(
                "<set to the key '{key}' {kind} '{of}'>\tOptional: {}",
                bool_at(from, "optional")
            )
        };
        let value = if let Some(from) = source.get("configMapKeyRef") {
            reference("of config map", from)
        } else if let Some(from) = source.get("secretKeyRef") {
            reference("in secret", from)
        } else if let Some(from) = source.get("fieldRef") {
            let version = or(str_at(from, "apiVersion"), "v1");
            let path = str_at(from, "fieldPath");
            let value = pod.map_or_else(String::new, |pod| field_of(pod, path));
            format!("{value} ({version}:{path})")
        } else if let Some(from) = source.get("resourceFieldRef") {
            let resource = str_at(from, "resource");
            let value = amount_of(container, from).unwrap_or_default();
            let all = value == "0" && matches!(resource, "limits.cpu" | "limits.memory");
            let value = if all { "node allocatable" } else { &value };
            format!("{value} ({resource})")
        } else {
            let value = str_at(variable, "value");
            for (at, line) in value.split('\n').enumerate() {
                let name = if at == 0 { format!("{name}:") } else { String::new() };
                text.line(level + 1, &format!("{name}\t{line}"));
            }
            continue;
        };
        text.field(level + 1, name, &value);
    }
}

fn mount(mount: &Value) -> String {
    let mut flags = vec![if bool_at(mount, "readOnly") { "ro" } else { "rw" }.to_owned()];
    if let Some(path) = mount.get("subPath").and_then(Value::as_str) {
        flags.push(format!("path={path:?}"));
    }
    let (path, name) = (str_at(mount, "mountPath"), str_at(mount, "name"));
    format!("{path} from {name} ({})", flags.join(","))
}

fn volumes(text: &mut Text, nested: bool, volumes: &[Value]) {
    let top = usize::from(nested);
    if volumes.is_empty() {
        text.field(top, "Volumes", "<none>");
        return;
    }
    text.line(top, "Volumes:");
    for volume in volumes {
        let name = str_at(volume, "name");
        text.line(1, &format!("{}{name}:", if nested { " " } else { "" }));
        source(text, volume);
    }
}

/// What a volume is made of: `volume` holds a source under the name of its kind.
pub(super) fn source(text: &mut Text, volume: &Value) {
    let level = 2;
    let optional = |source: &Value| bool_at(source, "optional").to_string();
    if let Some(source) = volume.get("configMap") {
        text.field(level, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        text.field(level, "Name", str_at(source, "name"));
        text.field(level, "Optional", &optional(source));
    } else if let Some(source) = volume.get("secret") {
        text.field(level, "Type", "Secret (a volume populated by a Secret)");
        text.field(level, "SecretName", str_at(source, "secretName"));
        text.field(level, "Optional", &optional(source));
    } else if let Some(source) = volume.get("emptyDir") {
        let kind = "EmptyDir (a temporary directory that shares a pod's lifetime)";
        text.field(level, "Type", kind);
        text.field(level, "Medium", str_at(source, "medium"));
        text.field(level, "SizeLimit", or(str_at(source, "sizeLimit"), "<unset>"));
    } else if let Some(source) = volume.get("hostPath") {
        text.field(level, "Type", "HostPath (bare host directory volume)");
        text.field(level, "Path", str_at(source, "path"));
        text.field(level, "HostPathType", str_at(source, "type"));
    } else if let Some(source) = volume.get("projected") {
        let kind = "Projected (a volume that contains injected data from multiple sources)";
        text.field(level, "Type", kind);
        for source in list_at(source, "sources") {
            projected(text, level, source);
        }
    } else if let Some(source) = volume.get("downwardAPI") {
        text.field(level, "Type", "DownwardAPI (a volume populated by information about the pod)");
        text.line(level, "Items:");
        for item in list_at(source, "items") {
            let path = str_at(item, "path");
            let field = match str_at(item, "fieldRef.fieldPath") {
                "" => str_at(item, "resourceFieldRef.resource"),
                field => field,
            };
            text.line(level + 1, &format!("{field} -> {path}"));
        }
    } else if let Some(source) = volume.get("persistentVolumeClaim") {
        let kind =
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)";
        text.field(level, "Type", kind);
        text.field(level, "ClaimName", str_at(source, "claimName"));
        text.field(level, "ReadOnly", &bool_at(source, "readOnly").to_string());
    } else if let Some(source) = volume.get("nfs") {
        text.field(level, "Type", "NFS (an NFS mount that lasts the lifetime of a pod)");
        text.field(level, "Server", str_at(source, "server"));
        text.field(level, "Path", str_at(source, "path"));
        text.field(level, "ReadOnly", &bool_at(source, "readOnly").to_string());
    } else if let Some(source) = volume.get("local") {
        let kind = "LocalVolume (a persistent volume backed by local storage on a node)";
        text.field(level, "Type", kind);
        text.field(level, "Path", str_at(source, "path"));
    } else if let Some(source) = volume.get("ephemeral") {
        let kind = "EphemeralVolume (an inline specification for a volume that gets created and \
                    deleted with the pod)";
        text.field(level, "Type", kind);
        let claim = at(source, "volumeClaimTemplate");
        let spec = at(claim, "spec");
        text.field(level, "StorageClass", str_at(spec, "storageClassName"));
        text.field(level, "Volume", str_at(spec, "volumeName"));
        indented(text, level, "Labels", claim, "metadata.labels", "=");
        indented(text, level, "Annotations", claim, "metadata.annotations", ": ");
        text.field(level, "Capacity", "");
        text.field(level, "Access Modes", "");
        text.field(level, "VolumeMode", or(str_at(spec, "volumeMode"), "Filesystem"));
    } else if let Some(source) = volume.get("csi") {
        csi(text, level, source);
    } else if let Some(source) = volume.get("image") {
        text.field(level, "Type", "Image (a container image or OCI artifact)");
        text.field(level, "Reference", str_at(source, "reference"));
        text.field(level, "PullPolicy", str_at(source, "pullPolicy"));
    } else if !super::volume::listed(text, level, volume) {
        text.line(1, "<unknown>");
    }
}

/// A map whose values are indented in their own cell too, as kubectl nests them.
fn indented(text: &mut Text, level: usize, name: &str, object: &Value, path: &str, sign: &str) {
    let inner = "  ".repeat(level);
    let mut name = format!("{name}:");
    for (key, value) in entries_at(object, path) {
        let value = value.as_str().unwrap_or_default();
        text.line(level, &format!("{name}\t{inner}{key}{sign}{value}"));
        name.clone_from(&inner);
    }
    if name != inner {
        text.line(level, &format!("{name}\t{inner}<none>"));
    }
}

fn csi(text: &mut Text, level: usize, source: &Value) {
    text.field(level, "Type", "CSI (a Container Storage Interface (CSI) volume source)");
    text.field(level, "Driver", str_at(source, "driver"));
    text.field(level, "FSType", str_at(source, "fsType"));
    text.some(level, "VolumeHandle", str_at(source, "volumeHandle"));
    text.field(level, "ReadOnly", &bool_at(source, "readOnly").to_string());
    let mut name = "VolumeAttributes:";
    for (key, value) in entries_at(source, "volumeAttributes") {
        // The value is indented in its own cell too.
        let value = value.as_str().unwrap_or_default();
        text.line(level, &format!("{name}\t{}{key}={value}", "  ".repeat(level)));
        name = "    ";
    }
    if name != "    " {
        text.field(level, "VolumeAttributes", "<none>");
    }
}

fn projected(text: &mut Text, level: usize, source: &Value) {
    let optional = |source: &Value| bool_at(source, "optional").to_string();
    if let Some(secret) = source.get("secret") {
        text.field(level, "SecretName", str_at(secret, "name"));
        text.field(level, "Optional", &optional(secret));
    } else if source.get("downwardAPI").is_some() {
        text.field(level, "DownwardAPI", "true");
    } else if let Some(map) = source.get("configMap") {
        text.field(level, "ConfigMapName", str_at(map, "name"));
        text.field(level, "Optional", &optional(map));
    } else if let Some(token) = source.get("serviceAccountToken") {
        let seconds = i64_at(token, "expirationSeconds").unwrap_or(3600);
        text.field(level, "TokenExpirationSeconds", &seconds.to_string());
    }
}

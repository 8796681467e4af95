//! Pod Security Standards: three levels, each in the shape that it had in a version of Kubernetes.
//! [`Policy`] reads what a namespace asks for, [`violations`] says what of a pod is against it.
//!
//! One function a check, one line in [`CHECKS`]; the order is that in which Kubernetes names them.

mod checks;
mod policy;

use serde_json::Value;

pub use policy::{Level, LevelVersion, Policy, Version};

use checks::{Found, Pod};

/// A check in the shape that it has from a version on.
struct Shape {
    since: u32,
    check: fn(&Pod<'_>) -> Option<Found>,
}

struct Check {
    level: Level,
    shapes: &'static [Shape],
    /// A check of the baseline that the restricted one stands in for, from its first version on.
    replaces: Option<usize>,
}

const fn shape(since: u32, check: fn(&Pod<'_>) -> Option<Found>) -> Shape {
    Shape { since, check }
}

const fn baseline(shapes: &'static [Shape]) -> Check {
    Check { level: Level::Baseline, shapes, replaces: None }
}

const fn restricted(replaces: Option<usize>, shapes: &'static [Shape]) -> Check {
    Check { level: Level::Restricted, shapes, replaces }
}

const CAPABILITIES: usize = 1;
const HOST_PATHS: usize = 3;
const PROC_MOUNT: usize = 7;
const SECCOMP: usize = 9;

/// Those of the baseline first, each group by the names that Kubernetes gave them.
const CHECKS: &[Check] = &[
    baseline(&[shape(0, checks::app_armor)]),
    baseline(&[shape(0, checks::capabilities_baseline)]),
    baseline(&[shape(0, checks::host_namespaces)]),
    baseline(&[shape(0, checks::host_paths)]),
    baseline(&[shape(0, checks::host_ports)]),
    baseline(&[shape(34, checks::probe_hosts)]),
    baseline(&[shape(0, checks::privileged)]),
    baseline(&[shape(0, checks::proc_mount), shape(35, checks::proc_mount_1_35)]),
    baseline(&[shape(0, checks::se_linux), shape(31, checks::se_linux_1_31)]),
    baseline(&[shape(0, checks::seccomp_annotations), shape(19, checks::seccomp_baseline)]),
    baseline(&[
        shape(0, checks::sysctls),
        shape(27, checks::sysctls_1_27),
        shape(29, checks::sysctls_1_29),
        shape(32, checks::sysctls_1_32),
    ]),
    baseline(&[shape(0, checks::windows_host_process)]),
    restricted(
        None,
        &[shape(8, checks::privilege_escalation), shape(25, checks::privilege_escalation_1_25)],
    ),
    restricted(
        Some(CAPABILITIES),
        &[
            shape(22, checks::capabilities_restricted),
            shape(25, checks::capabilities_restricted_1_25),
        ],
    ),
    restricted(Some(PROC_MOUNT), &[shape(35, checks::proc_mount)]),
    restricted(Some(HOST_PATHS), &[shape(0, checks::volumes)]),
    restricted(None, &[shape(0, checks::non_root), shape(35, checks::non_root_1_35)]),
    restricted(None, &[shape(23, checks::user), shape(35, checks::user_1_35)]),
    restricted(
        Some(SECCOMP),
        &[shape(19, checks::seccomp_restricted), shape(25, checks::seccomp_restricted_1_25)],
    ),
];

/// What is against a level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Found>);

impl Violations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with what it is about: `privileged (container "c" must not …), …`.
    pub fn details(&self) -> String {
        let texts = self.0.iter().map(|found| match found.detail.as_str() {
            "" => found.reason.to_owned(),
            detail => format!("{} ({detail})", found.reason),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    /// The kinds alone: `privileged, hostPort`.
    pub fn reasons(&self) -> String {
        self.0.iter().map(|found| found.reason).collect::<Vec<_>>().join(", ")
    }
}

/// What of a pod or of a pod template is against a level.
pub fn violations(level: LevelVersion, metadata: &Value, spec: &Value) -> Violations {
    if level.level == Level::Privileged {
        return Violations::default();
    }
    let pod = Pod { metadata, spec };
    let minor = level.version.minor();
    let present = |check: &Check| check.level <= level.level;
    let replaced: Vec<usize> = CHECKS
        .iter()
        .filter(|check| present(check) && check.shapes.first().is_some_and(|s| s.since <= minor))
        .filter_map(|check| check.replaces)
        .collect();
    let checks = CHECKS.iter().enumerate();
    let found = checks.filter(|(index, check)| present(check) && !replaced.contains(index));
    let found = found.filter_map(|(_, check)| {
        let shape = check.shapes.iter().rev().find(|shape| shape.since <= minor)?;
        (shape.check)(&pod)
    });
    Violations(found.collect())
}

/// Metadata and spec of the pods that an object stands for: its own, or those of its template.
pub fn pod_of<'v>(group: &str, plural: &str, object: &'v Value) -> Option<(&'v Value, &'v Value)> {
    let holder = match (group, plural) {
        ("", "pods") => object,
        ("", "podtemplates") => &object["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    };
    holder["spec"].is_object().then(|| (&holder["metadata"], &holder["spec"]))
}

/// Whether objects of this kind stand for pods.
pub fn stands_for_pods(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("", "pods" | "podtemplates" | "replicationcontrollers")
            | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
            | ("batch", "jobs" | "cronjobs")
    )
}

/// Whether an update of a pod changes anything that is judged: other containers or other images.
pub fn is_significant(pod: &Value, old: &Value) -> bool {
    let list = |object: &Value, name: &str| -> Vec<Value> {
        object["spec"][name].as_array().cloned().unwrap_or_default()
    };
    for name in ["containers", "initContainers"] {
        let (new, old) = (list(pod, name), list(old, name));
        if new.len() != old.len() || new.iter().zip(&old).any(|(a, b)| a["image"] != b["image"]) {
            return true;
        }
    }
    let old = list(old, "ephemeralContainers");
    list(pod, "ephemeralContainers").iter().any(|container| {
        let before = old.iter().find(|before| before["name"] == container["name"]);
        before.is_none_or(|before| before["image"] != container["image"])
    })
}

#[cfg(test)]
mod tests;

//! What a profile of `debug` makes of the container and of the pod that it is in.

use onggi_machinery::value::{items_mut, remove, set};
use serde_json::{Value, json};

use crate::error::Error;

/// The names of `--profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// As before there were profiles.
    Legacy,
    /// What is of use in each case.
    General,
    /// What the baseline of the Pod Security Standards lets in.
    Baseline,
    /// What their restricted level lets in.
    Restricted,
    /// For the network.
    Netadmin,
    /// Everything.
    Sysadmin,
}

/// What is debugged, and so where the container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// In the pod itself.
    Ephemeral,
    /// In a copy of the pod.
    Copy,
    /// In a pod of its own on a node.
    Node,
}

/// What a copy keeps of its pod.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct Keep {
    /// With --copy-to: keep the labels of the pod
    #[arg(long)]
    keep_labels: bool,
    /// With --copy-to: keep the annotations of the pod
    #[arg(long)]
    keep_annotations: bool,
    /// With --copy-to: keep the liveness probes
    #[arg(long)]
    keep_liveness: bool,
    /// With --copy-to: keep the readiness probes
    #[arg(long)]
    keep_readiness: bool,
    /// With --copy-to: keep the startup probes
    #[arg(long)]
    keep_startup: bool,
    /// With --copy-to: run the init containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    keep_init_containers: bool,
}

impl Profile {
    /// By its name.
    pub(super) fn parse(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "legacy" => Self::Legacy,
            "general" => Self::General,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            "netadmin" => Self::Netadmin,
            "sysadmin" => Self::Sysadmin,
            other => return Err(Error::new(format!("unknown profile: {other}"))),
        })
    }

    /// Lays it over a pod in which the container stands already.
    pub(super) fn apply(self, pod: &mut Value, container: &str, style: Style, keep: Keep) {
        if style == Style::Copy {
            keep.of(self, pod);
            if self != Self::Legacy && pod["spec"]["shareProcessNamespace"].is_null() {
                set(pod, "spec.shareProcessNamespace", true);
            }
        }
        if style == Style::Node && !matches!(self, Self::Baseline | Self::Restricted) {
            for field in ["hostIPC", "hostNetwork", "hostPID"] {
                pod["spec"][field] = json!(true);
            }
            if self != Self::Netadmin {
                mount_root(pod, container);
            }
        }
        let clears = matches!(self, Self::Baseline | Self::Restricted)
            || (self == Self::General && style == Style::Node);
        let rights = |of: &mut Value| {
            if clears {
                remove(of, "securityContext");
            }
            match self {
                Self::General if style != Style::Node => add(of, &["SYS_PTRACE"]),
                Self::Netadmin => add(of, &["NET_ADMIN", "NET_RAW"]),
                Self::Sysadmin => set(of, "securityContext.privileged", true),
                Self::Restricted => {
                    of["securityContext"] = json!({
                        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
                    });
                }
                _ => {}
            }
        };
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        for list in lists.map(|list| format!("spec.{list}")) {
            items_mut(pod, &list).filter(|of| of["name"] == container).for_each(&rights);
        }
    }
}

impl Keep {
    fn of(self, profile: Profile, pod: &mut Value) {
        if profile == Profile::Legacy || !self.keep_labels {
            remove(pod, "metadata.labels");
        }
        if profile == Profile::Legacy {
            return;
        }
        if !self.keep_annotations {
            remove(pod, "metadata.annotations");
        }
        let probes = [
            ("livenessProbe", self.keep_liveness),
            ("readinessProbe", self.keep_readiness),
            ("startupProbe", self.keep_startup),
        ];
        for container in items_mut(pod, "spec.containers") {
            probes.iter().filter(|(_, kept)| !kept).for_each(|(probe, _)| remove(container, probe));
        }
        if !self.keep_init_containers {
            remove(pod, "spec.initContainers");
        }
    }
}

fn add(container: &mut Value, more: &[&str]) {
    let capabilities = &mut container["securityContext"]["capabilities"]["add"];
    if let Value::Array(list) = capabilities {
        list.extend(more.iter().map(|name| json!(name)));
    } else {
        *capabilities = json!(more);
    }
}

/// The files of the node at `/host`.
fn mount_root(pod: &mut Value, container: &str) {
    pod["spec"]["volumes"] = json!([{"name": "host-root", "hostPath": {"path": "/"}}]);
    for one in items_mut(pod, "spec.containers").filter(|one| one["name"] == container) {
        one["volumeMounts"] = json!([{"mountPath": "/host", "name": "host-root"}]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "containers": [
                    {"name": "x", "livenessProbe": {}, "readinessProbe": {}},
                    {"name": "d", "securityContext": {"runAsUser": 5}},
                ],
                "initContainers": [{"name": "i"}],
            },
        })
    }

    fn debugged(profile: Profile, style: Style, keep: Keep) -> Value {
        let mut pod = pod();
        profile.apply(&mut pod, "d", style, keep);
        pod
    }

    #[test]
    fn copies() {
        let keep = Keep { keep_readiness: true, keep_annotations: true, ..Keep::default() };
        let general = debugged(Profile::General, Style::Copy, keep);
        let expected = json!({
            "metadata": {"annotations": {"c": "d"}},
            "spec": {
                "containers": [
                    {"name": "x", "readinessProbe": {}},
                    {"name": "d", "securityContext":
                        {"runAsUser": 5, "capabilities": {"add": ["SYS_PTRACE"]}}},
                ],
                "shareProcessNamespace": true,
            },
        });
        assert_eq!(general, expected);
        let legacy = debugged(Profile::Legacy, Style::Copy, keep);
        let mut expected = pod();
        remove(&mut expected, "metadata.labels");
        assert_eq!(legacy, expected);
    }

    #[test]
    fn rights() {
        for (profile, style, expected) in [
            (Profile::General, Style::Node, Value::Null),
            (Profile::Baseline, Style::Ephemeral, Value::Null),
            (Profile::Sysadmin, Style::Node, json!({"runAsUser": 5, "privileged": true})),
            (
                Profile::Netadmin,
                Style::Ephemeral,
                json!({"runAsUser": 5, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}),
            ),
        ] {
            let pod = debugged(profile, style, Keep::default());
            let container = &pod["spec"]["containers"][1];
            assert_eq!(container["securityContext"], expected, "{profile:?}");
            let sees_files = style == Style::Node;
            assert_eq!(!container["volumeMounts"].is_null(), sees_files, "{profile:?}");
        }
        let netadmin = debugged(Profile::Netadmin, Style::Node, Keep::default());
        assert_eq!(netadmin["spec"]["hostPID"], true);
        assert!(netadmin["spec"]["volumes"].is_null());
        let baseline = debugged(Profile::Baseline, Style::Node, Keep::default());
        assert!(baseline["spec"]["hostPID"].is_null());
    }
}

//! What the runtime is given: sandbox and container configurations, from the pod alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onggi_api::core::Container;
use onggi_node_api::{ContainerConfig, Mount, PodSandboxConfig};

use crate::context::Context;
use crate::pod::Pod;
use crate::{dns, env, resources, security};

/// `state.waiting.reason` of a container whose configuration refers to what is not there.
pub(crate) const CONFIG_ERROR: &str = "CreateContainerConfigError";

const TERMINATION_LOG: &str = "/dev/termination-log";

/// The labels by which everybody on a node finds the containers of a pod.
fn labels(pod: &Pod) -> BTreeMap<String, String> {
    [
        ("io.kubernetes.pod.name", pod.name()),
        ("io.kubernetes.pod.namespace", pod.namespace()),
        ("io.kubernetes.pod.uid", pod.uid()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The sandbox of a pod.
pub(super) fn sandbox(context: &Context, pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let of_pod = pod.spec.security_context.as_ref();
    let sysctls = of_pod.and_then(|security| security.sysctls.as_ref());
    PodSandboxConfig {
        name: pod.name().to_owned(),
        namespace: pod.namespace().to_owned(),
        uid: pod.uid().to_owned(),
        attempt,
        hostname: if pod.is_host_network() {
            context.options.node_name.clone()
        } else {
            dns::hostname(pod)
        },
        log_directory: context.files(pod.uid()).logs(),
        dns: dns::resolv_conf(pod, &context.dns),
        host_network: pod.is_host_network(),
        host_pid: pod.spec.host_pid.unwrap_or(false),
        host_ipc: pod.spec.host_ipc.unwrap_or(false),
        share_process_namespace: pod.spec.share_process_namespace.unwrap_or(false),
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name.clone(), s.value.clone())).collect(),
        labels: labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        cgroup_parent: resources::cgroup_parent(pod),
        resources: resources::of_pod(pod),
    }
}

/// What was resolved for a container.
pub(super) struct Resolved {
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) env: Vec<(String, Vec<u8>)>,
    pub(super) mounts: Vec<Mount>,
    /// The pod's `/etc/hosts`.
    pub(super) hosts: PathBuf,
    /// The container whose processes it is to see.
    pub(super) target: Option<String>,
}

/// A container of a pod.
pub(super) fn container(
    context: &Context,
    pod: &Pod,
    container: &Container,
    resolved: Resolved,
) -> ContainerConfig {
    let Resolved { attempt, image, env, mut mounts, hosts, target } = resolved;
    let own_hosts = mounts.iter().any(|mount| mount.container_path == Path::new("/etc/hosts"));
    if !own_hosts && !pod.is_host_network() {
        mounts.push(Mount {
            host_path: hosts,
            container_path: "/etc/hosts".into(),
            readonly: false,
            propagation: "None".into(),
        });
    }
    let termination = container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    let stop_signal = container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone());
    let mut labels = labels(pod);
    labels.insert("io.kubernetes.container.name".into(), container.name.clone());
    ContainerConfig {
        name: container.name.clone(),
        attempt,
        image,
        user_image: container.image.clone().unwrap_or_default(),
        command: env::words(container.command.as_ref(), &env),
        args: env::words(container.args.as_ref(), &env),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts,
        devices: Vec::new(),
        labels,
        annotations: BTreeMap::new(),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        resources: resources::of_container(
            pod,
            container,
            u64::try_from(context.machine.memory_bytes).unwrap_or(0),
        ),
        security: security::context(pod, container, &context.options.data_dir),
        termination_message_path: termination.into(),
        stop_signal,
        pids_of: target,
        env,
    }
}

//! Decides what a container is, from what its pod and its image say. Pure: nothing is read or made.

use std::path::{Path, PathBuf};

use onggi_node_api::{
    ContainerConfig, ImageConfig, Mount, PodSandboxConfig, Resources, RuntimeError,
};
use onggi_sys::caps::{self, CapabilitySet};
use onggi_sys::cgroups::{Group, Limits};

use crate::spec::{
    BindPropagation, ContainerSpec, LogSpec, MountSource, MountSpec, PidNamespace, ProcessSpec,
    RootSpec, UserSpec,
};

/// Where programs are looked for when the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Kubernetes' `containerLogMaxSize` and `containerLogMaxFiles`.
const LOG_BYTES: u64 = 10 << 20;
const LOG_FILES: u32 = 5;

/// Devices of every container.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What tells about the node, or reaches it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a plan is made from.
pub(crate) struct Input<'a> {
    pub(crate) id: &'a str,
    pub(crate) sandbox: &'a PodSandboxConfig,
    pub(crate) config: &'a ContainerConfig,
    pub(crate) image: &'a ImageConfig,
    pub(crate) layers: Vec<PathBuf>,
    /// The container's own directory.
    pub(crate) dir: &'a Path,
    /// Where the pod's `hosts`, `hostname` and `resolv.conf` are.
    pub(crate) files: &'a Path,
    pub(crate) cgroup: Group,
    /// Version 1 hierarchies; none: version 2.
    pub(crate) cgroup_v1: &'a [String],
}

/// The container, but for its seccomp filters.
pub(crate) fn container(input: Input<'_>) -> Result<ContainerSpec, RuntimeError> {
    let Input { id, sandbox, config, image, layers, dir, files, cgroup, cgroup_v1 } = input;
    let security = &config.security;
    let privileged = security.privileged;
    let process = ProcessSpec {
        args: arguments(config, image)?,
        env: environment(sandbox, config, image),
        cwd: working_dir(config, image)?,
        user: UserSpec {
            image: image.user.clone(),
            uid: security.run_as_user,
            gid: security.run_as_group,
            groups: security.supplemental_groups.clone(),
            non_root: security.run_as_non_root,
        },
        capabilities: capabilities(config)?.bits(),
        no_new_privs: security.no_new_privs,
        seccomp: None,
        oom_score_adj: config.resources.oom_score_adj,
        tty: config.tty,
    };
    let mut mounts = filesystems(privileged, cgroup_v1);
    mounts.extend(pod_files(config, files));
    if config.termination_message_path.is_absolute() {
        mounts.push(bind(&dir.join(TERMINATION), &config.termination_message_path, false));
    }
    let mut volumes = config.mounts.iter().map(volume).collect::<Result<Vec<_>, _>>()?;
    // A volume in a volume comes after it.
    volumes.sort_by_key(|mount| mount.target.components().count());
    mounts.retain(|own| !volumes.iter().any(|volume| volume.target == own.target));
    mounts.extend(volumes);
    let hidden = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let bare = privileged || security.unmasked_proc;
    Ok(ContainerSpec {
        id: id.to_owned(),
        cgroup,
        root: RootSpec::Overlay { lower: layers, dir: dir.to_owned() },
        readonly_root: security.readonly_rootfs,
        pid_namespace: if sandbox.host_pid {
            PidNamespace::Node
        } else if sandbox.share_process_namespace {
            PidNamespace::Pod
        } else {
            PidNamespace::Own
        },
        // Where all share, there is nothing to join.
        pids_of: config
            .pids_of
            .clone()
            .filter(|_| !sandbox.host_pid && !sandbox.share_process_namespace),
        mounts,
        devices: devices(config),
        all_devices: privileged,
        masked_paths: if bare { Vec::new() } else { hidden(&MASKED) },
        readonly_paths: if bare { Vec::new() } else { hidden(&READONLY) },
        process,
        log: Some(LogSpec {
            path: log_path(sandbox, config),
            max_bytes: LOG_BYTES,
            max_files: LOG_FILES,
        }),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
    })
}

/// Name of the file behind `terminationMessagePath`.
pub(crate) const TERMINATION: &str = "termination-log";

/// `LOG_DIRECTORY/CONTAINER/ATTEMPT.log`.
pub(crate) fn log_path(sandbox: &PodSandboxConfig, config: &ContainerConfig) -> PathBuf {
    sandbox.log_directory.join(&config.name).join(format!("{}.log", config.attempt))
}

/// Limits of a group; 0 in CRI says "none".
pub(crate) fn limits(resources: &Resources) -> Limits {
    let some = |value: u64| (value > 0).then_some(value);
    Limits {
        cpu_request_millis: some(resources.cpu_request_millis),
        cpu_limit_millis: some(resources.cpu_limit_millis),
        memory_bytes: some(resources.memory_limit_bytes),
        pids: some(resources.pids_limit),
    }
}

/// An exec of a running container, from its first process.
pub(crate) fn exec(first: &ProcessSpec, command: Vec<String>, tty: bool) -> ProcessSpec {
    let mut process = ProcessSpec { args: command, tty, ..first.clone() };
    if tty {
        set(&mut process.env, b"TERM=xterm", false);
    }
    process
}

fn arguments(config: &ContainerConfig, image: &ImageConfig) -> Result<Vec<String>, RuntimeError> {
    let (first, second) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&image.entrypoint, &config.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    let args: Vec<_> = first.iter().chain(second).cloned().collect();
    if args.is_empty() {
        let text = "no command specified: neither the container nor its image has one";
        return Err(RuntimeError::Config(text.into()));
    }
    Ok(args)
}

fn environment(
    sandbox: &PodSandboxConfig,
    config: &ContainerConfig,
    image: &ImageConfig,
) -> Vec<Vec<u8>> {
    let mut env = Vec::new();
    for entry in &image.env {
        set(&mut env, entry.as_bytes(), true);
    }
    set(&mut env, format!("HOSTNAME={}", sandbox.hostname).as_bytes(), true);
    for (name, value) in &config.env {
        set(&mut env, &[name.as_bytes(), b"=", value].concat(), true);
    }
    if config.tty {
        set(&mut env, b"TERM=xterm", false);
    }
    set(&mut env, format!("PATH={DEFAULT_PATH}").as_bytes(), false);
    env
}

/// Sets `NAME=value`; over an older value only where `replace` says so.
pub(crate) fn set(env: &mut Vec<Vec<u8>>, entry: &[u8], replace: bool) {
    let name = |entry: &[u8]| entry.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    match env.iter_mut().find(|old| name(old) == name(entry)) {
        Some(old) if replace => *old = entry.to_vec(),
        Some(_) => {}
        None => env.push(entry.to_vec()),
    }
}

fn working_dir(config: &ContainerConfig, image: &ImageConfig) -> Result<PathBuf, RuntimeError> {
    let dir = [&config.working_dir, &image.working_dir].into_iter().find(|dir| !dir.is_empty());
    match dir {
        None => Ok("/".into()),
        Some(dir) if dir.starts_with('/') => Ok(dir.into()),
        Some(dir) => {
            Err(RuntimeError::Config(format!("workingDir {dir:?} is not an absolute path")))
        }
    }
}

/// The default set, less what is dropped, and what is added; `ALL` is every one.
pub(crate) fn capabilities(config: &ContainerConfig) -> Result<CapabilitySet, RuntimeError> {
    let security = &config.security;
    if security.privileged {
        return Ok(CapabilitySet::all());
    }
    let parse = |name: &String| {
        if name.eq_ignore_ascii_case("ALL") {
            return Ok(CapabilitySet::all());
        }
        caps::parse(name)
            .ok_or_else(|| RuntimeError::Config(format!("there is no capability {name:?}")))
    };
    let union = |names: &[String]| {
        names.iter().try_fold(CapabilitySet::empty(), |set, name| {
            parse(name).map(|capability| set | capability)
        })
    };
    let (add, drop) = (union(&security.add_capabilities)?, union(&security.drop_capabilities)?);
    let every = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    // "Drop all, add one" and "add all, drop one" both say what they mean.
    Ok(match (every(&security.add_capabilities), every(&security.drop_capabilities)) {
        (_, true) => add,
        (true, false) => CapabilitySet::all() - drop,
        (false, false) => (caps::DEFAULT - drop) | add,
    })
}

fn filesystem(target: &str, kind: &str, options: &[&str], readonly: bool) -> MountSpec {
    let source = MountSource::Filesystem {
        kind: kind.into(),
        options: options.iter().map(|&option| option.into()).collect(),
        exec: target == "/dev",
    };
    MountSpec { target: target.into(), source, readonly }
}

/// File systems of every container.
pub(crate) fn filesystems(privileged: bool, cgroup_v1: &[String]) -> Vec<MountSpec> {
    let mut mounts = vec![
        filesystem("/proc", "proc", &[], false),
        filesystem("/dev", "tmpfs", &["mode=755", "size=64k"], false),
        filesystem(
            "/dev/pts",
            "devpts",
            &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            false,
        ),
        filesystem("/dev/mqueue", "mqueue", &[], false),
        MountSpec { target: "/dev/shm".into(), source: MountSource::SharedMemory, readonly: false },
        filesystem("/sys", "sysfs", &[], !privileged),
    ];
    if cgroup_v1.is_empty() {
        mounts.push(filesystem("/sys/fs/cgroup", "cgroup2", &[], !privileged));
        return mounts;
    }
    mounts.push(filesystem("/sys/fs/cgroup", "tmpfs", &["mode=755", "size=64k"], false));
    for controllers in cgroup_v1 {
        let options: Vec<_> = controllers.split(',').collect();
        let target = format!("/sys/fs/cgroup/{controllers}");
        mounts.push(filesystem(&target, "cgroup", &options, !privileged));
    }
    mounts
}

fn bind(path: &Path, target: &Path, readonly: bool) -> MountSpec {
    let source = MountSource::Bind { path: path.to_owned(), propagation: BindPropagation::Private };
    MountSpec { target: target.to_owned(), source, readonly }
}

fn pod_files(config: &ContainerConfig, files: &Path) -> Vec<MountSpec> {
    ["hosts", "hostname", "resolv.conf"]
        .map(|name| {
            let readonly = config.security.readonly_rootfs;
            bind(&files.join(name), &Path::new("/etc").join(name), readonly)
        })
        .into()
}

/// A bind mount as the kubelet asks for it.
pub(crate) fn volume(mount: &Mount) -> Result<MountSpec, RuntimeError> {
    let target = &mount.container_path;
    let wrong =
        |text: &str| Err(RuntimeError::Config(format!("mount on {}: {text}", target.display())));
    if !target.is_absolute() {
        return wrong("the path is not absolute");
    }
    if target.components().any(|part| part == std::path::Component::ParentDir) {
        return wrong("the path contains \"..\"");
    }
    // Whoever covers /proc chooses what the container's own files say about it.
    if target.starts_with("/proc") || target == Path::new("/") {
        return wrong("nothing can be mounted there");
    }
    let propagation = match mount.propagation.as_str() {
        "" | "None" => BindPropagation::Private,
        "HostToContainer" => BindPropagation::HostToContainer,
        "Bidirectional" => BindPropagation::Bidirectional,
        other => return wrong(&format!("mountPropagation {other:?} is not known")),
    };
    Ok(MountSpec {
        target: target.clone(),
        source: MountSource::Bind { path: mount.host_path.clone(), propagation },
        readonly: mount.readonly,
    })
}

fn devices(config: &ContainerConfig) -> Vec<(PathBuf, PathBuf)> {
    let mut devices: Vec<(PathBuf, PathBuf)> = Vec::new();
    if !config.security.privileged {
        devices.extend(basic_devices());
    }
    devices.extend(config.devices.iter().map(|(from, to, _)| (from.clone(), to.clone())));
    devices
}

/// Devices of every container.
pub(crate) fn basic_devices() -> Vec<(PathBuf, PathBuf)> {
    let device = |name: &&str| Path::new("/dev").join(name);
    DEVICES.iter().map(|name| (device(name), device(name))).collect()
}

/// What hides the node from a build step.
pub(crate) fn hidden_paths() -> (Vec<PathBuf>, Vec<PathBuf>) {
    (MASKED.map(PathBuf::from).into(), READONLY.map(PathBuf::from).into())
}

/// The default search path, as an environment entry.
pub(crate) fn default_path() -> Vec<u8> {
    format!("PATH={DEFAULT_PATH}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.into()).collect()
    }

    #[test]
    fn command_and_arguments() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["entry", "cmd"]),
            (&["own"], &[], &["own"]),
            (&[], &["arg"], &["entry", "arg"]),
            (&["own"], &["arg"], &["own", "arg"]),
        ];
        for (command, args, expected) in cases {
            let config = ContainerConfig {
                command: strings(command),
                args: strings(args),
                ..ContainerConfig::default()
            };
            let image = ImageConfig {
                entrypoint: strings(&["entry"]),
                cmd: strings(&["cmd"]),
                ..ImageConfig::default()
            };
            assert_eq!(arguments(&config, &image).unwrap(), expected);
        }
        assert!(arguments(&Default::default(), &Default::default()).is_err());
    }

    #[test]
    fn environment_of_pod_wins_over_image() {
        let image = ImageConfig {
            env: strings(&["PATH=/x", "A=1", "HOSTNAME=image"]),
            ..ImageConfig::default()
        };
        let config = ContainerConfig {
            env: vec![("A".into(), vec![0xff]), ("B".into(), b"x=y".into())],
            ..ContainerConfig::default()
        };
        let sandbox = PodSandboxConfig { hostname: "pod".into(), ..PodSandboxConfig::default() };
        let env = environment(&sandbox, &config, &image);
        let expected: Vec<&[u8]> = vec![b"PATH=/x", b"A=\xff", b"HOSTNAME=pod", b"B=x=y"];
        assert_eq!(env, expected);
    }

    #[test]
    fn capability_sets() {
        let cases: [(&[&str], &[&str], CapabilitySet); 6] = [
            (&[], &[], caps::DEFAULT),
            (&["NET_ADMIN"], &[], caps::DEFAULT | CapabilitySet::NET_ADMIN),
            (&[], &["CAP_CHOWN"], caps::DEFAULT - CapabilitySet::CHOWN),
            (&[], &["ALL"], CapabilitySet::empty()),
            (&["net_bind_service"], &["all"], CapabilitySet::NET_BIND_SERVICE),
            (&["ALL"], &["SYS_ADMIN"], CapabilitySet::all() - CapabilitySet::SYS_ADMIN),
        ];
        for (add, drop, expected) in cases {
            let mut config = ContainerConfig::default();
            config.security.add_capabilities = strings(add);
            config.security.drop_capabilities = strings(drop);
            assert_eq!(capabilities(&config).unwrap(), expected, "{add:?} {drop:?}");
        }
        let mut config = ContainerConfig::default();
        config.security.add_capabilities = strings(&["WINGS"]);
        assert!(matches!(capabilities(&config), Err(RuntimeError::Config(_))));
    }

    #[test]
    fn volumes() {
        let mount = |path: &str, propagation: &str| Mount {
            host_path: "/node".into(),
            container_path: path.into(),
            readonly: true,
            propagation: propagation.into(),
        };
        assert!(volume(&mount("/data", "Bidirectional")).is_ok());
        for (path, propagation) in
            [("data", ""), ("/a/../b", ""), ("/proc/self", ""), ("/", ""), ("/a", "Sideways")]
        {
            assert!(volume(&mount(path, propagation)).is_err(), "{path} {propagation}");
        }
    }
}

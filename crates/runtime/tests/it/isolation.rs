//! What a container sees and what it cannot do.

use futures::FutureExt;
use onggi_node_api::{Mount, RuntimeService, SeccompProfile, StepConfig, StepRunner};

use crate::Test;
use crate::fixture::Fixture;

pub(crate) const TESTS: &[Test] = &[
    ("isolation::seccomp", || seccomp().boxed()),
    ("isolation::capabilities", || capabilities().boxed()),
    ("isolation::paths", || paths().boxed()),
    ("isolation::users", || users().boxed()),
    ("isolation::files_of_the_pod", || files_of_the_pod().boxed()),
    ("isolation::volumes", || volumes().boxed()),
    ("isolation::privileged", || privileged().boxed()),
    ("isolation::limits", || limits().boxed()),
    ("isolation::shared_namespaces", || shared_namespaces().boxed()),
    ("isolation::processes_of_another", || processes_of_another().boxed()),
    ("isolation::host_network", || host_network().boxed()),
    ("isolation::build_step", || build_step().boxed()),
];

fn mount(host: &std::path::Path, container: &str, readonly: bool) -> Mount {
    Mount {
        host_path: host.to_owned(),
        container_path: container.into(),
        readonly,
        propagation: "None".into(),
    }
}

async fn seccomp() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let read = ["read", "/proc/self/status"];
    let (_, log) = f.run(&pod, f.container(&read)).await;
    assert!(log.contains("Seccomp:\t2\n"), "{log}");
    assert!(log.contains("NoNewPrivs:\t0\n"), "{log}");

    let mut config = f.container(&read);
    config.security.no_new_privs = true;
    config.security.run_as_user = Some(1000);
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("Seccomp:\t2\n") && log.contains("NoNewPrivs:\t1\n"), "{log}");
    assert!(log.contains("CapEff:\t0000000000000000\n"), "{log}");

    let mut config = f.container(&read);
    config.security.seccomp = SeccompProfile::Unconfined;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("Seccomp:\t0\n"), "{log}");

    let id = f.start(&pod, f.container(&["sleep"])).await;
    let command = ["/bin/prog", "read", "/proc/self/status"].map(String::from).to_vec();
    let output = f.runtime.exec_sync(&id, command, 0).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Seccomp:\t2\n"), "{text}");
    assert!(text.contains("CapBnd:\t00000000a80425fb\n"), "{text}");

    let (_, log) = f.run(&pod, f.container(&["syscalls"])).await;
    assert_eq!(log, "unshare Err(EPERM)\nsethostname Err(EPERM)\nmount Err(EPERM)\n");

    let profile = f.options.data_dir.join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["sethostname"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
    std::fs::write(&profile, text).unwrap();
    let mut config = f.container(&["syscalls"]);
    config.security.seccomp = SeccompProfile::Localhost(profile);
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("sethostname Err(ENOSYS)"), "{log}");
    f.finish().await;
}

async fn capabilities() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let mut config = f.container(&["read", "/proc/self/status"]);
    let (_, log) = f.run(&pod, config.clone()).await;
    assert!(log.contains("CapEff:\t00000000a80425fb\n"), "{log}");
    config.attempt = 1;
    config.security.drop_capabilities = vec!["ALL".into()];
    config.security.add_capabilities = vec!["NET_BIND_SERVICE".into()];
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("CapBnd:\t0000000000000400\n"), "{log}");
    f.finish().await;
}

async fn paths() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let (_, log) = f.run(&pod, f.container(&["read", "/proc/interrupts", "/proc/keys"])).await;
    // Empty, or not there on a kernel without it.
    assert!(log.lines().all(|line| line.contains("No such file")), "{log}");
    for (path, error) in [
        ("/proc/sys/kernel/core_pattern", "Read-only"),
        ("/sys/kernel/mm/ksm/run", "Read-only"),
        ("/proc/irq/default_smp_affinity", "Read-only"),
    ] {
        let (_, log) = f.run(&pod, f.container(&["write", path, "x"])).await;
        assert!(log.contains(error), "{log}");
    }
    let (status, log) = f.run(&pod, f.container(&["write", "/new", "x"])).await;
    assert_eq!(status.exit_code, 0, "{log}");
    let mut config = f.container(&["write", "/new", "x"]);
    config.security.readonly_rootfs = true;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("Read-only"), "{log}");
    // Made, but dead.
    for path in ["/zero", "/dev/zero2"] {
        let (_, log) = f.run(&pod, f.container(&["mknod", path])).await;
        assert_eq!(log, "Ok(()) Err(PermissionDenied)\n");
    }
    let (_, log) = f.run(&pod, f.container(&["list", "/dev"])).await;
    for name in ["null", "zero", "urandom", "shm", "pts", "ptmx", "stdout", "mqueue"] {
        assert!(log.lines().any(|line| line == name), "{name} in {log}");
    }
    // Nothing of the node shows through.
    let (_, log) = f.run(&pod, f.container(&["read", "/proc/self/mountinfo"])).await;
    assert!(log.lines().all(|line| !line.contains(" / / rw,relatime - ext4")), "{log}");
    f.finish().await;
}

async fn users() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    f.images.config.lock().unwrap().user = "web".into();
    let (_, log) = f.run(&pod, f.container(&["id"])).await;
    // The number of the list's first group differs by kernel order only.
    assert_eq!(log, "33 34 [4, 34]\n");
    let (_, log) = f.run(&pod, f.container(&["env"])).await;
    assert!(log.contains("HOME=/srv\n") && log.contains("HOSTNAME=pod-host\n"), "{log}");
    let mut config = f.container(&["id"]);
    config.security.run_as_user = Some(1000);
    config.security.run_as_group = Some(2000);
    config.security.supplemental_groups = vec![3000];
    let (_, log) = f.run(&pod, config).await;
    assert_eq!(log, "1000 2000 [2000, 3000]\n");
    // Output opens for whoever runs.
    let (status, log) = f.run(&pod, f.container(&["write", "/dev/stdout", "hello"])).await;
    assert_eq!((status.exit_code, log.as_str()), (0, "hello"));
    f.images.config.lock().unwrap().user = "ghost".into();
    let error = f.runtime.create_container(&pod, f.container(&["id"])).await.unwrap_err();
    assert!(error.to_string().contains("unable to find user ghost"), "{error}");
    f.finish().await;
}

async fn files_of_the_pod() {
    let f = Fixture::new();
    let mut config = f.pod();
    config.dns.servers = vec!["10.96.0.10".into()];
    config.dns.searches = vec!["default.svc.cluster.local".into()];
    config.dns.options = vec!["ndots:5".into()];
    config.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "77".into());
    let pod = f.runtime.run_pod_sandbox(config).await.unwrap();
    let sysctl = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let files = ["read", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", sysctl];
    let mut config = f.container(&files);
    config.working_dir = "/made/for/me".into();
    let (_, log) = f.run(&pod, config).await;
    assert!(
        log.starts_with(
            "search default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        )
    );
    assert!(log.contains("10.244.0.7\tpod-host\n") && log.ends_with("pod-host\n77\n"), "{log}");
    let mut config = f.container(&["cwd"]);
    config.working_dir = "/made/for/me".into();
    assert_eq!(f.run(&pod, config).await.1, "/made/for/me\n");

    let mut config = f.pod();
    config.sysctls.insert("net.no_such_thing".into(), "1".into());
    let error = f.runtime.run_pod_sandbox(config).await.unwrap_err();
    assert!(error.to_string().contains("net.no_such_thing"), "{error}");

    let mut config = f.pod();
    config.sysctls.insert("vm.overcommit_memory".into(), "0".into());
    let error = f.runtime.run_pod_sandbox(config).await.unwrap_err();
    assert!(error.to_string().contains("a setting of the node"), "{error}");
    f.finish().await;
}

async fn volumes() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let volume = f.options.data_dir.join("volume");
    std::fs::create_dir_all(volume.join("sub")).unwrap();
    std::fs::write(volume.join("file"), "content\n").unwrap();
    let mut config = f.container(&["read", "/data/file", "/data/deep/one", "/etc/hosts"]);
    config.mounts = vec![
        // Out of order: the deeper one must come last.
        mount(&volume.join("file"), "/data/deep/one", true),
        mount(&volume, "/data", false),
        mount(&volume.join("file"), "/etc/hosts", true),
    ];
    std::fs::create_dir(volume.join("deep")).unwrap();
    assert_eq!(f.run(&pod, config).await.1, "content\n".repeat(3));
    let mut config = f.container(&["write", "/data/new", "x"]);
    config.mounts = vec![mount(&volume, "/data", true)];
    assert!(f.run(&pod, config).await.1.contains("Read-only"));
    let mut config = f.container(&["write", "/data/new", "x"]);
    config.mounts = vec![mount(&volume, "/data", false)];
    f.run(&pod, config).await;
    assert_eq!(std::fs::read_to_string(volume.join("new")).unwrap(), "x");
    // A device made there is as dead as in the root.
    let mut config = f.container(&["mknod", "/data/zero"]);
    config.mounts = vec![mount(&volume, "/data", false)];
    assert_eq!(f.run(&pod, config).await.1, "Ok(()) Err(PermissionDenied)\n");
    // A directory on a file.
    let mut config = f.container(&["sleep"]);
    config.mounts = vec![mount(&volume, "/etc/passwd", false)];
    let error = f.runtime.create_container(&pod, config).await.unwrap_err();
    assert!(error.to_string().contains("/etc/passwd"), "{error}");
    f.finish().await;
}

async fn privileged() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let mut config = f.container(&["read", "/proc/self/status"]);
    config.security.privileged = true;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("Seccomp:\t0\n"), "{log}");
    let mut config = f.container(&["mknod", "/zero"]);
    config.security.privileged = true;
    assert_eq!(f.run(&pod, config).await.1, "Ok(()) Ok(())\n");
    let mut config = f.container(&["list", "/dev"]);
    config.security.privileged = true;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.lines().any(|line| line == "kmsg"), "{log}");
    f.finish().await;
}

async fn limits() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let v2 = onggi_sys::cgroups::Cgroups::detect().unwrap().is_v2();
    let file = if v2 {
        "/sys/fs/cgroup/memory.max"
    } else {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    };
    let mut config = f.container(&["read", file, "/proc/self/oom_score_adj", "/proc/self/cgroup"]);
    config.resources.memory_limit_bytes = 64 << 20;
    config.resources.cpu_limit_millis = 500;
    config.resources.pids_limit = 50;
    config.resources.oom_score_adj = 777;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.starts_with("67108864\n777\n"), "{log}");
    // The container's group is the root of what it sees.
    assert!(log.lines().any(|line| line.ends_with(":memory:/") || line == "0::/"), "{log}");
    f.finish().await;
}

async fn shared_namespaces() {
    let f = Fixture::new();
    let mut config = f.pod();
    config.share_process_namespace = true;
    let pod = f.runtime.run_pod_sandbox(config).await.unwrap();
    let first = f.start(&pod, f.container(&["sleep"])).await;
    f.run(&pod, f.container(&["write", "/dev/shm/note", "shared"])).await;
    let (_, log) = f.run(&pod, f.container(&["read", "/dev/shm/note", "/proc/2/cmdline"])).await;
    assert!(log.starts_with("shared/bin/prog\0sleep"), "{log:?}");
    let output = ["/bin/prog", "read", "/proc/self/status"].map(String::from).to_vec();
    let output = f.runtime.exec_sync(&first, output, 0).await.unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Seccomp:\t2\n"));
    // What a container leaves behind in the shared namespace ends with it.
    let (_, log) = f.run(&pod, f.container(&["leave-child"])).await;
    assert!(log.contains("left"), "{log}");
    f.finish().await;
}

async fn processes_of_another() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let target = f.start(&pod, f.container(&["sleep"])).await;
    let beside = |args: &[&str]| {
        let mut config = f.container(args);
        config.pids_of = Some(target.clone());
        config
    };
    let (_, log) = f.run(&pod, beside(&["read", "/proc/1/cmdline"])).await;
    assert_eq!(log, "/bin/prog\0sleep\0");
    let list = ["/bin/prog", "list", "/proc"].map(String::from).to_vec();
    let numbers = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|name| name.parse::<u32>().is_ok()).count()
    };
    assert_eq!(numbers(f.runtime.exec_sync(&target, list.clone(), 0).await.unwrap().stdout), 2);
    let guest = f.start(&pod, beside(&["sleep"])).await;
    assert_eq!(numbers(f.runtime.exec_sync(&guest, list, 0).await.unwrap().stdout), 3);
    // What one leaves behind is killed with it; what it looked at goes on.
    let (_, log) = f.run(&pod, beside(&["leave-child"])).await;
    let child = log.trim().strip_prefix("left ").unwrap();
    let state = ["/bin/prog", "read", &format!("/proc/{child}/status")].map(String::from).to_vec();
    let state = f.runtime.exec_sync(&target, state, 0).await.unwrap().stdout;
    // Its first process buries no orphans.
    assert!(String::from_utf8(state).unwrap().contains("State:\tZ"));
    // A container that comes later has its own again.
    let (_, log) = f.run(&pod, f.container(&["list", "/proc"])).await;
    assert_eq!(numbers(log.into_bytes()), 1);
    // The kernel ends what is in a namespace whose first process has ended.
    f.runtime.stop_container(&target, 0).await.unwrap();
    assert_eq!(f.wait_exit(&guest).await.exit_code, 137);
    let error = f.runtime.create_container(&pod, beside(&["sleep"])).await.unwrap_err();
    assert!(error.to_string().contains("is not running"), "{error}");
    f.finish().await;
}

async fn host_network() {
    let f = Fixture::new();
    let mut config = f.pod();
    config.host_network = true;
    config.host_pid = true;
    config.host_ipc = true;
    let pod = f.runtime.run_pod_sandbox(config).await.unwrap();
    assert!(f.network.0.lock().unwrap().is_empty());
    let (_, log) = f.run(&pod, f.container(&["read", "/proc/net/dev"])).await;
    let node = std::fs::read_to_string("/proc/net/dev").unwrap();
    assert_eq!(log.lines().count(), node.lines().count());
    let id = f.start(&pod, f.container(&["leave-child"])).await;
    assert_eq!(f.wait_exit(&id).await.exit_code, 0);
    f.finish().await;
}

async fn build_step() {
    let f = Fixture::new();
    let root = f.options.data_dir.join("root");
    std::fs::create_dir_all(&root).unwrap();
    crate::fixture::make_layer(&root);
    let step = |args: &[&str]| StepConfig {
        rootfs: root.clone(),
        args: args.iter().map(|&arg| arg.into()).collect(),
        env: vec!["A=1".into()],
        working_dir: "/work".into(),
        user: String::new(),
        mounts: Vec::new(),
        network: false,
    };
    let run = async |args: &[&str]| {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        let collect = async {
            let mut all = Vec::new();
            while let Some(bytes) = receiver.recv().await {
                all.extend(bytes);
            }
            String::from_utf8(all).unwrap()
        };
        tokio::join!(f.runtime.run_step(step(args), sender), collect)
    };
    let (code, output) = run(&["/bin/prog", "read", "/proc/self/status"]).await;
    assert_eq!(code.unwrap(), 0);
    assert!(output.contains("Seccomp:\t2\n"), "{output}");
    let (code, _) = run(&["prog", "write", "made", "by a step"]).await;
    assert_eq!(code.unwrap(), 0);
    assert_eq!(std::fs::read_to_string(root.join("work/made")).unwrap(), "by a step");
    assert_eq!(run(&["prog", "exit", "4"]).await.0.unwrap(), 4);
    let error = run(&["nothing"]).await.0.unwrap_err();
    assert!(error.to_string().contains("executable file not found"), "{error}");
    f.finish().await;
}

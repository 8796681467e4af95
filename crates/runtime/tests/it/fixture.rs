//! A runtime in a directory of its own, with a network and images that pretend.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use onggi_node_api::{
    ContainerConfig, ContainerState, ContainerStatus, ImageConfig, ImageError, NetworkError,
    PodNetwork, PodNetworkStatus, PodSandboxConfig, RootFs, RuntimeService,
};
use onggi_runtime::{Options, Runtime};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Pretends to be the pod network; counts what it gave.
#[derive(Default)]
pub(crate) struct Network(pub Mutex<BTreeMap<String, usize>>);

#[async_trait]
impl PodNetwork for Network {
    async fn setup(&self, sandbox: &str, netns: OwnedFd) -> Result<PodNetworkStatus, NetworkError> {
        assert!(rustix::fs::fstat(&netns).is_ok());
        *self.0.lock().unwrap().entry(sandbox.to_owned()).or_default() += 1;
        let ips = vec![IpAddr::V4(Ipv4Addr::new(10, 244, 0, 7))];
        Ok(PodNetworkStatus { ips, host_interface: String::new() })
    }

    async fn teardown(&self, sandbox: &str) -> Result<(), NetworkError> {
        self.0.lock().unwrap().remove(sandbox);
        Ok(())
    }
}

/// One image, whose only file is this binary, with a user database.
pub(crate) struct Images {
    pub layers: Vec<PathBuf>,
    pub config: Mutex<ImageConfig>,
    pub held: Mutex<Vec<String>>,
}

#[async_trait]
impl RootFs for Images {
    async fn image_config(&self, image: &str) -> Result<ImageConfig, ImageError> {
        match image {
            "test" => Ok(self.config.lock().unwrap().clone()),
            other => Err(ImageError::NotFound(other.to_owned())),
        }
    }

    async fn layers(&self, _: &str, container: &str) -> Result<Vec<PathBuf>, ImageError> {
        self.held.lock().unwrap().push(container.to_owned());
        Ok(self.layers.clone())
    }

    async fn release(&self, container: &str) -> Result<(), ImageError> {
        self.held.lock().unwrap().retain(|held| held != container);
        Ok(())
    }
}

/// The image's layer, made once a run.
static LAYER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    make_layer(dir.path());
    dir
});

/// Statics are never dropped.
pub(crate) fn remove_layer() {
    let _ = std::fs::remove_dir_all(LAYER.path());
}

pub(crate) fn make_layer(dir: &Path) {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let me = std::env::current_exe().unwrap();
    if std::fs::hard_link(&me, bin.join("prog")).is_err() {
        std::fs::copy(&me, bin.join("prog")).unwrap();
    }
    std::fs::create_dir(dir.join("etc")).unwrap();
    std::fs::create_dir(dir.join("tmp")).unwrap();
    std::fs::set_permissions(dir.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\n";
    std::fs::write(dir.join("etc/passwd"), passwd).unwrap();
    std::fs::write(dir.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:4:web\n").unwrap();
    std::fs::write(bin.join("text"), "not a program").unwrap();
    std::fs::write(bin.join("denied"), "not executable").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bin.join("text"), executable).unwrap();
}

pub(crate) struct Fixture {
    pub runtime: Arc<Runtime>,
    pub network: Arc<Network>,
    pub images: Arc<Images>,
    pub options: Options,
    dir: Option<tempfile::TempDir>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let network = Arc::new(Network::default());
        let images = Arc::new(Images {
            layers: vec![LAYER.path().to_owned()],
            config: Mutex::new(ImageConfig {
                entrypoint: vec!["/bin/prog".into()],
                cmd: vec!["sleep".into()],
                ..ImageConfig::default()
            }),
            held: Mutex::default(),
        });
        let instance = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let options = options(dir.path(), &instance, network.clone(), images.clone());
        let runtime = Runtime::new(options.clone()).unwrap();
        Self { runtime, network, images, options, dir: Some(dir) }
    }

    /// Forgets the daemon's side and comes back, as a daemon that was killed.
    pub(crate) async fn restart(&mut self) {
        self.runtime = Runtime::new(self.options.clone()).unwrap();
        self.runtime.recover().await.unwrap();
    }

    pub(crate) fn pod(&self) -> PodSandboxConfig {
        PodSandboxConfig {
            name: "pod".into(),
            namespace: "default".into(),
            uid: uuid::Uuid::new_v4().to_string(),
            hostname: "pod-host".into(),
            log_directory: self.options.data_dir.join("logs"),
            ..PodSandboxConfig::default()
        }
    }

    pub(crate) fn container(&self, args: &[&str]) -> ContainerConfig {
        ContainerConfig {
            name: format!("c{}", uuid::Uuid::new_v4().simple()),
            image: "test".into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
            termination_message_path: "/dev/termination-log".into(),
            ..ContainerConfig::default()
        }
    }

    /// A running pod.
    pub(crate) async fn run_pod(&self) -> String {
        self.runtime.run_pod_sandbox(self.pod()).await.unwrap()
    }

    /// A started container.
    pub(crate) async fn start(&self, sandbox: &str, config: ContainerConfig) -> String {
        let id = self.runtime.create_container(sandbox, config).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Runs a container to its end.
    pub(crate) async fn run(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> (ContainerStatus, String) {
        let id = self.start(sandbox, config).await;
        let status = self.wait_exit(&id).await;
        let log = log_text(&status.log_path);
        (status, log)
    }

    pub(crate) async fn wait_exit(&self, id: &str) -> ContainerStatus {
        self.wait_state(id, |status| status.state == ContainerState::Exited).await
    }

    /// Waits by events until a container is as wanted.
    pub(crate) async fn wait_state(
        &self,
        id: &str,
        wanted: impl Fn(&ContainerStatus) -> bool,
    ) -> ContainerStatus {
        use futures::StreamExt;
        let mut events = self.runtime.events();
        let wait = async {
            loop {
                let status = self.runtime.container_status(id).await.unwrap();
                if wanted(&status) {
                    return status;
                }
                events.next().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(status) => status,
            Err(_) => panic!("{:?}", self.runtime.container_status(id).await),
        }
    }

    /// Waits until a log has a line with `text`.
    pub(crate) async fn wait_log(&self, id: &str, text: &str) {
        let path = self.runtime.container_status(id).await.unwrap().log_path;
        let wait = async {
            while !log_text(&path).contains(text) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{text:?} not in {:?}", log_text(&path));
    }

    /// Removes everything and checks that nothing is left.
    pub(crate) async fn finish(mut self) {
        self.runtime.remove_all().await.unwrap();
        assert!(self.network.0.lock().unwrap().is_empty(), "networks were not given back");
        assert!(self.images.held.lock().unwrap().is_empty(), "layers were not released");
        let containers = self.options.data_dir.join("containers");
        assert_eq!(std::fs::read_dir(containers).unwrap().count(), 0);
        assert_eq!(groups(&self.options.instance), Vec::<PathBuf>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.dir.take().unwrap();
        assert!(!mounts.contains(dir.path().to_str().unwrap()), "mounts were left");
        assert_eq!(shims(&dir), Vec::<i32>::new());
    }
}

impl Drop for Fixture {
    /// After a failed test: kills what is in our groups and removes them.
    fn drop(&mut self) {
        if self.dir.is_none() {
            return;
        }
        let cgroups = onggi_sys::cgroups::Cgroups::detect().unwrap();
        let group = cgroups.group(&format!("onggi-{}", self.options.instance));
        let _ = group.kill(PATIENCE);
        let _ = group.remove(PATIENCE);
    }
}

pub(crate) fn options(
    dir: &Path,
    instance: &str,
    network: Arc<Network>,
    rootfs: Arc<Images>,
) -> Options {
    Options {
        state_dir: dir.join("run"),
        data_dir: dir.join("data"),
        instance: instance.to_owned(),
        shim_binary: std::env::current_exe().unwrap(),
        shim_arguments: vec!["shim".into()],
        network,
        rootfs,
    }
}

/// Control groups of an instance.
fn groups(instance: &str) -> Vec<PathBuf> {
    let name = format!("onggi-{instance}");
    std::fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|entry| entry.unwrap().path().join(&name))
        .chain([Path::new("/sys/fs/cgroup").join(&name)])
        .filter(|path| path.exists())
        .collect()
}

/// Shims that use this directory.
fn shims(dir: &tempfile::TempDir) -> Vec<i32> {
    let path = dir.path().to_string_lossy().into_owned();
    let uses = |pid: i32| {
        std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut fds| {
            fds.any(|fd| {
                fd.is_ok_and(|fd| {
                    std::fs::read_link(fd.path())
                        .is_ok_and(|link| link.to_string_lossy().contains(&path))
                })
            })
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok())
        .filter(|pid| uses(*pid))
        .collect()
}

/// The texts of a log, without times.
pub(crate) fn log_text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut out = String::new();
    for line in text.lines() {
        let mut parts = line.splitn(4, ' ').skip(2);
        let tag = parts.next().unwrap_or_default();
        out.push_str(parts.next().unwrap_or_default());
        if tag == "F" {
            out.push('\n');
        }
    }
    out
}

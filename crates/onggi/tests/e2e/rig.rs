//! A cluster for a test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use onggi_sys::netlink::NetNs;
use tempfile::TempDir;

/// A cluster in a network namespace of its own.
pub(crate) struct Cluster {
    netns: NetNs,
    directory: TempDir,
}

/// What a program said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cluster {
    /// A namespace and a directory; nothing runs yet. `None` without root.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: end-to-end tests need root");
            return None;
        }
        let netns = NetNs::new().unwrap();
        netns.run(|| onggi_sys::namespaces::loopback_up().unwrap()).unwrap();
        Some(Self { netns, directory: tempfile::tempdir().unwrap() })
    }

    /// A running one.
    pub(crate) fn up() -> Option<Self> {
        let cluster = Self::new()?;
        let said = cluster.onggi(&["up"]);
        assert!(said.ok, "onggi up: {}{}\n{}", said.out, said.err, cluster.log());
        Some(cluster)
    }

    /// Runs our own command line in the namespace.
    pub(crate) fn onggi(&self, arguments: &[&str]) -> Said {
        self.run(Path::new(env!("CARGO_BIN_EXE_onggi")), arguments)
    }

    /// Runs our own command line; it must succeed. Answers what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.onggi(arguments);
        assert!(said.ok, "onggi {arguments:?}: {}{}\n{}", said.out, said.err, self.log());
        said.out
    }

    /// Runs the real kubectl, where it is on the PATH.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Option<Said> {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path).map(|p| p.join("kubectl")).find(|p| p.exists());
        if program.is_none() {
            eprintln!("skipped: kubectl is not on the PATH");
        }
        Some(self.run(&program?, arguments))
    }

    /// Runs any program in the namespace, with the cluster's environment.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) -> Said {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", self.directory.path())
            .env("ONGGI_DATA_DIR", self.data())
            .env("ONGGI_NODE_NAME", "node")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        let output: Output = self.netns.run(|| command.output()).unwrap().unwrap();
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs code in the namespace, such as a request to a NodePort.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns.run(work).unwrap()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Writes a file and answers its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// The end of the daemon's log, for failures.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.data().join("log/onggi.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let said = self.onggi(&["down", "--purge"]);
        if !said.ok && !std::thread::panicking() {
            panic!("onggi down: {}{}", said.out, said.err);
        }
    }
}

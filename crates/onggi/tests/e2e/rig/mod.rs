//! A cluster for a test.

mod leaks;
mod objects;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onggi_supervisor::Paths;
use onggi_sys::netlink::NetNs;
use tempfile::TempDir;

pub(crate) use objects::{container, deployment, pod, service};

/// How long anything may take that a test waits for. Far more than is ever needed: a machine under
/// load fails no test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The same, for `kubectl wait`.
const TIMEOUT: &str = "--timeout=60s";

/// A cluster in a network namespace of its own.
pub(crate) struct Cluster {
    netns: NetNs,
    directory: TempDir,
}

/// What a program said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) code: Option<i32>,
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
        cluster.ok(&["up"]);
        Some(cluster)
    }

    /// A running one that has the image `guest`.
    pub(crate) fn with_guest() -> Option<Self> {
        let cluster = Self::up()?;
        cluster.ok(&["build", "-t", "guest", &cluster.guest_context()]);
        Some(cluster)
    }

    /// A directory with the program of `guest.rs` and its Dockerfile.
    pub(crate) fn guest_context(&self) -> String {
        let context = self.directory.path().join("guest");
        if !context.exists() {
            std::fs::create_dir(&context).unwrap();
            let program = Path::new(env!("CARGO_BIN_EXE_onggi")).with_file_name("examples/guest");
            let name = context.join("guest");
            // A link costs nothing; another file system wants a copy.
            std::fs::hard_link(&program, &name)
                .or_else(|_| std::fs::copy(&program, &name).map(drop))
                .unwrap_or_else(|error| {
                    panic!("{}: {error}; cargo build -p onggi --example guest", program.display())
                });
            let dockerfile = "FROM scratch\nCOPY guest /guest\nENTRYPOINT [\"/guest\"]\n";
            std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        }
        context.display().to_string()
    }

    /// Runs our own command line in the namespace.
    pub(crate) fn onggi(&self, arguments: &[&str]) -> Said {
        self.run(Path::new(env!("CARGO_BIN_EXE_onggi")), arguments)
    }

    /// Runs our own command line; it must succeed. Answers what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.must(self.onggi(arguments), arguments)
    }

    /// Runs a verb of kubectl: by the real one where it is on the PATH, else by our own. It must
    /// succeed. Answers what it printed.
    pub(crate) fn k(&self, arguments: &[&str]) -> String {
        self.must(self.kubectl(arguments), arguments)
    }

    /// Runs a verb of kubectl, which may fail.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        self.run(&client(), arguments)
    }

    /// Begins a verb of kubectl that goes on until it is stopped.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        self.start(&client(), arguments)
    }

    /// The same with something on standard input.
    pub(crate) fn kubectl_reads(&self, arguments: &[&str], input: &str) -> Said {
        self.start(&client(), arguments).finish(input)
    }

    /// Applies objects.
    pub(crate) fn apply(&self, objects: &[serde_json::Value]) -> String {
        let documents: String = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let arguments = ["apply", "-f", "-"];
        self.must(self.kubectl_reads(&arguments, &documents), &arguments)
    }

    /// Waits as `kubectl wait` does: `condition=Ready`, `jsonpath={.status.phase}=Failed`, `delete`.
    pub(crate) fn wait(&self, object: &str, condition: &str) {
        self.k(&["wait", object, &format!("--for={condition}"), TIMEOUT]);
    }

    /// One field of an object, by a JSONPath without its braces.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        self.k(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// Runs the guest in a running pod; it must succeed. Answers what it printed.
    pub(crate) fn exec(&self, pod: &str, steps: &[&str]) -> String {
        self.k(&[&["exec", pod, "--", "/guest"], steps].concat())
    }

    /// Waits for what has no event to a test, such as the end of a process.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs any program in the namespace, with the cluster's environment.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) -> Said {
        self.start(program, arguments).finish("")
    }

    /// Starts any program in the namespace, with the cluster's environment.
    pub(crate) fn start(&self, program: &Path, arguments: &[&str]) -> Running {
        let mut command = self.command(program, arguments);
        Running(self.netns.run(|| command.spawn()).unwrap().unwrap())
    }

    fn command(&self, program: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", self.directory.path())
            .env("ONGGI_DATA_DIR", self.data())
            .env("ONGGI_NODE_NAME", "node")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs code in the namespace, such as a request to a NodePort.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns.run(work).unwrap()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The paths and the id of the instance.
    pub(crate) fn paths(&self) -> Paths {
        Paths::new(&self.data()).unwrap()
    }

    /// The daemon's process id.
    pub(crate) fn daemon(&self) -> i32 {
        std::fs::read_to_string(self.paths().lock()).unwrap().trim().parse().unwrap()
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
        let text = std::fs::read_to_string(self.paths().daemon_log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn must(&self, said: Said, arguments: &[&str]) -> String {
        assert!(said.ok, "{}: {}{}", arguments.join(" "), said.out, said.err);
        said.out
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            for arguments in
                [["get", "pods", "-A", "-o", "wide"], ["get", "events", "-A", "-o", "wide"]]
            {
                eprintln!("{}", self.kubectl(&arguments).out);
            }
            eprintln!("{}", self.log());
        }
        let paths = self.paths();
        let said = self.onggi(&["down", "--purge"]);
        let mut faults = leaks::of(&paths, &self.netns);
        if !said.ok {
            faults.push(format!("onggi down: {}{}", said.out, said.err));
        }
        match (faults.is_empty(), failed) {
            (true, _) => {}
            (false, true) => eprintln!("left behind: {faults:#?}"),
            (false, false) => panic!("left behind: {faults:#?}"),
        }
    }
}

/// A program that runs.
pub(crate) struct Running(std::process::Child);

impl Running {
    /// Waits for its next line, which `finish` does not answer again.
    pub(crate) fn line(&mut self) -> String {
        let output = self.0.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        // A buffer would take what `finish` is to answer.
        while output.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Ends it.
    pub(crate) fn stop(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Gives it its standard input and waits for its end.
    pub(crate) fn finish(mut self, input: &str) -> Said {
        let mut stdin = self.0.stdin.take().unwrap();
        // A program that does not want it may close it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = self.0.wait_with_output().unwrap();
        Said {
            ok: output.status.success(),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// kubectl where there is one; our own command line has its verbs too.
fn client() -> PathBuf {
    on_path("kubectl").unwrap_or_else(|| env!("CARGO_BIN_EXE_onggi").into())
}

/// Where a program is.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|p| p.join(name)).find(|p| p.exists())
}

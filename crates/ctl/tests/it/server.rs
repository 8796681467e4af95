//! A server on a memory store, and command lines on it: ours and kubectl's.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};

use clap::{CommandFactory, FromArgMatches, Parser};
use futures::StreamExt;
use onggi_apiserver::{ApiServer, Options, User};
use onggi_base::SystemClock;
use onggi_base::pki::{Authority, Pair, server_config};
use onggi_client::kubeconfig::{NewContext, merge_context};
use onggi_client::{Client, EventType, WatchSpec};
use onggi_ctl::{Error, Globals, Io, Session, Verb};
use onggi_machinery::resource;
use onggi_store::{History, Store, memory};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a program does with the verbs.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Ends with the value.
pub(crate) struct Server {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) client: Client,
    differences: Mutex<Vec<String>>,
    directory: tempfile::TempDir,
}

/// What a command line printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.close();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("test", now).unwrap();
        let pair = authority.issue_server("api", &[], &[[127, 0, 0, 1].into()], now).unwrap();
        let admin = authority.issue_client("admin", Some("system:masters"), now).unwrap();
        let store: Arc<dyn Store> = Arc::new(memory::open(History::default()).unwrap());
        let server = ApiServer::open(Options {
            store,
            clock: Arc::new(SystemClock),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            node_ports: 30000..=32767,
            token_key: admin.key.clone(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            access: onggi_apiserver::Access::default(),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        server.bootstrap(address).await.unwrap();
        let tls = Arc::new(server_config(&pair, authority.certificate()).unwrap());
        tokio::spawn(Arc::clone(&server).serve(listener, tls));
        let client = Client::new(server.transport(User::new("admin", &["system:masters"])));
        tokio::spawn(accounts(client.clone()));
        let directory = tempfile::tempdir().unwrap();
        let this = Self { server, client, differences: Mutex::default(), directory };
        this.kubeconfig(address, &authority, &admin);
        this
    }

    fn kubeconfig(&self, address: SocketAddr, authority: &Authority, admin: &Pair) {
        let url = format!("https://{address}");
        let context = NewContext::inline("test", &url, authority.certificate(), admin);
        merge_context(&self.path("config"), &context, true).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// Runs a command line of ours.
    pub(crate) async fn try_run(&self, line: &str) -> Printed {
        let config = self.path("config").display().to_string();
        let words = words(line);
        let words = ["onggi", "--kubeconfig", &config].map(str::to_owned).into_iter().chain(words);
        let parsed = parse(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        let (out, err) = (Buffer::default(), Buffer::default());
        let session = Session::with_io(parsed.globals, Io::new(out.clone(), err.clone()));
        let result: Result<(), Error> = parsed.verb.run_in(&session).await;
        let (code, said) = match &result {
            Ok(()) => (0, String::new()),
            Err(error) => (error.code().into(), error.report()),
        };
        Printed { out: out.text(), err: err.text() + &said, code }
    }

    /// Begins a command line that does not end by itself.
    pub(crate) async fn follow(&self, line: &str) -> Following {
        let config = self.path("config").display().to_string();
        let words =
            ["onggi", "--kubeconfig", &config].map(str::to_owned).into_iter().chain(words(line));
        let parsed = parse(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        let (to, lines) = mpsc::unbounded_channel();
        let session = Session::with_io(parsed.globals, Io::new(Lines(to, Vec::new()), io::sink()));
        let task = tokio::spawn(async move { parsed.verb.run_in(&session).await });
        Following { lines, task }
    }

    /// What a command line of ours prints when it succeeds.
    pub(crate) async fn run(&self, line: &str) -> String {
        let printed = self.try_run(line).await;
        assert_eq!(printed.code, 0, "{line}: {}{}", printed.out, printed.err);
        printed.out
    }

    /// What it says when it fails.
    pub(crate) async fn fails(&self, line: &str) -> String {
        let printed = self.try_run(line).await;
        assert_ne!(printed.code, 0, "{line} should fail: {}", printed.out);
        printed.err
    }

    /// What is wrong with a command line as such.
    pub(crate) fn misread(&self, line: &str) -> String {
        let all = std::iter::once("onggi".to_owned()).chain(words(line));
        match parse(all) {
            Ok(_) => panic!("{line} makes sense"),
            Err(error) => onggi_ctl::flags::usage(&error, "onggi", &words(line)),
        }
    }

    /// The real one; `None` where it is not installed, or of another version than the one that is
    /// followed.
    pub(crate) async fn kubectl(&self, line: &str) -> Option<Printed> {
        static THERE: OnceLock<bool> = OnceLock::new();
        let there = THERE.get_or_init(|| {
            let said = std::process::Command::new("kubectl").args(["version", "--client"]).output();
            said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(": v1.36."))
        });
        if !there {
            println!("skipped: kubectl v1.36 is not on the PATH");
            return None;
        }
        let child = tokio::process::Command::new("kubectl")
            .args(words(line))
            .env("KUBECONFIG", self.path("config"))
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().shutdown().await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some(Printed {
            out: text(output.stdout),
            err: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        })
    }

    /// A command line that changes nothing, by both; ages count as the same. What differs is kept
    /// for [`Self::settle`].
    pub(crate) async fn same(&self, line: &str) {
        let ours = self.try_run(line).await;
        let Some(theirs) = self.kubectl(line).await else { return };
        for (what, ours, theirs) in [
            ("output", ours.out, theirs.out),
            ("errors", ours.err, without_old_versions(&theirs.err)),
            ("code", ours.code.to_string(), theirs.code.to_string()),
        ] {
            if ageless(&ours) != ageless(&theirs) {
                let text =
                    format!("=== {line}: {what}\n--- onggi\n{ours}\n--- kubectl\n{theirs}\n");
                self.differences.lock().unwrap().push(text);
            }
        }
    }

    /// Fails when anything was not the [`same`](Self::same).
    pub(crate) fn settle(&self) {
        let differences = self.differences.lock().unwrap();
        assert!(differences.is_empty(), "{}", differences.concat());
    }
}

fn parse(words: impl Iterator<Item = String>) -> Result<Line, clap::Error> {
    let matches = onggi_ctl::flags::as_kubectl(Line::command()).try_get_matches_from(words)?;
    Line::from_arg_matches(&matches)
}

/// Without what kubectl is warned of for asking in an old version, which ours does not do.
fn without_old_versions(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.ends_with(", as which it is read here"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// With every duration in the place of its number: the two are asked one after the other.
fn ageless(text: &str) -> String {
    let is_age = |word: &str| {
        let digits = word.strip_suffix('s').unwrap_or("");
        !digits.is_empty() && digits.len() < 4 && digits.chars().all(|c| c.is_ascii_digit())
    };
    let word = |word: &str| {
        if is_age(word.trim()) { word.replace(word.trim(), "#s") } else { word.to_owned() }
    };
    text.split_inclusive([' ', '\n']).map(word).collect()
}

/// Words of a line; those in single quotes hold spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A command line that goes on.
pub(crate) struct Following {
    lines: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<Result<(), Error>>,
}

impl Following {
    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        self.lines.recv().await.unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands out whole lines.
struct Lines(mpsc::UnboundedSender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.1)).into_owned();
                self.0.send(line).map_err(io::Error::other)?;
            } else {
                self.1.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stands in for the service account controller.
async fn accounts(client: Client) {
    let resource = |plural: &str| resource::by_any_name(plural).unwrap().gvr();
    let spaces = client.transport().watch(WatchSpec::all(resource("ns"))).await;
    let mut spaces = spaces.unwrap();
    while let Some(Ok(event)) = spaces.next().await {
        if event.kind == EventType::Added {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
            });
            let name = &event.object.head().name;
            client.create_or_get(&resource("sa"), name, account).await.unwrap();
        }
    }
}

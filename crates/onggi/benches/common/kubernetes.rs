//! The peer of the API: a kube-apiserver with an etcd, where both are on the `PATH`. They get what
//! ours has too: TLS, client certificates, RBAC, the usual admission.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use onggi_base::pki::Authority;
use onggi_client::Config;
use serde_json::json;

use super::etcd::{self, Etcd};
use super::plane::{Server, get, post};
use super::rig::{Cluster, PATIENCE, on_path};
use super::wire::Connection;

const PROGRAM: &str = "kube-apiserver";
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 16443);

/// Both, running; they end with this value.
pub(crate) struct Kubernetes {
    pub(crate) config: Config,
    /// As the program tells it: `v1.20.2`.
    version: String,
    server: Child,
    etcd: Etcd,
}

impl Kubernetes {
    /// Starts both in the namespace of a cluster; `None` where one is not installed, which it says.
    pub(crate) fn start(cluster: &Cluster) -> Option<Self> {
        let directory = cluster.data().with_file_name("kubernetes");
        std::fs::create_dir_all(&directory).unwrap();
        let program = on_path(PROGRAM);
        let etcd = program.as_ref().and_then(|_| Etcd::start(cluster, &directory.join("etcd")));
        let (Some(program), Some(etcd)) = (program, etcd) else {
            super::skipped("kube-apiserver with etcd");
            return None;
        };
        let said = Command::new(&program).arg("--version").output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split_whitespace().last().unwrap_or("?").to_owned();
        let now = std::time::SystemTime::now().into();
        let authority = Authority::generate("peer", now).unwrap();
        let serving = authority.issue_server("peer", &[], &[ADDRESS.ip()], now).unwrap();
        let client = authority.issue_client("bench", Some("system:masters"), now).unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let key = file("peer.key", &serving.key);
        let certificate = file("peer.crt", &serving.certificate);
        let mut command = Command::new(program);
        for (flag, value) in [
            ("etcd-servers", format!("http://{}", etcd::CLIENTS)),
            ("bind-address", ADDRESS.ip().to_string()),
            ("advertise-address", ADDRESS.ip().to_string()),
            ("secure-port", ADDRESS.port().to_string()),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("client-ca-file", file("ca.crt", authority.certificate())),
            ("tls-cert-file", certificate.clone()),
            ("tls-private-key-file", key.clone()),
            ("service-account-issuer", "https://peer".to_owned()),
            ("service-account-key-file", certificate),
            ("service-account-signing-key-file", key),
            ("service-cluster-ip-range", "10.200.0.0/16".to_owned()),
            ("cert-dir", directory.display().to_string()),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        let log = std::fs::File::create(directory.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = cluster.inside(|| command.spawn()).unwrap();
        let config = Config {
            server: format!("https://{ADDRESS}"),
            ca: Some(authority.certificate().to_owned()),
            client: Some(client),
            ..Config::default()
        };
        let peer = Self { config, version, server, etcd };
        let began = Instant::now();
        let look = |what: &str| {
            let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{what} of {PROGRAM} is not there: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        };
        super::in_namespace(cluster, async || {
            let mut connection = loop {
                match Connection::try_http1(&peer.config).await {
                    Ok(connection) => break connection,
                    Err(error) => look(&format!("the port ({error})")),
                }
            };
            let mut status =
                async |request: Request<Full<Bytes>>| connection.send(request).await.0.status;
            while status(get(&peer.config, "/readyz")).await != StatusCode::OK {
                look("readiness");
            }
            // There is no controller that makes it; without a token a pod is less work.
            let path = "/api/v1/namespaces/default/serviceaccounts";
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
                "automountServiceAccountToken": false,
            });
            while status(post(&peer.config, path, &account)).await != StatusCode::CREATED {
                look("the namespace default");
            }
        });
        Some(peer)
    }

    /// Both as one to ask.
    pub(crate) fn server(&self) -> Server<'_> {
        Server::new(&self.config, &[self.server.id().try_into().unwrap(), self.etcd.pid()])
    }

    /// For the title of a row.
    pub(crate) fn title(&self) -> String {
        format!("kube-apiserver {} and etcd", self.version)
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
    }
}

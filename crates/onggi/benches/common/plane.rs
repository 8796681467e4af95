//! A control plane without a node, and what the benchmarks of the API write into it.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use onggi_client::Config;
use serde_json::{Value, json};

use super::process;
use super::rig::{Cluster, PATIENCE, Running};
use super::wire::Connection;

/// `onggi server --no-node`; it ends with this value.
pub(crate) struct Plane {
    pub(crate) config: Config,
    pub(crate) pid: i32,
    server: Option<Running>,
}

/// Whom to ask, and the processes that serve it.
pub(crate) struct Server<'a> {
    pub(crate) config: &'a Config,
    pids: Vec<i32>,
}

impl<'a> Server<'a> {
    pub(crate) fn new(config: &'a Config, pids: &[i32]) -> Self {
        Self { config, pids: pids.to_vec() }
    }

    /// Their processor time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.pids.iter().map(|pid| process::cpu(*pid)).sum()
    }
}

impl Plane {
    /// As one to ask.
    pub(crate) fn server(&self) -> Server<'_> {
        Server::new(&self.config, &[self.pid])
    }

    /// Starts it on the data of a cluster that is not up; answers it with the seconds from its start
    /// to its first `/readyz`.
    pub(crate) fn start(cluster: &Cluster) -> (Self, f64) {
        Self::start_with(cluster, &[])
    }

    /// The same with further options.
    pub(crate) fn start_with(cluster: &Cluster, options: &[&str]) -> (Self, f64) {
        let began = Instant::now();
        let onggi = Path::new(env!("CARGO_BIN_EXE_onggi"));
        let server = cluster.start(onggi, &[&["server", "--no-node"], options].concat());
        let kubeconfig = cluster.paths().kubeconfig();
        let look = |what: &str| {
            assert!(began.elapsed() < PATIENCE, "{what} is not there: {}", cluster.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let config = loop {
            let found =
                onggi_client::kubeconfig::Kubeconfig::load(std::slice::from_ref(&kubeconfig));
            match found.and_then(|found| found.resolve(None)) {
                Ok(found) => break found.config,
                Err(_) => look("the kubeconfig"),
            }
        };
        let address = super::wire::address(&config);
        while cluster.inside(|| std::net::TcpStream::connect(address)).is_err() {
            look("the server");
        }
        super::in_namespace(cluster, async || {
            let mut connection = Connection::http1(&config).await;
            while connection.send(get(&config, "/readyz")).await.0.status != StatusCode::OK {
                look("readiness");
            }
        });
        let pid = cluster.daemon();
        (Self { config, pid, server: Some(server) }, began.elapsed().as_secs_f64())
    }

    /// Ends it as a service manager does and waits for its end.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(server) = self.server.take() {
            let process = nix::unistd::Pid::from_raw(self.pid);
            nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
            server.finish("");
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request without a body.
pub(crate) fn get(config: &Config, path: &str) -> Request<Full<Bytes>> {
    let uri = format!("{}{path}", config.server);
    let host = super::wire::address(config).to_string();
    Request::get(uri).header("host", host).body(Full::default()).unwrap()
}

/// The creation of an object.
pub(crate) fn post(config: &Config, path: &str, object: &Value) -> Request<Full<Bytes>> {
    Request::post(format!("{}{path}", config.server))
        .header("host", super::wire::address(config).to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(object.to_string())))
        .unwrap()
}

/// Where ConfigMaps are created.
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Where pods are created.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A ConfigMap of about 1 KB.
pub(crate) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"payload": "x".repeat(900)},
    })
}

/// A pod as a Deployment makes it; about 2 KB when it is stored. No scheduler looks at it, so that
/// the figures are those of the API.
pub(crate) fn pod(name: &str) -> Value {
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "web", "image": "registry.example/team/web:1.27.3",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "MODE", "value": "production"}],
                "resources": {"requests": requests},
            }],
        },
    })
}

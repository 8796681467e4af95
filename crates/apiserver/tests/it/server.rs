//! A server on a memory store, on a loopback port of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use onggi_apiserver::{Access, ApiServer, Options, User};
use onggi_base::SystemClock;
use onggi_base::pki::{Authority, Pair, client_config, server_config};
use onggi_client::{Body, Error, EventStream, EventType, Request, Response, Transport, WatchSpec};
use onggi_machinery::resource::{self, Verb};
use onggi_store::{History, Store, memory};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Ends with the value.
pub(crate) struct Server {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) admin: Pair,
    pub(crate) transport: Arc<dyn Transport>,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.close();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(History::default()).await
    }

    /// With a store that keeps so much history.
    pub(crate) async fn with(history: History) -> Self {
        Self::with_access(history, Access::default()).await
    }

    /// With options.
    pub(crate) async fn with_access(history: History, access: Access) -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("test", now).unwrap();
        let pair = authority
            .issue_server("api", &["localhost".into()], &[[127, 0, 0, 1].into()], now)
            .unwrap();
        let admin = authority.issue_client("admin", Some("system:masters"), now).unwrap();
        let store: Arc<dyn Store> = Arc::new(memory::open(history).unwrap());
        let server = open(&store, &admin, access).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        server.bootstrap(address).await.unwrap();
        let tls = Arc::new(server_config(&pair, authority.certificate()).unwrap());
        tokio::spawn(Arc::clone(&server).serve(listener, tls));
        let transport = server.transport(User::new("admin", &["system:masters"]));
        tokio::spawn(accounts(Arc::clone(&transport)));
        let directory = tempfile::tempdir().unwrap();
        Self { server, store, address, authority, admin, transport, directory }
    }

    /// A second server on the same store.
    pub(crate) async fn another(&self) -> Arc<ApiServer> {
        open(&self.store, &self.admin, Access::default()).await
    }

    /// TLS as a client with a certificate, or without one.
    pub(crate) fn tls(&self, client: Option<&Pair>) -> tokio_rustls::TlsConnector {
        let config = client_config(self.authority.certificate(), client).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    /// A kubeconfig of the admin, in a directory that goes with the server.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let path = |name: &str| self.directory.path().join(name);
        for (name, content) in [
            ("ca.crt", self.authority.certificate()),
            ("admin.crt", &self.admin.certificate),
            ("admin.key", &self.admin.key),
        ] {
            std::fs::write(path(name), content).unwrap();
        }
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\n\
             clusters: [{{name: t, cluster: {{server: 'https://{}', certificate-authority: {} }}}}]\n\
             users: [{{name: t, user: {{client-certificate: {}, client-key: {} }}}}]\n\
             contexts: [{{name: t, context: {{cluster: t, user: t}}}}]\n",
            self.address,
            path("ca.crt").display(),
            path("admin.crt").display(),
            path("admin.key").display(),
        );
        std::fs::write(path("config"), config).unwrap();
        path("config")
    }

    pub(crate) fn request(&self, verb: Verb, plural: &str, namespace: &str, name: &str) -> Request {
        let row = resource::by_any_name(plural).unwrap();
        Request::new(verb, row.gvr(), namespace, name)
    }

    /// A call by the admin, inside the process.
    pub(crate) async fn call(&self, request: Request) -> Result<Value, Error> {
        Ok(match self.transport.call(request).await? {
            Response::Object { object, .. } => object.value().unwrap(),
            Response::Document { value, .. } => value,
            Response::Status(status) => serde_json::to_value(status).unwrap(),
            Response::List { items, .. } => {
                items.iter().map(|object| object.value().unwrap()).collect()
            }
        })
    }

    pub(crate) async fn create(
        &self,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Error> {
        let request = self.request(Verb::Create, plural, namespace, "");
        self.call(request.body(Body::Object(object))).await
    }

    pub(crate) async fn get(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Error> {
        self.call(self.request(Verb::Get, plural, namespace, name)).await
    }

    pub(crate) async fn delete(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Error> {
        self.call(self.request(Verb::Delete, plural, namespace, name)).await
    }

    /// Tells of changes from now on.
    pub(crate) async fn watch(&self, plural: &str, namespace: &str) -> Changes {
        let row = resource::by_any_name(plural).unwrap();
        let mut spec = WatchSpec::all(row.gvr());
        spec.namespace = namespace.to_owned();
        Changes(self.transport.watch(spec).await.unwrap())
    }

    pub(crate) async fn update(
        &self,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Error> {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let request = self.request(Verb::Update, plural, namespace, &name);
        self.call(request.body(Body::Object(object))).await
    }
}

/// Changes of a kind.
pub(crate) struct Changes(EventStream);

impl Changes {
    /// Waits for the next one.
    pub(crate) async fn changed(&mut self) {
        self.0.next().await.unwrap().unwrap();
    }
}

async fn open(store: &Arc<dyn Store>, key: &Pair, access: Access) -> Arc<ApiServer> {
    ApiServer::open(Options {
        store: Arc::clone(store),
        clock: Arc::new(SystemClock),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        node_ports: 30000..=32767,
        token_key: key.key.clone(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        access,
    })
    .await
    .unwrap()
}

/// Stands in for the service account controller.
async fn accounts(transport: Arc<dyn Transport>) {
    let resource = |plural: &str| resource::by_any_name(plural).unwrap().gvr();
    let mut spaces = transport.watch(WatchSpec::all(resource("ns"))).await.unwrap();
    while let Some(Ok(event)) = spaces.next().await {
        if event.kind == EventType::Added {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
            });
            let request = Request::new(Verb::Create, resource("sa"), &event.object.head().name, "");
            // It may be there already.
            let _ = transport.call(request.body(Body::Object(account))).await;
        }
    }
}

//! An API server with its controllers, and a kubelet that only says that pods run.

use std::sync::Arc;
use std::time::Duration;

use onggi_api::{GroupVersionResource, Object};
use onggi_apiserver::{Access, ApiServer, Options, User};
use onggi_base::pki::Authority;
use onggi_base::{Clock, Shutdown, SystemClock};
use onggi_client::informer::Whole;
use onggi_client::{Cache, Client, ListOptions, Patch, SharedInformers, Source, WriteOptions};
use onggi_controllers::Controllers;
use onggi_machinery::resource::by_any_name;
use onggi_store::{History, Store, memory};
use serde_json::{Value, json};

/// Only for what does not happen: a failing test ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) store: Arc<dyn Store>,
    server: Arc<ApiServer>,
    pub(crate) informers: SharedInformers,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.server.close();
    }
}

pub(crate) fn gvr(name: &str) -> GroupVersionResource {
    by_any_name(name).unwrap().gvr()
}

impl World {
    /// With a kubelet that makes every pod run and be ready as soon as it sees it.
    pub(crate) async fn start() -> Self {
        let world = Self::without_kubelet().await;
        let pods: Cache<Whole> = world.informers.informer(Source::all(gvr("pods")));
        tokio::spawn(kubelet(world.client.clone(), pods));
        world
    }

    pub(crate) async fn without_kubelet() -> Self {
        Self::with_access(Access::default()).await
    }

    pub(crate) async fn with_access(access: Access) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store: Arc<dyn Store> = Arc::new(memory::open(History::default()).unwrap());
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("test", now).unwrap();
        let pair = authority.issue_client("admin", Some("system:masters"), now).unwrap();
        let server = ApiServer::open(Options {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            node_ports: 30000..=32767,
            token_key: pair.key.clone(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            access,
        })
        .await
        .unwrap();
        server.bootstrap("127.0.0.1:6443".parse().unwrap()).await.unwrap();
        let transport = |user: &str, groups: &[&str]| server.transport(User::new(user, groups));
        let shutdown = Shutdown::new();
        let controllers = transport("system:kube-controller-manager", &[]);
        let options = onggi_controllers::Options {
            ca_pem: authority.certificate().to_owned(),
            ..onggi_controllers::Options::default()
        };
        let informers = SharedInformers::new(controllers, shutdown.clone());
        tokio::spawn(Controllers::new(options, informers, clock).run(shutdown.clone()));
        let admin = transport("admin", &["system:masters"]);
        let informers = SharedInformers::new(Arc::clone(&admin), shutdown.clone());
        Self { client: Client::new(admin), store, server, informers, shutdown }
    }

    pub(crate) async fn create(&self, plural: &str, object: Value) -> Arc<Object> {
        let namespace = if by_any_name(plural).unwrap().namespaced() { "default" } else { "" };
        self.create_in(plural, namespace, object).await
    }

    pub(crate) async fn create_in(
        &self,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> Arc<Object> {
        self.client.create(&gvr(plural), namespace, object).await.unwrap()
    }

    pub(crate) async fn patch(&self, plural: &str, name: &str, patch: Value) {
        let patch = Patch::strategic(patch);
        self.client.patch(&gvr(plural), "default", name, patch).await.unwrap();
    }

    pub(crate) async fn delete(&self, plural: &str, name: &str, propagation: &str) {
        let namespace = if by_any_name(plural).unwrap().namespaced() { "default" } else { "" };
        let options =
            WriteOptions { propagation_policy: propagation.into(), ..WriteOptions::default() };
        self.client.delete(&gvr(plural), namespace, name, options).await.unwrap();
    }

    pub(crate) async fn list(&self, plural: &str) -> Vec<Value> {
        let (_, items) = self.client.list(&gvr(plural), "", ListOptions::default()).await.unwrap();
        items.iter().map(|object| object.value().unwrap()).collect()
    }

    /// Waits until the objects of a kind are as wanted, looking whenever one changed.
    pub(crate) async fn until(
        &self,
        plural: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        let cache: Cache<Whole> = self.informers.informer(Source::all(gvr(plural)));
        cache.synced().await.unwrap();
        let mut changes = cache.subscribe();
        let look = async {
            loop {
                let all: Vec<Value> =
                    cache.list().iter().map(|object| object.value().unwrap()).collect();
                if wanted(&all) {
                    return all;
                }
                changes.recv().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(all) => all,
            Err(_) => panic!("{plural} are {:#}", json!(self.list(plural).await)),
        }
    }
}

/// Says that pods run and are ready, and takes away those that are being deleted.
async fn kubelet(client: Client, pods: Cache<Whole>) {
    let mut changes = pods.subscribe();
    let mut number = 0;
    while let Some(change) = changes.recv().await {
        let Some(pod) = change.after() else { continue };
        let (key, value) = (change.key(), pod.value().unwrap());
        if pod.head().deleting {
            let now = WriteOptions { grace_period_seconds: Some(0), ..WriteOptions::default() };
            let _ = client.delete(&gvr("pods"), &key.namespace, &key.name, now).await;
        } else if value["spec"]["nodeName"].is_null() {
            let _ = client.bind(&key.namespace, &key.name, "", "n1").await;
        } else if value["status"]["phase"] == "Pending" {
            number += 1;
            let status = json!({"status": {
                "phase": "Running",
                "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
                "conditions": [{"type": "Ready", "status": "True",
                                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }});
            let patch = Patch::strategic(status);
            let _ = client.patch_status(&gvr("pods"), &key.namespace, &key.name, patch).await;
        }
    }
}

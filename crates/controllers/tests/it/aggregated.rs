//! Kinds of an aggregated API server, which is another server like ours with a custom kind.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::{GroupVersionResource, Object};
use onggi_apiserver::{Access, ApiServer, FrontProxy, Mode, Options, RequestHeader, User};
use onggi_base::pki::{Authority, server_config};
use onggi_base::{Shutdown, SystemClock};
use onggi_client::informer::Whole;
use onggi_client::{Cache, Client, SharedInformers, Source, WriteOptions};
use onggi_store::{Expect, History, Txn, memory};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{PATIENCE, World, gvr};

const SLICE: &str = "/registry/discovery.k8s.io/endpointslices/wardle/api-1";

struct Extension {
    server: Arc<ApiServer>,
    client: Client,
    port: u16,
    authority: Authority,
    front: FrontProxy,
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.server.close();
    }
}

fn flunders() -> GroupVersionResource {
    GroupVersionResource::new("wardle.example.com", "v1", "flunders")
}

fn space(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

impl Extension {
    async fn start() -> Self {
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::generate("extension", now).unwrap();
        let pair = authority.issue_server("api", &["api.wardle.svc".into()], &[], now).unwrap();
        let proxies = Authority::generate("front-proxy", now).unwrap();
        let names = vec!["front-proxy-client".to_owned()];
        let front = FrontProxy {
            client: proxies.issue_client(&names[0], None, now).unwrap(),
            ca: proxies.certificate().to_owned(),
            allowed_names: names.clone(),
        };
        let request_header = RequestHeader {
            ca: front.ca.clone(),
            allowed_names: names,
            username_headers: vec!["X-Remote-User".into()],
            group_headers: vec!["X-Remote-Group".into()],
            ..RequestHeader::default()
        };
        let server = ApiServer::open(Options {
            store: Arc::new(memory::open(History::default()).unwrap()),
            clock: Arc::new(SystemClock),
            service_cidr: "10.97.0.0/16".parse().unwrap(),
            node_ports: 30000..=32767,
            token_key: pair.key.clone(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            access: Access {
                modes: vec![Mode::AlwaysAllow],
                client_ca: authority.certificate().to_owned(),
                request_header: Some(request_header),
                ..Access::default()
            },
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        server.bootstrap(address).await.unwrap();
        let tls = Arc::new(server_config(&pair, proxies.certificate()).unwrap());
        tokio::spawn(Arc::clone(&server).serve(listener, tls));
        let client = Client::new(server.transport(User::new("admin", &["system:masters"])));
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "flunders.wardle.example.com"},
            "spec": {
                "group": "wardle.example.com", "scope": "Namespaced",
                "names": {"plural": "flunders", "kind": "Flunder"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": {"type": "object"}}}],
            },
        });
        client.create(&gvr("customresourcedefinitions"), "", definition).await.unwrap();
        Self { server, client, port: address.port(), authority, front }
    }

    /// Where it is, put where the server reads it: no client may name an address of the machine
    /// itself.
    async fn endpoints(&self, world: &World) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "api-1", "namespace": "wardle", "uid": "u",
                "labels": {"kubernetes.io/service-name": "api"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
        });
        let bytes = onggi_api::object::encode(&slice).unwrap();
        world.store.txn(Txn::put(SLICE.to_owned(), Expect::Absent, bytes)).await.unwrap();
    }

    /// Hands its group over to it.
    async fn join(&self, world: &World) {
        world.create("namespaces", space("wardle")).await;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
            "spec": {"ports": [{"name": "https", "port": 443}]},
        });
        world.create_in("services", "wardle", service).await;
        self.endpoints(world).await;
        let api_service = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.wardle.example.com"},
            "spec": {
                "group": "wardle.example.com", "version": "v1",
                "service": {"namespace": "wardle", "name": "api"},
                "caBundle": STANDARD.encode(self.authority.certificate()),
                "groupPriorityMinimum": 1500, "versionPriority": 15,
            },
        });
        world.create("apiservices", api_service).await;
        self.is_available(world, "True").await;
    }

    async fn is_available(&self, world: &World, status: &str) {
        let all = |all: &[Value]| {
            let ours = all.iter().find(|s| s["metadata"]["name"] == "v1.wardle.example.com");
            ours.is_some_and(|s| s["status"]["conditions"][0]["status"] == status)
        };
        world.until("apiservices", all).await;
    }

    async fn flunder(&self, namespace: &str, name: &str, owner: Option<&Object>) {
        let mut object = json!({"apiVersion": "wardle.example.com/v1", "kind": "Flunder",
                                "metadata": {"name": name}});
        if let Some(head) = owner.map(Object::head) {
            object["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "name": head.name, "uid": head.uid}]);
        }
        self.client.create(&flunders(), namespace, object).await.unwrap();
    }

    async fn are_gone(&self, namespace: &str) {
        let admin = self.server.transport(User::new("admin", &["system:masters"]));
        let shutdown = Shutdown::new();
        let informers = SharedInformers::new(admin, shutdown.clone());
        let objects: Cache<Whole> = informers.informer(Source::all(flunders()));
        objects.synced().await.unwrap();
        let mut changes = objects.subscribe();
        let look = async {
            while objects.list().iter().any(|object| object.head().namespace == namespace) {
                changes.recv().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap();
        shutdown.cancel();
    }
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_other_servers_go_with_their_owners_and_their_namespace() {
    let extension = Extension::start().await;
    let access = Access { front_proxy: Some(extension.front.clone()), ..Access::default() };
    let world = World::with_access(access).await;
    extension.join(&world).await;
    world.create("namespaces", space("shop")).await;
    extension.client.create(&gvr("namespaces"), "", space("shop")).await.unwrap();

    let root = world.create_in("configmaps", "shop", map("root")).await;
    extension.flunder("shop", "owned", Some(&root)).await;
    let maps = gvr("configmaps");
    world.client.delete(&maps, "shop", "root", WriteOptions::default()).await.unwrap();
    extension.are_gone("shop").await;
    // And the other way.
    extension.flunder("shop", "above", None).await;
    let above = world.client.get(&flunders(), "shop", "above").await.unwrap();
    let mut below = map("below");
    below["metadata"]["ownerReferences"] = json!([{"apiVersion": "wardle.example.com/v1",
        "kind": "Flunder", "name": "above", "uid": above.head().uid}]);
    world.create_in("configmaps", "shop", below).await;
    world.client.delete(&flunders(), "shop", "above", WriteOptions::default()).await.unwrap();
    world.until("configmaps", |all| !all.iter().any(|m| m["metadata"]["name"] == "below")).await;

    extension.flunder("shop", "left", None).await;
    world.delete("namespaces", "shop", "").await;
    let is = |all: &[Value], name: &str| all.iter().any(|ns| ns["metadata"]["name"] == name);
    world.until("namespaces", |all| !is(all, "shop")).await;
    extension.are_gone("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_waits_for_a_server_that_does_not_answer() {
    let extension = Extension::start().await;
    let access = Access { front_proxy: Some(extension.front.clone()), ..Access::default() };
    let world = World::with_access(access).await;
    extension.join(&world).await;
    world.create("namespaces", space("shop")).await;
    world.create_in("configmaps", "shop", map("left")).await;
    let root = world.create_in("configmaps", "default", map("root")).await;
    world.client.delete(&gvr("services"), "wardle", "api", WriteOptions::default()).await.unwrap();
    extension.is_available(&world, "False").await;
    world.delete("namespaces", "shop", "").await;
    let failed = |ns: &Value| {
        let conditions = ns["status"]["conditions"].as_array().into_iter().flatten();
        ns["metadata"]["name"] == "shop"
            && conditions.into_iter().any(|c| {
                c["type"] == "NamespaceDeletionDiscoveryFailure"
                    && c["status"] == "True"
                    && c["reason"] == "DiscoveryFailed"
                    && c["message"]
                        == "Discovery failed for some groups, 1 failing: unable to retrieve the \
                            complete list of server APIs: wardle.example.com/v1: stale \
                            GroupVersion discovery: wardle.example.com/v1"
            })
    };
    world.until("namespaces", |all| all.iter().any(failed)).await;
    // All else is deleted meanwhile, and collected.
    world.until("configmaps", |all| !all.iter().any(|m| m["metadata"]["name"] == "left")).await;
    let mut below = map("below");
    below["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
        "name": "root", "uid": root.head().uid}]);
    world.create("configmaps", below).await;
    world.delete("configmaps", "root", "").await;
    world.until("configmaps", |all| !all.iter().any(|m| m["metadata"]["name"] == "below")).await;

    world.delete("apiservices", "v1.wardle.example.com", "").await;
    world.until("namespaces", |all| !all.iter().any(|ns| ns["metadata"]["name"] == "shop")).await;
}

//! The name server over real sockets on loopback, fed by a fake API server.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use onggi_base::Shutdown;
use onggi_client::SharedInformers;
use onggi_client::testing::FakeApi;
use onggi_dns::{Dns, Options};
use serde_json::{Value, json};

struct Rig {
    api: FakeApi,
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start(objects: &[Value], upstream: Vec<SocketAddr>) -> Rig {
    let api = FakeApi::new();
    for object in objects {
        api.put(object.clone()).unwrap();
    }
    let shutdown = Shutdown::new();
    let informers = SharedInformers::new(api.transport(), shutdown.clone());
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        domain: "cluster.local".into(),
        upstream,
    };
    let dns = Dns::bind(options, &informers).await.unwrap();
    let address = dns.address();
    tokio::spawn(dns.run(shutdown.clone()));
    Rig { api, address, shutdown }
}

fn resolver(address: SocketAddr, protocol: ProtocolConfig) -> TokioResolver {
    let mut connection = ConnectionConfig::new(protocol);
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .unwrap()
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Vec<IpAddr> {
    match resolver.lookup_ip(name).await {
        Ok(found) => found.iter().collect(),
        Err(error) => {
            assert!(error.is_no_records_found(), "{name}: {error}");
            Vec::new()
        }
    }
}

fn service(name: &str, cluster_ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": cluster_ip, "ports": [{"name": "http", "port": 80}]},
    })
}

fn slice(service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<_> =
        ips.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "namespace": "shop",
                     "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

#[tokio::test]
async fn names_over_udp_and_tcp() {
    let rig = start(&[service("product", "10.96.0.7")], vec![]).await;
    for protocol in [ProtocolConfig::Udp, ProtocolConfig::Tcp] {
        let resolver = resolver(rig.address, protocol);
        let found = addresses(&resolver, "product.shop.svc.cluster.local.").await;
        assert_eq!(found, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
        assert!(addresses(&resolver, "nobody.shop.svc.cluster.local.").await.is_empty());
        let ports = resolver
            .lookup("_http._tcp.product.shop.svc.cluster.local.", RecordType::SRV)
            .await
            .unwrap();
        assert_eq!(ports.answers().len(), 1);
        // Without an upstream another name fails at once, it does not hang.
        let error = resolver.lookup_ip("example.com.").await.unwrap_err();
        assert!(!error.is_no_records_found(), "{error}");
    }
}

#[tokio::test]
async fn names_follow_the_objects() {
    let rig = start(&[service("db", "None")], vec![]).await;
    let resolver = resolver(rig.address, ProtocolConfig::Udp);
    let name = "db.shop.svc.cluster.local.";
    assert!(addresses(&resolver, name).await.is_empty());
    rig.api.put(slice("db", &["10.244.0.2", "10.244.0.3"])).unwrap();
    let mut found = Vec::new();
    // The informer tells the zone; each question is an observation.
    while found.len() != 2 {
        found = addresses(&resolver, name).await;
    }
    let service = onggi_api::GroupVersionResource::new("", "v1", "services");
    rig.api.remove(&service, "shop", "db");
    while !found.is_empty() {
        found = addresses(&resolver, name).await;
    }
}

#[tokio::test]
async fn other_names_are_forwarded() {
    let upstream = start(&[service("far", "10.96.9.9")], vec![]).await;
    let shutdown = Shutdown::new();
    let api = FakeApi::new();
    let informers = SharedInformers::new(api.transport(), shutdown.clone());
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        domain: "other.zone".into(),
        upstream: vec![upstream.address],
    };
    let dns = Dns::bind(options, &informers).await.unwrap();
    let resolver = resolver(dns.address(), ProtocolConfig::Udp);
    tokio::spawn(dns.run(shutdown.clone()));
    let found = addresses(&resolver, "far.shop.svc.cluster.local.").await;
    assert_eq!(found, ["10.96.9.9".parse::<IpAddr>().unwrap()]);
    // What upstream says is not there is not there.
    assert!(addresses(&resolver, "near.shop.svc.cluster.local.").await.is_empty());
    shutdown.cancel();
}

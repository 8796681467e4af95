//! The transport over TLS.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use onggi_api::core::ConfigMap;
use onggi_api::{GroupVersionResource, Status};
use onggi_base::Shutdown;
use onggi_base::pki::Authority;
use onggi_client::testing::contract;
use onggi_client::{
    Client, Config, Error, HttpTransport, SharedInformers, Source, Token, Transport, WatchSpec,
};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::server::Server;

fn maps() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "configmaps")
}

#[tokio::test]
async fn http_keeps_the_contract() {
    let server = Server::start().await;
    contract::run(Arc::new(HttpTransport::new(&server.config).unwrap())).await;
}

#[tokio::test]
async fn an_informer_follows_over_tls() {
    let server = Server::start().await;
    let shutdown = Shutdown::new();
    let transport = Arc::new(HttpTransport::new(&server.config).unwrap());
    let informers = SharedInformers::new(transport, shutdown.clone());
    let cache = informers.informer::<ConfigMap>(Source::of::<ConfigMap>());
    cache.synced().await.unwrap();
    let put = |name: &str| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "d", "name": name},
        });
        server.fake.put(object).unwrap().head().resource_version
    };
    cache.caught_up(put("a")).await.unwrap();
    server.fake.disconnect();
    server.fake.remove(&maps(), "d", "a");
    let last = put("b");
    server.fake.compact();
    cache.caught_up(last).await.unwrap();
    assert_eq!(cache.keys()[0].name, "b");
    assert_eq!(cache.len(), 1);
    shutdown.cancel();
}

#[tokio::test]
async fn http2_is_spoken_and_tokens_are_shown() {
    let mut server = Server::start().await;
    let transport = HttpTransport::new(&server.config).unwrap();
    let body = transport.get("/version", "application/json").await.unwrap();
    let version: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(version["http"], "HTTP/2.0");
    server.config.client = None;
    let stranger = HttpTransport::new(&server.config).unwrap();
    let error = stranger.get("/version", "application/json").await.unwrap_err();
    assert_eq!(error.status().unwrap().code, 401);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "secret\n").unwrap();
    for token in [Token::Text("secret".into()), Token::File(path.clone())] {
        server.config.token = Some(token);
        let known = HttpTransport::new(&server.config).unwrap();
        known.get("/version", "application/json").await.unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    let lost = HttpTransport::new(&server.config).unwrap();
    let error = lost.get("/version", "application/json").await.unwrap_err();
    assert!(error.to_string().contains("token: No such file"), "{error}");
}

#[tokio::test]
async fn only_the_right_server_is_believed() {
    let server = Server::start().await;
    let now = time::OffsetDateTime::now_utc();
    let stranger = Authority::generate("another", now).unwrap();
    let mut config = Config::new(&server.config.server, stranger.certificate());
    config.client = Some(server.admin.clone());
    let get = |config: &Config| {
        let transport = HttpTransport::new(config).unwrap();
        async move { transport.get("/version", "application/json").await }
    };
    let error = get(&config).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    config.insecure = true;
    get(&config).await.unwrap();
    config.insecure = false;
    config.ca.clone_from(&server.config.ca);
    config.server_name = Some("localhost".into());
    get(&config).await.unwrap();
    config.server_name = Some("elsewhere".into());
    assert!(get(&config).await.is_err());
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    for (server, text) in [
        ("", "server \"\": is no URL"),
        ("10.0.0.1:6443", "server \"10.0.0.1:6443\": must begin with https:// and name a host"),
        ("ftp://x", "server \"ftp://x\": must begin with https:// and name a host"),
    ] {
        let config = Config { server: server.into(), ..Config::default() };
        assert_eq!(HttpTransport::new(&config).err().unwrap().to_string(), text);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config { server: format!("http://{closed}"), ..Config::default() };
    let client = Client::new(Arc::new(HttpTransport::new(&config).unwrap()));
    let error = client.get(&maps(), "d", "a").await.unwrap_err();
    let text = error.to_string();
    let place = format!("cannot reach the API server at http://{closed}: ");
    assert!(text.starts_with(&place) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn an_expired_watch_says_so() {
    let server = Server::start().await;
    let transport = HttpTransport::new(&server.config).unwrap();
    for name in ["a", "b"] {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "d", "name": name},
        });
        server.fake.put(object).unwrap();
    }
    server.fake.compact();
    let spec = WatchSpec { resource_version: Some(1), ..WatchSpec::all(maps()) };
    let mut events = transport.watch(spec.clone()).await.unwrap();
    assert!(events.next().await.unwrap().unwrap_err().is_expired());
    server.fake.fail_next(Verb::Watch, "configmaps", Status::forbidden("configmaps", "", "no"));
    let error = transport.watch(spec).await.err().unwrap();
    assert!(matches!(error, Error::Status(status) if status.code == 403));
}

#[tokio::test]
async fn a_server_that_goes_ends_its_watches() {
    let server = Server::start().await;
    let transport = HttpTransport::new(&server.config).unwrap();
    let mut events = transport.watch(WatchSpec::all(maps())).await.unwrap();
    assert!(events.next().await.unwrap().unwrap().initial_events_end);
    drop(server);
    let ended = tokio::time::timeout(Duration::from_secs(30), events.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
}

//! Pull and push, against a registry on loopback.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onggi_images::body::{self, Body};
use onggi_images::registry::Registry;
use onggi_images::spec::{Descriptor, Index, OCI_INDEX, OCI_MANIFEST, Platform, host_architecture};
use onggi_images::{Digest, Images, Options, Progress, Reference};
use onggi_node_api::{ImageError, ImageService, RegistryAuth};

use crate::support::{Tar, image, root};

/// How a test registry lets in.
#[derive(Clone, Copy, PartialEq)]
pub enum Login {
    Open,
    Basic,
    Bearer,
}

/// A registry on loopback; ends with the test's runtime.
pub struct Server {
    pub address: String,
    manifests: Arc<AtomicUsize>,
    dir: tempfile::TempDir,
}

pub async fn serve(login: Login) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let manifests = Arc::new(AtomicUsize::new(0));
    let (counter, host) = (Arc::clone(&manifests), address.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (registry, counter, host) = (registry.clone(), Arc::clone(&counter), host.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (registry, counter, host) =
                    (registry.clone(), Arc::clone(&counter), host.clone());
                async move {
                    let answer = match admitted(login, &host, &request) {
                        Err(refusal) => *refusal,
                        Ok(()) => {
                            if request.method() == "GET"
                                && request.uri().path().contains("/manifests/")
                            {
                                counter.fetch_add(1, Ordering::SeqCst);
                            }
                            registry.handle(request).await
                        }
                    };
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Server { address, manifests, dir }
}

fn admitted(
    login: Login,
    host: &str,
    request: &Request<Incoming>,
) -> Result<(), Box<Response<Body>>> {
    let sent = request.headers().get("authorization").and_then(|v| v.to_str().ok());
    let basic = sent == Some("Basic bWU6c2VjcmV0");
    let refuse = |challenge: &str| {
        let mut response = body::json(
            StatusCode::UNAUTHORIZED,
            &serde_json::json!({"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}),
        );
        response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        Err(Box::new(response))
    };
    match login {
        Login::Open => Ok(()),
        Login::Basic if basic => Ok(()),
        Login::Basic => refuse("Basic realm=\"test\""),
        Login::Bearer if request.uri().path() == "/token" => {
            if basic {
                Err(Box::new(body::json(StatusCode::OK, &serde_json::json!({"token": "good"}))))
            } else {
                refuse("Basic realm=\"test\"")
            }
        }
        Login::Bearer if sent == Some("Bearer good") => Ok(()),
        Login::Bearer => refuse(&format!("Bearer realm=\"http://{host}/token\",service=\"test\"")),
    }
}

pub fn images() -> (tempfile::TempDir, Images) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images");
    std::fs::create_dir(&root).unwrap();
    let images = Images::open(Options { root, ..Options::default() }).unwrap();
    (dir, images)
}

fn layer(name: &str) -> Vec<u8> {
    Tar::default().file(name, &name.repeat(100_000)).bytes()
}

fn me() -> Vec<RegistryAuth> {
    vec![RegistryAuth::Basic("me".into(), "secret".into())]
}

async fn push(images: &Images, name: &str, auth: &[RegistryAuth]) -> onggi_images::Result<Digest> {
    images.push(&name.parse::<Reference>().unwrap(), auth, &Progress::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn push_then_pull() {
    if !root("push_then_pull") {
        return;
    }
    let server = serve(Login::Open).await;
    let name = format!("{}/shop/product:1", server.address);
    let (_one, here) = images();
    let pushed = image(here.store(), &name, vec![layer("base"), layer("a")]);
    assert_eq!(push(&here, &name, &[]).await.unwrap(), pushed.digest);

    let (_two, there) = images();
    let (sender, mut counters) = tokio::sync::mpsc::channel(256);
    let pulled = there.pull_image(&name, Vec::new(), Some(sender)).await.unwrap();
    assert_eq!(pulled.id, pushed.id().to_string());
    assert_eq!(pulled.repo_tags, std::slice::from_ref(&name));
    assert_eq!(pulled.repo_digests, [format!("{}/shop/product@{}", server.address, pushed.digest)]);
    let mut phases = std::collections::BTreeSet::new();
    while let Some(counter) = counters.recv().await {
        assert!(counter.received <= counter.total);
        phases.insert(counter.phase);
    }
    assert!(phases.contains("downloading") && phases.contains("done"), "{phases:?}");

    // By digest it needs no registry any more.
    let asked = server.manifests.load(Ordering::SeqCst);
    there.pull_image(&pulled.repo_digests[0], Vec::new(), None).await.unwrap();
    assert_eq!(server.manifests.load(Ordering::SeqCst), asked);
    // By name too, without the C library's look-up.
    let local = name.replace("127.0.0.1", "localhost");
    assert_eq!(there.pull_image(&local, Vec::new(), None).await.unwrap().id, pulled.id);
    there.remove_image(&local).await.unwrap();
    there.remove_image(&name).await.unwrap();
    there.remove_image(&name).await.unwrap();
    assert!(there.list_images().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pulls_are_one() {
    if !root("many_pulls_are_one") {
        return;
    }
    let server = serve(Login::Open).await;
    let name = format!("{}/a", server.address);
    let (_one, here) = images();
    image(here.store(), &name, vec![layer("a")]);
    push(&here, &name, &[]).await.unwrap();
    let (_two, there) = images();
    let pulls = (0..8).map(|_| there.pull_image(&name, Vec::new(), None));
    for result in futures::future::join_all(pulls).await {
        result.unwrap();
    }
    assert_eq!(server.manifests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn index_of_many_platforms() {
    if !root("index_of_many_platforms") {
        return;
    }
    let server = serve(Login::Open).await;
    let name = format!("{}/multi:1", server.address);
    let (_one, here) = images();
    let ours = image(here.store(), &name, vec![layer("a")]);
    push(&here, &name, &[]).await.unwrap();
    let entry = |digest: &Digest, architecture: &str| Descriptor {
        platform: Some(Platform {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: None,
        }),
        ..Descriptor::new(OCI_MANIFEST, digest.clone(), 1)
    };
    let put = |entries: Vec<Descriptor>| {
        let index =
            Index { schema_version: 2, media_type: Some(OCI_INDEX.into()), manifests: entries };
        let bytes = serde_json::to_vec(&index).unwrap();
        let request = Request::put("/v2/multi/manifests/1")
            .header("content-type", OCI_INDEX)
            .body(body::full(bytes.clone()))
            .unwrap();
        let registry = Registry::open(server.dir.path()).unwrap();
        async move {
            assert_eq!(registry.handle(request).await.status(), StatusCode::CREATED);
            Digest::of(&bytes)
        }
    };
    let index =
        put(vec![entry(&Digest::of(b"x"), "s390x"), entry(&ours.digest, host_architecture())])
            .await;
    let (_two, there) = images();
    let pulled = there.pull_image(&name, Vec::new(), None).await.unwrap();
    assert_eq!(pulled.id, ours.id().to_string());
    let by_index = format!("{}/multi@{index}", server.address);
    assert!(pulled.repo_digests.contains(&by_index));
    assert!(there.image_status(&by_index).await.unwrap().is_some());

    put(vec![entry(&Digest::of(b"x"), "s390x")]).await;
    let error = there.pull_image(&name, Vec::new(), None).await.unwrap_err().to_string();
    assert!(error.contains("only for linux/s390x"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins() {
    if !root("logins") {
        return;
    }
    for login in [Login::Basic, Login::Bearer] {
        let server = serve(login).await;
        let name = format!("{}/private:1", server.address);
        let (_one, here) = images();
        image(here.store(), &name, vec![layer("a")]);
        let wrong = vec![RegistryAuth::Basic("me".into(), "wrong".into())];
        assert!(push(&here, &name, &wrong).await.is_err());
        // The first that works is taken.
        let both: Vec<_> = wrong.iter().cloned().chain(me()).collect();
        push(&here, &name, &both).await.unwrap();

        let (_two, there) = images();
        let error = there.pull_image(&name, Vec::new(), None).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error:?}");
        assert!(error.to_string().contains("onggi login"), "{error}");
        let error = there.pull_image(&name, wrong.clone(), None).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error:?}");
        there.pull_image(&name, both, None).await.unwrap();

        here.check_login(&server.address, &me()[0]).await.unwrap();
        assert!(here.check_login(&server.address, &wrong[0]).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong() {
    if !root("what_goes_wrong") {
        return;
    }
    let server = serve(Login::Open).await;
    let (_two, there) = images();
    let pull = |name: String| {
        let there = there.clone();
        async move { there.pull_image(&name, Vec::new(), None).await.unwrap_err() }
    };
    let error = pull(format!("{}/none:1", server.address)).await;
    assert!(matches!(error, ImageError::NotFound(_)), "{error:?}");
    let error = pull("127.0.0.1:1/x".into()).await;
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(matches!(pull("Bad Name".into()).await, ImageError::InvalidReference { .. }));

    // A registry that sends something else than it says.
    let name = format!("{}/a", server.address);
    let (_one, here) = images();
    let a = image(here.store(), &name, vec![layer("a")]);
    push(&here, &name, &[]).await.unwrap();
    let blob = server.dir.path().join("blobs/sha256").join(a.manifest.layers[0].digest.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let error = pull(name.clone()).await;
    assert!(matches!(error, ImageError::Registry(_)), "{error:?}");
    assert!(there.image_status(&name).await.unwrap().is_none());
    std::fs::write(&blob, &bytes[..1000]).unwrap();
    assert!(matches!(pull(name.clone()).await, ImageError::Registry(_)));
    assert_eq!(std::fs::read_dir(there.store().root().join("tmp")).unwrap().count(), 0);
}

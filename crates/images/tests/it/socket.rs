//! The paths on the Unix socket, through the client of the command line.

use std::convert::Infallible;
use std::path::PathBuf;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onggi_images::client::{BuildOptions, Client};
use onggi_images::http::{Logins, handle};
use onggi_images::{Event, Images, Options};

use crate::support::root;

struct Node {
    dir: tempfile::TempDir,
    client: Client,
    images: Images,
}

async fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let images = Images::open(Options { root: images, ..Options::default() }).unwrap();
    let socket = dir.path().join("node.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let served = images.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let images = served.clone();
            let service = service_fn(move |request| {
                let images = images.clone();
                async move { Ok::<_, Infallible>(handle(images, request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Node { client: Client::new(&socket), images, dir }
}

fn context(node: &Node, dockerfile: &str) -> PathBuf {
    let dir = node.dir.path().join("context");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(dir.join(".dockerignore"), "secret\n").unwrap();
    std::fs::write(dir.join("secret"), "s").unwrap();
    std::fs::write(dir.join("sub/app"), "x".repeat(3 << 20)).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn from_build_to_save() {
    if !root("from_build_to_save") {
        return;
    }
    let node = node().await;
    let mut options = BuildOptions {
        context: context(
            &node,
            "FROM scratch\nARG A\nENV A=$A\nCOPY . /srv/\nCMD [\"/srv/sub/app\"]\n",
        ),
        tags: vec!["shop/app:1".into()],
        args: vec!["A=b c&d=é".into()],
        ..BuildOptions::default()
    };
    let mut steps = Vec::new();
    let built = node
        .client
        .build(&options, |event| {
            if let Event::Step { index, total, text, .. } = event {
                steps.push(format!("{index}/{total} {text}"));
            }
        })
        .await
        .unwrap();
    assert_eq!(steps[3], "4/5 COPY . /srv/");
    assert_eq!(built.repo_tags, ["docker.io/shop/app:1"]);
    let inspection = node.client.inspect("shop/app:1").await.unwrap();
    assert_eq!(inspection.config.env[1], "A=b c&d=é");
    assert!(inspection.image.size > 3 << 20);

    node.client.tag("shop/app:1", "other").await.unwrap();
    assert_eq!(node.client.list().await.unwrap()[0].repo_tags.len(), 2);
    let file = node.dir.path().join("image.tar");
    node.client
        .save(&["other".into()], tokio::fs::File::create(&file).await.unwrap())
        .await
        .unwrap();
    assert_eq!(node.client.remove(&built.id).await.unwrap().len(), 2);
    assert!(node.client.list().await.unwrap().is_empty());
    let loaded = node.client.load(tokio::fs::File::open(&file).await.unwrap(), None).await.unwrap();
    assert_eq!(loaded[0].id, built.id);
    assert_eq!(loaded[0].repo_tags, ["docker.io/library/other:latest"]);

    // Errors arrive as they are.
    options.context = context(&node, "FROM scratch\nCOPY secret /\n");
    let error = node.client.build(&options, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("Dockerfile:2: secret is not there"), "{error}");
    options.dockerfile = Some("/nowhere/Dockerfile".into());
    let error = node.client.build(&options, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/Dockerfile"), "{error}");
    for error in [
        node.client.inspect("none").await.map(drop).unwrap_err(),
        node.client.remove("none").await.map(drop).unwrap_err(),
        node.client.tag("none", "x").await.unwrap_err(),
        node.client.save(&["none".into()], tokio::io::sink()).await.map(drop).unwrap_err(),
        node.client.push("none", &Logins::default(), |_| {}).await.unwrap_err(),
    ] {
        assert_eq!(
            error.to_string().replace("docker.io/library/none:latest", "none"),
            "image none not found"
        );
    }
    let error = node.client.pull("127.0.0.1:1/x", &Logins::default(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let error = node.client.load(&b"rubbish"[..], None).await.unwrap_err().to_string();
    assert!(error.contains("archive"), "{error}");
    let error = Client::new("/nowhere".as_ref()).list().await.unwrap_err().to_string();
    assert!(error.contains("is the cluster up"), "{error}");
    drop(node.images);
}

//! Against skopeo, where it is installed: what others write we read, and the other way round.

use onggi_images::archive::{load, save};
use onggi_images::store::Store;
use onggi_images::{Progress, Reference};
use onggi_node_api::ImageService;

use crate::support::{Tar, image, root};
use crate::transfer::{Login, images, serve};

async fn skopeo(args: &[&str]) {
    let done = tokio::process::Command::new("skopeo").args(args).output().await.unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_skopeo() {
    if !root("with_skopeo") {
        return;
    }
    if tokio::process::Command::new("skopeo").arg("--version").output().await.is_err() {
        println!("with_skopeo: skipped, skopeo is not installed");
        return;
    }
    let server = serve(Login::Open).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (_one, here) = images();
    let name = format!("{}/ours:1", server.address);
    let layers =
        vec![Tar::default().file("a", "1").bytes(), Tar::default().file(".wh.a", "").bytes()];
    let ours = image(here.store(), &name, layers);
    here.push(&name.parse::<Reference>().unwrap(), &[], &Progress::default()).await.unwrap();
    let pushed = format!("docker://{name}");
    let copy = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];

    // What it writes.
    for (kind, file) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
        let target = format!("{kind}:{}:docker.io/library/named:2", path(file));
        skopeo(&[&copy[..], &[&pushed, &target]].concat()).await;
        let store = Store::open(&dir.path().join(kind)).unwrap();
        load(&store, std::fs::File::open(path(file)).unwrap(), None).unwrap();
        let loaded = store.get("named:2").unwrap();
        assert_eq!(loaded.config.rootfs.diff_ids, ours.config.rootfs.diff_ids, "{kind}");
    }
    // What it reads.
    let saved = std::fs::File::create(path("saved.tar")).unwrap();
    save(here.store(), &[name], saved).unwrap();
    for (kind, tag) in [("oci-archive", "from-oci"), ("docker-archive", "from-docker")] {
        let source = format!("{kind}:{}", path("saved.tar"));
        let target = format!("{}/theirs:{tag}", server.address);
        skopeo(&[&copy[..], &["--format=v2s2", &source, &format!("docker://{target}")]].concat())
            .await;
        let (_two, there) = images();
        there.pull_image(&target, Vec::new(), None).await.unwrap();
        let pulled = there.store().get(&target).unwrap();
        assert_eq!(pulled.config.rootfs.diff_ids, ours.config.rootfs.diff_ids, "{kind}");
    }
}

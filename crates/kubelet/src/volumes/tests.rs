//! Tests of volumes on a directory of their own.

use std::os::fd::BorrowedFd;

use serde_json::{Value, json};

use super::*;
use crate::test::pod;

/// Does nothing, well.
struct NoMounts;

impl Mounts for NoMounts {
    fn tmpfs(&self, _: &Path, _: Option<u64>) -> io::Result<()> {
        Ok(())
    }
    fn bind(&self, _: BorrowedFd<'_>, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn unmount(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn unmount_below(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn sources(spec: Value, entries: &[(&str, &str)]) -> Sources {
    let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
    let data = Arc::new(Data { kind: Kind::ConfigMap, entries, ..Data::default() });
    Sources {
        pod: Arc::new(pod(spec)),
        facts: NodeFacts::default(),
        objects: [((Kind::ConfigMap, "m".to_owned()), data)].into(),
        tokens: [(("t".to_owned(), "token".to_owned()), "secret".to_owned())].into(),
    }
}

fn files(directory: &Path) -> PodFiles {
    PodFiles::new(directory, "u", Arc::new(NoMounts))
}

#[test]
fn a_config_map_is_shown_and_changed_in_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let spec =
        json!({"volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 0o400}}]});
    files.set_up(&sources(spec.clone(), &[("a", "1"), ("b", "2")]), "one").unwrap();
    let volume = directory.path().join("pods/u/volumes/kubernetes.io~configmap/v");
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "1");
    assert_eq!(fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(fs::read_link(volume.join("..data")).unwrap(), Path::new("..one"));
    // The same content: nothing moves.
    files.set_up(&sources(spec.clone(), &[("a", "1"), ("b", "2")]), "two").unwrap();
    assert_eq!(fs::read_link(volume.join("..data")).unwrap(), Path::new("..one"));
    files.set_up(&sources(spec, &[("a", "3")]), "three").unwrap();
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "3");
    assert!(!volume.join("b").exists() && !volume.join("..one").exists());
    files.release(true).unwrap();
    assert!(!directory.path().join("pods/u").exists());
}

#[test]
fn what_is_missing_is_said_as_kubernetes_says_it() {
    let directory = tempfile::tempdir().unwrap();
    for (volume, text) in [
        (
            json!({"name": "v", "secret": {"secretName": "aws-secret"}}),
            "MountVolume.SetUp failed for volume \"v\" : secret \"aws-secret\" not found",
        ),
        (
            json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}),
            "MountVolume.SetUp failed for volume \"v\" : references non-existent config key: k",
        ),
        (
            json!({"name": "v", "hostPath": {"path": "/dev/null", "type": "Directory"}}),
            "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: /dev/null is not a directory",
        ),
    ] {
        let got = files(directory.path()).set_up(&sources(json!({"volumes": [volume]}), &[]), "s");
        assert_eq!(got.unwrap_err().to_string(), text);
    }
    let optional =
        json!({"volumes": [{"name": "o", "secret": {"secretName": "x", "optional": true}}]});
    files(directory.path()).set_up(&sources(optional, &[]), "s").unwrap();
}

#[test]
fn projected_sources_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({"volumes": [{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "m", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "deep/ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}}]});
    files(directory.path()).set_up(&sources(spec, &[("ca.crt", "CA")]), "s").unwrap();
    let volume = directory.path().join("pods/u/volumes/kubernetes.io~projected/t");
    for (name, content) in [("token", "secret"), ("ca.crt", "CA"), ("deep/ns", "default")] {
        assert_eq!(fs::read_to_string(volume.join(name)).unwrap(), content);
    }
}

#[test]
fn a_sub_path_cannot_leave_its_volume() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let bind = |sub: &str| subpath::bind(&NoMounts, &root, sub, &directory.path().join("place"));
    assert!(bind("out/passwd").is_err());
    assert!(bind("../root").is_err());
    bind("new/deep").unwrap();
    assert!(root.join("new/deep").is_dir());
}

#[test]
fn mounts_name_the_volume_and_the_sub_path() {
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({
        "volumes": [{"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/srv"}}],
        "containers": [{"name": "c", "volumeMounts": [
            {"name": "h", "mountPath": "/h", "readOnly": true},
            {"name": "e", "mountPath": "/e", "subPathExpr": "$(X)"}]}],
    });
    let sources = sources(spec, &[]);
    let files = files(directory.path());
    files.set_up(&sources, "s").unwrap();
    let container = &sources.pod.spec.containers[0];
    let mounts = files.mounts(&sources, container, |text| text.replace("$(X)", "x")).unwrap();
    assert_eq!((mounts[0].host_path.to_str(), mounts[0].readonly), (Some("/srv"), true));
    assert!(mounts[1].host_path.ends_with("volume-subpaths/e/c/1"));
}

#[test]
fn a_token_is_its_users_alone() {
    let directory = tempfile::tempdir().unwrap();
    let user = rustix::process::geteuid().as_raw();
    let spec = |context: Value| {
        json!({"securityContext": context, "containers": [{"name": "c"}],
            "volumes": [{"name": "t", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}]}}]})
    };
    let group = rustix::process::getegid().as_raw();
    for (at, (context, mode)) in [
        (json!({}), 0o644),
        (json!({"runAsUser": user}), 0o600),
        (json!({"fsGroup": group}), 0o640),
        (json!({"runAsUser": user, "fsGroup": group}), 0o640),
    ]
    .into_iter()
    .enumerate()
    {
        let place = directory.path().join(at.to_string());
        files(&place).set_up(&sources(spec(context), &[]), "s").unwrap();
        let token = place.join("pods/u/volumes/kubernetes.io~projected/t/token");
        assert_eq!(fs::metadata(token).unwrap().permissions().mode() & 0o777, mode, "{at}");
    }
}

#[test]
fn a_sub_path_that_is_made_has_the_mode_of_its_volume() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2777)).unwrap();
    subpath::bind(&NoMounts, &root, "new/deep", &directory.path().join("place")).unwrap();
    for made in ["new", "new/deep"] {
        let mode = fs::metadata(root.join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2777, "{made}");
    }
}

#[test]
fn a_missing_host_path_is_made_where_no_type_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let spec = |path: &Path| {
        sources(
            json!({
                "volumes": [{"name": "h", "hostPath": {"path": path}}],
                "containers": [{"name": "c", "volumeMounts": [{"name": "h", "mountPath": "/h"}]}],
            }),
            &[],
        )
    };
    let mounts = |path: &Path| {
        let sources = spec(path);
        let files = files(directory.path());
        files.set_up(&sources, "s").unwrap();
        files.mounts(&sources, &sources.pod.spec.containers[0], str::to_owned)
    };
    let missing = directory.path().join("deep/missing");
    mounts(&missing).unwrap();
    assert!(missing.is_dir());
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    mounts(&file).unwrap();
    assert!(file.is_file());
    assert!(mounts(&file.join("below")).is_err());
}

/// Takes mounts away, however the test ends.
struct Cleared(std::path::PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = mounts::KernelMounts.unmount_below(&self.0);
    }
}

#[test]
fn the_kernel_mounts_and_unmounts() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounts need root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _cleared = Cleared(directory.path().to_owned());
    let files = PodFiles::new(directory.path(), "u", Arc::new(mounts::KernelMounts));
    let spec = json!({
        "volumes": [
            {"name": "s", "projected": {"sources": [{"configMap": {"name": "m"}}]}},
            {"name": "d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "containers": [{"name": "c", "volumeMounts": [
            {"name": "s", "mountPath": "/k", "subPath": "k"},
            {"name": "d", "mountPath": "/d", "subPath": "new"}]}],
    });
    let sources = sources(spec, &[("k", "v")]);
    if let Err(error) = files.set_up(&sources, "one") {
        println!("skipped: this machine lets nobody mount: {error}");
        return;
    }
    // Once more, as after a restart: nothing is mounted twice.
    files.set_up(&sources, "two").unwrap();
    let container = &sources.pod.spec.containers[0];
    for _ in 0..2 {
        let mounts = files.mounts(&sources, container, str::to_owned).unwrap();
        assert_eq!(fs::read_to_string(&mounts[0].host_path).unwrap(), "v");
        assert!(mounts::is_mount_point(&mounts[1].host_path).is_ok());
    }
    let here = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = directory.path().to_str().unwrap().to_owned();
    assert_eq!(here().matches(&own).count(), 4);
    files.release(true).unwrap();
    assert_eq!(here().matches(&own).count(), 0);
    assert!(!directory.path().join("pods/u").exists());
}

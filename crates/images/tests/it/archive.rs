//! `load` and `save`.

use std::sync::Arc;

use onggi_images::archive::{load, save};
use onggi_images::spec::{Config, host_architecture};
use onggi_images::store::Store;
use onggi_images::{Digest, Reference};
use tar::EntryType;

use crate::support::{Tar, image, root, tree};

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let mut config = Config {
        architecture: host_architecture().into(),
        os: "linux".into(),
        ..Config::default()
    };
    config.rootfs.diff_ids = layers.iter().map(|l| Digest::of(l)).collect();
    serde_json::to_vec(&config).unwrap()
}

fn layer(name: &str) -> Vec<u8> {
    Tar::default().file(name, name).bytes()
}

#[test]
fn docker_save_of_old() {
    if !root("docker_save_of_old") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (a, b) = (layer("a"), layer("b"));
    // The second image shares its lower layer by a link, as older versions wrote it.
    let archive = Tar::default()
        .entry(EntryType::Regular, "one.json", "", 0o644, &config(&[&a]))
        .entry(EntryType::Regular, "two.json", "", 0o644, &config(&[&a, &b]))
        .dir("1", 0o755)
        .entry(EntryType::Regular, "1/layer.tar", "", 0o644, &a)
        .link("2/layer.tar", "../1/layer.tar")
        .entry(EntryType::Regular, "3/layer.tar", "", 0o644, &b)
        .file("repositories", "{}")
        .file(
            "manifest.json",
            r#"[{"Config":"one.json","RepoTags":["one:1","o:2"],"Layers":["1/layer.tar"]},
                {"Config":"two.json","RepoTags":["hands-on/two:latest"],"Layers":["2/layer.tar","3/layer.tar"]}]"#,
        )
        .bytes();
    assert_eq!(load(&store, &archive[..], None).unwrap().len(), 2);
    let two = store.get("hands-on/two").unwrap();
    let layers = store.layers_for(&two, "c").unwrap();
    assert_eq!(tree(&layers[0]), ["b = b"]);
    assert_eq!(tree(&layers[1]), ["a = a"]);
    assert_eq!(store.get("one:1").unwrap().id(), store.get("o:2").unwrap().id());
}

#[test]
fn there_and_back() {
    if !root("there_and_back") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("1")).unwrap();
    let a = image(&store, "a:1", vec![layer("base"), layer("a")]);
    image(&store, "localhost:5000/b:2", vec![layer("base"), layer("b")]);
    let mut archive = Vec::new();
    save(&store, &["a:1".into(), "localhost:5000/b:2".into()], &mut archive).unwrap();
    assert!(save(&store, &["c".into()], &mut Vec::new()).is_err());

    let other = Store::open(&dir.path().join("2")).unwrap();
    load(&other, &zstd::encode_all(&archive[..], 1).unwrap()[..], None).unwrap();
    assert_eq!(other.get("a:1").unwrap().digest, a.digest);
    let names: Vec<String> = other.images().into_iter().flat_map(|i| i.repo_tags).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    // Without the OCI half it is what an older `docker load` reads: the same image.
    let third = Store::open(&dir.path().join("3")).unwrap();
    let mut stripped = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.to_str() != Some("index.json") {
            let mut header = entry.header().clone();
            stripped.append_data(&mut header, path, entry).unwrap();
        }
    }
    load(&third, &stripped.into_inner().unwrap()[..], None).unwrap();
    assert_eq!(third.get("a:1").unwrap().id(), a.id());
}

#[test]
fn bad_archives() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<Store> = Store::open(dir.path()).unwrap();
    let hex = "0".repeat(64);
    for (archive, says) in [
        (Tar::default().file("x", "").bytes(), "no image archive"),
        (Tar::default().file("../x", "").bytes(), "leaves it"),
        (Tar::default().file(&format!("blobs/sha256/{hex}"), "x").bytes(), "as announced"),
        (Tar::default().file("manifest.json", "[{").bytes(), "manifest.json is not valid"),
        (
            Tar::default().file("manifest.json", r#"[{"Config":"c","Layers":[]}]"#).bytes(),
            "which the archive does not have",
        ),
        (b"no tar at all".to_vec(), "archive"),
    ] {
        let error = load(&store, &archive[..], None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let archive = Tar::default()
        .entry(EntryType::Regular, "c.json", "", 0o644, &config(&[]))
        .file("manifest.json", r#"[{"Config":"c.json","RepoTags":null,"Layers":[]}]"#)
        .bytes();
    let error = load(&store, &archive[..], None).unwrap_err().to_string();
    assert!(error.contains("--tag"), "{error}");
    let name: Reference = "named".parse().unwrap();
    load(&store, &archive[..], Some(&name)).unwrap();
    assert!(store.find("named").unwrap().is_some());
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

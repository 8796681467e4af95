//! The content store: names, holds, collection, restarts.

use std::time::{Duration, SystemTime};

use onggi_images::Digest;
use onggi_images::store::Store;

use crate::support::{Tar, image, manifest, root, tree};

fn layer(name: &str) -> Vec<u8> {
    Tar::default().file(name, name).bytes()
}

#[test]
fn names_and_ids() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = image(&store, "hands-on/product-service", vec![layer("a")]);
    for name in [
        "hands-on/product-service",
        "docker.io/hands-on/product-service:latest",
        one.id().as_str(),
        one.id().hex(),
        &one.id().hex()[..12],
    ] {
        assert_eq!(store.get(name).unwrap().digest, one.digest, "{name}");
    }
    assert!(store.find("hands-on/other").unwrap().is_none());
    assert!(store.find("Not valid").is_err());

    store.tag("hands-on/product-service", &"x:1".parse().unwrap()).unwrap();
    let images = store.images();
    assert_eq!(images.len(), 1);
    assert_eq!(
        images[0].repo_tags,
        ["docker.io/hands-on/product-service:latest", "docker.io/library/x:1"]
    );
    assert_eq!(store.untag("x:1").unwrap(), ["docker.io/library/x:1"]);
    assert_eq!(store.untag("x:1").unwrap(), [""; 0]);

    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.get("hands-on/product-service").unwrap().digest, one.digest);
    assert_eq!(store.untag(one.id().as_str()).unwrap().len(), 1);
    assert!(store.images().is_empty());
}

#[test]
fn collects_what_nobody_needs() {
    if !root("collects_what_nobody_needs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = image(&store, "a", vec![layer("base"), layer("a")]);
    image(&store, "b", vec![layer("base"), layer("b")]);
    let layers = store.layers_for(&a, "c1").unwrap();
    assert_eq!(tree(&layers[0]), ["a = a"]);
    assert_eq!(tree(&layers[1]), ["base = base"]);
    store.unpack_image(&store.get("b").unwrap(), &store.pins()).unwrap();

    store.untag("a").unwrap();
    store.untag("b").unwrap();
    let gone = store.collect(SystemTime::now()).unwrap();
    // b's manifest, configuration and own layer.
    assert_eq!((gone.blobs, gone.layers), (3, 1));

    // A container still runs a; the next process knows it too, and finds it by id.
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.collect(SystemTime::now()).unwrap().blobs, 0);
    assert_eq!(store.get(a.id().as_str()).unwrap().digest, a.digest);
    assert_eq!(tree(&layers[0]), ["a = a"]);
    assert_eq!(store.holders().unwrap(), ["c1"]);
    store.release("c1").unwrap();
    store.release("c1").unwrap();
    let gone = store.collect(SystemTime::now()).unwrap();
    assert_eq!((gone.blobs, gone.layers), (4, 2));
    assert!(store.release("../x").is_err());
}

#[test]
fn pins_and_fresh_build_results_are_spared() {
    use onggi_images::build::cache;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let pins = store.pins();
    manifest(&store, vec![layer("a")], &pins);
    assert_eq!(store.collect(SystemTime::now()).unwrap().blobs, 0);
    let step = store.put(&layer("step"), "", &pins).unwrap();
    let key = Digest::of(b"key");
    let entry =
        cache::Entry { layer: Some((step.clone(), step.digest.clone())), created: String::new() };
    cache::put(&store, &key, &entry).unwrap();
    drop(pins);
    let now = SystemTime::now();
    assert_eq!(store.collect(now).unwrap().blobs, 3);
    assert!(cache::get(&store, &key, &store.pins(), now).unwrap().is_some());
    let later = now + Duration::from_secs(20 * 24 * 3600);
    assert_eq!(store.collect(later).unwrap().blobs, 1);
    assert!(cache::get(&store, &key, &store.pins(), later).unwrap().is_none());
}

#[test]
fn half_done_things_are_gone_after_a_restart() {
    if !root("half_done_things_are_gone_after_a_restart") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = image(&store, "a", vec![layer("a")]);
    let layers = store.layers_for(&a, "c").unwrap();
    std::fs::write(dir.path().join("tmp/rest"), "x").unwrap();
    let marker = layers[0].parent().unwrap().join("layer.json");
    let text = std::fs::read_to_string(&marker).unwrap();

    // Not synced, and from another boot: what is in it is not to be trusted.
    let mut other: serde_json::Value = serde_json::from_str(&text).unwrap();
    other["boot_id"] = "earlier".into();
    std::fs::write(&marker, other.to_string()).unwrap();
    std::fs::write(layers[0].join("a"), "").unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(!layers[0].exists());
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(store.layers_for(&a, "c").unwrap(), layers);
    assert_eq!(tree(&layers[0]), ["a = a"]);

    // Synced: kept.
    store.sync_layers().unwrap();
    let mut other: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&marker).unwrap()).unwrap();
    assert_eq!(other["synced"], true);
    other["boot_id"] = "earlier".into();
    std::fs::write(&marker, other.to_string()).unwrap();
    drop(store);
    Store::open(dir.path()).unwrap();
    assert!(layers[0].exists());
}

#[test]
fn wrong_contents_are_refused() {
    if !root("wrong_contents_are_refused") {
        return;
    }
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let pins = store.pins();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"other").unwrap();
    let error = writer.commit(Some(&Digest::of(b"this")), &pins).unwrap_err().to_string();
    assert!(error.contains("as announced"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);

    // A layer damaged on disk does not become visible.
    let a = image(&store, "a", vec![layer("a")]);
    std::fs::write(store.blob_path(&a.manifest.layers[0].digest), layer("b")).unwrap();
    let error = store.layers_for(&a, "c").unwrap_err().to_string();
    assert!(error.contains("was damaged"), "{error}");
    assert!(store.find("a").unwrap().is_none(), "a pull mends it");
    let a = image(&store, "a", vec![layer("a")]);
    std::fs::write(store.blob_path(a.id()), "{}").unwrap();
    assert!(store.find("a").unwrap().is_none());
    image(&store, "a", vec![layer("a")]);
    assert!(store.find("a").unwrap().is_some());
    assert_eq!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn many_unpack_at_once() {
    if !root("many_unpack_at_once") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = image(&store, "a", vec![layer("base"), layer("a")]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (store, a) = (&store, &a);
            scope.spawn(move || store.layers_for(a, &format!("c{n}")).unwrap());
        }
        scope.spawn(|| {
            for _ in 0..20 {
                store.collect(SystemTime::now()).unwrap();
            }
        });
    });
    assert_eq!(store.holders().unwrap().len(), 8);
    assert_eq!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 2);
}

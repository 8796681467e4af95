//! The unpacker, above all against archives that mean harm.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use onggi_images::Digest;
use onggi_images::unpack::{View, layer, opaque};
use tar::EntryType;

use crate::support::{Tar, root, tree};

fn unpack(tar: Vec<u8>, below: &View) -> Result<(tempfile::TempDir, std::path::PathBuf), String> {
    let dir = tempfile::tempdir().unwrap();
    let fs = dir.path().join("fs");
    std::fs::create_dir(&fs).unwrap();
    std::fs::write(dir.path().join("outside"), "safe").unwrap();
    let result = layer(&tar[..], &fs, below);
    assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "safe");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing beside the root");
    result
        .map(|unpacked| {
            assert_eq!(unpacked.diff_id, Digest::of(&tar));
            (dir, fs)
        })
        .map_err(|e| e.to_string())
}

#[test]
fn refuses_what_leaves_the_root() {
    if !root("refuses_what_leaves_the_root") {
        return;
    }
    for (tar, says) in [
        (Tar::default().file("../outside", "bad"), "leaves the root"),
        (Tar::default().file("a/../../outside", "bad"), "leaves the root"),
        (Tar::default().hard("x", "../outside"), "leaves the root"),
        (Tar::default().link("l", "..").hard("x", "l/outside"), "is not there"),
        (Tar::default().hard("x", "/etc/passwd"), "is not there"),
        (Tar::default().file("f", "").file("f/x", "bad"), "is no directory"),
        (Tar::default().link("a", "b").link("b", "a").file("a/x", ""), "symbolic links"),
        (Tar::default().device("null", 0, 0), "whiteout"),
        (Tar::default().file("a/.wh...", ""), "hides no name"),
        (Tar::default().entry(EntryType::new(b'Z'), "z", "", 0, b""), "not known"),
    ] {
        let error = unpack(tar.bytes(), &View::default()).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn planted_links_stay_inside() {
    if !root("planted_links_stay_inside") {
        return;
    }
    let tar = Tar::default()
        .link("abs", "/")
        .file("abs/in-root", "1")
        .link("up", "../../..")
        .file("up/also-in-root", "2")
        .link("etc", "/nowhere/etc")
        .file("etc/passwd", "3")
        // A name that is a link already: the link goes, its target is not touched.
        .link("f", "../outside")
        .file("f", "4")
        .link("d", "..")
        .dir("d", 0o700)
        .bytes();
    let (_dir, fs) = unpack(tar, &View::default()).unwrap();
    assert_eq!(
        tree(&fs),
        [
            "abs -> /",
            "also-in-root = 2",
            "d/",
            "etc -> /nowhere/etc",
            "f = 4",
            "in-root = 1",
            "nowhere/",
            "nowhere/etc/",
            "nowhere/etc/passwd = 3",
            "up -> ../../..",
        ]
    );
}

#[test]
fn keeps_attributes() {
    if !root("keeps_attributes") {
        return;
    }
    let tar = Tar::default()
        .dir("d", 0o1777)
        .xattrs(&[("user.note", "hello"), ("trusted.overlay.redirect", "/etc")])
        .entry(EntryType::Regular, "d/su", "", 0o4755, b"x")
        .hard("d/again", "d/su")
        .device("d/null", 1, 3)
        .entry(EntryType::Fifo, "d/pipe", "", 0o620, b"")
        .bytes();
    let (_dir, fs) = unpack(tar, &View::default()).unwrap();
    let meta = |p: &str| std::fs::symlink_metadata(fs.join(p)).unwrap();
    assert_eq!(meta("d").mode() & 0o7777, 0o1777);
    assert_eq!((meta("d").uid(), meta("d").gid(), meta("d").mtime()), (7, 8, 1_000_000_000));
    assert_eq!(meta("d/su").mode() & 0o7777, 0o4755);
    assert_eq!(meta("d/su").ino(), meta("d/again").ino());
    assert_eq!(meta("d/null").rdev(), 0x103);
    assert_eq!(meta("d/null").permissions().mode() & 0o777, 0o666);
    assert_eq!(meta("d/pipe").mode() & 0o777, 0o620);
    let get = |name: &str| {
        let mut value = [0u8; 32];
        rustix::fs::lgetxattr(fs.join("d/su"), name, &mut value[..]).map(|n| value[..n].to_vec())
    };
    if let Ok(value) = get("user.note") {
        assert_eq!(value, b"hello");
    }
    assert!(get("trusted.overlay.redirect").is_err(), "an image cannot steer overlayfs");
}

#[test]
fn whiteouts() {
    if !root("whiteouts") {
        return;
    }
    let below = Tar::default().dir("a", 0o755).file("a/x", "").file("gone", "").bytes();
    let (_below, below) = unpack(below, &View::default()).unwrap();
    let tar = Tar::default()
        .file(".wh.gone", "")
        .dir("a", 0o755)
        .file("a/.wh..wh..opq", "")
        .file("a/y", "1")
        // Hidden and made anew: only the new is seen.
        .file(".wh.b", "")
        .file("b/z", "2")
        // Made and hidden: what the layer has itself stays.
        .file("c", "3")
        .file(".wh.c", "")
        .bytes();
    let (_dir, fs) = unpack(tar, &View::new(vec![below.clone()])).unwrap();
    assert_eq!(tree(&fs), ["a/", "a/y = 1", "b/", "b/z = 2", "c = 3", "gone !"]);
    let gone = std::fs::symlink_metadata(fs.join("gone")).unwrap();
    assert_eq!(gone.rdev(), 0);
    assert!(opaque(&fs.join("a")).unwrap() && opaque(&fs.join("b")).unwrap());

    let view = View::new(vec![fs, below]);
    let names = |p: &[&str]| view.read_dir(&p.iter().map(Into::into).collect::<Vec<_>>()).unwrap();
    assert_eq!(names(&[]), ["a", "b", "c"]);
    assert_eq!(names(&["a"]), ["y"]);
    assert!(view.lookup(&["gone".into()]).unwrap().is_none());
    assert!(view.lookup(&["a".into(), "x".into()]).unwrap().is_none());
}

#[test]
fn parents_come_from_below() {
    if !root("parents_come_from_below") {
        return;
    }
    let below = Tar::default()
        .dir("tmp", 0o1777)
        .dir("usr/bin", 0o711)
        .link("bin", "usr/bin")
        .file("usr/bin/tool", "t")
        .bytes();
    let (_below, below) = unpack(below, &View::default()).unwrap();
    let tar =
        Tar::default().file("tmp/f", "1").file("bin/g", "2").hard("bin/tool2", "bin/tool").bytes();
    let (_dir, fs) = unpack(tar, &View::new(vec![below])).unwrap();
    assert_eq!(
        tree(&fs),
        [
            "tmp/",
            "tmp/f = 1",
            "usr/",
            "usr/bin/",
            "usr/bin/g = 2",
            "usr/bin/tool = t",
            "usr/bin/tool2 = t"
        ]
    );
    assert_eq!(std::fs::metadata(fs.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(std::fs::metadata(fs.join("usr/bin")).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn compressed_and_cut_short() {
    if !root("compressed_and_cut_short") {
        return;
    }
    let tar = Tar::default().file("f", &"data".repeat(200_000)).bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for blob in [&gzip, &zstd] {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = layer(&blob[..], dir.path(), &View::default()).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&tar));
        let dir = tempfile::tempdir().unwrap();
        assert!(layer(&blob[..blob.len() / 2], dir.path(), &View::default()).is_err());
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(layer(&tar[..tar.len() / 2], dir.path(), &View::default()).is_err());
}

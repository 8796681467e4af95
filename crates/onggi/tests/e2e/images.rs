//! Images: built, kept, sent and fetched.

use std::convert::Infallible;
use std::io::Write;

use hyper_util::rt::TokioIo;
use onggi_images::registry::Registry;
use serde_json::json;

use crate::rig::{Cluster, pod};

const DOCKERFILE: &str = "FROM scratch
ARG GREETING=hello
COPY guest /guest
WORKDIR /work
RUN [\"/guest\", \"write\", \"made\", \"by RUN\"]
COPY text /work/
ENV GREETING=$GREETING NAME=onggi
USER 1000
ENTRYPOINT [\"/guest\"]
CMD [\"cat\", \"made\", \"text\", \",\", \"env\", \"GREETING\", \",\", \"where\"]
";

#[test]
fn a_build_runs_its_steps_once() {
    let Some(cluster) = Cluster::up() else { return };
    let context = cluster.guest_context();
    cluster.file("guest/text", " and COPY\n");
    let file = cluster.file("guest/Dockerfile", DOCKERFILE);
    let build = |arguments: &[&str]| {
        cluster.ok(&[&["build", "-t", "app:v1", &context], arguments].concat())
    };
    let first = build(&[]);
    assert!(!first.contains("(cached)"), "{first}");
    let again = build(&[]);
    assert_eq!(again.matches("(cached)").count(), 4, "{again}");
    // What comes after a changed file is made anew, what comes before is not.
    cluster.file("guest/text", " and another COPY\n");
    let changed = build(&["--build-arg", "GREETING=hi"]);
    assert!(changed.contains("RUN") && changed.contains("(cached)"), "{changed}");

    let mut app = pod("app", &[]);
    app["spec"]["restartPolicy"] = json!("Never");
    app["spec"]["containers"][0]["image"] = json!("app:v1");
    app["spec"]["containers"][0].as_object_mut().unwrap().remove("args");
    cluster.apply(&[app]);
    cluster.wait("pod/app", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(cluster.k(&["logs", "app"]), "by RUN and another COPY\nGREETING=hi\n/work\n");

    for (text, expected) in [
        ("FROM scratch\nCOPY guest /guest\nRUN [\"/guest\", \"exit\", \"3\"]\n", "3"),
        ("FROM scratch\nCOPY absent /x\n", "absent"),
        ("FROM scratch\nFETCH x y\n", "FETCH"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = cluster.onggi(&["build", "-t", "bad", &context]);
        assert!(!said.ok && said.err.contains(expected), "{text}: {}", said.err);
    }
    assert!(!cluster.ok(&["images"]).contains("bad"));
}

#[test]
fn images_go_through_archives() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let archive = cluster.file("guest.tar", "");
    cluster.ok(&["tag", "guest", "other:v2"]);
    cluster.ok(&["save", "-o", &archive, "guest"]);
    cluster.ok(&["rmi", "guest", "other:v2"]);
    assert_eq!(cluster.ok(&["images", "-q"]), "");
    let said = cluster.onggi(&["rmi", "guest"]);
    assert!(!said.ok && said.err.contains("guest"), "{}", said.err);
    cluster.ok(&["load", "-i", &archive]);
    cluster.apply(&[pod("one", &["wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    let broken = cluster.file("broken.tar", "this is no archive");
    let said = cluster.onggi(&["load", "-i", &broken]);
    assert!(!said.ok && !said.err.is_empty());
}

#[test]
fn images_go_through_a_registry() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let listener = cluster.inside(|| std::net::TcpListener::bind("127.0.0.1:5000").unwrap());
    std::thread::spawn(move || serve(listener, &registry));
    let name = "127.0.0.1:5000/team/guest:v1";
    cluster.ok(&["tag", "guest", name]);
    cluster.ok(&["push", name]);
    cluster.ok(&["rmi", name, "guest"]);
    let mut one = pod("one", &["wait"]);
    one["spec"]["containers"][0]["image"] = json!(name);
    one["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let mut two = one.clone();
    two["metadata"]["name"] = json!("two");
    two["spec"]["containers"][0]["image"] = json!("127.0.0.1:5000/team/guest:v9");
    cluster.apply(&[one, two]);
    cluster.wait("pod/one", "condition=Ready");
    let reason = ".status.containerStatuses[0].state.waiting.reason";
    cluster.until("the refusal", || {
        ["ErrImagePull", "ImagePullBackOff"]
            .contains(&cluster.field("pod/two", reason).as_str())
            .then_some(())
    });
    let events = cluster.k(&["get", "events", "--field-selector=reason=Failed"]);
    assert!(events.contains("team/guest:v9"), "{events}");
    cluster.ok(&["pull", name]);
    let said = cluster.onggi(&["pull", "127.0.0.1:5000/nobody"]);
    assert!(!said.ok && said.err.contains("127.0.0.1:5000/nobody"), "{}", said.err);
}

/// A file system of so many megabytes where a cluster keeps its images, while this lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn new(path: std::path::PathBuf, megabytes: u32) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let size = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &path, "tmpfs", none, size.as_c_str()).unwrap();
        Self(path)
    }

    fn grow(&self, megabytes: u32) {
        let size = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount_remount(&self.0, none, size.as_c_str()).unwrap();
    }

    fn used(&self) -> u64 {
        let about = rustix::fs::statvfs(&self.0).unwrap();
        (about.f_blocks - about.f_bfree) * about.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The daemon may still hold files there.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_half_done_stays() {
    let Some(cluster) = Cluster::new() else { return };
    let disk = SmallDisk::new(cluster.data().join("images"), 1);
    cluster.ok(&["up"]);
    let before = disk.used();
    let context = cluster.guest_context();
    let build = ["build", "-t", "guest", context.as_str()];
    let said = cluster.onggi(&build);
    assert!(!said.ok && said.err.contains("No space left on device"), "{}{}", said.out, said.err);
    assert!(said.err.contains("images"), "it names the place: {}", said.err);
    assert_eq!(cluster.ok(&["images", "-q"]), "");
    assert!(disk.used() <= before + 64 * 1024, "{} bytes before, {} now", before, disk.used());
    assert!(cluster.k(&["get", "nodes"]).contains("Ready"), "the cluster goes on");
    disk.grow(1024);
    cluster.ok(&build);
    cluster.apply(&[pod("one", &["wait"])]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.ok(&["down"]);
    let device = |path: &std::path::Path| rustix::fs::stat(path).unwrap().st_dev;
    assert_ne!(device(&disk.0), device(&cluster.data()), "the disk is not ours to unmount");
}

/// The log is on it as well, and cannot tell.
#[test]
fn on_a_full_disk_writes_are_refused_until_there_is_space() {
    let Some(cluster) = Cluster::new() else { return };
    let disk = SmallDisk::new(cluster.data(), 400);
    cluster.ok(&["up"]);
    let filler = disk.0.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let create = |name: &str| {
        let text = format!("--from-literal=text={}", "x".repeat(100_000));
        cluster.kubectl(&["create", "configmap", name, &text])
    };
    let mut number = 0;
    let refused = cluster.until("the refusal", || {
        number += 1;
        Some(create(&format!("c{number}"))).filter(|said| !said.ok)
    });
    assert!(refused.err.contains("is full"), "{}", refused.err);
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    let said = create("after");
    assert!(said.ok, "{}", said.err);
    cluster.ok(&["down"]);
}

/// Until the test's process ends.
fn serve(listener: std::net::TcpListener, registry: &Registry) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let registry = registry.clone();
            let service = hyper::service::service_fn(move |request| {
                let registry = registry.clone();
                async move { Ok::<_, Infallible>(registry.handle(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

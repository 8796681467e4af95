//! The builder.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use onggi_images::build::Request;
use onggi_images::{Event, Images, Options, Progress};
use onggi_node_api::{Image, RootFs, RuntimeError, StepConfig, StepRunner};
use tokio::sync::mpsc;

use crate::support::{Tar, image, root, tree};

struct Bench {
    dir: tempfile::TempDir,
    images: Images,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["images", "context"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let root = dir.path().join("images");
        let images = Images::open(Options { root, ..Options::default() }).unwrap();
        Self { dir, images }
    }

    fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.context().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn request(&self, dockerfile: &str) -> Request {
        self.write("Dockerfile", dockerfile);
        let mut request = Request::from_dir(&self.context(), None).unwrap();
        request.dockerfile_name = "Dockerfile".into();
        request.tags = vec!["built".parse().unwrap()];
        request
    }

    /// Builds; answers the image and which steps were cached.
    async fn run(&self, request: Request) -> Result<(Image, Vec<bool>, String), String> {
        let (sender, mut events) = mpsc::channel(64);
        let progress = Progress::new(sender);
        let collect = tokio::spawn(async move {
            let (mut cached, mut output) = (Vec::new(), String::new());
            while let Some(event) = events.recv().await {
                match event {
                    Event::Step { cached: c, index, total, .. } => {
                        cached.push(c);
                        assert!(index == cached.len() && index <= total);
                    }
                    Event::Output { text } => output.push_str(&text),
                    Event::Warning { message } => output.push_str(&message),
                    _ => {}
                }
            }
            (cached, output)
        });
        let result = self.images.build(request, &progress).await;
        drop(progress);
        let (cached, output) = collect.await.unwrap();
        result.map(|image| (image, cached, output)).map_err(|e| e.to_string())
    }

    async fn build(&self, dockerfile: &str) -> Result<(Image, Vec<bool>, String), String> {
        self.run(self.request(dockerfile)).await
    }

    /// The files of an image, layers merged as overlayfs would.
    async fn files(&self, name: &str) -> Vec<String> {
        let layers = self.images.layers(name, "look").await.unwrap();
        self.images.release("look").await.unwrap();
        let mut all: std::collections::BTreeMap<String, String> = Default::default();
        for layer in layers.iter().rev() {
            for line in tree(layer) {
                let name = line.split([' ', '/']).next().unwrap().to_owned();
                if line.ends_with(" !") {
                    all.retain(|path, _| path != &name && !path.starts_with(&format!("{name}/")));
                } else {
                    all.insert(line.split(' ').next().unwrap().to_owned(), line);
                }
            }
        }
        all.into_values().collect()
    }
}

/// Runs steps by chroot: what the tests need of a runtime.
struct Chroot;

#[async_trait]
impl StepRunner for Chroot {
    async fn run_step(
        &self,
        step: StepConfig,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<i32, RuntimeError> {
        // The shell of a test image is a file that says "shell".
        assert!(step.rootfs.join("bin/sh").exists());
        assert_eq!(step.args[..2], ["/bin/sh", "-c"]);
        // Mount points that a runtime makes.
        std::fs::create_dir_all(step.rootfs.join("proc")).unwrap();
        std::fs::create_dir_all(step.rootfs.join("etc")).unwrap();
        std::fs::write(step.rootfs.join("etc/resolv.conf"), "").unwrap();
        let done = tokio::process::Command::new("/bin/sh")
            .args(["-c", &step.args[2]])
            .current_dir(step.rootfs.join(step.working_dir.trim_start_matches('/')))
            .env_clear()
            .envs(step.env.iter().filter_map(|e| e.split_once('=')))
            .output()
            .await
            .unwrap();
        output.send(done.stdout).await.unwrap();
        Ok(done.status.code().unwrap_or(-1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_and_copy() {
    if !root("scratch_and_copy") {
        return;
    }
    let bench = Bench::new();
    bench.write("bin/app", "app");
    bench.write("conf/a.yml", "a");
    bench.write("conf/sub/b.yml", "b");
    bench.write("conf/skip.log", "");
    bench.write("package.json", "1");
    bench.write("package-lock.json", "2");
    bench.write(".dockerignore", "**/*.log\nDockerfile\n");
    std::fs::set_permissions(bench.context().join("bin/app"), PermissionsExt::from_mode(0o751))
        .unwrap();
    std::os::unix::fs::symlink("app", bench.context().join("bin/link")).unwrap();
    let text = "# syntax=docker/dockerfile:1\nARG NAME=app\nFROM scratch AS one\nARG NAME\nENV DIR=/srv V=\"a b\"\n\
        WORKDIR $DIR\nCOPY bin/$NAME .\nCOPY conf conf/\nCOPY --chown=5:6 --chmod=600 package*.json ./\n\
        COPY bin/link /linked\nCOPY <<EOF /hello\nhi $NAME\nEOF\nEXPOSE 8080 53/udp\nUSER 5:6\n\
        LABEL a=\"b c\" d=e\nVOLUME /data\nSTOPSIGNAL SIGINT\nENTRYPOINT [\"./app\"]\nCMD [\"serve\", \"$V\"]\n";
    let (first, cached, _) = bench.build(text).await.unwrap();
    assert!(cached.iter().all(|c| !c));
    assert_eq!(
        bench.files("built").await,
        [
            "hello = hi app\n",
            "linked = app",
            "srv/",
            "srv/app = app",
            "srv/conf/",
            "srv/conf/a.yml = a",
            "srv/conf/sub/",
            "srv/conf/sub/b.yml = b",
            "srv/package-lock.json = 2",
            "srv/package.json = 1",
        ]
    );
    let config = bench.images.image_config("built").await.unwrap();
    assert_eq!(config.entrypoint, ["./app"]);
    assert_eq!(config.cmd, ["serve", "$V"]);
    assert_eq!(config.env[1..], ["DIR=/srv", "V=a b"]);
    assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/srv", "5:6"));
    assert_eq!(config.exposed_ports, ["53/udp", "8080/tcp"]);
    assert_eq!(
        (config.stop_signal.as_str(), &config.volumes[..]),
        ("SIGINT", &["/data".to_owned()][..])
    );
    let layers = bench.images.layers("built", "c").await.unwrap();
    let find = |name: &str| {
        layers.iter().find_map(|l| std::fs::symlink_metadata(l.join(name)).ok()).unwrap()
    };
    let package = find("srv/package.json");
    assert_eq!((package.uid(), package.gid(), package.mode() & 0o7777), (5, 6, 0o600));
    assert_eq!((find("srv/app").mode() & 0o7777, find("srv/app").uid()), (0o751, 0));

    // The same again: the same image; a new time of change is no change.
    let touched =
        std::fs::File::options().write(true).open(bench.context().join("bin/app")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let (again, cached, _) = bench.build(text).await.unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(cached.iter().filter(|c| **c).count(), 6);
    // A changed file: steps with another input stay.
    bench.write("conf/a.yml", "changed");
    let (changed, cached, _) = bench.build(text).await.unwrap();
    assert_ne!(changed.id, first.id);
    assert_eq!(cached.iter().filter(|c| **c).count(), 2);
    let mut request = bench.request(text);
    request.no_cache = true;
    assert!(bench.run(request).await.unwrap().1.iter().all(|c| !c));
}

#[tokio::test(flavor = "multi_thread")]
async fn reproducible_with_an_epoch() {
    if !root("reproducible_with_an_epoch") {
        return;
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new();
        bench.write("a/b", "c");
        let mut request = bench.request("FROM scratch\nCOPY a /x/y\nCMD [\"z\"]\n");
        request.build_args.insert("SOURCE_DATE_EPOCH".into(), "1000".into());
        ids.push(bench.run(request).await.unwrap().0.id);
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn base_images_stages_and_archives() {
    if !root("base_images_stages_and_archives") {
        return;
    }
    let bench = Bench::new();
    let base = Tar::default()
        .dir("usr/bin", 0o755)
        .link("bin", "usr/bin")
        .dir("etc", 0o755)
        .file("etc/passwd", "root:x:0:0::/:\napp:x:1000:1001::/:\n")
        .file("etc/group", "web:x:33:\n")
        .bytes();
    image(bench.images.store(), "base:1", vec![base]);
    let archive = Tar::default().dir("d", 0o700).file("d/f", "x").hard("d/g", "d/f").bytes();
    std::fs::write(bench.context().join("a.tar.zst"), zstd::encode_all(&archive[..], 1).unwrap())
        .unwrap();
    bench.write("tool", "t");
    bench.write("plain.gz", "no archive");
    let (_, _, output) = {
        let mut request = bench.request(
            "ARG BASE=none\nFROM ${BASE}:1 AS build\nCOPY --chown=app:web tool /bin/\nFROM nowhere AS unused\n\
             FROM scratch\nCOPY --from=build /bin/tool /opt/\nADD a.tar.zst plain.gz /srv/\nCOPY --from=base:1 /etc /etc/\n",
        );
        request.build_args.insert("BASE".into(), "base".into());
        request.build_args.insert("TYPO".into(), "1".into());
        bench.run(request).await.unwrap()
    };
    assert_eq!(output, "--build-arg TYPO is used by no ARG");
    assert_eq!(
        bench.files("built").await,
        [
            "etc/",
            "etc/group = web:x:33:\n",
            "etc/passwd = root:x:0:0::/:\napp:x:1000:1001::/:\n",
            "opt/",
            "opt/tool = t",
            "srv/",
            "srv/d/",
            "srv/d/f = x",
            "srv/d/g = x",
            "srv/plain.gz = no archive",
        ]
    );
    // Through the link in the base image, not in its place.
    let mut request =
        bench.request("FROM base:1 AS build\nCOPY --chown=app:web tool /bin/\nFROM scratch\n");
    request.target = Some("Build".into());
    bench.run(request).await.unwrap();
    let layers = bench.images.layers("built", "c").await.unwrap();
    let tool = std::fs::symlink_metadata(layers[0].join("usr/bin/tool")).unwrap();
    assert_eq!((tool.uid(), tool.gid()), (1000, 33));
    assert!(!layers[0].join("bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn run_steps() {
    if !root("run_steps") {
        return;
    }
    let bench = Bench::new();
    let base = Tar::default()
        .file("bin/sh", "shell")
        .file("gone", "")
        .dir("old", 0o755)
        .file("old/x", "")
        .bytes();
    image(bench.images.store(), "base", vec![base]);
    let error = bench.build("FROM base\nRUN true\n").await.unwrap_err();
    assert!(error.contains("container runtime"), "{error}");
    bench.images.set_step_runner(Arc::new(Chroot));
    let text = "FROM base\nARG WHO=me\nWORKDIR /w\nRUN echo out && echo $WHO > f && ln f g && rm ../gone && \\\n  rm -r ../old && mkdir ../old && echo n > ../old/y\nRUN <<EOF\nset -e\necho two > h\nEOF\n";
    let (first, _, output) = bench.build(text).await.unwrap();
    assert_eq!(output, "out\n");
    let layers = bench.images.layers("built", "c").await.unwrap();
    assert_eq!(tree(&layers[0]), ["w/", "w/h = two\n"]);
    assert_eq!(
        tree(&layers[1]),
        ["gone !", "old/", "old/y = n\n", "w/", "w/f = me\n", "w/g = me\n"]
    );
    assert!(onggi_images::unpack::opaque(&layers[1].join("old")).unwrap());
    assert_eq!(
        std::fs::metadata(layers[1].join("w/f")).unwrap().ino(),
        std::fs::metadata(layers[1].join("w/g")).unwrap().ino()
    );
    let (again, cached, output) = bench.build(text).await.unwrap();
    assert_eq!((again.id, output.as_str()), (first.id, ""));
    assert_eq!(cached, [false, false, true, true, true]);
    let mut request = bench.request(text);
    request.build_args.insert("WHO".into(), "you".into());
    let (_, cached, _) = bench.run(request).await.unwrap();
    assert_eq!(cached, [false, false, true, false, false]);

    let error = bench.build("FROM base\n\nRUN exit 3\n").await.unwrap_err();
    assert_eq!(error, "Dockerfile:3: \"/bin/sh -c exit 3\" ended with code 3");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bench.dir.path().to_str().unwrap()), "nothing stays mounted");
    assert_eq!(std::fs::read_dir(bench.dir.path().join("images/tmp")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    if !root("what_is_wrong_is_said") {
        return;
    }
    let bench = Bench::new();
    bench.write("a", "");
    bench.write("b", "");
    std::os::unix::fs::symlink("/etc/passwd", bench.context().join("escape")).unwrap();
    for (text, says) in [
        ("FROM scratch\nCOPY none /\n", "Dockerfile:2: none is not there"),
        ("FROM scratch\nCOPY ../a /\n", "Dockerfile:2: ../a is outside"),
        ("FROM scratch\nCOPY escape /\n", "Dockerfile:2: escape is not there"),
        ("FROM scratch\nCOPY a b /c\n", "Dockerfile:2: with more than one source"),
        ("FROM scratch\nCOPY --chown=app a /\n", "user \"app\" is not in"),
        ("FROM scratch\nCOPY --chmod=abc a /\n", "octal"),
        ("FROM scratch\nADD https://x/y /\n", "from the network"),
        ("FROM scratch\nRUN true\n", "scratch has none"),
        ("FROM scratch\nEXPOSE x\n", "Dockerfile:2: EXPOSE"),
        ("FROM scratch\nENV A=${B:?wanted}\n", "B: wanted"),
        ("FROM 127.0.0.1:1/none\n", "Dockerfile:1: registry 127.0.0.1:1"),
        ("FROM $NONE\n", "the name is empty"),
        ("FROM scratch\nNONSENSE\n", "Dockerfile:2"),
    ] {
        let error = bench.build(text).await.unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!(bench.images.store().find("built").unwrap().is_none());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("images/tmp")).unwrap().count(), 0);
    let _: &Path = bench.dir.path();
}

/// The figure: a static binary of 60 MB, `FROM scratch`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p onggi-images -- --ignored --nocapture"]
async fn large_binary_is_fast() {
    let bench = Bench::new();
    let mut data = vec![0u8; 60 << 20];
    let mut x = 1u64;
    for chunk in data.chunks_exact_mut(8) {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        chunk.copy_from_slice(&x.to_le_bytes());
    }
    std::fs::write(bench.context().join("app"), &data).unwrap();
    for round in ["first", "cached"] {
        let start = std::time::Instant::now();
        bench.build("FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n").await.unwrap();
        println!("{round}: {} ms", start.elapsed().as_millis());
    }
}

//! A machine of its own: Debian's kernel under software emulation, with control groups of version 2
//! alone, as most machines have them today. Skipped where `qemu-system-x86` or
//! `linux-image-cloud-amd64` is not installed.
//!
//! Its whole system is one archive in memory: our binary, the guest, the kernel's modules, and the
//! program of `machine_init.rs` as the first process.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rig::on_path;

/// What our node asks of a kernel; the kernel's own loader would find these by their aliases.
const MODULES: &[&str] = &[
    "overlay",
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_numgen",
    "nft_hash",
    "nft_fib_ipv4",
    "nft_reject_ipv4",
    "nf_conntrack_netlink",
];

/// A line of the archive: name, mode, content.
type Entry = (String, u32, Vec<u8>);

#[test]
fn limits_hold_on_control_groups_of_version_2() {
    let (Some(qemu), Some(kernel)) = (on_path("qemu-system-x86_64"), kernel()) else {
        eprintln!("skipped: needs qemu-system-x86 and linux-image-cloud-amd64");
        return;
    };
    let pod = |name: &str, limits: serde_json::Value, steps: &[&str]| {
        let mut pod = crate::rig::pod(name, steps);
        pod["spec"]["restartPolicy"] = "Never".into();
        pod["spec"]["containers"][0]["resources"] = serde_json::json!({"limits": limits});
        pod.to_string()
    };
    let said = run(
        &qemu,
        &kernel,
        &[
            (
                "one.json",
                pod("one", serde_json::json!({"memory": "64Mi", "cpu": "500m"}), &["wait"]),
            ),
            ("hog.json", pod("hog", serde_json::json!({"memory": "32Mi"}), &["fill", "64"])),
        ],
        &[
            "up",
            "build -t guest /context",
            "apply -f /one.json -f /hog.json",
            "wait pod/one --for=condition=Ready --timeout=60s",
            "exec one -- /guest cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max",
            "wait pod/hog --for=jsonpath={.status.phase}=Failed --timeout=60s",
            "get pod hog -o jsonpath={.status.containerStatuses[0].state.terminated.reason}",
            "exec one -- /guest cat /dev/null",
            "exec one -- /guest append /sys/fs/cgroup/cgroup.procs 1",
            "delete pod one hog",
            "down --purge",
            "left",
        ],
    );
    let answer = |step: &str| {
        let found = said.iter().find(|(line, ..)| line == step);
        let (_, code, text) = found.unwrap_or_else(|| panic!("{step} was not run: {said:#?}"));
        (*code, text.as_str())
    };
    for (step, code, text) in &said {
        let refused = step.contains("cgroup.procs");
        assert_eq!(*code != 0, refused, "{step}: {text}");
    }
    let limits = "exec one -- /guest cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max";
    assert_eq!(answer(limits), (0, "67108864\n50000 100000\n"));
    let reason = "get pod hog -o jsonpath={.status.containerStatuses[0].state.terminated.reason}";
    assert_eq!(answer(reason), (0, "OOMKilled"));
    assert_eq!(answer("left"), (0, ""), "groups, mounts or links that stay");
}

/// The newest of Debian's kernels for virtual machines, and its modules.
fn kernel() -> Option<(PathBuf, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir("/boot").ok()?.flatten().map(|e| e.path()).collect();
    found.sort();
    found.into_iter().rev().find_map(|path| {
        let release = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        let modules = Path::new("/lib/modules").join(&release);
        (release.contains("cloud") && modules.join("modules.dep").exists())
            .then_some((path, modules))
    })
}

/// Boots, runs the lines, and answers each with its exit code and what it printed.
fn run(
    qemu: &Path,
    (kernel, modules): &(PathBuf, PathBuf),
    files: &[(&str, String)],
    steps: &[&str],
) -> Vec<(String, i32, String)> {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("initrd");
    let built = Path::new(env!("CARGO_BIN_EXE_onggi"));
    let example = |name: &str| stripped(&built.with_file_name("examples").join(name));
    let guest = example("guest");
    let mut entries: Vec<Entry> = vec![
        ("init".into(), 0o100_755, example("machine_init")),
        ("onggi".into(), 0o100_755, stripped(built)),
        ("context".into(), 0o40_755, Vec::new()),
        ("context/guest".into(), 0o100_755, guest),
        (
            "context/Dockerfile".into(),
            0o100_644,
            b"FROM scratch\nCOPY guest /guest\nENTRYPOINT [\"/guest\"]\n".to_vec(),
        ),
        ("steps".into(), 0o100_644, steps.join("\n").into_bytes()),
    ];
    entries.extend(
        files.iter().map(|(name, text)| ((*name).to_owned(), 0o100_644, text.clone().into_bytes())),
    );
    entries.push(("modules".into(), 0o40_755, Vec::new()));
    for (place, path) in in_order(modules).iter().enumerate() {
        entries.push((format!("modules/{place:03}"), 0o100_644, fs::read(path).unwrap()));
    }
    fs::write(&archive, cpio(&entries)).unwrap();
    let mut machine = Command::new(qemu)
        .args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-m", "2048"])
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-net", "none", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(&archive)
        .args(["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut log = String::new();
    // The init program prints a line of JSON a step; whatever else comes is the kernel's.
    for line in BufReader::new(machine.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).trim().to_owned();
        match line.split_once("@@ ").map(|(_, json)| serde_json::from_str(json)) {
            Some(Ok(step)) => said.push(step),
            _ => log = format!("{log}{line}\n"),
        }
    }
    println!("{log}");
    machine.wait().unwrap();
    assert_eq!(said.len(), steps.len(), "the machine ended early: {said:#?}");
    said
}

/// Without symbols it is a third of the size, which the emulated machine has to unpack.
fn stripped(program: &Path) -> Vec<u8> {
    let target = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new("strip").arg("-o").arg(target.path()).arg(program).status();
    match done {
        Ok(status) if status.success() => fs::read(target.path()).unwrap(),
        _ => fs::read(program).unwrap(),
    }
}

/// The files of the modules, each behind those that it needs.
fn in_order(modules: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(modules.join("modules.dep")).unwrap();
    let line_of = |name: &str| {
        text.lines().find(|line| {
            let file = line.split(':').next().unwrap_or_default();
            file.rsplit('/').next().and_then(|f| f.split('.').next()) == Some(name)
        })
    };
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    // What is built into the kernel has no line.
    for line in MODULES.iter().filter_map(|name| line_of(name)) {
        let (own, needs) = line.split_once(':').unwrap();
        // The farthest need stands last.
        for file in needs.split_whitespace().rev().chain([own]) {
            if seen.insert(file.to_owned()) {
                order.push(modules.join(file));
            }
        }
    }
    order
}

/// An archive as the kernel unpacks it (`newc`, Documentation/driver-api/early-userspace).
fn cpio(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let end: Entry = ("TRAILER!!!".into(), 0, Vec::new());
    for (inode, (name, mode, content)) in entries.iter().chain([&end]).enumerate() {
        let fields =
            [inode + 1, *mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        out.extend_from_slice(b"070701");
        fields.iter().for_each(|field| write!(out, "{field:08x}").unwrap());
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

//! The first process of the machine of `machine.rs`: makes a system of what the kernel unpacked,
//! runs the lines of `/steps` by `/onggi`, prints one line of JSON for each, and switches off.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here is seen on the console")]

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::system::{RebootCommand, finit_module, reboot};

fn main() {
    if std::process::id() != 1 {
        return eprintln!("this is the first process of a test's machine, and of no other");
    }
    let outcome = std::panic::catch_unwind(|| {
        load_modules();
        leave_the_archive();
        for step in fs::read_to_string("/steps").unwrap().lines() {
            let (code, text) = match step {
                "left" => (0, left()),
                _ => run(step),
            };
            if code != 0 {
                // For whoever looks into a failure.
                println!("{step}: {text}\n{}", run("get events -A").1);
                println!(
                    "{}",
                    fs::read_to_string("/var/lib/onggi/log/onggi.log").unwrap_or_default()
                );
            }
            println!("@@ {}", serde_json::json!([step, code, text]));
        }
    });
    if outcome.is_err() {
        println!("the first process failed");
    }
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
}

fn load_modules() {
    let mut files: Vec<_> = fs::read_dir("/modules").unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let module = rustix::fs::open(&file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        finit_module(module.unwrap(), c"", 0).unwrap();
    }
}

fn filesystem(kind: &str, place: &str, data: &CStr) {
    fs::create_dir_all(place).unwrap();
    mount(kind, place, kind, MountFlags::empty(), data).unwrap();
}

/// The root that the kernel begins with cannot be left by `pivot_root`, as containers do it.
fn leave_the_archive() {
    filesystem("tmpfs", "/new", c"mode=755");
    for entry in fs::read_dir("/").unwrap().flatten() {
        let name = entry.file_name();
        if ["new", "modules", "dev", "root"].iter().all(|other| *other != name) {
            move_to(&entry.path(), &Path::new("/new").join(name));
        }
    }
    std::env::set_current_dir("/new").unwrap();
    mount_move(".", "/").unwrap();
    rustix::process::chroot(".").unwrap();
    std::env::set_current_dir("/").unwrap();
    filesystem("proc", "/proc", c"");
    filesystem("sysfs", "/sys", c"");
    filesystem("devtmpfs", "/dev", c"");
    filesystem("cgroup2", "/sys/fs/cgroup", c"");
    filesystem("tmpfs", "/run", c"");
    filesystem("tmpfs", "/tmp", c"");
    filesystem("tmpfs", "/dev/shm", c"");
    fs::create_dir_all("/etc").unwrap();
    fs::create_dir_all("/root").unwrap();
    symlink("/proc/self/fd", "/dev/fd").unwrap();
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).unwrap();
    onggi_sys::namespaces::loopback_up().unwrap();
}

fn move_to(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            move_to(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
        fs::remove_file(from).unwrap();
    }
}

fn run(step: &str) -> (i32, String) {
    let output = Command::new("/onggi")
        .args(step.split(' '))
        .env("HOME", "/root")
        .env("ONGGI_NODE_NAME", "node")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

/// What an instance left in the kernel.
fn left() -> String {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("onggi") {
            found.push(format!("control group {name}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains("onggi")).map(str::to_owned));
    let links = fs::read_to_string("/proc/net/dev").unwrap();
    let others = links.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:"));
    found.extend(others.map(str::to_owned));
    found.join("\n")
}

//! What must not be there when a cluster has ended.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use onggi_supervisor::Paths;
use onggi_sys::netlink::NetNs;

/// Names everything of an instance that is still there after `down --purge`.
pub(crate) fn of(paths: &Paths, netns: &NetNs) -> Vec<String> {
    let mut found = Vec::new();
    for path in [&paths.data, &paths.run] {
        if path.exists() {
            found.push(format!("{} exists", path.display()));
        }
    }
    let names = [path_text(&paths.data), path_text(&paths.run)];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| names.iter().any(|name| line.contains(name.as_str()));
    found.extend(mounts.lines().filter(ours).map(|line| format!("mount: {line}")));
    let group = format!("onggi-{}", paths.instance);
    groups(Path::new("/sys/fs/cgroup"), &group, 0, &mut found);
    processes(&names, &group, netns, &mut found);
    network(netns, &mut found);
    found
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Version 1 has a hierarchy a controller, below which our group stands.
fn groups(directory: &Path, name: &str, depth: u8, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(format!("control group {}", entry.path().display()));
        } else if depth < 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            groups(&entry.path(), name, depth + 1, found);
        }
    }
}

/// By control group, by arguments, by network namespace: what hides from one shows in another.
fn processes(names: &[String], group: &str, netns: &NetNs, found: &mut Vec<String>) {
    let inode = rustix::fs::fstat(netns.as_fd()).unwrap().st_ino;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) || pid == std::process::id().to_string() {
            continue;
        }
        // Those that end meanwhile answer nothing.
        let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
        // Dead, and only waiting for init to take notice.
        if String::from_utf8_lossy(&read("stat")).contains(") Z ") {
            continue;
        }
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let groups = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let namespace = fs::read_link(entry.path().join("ns/net")).unwrap_or_default();
        if names.iter().any(|name| command.contains(name.as_str()))
            || groups.contains(group)
            || namespace.to_string_lossy() == format!("net:[{inode}]")
        {
            found.push(format!("process {pid}: {command}"));
        }
    }
}

fn network(netns: &NetNs, found: &mut Vec<String>) {
    let read = |file: &'static str| netns.run(move || fs::read_to_string(file).unwrap()).unwrap();
    let links = read("/proc/thread-self/net/dev");
    let others = |line: &&str| !line.trim_start().starts_with("lo:");
    found.extend(links.lines().skip(2).filter(others).map(|line| format!("interface {line}")));
    let routes = read("/proc/thread-self/net/route");
    found.extend(routes.lines().skip(1).map(|line| format!("route {line}")));
}

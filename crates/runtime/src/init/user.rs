//! Who a process runs as: the image's names, looked up in the container's own files.

use std::fs::File;
use std::io::Read;

use rustix::fs::{Mode, OFlags};

use crate::protocol::Failure;
use crate::spec::UserSpec;

/// Files longer than this are no user databases.
const MAX_FILE: u64 = 1 << 20;

/// Numbers of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Looks a user up in `/etc/passwd` and `/etc/group` of the root that the caller is in.
pub(super) fn lookup(spec: &UserSpec) -> Result<User, Failure> {
    resolve(spec, &database("/etc/passwd"), &database("/etc/group"))
}

/// A missing or strange file is an empty one: images from scratch have none. Never waits, though
/// an image may put a pipe there.
fn database(path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return String::new() };
    let file = File::from(file);
    let mut bytes = Vec::new();
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        // Half a file is as good as none.
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let parts: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = parts[..] else { return None };
        Some(Passwd { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

/// Name, id, members.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let parts: Vec<_> = line.split(':').collect();
        let [name, _, gid, ref rest @ ..] = parts[..] else { return None };
        Some((name, gid.parse().ok()?, rest.first().copied().unwrap_or_default()))
    })
}

fn resolve(spec: &UserSpec, passwd_text: &str, group_text: &str) -> Result<User, Failure> {
    let (image_user, image_group) = match spec.image.split_once(':') {
        Some((user, group)) => (user, group),
        None => (spec.image.as_str(), ""),
    };
    let user = match spec.uid {
        Some(uid) => uid.to_string(),
        None if image_user.is_empty() => "0".to_owned(),
        None => image_user.to_owned(),
    };
    let number = user.parse::<u32>().ok();
    let entry = passwd(passwd_text)
        .find(|entry| entry.name == user)
        .or_else(|| passwd(passwd_text).find(|entry| Some(entry.uid) == number));
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => {
            let text = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(Failure::config(text));
        }
    };
    if spec.non_root && spec.uid.is_none() && number.is_none() {
        // Kubernetes trusts numbers only: who a name is depends on a file of the image.
        let text = format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), \
             cannot verify user is non-root"
        );
        return Err(Failure::config(text));
    }
    if spec.non_root && uid == 0 {
        let who = if spec.uid.is_some() {
            "container's runAsUser breaks non-root policy"
        } else {
            "container has runAsNonRoot and image will run as root"
        };
        return Err(Failure::config(who));
    }
    let gid = match (spec.gid, image_group) {
        (Some(gid), _) => gid,
        // The image's group belongs to the image's user.
        (None, "") => entry.as_ref().map_or(0, |entry| entry.gid),
        (None, _) if spec.uid.is_some() => entry.as_ref().map_or(0, |entry| entry.gid),
        (None, name) => groups(group_text)
            .find(|(known, ..)| *known == name)
            .map(|(_, gid, _)| gid)
            .or_else(|| name.parse().ok())
            .ok_or_else(|| {
                let text =
                    format!("unable to find group {name}: no matching entries in group file");
                Failure::config(text)
            })?,
    };
    let mut all = vec![gid];
    if let Some(entry) = &entry {
        let member = |(_, gid, members): (&str, u32, &str)| {
            members.split(',').any(|member| member == entry.name).then_some(gid)
        };
        all.extend(groups(group_text).filter_map(member));
    }
    all.extend(&spec.groups);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|gid| seen.insert(*gid));
    let home = entry.map_or("/", |entry| entry.home).to_owned();
    Ok(User { uid, gid, groups: all, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w:/var/www:/bin/false\nbad";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:web,other\nops:x:9:root";

    fn spec(image: &str) -> UserSpec {
        UserSpec { image: image.into(), ..UserSpec::default() }
    }

    #[test]
    fn users() {
        let cases = [
            (spec(""), (0, 0, vec![0, 9], "/root")),
            (spec("web"), (33, 34, vec![34, 4], "/var/www")),
            (spec("33"), (33, 34, vec![34, 4], "/var/www")),
            (spec("web:ops"), (33, 9, vec![9, 4], "/var/www")),
            (spec("1234:77"), (1234, 77, vec![77], "/")),
            (UserSpec { uid: Some(1000), ..spec("web:ops") }, (1000, 0, vec![0], "/")),
            (
                UserSpec { gid: Some(5), groups: vec![5, 8], ..spec("web") },
                (33, 5, vec![5, 4, 8], "/var/www"),
            ),
            (UserSpec { uid: Some(7), non_root: true, ..spec("") }, (7, 0, vec![0], "/")),
        ];
        for (spec, (uid, gid, groups, home)) in cases {
            let expected = User { uid, gid, groups, home: home.into() };
            assert_eq!(resolve(&spec, PASSWD, GROUP).unwrap(), expected, "{spec:?}");
        }
    }

    #[test]
    fn refusals() {
        let non_root = |image| UserSpec { non_root: true, ..spec(image) };
        let cases = [
            (spec("nobody"), "unable to find user nobody"),
            (spec("web:none"), "unable to find group none"),
            (non_root(""), "container has runAsNonRoot and image will run as root"),
            (non_root("0"), "container has runAsNonRoot and image will run as root"),
            (non_root("web"), "non-numeric user (web)"),
            (UserSpec { uid: Some(0), ..non_root("") }, "breaks non-root policy"),
        ];
        for (spec, text) in cases {
            let failure = resolve(&spec, PASSWD, GROUP).unwrap_err();
            assert!(failure.message.contains(text), "{failure:?}");
        }
    }
}

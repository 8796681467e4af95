//! Names of users and groups in an image.

use crate::error::Context;
use crate::unpack::View;
use crate::{Error, Result};

/// Numbers of `user[:group]`; a group that is not said is the user's (Docker: the same number).
pub(super) fn owner(text: &str, view: &View) -> Result<(u32, u32)> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let read = |file: &str| -> Result<String> {
        let bytes = view.read_file(file).context(|| file.to_owned())?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (uid, own_gid) = match user.parse() {
        Ok(uid) => (uid, None),
        Err(_) => {
            let fields = find(&read("/etc/passwd")?, user).ok_or_else(|| {
                Error::invalid(format!("user {user:?} is not in the image's /etc/passwd"))
            })?;
            (fields.0, fields.1)
        }
    };
    let gid = match group {
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                find(&read("/etc/group")?, group)
                    .ok_or_else(|| {
                        Error::invalid(format!("group {group:?} is not in the image's /etc/group"))
                    })?
                    .0
            }
        },
        None => own_gid.unwrap_or(uid),
    };
    Ok((uid, gid))
}

/// Third and fourth field of a line.
fn find(text: &str, name: &str) -> Option<(u32, Option<u32>)> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.first() != Some(&name) {
            return None;
        }
        Some((fields.get(2)?.parse().ok()?, fields.get(3).and_then(|f| f.parse().ok())))
    })
}

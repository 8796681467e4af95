//! Where files come from.

use std::io;
use std::path::Path;

/// Files by their path, with `/` between the parts.
pub trait Source {
    /// What a file holds; an error of kind `NotFound` where there is none.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Whether a path is a folder.
    fn is_dir(&self, path: &str) -> bool;

    /// Whether there is anything at a path.
    fn exists(&self, path: &str) -> bool {
        self.is_dir(path) || self.read(path).is_ok()
    }

    /// The path with its links followed: what a kustomization reads lies in its folder.
    fn real(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Files of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Source for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        Path::new(path).is_dir()
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn real(&self, path: &str) -> String {
        // What is not there is told when it is read.
        let real = std::fs::canonicalize(path);
        real.map_or_else(|_| path.to_owned(), |real| real.to_string_lossy().into_owned())
    }
}

/// Files that are part of the program: paths and contents.
#[derive(Debug, Clone, Copy)]
pub struct Embedded(pub &'static [(&'static str, &'static str)]);

impl Source for Embedded {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        found.map(|(_, content)| content.as_bytes().to_vec()).ok_or_else(missing)
    }

    fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.0.iter().any(|(name, _)| name.starts_with(&prefix))
    }
}

/// A path as seen from a folder, without `.` and with `..` resolved where that is possible.
pub(super) fn normalize(dir: &str, path: &str) -> String {
    let absolute = path.starts_with('/') || (path.is_empty() && dir.starts_with('/'));
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let absolute = absolute || dir.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A path as seen from a folder.
pub(super) fn relative(dir: &str, path: &str) -> String {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect()
    };
    let (from, to) = (parts(dir), parts(path));
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - same);
    up.chain(to.into_iter().skip(same)).collect::<Vec<_>>().join("/")
}

/// Whether a path lies in a folder.
pub(super) fn is_below(dir: &str, path: &str) -> bool {
    match dir {
        "." => !path.starts_with("..") && !path.starts_with('/'),
        "/" => true,
        dir => path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (dir, path, expected) in [
            ("", "a/b", "a/b"),
            ("", ".", "."),
            ("", "/a/./b/", "/a/b"),
            ("a/b", "../c", "a/c"),
            ("a", "../../c", "../c"),
            ("..", "../c", "../../c"),
            ("/a", "../../c", "/c"),
            (".", "x.yaml", "x.yaml"),
        ] {
            assert_eq!(normalize(dir, path), expected, "{dir} {path}");
        }
        assert_eq!(relative("/a/b", "/a/c/x.yaml"), "../c/x.yaml");
        assert_eq!(relative(".", "x.yaml"), "x.yaml");
        assert!(is_below(".", "x") && !is_below(".", "../x") && is_below("a", "a/x"));
        assert!(!is_below("a", "ab/x"));
    }
}

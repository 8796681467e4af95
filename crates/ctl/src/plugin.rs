//! Programs beside this one that are verbs too: `onggi-NAME` and `kubectl-NAME` on the `PATH`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PREFIXES: [&str; 2] = ["onggi-", "kubectl-"];

/// The program for the words of a command line, and how many of them name it. The most words win:
/// `onggi a b` is `onggi-a-b` before it is `onggi-a b`.
pub fn find(words: &[String], path: &std::ffi::OsStr) -> Option<(PathBuf, usize)> {
    let names: Vec<String> = words
        .iter()
        .take_while(|word| !word.starts_with('-'))
        .map(|word| word.replace('-', "_"))
        .collect();
    (1..=names.len()).rev().find_map(|count| {
        let name = names.get(..count)?.join("-");
        // A path is no name.
        let is_name = !name.contains('/');
        let found = PREFIXES.iter().find_map(|prefix| {
            let file = format!("{prefix}{name}");
            // A folder that depends on where one stands is not trusted, as for Go.
            std::env::split_paths(path)
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join(&file))
                .find(|file| is_program(file))
        });
        found.filter(|_| is_name).map(|file| (file, count))
    })
}

/// All of them, in the order of the `PATH`.
pub fn all(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in std::env::split_paths(path) {
        // A folder that is not there holds none.
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect();
        names.sort();
        found.extend(names.iter().map(|name| dir.join(name)).filter(|file| is_program(file)));
    }
    found
}

fn is_program(file: &Path) -> bool {
    let runs =
        |found: std::fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    std::fs::metadata(file).is_ok_and(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_wins() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("kubectl-a", 0o755), ("onggi-a-b_c", 0o755), ("kubectl-d", 0o644)] {
            std::fs::write(dir.path().join(name), "").unwrap();
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join(name), mode).unwrap();
        }
        let path = dir.path().as_os_str();
        let named = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let (file, count) = find(&words, path)?;
            Some((file.file_name()?.to_str()?.to_owned(), count))
        };
        assert_eq!(named("a b-c d"), Some(("onggi-a-b_c".to_owned(), 2)));
        assert_eq!(named("a --x b-c"), Some(("kubectl-a".to_owned(), 1)));
        assert_eq!(named("d"), None);
        assert_eq!(find(&["a".to_owned()], ".".as_ref()), None);
        assert_eq!(all(path).len(), 2);
    }
}

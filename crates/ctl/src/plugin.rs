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

/// A program that is named as a verb, and what keeps it from being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The file.
    pub path: PathBuf,
    /// kubectl's words for it; empty: nothing.
    pub warning: String,
}

/// All of them, in the order of the `PATH`. `is_verb`: whether the program has such a verb itself.
pub fn all(path: &std::ffi::OsStr, is_verb: impl Fn(&str) -> bool) -> Vec<Plugin> {
    let mut found: Vec<Plugin> = Vec::new();
    // As they are looked for.
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        // A folder that is not there holds none.
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            let Some(own) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) else {
                continue;
            };
            let file = dir.join(&name);
            let shown = file.display();
            let before = found
                .iter()
                .find(|plugin| plugin.path.file_name().is_some_and(|other| *other == *name));
            let verb = own.split('-').next().unwrap_or(own);
            let warning = if !is_program(&file) {
                format!("{shown} identified as a kubectl plugin, but it is not executable")
            } else if let Some(before) = before {
                let before = before.path.display();
                format!("{shown} is overshadowed by a similarly named plugin: {before}")
            } else if is_verb(verb) && !own.starts_with("create-") {
                format!("{name} overwrites existing command: \"onggi {verb}\"")
            } else {
                String::new()
            };
            found.push(Plugin { path: file, warning });
        }
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
        let twice = std::env::join_paths([dir.path(), dir.path(), "rel".as_ref()]).unwrap();
        let warnings: Vec<String> =
            all(&twice, |verb| verb == "a").into_iter().map(|plugin| plugin.warning).collect();
        assert!(warnings[0].contains("overwrites existing command"), "{warnings:?}");
        assert!(warnings[1].contains("not executable"), "{warnings:?}");
        assert!(warnings[3].contains("overshadowed"), "{warnings:?}");
        assert_eq!(warnings.len(), 6);
    }
}

//! Patterns of file names, as Go's `filepath.Glob` has them: `*`, `?`, `[a-z]`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A path as it is where there is one, else all paths that it is a pattern of.
pub(crate) fn expand(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(pattern);
    if path.exists() || !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = vec![PathBuf::from(root)];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let wanted: Vec<char> = part.chars().collect();
        let inside = |folder: &PathBuf| -> Vec<PathBuf> {
            if !part.contains(['*', '?', '[']) {
                return vec![folder.join(part)];
            }
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // A folder that cannot be read holds nothing that fits.
            let entries = fs::read_dir(place).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut names: Vec<String> =
                names.filter(|name| fits(&wanted, &name.chars().collect::<Vec<_>>())).collect();
            names.sort();
            names.iter().map(|name| folder.join(name)).collect()
        };
        found = found.iter().flat_map(inside).filter(|path| path.exists()).collect();
    }
    if found.is_empty() {
        return Err(Error::new(format!("the path {pattern:?} does not exist")));
    }
    Ok(found)
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            fits(rest, name) || name.split_first().is_some_and(|(_, after)| fits(pattern, after))
        }
        (['?', rest @ ..], [_, after @ ..]) => fits(rest, after),
        (['[', rest @ ..], [letter, after @ ..]) => {
            let Some(end) = rest.iter().position(|c| *c == ']') else { return false };
            let (class, rest) = (rest.get(..end), rest.get(end + 1..));
            match (class, rest) {
                (Some(['^', class @ ..]), Some(rest)) => {
                    !in_class(class, *letter) && fits(rest, after)
                }
                (Some(class), Some(rest)) => in_class(class, *letter) && fits(rest, after),
                _ => false,
            }
        }
        ([wanted, rest @ ..], [letter, after @ ..]) => wanted == letter && fits(rest, after),
        _ => false,
    }
}

fn in_class(class: &[char], letter: char) -> bool {
    match class {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&letter) || in_class(rest, letter),
        [one, rest @ ..] => *one == letter || in_class(rest, letter),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("m*.yaml", "multi.yaml", true),
            ("m*.yaml", "m.yml", false),
            ("?.json", "a.json", true),
            ("?.json", "ab.json", false),
            ("[a-c]*", "bx", true),
            ("[^a-c]*", "bx", false),
            ("[a^]", "^", true),
            ("[a^]", "b", false),
            ("a[", "a[", false),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(fits(&chars(pattern), &chars(name)), expected, "{pattern} {name}");
        }
    }
}

//! What a build may copy from: its context, less what `.dockerignore` says.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::glob::matches_tree;
use crate::Result;
use crate::error::Context as _;
use crate::unpack::View;

/// A directory and its ignore rules.
#[derive(Debug, Clone)]
pub struct Context {
    root: PathBuf,
    ignore: Ignore,
}

impl Context {
    /// With the rules of `<dockerfile>.dockerignore`, or else of `.dockerignore`.
    pub fn open(root: &Path, dockerfile: &Path) -> Result<Self> {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        for path in [PathBuf::from(own), root.join(".dockerignore")] {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    return Ok(Self { root: root.to_owned(), ignore: Ignore::parse(&text) });
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).at(&path),
            }
        }
        Ok(Self::whole(root))
    }

    /// Everything in a directory.
    pub fn whole(root: &Path) -> Self {
        Self { root: root.to_owned(), ignore: Ignore::default() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn tree(&self) -> Tree {
        Tree {
            view: View::new(vec![self.root.clone()]),
            ignore: self.ignore.clone(),
            keep_owner: false,
        }
    }

    /// Every path that a build can see, parents before children, relative to the root.
    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        self.tree().walk(&[], usize::MAX, &mut |path, _| paths.push(path.iter().collect()))?;
        Ok(paths)
    }
}

/// Something to copy from: a context, or an image's root file system.
pub(super) struct Tree {
    pub(super) view: View,
    pub(super) ignore: Ignore,
    /// Owners in an image are kept; those in a context mean nothing.
    pub(super) keep_owner: bool,
}

impl Tree {
    /// Visits what lies below a directory, sorted, at most `depth` deep.
    pub(super) fn walk(
        &self,
        dir: &[OsString],
        depth: usize,
        visit: &mut dyn FnMut(&[OsString], &crate::unpack::Found),
    ) -> Result<()> {
        let shown = || dir.iter().collect::<PathBuf>().display().to_string();
        for name in self.view.read_dir(dir).context(shown)? {
            let path: Vec<OsString> = dir.iter().cloned().chain([name]).collect();
            let Some(found) = self.view.lookup(&path).context(shown)? else { continue };
            let ignored = self.ignore.ignores(&path);
            if !ignored {
                visit(&path, &found);
            }
            // A later "!" may bring back what lies in an ignored directory.
            if found.meta.is_dir() && depth > 1 && (!ignored || self.ignore.has_exceptions) {
                self.walk(&path, depth - 1, visit)?;
            }
        }
        Ok(())
    }
}

/// Rules of a `.dockerignore`; the last that matches decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignore {
    rules: Vec<(bool, String)>,
    has_exceptions: bool,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let mut ignore = Self::default();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (keep, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            let parts: Vec<&str> =
                pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            if !parts.is_empty() {
                ignore.has_exceptions |= keep;
                ignore.rules.push((keep, parts.join("/")));
            }
        }
        ignore
    }

    pub(super) fn ignores(&self, path: &[OsString]) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let path: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let path = path.join("/");
        let last = self.rules.iter().rev().find(|(_, pattern)| matches_tree(pattern, &path));
        last.is_some_and(|(keep, _)| !keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores() {
        let ignore = Ignore::parse("# x\nnode_modules\n*.md\n!README.md\n/target/\n**/*.log\n");
        for (path, expect) in [
            ("node_modules/a/b", true),
            ("sub/node_modules", false),
            ("a.md", true),
            ("README.md", false),
            ("target/x", true),
            ("a/b/c.log", true),
            ("src/main.rs", false),
        ] {
            let parts: Vec<OsString> = path.split('/').map(Into::into).collect();
            assert_eq!(ignore.ignores(&parts), expect, "{path}");
        }
    }
}

//! Path patterns of `COPY` and `.dockerignore`: Go's `filepath.Match` with `**`.

/// Whether a pattern matches a whole path, both with `/`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    by_parts(&pattern, &path)
}

/// Whether it matches the path or a directory on the way to it.
pub(crate) fn matches_tree(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    (1..=path.len()).any(|n| path.get(..n).is_some_and(|head| by_parts(&pattern, head)))
}

/// Whether a text has anything that is not taken as it stands.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Where it does not go on, the last `**` stands for one part more: the earlier ones cannot help
/// then, so the time is bounded by the product of both lengths.
fn by_parts(pattern: &[&str], path: &[&str]) -> bool {
    let (mut rest, mut left) = (pattern, path);
    let mut retry: Option<(&[&str], &[&str])> = None;
    loop {
        let next = match (rest, left) {
            ([], []) => return true,
            // At the end it needs something to stand for.
            (["**"], left) => return !left.is_empty(),
            (["**", after @ ..], left) => {
                retry = Some((after, left));
                rest = after;
                continue;
            }
            ([part, after @ ..], [name, tail @ ..]) if by_chars(part, name) => Some((after, tail)),
            _ => None,
        };
        match (next, retry) {
            (Some((after, tail)), _) => (rest, left) = (after, tail),
            (None, Some((after, [_, tail @ ..]))) => {
                retry = Some((after, tail));
                (rest, left) = (after, tail);
            }
            (None, _) => return false,
        }
    }
}

/// Likewise, with `*`.
fn by_chars(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut rest, mut left) = (&*pattern, &*name);
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        let next = match rest {
            [] if left.is_empty() => return true,
            ['*', after @ ..] => {
                retry = Some((after, left));
                rest = after;
                continue;
            }
            rest => one_char(rest, left),
        };
        match (next, retry) {
            (Some((after, tail)), _) => (rest, left) = (after, tail),
            (None, Some((after, [_, tail @ ..]))) => {
                retry = Some((after, tail));
                (rest, left) = (after, tail);
            }
            (None, _) => return false,
        }
    }
}

/// What is left of both, when the pattern's beginning matches the first character.
fn one_char<'p, 'n>(pattern: &'p [char], name: &'n [char]) -> Option<(&'p [char], &'n [char])> {
    let (c, tail) = name.split_first()?;
    let rest = match pattern {
        ['?', rest @ ..] => rest,
        ['[', rest @ ..] => {
            let (set, after) = class(rest)?;
            set.contains(*c).then_some(after)?
        }
        ['\\', own, rest @ ..] | [own, rest @ ..] => (own == c).then_some(rest)?,
        [] => return None,
    };
    Some((rest, tail))
}

struct Class {
    not: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != self.not
    }
}

/// What is behind `[`; none when the bracket does not close.
fn class(pattern: &[char]) -> Option<(Class, &[char])> {
    let (not, mut rest) = match pattern {
        ['^' | '!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut ranges = Vec::new();
    loop {
        match rest {
            [']', after @ ..] if !ranges.is_empty() => return Some((Class { not, ranges }, after)),
            [a, '-', b, after @ ..] if *b != ']' => {
                ranges.push((*a, *b));
                rest = after;
            }
            ['\\', a, after @ ..] | [a, after @ ..] => {
                ranges.push((*a, *a));
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (pattern, path, expect) in [
            ("a/b", "a/b", true),
            ("*.json", "package.json", true),
            ("*.json", "a/package.json", false),
            ("package*.json", "package-lock.json", true),
            ("**/*.rs", "a/b/c.rs", true),
            ("**/*.rs", "c.rs", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a?c", "abc", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[", "[", false),
        ] {
            assert_eq!(matches(pattern, path), expect, "{pattern} {path}");
        }
        assert!(matches_tree("target", "target/debug/x"));
        assert!(!matches_tree("target", "a/target"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let (stars, name) = ("*a".repeat(2000) + "b", "a".repeat(2000));
        assert!(!matches(&stars, &name));
        let (parts, path) = ("**/a/".repeat(500) + "b", "a/".repeat(500) + "c");
        assert!(!matches(&parts, &path));
        assert!(matches("**/a/**/b*[c-d]?", "x/a/a/y/bbbdz"));
    }
}

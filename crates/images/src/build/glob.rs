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

fn by_parts(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => {
            // At the end it needs something to stand for.
            if rest.is_empty() {
                return !path.is_empty();
            }
            (0..=path.len()).any(|n| path.get(n..).is_some_and(|tail| by_parts(rest, tail)))
        }
        Some((part, rest)) => path.split_first().is_some_and(|(name, tail)| {
            let (part, name): (Vec<char>, Vec<char>) =
                (part.chars().collect(), name.chars().collect());
            by_chars(&part, &name) && by_parts(rest, tail)
        }),
    }
}

fn by_chars(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|n| by_chars(rest, &name[n..])),
        ['?', rest @ ..] => !name.is_empty() && by_chars(rest, &name[1..]),
        ['[', rest @ ..] => match (class(rest), name) {
            (Some((set, after)), [c, tail @ ..]) => set.contains(*c) && by_chars(after, tail),
            _ => false,
        },
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            name.first() == Some(c) && by_chars(rest, &name[1..])
        }
    }
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
}

//! Replacements within a text that is JSON or YAML itself, as in the values of a ConfigMap.

use onggi_machinery::yaml;
use serde_json::Value;

use crate::output::json;
use crate::output::yaml::reads_as_text;

/// The longest beginning of a path that leads to a text, and the rest, which leads on within it.
pub(super) fn divided<'o, 'p>(
    object: &'o mut Value,
    path: &'p [String],
) -> Option<(&'o mut String, &'p [String])> {
    let (first, rest) = path.split_first()?;
    let next = match object {
        Value::Object(map) => map.get_mut(first.as_str())?,
        Value::Array(items) => items.get_mut(first.parse::<usize>().ok()?)?,
        _ => return None,
    };
    if !next.is_string() {
        return divided(next, rest);
    }
    let Value::String(text) = next else { return None };
    (!rest.is_empty() && !text.trim().is_empty()).then_some((text, rest))
}

/// JSON with a field set by `set`, as it was formatted before: on one line, or indented. `None`
/// where it is none, or has no such field.
pub(super) fn in_json(
    text: &str,
    set: impl FnOnce(&mut Value) -> Result<usize, String>,
) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut value = yaml::parse(text).ok()?;
    if set(&mut value).ok()? == 0 {
        return None;
    }
    if text.contains('\n') && text.contains("  ") {
        return Some(json::indented(&value, "  ").trim_end().to_owned());
    }
    Some(json::compact(&value))
}

/// YAML in blocks with one scalar set; the rest stays as it is written, with its remarks. `None`
/// where there is no such scalar; an error where it cannot be set without touching other values.
pub(super) fn in_yaml(text: &str, path: &[String], new: &str) -> Result<Option<String>, String> {
    let Ok(mut wanted) = yaml::parse(text) else {
        let is_stream = yaml::documents(text).is_ok_and(|documents| documents.len() > 1);
        let fault = "several YAML documents in one text: give each a text of its own";
        return if is_stream { Err(fault.to_owned()) } else { Ok(None) };
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let all = 0..lines.len();
    let place = find(&mut lines, all, path);
    let Some((place, scalar)) = place.and_then(|place| {
        let scalar = Scalar::of(lines.get(place.line)?.get(place.column..)?)?;
        Some((place, scalar))
    }) else {
        return Ok(None);
    };
    let unset = || format!("cannot set {} to {new:?} within the YAML text", path.join("."));
    let meant = scalar.meant(new);
    *at_path(&mut wanted, path).ok_or_else(unset)? = meant.clone();
    // What aliases repeat changes with it.
    let repeats = text.contains(": *") || text.contains("- *");
    let is_meant = |changed: &str| {
        yaml::parse(changed).is_ok_and(|mut read| {
            read == wanted || (repeats && at_path(&mut read, path) == Some(&mut meant.clone()))
        })
    };
    let before = &lines[place.line][..place.column];
    // The scalar may go on on lines of its own.
    for next in [place.line + 1, place.end] {
        for written in scalar.written(new) {
            let line = format!("{before}{written}{}", scalar.remark);
            let mut changed = lines[..place.line].to_vec();
            changed.push(line);
            changed.extend_from_slice(&lines[next..]);
            let whole = changed.join("\n");
            let trimmed = whole.trim_end().trim_start_matches('\n');
            if is_meant(trimmed) {
                return Ok(Some(trimmed.to_owned()));
            }
            // The last text in it may end with a line.
            let whole = whole + "\n";
            if is_meant(&whole) {
                return Ok(Some(whole));
            }
        }
    }
    Err(unset())
}

fn at_path<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |here, part| match here {
        Value::Object(map) => map.get_mut(part.as_str()),
        Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_content(line: &str) -> bool {
    let line = line.trim_matches([' ', '\t']);
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

fn is_item(line: &str) -> bool {
    // As `indent` counts.
    let line = line.trim_start_matches(' ');
    line == "-" || line.starts_with("- ")
}

/// Where a scalar stands.
struct Found {
    line: usize,
    column: usize,
    /// The line of what follows it.
    end: usize,
}

/// The scalar that a path leads to, within lines.
fn find(lines: &mut [String], range: std::ops::Range<usize>, path: &[String]) -> Option<Found> {
    let (first, rest) = path.split_first()?;
    let start = range.clone().find(|at| is_content(&lines[*at]))?;
    let level = indent(&lines[start]);
    let here: Vec<usize> = range
        .clone()
        .filter(|at| is_content(&lines[*at]) && indent(&lines[*at]) == level)
        .collect();
    let end_of = |at: usize, inner: &[usize]| {
        inner.iter().copied().find(|next| *next > at).unwrap_or(range.end)
    };
    if is_item(&lines[start]) {
        let items: Vec<usize> = here.iter().copied().filter(|at| is_item(&lines[*at])).collect();
        let at = *items.get(first.parse::<usize>().ok()?)?;
        let end = end_of(at, &items);
        if rest.is_empty() {
            let gap = indent(lines[at].get(level + 1..)?);
            return Some(Found { line: at, column: level + 1 + gap, end });
        }
        // Without its mark the item is a block like any other.
        lines[at].replace_range(level..=level, " ");
        let found = find(lines, at..end, rest);
        lines[at].replace_range(level..=level, "-");
        return found;
    }
    let keys: Vec<usize> = here.into_iter().filter(|at| !is_item(&lines[*at])).collect();
    let (at, begin) = keys.iter().find_map(|at| {
        let line = &lines[*at][level..];
        let quoted = [first.clone(), format!("\"{first}\""), format!("'{first}'")];
        let key = quoted.iter().find(|key| {
            line.strip_prefix(key.as_str())
                .is_some_and(|rest| rest == ":" || rest.starts_with(": "))
        })?;
        Some((*at, level + key.len() + 1))
    })?;
    let end = end_of(at, &keys);
    if rest.is_empty() {
        let gap = indent(&lines[at][begin..]);
        return Some(Found { line: at, column: begin + gap, end });
    }
    find(lines, at + 1..end, rest)
}

/// A scalar on its line.
struct Scalar<'l> {
    old: &'l str,
    /// The remark behind it, with the space before.
    remark: &'l str,
}

impl<'l> Scalar<'l> {
    /// `None`: it is empty, or no scalar that can be set.
    fn of(line: &'l str) -> Option<Self> {
        let (old, remark) = match line.chars().next()? {
            quote @ ('"' | '\'') => line.split_at(closed(line, quote).unwrap_or(line.len())),
            '|' | '>' | '{' | '[' | '&' | '*' | '!' | '#' => return None,
            _ => line.split_at(line.find(" #").unwrap_or(line.len())),
        };
        let remark = if remark.trim().is_empty() { "" } else { remark };
        Some(Self { old: old.trim_end(), remark })
    }

    fn is_text(&self) -> bool {
        self.old.starts_with(['"', '\'']) || reads_as_text(self.old)
    }

    /// What is to be read: a text stays one.
    fn meant(&self, new: &str) -> Value {
        let plain = || yaml::parse(new).ok();
        let plain = (!self.is_text() && !reads_as_text(new)).then(plain).flatten();
        plain.unwrap_or_else(|| new.into())
    }

    /// How the new one may be written: in the old one's form at best.
    fn written(&self, new: &str) -> Vec<String> {
        let single = format!("'{}'", new.replace('\'', "''"));
        // A text of JSON is one of YAML too.
        let double = Value::from(new).to_string();
        let is_line = !new.contains('\n');
        let mut forms = match self.old.chars().next() {
            Some('"') => vec![],
            Some('\'') if is_line => vec![single],
            _ if self.is_text() && !reads_as_text(new) => vec![],
            _ if is_line => vec![new.to_owned(), single],
            _ => vec![],
        };
        forms.push(double);
        forms
    }
}

/// Behind the end of a text in quotes.
fn closed(line: &str, quote: char) -> Option<usize> {
    let mut chars = line.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            // Two of them within such a text are one.
            if quote == '"' || chars.next_if(|(_, next)| *next == quote).is_none() {
                return Some(at + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn yaml_keeps_its_form() {
        let text = "# top\na:\n  b: old # why\n  'c': \"x\"\nlist:\n- p\n- q: old\n  n: 5\n";
        for (at, new, expected) in [
            ("a.b", "new", text.replace("b: old", "b: new")),
            ("a.b", "5", text.replace("b: old", "b: \"5\"")),
            ("a.c", "y", text.replace("\"x\"", "\"y\"")),
            ("list.1.q", "new", text.replace("q: old", "q: new")),
            ("list.1.n", "6", text.replace("n: 5", "n: 6")),
            ("list.0", "r", text.replace("- p", "- r")),
        ] {
            let changed = in_yaml(text, &path(at), new).unwrap();
            assert_eq!(changed.unwrap(), expected.trim(), "{at}");
        }
        for at in ["a.z", "list.7.q", "a.b.c", "a"] {
            assert_eq!(in_yaml(text, &path(at), "new"), Ok(None), "{at}");
        }
    }

    /// What kubectl 1.36 wrote, but for the depth of lines.
    #[test]
    fn what_is_written_is_what_is_meant() {
        let plain = "a:\n  b: old\n  c: d";
        let remarked = "a:\n  b: \"o\\\"#\" # why\n  c: d";
        for (text, new, line) in [
            (plain, "x #y", "b: 'x #y'"),
            (plain, "[a]", "b: '[a]'"),
            (plain, " lead ", "b: ' lead '"),
            (plain, "@x", "b: '@x'"),
            (plain, "*x", "b: '*x'"),
            (plain, "k: v", "b: 'k: v'"),
            (plain, "it's #1", "b: 'it''s #1'"),
            (plain, "", "b: \"\""),
            (plain, "l1\nl2", "b: \"l1\\nl2\""),
            (remarked, " lead ", "b: \" lead \" # why"),
            ("a:\n  b: 'it''s' # why\n  c: d", "x", "b: 'x' # why"),
            ("a:\n  b: old\n   more\n\n   and\n  c: d", "new", "b: new"),
            ("a:\n  b: \"old\n    more\"\n  c: d", "new", "b: \"new\""),
        ] {
            let changed = in_yaml(text, &path("a.b"), new).unwrap().unwrap();
            assert_eq!(changed, format!("a:\n  {line}\n  c: d"), "{text} {new:?}");
        }
        // What stands last keeps the end of its line.
        let last = "a:\n  b: old\n  c: |\n    d\n";
        let changed = in_yaml(last, &path("a.b"), "new").unwrap().unwrap();
        assert_eq!(
            yaml::parse(&changed).unwrap(),
            yaml::parse(&last.replace("old", "new")).unwrap()
        );
        assert!(in_yaml("a:\n  b: old\n---\nc: d\n", &path("a.b"), "new").is_err());
        let shared = "a: &x\n  b: old\nc:\n  <<: *x\n  d: e";
        let changed = in_yaml(shared, &path("a.b"), "new").unwrap();
        assert_eq!(changed.unwrap(), shared.replace("old", "new"));
    }

    /// Space that is no indent begins a text.
    #[test]
    fn other_spaces() {
        for text in ["a:\n\u{3000}- x\n", "\u{3000}- x: y\n", "a:\n  \u{a0}- x\n  - y\n"] {
            for at in ["a.0", "0.x", "0", "a.0.x"] {
                let changed = in_yaml(text, &path(at), "new");
                assert!(matches!(changed, Ok(None) | Err(_)), "{text:?} {at}: {changed:?}");
            }
        }
    }

    #[test]
    fn json_keeps_its_form() {
        let set = |value: &mut Value| {
            value["a"] = "<new>".into();
            Ok(1)
        };
        assert_eq!(
            in_json(r#"{"b":1, "a":"x"}"#, set).unwrap(),
            r#"{"a":"\u003cnew\u003e","b":1}"#
        );
        let pretty = in_json("{\n  \"a\": 1\n}\n", set).unwrap();
        assert_eq!(pretty, "{\n  \"a\": \"\\u003cnew\\u003e\"\n}");
        assert_eq!(in_json("a: b", set), None);
    }
}

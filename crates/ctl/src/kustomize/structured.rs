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
/// where there is no such scalar.
pub(super) fn in_yaml(text: &str, path: &[String], new: &str) -> Option<String> {
    yaml::parse(text).ok()?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let all = 0..lines.len();
    put(&mut lines, all, path, new)?;
    let changed = lines.join("\n").trim().to_owned();
    // What was written is what is read.
    yaml::parse(&changed).ok().map(|_| changed)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

fn is_item(line: &str) -> bool {
    line.trim_start() == "-" || line.trim_start().starts_with("- ")
}

fn put(
    lines: &mut [String],
    range: std::ops::Range<usize>,
    path: &[String],
    new: &str,
) -> Option<()> {
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
        if rest.is_empty() {
            let begin = level + 2;
            lines[at] = with_scalar(&lines[at], begin, new)?;
            return Some(());
        }
        // Without its mark the item is a block like any other.
        lines[at].replace_range(level..=level, " ");
        let done = put(lines, at..end_of(at, &items), rest, new);
        lines[at].replace_range(level..=level, "-");
        return done;
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
    if rest.is_empty() {
        let gap = indent(&lines[at][begin..]);
        lines[at] = with_scalar(&lines[at], begin + gap, new)?;
        return Some(());
    }
    put(lines, at + 1..end_of(at, &keys), rest, new)
}

/// A line with another scalar from a place on, in the same quotes, before the same remark.
fn with_scalar(line: &str, begin: usize, new: &str) -> Option<String> {
    let (before, scalar) = (line.get(..begin)?, line.get(begin..)?);
    let (old, remark) = match scalar.find(" #") {
        Some(at) if !scalar.starts_with(['"', '\'']) => scalar.split_at(at),
        _ => (scalar.trim_end(), ""),
    };
    if old.is_empty() || old.starts_with(['|', '>', '{', '[', '&', '*', '!']) || new.contains('\n')
    {
        return None;
    }
    let doubled = || format!("\"{}\"", new.replace('\\', "\\\\").replace('"', "\\\""));
    let written = if old.starts_with('"') {
        doubled()
    } else if old.starts_with('\'') {
        format!("'{}'", new.replace('\'', "''"))
    } else if reads_as_text(old) && !reads_as_text(new) {
        // It was a text, and stays one.
        doubled()
    } else {
        new.to_owned()
    };
    Some(format!("{before}{written}{remark}"))
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
            assert_eq!(in_yaml(text, &path(at), new).unwrap(), expected.trim(), "{at}");
        }
        for at in ["a.z", "list.7.q", "a.b.c", "a"] {
            assert_eq!(in_yaml(text, &path(at), "new"), None, "{at}");
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

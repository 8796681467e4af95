//! The one place that reads and writes YAML, with options fixed as `kubectl` reads it: YAML 1.1
//! scalars, octal numbers with a leading 0, no key twice, merge keys applied, bounded in depth and
//! size. Errors name line and column and say what to do.

use serde_json::{Number, Value};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options};

/// Levels of nesting. The parser is recursive with large frames: more would not fit into the two
/// megabytes of a thread; the deepest schemas of custom resources have about 40.
const MAX_DEPTH: usize = 64;

/// One document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The line of the stream that it begins in, from 1.
    pub line: usize,
    /// What it holds.
    pub value: Value,
}

/// A text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Reads a text of one document; an empty one is null.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    read(text, options())
}

/// A key that stands twice in its mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twice {
    /// The line of the second one, from 1.
    pub line: usize,
    /// The key.
    pub key: String,
}

/// As [`parse`], but of keys that stand twice the last counts; the first such key is told.
pub fn parse_lenient(text: &str) -> Result<(Value, Option<Twice>), YamlError> {
    let strict = serde_saphyr::from_str_with_options::<Value>(text, options());
    let Err(Error::DuplicateMappingKey { key, location }) =
        strict.as_ref().map_err(Error::without_snippet)
    else {
        return parse(text).map(|value| (value, None));
    };
    let key = key.clone().unwrap_or_default();
    let twice = Twice { line: location.line().max(1) as usize, key };
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    Ok((read(text, options)?, Some(twice)))
}

/// Reads a stream of documents divided by `---`; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    documents_with(text, parse)
}

/// As [`documents`], as Kustomize reads them: `yes`, `on` and `n` are texts, not booleans.
pub fn documents_of_kustomize(text: &str) -> Result<Vec<Document>, YamlError> {
    documents_with(text, |text| {
        let mut options = options();
        options.strict_booleans = true;
        read(text, options)
    })
}

fn read(text: &str, options: Options) -> Result<Value, YamlError> {
    let mut value: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|e| explain(text, &e))?;
    whole_numbers(&mut value);
    Ok(value)
}

fn documents_with(
    text: &str,
    parse: impl Fn(&str) -> Result<Value, YamlError>,
) -> Result<Vec<Document>, YamlError> {
    let mut found = Vec::new();
    for (line, part) in parts(text) {
        let shift = |e: YamlError| YamlError { line: e.line + line - 1, ..e };
        let value = parse(part).map_err(shift)?;
        if !value.is_null() {
            found.push(Document { line, value });
        }
    }
    Ok(found)
}

/// Writes YAML that `kubectl` reads back as the same value.
pub fn to_string(value: &Value) -> String {
    // A JSON value has text keys and finite numbers: nothing in it can be refused.
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
    }
}

/// `1.0` is the number 1 for kubectl, which passes through a JSON that knows no other.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
            if let (false, Some(whole)) = (number.is_i64() || number.is_u64(), whole) {
                *number = Number::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Documents with the number of their first line. A line that begins with `---` always divides:
/// inside a text block it would have to be indented.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let divides = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']));
        if divides && at > start {
            parts.push((start_line, &text[start..at]));
            (start, start_line) = (at, number + 1);
        }
        at += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

fn explain(text: &str, error: &Error) -> YamlError {
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line().max(1) as usize, at.column().max(1) as usize));
    // Parsers stumble behind the fault, so the lines up to there are looked at.
    for (number, found) in text.lines().enumerate().take(line) {
        let indented = found.len() - found.trim_start().len();
        if found.trim_start().starts_with("//") {
            let problem = "`//` does not begin a YAML comment, use `#`".to_owned();
            return YamlError { line: number + 1, column: indented + 1, problem };
        }
        if let Some(tab) = found[..indented].find('\t') {
            let problem = "a tab cannot indent YAML, use spaces".to_owned();
            return YamlError { line: number + 1, column: tab + 1, problem };
        }
    }
    YamlError { line, column, problem: words(error) }
}

/// The parser's words on one line, without the excerpt of the text and without the place.
fn words(error: &Error) -> String {
    if let Error::NonFiniteFloat { .. } = error.without_snippet() {
        return "a number that is too large or endless; quote it if it is meant as text".to_owned();
    }
    // The parser's words advise who calls it.
    if let Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet() {
        return format!("the key {key:?} stands twice in this mapping");
    }
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let bare = first.split(" at line ").next().unwrap_or(first);
    bare.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_as_kubectl_reads_them() {
        let cases = [
            ("a: yes", json!({"a": true})),
            ("a: off", json!({"a": false})),
            ("a: \"yes\"", json!({"a": "yes"})),
            ("a: 0777", json!({"a": 511})),
            ("a: 0o17", json!({"a": 15})),
            ("a: 0x1f", json!({"a": 31})),
            ("a: 1_000", json!({"a": 1000})),
            ("a: 1.0", json!({"a": 1})),
            ("a: 1.5", json!({"a": 1.5})),
            ("a: ~", json!({"a": null})),
            ("a:", json!({"a": null})),
            ("1: x\ntrue: z", json!({"1": "x", "true": "z"})),
            ("a: 2024-01-01", json!({"a": "2024-01-01"})),
            ("a: 1.2.3", json!({"a": "1.2.3"})),
            ("a: 100m", json!({"a": "100m"})),
            ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2", json!({"a": {"b": 1}, "c": {"b": 1, "d": 2}})),
            ("a: |\n  b\n  ---\n  c\n", json!({"a": "b\n---\nc\n"})),
            ("", Value::Null),
            ("# only a comment", Value::Null),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    /// What kubectl 1.32 made of the same text.
    #[test]
    fn scalars_compared_with_kubectl() {
        let text = "{a: n, b: N, c: \"q\", d: off, e: 0777, f: 1_000, g: 0o17, h: 1.0, i: 1e3, \
                    j: 0b11, k: 012.5, l: 2024-01-01, m: 1:30, o: .5, p: 0x1F, q: =, r: ~, s: \"\", \
                    u: 08, v: +1, w: 123456789012345678901234567890}";
        let kubectl = json!({
            "a": false, "b": false, "c": "q", "d": false, "e": 511, "f": 1000, "g": 15, "h": 1,
            "i": 1000, "j": 3, "k": 12.5, "l": "2024-01-01", "m": "1:30", "o": 0.5, "p": 31,
            "q": "=", "r": null, "s": "", "u": 8, "v": 1,
            "w": 1.234_567_890_123_456_8e29
        });
        let read = parse(text).unwrap();
        for (key, expected) in kubectl.as_object().unwrap() {
            assert_eq!(&read[key], expected, "{key}");
        }
    }

    #[test]
    fn a_key_that_stands_twice() {
        let (value, twice) = parse_lenient("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap();
        assert_eq!(value, json!({"a": 1, "b": {"c": 2}}));
        assert_eq!(twice, Some(Twice { line: 4, key: "c".into() }));
        assert_eq!(parse_lenient("a: 1").unwrap(), (json!({"a": 1}), None));
        assert!(parse("a: 1\na: 2").is_err());
    }

    #[test]
    fn kustomize_knows_fewer_booleans() {
        let found = documents_of_kustomize("[y, n, yes, on, off, true, False, 0777, ~]").unwrap();
        let expected = json!(["y", "n", "yes", "on", "off", true, false, 511, null]);
        assert_eq!(found[0].value, expected);
    }

    #[test]
    fn documents_and_their_lines() {
        let text = "# head\n---\na: 1\n---\n---\n# nothing\n--- # b\nb: |\n  x\n---\n";
        let found = documents(text).unwrap();
        let brief: Vec<_> = found.iter().map(|d| (d.line, d.value.to_string())).collect();
        assert_eq!(brief, [(2, r#"{"a":1}"#.to_owned()), (7, "{\"b\":\"x\\n\"}".to_owned())]);
        let error = documents("a: 1\n---\nb: 1\nb: 2\n").unwrap_err();
        assert_eq!(error.line, 4);
        assert!(documents("").unwrap().is_empty());
    }

    #[test]
    fn errors_help() {
        let slashes = "//deployment.yaml  name\napiVersion: apps/v1\nkind: Deployment\n";
        assert_eq!(
            parse(slashes).unwrap_err().to_string(),
            "line 1, column 1: `//` does not begin a YAML comment, use `#`"
        );
        assert_eq!(
            parse("a:\n\tb: 1\n").unwrap_err().to_string(),
            "line 2, column 1: a tab cannot indent YAML, use spaces"
        );
        let twice = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!((twice.line, twice.column), (2, 1));
        assert_eq!(twice.problem, "the key \"a\" stands twice in this mapping");
        let open = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(open.line >= 1 && !open.problem.contains('\n'), "{open}");
        let sha = parse("labels:\n  commit: 12e4567\n").unwrap_err().to_string();
        assert!(sha.starts_with("line 2, column 11: ") && sha.contains("quote it"), "{sha}");
    }

    #[test]
    fn hostile_texts_are_refused() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = level - 1;
            let items = vec![format!("*a{below}"); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(50_000)).is_err());
        assert!(parse(&"- ".repeat(50_000)).is_err());
        assert!(parse(&"{a: ".repeat(5_000)).is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({
            "a": "yes", "b": "0777", "c": "1e3", "d": "null", "e": "", "f": "a\nb\n", "g": "~",
            "h": [1, 1.5, true, null, {"x": []}], "i": {}, "j": "1_000", "k": " lead", "l": "a: b",
            "m": "#x", "n": "2024-01-01", "o": "한글", "p": "- x", "q": "y", "r": "tab\tx",
        });
        assert_eq!(parse(&to_string(&value)), Ok(value));
    }
}

//! YAML as `kubectl` writes it (the emitter of go-yaml 2): lists not indented below their key,
//! texts plain where they can be, lines broken behind column 80. The reader stands in `machinery`.

use std::cmp::Ordering;

use jiff::civil::DateTime;
use serde_json::{Map, Value};

/// Where a line is broken at the next space.
const BEST_WIDTH: usize = 80;

/// A value as a YAML document.
pub fn to_string(value: &Value) -> String {
    let mut out = Emitter { text: String::new(), column: 0 };
    match value {
        Value::Object(map) if !map.is_empty() => out.map(map, 0, false),
        Value::Array(items) if !items.is_empty() => out.list(items, 0),
        value => {
            out.scalar(value, 0);
            out.line();
        }
    }
    out.text
}

struct Emitter {
    text: String,
    column: usize,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.column = 0;
    }

    fn indent(&mut self, indent: usize) {
        if self.column > 0 {
            self.line();
        }
        self.put(&" ".repeat(indent));
    }

    /// `inline`: the first key stands behind `- `.
    fn map(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by(|(a, _), (b, _)| key_order(a, b));
        for (at, (key, value)) in entries.into_iter().enumerate() {
            if at > 0 || !inline {
                self.indent(indent);
            }
            let style = match style_of(key) {
                Style::Literal => Style::Double,
                style => style,
            };
            self.flow(key, style, None);
            self.put(":");
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.line();
                    self.map(map, indent + 2, false);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.line();
                    self.list(items, indent);
                }
                value => {
                    self.put(" ");
                    self.scalar(value, indent);
                    if self.column > 0 {
                        self.line();
                    }
                }
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for item in items {
            self.indent(indent);
            self.put("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.inline_list(inner, indent + 2),
                value => {
                    self.scalar(value, indent);
                    if self.column > 0 {
                        self.line();
                    }
                }
            }
        }
    }

    /// `- - a`: the first item stands on the line of the outer one.
    fn inline_list(&mut self, items: &[Value], indent: usize) {
        let mut inner = Self { text: String::new(), column: 0 };
        inner.list(items, indent);
        self.text.push_str(inner.text.trim_start_matches(' '));
        self.column = 0;
    }

    /// `indent` is that of the collection around it.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(is) => self.put(if *is { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.put(&float_text(float)),
                None => self.put(&number.to_string()),
            },
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
            Value::String(text) => match style_of(text) {
                Style::Literal => self.literal(text, indent + 2),
                style => self.flow(text, style, Some(indent + 2)),
            },
        }
    }

    /// Plain and quoted texts; `fold`: the indent of lines that go on, where they may be broken.
    fn flow(&mut self, text: &str, style: Style, fold: Option<usize>) {
        let quote = match style {
            Style::Plain | Style::Literal => "",
            Style::Single => "'",
            Style::Double => "\"",
        };
        self.put(quote);
        let chars: Vec<char> = text.chars().collect();
        let (mut after_space, mut after_break) = (false, false);
        for (at, &c) in chars.iter().enumerate() {
            if is_separator(c) && style == Style::Single {
                self.text.push(c);
                self.column = 0;
                after_break = true;
                continue;
            }
            // A line goes on with its indent. Keys, which have none, are written as they are.
            if std::mem::take(&mut after_break) {
                self.put(&" ".repeat(fold.unwrap_or_default()));
            }
            let next_is_space = chars.get(at + 1) == Some(&' ');
            if c == ' ' {
                let inside = at > 0 && at + 1 < chars.len();
                let may_break = !after_space && self.column > BEST_WIDTH && inside;
                match fold.filter(|_| may_break && (style == Style::Double || !next_is_space)) {
                    Some(indent) => {
                        self.indent(indent);
                        if next_is_space {
                            self.put("\\");
                        }
                    }
                    None => self.put(" "),
                }
                after_space = true;
                continue;
            }
            after_space = false;
            match style {
                Style::Single if c == '\'' => self.put("''"),
                Style::Double => self.put(&escaped(c)),
                _ => self.put(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.put(quote);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n', '\u{2028}', '\u{2029}']) {
            self.put("2");
        }
        let mut ends = text.chars().rev().map(|c| c == '\n' || is_separator(c));
        match (ends.next(), ends.next()) {
            (Some(true), Some(false)) => {}
            (Some(true), _) => self.put("+"),
            _ => self.put("-"),
        }
        self.line();
        let mut begins = true;
        for c in text.chars() {
            if c == '\n' {
                self.line();
                begins = true;
            } else if is_separator(c) {
                self.text.push(c);
                self.column = 0;
                begins = true;
            } else {
                if std::mem::take(&mut begins) {
                    self.put(&" ".repeat(indent));
                }
                self.put(c.encode_utf8(&mut [0; 4]));
            }
        }
        // Behind a separator no line is ended, as in go-yaml.
        if self.column > 0 {
            self.line();
        }
    }
}

/// A number with a fraction as Go writes it: with an exponent from a million on.
pub(crate) fn float_text(float: f64) -> String {
    let text = format!("{float:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    match exponent.parse::<i32>() {
        Ok(-4..=5) | Err(_) => float.to_string(),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

/// The line and paragraph separators, which end lines for YAML 1.1.
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// The order of go-yaml: numbers inside by size, letters behind everything else.
fn key_order(left: &str, right: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let digits =
        |text: &[char], from: usize| text[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    // Zeros behind a number belong to it.
    let led = (x == '0' || y == '0')
        && a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let (ends_a, ends_b) = (digits(&a, at), digits(&b, at));
    let number = |text: &[char], count: usize| {
        let first = u128::from(led);
        text[at..at + count.min(30)].iter().fold(first, |sum, c| {
            sum.saturating_mul(10).saturating_add(u128::from(c.to_digit(10).unwrap_or(0)))
        })
    };
    number(&a, ends_a).cmp(&number(&b, ends_b)).then(ends_a.cmp(&ends_b)).then(x.cmp(&y))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn style_of(text: &str) -> Style {
    let allowed = Allowed::of(text);
    if text.contains('\n') {
        return if allowed.block { Style::Literal } else { Style::Double };
    }
    if !reads_as_text(text) {
        return Style::Double;
    }
    if allowed.plain {
        Style::Plain
    } else if allowed.single {
        Style::Single
    } else {
        Style::Double
    }
}

/// The styles that a text can be written in.
struct Allowed {
    plain: bool,
    single: bool,
    block: bool,
}

impl Allowed {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let blank = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut breaks) = (false, false);
        let (mut space_break, mut break_space) = (false, false);
        for (at, &c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| chars[at]);
            indicators |= match c {
                '#' => at == 0 || blank(at - 1),
                ':' => blank(at + 1),
                '?' | '-' if at == 0 => blank(at + 1),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => at == 0,
                _ => false,
            };
            special |= !printable(c);
            let is_break = |c: char| c == '\n' || is_separator(c);
            breaks |= is_break(c);
            break_space |= c == ' ' && before.is_some_and(is_break);
            space_break |= is_break(c) && before == Some(' ');
        }
        let edge =
            |c: Option<&char>| c.is_some_and(|c| matches!(c, ' ' | '\n') || is_separator(*c));
        let trailing_space = chars.last() == Some(&' ');
        let outside = edge(chars.first()) || edge(chars.last());
        Self {
            plain: !(indicators || special || breaks || outside || chars.is_empty()),
            single: !(break_space || space_break || special),
            block: !(trailing_space || space_break || special),
        }
    }
}

/// Characters beyond the basic plane count as special for go-yaml.
fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\0' => "\\0".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\x1b' => "\\e".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        c if printable(c) => c.to_string(),
        c if u32::from(c) < 0x100 => format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) < 0x1_0000 => format!("\\u{:04X}", u32::from(c)),
        c => format!("\\U{:08X}", u32::from(c)),
    }
}

/// Whether a plain text is read back as a text, by YAML 1.1.
pub(crate) fn reads_as_text(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE",
        "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off",
        "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
        "-.Inf", "-.INF",
    ];
    !(WORDS.contains(&text) || is_number(text) || as_time(text).is_some() || is_sexagesimal(text))
}

fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let radix = |prefix: &str, radix: u32| {
        let rest = digits.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let prefixed = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)];
    prefixed.iter().any(|(prefix, base)| radix(prefix, *base)) || is_decimal(digits)
}

/// `12`, `1.`, `.5`, `1.5e-3`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

/// A date of YAML 1.1, with or without a time of day, as RFC 3339 writes it; `None` for what is
/// none.
pub(crate) fn as_time(text: &str) -> Option<String> {
    let day_end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (day, rest) = text.split_at(day_end);
    let numbers = |text: &str, divider: char| -> Option<[i16; 3]> {
        let mut parts = text.split(divider).map(|part| part.parse::<i16>().ok());
        let found = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(found)
    };
    let [year, month, date] = numbers(day, '-')?;
    let has_zone = rest.starts_with(['T', 't']);
    let clock = rest.get(1..).unwrap_or_default();
    let (clock, zone) = match clock.find(['Z', '+', '-']) {
        Some(at) if has_zone => clock.split_at(at),
        None if !has_zone => (clock, "Z"),
        _ => return None,
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = match whole {
        "" if rest.is_empty() => [0; 3],
        whole => numbers(whole, ':')?,
    };
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let small = |number: i16| i8::try_from(number).ok();
    let (month, date) = (small(month)?, small(date)?);
    DateTime::new(year, month, date, small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    let zone = if zone == "+00:00" || zone == "-00:00" { "Z" } else { zone };
    Some(format!(
        "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
    ))
}

/// `1:30`, a number of base 60 for YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && !rest.is_empty()
        && rest.iter().enumerate().all(|(at, part)| {
            let whole = if at + 1 == rest.len() { part.split('.').next() } else { Some(*part) };
            whole.is_some_and(|p| digits(p) && p.len() <= 2 && (p.len() < 2 || p < "60"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What kubectl 1.32 printed for the same values.
    #[test]
    fn texts_as_kubectl_writes_them() {
        for (text, written) in [
            ("a & b", "a & b"),
            ("@x", "'@x'"),
            ("{a}", "'{a}'"),
            ("2024-01-01", "\"2024-01-01\""),
            ("2024-13-01", "2024-13-01"),
            ("2024-01-01 10:00", "2024-01-01 10:00"),
            ("<<", "<<"),
            ("2024-01-01T00:00:00Z", "\"2024-01-01T00:00:00Z\""),
            ("- a", "'- a'"),
            ("say \"hi\"", "say \"hi\""),
            ("한글 \u{1}", "\"한글 \\x01\""),
            ("0777", "\"0777\""),
            ("1.0", "\"1.0\""),
            ("1:30", "\"1:30\""),
            ("null", "\"null\""),
            ("yes", "\"yes\""),
            ("y", "\"y\""),
            ("it's", "it's"),
            ("*", "'*'"),
            ("a: b", "'a: b'"),
            ("#no", "'#no'"),
            ("", "\"\""),
            ("  lead", "'  lead'"),
            ("<&>", "<&>"),
            ("1.2.3", "1.2.3"),
            ("100m", "100m"),
            ("a\tb", "\"a\\tb\""),
            ("a\u{2028}b", "'a\u{2028}  b'"),
            ("a\u{2028} b", "\"a\\L b\""),
            ("a\nb\u{2029}c", "|-\n  a\n  b\u{2029}  c"),
        ] {
            assert_eq!(to_string(&json!({ "k": text })), format!("k: {written}\n"));
        }
        for (number, written) in [
            (1.5, "1.5"),
            (123_456.5, "123456.5"),
            (-1_234_567.5, "-1.2345675e+06"),
            (0.000_15, "0.00015"),
            (0.000_000_15, "1.5e-07"),
            (1e20, "1e+20"),
        ] {
            assert_eq!(to_string(&json!({ "k": number })), format!("k: {written}\n"));
        }
        assert_eq!(to_string(&json!({"y": "multi\nline\n"})), "\"y\": |\n  multi\n  line\n");
        assert_eq!(to_string(&json!({"k": "multi\nline"})), "k: |-\n  multi\n  line\n");
        assert_eq!(to_string(&json!({"k": " a\nb"})), "k: |2-\n   a\n  b\n");
    }

    #[test]
    fn long_lines_are_broken() {
        let long = "aaaaaaaaaa bbbbbbbbbbbbb cccccccccccccccccccc ddddddddddddddd eeeeeeeeeeeeee \
                    ffffffffffffff gggggggggggg";
        let text = to_string(&json!({"data": {"a": long, "b": "<&>"}}));
        let expected = "data:\n  a: aaaaaaaaaa bbbbbbbbbbbbb cccccccccccccccccccc ddddddddddddddd \
                        eeeeeeeeeeeeee\n    ffffffffffffff gggggggggggg\n  b: <&>\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn collections() {
        let value = json!({
            "a": [{"b": 1, "c": [1, 2]}, [3, [4]], {}, "x"], "e": {}, "l": [], "n": null, "t": true
        });
        let text = to_string(&value);
        let expected = "a:\n- b: 1\n  c:\n  - 1\n  - 2\n- - 3\n  - - 4\n- {}\n- x\ne: {}\nl: []\n\
                        \"n\": null\nt: true\n";
        assert_eq!(text, expected);
        assert_eq!(onggi_machinery::yaml::parse(&text), Ok(value));
    }
}

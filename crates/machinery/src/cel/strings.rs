//! The functions of texts.

use std::fmt::Write;

use regex::Regex;

use super::functions::text;
use super::value::{Key, List, Map, Value};
use super::{Budget, EvalError};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// The longest text that is made.
const MAX_TEXT: usize = 16 << 20;

fn compile(pattern: &str) -> Result<Regex, EvalError> {
    crate::pattern::compile(pattern).map_err(|e| EvalError::new(format!("Illegal regex: {e}")))
}

/// A place in a text, in letters.
fn place(value: &Value<'_>, length: usize) -> Result<usize, EvalError> {
    let at = value.as_int().ok_or_else(EvalError::no_overload)?;
    usize::try_from(at)
        .ok()
        .filter(|at| *at <= length)
        .ok_or_else(|| EvalError::new(format!("index out of range: {at}")))
}

/// A number; negative: no limit.
fn limit(value: &Value<'_>) -> Result<Option<usize>, EvalError> {
    let number = value.as_int().ok_or_else(EvalError::no_overload)?;
    Ok(usize::try_from(number).ok())
}

pub(super) fn method<'a>(
    target: &str,
    name: &str,
    args: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let letters = || target.chars().count();
    match (name, args) {
        ("contains", [other]) => Ok(target.contains(text(other)?).into()),
        ("startsWith", [other]) => Ok(target.starts_with(text(other)?).into()),
        ("endsWith", [other]) => Ok(target.ends_with(text(other)?).into()),
        ("matches", [pattern]) => {
            let pattern = text(pattern)?;
            budget.spend((target.len() * pattern.len()) as u64 / 40)?;
            Ok(compile(pattern)?.is_match(target).into())
        }
        ("find", [pattern]) => {
            let pattern = compile(text(pattern)?)?;
            Ok(pattern.find(target).map_or("", |found| found.as_str()).to_owned().into())
        }
        ("findAll", [pattern, rest @ ..]) => {
            let most = match rest {
                [] => None,
                [most] => limit(most)?,
                _ => return Err(EvalError::no_overload()),
            };
            let pattern = compile(text(pattern)?)?;
            let found = pattern.find_iter(target).take(most.unwrap_or(usize::MAX));
            Ok(found.map(|found| found.as_str().to_owned().into()).collect::<Vec<_>>().into())
        }
        ("lowerAscii", []) => Ok(target.to_ascii_lowercase().into()),
        ("upperAscii", []) => Ok(target.to_ascii_uppercase().into()),
        ("trim", []) => Ok(target.trim().to_owned().into()),
        ("reverse", []) => Ok(target.chars().rev().collect::<String>().into()),
        ("charAt", [at]) => {
            let at = place(at, letters())?;
            Ok(target.chars().nth(at).map(String::from).unwrap_or_default().into())
        }
        ("indexOf", [other, rest @ ..]) => {
            let from = match rest {
                [] => 0,
                [from] => place(from, letters())?,
                _ => return Err(EvalError::no_overload()),
            };
            let start = target.char_indices().nth(from).map_or(target.len(), |(at, _)| at);
            let found = target[start..].find(text(other)?);
            Ok(found.map_or(Value::Int(-1), |at| target[..start + at].chars().count().into()))
        }
        ("lastIndexOf", [other, rest @ ..]) => {
            let other = text(other)?;
            let end = match rest {
                [] => target.len(),
                [last] => {
                    let last = place(last, letters())?;
                    let start = target.char_indices().nth(last).map_or(target.len(), |(at, _)| at);
                    let end = (start + other.len()).min(target.len());
                    (end..=target.len()).find(|at| target.is_char_boundary(*at)).unwrap_or(end)
                }
                _ => return Err(EvalError::no_overload()),
            };
            let found = target[..end].rfind(other);
            Ok(found.map_or(Value::Int(-1), |at| target[..at].chars().count().into()))
        }
        ("substring", [from, rest @ ..]) => {
            let length = letters();
            let from = place(from, length)?;
            let to = match rest {
                [] => length,
                [to] => place(to, length)?,
                _ => return Err(EvalError::no_overload()),
            };
            if from > to {
                return Err(EvalError::new(format!(
                    "invalid substring range. start: {from}, end: {to}"
                )));
            }
            Ok(target.chars().skip(from).take(to - from).collect::<String>().into())
        }
        ("replace", [old, new, rest @ ..]) => {
            let most = match rest {
                [] => None,
                [most] => limit(most)?,
                _ => return Err(EvalError::no_overload()),
            };
            let (old, new) = (text(old)?, text(new)?);
            let times = target.matches(old).count().min(most.unwrap_or(usize::MAX));
            bounded(target.len().saturating_add(times.saturating_mul(new.len())), budget)?;
            Ok(target.replacen(old, new, times).into())
        }
        ("split", [separator, rest @ ..]) => {
            let most = match rest {
                [] => None,
                [most] => limit(most)?,
                _ => return Err(EvalError::no_overload()),
            };
            Ok(split(target, text(separator)?, most).into())
        }
        ("format", [Value::List(values)]) => {
            let made = formatted(target, values)?;
            bounded(made.len(), budget)?;
            Ok(made.into())
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn bounded(length: usize, budget: &mut Budget) -> Result<(), EvalError> {
    budget.spend(length as u64 / 10)?;
    if length > MAX_TEXT { Err(EvalError::new("a text would be too long")) } else { Ok(()) }
}

fn split<'a>(target: &str, separator: &str, most: Option<usize>) -> Vec<Value<'a>> {
    let owned = |part: &str| Value::from(part.to_owned());
    match most {
        Some(0) => Vec::new(),
        Some(most) if separator.is_empty() => {
            let mut parts: Vec<String> = target.chars().map(String::from).collect();
            if parts.len() > most {
                let rest: String = parts.split_off(most - 1).concat();
                parts.push(rest);
            }
            parts.into_iter().map(Value::from).collect()
        }
        None if separator.is_empty() => {
            target.chars().map(|letter| String::from(letter).into()).collect()
        }
        Some(most) => target.splitn(most, separator).map(owned).collect(),
        None => target.split(separator).map(owned).collect(),
    }
}

/// A simple value as `string(x)` writes it.
pub(super) fn plain(value: &Value<'_>) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value),
        Value::Text(text) => text.as_str().to_owned(),
        _ => String::new(),
    }
}

fn double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((number, exponent)) => {
                let (sign, digits) = match exponent.strip_prefix('-') {
                    Some(digits) => ('-', digits),
                    None => ('+', exponent),
                };
                format!("{number}e{sign}{digits:0>2}")
            }
            None => text,
        }
    } else {
        value.to_string()
    }
}

/// What `%s` writes.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => super::time::duration_text(*nanos),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(name) => (*name).to_owned(),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| shown(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entries = map.keys().into_iter().map(|key| {
                let value = map.get(&key).ok().flatten().unwrap_or(Value::Null);
                format!("{key}: {}", shown(&value))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Optional(Some(inner)) => shown(inner),
        Value::Opaque(inner) => inner.text().unwrap_or_default(),
        other => plain(other),
    }
}

fn formatted(pattern: &str, values: &List<'_>) -> Result<String, EvalError> {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut next = 0;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = digits.parse::<usize>().ok().filter(|digits| *digits <= 100);
        }
        let verb =
            letters.next().ok_or_else(|| EvalError::new("unexpected end of format string"))?;
        let value =
            values.get(next).ok_or_else(|| EvalError::new(format!("index {next} out of range")))?;
        next += 1;
        one(&mut out, verb, precision, &value)?;
    }
    Ok(out)
}

fn one(
    out: &mut String,
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
) -> Result<(), EvalError> {
    let refused = || {
        EvalError::new(format!(
            "error during formatting: %{verb} cannot be used with a {}",
            value.type_name()
        ))
    };
    let number = || match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        _ => None,
    };
    let done = match (verb, value) {
        ('s', value) => write!(out, "{}", shown(value)),
        ('d', Value::Int(value)) => write!(out, "{value}"),
        ('d', Value::Uint(value)) => write!(out, "{value}"),
        ('f', _) => {
            let value = number().ok_or_else(refused)?;
            write!(out, "{value:.*}", precision.unwrap_or(6))
        }
        ('e', _) => {
            let value = number().ok_or_else(refused)?;
            let text = format!("{value:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            write!(out, "{mantissa}e{sign}{digits:0>2}")
        }
        ('b', Value::Int(value)) => write!(out, "{}{:b}", minus(*value), value.unsigned_abs()),
        ('b', Value::Uint(value)) => write!(out, "{value:b}"),
        ('b', Value::Bool(value)) => write!(out, "{}", u8::from(*value)),
        ('o', Value::Int(value)) => write!(out, "{}{:o}", minus(*value), value.unsigned_abs()),
        ('o', Value::Uint(value)) => write!(out, "{value:o}"),
        ('x', Value::Int(value)) => write!(out, "{}{:x}", minus(*value), value.unsigned_abs()),
        ('x', Value::Uint(value)) => write!(out, "{value:x}"),
        ('X', Value::Int(value)) => write!(out, "{}{:X}", minus(*value), value.unsigned_abs()),
        ('X', Value::Uint(value)) => write!(out, "{value:X}"),
        ('x' | 'X', Value::Text(_) | Value::Bytes(_)) => {
            let bytes = match value {
                Value::Text(text) => text.as_str().as_bytes().to_vec(),
                Value::Bytes(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            };
            bytes.iter().try_for_each(|byte| match verb {
                'x' => write!(out, "{byte:02x}"),
                _ => write!(out, "{byte:02X}"),
            })
        }
        ('d' | 'b' | 'o' | 'x' | 'X', _) => return Err(refused()),
        _ => {
            return Err(EvalError::new(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
    };
    done.map_err(|_| EvalError::new("a text could not be written"))
}

fn minus(value: i64) -> &'static str {
    if value < 0 { "-" } else { "" }
}

/// `strings.quote(x)`.
pub(super) fn quote<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [value] = args else { return Err(EvalError::no_overload()) };
    let mut out = String::from('"');
    for letter in text(value)?.chars() {
        match letter {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    Ok(out.into())
}

/// `jsonpatch.escapeKey`: a name as a part of a path.
pub(super) fn escape_key<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [key] = args else { return Err(EvalError::no_overload()) };
    Ok(text(key)?.replace('~', "~0").replace('/', "~1").into())
}

/// The entries of a map of lists of texts, as `getQuery` gives them.
pub(super) fn text_lists<'a>(
    entries: std::collections::BTreeMap<String, Vec<String>>,
) -> Value<'a> {
    let entries = entries.into_iter().map(|(key, values)| {
        let values: Vec<Value<'a>> = values.into_iter().map(Value::from).collect();
        (Key::Text(key.into()), values.into())
    });
    let map: std::collections::BTreeMap<_, _> = entries.collect();
    Value::Map(Map::Own(map.into()))
}

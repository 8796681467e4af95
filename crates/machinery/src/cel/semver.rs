//! `semver`: versions by semver.org.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use super::EvalError;
use super::functions::text;
use super::value::{Opaque, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: Vec<Part>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

fn number(text: &str) -> Option<u64> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits && !leading_zero { text.parse().ok() } else { None }
}

fn parse(text: &str) -> Option<Version> {
    let (rest, build) = match text.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if build.is_some_and(|build| !build.split('.').all(word)) {
        return None;
    }
    let mut parts = core.split('.');
    let numbers = [number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?];
    if parts.next().is_some() {
        return None;
    }
    let part = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
        true => number(part).map(Part::Number),
        false => word(part).then(|| Part::Text(part.to_owned())),
    };
    let pre = match pre {
        None => Vec::new(),
        Some(pre) => pre.split('.').map(part).collect::<Option<_>>()?,
    };
    Some(Version { numbers, pre, text: text.to_owned() })
}

/// Takes away a leading `v` and zeros, and puts in what is missing.
fn normalised(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut parts: Vec<String> = core
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0".to_owned(),
            part => part.to_owned(),
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0".into());
    }
    format!("{}{rest}", parts.join("."))
}

pub(super) fn make<'a>(name: &str, args: &[Value<'a>]) -> Outcome<'a> {
    let (arg, normalise) = match args {
        [arg] => (text(arg)?, false),
        [arg, Value::Bool(normalise)] => (text(arg)?, *normalise),
        _ => return Err(EvalError::no_overload()),
    };
    let parsed = if normalise { parse(&normalised(arg)) } else { parse(arg) };
    match (name, parsed) {
        ("isSemver", parsed) => Ok(parsed.is_some().into()),
        (_, Some(version)) => Ok(Value::Opaque(Arc::new(version))),
        (_, None) => Err(EvalError::new(format!("invalid semantic version {arg:?}"))),
    }
}

impl Version {
    fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            }
        })
    }
}

impl Opaque for Version {
    fn type_name(&self) -> &'static str {
        "kubernetes.Semver"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        let part = |at: usize| Value::Int(i64::try_from(self.numbers[at]).unwrap_or(i64::MAX));
        let order = match args {
            [] => None,
            [other] => Some(self.order(other.opaque::<Self>()?)),
            _ => return None,
        };
        Some(Ok(match (name, order) {
            ("major", None) => part(0),
            ("minor", None) => part(1),
            ("patch", None) => part(2),
            ("isLessThan", Some(order)) => order.is_lt().into(),
            ("isGreaterThan", Some(order)) => order.is_gt().into(),
            ("compareTo", Some(order)) => Value::Int(order as i64),
            _ => return None,
        }))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self.order(other).is_eq())
    }

    fn text(&self) -> Option<String> {
        Some(self.text.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

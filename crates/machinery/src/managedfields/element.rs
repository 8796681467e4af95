//! Path elements as `fieldsV1` writes them: `f:name` a field or key, `k:{…}` the item of a list with
//! these keys, `v:value` the member of a set, `i:3` the item at a place.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::types::{Keys, Type};

/// What stands for the element above itself.
pub(super) const SELF: &str = ".";

/// A path element, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element<'k> {
    Field(&'k str),
    Key(Map<String, Value>),
    Member(Value),
    Index(i64),
}

impl<'k> Element<'k> {
    /// `Ok(None)`: of a type that only later versions know, which is ignored.
    pub(super) fn parse(text: &'k str) -> Result<Option<Self>, String> {
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(if text.len() < 2 {
                "key must be 2 characters long:".to_owned()
            } else {
                format!("missing colon: {text}")
            });
        };
        let json = |error: serde_json::Error| error.to_string();
        Ok(Some(match kind {
            "f" => Self::Field(rest),
            "k" => Self::Key(serde_json::from_str(rest).map_err(json)?),
            "v" => Self::Member(serde_json::from_str(rest).map_err(json)?),
            "i" => Self::Index(rest.parse().map_err(|_| format!("invalid index {rest:?}"))?),
            _ => return Ok(None),
        }))
    }

    /// As it is written.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Field(name) => field(name),
            Self::Key(keys) => keyed(keys.iter().map(|(name, value)| (name.as_str(), value))),
            Self::Member(value) => member(value),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Member(_) => 2,
            Self::Index(_) => 3,
        }
    }

    /// The order of Kubernetes: fields by name, keys by their values (numbers as numbers).
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a
                    .iter()
                    .zip(b)
                    .map(|((na, va), (nb, vb))| na.cmp(nb).then_with(|| order(va, vb)));
                let first = pairs.into_iter().find(|found| found.is_ne());
                first.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Self::Member(a), Self::Member(b)) => order(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// For people: `.name`, `[name="c"]`, `[="x"]`, `[3]`.
    pub(super) fn show(&self, out: &mut String) {
        match self {
            Self::Field(name) => {
                out.push('.');
                out.push_str(name);
            }
            Self::Key(keys) => {
                out.push('[');
                for (at, (name, value)) in keys.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    let _ = write!(out, "{name}={value}");
                }
                out.push(']');
            }
            Self::Member(value) => {
                let _ = write!(out, "[={value}]");
            }
            Self::Index(at) => {
                let _ = write!(out, "[{at}]");
            }
        }
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)).then_with(|| a.to_string().cmp(&b.to_string())),
    }
}

/// A path for people.
pub(super) fn show(path: &[&str]) -> String {
    let mut out = String::new();
    for text in path {
        match Element::parse(text) {
            Ok(Some(element)) => element.show(&mut out),
            _ => out.push_str(text),
        }
    }
    out
}

/// `f:name`.
pub(super) fn field(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push_str("f:");
    text.push_str(name);
    text
}

/// `v:"x"`.
pub(super) fn member(value: &Value) -> String {
    let mut text = "v:".to_owned();
    write_json(&mut text, value);
    text
}

/// `k:{"name":"c"}`; the pairs come in the order of their names.
fn keyed<'v>(pairs: impl Iterator<Item = (&'v str, &'v Value)>) -> String {
    let mut text = String::with_capacity(48);
    text.push_str("k:{");
    for (at, (name, value)) in pairs.enumerate() {
        if at > 0 {
            text.push(',');
        }
        write_text(&mut text, name);
        text.push(':');
        write_json(&mut text, value);
    }
    text.push('}');
    text
}

fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        let _ = write!(out, "{}", Value::String(text.to_owned()));
    }
}

/// The element of an item of a list that is merged by keys; the error says why it has none.
pub(super) fn of_item(keys: Keys<'_>, item: &Value, ty: Type<'_>) -> Result<String, String> {
    let Value::Object(map) = item else {
        return Err(if item.is_null() {
            "associative list with keys may not have a null element".to_owned()
        } else {
            "associative list with keys may not have non-map elements".to_owned()
        });
    };
    if let [only] = keys
        && let Some(value) = map.get(&**only)
    {
        return Ok(keyed(std::iter::once((&**only, value))));
    }
    let mut pairs: Vec<(&str, std::borrow::Cow<'_, Value>)> = Vec::with_capacity(keys.len());
    for key in keys {
        match map.get(&**key) {
            Some(value) => pairs.push((&**key, std::borrow::Cow::Borrowed(value))),
            // Without a default the key stays out: such an item is another one.
            None => {
                let default = ty.key_default(key).map(std::borrow::Cow::Owned);
                pairs.extend(default.map(|value| (&**key, value)));
            }
        }
    }
    if pairs.is_empty() && !keys.is_empty() {
        let names: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't \
             have default values for any key fields)",
            names.join(" ")
        ));
    }
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    Ok(keyed(pairs.iter().map(|(name, value)| (*name, &**value))))
}

/// The element of a set's member.
pub(super) fn of_member(item: &Value) -> Result<String, String> {
    match item {
        Value::Object(_) => {
            Err("associative list without keys has an element that's a map type".to_owned())
        }
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => {
            Err("associative list without keys has an element that's an explicit null".to_owned())
        }
        scalar => Ok(member(scalar)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_and_shown() {
        for (text, shown) in [
            ("f:app.kubernetes.io/name", ".app.kubernetes.io/name"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"v:"a""#, r#"[="a"]"#),
            ("v:7", "[=7]"),
            ("i:3", "[3]"),
        ] {
            let element = Element::parse(text).unwrap().unwrap();
            assert_eq!(element.text(), text);
            assert_eq!(show(&[text]), shown);
        }
        let spaced = Element::parse(r#"k:{ "b": 1, "a": "x" }"#).unwrap().unwrap();
        assert_eq!(spaced.text(), r#"k:{"a":"x","b":1}"#);
        assert_eq!(Element::parse("z:later"), Ok(None));
        for bad in ["f", "name", "k:[1]", "k:{", "i:x", "v:"] {
            assert!(Element::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_in_the_order_of_numbers() {
        let port = |n: u16| format!(r#"k:{{"port":{n}}}"#);
        let (a, b) = (port(9), port(80));
        let (a, b) = (Element::parse(&a).unwrap().unwrap(), Element::parse(&b).unwrap().unwrap());
        assert_eq!(a.order(&b), Ordering::Less);
        assert_eq!(Element::Field("z").order(&a), Ordering::Less);
    }
}

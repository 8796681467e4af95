//! `url`: absolute addresses and paths (Go's `url.ParseRequestURI`).

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::EvalError;
use super::functions::text;
use super::strings::text_lists;
use super::value::{Opaque, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

fn parse(text: &str) -> Option<Url> {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
        return None;
    }
    // Every per cent sign begins an escape.
    let escapes_end = |part: &str| {
        part.split('%')
            .skip(1)
            .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
    };
    let (scheme, rest) = if text.starts_with('/') {
        (String::new(), text)
    } else {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.chars();
        let valid = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !valid || !rest.starts_with('/') {
            return None;
        }
        (scheme.to_ascii_lowercase(), rest)
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            (authority.rsplit_once('@').map_or(authority, |(_, host)| host), path)
        }
        _ => ("", rest),
    };
    let port = match host.rsplit_once(']') {
        Some((_, after)) => after.strip_prefix(':').or(Some(after).filter(|a| a.is_empty()))?,
        None => host.split_once(':').map_or("", |(_, port)| port),
    };
    let valid = port.bytes().all(|b| b.is_ascii_digit())
        && host.starts_with('[') == host.contains(']')
        && escapes_end(path);
    valid.then(|| Url {
        text: text.to_owned(),
        scheme,
        host: host.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
    })
}

pub(super) fn make<'a>(name: &str, arg: &Value<'a>) -> Outcome<'a> {
    let text = text(arg)?;
    match (name, parse(text)) {
        ("isURL", parsed) => Ok(parsed.is_some().into()),
        (_, Some(url)) => Ok(Value::Opaque(Arc::new(url))),
        (_, None) => Err(EvalError::new(format!(
            "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
        ))),
    }
}

impl Url {
    /// Host and port.
    fn host_parts(&self) -> (&str, &str) {
        match self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.trim_start_matches(':')),
            None => self.host.split_once(':').unwrap_or((&self.host, "")),
        }
    }

    fn queries(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let decoded = |text: &str| {
            percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decoded(key)).or_default().push(decoded(value));
        }
        all
    }
}

impl Opaque for Url {
    fn type_name(&self) -> &'static str {
        "kubernetes.URL"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        if !args.is_empty() {
            return None;
        }
        let (host, port) = self.host_parts();
        Some(Ok(match name {
            "getScheme" => self.scheme.clone().into(),
            "getHost" => self.host.clone().into(),
            "getHostname" => host.to_owned().into(),
            "getPort" => port.to_owned().into(),
            "getEscapedPath" => self.path.clone().into(),
            "getQuery" => text_lists(self.queries()),
            _ => return None,
        }))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(self.text.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

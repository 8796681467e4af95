//! Text to nodes.

use serde_json::Value;

use super::Error;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Printed as it is.
    Text(String),
    /// A value written down, as in a filter.
    Literal(Value),
    /// A path: printed as what it finds.
    Path(Vec<Step>),
    /// `{range PATH}BODY{end}`.
    Range(Vec<Step>, Vec<Node>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// `$`.
    Root,
    /// `.name`.
    Field(String),
    /// `*`.
    Wildcard,
    /// `..`: this and everything below it.
    Recursive,
    /// `[a:b:c]`; an index is a slice of one.
    Slice(Slice),
    /// `[0,2]`, `['a','b']`.
    Union(Vec<Vec<Step>>),
    /// `[?(LEFT OP RIGHT)]`.
    Filter(Box<Filter>),
}

/// `[from:to:step]`; negative numbers count from the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slice {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) step: i64,
    /// Whether it is `[n]`, which must be there.
    pub(super) index: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    pub(super) left: Node,
    pub(super) op: Op,
    pub(super) right: Option<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Exists,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer ones first: `<=` begins with `<`.
const OPS: &[(&str, Op)] = &[
    ("==", Op::Equal),
    ("!=", Op::Unequal),
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

/// Ranges inside ranges; a template is short, and the parser recursive.
const MAX_DEPTH: usize = 32;

pub(super) fn template(text: &str) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { rest: text, depth: 0 };
    let nodes = parser.nodes(false)?;
    Ok(nodes)
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

fn fail<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error(text.into()))
}

impl<'a> Parser<'a> {
    /// Text and actions, up to `{end}` inside a range.
    fn nodes(&mut self, in_range: bool) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        loop {
            let (text, rest) = match self.rest.split_once('{') {
                Some((text, rest)) => (text, rest),
                None if in_range => return fail("unterminated range, expected {end}"),
                None => {
                    if !self.rest.is_empty() {
                        nodes.push(Node::Text(std::mem::take(&mut self.rest).to_owned()));
                    }
                    return Ok(nodes);
                }
            };
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            self.rest = rest;
            if self.action(&mut nodes, in_range)? {
                return Ok(nodes);
            }
        }
    }

    /// What stands between braces; whether it was the end of the range.
    fn action(&mut self, nodes: &mut Vec<Node>, in_range: bool) -> Result<bool, Error> {
        loop {
            self.spaces();
            let Some(first) = self.rest.chars().next() else { return fail("unclosed action") };
            match first {
                '}' => {
                    self.rest = &self.rest[1..];
                    return Ok(false);
                }
                '"' | '\'' => nodes.push(Node::Text(self.quoted()?)),
                '.' | '[' | '$' | '@' => nodes.push(Node::Path(self.path()?)),
                _ => match self.word() {
                    "range" => {
                        self.spaces();
                        let path = self.path()?;
                        self.close("range")?;
                        self.depth += 1;
                        if self.depth > MAX_DEPTH {
                            return fail("ranges are nested too deeply");
                        }
                        let body = self.nodes(true)?;
                        self.depth -= 1;
                        nodes.push(Node::Range(path, body));
                        return Ok(false);
                    }
                    "end" if in_range => {
                        self.close("end")?;
                        return Ok(true);
                    }
                    "end" => return fail("not in range, nothing to end"),
                    "" => return fail(format!("unexpected character {first:?} in action")),
                    word => match literal(word) {
                        Some(value) => nodes.push(Node::Literal(value)),
                        None => return fail(format!("unrecognized identifier {word}")),
                    },
                },
            }
        }
    }

    fn close(&mut self, what: &str) -> Result<(), Error> {
        self.spaces();
        match self.rest.strip_prefix('}') {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => fail(format!("expected }} after {what}")),
        }
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.')))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A quoted text with Go's escapes.
    fn quoted(&mut self) -> Result<String, Error> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if Some(c) == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => break,
            }
        }
        fail("unterminated quoted string")
    }

    fn path(&mut self) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            steps.push(Step::Root);
        } else if let Some(rest) = self.rest.strip_prefix('@') {
            self.rest = rest;
        }
        loop {
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                steps.push(Step::Recursive);
                if !self.rest.starts_with('[') {
                    self.field(&mut steps)?;
                }
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                // `{.}` is the object itself, `.['a']` the same as `['a']`.
                if !self.rest.is_empty() && !self.rest.starts_with(['}', '[', ' ', ')']) {
                    self.field(&mut steps)?;
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.brackets()?);
            } else {
                return Ok(steps);
            }
        }
    }

    fn field(&mut self, steps: &mut Vec<Step>) -> Result<(), Error> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            let ends = c.is_whitespace()
                || matches!(c, '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' | '(' | ')')
                || matches!(c, '=' | '!' | '<' | '>');
            if ends {
                end = at;
                break;
            }
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => return fail("a field name is missing behind the dot"),
            "*" => steps.push(Step::Wildcard),
            _ => steps.push(Step::Field(name)),
        }
        Ok(())
    }

    /// What stands behind `[`.
    fn brackets(&mut self) -> Result<Step, Error> {
        self.spaces();
        if self.rest.starts_with("?(") {
            self.rest = &self.rest[2..];
            return self.filter();
        }
        let mut parts = Vec::new();
        loop {
            self.spaces();
            parts.push(if self.rest.starts_with(['"', '\'']) {
                Step::Field(self.quoted()?)
            } else {
                let end = self.rest.find([',', ']']).unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                element(text.trim())?
            });
            self.spaces();
            let separator = self.rest.chars().next();
            self.rest = self.rest.get(1..).unwrap_or("");
            match separator {
                Some(',') => {}
                Some(']') if parts.len() == 1 => return Ok(parts.remove(0)),
                Some(']') => return Ok(Step::Union(parts.into_iter().map(|s| vec![s]).collect())),
                _ => return fail("unterminated array"),
            }
        }
    }

    fn filter(&mut self) -> Result<Step, Error> {
        let left = self.operand()?;
        self.spaces();
        let found = OPS.iter().find(|(text, _)| self.rest.starts_with(text));
        let (op, right) = match found {
            Some((text, op)) => {
                self.rest = &self.rest[text.len()..];
                (*op, Some(self.operand()?))
            }
            None => (Op::Exists, None),
        };
        self.spaces();
        match self.rest.strip_prefix(")]") {
            Some(rest) => self.rest = rest,
            None => return fail("unterminated filter"),
        }
        Ok(Step::Filter(Box::new(Filter { left, op, right })))
    }

    fn operand(&mut self) -> Result<Node, Error> {
        self.spaces();
        if self.rest.starts_with(['@', '$', '.', '[']) {
            return Ok(Node::Path(self.path()?));
        }
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Node::Literal(self.quoted()?.into()));
        }
        let word = self.word();
        match literal(word) {
            Some(value) => Ok(Node::Literal(value)),
            None => fail(format!("unrecognized identifier {word:?} in filter")),
        }
    }
}

fn literal(word: &str) -> Option<Value> {
    match word {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        _ => word
            .parse::<i64>()
            .map(Value::from)
            .ok()
            .or_else(|| word.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from)),
    }
}

/// `*`, `3`, `1:4`, `::2`, or a bare name.
fn element(text: &str) -> Result<Step, Error> {
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => {
            text.parse::<i64>().map(Some).map_err(|_| Error(format!("invalid array index {text}")))
        }
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        // Nothing is the first, as client-go reads it.
        [one] => {
            let from = number(one)?.or(Some(0));
            Ok(Step::Slice(Slice { from, to: None, step: 1, index: true }))
        }
        [from, to] => {
            let (from, to) = (number(from)?, number(to)?);
            Ok(Step::Slice(Slice { from, to, step: 1, index: false }))
        }
        [from, to, step] => {
            let step = number(step)?.unwrap_or(1);
            if step <= 0 {
                return fail("step must be > 0");
            }
            Ok(Step::Slice(Slice { from: number(from)?, to: number(to)?, step, index: false }))
        }
        _ => fail(format!("invalid array index {text}")),
    }
}

//! Nodes on values.

use std::cmp::Ordering;

use serde_json::Value;

use super::parse::{Filter, Node, Op, Slice, Step};
use super::{Error, text_of};

pub(super) fn render(nodes: &[Node], object: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write(nodes, object, object, &mut out)?;
    Ok(out)
}

pub(super) fn find<'a>(nodes: &[Node], object: &'a Value) -> Result<Vec<&'a Value>, Error> {
    let mut found = Vec::new();
    for node in nodes {
        if let Node::Path(steps) = node {
            found.extend(walk(steps, object, object)?);
        }
    }
    Ok(found)
}

fn write(nodes: &[Node], root: &Value, here: &Value, out: &mut String) -> Result<(), Error> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Literal(value) => out.push_str(&text_of(value)),
            Node::Path(steps) => {
                let texts: Vec<_> = walk(steps, root, here)?.into_iter().map(text_of).collect();
                out.push_str(&texts.join(" "));
            }
            Node::Range(steps, body) => {
                for item in walk(steps, root, here)? {
                    // A range over a list itself, not over `[*]` of it, goes through its items.
                    match item {
                        Value::Array(items) if !ends_in_items(steps) => {
                            for item in items {
                                write(body, root, item, out)?;
                            }
                        }
                        item => write(body, root, item, out)?,
                    }
                }
            }
        }
    }
    Ok(())
}

fn ends_in_items(steps: &[Step]) -> bool {
    !matches!(steps.last(), None | Some(Step::Field(_) | Step::Root))
}

fn walk<'a>(steps: &[Step], root: &'a Value, here: &'a Value) -> Result<Vec<&'a Value>, Error> {
    let mut values = vec![here];
    for step in steps {
        let mut next = Vec::new();
        for value in values {
            take(step, root, value, &mut next)?;
        }
        values = next;
    }
    Ok(values)
}

fn take<'a>(
    step: &Step,
    root: &'a Value,
    value: &'a Value,
    into: &mut Vec<&'a Value>,
) -> Result<(), Error> {
    match step {
        Step::Root => into.push(root),
        Step::Field(name) => into.extend(value.get(name.as_str())),
        Step::Wildcard => into.extend(children(value)),
        Step::Recursive => below(value, into),
        Step::Slice(slice) => {
            if let Value::Array(items) = value {
                into.extend(cut(items, *slice)?);
            }
        }
        Step::Union(parts) => {
            for part in parts {
                into.extend(walk(part, root, value)?);
            }
        }
        Step::Filter(filter) => {
            let Value::Array(items) = value else { return Ok(()) };
            for item in items {
                if holds(filter, root, item)? {
                    into.push(item);
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn below<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    into.push(value);
    for child in children(value) {
        below(child, into);
    }
}

fn cut(items: &[Value], slice: Slice) -> Result<Vec<&Value>, Error> {
    let length = items.len() as i64;
    let from_end = |n: i64| if n < 0 { n + length } else { n };
    let from = from_end(slice.from.unwrap_or(0));
    if slice.index {
        let place = usize::try_from(from).ok().and_then(|at| items.get(at));
        return place.map(|item| vec![item]).ok_or_else(|| {
            let text = format!("array index out of bounds: index {from}, length {length}");
            Error(text)
        });
    }
    let to = from_end(slice.to.unwrap_or(length)).min(length);
    let mut cut = Vec::new();
    let mut at = from.max(0);
    while at < to {
        cut.extend(items.get(at as usize));
        at += slice.step;
    }
    Ok(cut)
}

fn holds(filter: &Filter, root: &Value, item: &Value) -> Result<bool, Error> {
    let left = operand(&filter.left, root, item)?;
    let Some(right) = &filter.right else { return Ok(!left.is_empty()) };
    let right = operand(right, root, item)?;
    let ([left], [right]) = (left.as_slice(), right.as_slice()) else {
        if left.len() > 1 || right.len() > 1 {
            return Err(Error("can only compare one element at a time".to_owned()));
        }
        return Ok(false);
    };
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) if a == b => Some(Ordering::Equal),
        _ => None,
    };
    Ok(match filter.op {
        Op::Exists => true,
        Op::Equal => order == Some(Ordering::Equal),
        Op::Unequal => order != Some(Ordering::Equal),
        Op::Less => order == Some(Ordering::Less),
        Op::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::Greater => order == Some(Ordering::Greater),
        Op::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn operand(node: &Node, root: &Value, item: &Value) -> Result<Vec<Value>, Error> {
    Ok(match node {
        Node::Literal(value) => vec![value.clone()],
        Node::Text(text) => vec![text.as_str().into()],
        Node::Path(steps) => walk(steps, root, item)?.into_iter().cloned().collect(),
        Node::Range(..) => Vec::new(),
    })
}

//! Runs a tree. Each node costs a step, so that loops end; `&&`, `||`, `all` and `exists` take an
//! error back when another part decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Binary, Expr, Macro, MacroKind};
use super::message::Message;
use super::value::{Key, List, Map, Text, Value};
use super::{Budget, EvalError, Variables, functions};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// Prefixes of functions.
const NAMESPACES: &[&str] = &["format", "ip", "jsonpatch", "lists", "optional", "sets", "strings"];

const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// Types with dots in their names.
const LONG_TYPES: &[&str] =
    &["google.protobuf.Timestamp", "google.protobuf.Duration", "net.IP", "net.CIDR"];

/// The type of a name with dots.
pub(super) fn named_type(path: &str) -> Option<&'static str> {
    LONG_TYPES.iter().find(|known| **known == path).copied()
}

/// Whether functions are called under this name.
pub(super) fn is_namespace(name: &str) -> bool {
    NAMESPACES.contains(&name)
}

/// Whether it names a type.
pub(super) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

struct Eval<'p, 'a, 'b> {
    variables: &'b Variables<'a>,
    locals: Vec<(&'p str, Value<'a>)>,
    budget: &'b mut Budget,
}

pub(super) fn run<'a>(expr: &Expr, variables: &Variables<'a>, budget: &mut Budget) -> Outcome<'a> {
    Eval { variables, locals: Vec::new(), budget }.eval(expr)
}

impl<'p, 'a> Eval<'p, 'a, '_> {
    fn eval(&mut self, expr: &'p Expr) -> Outcome<'a> {
        match expr {
            Expr::Null => Ok(Value::Null),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Uint(value) => Ok(Value::Uint(*value)),
            Expr::Double(value) => Ok(Value::Double(*value)),
            Expr::Text(text) => Ok(Value::Text(Text::Own(Arc::clone(text)))),
            Expr::Bytes(bytes) => Ok(Value::Bytes(Arc::clone(bytes))),
            Expr::Ident(name) => self.name(name),
            Expr::Select { operand, field, optional } => self.select(operand, field, *optional),
            Expr::Has { operand, field } => self.has(operand, field),
            Expr::Index { operand, index, optional } => self.index(operand, index, *optional),
            Expr::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Expr::Matches { target, pattern, source, .. } => {
                let target = self.eval(target)?;
                let text = target.as_text().ok_or_else(EvalError::no_overload)?;
                self.spend_on(text.len() * source.len().div_ceil(4))?;
                Ok(pattern.is_match(text).into())
            }
            Expr::Not(inner) => {
                self.budget.spend(1)?;
                let value = self.eval(inner)?;
                value.as_bool().map(|b| (!b).into()).ok_or_else(EvalError::no_overload)
            }
            Expr::Negate(inner) => {
                self.budget.spend(1)?;
                functions::negate(&self.eval(inner)?)
            }
            Expr::And(all) => self.junction(all, false),
            Expr::Or(all) => self.junction(all, true),
            Expr::Binary { op, left, right } => self.binary(*op, left, right),
            Expr::Ternary { condition, yes, no } => {
                match self.eval(condition)?.as_bool().ok_or_else(EvalError::no_overload)? {
                    true => self.eval(yes),
                    false => self.eval(no),
                }
            }
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::Message { name, fields } => {
                let Value::Map(Map::Own(fields)) = self.eval(fields)? else {
                    return Err(EvalError::no_overload());
                };
                let fields = Arc::unwrap_or_clone(fields);
                Ok(Value::Map(Map::Message(Arc::new(Message { name: Arc::clone(name), fields }))))
            }
            Expr::Macro(inner) => self.looped(inner),
            Expr::Bind { name, value, body } => {
                self.budget.spend(1)?;
                let value = self.eval(value)?;
                self.within(&[(name.as_str(), value)], |eval| eval.eval(body))
            }
        }
    }

    /// A tenth of a step for each letter, as Kubernetes counts.
    fn spend_on(&mut self, letters: usize) -> Result<(), EvalError> {
        self.budget.spend(1 + letters as u64 / 10)
    }

    fn within<T>(
        &mut self,
        names: &[(&'p str, Value<'a>)],
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.locals.len();
        self.locals.extend_from_slice(names);
        let done = work(self);
        self.locals.truncate(before);
        done
    }

    fn name(&mut self, name: &str) -> Outcome<'a> {
        self.budget.spend(1)?;
        let local = self.locals.iter().rev().find(|(known, _)| *known == name);
        if let Some(value) = local.map(|(_, value)| value).or_else(|| self.variables.get(name)) {
            return Ok(value.clone());
        }
        match TYPES.iter().find(|known| **known == name) {
            Some(name) => Ok(Value::Type(name)),
            None => Err(EvalError::new(format!("no such attribute(s): {name}"))),
        }
    }

    /// `google.protobuf.Timestamp` and other names with dots.
    fn type_path(&self, operand: &Expr, field: &str) -> Option<Value<'a>> {
        let path = match operand {
            Expr::Ident(space) => format!("{space}.{field}"),
            Expr::Select { operand, field: middle, .. } => match &**operand {
                Expr::Ident(space) => format!("{space}.{middle}.{field}"),
                _ => return None,
            },
            _ => return None,
        };
        named_type(&path).map(Value::Type)
    }

    fn select(&mut self, operand: &'p Expr, field: &'p str, optional: bool) -> Outcome<'a> {
        self.budget.spend(1)?;
        if let Some(named) = self.type_path(operand, field) {
            return Ok(named);
        }
        let operand = self.eval(operand)?;
        if let Value::Optional(inner) = &operand {
            return Ok(Value::Optional(match inner {
                Some(inner) => field_of(inner, field)?.map(Arc::new),
                None => None,
            }));
        }
        let found = field_of(&operand, field)?;
        match (found, optional) {
            (found, true) => Ok(Value::Optional(found.map(Arc::new))),
            (Some(found), false) => Ok(found),
            (None, false) => Err(EvalError::new(format!("no such key: {field}"))),
        }
    }

    fn has(&mut self, operand: &'p Expr, field: &'p str) -> Outcome<'a> {
        self.budget.spend(1)?;
        let operand = self.eval(operand)?;
        let found = match &operand {
            Value::Optional(Some(inner)) => field_of(inner, field)?,
            Value::Optional(None) => None,
            operand => field_of(operand, field)?,
        };
        Ok(found.is_some().into())
    }

    fn index(&mut self, operand: &'p Expr, index: &'p Expr, optional: bool) -> Outcome<'a> {
        self.budget.spend(1)?;
        let operand = self.eval(operand)?;
        let index = self.eval(index)?;
        if let Value::Optional(inner) = &operand {
            return Ok(Value::Optional(match inner {
                Some(inner) => item_of(inner, &index)?.ok().map(Arc::new),
                None => None,
            }));
        }
        let found = item_of(&operand, &index)?;
        if optional {
            return Ok(Value::Optional(found.ok().map(Arc::new)));
        }
        found
    }

    fn call(&mut self, name: &'p str, target: Option<&'p Expr>, args: &'p [Expr]) -> Outcome<'a> {
        self.budget.spend(1)?;
        let mut values = Vec::with_capacity(args.len() + 1);
        let space = match target {
            Some(Expr::Ident(space)) if is_namespace(space) && !self.is_bound(space) => Some(space),
            _ => None,
        };
        if let (None, Some(target)) = (space, target) {
            let target = self.eval(target)?;
            // `orValue` and `or` look at their argument only when they need it.
            if let Value::Optional(inner) = &target
                && let [other] = args
                && matches!(name, "orValue" | "or")
            {
                return match (inner, name) {
                    (Some(inner), "orValue") => Ok(Value::clone(inner)),
                    (Some(_), _) => Ok(target),
                    (None, _) => self.eval(other),
                };
            }
            values.push(target);
        }
        for arg in args {
            values.push(self.eval(arg)?);
        }
        let weight: usize = values.iter().map(Value::weight).sum();
        self.budget.spend(weight as u64 / 10)?;
        match space {
            Some(space) => functions::qualified(space, name, &values, self.budget),
            None if target.is_some() || name == "matches" => {
                functions::method(name, &values, self.budget)
            }
            None => functions::global(name, &values),
        }
    }

    fn is_bound(&self, name: &str) -> bool {
        self.locals.iter().any(|(known, _)| *known == name) || self.variables.get(name).is_some()
    }

    /// `&&` and `||`: an error counts only when no part decides.
    fn junction(&mut self, all: &'p [Expr], decides: bool) -> Outcome<'a> {
        let mut failed = None;
        for one in all {
            match self.eval(one) {
                Ok(Value::Bool(value)) if value == decides => return Ok(decides.into()),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or_else(|| Some(EvalError::no_overload())),
                Err(error) if error.over_budget => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok((!decides).into()), Err)
    }

    fn binary(&mut self, op: Binary, left: &'p Expr, right: &'p Expr) -> Outcome<'a> {
        let left = self.eval(left)?;
        let right = self.eval(right)?;
        let weight = match op {
            Binary::Add => left.weight() + right.weight(),
            Binary::In => right.weight() * 10,
            _ => left.weight().min(right.weight()),
        };
        self.spend_on(weight)?;
        match op {
            Binary::Equal => Ok(left.equals(&right).into()),
            Binary::NotEqual => Ok((!left.equals(&right)).into()),
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                let is_nan = |v: &Value<'_>| matches!(v, Value::Double(d) if d.is_nan());
                let Some(order) = left.order(&right) else {
                    let nan = is_nan(&left) || is_nan(&right);
                    return if nan { Ok(false.into()) } else { Err(EvalError::no_overload()) };
                };
                Ok(match op {
                    Binary::Less => order.is_lt(),
                    Binary::LessEqual => order.is_le(),
                    Binary::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
                .into())
            }
            Binary::In => match &right {
                Value::List(list) => Ok(list.iter().any(|item| item.equals(&left)).into()),
                Value::Map(map) => match left.to_key() {
                    Some(key) => Ok(map.get(&key)?.is_some().into()),
                    None => Ok(false.into()),
                },
                _ => Err(EvalError::no_overload()),
            },
            _ => functions::arithmetic(op, &left, &right),
        }
    }

    fn list(&mut self, items: &'p [(Expr, bool)]) -> Outcome<'a> {
        self.budget.spend(10)?;
        let mut list = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.eval(item)?, optional) {
                (Value::Optional(inner), true) => list.extend(inner.map(|v| Value::clone(&v))),
                (value, false) => list.push(value),
                (_, true) => return Err(EvalError::no_overload()),
            }
        }
        Ok(list.into())
    }

    fn map(&mut self, entries: &'p [(Expr, Expr, bool)]) -> Outcome<'a> {
        self.budget.spend(30)?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let key = key.to_key().ok_or_else(|| {
                EvalError::new(format!("unsupported key type: {}", key.type_name()))
            })?;
            let value = match (self.eval(value)?, optional) {
                (Value::Optional(Some(inner)), true) => Value::clone(&inner),
                (Value::Optional(None), true) => continue,
                (_, true) => return Err(EvalError::no_overload()),
                (value, false) => value,
            };
            if map.insert(key.clone(), value).is_some() {
                return Err(EvalError::new(format!("Failed with repeated key: {key}")));
            }
        }
        Ok(Value::Map(Map::Own(map.into())))
    }

    // === Loops ===

    fn looped(&mut self, inner: &'p Macro) -> Outcome<'a> {
        let range = self.eval(&inner.range)?;
        if let (MacroKind::OptMap | MacroKind::OptFlatMap, Value::Optional(value)) =
            (inner.kind, &range)
        {
            let Some(value) = value else { return Ok(Value::Optional(None)) };
            let done = self.body(inner, &inner.body, [Value::clone(value), Value::Null])?;
            return Ok(match inner.kind {
                MacroKind::OptMap => Value::Optional(Some(Arc::new(done))),
                _ => done,
            });
        }
        let two = inner.names.len() == 2;
        // One after the other, so that the first one that decides ends it.
        let steps: Vec<[Value<'a>; 2]> = match &range {
            Value::List(list) if two => {
                list.iter().enumerate().map(|(at, item)| [at.into(), item]).collect()
            }
            Value::List(list) => list.iter().map(|item| [item, Value::Null]).collect(),
            Value::Map(map) => {
                let mut steps = Vec::with_capacity(map.len());
                for key in map.keys() {
                    let value =
                        if two { map.get(&key)?.unwrap_or(Value::Null) } else { Value::Null };
                    steps.push([key.value(), value]);
                }
                steps
            }
            _ => return Err(EvalError::no_overload()),
        };
        self.budget.spend(steps.len() as u64)?;
        match inner.kind {
            MacroKind::All => self.quantified(inner, steps, false),
            MacroKind::Exists => self.quantified(inner, steps, true),
            MacroKind::ExistsOne => {
                let mut count = 0;
                for step in steps {
                    count += usize::from(self.truth(inner, &inner.body, step)?);
                }
                Ok((count == 1).into())
            }
            MacroKind::Filter => {
                let mut kept = Vec::new();
                for step in steps {
                    if self.truth(inner, &inner.body, step.clone())? {
                        let [item, _] = step;
                        kept.push(item);
                    }
                }
                Ok(kept.into())
            }
            MacroKind::Map | MacroKind::TransformList => {
                let mut made = Vec::new();
                for step in steps {
                    if self.passes(inner, &step)? {
                        made.push(self.body(inner, &inner.body, step)?);
                    }
                }
                Ok(made.into())
            }
            MacroKind::TransformMap | MacroKind::TransformMapEntry => {
                let mut made = BTreeMap::new();
                for step in steps {
                    if !self.passes(inner, &step)? {
                        continue;
                    }
                    let key = step[0].to_key();
                    let value = self.body(inner, &inner.body, step)?;
                    match (inner.kind, value) {
                        (MacroKind::TransformMap, value) => {
                            made.extend(key.map(|key| (key, value)));
                        }
                        (_, Value::Map(entries)) => {
                            for key in entries.keys() {
                                let value = entries.get(&key)?.unwrap_or(Value::Null);
                                if made.insert(key.clone(), value).is_some() {
                                    return Err(EvalError::new(format!(
                                        "insert failed: key {key} already exists"
                                    )));
                                }
                            }
                        }
                        _ => return Err(EvalError::no_overload()),
                    }
                }
                Ok(Value::Map(Map::Own(made.into())))
            }
            MacroKind::SortBy => {
                let mut keyed = Vec::with_capacity(steps.len());
                for step in steps {
                    let key = self.body(inner, &inner.body, step.clone())?;
                    let [item, _] = step;
                    keyed.push((key, item));
                }
                super::lists::sort_by(keyed)
            }
            MacroKind::OptMap | MacroKind::OptFlatMap => Err(EvalError::no_overload()),
        }
    }

    fn body(&mut self, inner: &'p Macro, body: &'p Expr, step: [Value<'a>; 2]) -> Outcome<'a> {
        self.budget.spend(1)?;
        let before = self.locals.len();
        let names = inner.names.iter().map(String::as_str);
        self.locals.extend(names.zip(step));
        let done = self.eval(body);
        self.locals.truncate(before);
        done
    }

    fn truth(
        &mut self,
        inner: &'p Macro,
        body: &'p Expr,
        step: [Value<'a>; 2],
    ) -> Result<bool, EvalError> {
        self.body(inner, body, step)?.as_bool().ok_or_else(EvalError::no_overload)
    }

    fn passes(&mut self, inner: &'p Macro, step: &[Value<'a>; 2]) -> Result<bool, EvalError> {
        match &inner.filter {
            Some(filter) => self.truth(inner, filter, step.clone()),
            None => Ok(true),
        }
    }

    fn quantified(
        &mut self,
        inner: &'p Macro,
        steps: Vec<[Value<'a>; 2]>,
        decides: bool,
    ) -> Outcome<'a> {
        let mut failed = None;
        for step in steps {
            match self.truth(inner, &inner.body, step) {
                Ok(value) if value == decides => return Ok(decides.into()),
                Ok(_) => {}
                Err(error) if error.over_budget => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok((!decides).into()), Err)
    }
}

fn field_of<'a>(value: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Map(map) => map.field(field),
        Value::Opaque(inner) => Ok(inner.field(field)),
        _ => Err(EvalError::no_overload()),
    }
}

/// The item of a list or map; the inner error is that there is none.
fn item_of<'a>(value: &Value<'a>, index: &Value<'a>) -> Result<Outcome<'a>, EvalError> {
    match value {
        Value::List(list) => list_item(list, index),
        Value::Map(map) => {
            let key = index.to_key().ok_or_else(EvalError::no_overload)?;
            let missing = || EvalError::new(format!("no such key: {key}"));
            Ok(map.get(&key)?.ok_or_else(missing))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn list_item<'a>(list: &List<'a>, index: &Value<'a>) -> Result<Outcome<'a>, EvalError> {
    let Some(Key::Int(at)) = index.to_key() else { return Err(EvalError::no_overload()) };
    let found = usize::try_from(at).ok().and_then(|at| list.get(at));
    Ok(found.ok_or_else(|| EvalError::new(format!("index out of bounds: {at}"))))
}

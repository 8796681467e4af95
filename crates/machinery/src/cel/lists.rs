//! The functions of lists, sets and numbers.

use std::cmp::Ordering;
use std::sync::Arc;

use super::functions::text;
use super::value::{List, Value};
use super::{Budget, EvalError};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// The longest list that `lists.range` makes.
const MAX_RANGE: i64 = 1_000_000;

pub(super) fn method<'a>(
    list: &List<'a>,
    name: &str,
    args: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    budget.spend(list.len() as u64)?;
    match (name, args) {
        ("isSorted", []) => {
            let items: Vec<_> = list.iter().collect();
            for pair in items.windows(2) {
                let [first, second] = pair else { continue };
                if compared(first, second)?.is_gt() {
                    return Ok(false.into());
                }
            }
            Ok(true.into())
        }
        ("sum", []) => {
            let mut items = list.iter();
            let Some(first) = items.next() else { return Ok(Value::Int(0)) };
            items.try_fold(first, |sum, item| {
                super::functions::arithmetic(super::ast::Binary::Add, &sum, &item)
            })
        }
        ("first", []) => Ok(Value::Optional(list.get(0).map(Arc::new))),
        ("last", []) => {
            let last = list.len().checked_sub(1).and_then(|at| list.get(at));
            Ok(Value::Optional(last.map(Arc::new)))
        }
        ("min", []) => extreme(list, Ordering::Less, "min"),
        ("max", []) => extreme(list, Ordering::Greater, "max"),
        ("indexOf", [wanted]) => {
            let found = list.iter().position(|item| item.equals(wanted));
            Ok(found.map_or(Value::Int(-1), Value::from))
        }
        ("lastIndexOf", [wanted]) => {
            let found = list.iter().collect::<Vec<_>>().iter().rposition(|i| i.equals(wanted));
            Ok(found.map_or(Value::Int(-1), Value::from))
        }
        ("join", []) => join(list, ""),
        ("join", [separator]) => join(list, text(separator)?),
        ("distinct", []) => {
            let mut kept: Vec<Value<'a>> = Vec::new();
            for item in list.iter() {
                budget.spend(kept.len() as u64 / 4)?;
                if !kept.iter().any(|known| known.equals(&item)) {
                    kept.push(item);
                }
            }
            Ok(kept.into())
        }
        ("reverse", []) => {
            let mut items: Vec<_> = list.iter().collect();
            items.reverse();
            Ok(items.into())
        }
        ("sort", []) => sort_by(list.iter().map(|item| (item.clone(), item)).collect()),
        ("slice", [Value::Int(from), Value::Int(to)]) => {
            let place = |at: i64| usize::try_from(at).ok().filter(|at| *at <= list.len());
            match (place(*from), place(*to)) {
                (Some(from), Some(to)) if from <= to => {
                    Ok(list.iter().skip(from).take(to - from).collect::<Vec<_>>().into())
                }
                _ => Err(EvalError::new(format!("cannot slice({from}, {to}), invalid range"))),
            }
        }
        ("flatten", []) => flatten(list, 1, budget),
        ("flatten", [Value::Int(depth)]) if *depth >= 0 => flatten(list, *depth, budget),
        _ => Err(EvalError::no_overload()),
    }
}

fn compared<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Ordering, EvalError> {
    a.order(b).ok_or_else(EvalError::no_overload)
}

fn extreme<'a>(list: &List<'a>, wanted: Ordering, name: &str) -> Outcome<'a> {
    let mut items = list.iter();
    let first =
        items.next().ok_or_else(|| EvalError::new(format!("{name} called on empty list")))?;
    items.try_fold(first, |best, item| {
        Ok(if compared(&item, &best)? == wanted { item } else { best })
    })
}

fn join<'a>(list: &List<'a>, separator: &str) -> Outcome<'a> {
    let items: Vec<_> = list.iter().collect();
    let texts = items.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(texts.join(separator).into())
}

fn flatten<'a>(list: &List<'a>, depth: i64, budget: &mut Budget) -> Outcome<'a> {
    fn into<'a>(
        list: &List<'a>,
        depth: i64,
        out: &mut Vec<Value<'a>>,
        budget: &mut Budget,
    ) -> Result<(), EvalError> {
        budget.spend(list.len() as u64)?;
        for item in list.iter() {
            match item {
                Value::List(inner) if depth > 0 => into(&inner, depth - 1, out, budget)?,
                item => out.push(item),
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    into(list, depth, &mut out, budget)?;
    Ok(out.into())
}

/// Items in the order of their keys, which must be of one type.
pub(super) fn sort_by<'a>(mut keyed: Vec<(Value<'a>, Value<'a>)>) -> Outcome<'a> {
    let mut failed = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let same = a.type_name() == b.type_name();
        a.order(b).filter(|_| same).unwrap_or_else(|| {
            failed = Some(EvalError::new("list elements must have the same comparable type"));
            Ordering::Equal
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>().into()),
    }
}

/// `lists.range(n)`.
pub(super) fn range<'a>(name: &str, args: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let ("range", [Value::Int(end)]) = (name, args) else { return Err(EvalError::no_overload()) };
    if *end > MAX_RANGE {
        return Err(EvalError::new(format!("range of {end} is too long")));
    }
    budget.spend(u64::try_from(*end).unwrap_or(0))?;
    Ok((0..*end).map(Value::Int).collect::<Vec<_>>().into())
}

/// `sets.contains`, `sets.equivalent`, `sets.intersects`.
pub(super) fn sets<'a>(name: &str, args: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::List(a), Value::List(b)] = args else { return Err(EvalError::no_overload()) };
    budget.spend((a.len() * b.len()) as u64)?;
    let inside = |items: &List<'a>, all: &List<'a>| {
        items.iter().all(|item| all.iter().any(|other| other.equals(&item)))
    };
    match name {
        "contains" => Ok(inside(b, a).into()),
        "equivalent" => Ok((inside(a, b) && inside(b, a)).into()),
        "intersects" => Ok(a.iter().any(|x| b.iter().any(|y| x.equals(&y))).into()),
        _ => Err(EvalError::no_overload()),
    }
}

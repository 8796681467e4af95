//! What an expression can cost at most, before it has run: by the sizes that the schema allows
//! (`cel-go/checker/cost.go`, `apiserver/pkg/cel/library/cost.go`; KEP-2876).
//!
//! The numbers are those of Kubernetes, and so are its oddities: a definition is refused here if and
//! only if it is refused there.

mod calls;
mod decl;
mod kind;
mod lists;
mod loops;
mod node;
mod operators;
mod size;

use super::ast::Expr;
use super::value::unescape;
pub use decl::Decl;
use kind::Kind;
use node::{Node, Place, sum};
use size::{Entries, NEW_LIST, NEW_MAP, NEW_MESSAGE, Size};

/// The cost of an expression whose `self` and `oldSelf` are of the declaration. `optional_old`:
/// `oldSelf` is an optional.
pub(super) fn estimate(expr: &Expr, root: &Decl, optional_old: bool) -> u64 {
    Estimator { root, optional_old, locals: Vec::new() }.of(expr).cost
}

struct Estimator<'e, 'd> {
    root: &'d Decl,
    optional_old: bool,
    /// The names of loops, as they are when they are used.
    locals: Vec<(&'e str, Node<'d>)>,
}

impl<'e, 'd> Estimator<'e, 'd> {
    fn of(&mut self, expr: &'e Expr) -> Node<'d> {
        match expr {
            Expr::Null => Node::sized(0, Kind::Null, Size::ONE),
            Expr::Bool(_) => Node::made(0, Kind::Bool),
            Expr::Int(value) => Node { literal: Some(*value), ..Node::made(0, Kind::Int) },
            Expr::Uint(_) => Node::made(0, Kind::Uint),
            Expr::Double(_) => Node::made(0, Kind::Double),
            Expr::Text(text) => literal(Kind::Text, text.chars().count()),
            Expr::Bytes(bytes) => literal(Kind::Bytes, bytes.len()),
            Expr::Ident(name) => self.name(name),
            Expr::Select { operand, field, optional } => self.select(operand, field, *optional),
            // The question itself is free (`PresenceTestHasCost(false)`).
            Expr::Has { operand, .. } => Node::made(self.of(operand).cost, Kind::Bool),
            Expr::Index { operand, index, optional } => self.index(operand, index, *optional),
            Expr::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Expr::Matches { target, source, method, .. } => {
                let pattern = literal(Kind::Text, source.chars().count());
                let target = self.of(target);
                match method {
                    true => self.method("matches", &target, &[pattern]),
                    false => self.function("matches", &[target, pattern]),
                }
            }
            Expr::Not(inner) => Node::made(self.of(inner).cost.saturating_add(1), Kind::Bool),
            Expr::Negate(inner) => {
                let inner = self.of(inner);
                Node::made(inner.cost.saturating_add(1), inner.kind)
            }
            Expr::And(all) | Expr::Or(all) => Node::made(sum(&self.all(all)), Kind::Bool),
            Expr::Binary { op, left, right } => {
                let (left, right) = (self.of(left), self.of(right));
                operators::binary(*op, &left, &right)
            }
            Expr::Ternary { condition, yes, no } => {
                let (condition, yes, no) = (self.of(condition), self.of(yes), self.of(no));
                operators::ternary(&condition, &yes, &no)
            }
            Expr::List(items) => {
                let items: Vec<_> =
                    items.iter().map(|(item, optional)| (self.of(item), *optional)).collect();
                list(&items)
            }
            Expr::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value, optional)| (self.of(key), self.of(value), *optional))
                    .collect();
                map(&entries)
            }
            Expr::Message { fields, .. } => {
                let fields = self.of(fields);
                let cost = fields.cost.saturating_sub(NEW_MAP).saturating_add(NEW_MESSAGE);
                Node::made(cost, Kind::Dyn)
            }
            Expr::Macro(inner) => self.looped(inner),
            Expr::Bind { name, value, body } => {
                let value = self.of(value);
                self.bind(name, value, |estimator| estimator.of(body))
            }
        }
    }

    fn all(&mut self, exprs: &'e [Expr]) -> Vec<Node<'d>> {
        exprs.iter().map(|expr| self.of(expr)).collect()
    }

    fn local(&self, name: &str) -> Option<&Node<'d>> {
        self.locals.iter().rev().find(|(known, _)| *known == name).map(|(_, node)| node)
    }

    fn name(&self, name: &str) -> Node<'d> {
        if let Some(local) = self.local(name) {
            let node = Node::at(1, local.kind.clone(), local.place);
            return Node { size: node.size.or(local.size), entries: local.entries, ..node };
        }
        let kind = match name {
            "self" => Kind::of(self.root),
            "oldSelf" if self.optional_old => Kind::optional(Kind::of(self.root)),
            "oldSelf" => Kind::of(self.root),
            _ => Kind::Type,
        };
        Node::at(1, kind, Place::At(self.root))
    }

    fn select(&mut self, operand: &'e Expr, field: &str, optional: bool) -> Node<'d> {
        let operand = self.of(operand);
        let name = unescape(field);
        if optional {
            let kind = Kind::optional(operand.kind.inner().field(&name));
            return Node::made(operand.cost.saturating_add(1), kind);
        }
        let step = matches!(operand.kind, Kind::Map(..) | Kind::Object(_) | Kind::Free);
        let cost = operand.cost.saturating_add(u64::from(step));
        Node::at(cost, operand.kind.field(&name), operand.place.field(self.root, &name))
    }

    fn index(&mut self, operand: &'e Expr, index: &'e Expr, optional: bool) -> Node<'d> {
        let (operand, index) = (self.of(operand), self.of(index));
        let cost = operand.cost.saturating_add(index.cost).saturating_add(1);
        if optional || matches!(operand.kind, Kind::Optional(_)) {
            return Node::made(cost, Kind::optional(operand.kind.inner().item()));
        }
        let mut found = Node::at(cost, operand.kind.item(), operand.place.items(self.root));
        if let Some(entries) = operand.entries {
            found.size = Some(entries.value);
        }
        found
    }

    fn call(&mut self, name: &str, target: Option<&'e Expr>, args: &'e [Expr]) -> Node<'d> {
        let space = match target {
            Some(Expr::Ident(space))
                if super::eval::is_namespace(space) && self.local(space).is_none() =>
            {
                Some(space)
            }
            _ => None,
        };
        match (space, target) {
            (Some(space), _) => {
                let args = self.all(args);
                self.function(&format!("{space}.{name}"), &args)
            }
            (None, Some(target)) => {
                let args = self.all(args);
                let target = self.of(target);
                self.method(name, &target, &args)
            }
            (None, None) => {
                let args = self.all(args);
                self.function(name, &args)
            }
        }
    }

    /// What is done with a value that has a name meanwhile.
    fn bind(
        &mut self,
        name: &'e str,
        value: Node<'d>,
        body: impl FnOnce(&mut Self) -> Node<'d>,
    ) -> Node<'d> {
        // It is a loop over an empty list, which is made too.
        let around = value.cost.saturating_add(NEW_LIST);
        self.locals.push((name, value));
        let body = body(self);
        self.locals.pop();
        Node {
            cost: body.cost.saturating_add(around),
            place: Place::Nowhere,
            literal: None,
            ..body
        }
    }
}

fn literal<'d>(kind: Kind<'d>, size: usize) -> Node<'d> {
    Node::sized(0, kind, Size::exact(size as u64))
}

/// The union of sizes, of which there may be none.
fn union(sizes: impl Iterator<Item = Size>) -> Size {
    sizes.reduce(Size::union).unwrap_or(Size::exact(0))
}

fn list<'d>(items: &[(Node<'d>, bool)]) -> Node<'d> {
    let kind = |(node, optional): &(Node<'d>, bool)| match optional {
        true => node.kind.inner(),
        false => node.kind.clone(),
    };
    let item = items.iter().map(kind).fold(Kind::Free, |all, one| all.join(&one));
    let cost = items.iter().fold(NEW_LIST, |cost, (node, _)| cost.saturating_add(node.cost));
    let value = union(items.iter().map(|(node, _)| node.size()));
    Node {
        entries: Some(Entries { is_list: true, key: Size::ONE, value }),
        ..Node::sized(cost, Kind::list(item), Size::exact(items.len() as u64))
    }
}

fn map<'d>(entries: &[(Node<'d>, Node<'d>, bool)]) -> Node<'d> {
    let (mut cost, mut keys, mut values) = (NEW_MAP, Kind::Free, Kind::Free);
    for (key, value, optional) in entries {
        cost = cost.saturating_add(key.cost).saturating_add(value.cost);
        keys = keys.join(&key.kind);
        values = values.join(&if *optional { value.kind.inner() } else { value.kind.clone() });
    }
    let key = union(entries.iter().map(|(key, ..)| key.size()));
    let value = union(entries.iter().map(|(_, value, _)| value.size()));
    Node {
        entries: Some(Entries { is_list: false, key, value }),
        ..Node::sized(cost, Kind::map(keys, values), Size::exact(entries.len() as u64))
    }
}

#[cfg(test)]
mod tests;

//! The costs of operators, by the types of their sides.

use super::super::ast::Binary;
use super::kind::{Kind, Opaque};
use super::node::Node;
use super::size::{Entries, Size, TRAVERSAL, scaled, traversal};

/// The longest format, in a comparison (`MaxFormatSize`).
const FORMAT: u64 = 64;

pub(super) fn binary<'d>(op: Binary, left: &Node<'d>, right: &Node<'d>) -> Node<'d> {
    let sides = left.cost.saturating_add(right.cost);
    let costing = |cost: u64| Node::made(sides.saturating_add(cost), Kind::Bool);
    // Up to the end of the shorter one.
    let comparison = scaled(left.size().max.min(right.size().max), TRAVERSAL);
    match op {
        Binary::Add => add(sides, left, right),
        Binary::Equal => costing(equality(left, right).unwrap_or(comparison)),
        Binary::NotEqual => costing(comparison),
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            costing(match (&left.kind, &right.kind) {
                (Kind::Text | Kind::Bytes, _) | (_, Kind::Text | Kind::Bytes) => comparison,
                (one, other) if one.is_open() && other.is_open() => comparison.max(1),
                _ => 1,
            })
        }
        Binary::In => costing(match &right.kind {
            Kind::List(_) => right.size().max,
            kind if kind.is_open() => right.size().max.max(1),
            _ => 1,
        }),
        Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            Node::made(sides.saturating_add(1), number(op, &left.kind, &right.kind))
        }
    }
}

/// The cost of an equality that Kubernetes' libraries know.
fn equality(left: &Node<'_>, right: &Node<'_>) -> Option<u64> {
    let (Kind::Opaque(one), Kind::Opaque(other)) = (&left.kind, &right.kind) else { return None };
    if one != other {
        return None;
    }
    Some(match one {
        Opaque::Ip | Opaque::Cidr | Opaque::Quantity | Opaque::Semver => 1,
        Opaque::Format => scaled(FORMAT, TRAVERSAL),
        Opaque::Url => scaled(right.size.map_or(1, |size| size.max), TRAVERSAL),
    })
}

fn add<'d>(sides: u64, left: &Node<'d>, right: &Node<'d>) -> Node<'d> {
    let size = left.size().plus(right.size());
    let entries = Entries::union(left.entries, right.entries);
    let copied = traversal(size);
    let (cost, kind, size) = match (&left.kind, &right.kind) {
        (Kind::Text, _) | (_, Kind::Text) => (copied, Kind::Text, Some(size)),
        (Kind::Bytes, _) | (_, Kind::Bytes) => (copied, Kind::Bytes, Some(size)),
        (one @ Kind::List(_), other @ Kind::List(_)) => (1, one.join(other), Some(size)),
        (list @ Kind::List(_), _) | (_, list @ Kind::List(_)) => (1, list.clone(), Some(size)),
        (one, other) if one.is_open() && other.is_open() => (copied.max(1), Kind::Dyn, Some(size)),
        (one, other) => (1, number(Binary::Add, one, other), None),
    };
    let made = Node::made(sides.saturating_add(cost), kind);
    Node { size: size.or(made.size), entries, ..made }
}

/// The type of what is calculated.
fn number<'d>(op: Binary, left: &Kind<'d>, right: &Kind<'d>) -> Kind<'d> {
    match (left, right) {
        (Kind::Timestamp, Kind::Timestamp) if op == Binary::Subtract => Kind::Duration,
        (Kind::Timestamp, _) | (_, Kind::Timestamp) => Kind::Timestamp,
        (one, other) if one.is_open() => other.clone(),
        (one, _) => one.clone(),
    }
}

pub(super) fn ternary<'d>(condition: &Node<'d>, yes: &Node<'d>, no: &Node<'d>) -> Node<'d> {
    let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
    let size: Size = yes.size().union(no.size());
    Node {
        entries: Entries::union(yes.entries, no.entries),
        ..Node::sized(cost, yes.kind.join(&no.kind), size)
    }
}

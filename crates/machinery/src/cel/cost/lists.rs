//! The costs of functions that make lists (`cel-go/ext/lists.go`) and of `sets` (`ext/sets.go`).

use super::kind::Kind;
use super::node::Node;
use super::size::{NEW_LIST, Size, TRAVERSAL, scaled};

/// A new list, for so much an item.
fn made<'d>(factor: f64, size: Size, kind: Kind<'d>) -> Node<'d> {
    Node::sized(scaled(size.max, factor).saturating_add(NEW_LIST + 1), kind, size)
}

/// Sorting by keys of a type: each is compared with each.
pub(super) fn sort<'d>(size: Size, key: &Kind<'_>, list: Kind<'d>) -> Node<'d> {
    let factor = if key.may_be_text() { 2.0 + TRAVERSAL } else { 2.0 };
    made(factor, size.times(size), list)
}

/// An integer that is written down; no less than zero.
fn whole(node: Option<&Node<'_>>, otherwise: u64) -> u64 {
    node.and_then(|node| node.literal).map_or(otherwise, |value| u64::try_from(value).unwrap_or(0))
}

/// A method of a list, where it makes one.
pub(super) fn method<'d>(name: &str, list: &Node<'d>, args: &[Node<'d>]) -> Option<Node<'d>> {
    let size = list.size();
    let same = || list.kind.clone();
    Some(match (name, args.len()) {
        ("slice", 2) => {
            let (from, to) = (whole(args.first(), 0), whole(args.get(1), size.max));
            made(1.0, Size::exact(to.wrapping_sub(from)), same())
        }
        ("flatten", 0) => {
            let inner = match list.kind.item() {
                inner @ Kind::List(_) => inner,
                _ => same(),
            };
            made(1.0, size, inner)
        }
        ("flatten", 1) => made(whole(args.first(), u64::MAX) as f64, size, Kind::list(Kind::Dyn)),
        ("reverse", 0) if !matches!(list.kind, Kind::Text) => made(1.0, size, same()),
        ("distinct", 0) => made(2.0, size.times(size), same()),
        ("sort", 0) => sort(size, &list.kind.item(), same()),
        _ => return None,
    })
}

/// A function of `lists` or `sets`.
pub(super) fn function<'d>(name: &str, args: &[Node<'d>]) -> Option<Node<'d>> {
    let factor = match name {
        "sets.contains" | "sets.intersects" => 1.0,
        "sets.equivalent" => 2.0,
        "lists.range" => {
            let size = Size::exact(whole(args.first(), u64::MAX));
            return Some(made(1.0, size, Kind::list(Kind::Int)));
        }
        _ => return None,
    };
    let [one, other] = args else { return None };
    let cost = scaled(one.size().times(other.size()).max, factor).saturating_add(1);
    Some(Node::made(cost, Kind::Bool))
}

//! The costs of macros: what `cel-go` expands them to, counted for each item or entry that there can
//! be. Keeping the result costs a step each time it is looked at.

use super::super::ast::{Macro, MacroKind};
use super::kind::Kind;
use super::node::{Node, Place};
use super::size::{Entries, NEW_LIST, NEW_MAP, Size};
use super::{Estimator, lists};

impl<'e, 'd> Estimator<'e, 'd> {
    pub(super) fn looped(&mut self, inner: &'e Macro) -> Node<'d> {
        let range = self.of(&inner.range);
        match inner.kind {
            MacroKind::OptMap | MacroKind::OptFlatMap => return self.optional(inner, &range),
            MacroKind::SortBy => return self.sorted(inner, &range),
            _ => {}
        }
        let before = self.locals.len();
        let item = match inner.names.as_slice() {
            [key, value] => {
                self.locals.push((key, self.key_of(&range)));
                let item = self.value_of(&range);
                self.locals.push((value, item.clone()));
                item
            }
            names => {
                let item =
                    if range.is_list() { self.value_of(&range) } else { self.key_of(&range) };
                self.locals.extend(names.iter().map(|name| (name.as_str(), item.clone())));
                item
            }
        };
        let filter = inner.filter.as_ref().map(|filter| self.of(filter));
        let body = self.of(&inner.body);
        self.locals.truncate(before);
        let filter = filter.map_or(0, |filter| filter.cost);
        // What is done for each, what there is before and after, and what comes out.
        let (each, around, made) = match inner.kind {
            MacroKind::All => (body.cost.saturating_add(3), 1, Node::made(0, Kind::Bool)),
            MacroKind::Exists => (body.cost.saturating_add(4), 1, Node::made(0, Kind::Bool)),
            MacroKind::ExistsOne => (body.cost.saturating_add(2), 2, Node::made(0, Kind::Bool)),
            MacroKind::Filter => {
                (body.cost.saturating_add(NEW_LIST + 3), NEW_LIST + 1, collected(&range, &item))
            }
            MacroKind::TransformMap => {
                let kind = Kind::map(self.key_of(&range).kind, body.kind);
                let each = body.cost.saturating_add(filter).saturating_add(3);
                (each, NEW_MAP + 1, Node::sized(0, kind, range.size()))
            }
            MacroKind::TransformMapEntry => {
                let each = body.cost.saturating_add(filter).saturating_add(2);
                (each, NEW_MAP + 1, Node::sized(0, body.kind, range.size()))
            }
            _ => {
                let each = body.cost.saturating_add(filter).saturating_add(NEW_LIST + 2);
                (each, NEW_LIST + 1, collected(&range, &body))
            }
        };
        let cost = range.size().max.saturating_mul(each);
        Node { cost: cost.saturating_add(range.cost).saturating_add(around), ..made }
    }

    /// The keys of a map or indices of a list.
    fn key_of(&self, range: &Node<'d>) -> Node<'d> {
        let (kind, place) = match range.is_list() {
            true => (Kind::Int, range.place.indices(self.root)),
            false => (range.kind.looped(), range.place.keys(self.root)),
        };
        one_of(range, kind, place, |entries| entries.key)
    }

    /// The items of a list or values of a map.
    fn value_of(&self, range: &Node<'d>) -> Node<'d> {
        let place = range.place.items(self.root);
        one_of(range, range.kind.item(), place, |entries| entries.value)
    }

    /// `optMap`, `optFlatMap`: a choice by whether there is a value, which is then given the name.
    fn optional(&mut self, inner: &'e Macro, target: &Node<'d>) -> Node<'d> {
        let asked = Node::made(target.cost.saturating_add(1), Kind::Bool);
        let value = Node::made(target.cost.saturating_add(1), target.kind.inner());
        let Some(name) = inner.names.first() else { return asked };
        let body = self.bind(name, value, |estimator| estimator.of(&inner.body));
        let yes = match inner.kind {
            MacroKind::OptMap => Node::made(body.cost.saturating_add(1), Kind::optional(body.kind)),
            _ => body,
        };
        let no = Node::made(1, Kind::optional(Kind::Free));
        super::operators::ternary(&asked, &yes, &no)
    }

    /// `sortBy`: the list is given a name, and sorted by the list of its keys.
    fn sorted(&mut self, inner: &'e Macro, range: &Node<'d>) -> Node<'d> {
        let item = self.value_of(range);
        self.locals.extend(inner.names.first().map(|name| (name.as_str(), item)));
        let key = self.of(&inner.body);
        self.locals.pop();
        let count = range.size();
        let keys = count
            .max
            .saturating_mul(key.cost.saturating_add(NEW_LIST + 2))
            .saturating_add(NEW_LIST + 2);
        let sorted = lists::sort(count, &key.kind, range.kind.clone());
        let around = range.cost.saturating_add(NEW_LIST + 1);
        let cost = sorted.cost.saturating_add(keys).saturating_add(around);
        Node { cost, ..sorted }
    }
}

/// A key or value of a range: as large as the schema says, or as those that were written down.
fn one_of<'d>(
    range: &Node<'d>,
    kind: Kind<'d>,
    place: Place<'d>,
    size: impl FnOnce(Entries) -> Size,
) -> Node<'d> {
    let node = Node::at(1, kind, place);
    Node { size: node.size.or(range.entries.map(size)), ..node }
}

/// A list of such items, as many as there are in the range.
fn collected<'d>(range: &Node<'d>, item: &Node<'d>) -> Node<'d> {
    // It begins with an empty one.
    let value = item.size().union(Size::exact(0));
    Node {
        entries: Some(Entries { is_list: true, key: Size::ONE, value }),
        ..Node::sized(0, Kind::list(item.kind.clone()), range.size())
    }
}

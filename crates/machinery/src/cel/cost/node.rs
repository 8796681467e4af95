//! What is known of a part of an expression.

use super::decl::{Decl, KEY, Shape};
use super::kind::Kind;
use super::size::{Entries, Size};

/// A part of an expression, estimated.
#[derive(Debug, Clone)]
pub(super) struct Node<'d> {
    /// At most.
    pub(super) cost: u64,
    pub(super) kind: Kind<'d>,
    pub(super) place: Place<'d>,
    pub(super) size: Option<Size>,
    pub(super) entries: Option<Entries>,
    /// Its value, where it is an integer that is written down.
    pub(super) literal: Option<i64>,
}

/// Where in the schema a value stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'d> {
    /// It is made by the expression.
    Nowhere,
    At(&'d Decl),
    /// Where the schema says nothing.
    Lost,
}

impl<'d> Place<'d> {
    /// The place below. What stands below a value that the expression has made is taken to stand at
    /// the root, as `cel-go` leaves the first part of a path out without looking at it.
    fn below(self, root: &'d Decl, step: impl FnOnce(&'d Decl) -> Option<&'d Decl>) -> Self {
        match self {
            Self::Nowhere => Self::At(root),
            Self::At(decl) => step(decl).map_or(Self::Lost, Self::At),
            Self::Lost => Self::Lost,
        }
    }

    pub(super) fn field(self, root: &'d Decl, name: &str) -> Self {
        self.below(root, |decl| decl.field(name))
    }

    pub(super) fn items(self, root: &'d Decl) -> Self {
        self.below(root, Decl::item)
    }

    pub(super) fn keys(self, root: &'d Decl) -> Self {
        self.below(root, |decl| matches!(decl.shape, Shape::Map(_)).then_some(&KEY))
    }

    pub(super) fn indices(self, root: &'d Decl) -> Self {
        self.below(root, |_| None)
    }

    /// How large what stands there can be.
    pub(super) fn size(self) -> Option<Size> {
        match self {
            Self::At(decl) => Some(Size::up_to(decl.max)),
            _ => None,
        }
    }
}

impl<'d> Node<'d> {
    /// A value that the expression makes; its size is known where all of the type have the same.
    pub(super) fn made(cost: u64, kind: Kind<'d>) -> Self {
        let size = kind.is_scalar().then_some(Size::ONE);
        Self { cost, kind, place: Place::Nowhere, size, entries: None, literal: None }
    }

    /// The same of this size.
    pub(super) fn sized(cost: u64, kind: Kind<'d>, size: Size) -> Self {
        Self { size: Some(size), ..Self::made(cost, kind) }
    }

    /// A value of the schema.
    pub(super) fn at(cost: u64, kind: Kind<'d>, place: Place<'d>) -> Self {
        let size = place.size().or(kind.is_scalar().then_some(Size::ONE));
        Self { cost, kind, place, size, entries: None, literal: None }
    }

    /// Its size, as far as it is known.
    pub(super) fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }

    /// The size of the items of a list, as far as the schema knows it.
    pub(super) fn item_size(&self, root: &'d Decl) -> Size {
        let size = match self.place {
            Place::Nowhere => None,
            place => place.items(root).size(),
        };
        size.unwrap_or(Size::UNKNOWN)
    }

    /// Whether a loop over it is one over a list.
    pub(super) fn is_list(&self) -> bool {
        match self.entries {
            Some(entries) => entries.is_list,
            None => matches!(self.kind, Kind::List(_)),
        }
    }
}

/// All their costs.
pub(super) fn sum(nodes: &[Node<'_>]) -> u64 {
    nodes.iter().fold(0, |sum, node| sum.saturating_add(node.cost))
}

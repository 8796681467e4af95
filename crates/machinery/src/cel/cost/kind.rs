//! The types of expressions, as exactly as `cel-go`'s checker knows them: which function is meant,
//! and so what it costs, depends on them.

use std::rc::Rc;

use super::decl::{Decl, KEY, Shape};

/// A type.
#[derive(Debug, Clone)]
pub(super) enum Kind<'d> {
    Dyn,
    /// That of the items of an empty list: whatever is wanted.
    Free,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    /// A type.
    Type,
    List(Rc<Kind<'d>>),
    Map(Rc<Kind<'d>>, Rc<Kind<'d>>),
    Optional(Rc<Kind<'d>>),
    Object(&'d Decl),
    /// Of the libraries.
    Opaque(Opaque),
}

/// A type of the libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opaque {
    Url,
    Quantity,
    Ip,
    Cidr,
    Semver,
    Format,
}

impl<'d> Kind<'d> {
    /// That of what is declared.
    pub(super) fn of(decl: &'d Decl) -> Self {
        match &decl.shape {
            Shape::Dyn => Self::Dyn,
            Shape::Bool => Self::Bool,
            Shape::Int => Self::Int,
            Shape::Double => Self::Double,
            Shape::Text => Self::Text,
            Shape::Bytes => Self::Bytes,
            Shape::Duration => Self::Duration,
            Shape::Timestamp => Self::Timestamp,
            Shape::List(item) => Self::list(Self::of(item)),
            Shape::Map(value) => Self::map(Self::of(&KEY), Self::of(value)),
            Shape::Object(_) => Self::Object(decl),
        }
    }

    pub(super) fn list(item: Self) -> Self {
        Self::List(Rc::new(item))
    }

    pub(super) fn map(key: Self, value: Self) -> Self {
        Self::Map(Rc::new(key), Rc::new(value))
    }

    pub(super) fn optional(inner: Self) -> Self {
        Self::Optional(Rc::new(inner))
    }

    /// Whether its values are all of size one.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool
            | Self::Double
            | Self::Duration
            | Self::Int
            | Self::Timestamp
            | Self::Uint => true,
            Self::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }

    /// Whether it may be anything.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Free)
    }

    /// Whether it is, or may be, a text or bytes.
    pub(super) fn may_be_text(&self) -> bool {
        matches!(self, Self::Text | Self::Bytes) || self.is_open()
    }

    /// The items of a list, or the values of a map.
    pub(super) fn item(&self) -> Self {
        match self {
            Self::List(item) | Self::Map(_, item) => Self::clone(item),
            _ => Self::Dyn,
        }
    }

    /// What a loop with one name gives: the items of a list, or the keys of a map.
    pub(super) fn looped(&self) -> Self {
        match self {
            Self::List(item) => Self::clone(item),
            Self::Map(key, _) => Self::clone(key),
            _ => Self::Dyn,
        }
    }

    /// What an optional holds; itself otherwise.
    pub(super) fn inner(&self) -> Self {
        match self {
            Self::Optional(inner) => Self::clone(inner),
            other => other.clone(),
        }
    }

    /// What a field of it holds.
    pub(super) fn field(&self, name: &str) -> Self {
        match self {
            Self::Object(decl) => decl.field(name).map_or(Self::Dyn, Self::of),
            Self::Map(_, value) => Self::clone(value),
            Self::Optional(inner) => Self::optional(inner.field(name)),
            _ => Self::Dyn,
        }
    }

    /// One that values of both have.
    pub(super) fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Free, other) => other.clone(),
            (one, Self::Free) => one.clone(),
            (Self::List(one), Self::List(other)) => Self::list(one.join(other)),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                Self::map(key.join(other_key), value.join(other_value))
            }
            (Self::Optional(one), Self::Optional(other)) => Self::optional(one.join(other)),
            (Self::Object(one), Self::Object(other)) if std::ptr::eq(*one, *other) => self.clone(),
            (Self::Opaque(one), Self::Opaque(other)) if one == other => self.clone(),
            // What may be missing.
            (Self::Null, some @ Self::Object(_)) | (some @ Self::Object(_), Self::Null) => {
                some.clone()
            }
            (one, other)
                if !matches!(one, Self::Object(_) | Self::Opaque(_))
                    && std::mem::discriminant(one) == std::mem::discriminant(other) =>
            {
                one.clone()
            }
            _ => Self::Dyn,
        }
    }
}

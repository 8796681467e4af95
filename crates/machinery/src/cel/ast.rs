//! The tree of an expression, macros included: they are nodes of their own, not folds.

use std::sync::Arc;

use regex::Regex;

/// A node.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Ident(String),
    /// `a.b`; `a.?b` when optional.
    Select {
        operand: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(a.b)`.
    Has {
        operand: Box<Expr>,
        field: String,
    },
    /// `a[b]`; `a[?b]` when optional.
    Index {
        operand: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// A function, as `f(x)` or `target.f(x)`.
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// `matches` with a pattern that is known.
    Matches {
        target: Box<Expr>,
        pattern: Regex,
        /// The pattern as it is written: what it costs is told by its length.
        source: String,
        /// As `target.matches(pattern)`.
        method: bool,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// Two or more, all of them or any.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Binary {
        op: Binary,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Ternary {
        condition: Box<Expr>,
        yes: Box<Expr>,
        no: Box<Expr>,
    },
    /// Optional items carry a mark.
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    /// `Object.spec{a: 1}`; the fields are a map.
    Message {
        name: Arc<str>,
        fields: Box<Expr>,
    },
    Macro(Box<Macro>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

/// Operators of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

/// A loop over a list or map.
#[derive(Debug, Clone)]
pub(crate) struct Macro {
    pub(crate) kind: MacroKind,
    pub(crate) range: Expr,
    /// One name, or two: index or key, and value.
    pub(crate) names: Vec<String>,
    /// A condition, where the macro has one before its body.
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

/// Which loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    /// A list from a list or map, by two names.
    TransformList,
    /// A map with the same keys.
    TransformMap,
    /// A map of the entries that the body gives.
    TransformMapEntry,
    /// `sortBy(item, key)`.
    SortBy,
    /// `optional.optMap(value, body)`.
    OptMap,
    /// `optional.optFlatMap(value, body)`.
    OptFlatMap,
}

impl Binary {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Remainder => "_%_",
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterEqual => "_>=_",
            Self::In => "@in",
        }
    }
}

impl Expr {
    /// Every name that is used and not bound inside.
    pub(crate) fn free_names<'e>(
        &'e self,
        bound: &mut Vec<&'e str>,
        visit: &mut impl FnMut(&'e str),
    ) {
        match self {
            Self::Ident(name) => {
                if !bound.contains(&name.as_str()) {
                    visit(name);
                }
            }
            Self::Select { operand, .. } | Self::Has { operand, .. } => {
                operand.free_names(bound, visit);
            }
            Self::Index { operand, index, .. } => {
                operand.free_names(bound, visit);
                index.free_names(bound, visit);
            }
            Self::Call { target, args, .. } => {
                target.iter().for_each(|target| target.free_names(bound, visit));
                args.iter().for_each(|arg| arg.free_names(bound, visit));
            }
            Self::Matches { target: one, .. }
            | Self::Message { fields: one, .. }
            | Self::Not(one)
            | Self::Negate(one) => one.free_names(bound, visit),
            Self::And(all) | Self::Or(all) => {
                all.iter().for_each(|one| one.free_names(bound, visit));
            }
            Self::Binary { left, right, .. } => {
                left.free_names(bound, visit);
                right.free_names(bound, visit);
            }
            Self::Ternary { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(|one| one.free_names(bound, visit));
            }
            Self::List(items) => items.iter().for_each(|(one, _)| one.free_names(bound, visit)),
            Self::Map(entries) => {
                for (key, value, _) in entries {
                    key.free_names(bound, visit);
                    value.free_names(bound, visit);
                }
            }
            Self::Macro(inner) => {
                inner.range.free_names(bound, visit);
                let before = bound.len();
                bound.extend(inner.names.iter().map(String::as_str));
                inner.filter.iter().for_each(|filter| filter.free_names(bound, visit));
                inner.body.free_names(bound, visit);
                bound.truncate(before);
            }
            Self::Bind { name, value, body } => {
                value.free_names(bound, visit);
                bound.push(name);
                body.free_names(bound, visit);
                bound.pop();
            }
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Bytes(_) => {}
        }
    }
}

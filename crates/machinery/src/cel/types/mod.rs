//! The types of expressions, before they run: every name and function must be there, every
//! function be given what it takes, and what comes out is known as far as the types of what goes
//! in are. As `cel-go` checks, with its words.

mod check;
mod functions;
mod node;
mod records;
mod unify;

use std::sync::Arc;

use super::ast::Expr;
use crate::crd::schema::Schema;
pub use node::Node;

/// A type.
#[derive(Debug, Clone)]
pub enum Type<'s> {
    /// Any value.
    Dyn,
    /// A scalar, a type of a library, or a record: `int`, `net.IP`, `kubernetes.UserInfo`.
    Named(&'static str),
    /// `list(int)`.
    List(Arc<Type<'s>>),
    /// `map(string, int)`.
    Map(Arc<Type<'s>>, Arc<Type<'s>>),
    /// `optional_type(int)`.
    Optional(Arc<Type<'s>>),
    /// An object of a schema.
    Of(Node<'s>),
    /// `Object.spec`, `JSONPatch`: what mutations make.
    Message(Arc<str>),
    /// The variables of a policy.
    Variables,
    /// Not known yet: a parameter of a function, the items of an empty list.
    Param(usize),
}

/// What an expression may name.
#[derive(Debug, Clone, Default)]
pub struct Env<'s> {
    names: Vec<(String, Type<'s>)>,
    /// Those of the policy, in `variables`.
    variables: Vec<(String, Type<'s>)>,
    /// `Object{…}`, `JSONPatch{…}` and `jsonpatch.escapeKey`.
    patches: bool,
    /// `cel.bind`.
    bindings: bool,
    /// Not all types are known that could be.
    lenient: bool,
}

/// What is known of the names in the expressions of a policy.
#[derive(Debug, Clone)]
pub struct PolicyTypes<'s>(Env<'s>);

/// Why it cannot be right: where in the text the fault is named, and what is wrong.
pub(super) struct Fault {
    pub(super) near: Near,
    pub(super) what: String,
}

/// A place in the text: the first where such a thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Near {
    /// The beginning.
    Start,
    /// An operator.
    Sign(&'static str),
    /// A name by itself.
    Name(String),
    /// The dot before a field.
    Field(String),
    /// The bracket behind a function's name.
    Call(String),
    /// The bracket behind a message's name.
    Message(String),
    /// The colon behind the name of a message's field.
    Key(String),
}

impl Near {
    /// Where it is, in bytes.
    pub(super) fn locate(&self, text: &str) -> usize {
        let words = |name: &str| {
            let part = |c: char| c == '_' || c.is_alphanumeric();
            let alone = move |at: usize, end: usize| {
                !text[..at].ends_with(part) && !text[end..].starts_with(part)
            };
            let found: Vec<(usize, usize)> = text
                .match_indices(name)
                .map(|(at, name)| (at, at + name.len()))
                .filter(|(at, end)| alone(*at, *end))
                .collect();
            found
        };
        // Behind a name, blanks may stand before the sign.
        let behind = |name: &str, sign: char| {
            let found = words(name);
            let mut signs = found.iter().filter_map(|(_, end)| {
                let rest = text[*end..].trim_start();
                rest.starts_with(sign).then_some(text.len() - rest.len())
            });
            signs.next().or(found.first().map(|(at, _)| *at))
        };
        let found = match self {
            Self::Start => None,
            Self::Sign("in") => words("in").first().map(|(at, _)| *at),
            Self::Sign(sign) => text.find(sign),
            Self::Name(name) => words(name).first().map(|(at, _)| *at),
            Self::Call(name) => behind(name, '('),
            Self::Message(name) => behind(name, '{'),
            Self::Key(name) => behind(name, ':'),
            Self::Field(name) => {
                let found = words(name);
                let mut dots = found.iter().filter_map(|(at, _)| {
                    let before = text[..*at].trim_end();
                    let before = before.strip_suffix('?').unwrap_or(before);
                    before.strip_suffix('.').map(str::len)
                });
                dots.next().or(found.first().map(|(at, _)| *at))
            }
        };
        found.unwrap_or(0)
    }
}

type Found<'s> = Result<Type<'s>, Fault>;

// === impl Type ===

impl<'s> Type<'s> {
    const BOOL: Self = Self::Named("bool");
    const INT: Self = Self::Named("int");
    const STRING: Self = Self::Named("string");
    const NULL: Self = Self::Named("null_type");
    const TYPE: Self = Self::Named("type");

    fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    /// The name of what is no list, map or the like; `dyn` of what may be anything.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Dyn | Self::Param(_) => "dyn",
            Self::Named(name) => name,
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Of(_) | Self::Variables | Self::Message(_) => "object",
        }
    }

    /// As `must evaluate to …` names it.
    pub fn text(&self) -> String {
        self.written(|name| match name {
            "timestamp" => "google.protobuf.Timestamp",
            "duration" => "google.protobuf.Duration",
            other => other,
        })
    }

    /// As the errors of the check name it.
    fn shown(&self) -> String {
        self.written(|name| if name == "null_type" { "null" } else { name })
    }

    fn written(&self, named: fn(&'static str) -> &'static str) -> String {
        match self {
            Self::Named(name) => named(name).to_owned(),
            Self::List(item) => format!("list({})", item.written(named)),
            Self::Map(key, value) => {
                format!("map({}, {})", key.written(named), value.written(named))
            }
            Self::Optional(inner) => format!("optional_type({})", inner.written(named)),
            Self::Message(name) => name.to_string(),
            Self::Dyn | Self::Param(_) | Self::Of(_) | Self::Variables => self.name().to_owned(),
        }
    }
}

// === impl Env ===

impl<'s> Env<'s> {
    /// From names, of which any value may come.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(|name| (name.into(), Type::Dyn)).collect();
        Self { names, ..Self::default() }
    }

    /// One more.
    pub fn with(self, name: impl Into<String>) -> Self {
        self.having(name, Type::Dyn)
    }

    /// One more, of a type in CEL's notation or a record's name.
    pub fn typed(self, name: impl Into<String>, notation: &'static str) -> Self {
        self.having(name, functions::read(notation))
    }

    fn having(mut self, name: impl Into<String>, ty: Type<'s>) -> Self {
        self.names.push((name.into(), ty));
        self
    }

    /// Without a name, and those that begin with it.
    pub fn without(mut self, name: &str) -> Self {
        self.names.retain(|(known, _)| known.split('.').next() != Some(name));
        self
    }

    /// `variables`, in which there is what [`Self::declare`] says.
    pub fn with_variables(self) -> Self {
        self.having("variables", Type::Variables)
    }

    /// Adds a variable of a type.
    pub fn declare(&mut self, name: &str, ty: Type<'s>) {
        self.variables.push((name.to_owned(), ty));
    }

    /// With what mutations make.
    pub fn with_patches(mut self) -> Self {
        self.patches = true;
        self
    }

    /// With `cel.bind`.
    pub fn with_bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    /// Where what is `dyn` here may be of a type that is known elsewhere.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    fn get(&self, name: &str) -> Option<&Type<'s>> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, ty)| ty)
    }

    /// The type that an expression has.
    pub(super) fn check(&self, expr: &Expr) -> Found<'s> {
        check::check(self, expr)
    }
}

/// The name of the type that the expression has, `self` and `oldSelf` being of the schema;
/// `optional_old`: `oldSelf` is an optional.
pub(super) fn check(
    expr: &Expr,
    schema: &Schema,
    optional_old: bool,
) -> Result<&'static str, Fault> {
    let node = Node::Custom(schema);
    let old = if optional_old { Type::optional(node.ty()) } else { node.ty() };
    let env = Env::default().having("self", node.ty()).having("oldSelf", old).lenient();
    env.check(expr).map(|ty| ty.name())
}

// === impl PolicyTypes ===

impl<'s> PolicyTypes<'s> {
    /// For objects and parameters of these schemas.
    pub fn new(object: Option<Node<'s>>, params: Option<Node<'s>>) -> Self {
        let of = |node: Option<Node<'s>>| node.map_or(Type::Dyn, Node::ty);
        let env = crate::admission::environment::beside_objects();
        Self(
            env.having("object", of(object))
                .having("oldObject", of(object))
                .having("params", of(params))
                .with_variables()
                .lenient(),
        )
    }

    /// Adds a variable, of the type that its expression has as far as that is known.
    pub(super) fn add(&mut self, name: &str, expr: &Expr) {
        let found = self.0.check(expr).unwrap_or(Type::Dyn);
        self.0.declare(name, found);
    }

    pub(super) fn check(&self, expr: &Expr) -> Result<(), Fault> {
        self.0.check(expr).map(drop)
    }
}

//! What is known of the types of an expression before it runs: enough to find fields that a schema
//! does not have, and operators on values that cannot go together. What is not known is `dyn`.

use onggi_api::schema::{self as builtin, Shape};

use super::ast::{Binary, Expr, MacroKind};
use super::value::unescape;
use crate::crd::schema::{Additional, Kind, Schema};

/// A schema, whoever defined it.
#[derive(Debug, Clone, Copy)]
pub enum Node<'s> {
    /// Of a custom kind, or a part of one.
    Custom(&'s Schema),
    /// Of a built-in kind, or a part of one.
    BuiltIn(builtin::Schema<'s>),
}

/// A type, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type<'s> {
    Dyn,
    Simple(&'static str),
    /// That of a value of the schema.
    Of(Node<'s>),
    /// The same in an optional.
    OptionalOf(Node<'s>),
    /// The variables of a policy.
    Variables,
}

/// What is known of the names in the expressions of a policy.
#[derive(Debug, Clone, Default)]
pub struct PolicyTypes<'s> {
    object: Option<Node<'s>>,
    params: Option<Node<'s>>,
    variables: Vec<(String, Type<'s>)>,
}

/// Why it cannot be right: where in the text the fault is named, and what is wrong.
pub(super) struct Fault {
    pub(super) near: String,
    pub(super) what: String,
}

type Found<'s> = Result<Type<'s>, Fault>;

struct Scope<'e, 's> {
    names: Vec<(&'e str, Type<'s>)>,
    variables: &'e [(String, Type<'s>)],
}

/// The name of the type that the expression has, `self` and `oldSelf` being of the schema.
pub(super) fn check(expr: &Expr, schema: &Schema) -> Result<&'static str, Fault> {
    let names = vec![("self", Type::Of(Node::Custom(schema))), ("oldSelf", Type::Dyn)];
    Scope { names, variables: &[] }.of(expr).map(Type::name)
}

impl<'s> PolicyTypes<'s> {
    /// For objects and parameters of these schemas.
    pub fn new(object: Option<Node<'s>>, params: Option<Node<'s>>) -> Self {
        Self { object, params, variables: Vec::new() }
    }

    /// Adds a variable, of the type that its expression has as far as that is known.
    pub(super) fn add(&mut self, name: &str, expr: &Expr) {
        let found = self.of(expr).unwrap_or(Type::Dyn);
        self.variables.push((name.to_owned(), found));
    }

    pub(super) fn check(&self, expr: &Expr) -> Result<&'static str, Fault> {
        self.of(expr).map(Type::name)
    }

    fn of(&self, expr: &Expr) -> Found<'s> {
        let of = |node: Option<Node<'s>>| node.map_or(Type::Dyn, Type::Of);
        let names = vec![
            ("object", of(self.object)),
            ("oldObject", of(self.object)),
            ("params", of(self.params)),
            ("variables", Type::Variables),
        ];
        Scope { names, variables: &self.variables }.of(expr)
    }
}

impl<'s> Node<'s> {
    /// The name of its type in expressions.
    fn name(self) -> &'static str {
        match self {
            Self::Custom(schema) if schema.int_or_string => "dyn",
            Self::Custom(schema) => match schema.kind {
                Kind::Any => "dyn",
                Kind::Object if schema.additional.is_some() => "map",
                Kind::Object => "object",
                Kind::Array => "list",
                Kind::Integer => "int",
                Kind::Number => "double",
                Kind::Boolean => "bool",
                Kind::String => match schema.checks.as_ref().map_or("", |c| c.format.as_str()) {
                    "byte" => "bytes",
                    "duration" => "duration",
                    "date" | "date-time" | "datetime" => "timestamp",
                    _ => "string",
                },
            },
            Self::BuiltIn(schema) => match schema.shape() {
                Shape::Any | Shape::IntOrString | Shape::Quantity => "dyn",
                Shape::Object(_) => "object",
                Shape::Map(_) => "map",
                Shape::List(_) => "list",
                Shape::String => "string",
                Shape::Bytes => "bytes",
                Shape::Int32 | Shape::Int64 => "int",
                Shape::Double => "double",
                Shape::Bool => "bool",
                Shape::Time | Shape::MicroTime => "timestamp",
            },
        }
    }

    fn is_list(self) -> bool {
        self.name() == "list"
    }

    fn has_keys(self) -> bool {
        matches!(self.name(), "object" | "map")
    }

    /// The items of a list, or the values of a map.
    fn item(self) -> Type<'s> {
        match self {
            Self::Custom(schema) => match (schema.kind, &schema.items, &schema.additional) {
                (Kind::Array, Some(items), _) => Type::Of(Self::Custom(items)),
                (Kind::Object, _, Some(Additional::Of(schema))) => Type::Of(Self::Custom(schema)),
                _ => Type::Dyn,
            },
            Self::BuiltIn(schema) => match schema.shape() {
                Shape::List(list) => Type::Of(Self::BuiltIn(schema.at(list.item))),
                Shape::Map(map) => Type::Of(Self::BuiltIn(schema.at(map.value))),
                _ => Type::Dyn,
            },
        }
    }

    /// What a field holds; nothing where there can be no such field.
    fn field(self, field: &str) -> Option<Type<'s>> {
        let name = unescape(field);
        match self {
            Self::Custom(schema) => {
                if let Some(found) = schema.child(&name) {
                    // The names of an object are there whether or not its schema says so.
                    let says = |name: &&str| found.properties.contains_key(*name);
                    let open = name == "metadata" && !["name", "generateName"].iter().all(says);
                    return Some(if open { Type::Dyn } else { Type::Of(Self::Custom(found)) });
                }
                // What every object has, and what an embedded one has.
                let common = matches!(field, "apiVersion" | "kind" | "metadata");
                let open = schema.additional.is_some() || schema.embedded;
                (common || open).then_some(Type::Dyn)
            }
            Self::BuiltIn(schema) => {
                schema.child(&name).map(|found| Type::Of(Self::BuiltIn(found)))
            }
        }
    }
}

impl Type<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Simple(name) => name,
            Self::OptionalOf(_) => "optional_type",
            Self::Of(node) => node.name(),
            Self::Variables => "object",
        }
    }
}

const SCALARS: &[&str] = &["bool", "bytes", "double", "duration", "int", "string", "timestamp"];

impl<'e, 's> Scope<'e, 's> {
    fn of(&mut self, expr: &'e Expr) -> Found<'s> {
        Ok(match expr {
            Expr::Null => Type::Simple("null_type"),
            Expr::Bool(_) => Type::Simple("bool"),
            Expr::Int(_) => Type::Simple("int"),
            Expr::Uint(_) => Type::Simple("uint"),
            Expr::Double(_) => Type::Simple("double"),
            Expr::Text(_) => Type::Simple("string"),
            Expr::Bytes(_) => Type::Simple("bytes"),
            Expr::Ident(name) => {
                let known = self.names.iter().rev().find(|(known, _)| known == name);
                known.map_or(Type::Dyn, |(_, known)| *known)
            }
            Expr::Select { operand, field, optional } => {
                let operand = self.of(operand)?;
                let found = self.select(operand, field)?;
                match (operand, found) {
                    (Type::OptionalOf(_), Type::Of(schema)) => Type::OptionalOf(schema),
                    (_, Type::Of(schema)) if *optional => Type::OptionalOf(schema),
                    (_, found) if !*optional => found,
                    _ => Type::Dyn,
                }
            }
            Expr::Has { operand, field } => {
                let operand = self.of(operand)?;
                self.select(operand, field)?;
                Type::Simple("bool")
            }
            Expr::Index { operand, index, optional } => {
                self.of(index)?;
                match (self.of(operand)?, optional) {
                    (Type::Of(node), false) => node.item(),
                    _ => Type::Dyn,
                }
            }
            Expr::Call { name, target, args } => self.call(name, target.as_deref(), args)?,
            Expr::Matches { target, .. } => {
                self.of(target)?;
                Type::Simple("bool")
            }
            Expr::Not(inner) => {
                self.must_be_bool(inner, "!_")?;
                Type::Simple("bool")
            }
            Expr::Negate(inner) => self.of(inner)?,
            Expr::And(all) => self.junction(all, "_&&_")?,
            Expr::Or(all) => self.junction(all, "_||_")?,
            Expr::Binary { op, left, right } => self.binary(*op, left, right)?,
            Expr::Ternary { condition, yes, no } => {
                self.of(condition)?;
                let (yes, no) = (self.of(yes)?, self.of(no)?);
                if yes.name() == no.name() { yes } else { Type::Dyn }
            }
            Expr::List(items) => {
                for (item, _) in items {
                    self.of(item)?;
                }
                Type::Simple("list")
            }
            Expr::Map(entries) => {
                for (key, value, _) in entries {
                    self.of(key)?;
                    self.of(value)?;
                }
                Type::Simple("map")
            }
            Expr::Message { fields, .. } => self.of(fields)?,
            Expr::Bind { name, value, body } => {
                let value = self.of(value)?;
                self.within(&[(name, value)], |scope| scope.of(body))?
            }
            Expr::Macro(inner) => {
                let range = self.of(&inner.range)?;
                let types = match (range, inner.names.len()) {
                    (Type::Of(node), 1) if node.is_list() => [node.item(), Type::Dyn],
                    (Type::Of(node), 1) if node.has_keys() => [Type::Simple("string"), Type::Dyn],
                    (Type::Of(node), 2) if node.is_list() => [Type::Simple("int"), node.item()],
                    (Type::Of(node), 2) => [Type::Simple("string"), node.item()],
                    (Type::OptionalOf(node), 1) => [Type::Of(node), Type::Dyn],
                    _ => [Type::Dyn, Type::Dyn],
                };
                let names: Vec<_> = inner.names.iter().map(String::as_str).zip(types).collect();
                self.within(&names, |scope| {
                    if let Some(filter) = &inner.filter {
                        scope.of(filter)?;
                    }
                    scope.of(&inner.body).map(drop)
                })?;
                match inner.kind {
                    MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne => {
                        Type::Simple("bool")
                    }
                    MacroKind::Filter | MacroKind::SortBy => range,
                    MacroKind::Map | MacroKind::TransformList => Type::Simple("list"),
                    MacroKind::TransformMap | MacroKind::TransformMapEntry => Type::Simple("map"),
                    MacroKind::OptMap | MacroKind::OptFlatMap => Type::Dyn,
                }
            }
        })
    }

    fn within<T>(&mut self, names: &[(&'e str, Type<'s>)], work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.names.len();
        self.names.extend_from_slice(names);
        let done = work(self);
        self.names.truncate(before);
        done
    }

    fn junction(&mut self, all: &'e [Expr], sign: &str) -> Found<'s> {
        for one in all {
            self.must_be_bool(one, sign)?;
        }
        Ok(Type::Simple("bool"))
    }

    fn must_be_bool(&mut self, expr: &'e Expr, sign: &str) -> Result<(), Fault> {
        let found = self.of(expr)?.name();
        if matches!(found, "bool" | "dyn") {
            return Ok(());
        }
        Err(Fault {
            near: sign.trim_matches('_').to_owned(),
            what: format!("expected type 'bool' but found '{found}'"),
        })
    }

    fn binary(&mut self, op: Binary, left: &'e Expr, right: &'e Expr) -> Found<'s> {
        let (left, right) = (self.of(left)?, self.of(right)?);
        let (a, b) = (left.name(), right.name());
        let known = SCALARS.contains(&a) && SCALARS.contains(&b);
        let time = |name: &str| matches!(name, "duration" | "timestamp");
        if known && a != b && op != Binary::In && !(time(a) && time(b)) {
            return Err(Fault {
                near: op.as_str().trim_matches('_').to_owned(),
                what: format!(
                    "found no matching overload for '{}' applied to '({a}, {b})'",
                    op.as_str()
                ),
            });
        }
        Ok(match op {
            Binary::Add
            | Binary::Subtract
            | Binary::Multiply
            | Binary::Divide
            | Binary::Remainder => {
                if a == b && SCALARS.contains(&a) && !time(a) {
                    Type::Simple(left.name())
                } else {
                    Type::Dyn
                }
            }
            _ => Type::Simple("bool"),
        })
    }

    fn call(&mut self, name: &str, target: Option<&'e Expr>, args: &'e [Expr]) -> Found<'s> {
        let qualified =
            matches!(target, Some(Expr::Ident(space)) if super::eval::is_namespace(space));
        let target = match target {
            Some(target) if !qualified => Some(self.of(target)?),
            _ => None,
        };
        for arg in args {
            self.of(arg)?;
        }
        Ok(match (name, target) {
            ("orValue" | "value", Some(Type::OptionalOf(schema))) => Type::Of(schema),
            ("size", _) | ("int", None) => Type::Simple("int"),
            ("string", None) => Type::Simple("string"),
            ("double", None) => Type::Simple("double"),
            ("bool", None) => Type::Simple("bool"),
            (
                "contains" | "startsWith" | "endsWith" | "matches" | "hasValue" | "isSorted"
                | "isIP" | "isCIDR" | "isURL" | "isQuantity" | "isSemver" | "isGreaterThan"
                | "isLessThan" | "containsIP" | "containsCIDR" | "isInteger",
                _,
            ) => Type::Simple("bool"),
            (
                "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "charAt" | "join"
                | "format",
                Some(_),
            ) => Type::Simple("string"),
            _ => Type::Dyn,
        })
    }

    fn select(&self, operand: Type<'s>, field: &str) -> Found<'s> {
        let undefined =
            || Fault { near: field.to_owned(), what: format!("undefined field '{field}'") };
        let node = match operand {
            Type::Of(node) | Type::OptionalOf(node) => node,
            Type::Variables => {
                let found = self.variables.iter().find(|(name, _)| name == field);
                return found.map(|(_, known)| *known).ok_or_else(undefined);
            }
            _ => return Ok(Type::Dyn),
        };
        match node.name() {
            "dyn" => Ok(Type::Dyn),
            "object" | "map" => node.field(field).ok_or_else(undefined),
            _ => Err(Fault {
                near: field.to_owned(),
                what: format!("type '{}' does not support field selection", operand.name()),
            }),
        }
    }
}

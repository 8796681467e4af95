//! The walk over an expression.

use super::unify::Bindings;
use super::{Env, Fault, Found, Near, Type, functions, records};
use crate::cel::ast::{Expr, Macro, MacroKind};

struct Check<'e, 's> {
    env: &'e Env<'s>,
    /// The names of loops and bindings.
    locals: Vec<(&'e str, Type<'s>)>,
    known: Bindings<'s>,
    /// What must be of one type, as it stands in one list or map.
    alike: Vec<(Type<'s>, Type<'s>)>,
    /// How deep in what may mix its items.
    mixed: usize,
}

/// The type that an expression has.
pub(super) fn check<'s>(env: &Env<'s>, expr: &Expr) -> Found<'s> {
    let known = Bindings::default();
    let mut check = Check { env, locals: Vec::new(), known, alike: Vec::new(), mixed: 0 };
    let found = check.of(expr)?;
    check.items_alike()?;
    Ok(check.known.finished(&found))
}

fn fault(near: Near, what: String) -> Fault {
    Fault { near, what }
}

fn undeclared(name: &str, near: Near) -> Fault {
    fault(near, format!("undeclared reference to '{name}' (in container '')"))
}

/// `a.b.c` of names alone.
fn path(expr: &Expr, field: &str) -> Option<String> {
    match expr {
        Expr::Ident(name) => Some(format!("{name}.{field}")),
        Expr::Select { operand, field: above, optional: false } => {
            Some(format!("{}.{field}", path(operand, above)?))
        }
        _ => None,
    }
}

impl<'e, 's> Check<'e, 's> {
    fn of(&mut self, expr: &'e Expr) -> Found<'s> {
        let found = self.any(expr)?;
        Ok(self.known.bounded(found))
    }

    fn any(&mut self, expr: &'e Expr) -> Found<'s> {
        Ok(match expr {
            Expr::Null => Type::NULL,
            Expr::Bool(_) => Type::BOOL,
            Expr::Int(_) => Type::INT,
            Expr::Uint(_) => Type::Named("uint"),
            Expr::Double(_) => Type::Named("double"),
            Expr::Text(_) => Type::STRING,
            Expr::Bytes(_) => Type::Named("bytes"),
            Expr::Ident(name) => self.ident(name)?,
            Expr::Select { operand, field, optional } => {
                if let Some(found) = self.by_path(operand, field) {
                    return Ok(found);
                }
                let operand = self.of(operand)?;
                let (found, inside) = self.select(&operand, field)?;
                if inside || *optional { Type::optional(found) } else { found }
            }
            Expr::Has { operand, field } => {
                let operand = self.of(operand)?;
                self.select(&operand, field)?;
                Type::BOOL
            }
            Expr::Index { operand, index, optional } => {
                let args = vec![self.of(operand)?, self.of(index)?];
                let name = if *optional { "_[?_]" } else { "_[_]" };
                self.resolve(name, Near::Sign("["), false, &args)?
            }
            Expr::Call { name, target, args } => self.call(name, target.as_deref(), args)?,
            Expr::Matches { target, method, .. } => {
                let args = [self.of(target)?, Type::STRING];
                self.resolve("matches", Near::Call("matches".to_owned()), *method, &args)?
            }
            Expr::Not(inner) => self.operator("!_", &[inner])?,
            Expr::Negate(inner) => self.operator("-_", &[inner])?,
            Expr::And(all) => self.junction(all, "&&")?,
            Expr::Or(all) => self.junction(all, "||")?,
            Expr::Binary { op, left, right } => self.operator(op.as_str(), &[left, right])?,
            Expr::Ternary { condition, yes, no } => {
                self.operator("_?_:_", &[condition, yes, no])?
            }
            Expr::List(items) => {
                let mut all = Vec::with_capacity(items.len());
                for (item, optional) in items {
                    all.push(self.item(item, *optional)?);
                }
                Type::list(self.joined(all))
            }
            Expr::Map(entries) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for (key, value, optional) in entries {
                    keys.push(self.of(key)?);
                    values.push(self.item(value, *optional)?);
                }
                let key = self.joined(keys);
                Type::map(key, self.joined(values))
            }
            Expr::Message { name, fields } => {
                self.message(name, fields)?;
                Type::Message(name.clone())
            }
            Expr::Bind { name, value, body } => {
                if !self.env.bindings {
                    return Err(undeclared("cel", Near::Name("cel".to_owned())));
                }
                let value = self.of(value)?;
                self.within(&[name.as_str()], [value], |check| check.of(body))?
            }
            Expr::Macro(inner) => self.looped(inner)?,
        })
    }

    fn unknown(&mut self) -> Type<'s> {
        Type::Param(self.known.fresh(1))
    }

    fn shown(&self, ty: &Type<'s>) -> String {
        self.known.finished(ty).shown()
    }

    // === Names ===

    fn ident(&self, name: &str) -> Found<'s> {
        let local = self.locals.iter().rev().find(|(known, _)| *known == name);
        if let Some(found) = local.map(|(_, ty)| ty).or_else(|| self.env.get(name)) {
            return Ok(found.clone());
        }
        if crate::cel::eval::is_type(name) {
            Ok(Type::TYPE)
        } else {
            Err(undeclared(name, Near::Name(name.to_owned())))
        }
    }

    /// `authorizer.requestResource` and `net.IP` are names.
    fn by_path(&self, operand: &Expr, field: &str) -> Option<Type<'s>> {
        let path = path(operand, field)?;
        let first = path.split('.').next()?;
        if self.locals.iter().any(|(known, _)| *known == first) {
            return None;
        }
        let is_type = || crate::cel::eval::named_type(&path).is_some();
        self.env.get(&path).cloned().or_else(|| is_type().then_some(Type::TYPE))
    }

    /// What a field holds, and whether it is one of an optional.
    fn select(&mut self, operand: &Type<'s>, field: &str) -> Result<(Type<'s>, bool), Fault> {
        let operand = self.known.resolved(operand);
        match &operand {
            Type::Optional(inner) => Ok((self.field(&self.known.resolved(inner), field)?, true)),
            operand => Ok((self.field(operand, field)?, false)),
        }
    }

    fn field(&self, operand: &Type<'s>, field: &str) -> Found<'s> {
        let near = || Near::Field(field.to_owned());
        let undefined = || fault(near(), format!("undefined field '{field}'"));
        match operand {
            Type::Dyn | Type::Param(_) => Ok(Type::Dyn),
            Type::Map(_, value) => Ok(Type::clone(value)),
            Type::Of(node) => node.field(field).ok_or_else(undefined),
            Type::Variables => {
                let all = &self.env.variables;
                let found = all.iter().find(|(name, _)| name == field);
                found.map(|(_, ty)| ty.clone()).ok_or_else(undefined)
            }
            Type::Message(name) => Ok(match (&**name, field) {
                ("JSONPatch", "op" | "path" | "from") => Type::STRING,
                _ => Type::Dyn,
            }),
            Type::Named(name) if let Some(fields) = records::of(name) => {
                let found = fields.iter().find(|(name, _)| *name == field);
                found.map(|(_, notation)| functions::read(notation)).ok_or_else(undefined)
            }
            other => {
                let shown = self.shown(other);
                Err(fault(near(), format!("type '{shown}' does not support field selection")))
            }
        }
    }

    fn within<T>(
        &mut self,
        names: &[&'e str],
        types: impl IntoIterator<Item = Type<'s>>,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.locals.len();
        self.locals.extend(names.iter().copied().zip(types));
        let done = work(self);
        self.locals.truncate(before);
        done
    }

    // === Functions ===

    fn call(&mut self, name: &'e str, target: Option<&'e Expr>, args: &'e [Expr]) -> Found<'s> {
        let space = match target {
            Some(Expr::Ident(space)) => Some(format!("{space}.{name}")),
            _ => None,
        };
        let space = space.filter(|full| match full.strip_prefix("jsonpatch.") {
            Some(_) => self.env.patches && !functions::of(full).is_empty(),
            None => !functions::of(full).is_empty(),
        });
        let mut takes = Vec::with_capacity(args.len() + 1);
        let mixes = usize::from(name == "format");
        self.mixed += mixes;
        if let (None, Some(target)) = (&space, target) {
            takes.push(self.of(target)?);
        }
        for arg in args {
            takes.push(self.of(arg)?);
        }
        self.mixed -= mixes;
        match space {
            Some(full) => self.resolve(&full, Near::Call(name.to_owned()), false, &takes),
            None if functions::of(name).is_empty() => {
                Err(undeclared(name, Near::Call(name.to_owned())))
            }
            None => self.resolve(name, Near::Call(name.to_owned()), target.is_some(), &takes),
        }
    }

    fn operator(&mut self, name: &'static str, operands: &[&'e Expr]) -> Found<'s> {
        let types = operands.iter().map(|operand| self.of(operand));
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let near = match name {
            "_?_:_" => "?",
            "@in" => "in",
            other => other.trim_matches('_'),
        };
        self.resolve(name, Near::Sign(near), false, &types)
    }

    /// The type that the function gives for these.
    fn resolve(
        &mut self,
        name: &str,
        near: Near,
        is_method: bool,
        takes: &[Type<'s>],
    ) -> Found<'s> {
        let mut gives: Option<Type<'s>> = None;
        for way in functions::of(name) {
            if way.is_method != is_method || way.takes.len() != takes.len() {
                continue;
            }
            let before = self.known.mark();
            let first = self.known.fresh(way.letters);
            let wanted = way.takes.iter().map(|ty| instance(ty, first));
            if takes.iter().zip(wanted).all(|(ty, wanted)| self.known.assignable(ty, &wanted)) {
                let made = self.known.resolved(&instance(&way.gives, first));
                gives = Some(match gives {
                    Some(other) if self.shown(&other) != self.shown(&made) => Type::Dyn,
                    _ => made,
                });
            } else {
                self.known.undo(before);
            }
        }
        gives.ok_or_else(|| {
            let mut shown = takes.iter().map(|ty| self.shown(ty));
            let target = if is_method { shown.next().map(|ty| ty + ".") } else { None };
            let (target, all) = (target.unwrap_or_default(), shown.collect::<Vec<_>>().join(", "));
            let what =
                format!("found no matching overload for '{name}' applied to '{target}({all})'");
            fault(near, what)
        })
    }

    fn junction(&mut self, all: &'e [Expr], sign: &'static str) -> Found<'s> {
        for one in all {
            let found = self.of(one)?;
            if !self.known.assignable(&found, &Type::BOOL) {
                let found = self.shown(&found);
                return Err(fault(
                    Near::Sign(sign),
                    format!("expected type 'bool' but found '{found}'"),
                ));
            }
        }
        Ok(Type::BOOL)
    }

    // === Lists, maps and messages ===

    /// An item of a list, or a value of a map; an optional one is what is in it.
    fn item(&mut self, item: &'e Expr, optional: bool) -> Found<'s> {
        let found = self.of(item)?;
        if !optional {
            return Ok(found);
        }
        let inner = self.unknown();
        if self.known.assignable(&found, &Type::optional(inner.clone())) {
            return Ok(inner);
        }
        let found = self.shown(&found);
        Err(fault(Near::Sign("?"), format!("expected type 'optional_type' but found '{found}'")))
    }

    /// The type of all items.
    fn joined(&mut self, items: Vec<Type<'s>>) -> Type<'s> {
        let mut items = items.into_iter();
        let Some(first) = items.next() else { return self.unknown() };
        let mut of = first.clone();
        for next in items {
            let fits = self.known.assignable(&of, &next);
            if !fits || matches!(self.known.resolved(&next), Type::Dyn) {
                of = Type::Dyn;
            }
            if self.mixed == 0 {
                self.alike.push((first.clone(), next));
            }
        }
        of
    }

    /// Whether the items of every list and map are of one type.
    fn items_alike(&self) -> Result<(), Fault> {
        for (first, next) in &self.alike {
            let (first, next) = (self.shown(first), self.shown(next));
            let is_known = || !first.contains("dyn") && !next.contains("dyn");
            if first != next && (!self.env.lenient || is_known()) {
                return Err(fault(
                    Near::Start,
                    format!("expected type '{first}' but found '{next}'"),
                ));
            }
        }
        Ok(())
    }

    fn message(&mut self, name: &str, fields: &'e Expr) -> Result<(), Fault> {
        if !self.env.patches {
            return Err(undeclared(name, Near::Message(name.to_owned())));
        }
        let Expr::Map(fields) = fields else { return Ok(()) };
        for (field, value, optional) in fields {
            let (Expr::Text(field), found) = (field, self.item(value, *optional)?) else {
                continue;
            };
            // A field that a patch does not have is of no type.
            let wanted = match (name, &**field) {
                ("JSONPatch", "op" | "path" | "from") => "string",
                ("JSONPatch", "value") => continue,
                ("JSONPatch", _) => "",
                _ => continue,
            };
            if !self.known.assignable(&found, &Type::Named(wanted)) {
                let found = self.shown(&found);
                let what = format!(
                    "expected type of field '{field}' is '{wanted}' but provided type is '{found}'"
                );
                return Err(fault(Near::Key(field.to_string()), what));
            }
        }
        Ok(())
    }

    // === Loops ===

    fn looped(&mut self, inner: &'e Macro) -> Found<'s> {
        use MacroKind::{
            All, Exists, ExistsOne, Filter, Map, OptFlatMap, OptMap, SortBy, TransformList,
            TransformMap, TransformMapEntry,
        };
        let range = self.of(&inner.range)?;
        let range = self.known.resolved(&range);
        let names: Vec<&'e str> = inner.names.iter().map(String::as_str).collect();
        if matches!(inner.kind, OptMap | OptFlatMap) {
            let value = self.resolve("value", Near::Sign("opt"), true, &[range])?;
            let body = self.within(&names, [value], |check| check.of(&inner.body))?;
            return Ok(if inner.kind == OptMap { Type::optional(body) } else { body });
        }
        let (key, value) = match &range {
            Type::Dyn | Type::Param(_) => (Type::Dyn, Type::Dyn),
            Type::List(item) => (Type::INT, Type::clone(item)),
            Type::Map(key, value) => (Type::clone(key), Type::clone(value)),
            other => {
                let shown = self.shown(other);
                let what = format!(
                    "expression of type '{shown}' cannot be range of a comprehension (must be \
                     list, map, or dynamic)"
                );
                return Err(fault(Near::Start, what));
            }
        };
        // With one name it is the item of a list, or the key of a map.
        let one = if matches!(range, Type::List(_)) { value.clone() } else { key.clone() };
        let types = if names.len() == 2 { vec![key.clone(), value] } else { vec![one.clone()] };
        let body = self.within(&names, types, |check| {
            if let Some(filter) = &inner.filter {
                let found = check.of(filter)?;
                check.condition(&found)?;
            }
            check.of(&inner.body)
        })?;
        Ok(match inner.kind {
            All | Exists => {
                let sign = if inner.kind == All { "&&" } else { "||" };
                if !self.known.assignable(&body, &Type::BOOL) {
                    let found = self.shown(&body);
                    return Err(fault(
                        Near::Sign(sign),
                        format!("expected type 'bool' but found '{found}'"),
                    ));
                }
                Type::BOOL
            }
            ExistsOne => {
                self.condition(&body)?;
                Type::BOOL
            }
            Filter => {
                self.condition(&body)?;
                Type::list(one)
            }
            SortBy => range,
            Map | TransformList => Type::list(body),
            TransformMap => Type::map(key, body),
            TransformMapEntry => {
                let (key, value) = (self.unknown(), self.unknown());
                let made = Type::map(key, value);
                if !self.known.assignable(&body, &made) {
                    let found = self.shown(&body);
                    return Err(fault(
                        Near::Start,
                        format!("expected type 'map' but found '{found}'"),
                    ));
                }
                made
            }
            OptMap | OptFlatMap => Type::Dyn,
        })
    }

    /// What decides in a loop must be true or false.
    fn condition(&mut self, found: &Type<'s>) -> Result<(), Fault> {
        let accumulated = self.unknown();
        let args = [found.clone(), accumulated.clone(), accumulated];
        self.resolve("_?_:_", Near::Start, false, &args).map(drop)
    }
}

/// A type of the table with its letters as parameters from a number on.
fn instance<'s>(ty: &Type<'static>, first: usize) -> Type<'s> {
    match ty {
        Type::Param(at) => Type::Param(first + at),
        Type::List(item) => Type::list(instance(item, first)),
        Type::Map(key, value) => Type::map(instance(key, first), instance(value, first)),
        Type::Optional(inner) => Type::optional(instance(inner, first)),
        Type::Named(name) => Type::Named(name),
        _ => Type::Dyn,
    }
}

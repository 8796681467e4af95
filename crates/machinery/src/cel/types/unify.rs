//! Whether a value of one type may stand where one of another is wanted, and what that says of what
//! is not known yet.

use super::Type;

/// The most parts of a type.
const MOST_PARTS: usize = 256;

/// What is known of the parameters.
#[derive(Debug, Default)]
pub(super) struct Bindings<'s> {
    of: Vec<Option<Type<'s>>>,
    /// What stood where something was learned, to be undone when an overload does not fit.
    log: Vec<(usize, Option<Type<'s>>)>,
}

/// How much was known at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    params: usize,
    learned: usize,
}

impl<'s> Bindings<'s> {
    /// Parameters of which nothing is known; the number of the first.
    pub(super) fn fresh(&mut self, count: usize) -> usize {
        let first = self.of.len();
        self.of.resize(first + count, None);
        first
    }

    /// What is known now.
    pub(super) fn mark(&self) -> Mark {
        Mark { params: self.of.len(), learned: self.log.len() }
    }

    /// Forgets what was learned since.
    pub(super) fn undo(&mut self, mark: Mark) {
        for (param, before) in self.log.drain(mark.learned..).rev() {
            if let Some(place) = self.of.get_mut(param) {
                *place = before;
            }
        }
        self.of.truncate(mark.params);
    }

    fn learn(&mut self, param: usize, ty: Type<'s>) {
        if let Some(place) = self.of.get_mut(param) {
            self.log.push((param, place.replace(ty)));
        }
    }

    /// Follows a parameter to what it stands for; and the last parameter on the way.
    fn head(&self, ty: &Type<'s>) -> (Option<usize>, Type<'s>) {
        let (mut last, mut ty) = (None, ty.clone());
        while let Type::Param(at) = ty {
            last = Some(at);
            match self.of.get(at) {
                Some(Some(bound)) => ty = bound.clone(),
                _ => break,
            }
        }
        (last, ty)
    }

    /// `dyn` in the place of a type of more parts than anybody writes: one that stands in itself
    /// twice doubles with each step.
    pub(super) fn bounded(&self, ty: Type<'s>) -> Type<'s> {
        let mut left = MOST_PARTS;
        if self.fits(&ty, &mut left) { ty } else { Type::Dyn }
    }

    fn fits(&self, ty: &Type<'s>, left: &mut usize) -> bool {
        let Some(rest) = left.checked_sub(1) else { return false };
        *left = rest;
        match self.head(ty).1 {
            Type::List(inner) | Type::Optional(inner) => self.fits(&inner, left),
            Type::Map(key, value) => self.fits(&key, left) && self.fits(&value, left),
            _ => true,
        }
    }

    /// The type with all that is known.
    pub(super) fn resolved(&self, ty: &Type<'s>) -> Type<'s> {
        match self.head(ty).1 {
            Type::List(item) => Type::list(self.resolved(&item)),
            Type::Map(key, value) => Type::map(self.resolved(&key), self.resolved(&value)),
            Type::Optional(inner) => Type::optional(self.resolved(&inner)),
            other => other,
        }
    }

    /// The type with `dyn` for what is not known.
    pub(super) fn finished(&self, ty: &Type<'s>) -> Type<'s> {
        match self.head(ty).1 {
            Type::List(item) => Type::list(self.finished(&item)),
            Type::Map(key, value) => Type::map(self.finished(&key), self.finished(&value)),
            Type::Optional(inner) => Type::optional(self.finished(&inner)),
            Type::Param(_) => Type::Dyn,
            other => other,
        }
    }

    fn occurs(&self, param: usize, ty: &Type<'s>) -> bool {
        match self.head(ty).1 {
            Type::Param(at) => at == param,
            Type::List(inner) | Type::Optional(inner) => self.occurs(param, &inner),
            Type::Map(key, value) => self.occurs(param, &key) || self.occurs(param, &value),
            _ => false,
        }
    }

    fn bind(&mut self, param: usize, ty: Type<'s>) -> bool {
        if self.occurs(param, &ty) {
            return false;
        }
        self.learn(param, ty);
        true
    }

    /// Whether the types go together; what is not known becomes known.
    pub(super) fn assignable(&mut self, one: &Type<'s>, other: &Type<'s>) -> bool {
        let ((one_param, one), (other_param, other)) = (self.head(one), self.head(other));
        match (one, other) {
            (Type::Param(a), Type::Param(b)) if a == b => true,
            (Type::Param(param), ty) | (ty, Type::Param(param)) => self.bind(param, ty),
            // What was known of a parameter becomes more general.
            (Type::Dyn, _) | (_, Type::Dyn) => {
                for param in [one_param, other_param].into_iter().flatten() {
                    self.learn(param, Type::Dyn);
                }
                true
            }
            (Type::Named(a), Type::Named(b)) if a == b => true,
            (Type::Named("null_type"), ty) | (ty, Type::Named("null_type")) => is_nullable(&ty),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.assignable(&a, &b)
            }
            (Type::Map(a, b), Type::Map(c, d)) => {
                self.assignable(&a, &c) && self.assignable(&b, &d)
            }
            (Type::Message(a), Type::Message(b)) => a == b,
            (Type::Of(_), Type::Of(_)) | (Type::Variables, Type::Variables) => true,
            _ => false,
        }
    }
}

fn is_nullable(ty: &Type<'_>) -> bool {
    match ty {
        Type::Of(_) | Type::Message(_) | Type::Variables | Type::Optional(_) => true,
        // Of libraries and records.
        Type::Named(name) => name.contains('.') || matches!(*name, "timestamp" | "duration"),
        _ => false,
    }
}

//! Whether a value of one type may stand where one of another is wanted, and what that says of what
//! is not known yet.

use super::Type;

/// What is known of the parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings<'s>(Vec<Option<Type<'s>>>);

impl<'s> Bindings<'s> {
    /// Parameters of which nothing is known; the number of the first.
    pub(super) fn fresh(&mut self, count: usize) -> usize {
        let first = self.0.len();
        self.0.resize(first + count, None);
        first
    }

    /// Follows a parameter to what it stands for; and the last parameter on the way.
    fn head(&self, ty: &Type<'s>) -> (Option<usize>, Type<'s>) {
        let (mut last, mut ty) = (None, ty.clone());
        while let Type::Param(at) = ty {
            last = Some(at);
            match self.0.get(at) {
                Some(Some(bound)) => ty = bound.clone(),
                _ => break,
            }
        }
        (last, ty)
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
        if let Some(place) = self.0.get_mut(param) {
            *place = Some(ty);
        }
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
                    if let Some(place) = self.0.get_mut(param) {
                        *place = Some(Type::Dyn);
                    }
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

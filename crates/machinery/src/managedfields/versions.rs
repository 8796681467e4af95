//! Entries of other versions: whether their fields have changed is seen in their own version.

use std::borrow::Cow;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::entries::Managed;
use super::fields::of_object;
use super::types::Type;
use super::update::Writer;

/// What is known of the versions of a kind.
pub trait Versions {
    /// Whether entries of this version can still be understood.
    fn is_served(&self, api_version: &str) -> bool;

    /// An object in another version; `None` where only the version's name differs.
    fn converted(&self, _object: &Value, _api_version: &str) -> Option<Value> {
        None
    }

    /// The type of the objects of a version; `None`: the same as the writer's.
    fn type_of(&self, _api_version: &str) -> Option<Type<'_>> {
        None
    }
}

/// Kinds of one version; the function says which versions there were.
impl<F: Fn(&str) -> bool> Versions for F {
    fn is_served(&self, api_version: &str) -> bool {
        self(api_version)
    }
}

/// What has changed, in every version that somebody owns fields in.
pub(super) struct Comparisons {
    /// The version that is written.
    pub(super) own: Comparison,
    others: Vec<(String, Comparison)>,
}

impl Comparisons {
    /// In a version.
    pub(super) fn of(&self, api_version: &str) -> &Comparison {
        let other = self.others.iter().find(|(version, _)| version == api_version);
        other.map_or(&self.own, |(_, comparison)| comparison)
    }

    pub(super) fn are_same(&self) -> bool {
        self.own.is_same() && self.others.iter().all(|(_, comparison)| comparison.is_same())
    }
}

impl<'a> Writer<'a> {
    /// An object in a version, and what its objects are.
    pub(super) fn seen<'v>(
        &self,
        object: &'v Value,
        api_version: &str,
    ) -> (Cow<'v, Value>, Type<'a>) {
        let own = api_version == self.api_version;
        let ty = if own { None } else { self.versions.type_of(api_version) };
        let ty = ty.unwrap_or(self.ty);
        let found = object.get("apiVersion").and_then(Value::as_str).unwrap_or(self.api_version);
        let converted =
            if found == api_version { None } else { self.versions.converted(object, api_version) };
        (converted.map_or(Cow::Borrowed(object), Cow::Owned), ty)
    }

    /// What has changed from one object to the other (from nothing to it), in every version of an
    /// entry. `own` is the comparison in the version that is written.
    pub(super) fn comparisons(
        &self,
        old: Option<&Value>,
        new: &Value,
        own: Comparison,
        managed: &Managed,
    ) -> Comparisons {
        let mut all = Comparisons { own: own.without(self.reset), others: Vec::new() };
        for entry in &managed.0 {
            let version = entry.api_version.as_str();
            if version == self.api_version || all.others.iter().any(|(known, _)| known == version) {
                continue;
            }
            let (new, ty) = self.seen(new, version);
            let found = match old {
                Some(old) => compare(ty, &self.seen(old, version).0, &new),
                None => Comparison { added: of_object(ty, &new), ..Comparison::default() },
            };
            all.others.push((version.to_owned(), found.without(self.reset)));
        }
        all
    }
}

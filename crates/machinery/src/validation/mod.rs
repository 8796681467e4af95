//! What is wrong with an object, in the words of Kubernetes.
//!
//! Rules read an object through [`At`], a value that knows its path, and push what they find onto
//! [`Errors`]. Types have been checked by the schema before: a value of the wrong type reads as
//! absent here. [`metadata`] and [`metadata_update`] are for the generic path of every kind; the
//! rules of a kind stand in its file under [`kinds`](crate::kinds).

use onggi_api::{FieldError, FieldPath, sought};
use serde_json::Value;

use crate::conversion::Version;
use crate::resource::Resource;

pub mod addresses;
mod conditions;
mod keys;
pub mod labels;
mod metadata;
pub mod names;
pub mod shown;
pub mod webhook;

pub use conditions::conditions;
use keys::Keys;
pub use metadata::{annotations, metadata, metadata_update};

/// Everything that is wrong with a new object: its metadata, then the rules of its kind. `version`:
/// the one it was sent in, where that is not the stored one.
pub fn create(object: &Value, resource: &Resource, version: Option<&Version>) -> Errors {
    sought(|| {
        let mut errors = metadata(object, resource);
        errors.extend((resource.validate)(object));
        let create = version.and_then(|version| version.create);
        errors.extend(create.unwrap_or(resource.validate_create)(object));
        settle(&mut errors, resource);
        errors
    })
}

/// Errors show values as Go does.
pub fn settle(errors: &mut Errors, resource: &Resource) {
    if errors.is_empty() {
        return;
    }
    if let Some(schema) = onggi_api::schema::of(resource.group, resource.version, resource.kind) {
        shown::settle(errors, schema);
    }
}

/// Everything that is wrong with a changed object.
pub fn update(object: &Value, old: &Value, resource: &Resource) -> Errors {
    sought(|| {
        let mut errors = metadata_update(object, old, resource);
        errors.extend((resource.validate)(object));
        errors.extend((resource.validate_update)(object, old));
        errors
    })
}

/// What was found so far.
pub type Errors = Vec<FieldError>;

/// The text for a field that may never change.
pub const IMMUTABLE: &str = "field is immutable";

/// The text for a number below zero.
pub const NEGATIVE: &str = "must be greater than or equal to 0";

/// A value and its place in the object.
#[derive(Debug, Clone)]
pub struct At<'a> {
    /// The value; `Null` where there is nothing.
    pub value: &'a Value,
    /// Its path.
    pub path: FieldPath,
    keys: Keys,
}

impl<'a> At<'a> {
    /// The object itself.
    pub fn root(object: &'a Value) -> Self {
        Self::new(object, FieldPath::root())
    }

    /// A value that stands somewhere.
    pub fn new(value: &'a Value, path: FieldPath) -> Self {
        Self { value, path, keys: Keys::default() }
    }

    /// The value at a dotted path below this one.
    pub fn child(&self, path: &str) -> Self {
        Self::new(self.keys.find(self.value, path), self.path.child(path))
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let list = self.value.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().enumerate().map(move |(i, value)| At::new(value, path.index(i)))
    }

    /// The items of a list below this one.
    pub fn each(&self, path: &str) -> impl Iterator<Item = At<'a>> + use<'a> {
        let found = self.keys.find(self.value, path);
        let list = found.as_array().map_or(&[][..], Vec::as_slice);
        // Most lists are not there: then nobody needs their path.
        let path = if list.is_empty() { FieldPath::root() } else { self.path.child(path) };
        list.iter().enumerate().map(move |(i, value)| At::new(value, path.index(i)))
    }

    /// The entries of a map with free keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let map = self.value.as_object();
        map.into_iter()
            .flatten()
            .map(move |(key, value)| (key.as_str(), At::new(value, path.key(key))))
    }

    /// Those of the named children that are set.
    pub fn present(&self, names: &[&str]) -> Vec<At<'a>> {
        self.named(names).into_iter().map(|(_, child)| child).collect()
    }

    /// The same, each with its name.
    pub fn named<'n>(&self, names: &[&'n str]) -> Vec<(&'n str, At<'a>)> {
        // There are few, and many names: each that is there is looked up among them.
        let map = self.value.as_object().into_iter().flatten();
        let set = map.filter(|(_, value)| !value.is_null());
        let mut places: Vec<_> =
            set.filter_map(|(key, _)| names.iter().position(|name| name == key)).collect();
        places.sort_unstable();
        places.into_iter().map(|place| (names[place], self.child(names[place]))).collect()
    }

    /// Whether there is anything.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text; empty where there is none.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    /// The whole number.
    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The truth value; false where there is none.
    pub fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// The value is malformed.
    pub fn invalid(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.path, self.value.clone(), detail)
    }

    /// The value must be there.
    pub fn required(&self, detail: impl Into<String>) -> FieldError {
        FieldError::required(&self.path, detail)
    }

    /// The value is not allowed here.
    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.path, detail)
    }

    /// The value was there before.
    pub fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.path, self.value.clone())
    }

    // --- Rules that many fields have ---

    /// The text must not be empty; says whether it is there.
    pub fn must_be_set(&self, errors: &mut Errors) -> bool {
        let set = !self.text().is_empty();
        if !set {
            errors.push(self.required(""));
        }
        set
    }

    /// Every complaint of a rule for texts is an error.
    pub fn must(&self, rule: impl Fn(&str) -> Vec<String>, errors: &mut Errors) {
        errors.extend(rule(self.text()).into_iter().map(|detail| self.invalid(detail)));
    }

    /// The same for a text that may be left out.
    pub fn may(&self, rule: impl Fn(&str) -> Vec<String>, errors: &mut Errors) {
        if !self.text().is_empty() {
            self.must(rule, errors);
        }
    }

    /// The same for a text that counts where it is set, empty or not.
    pub fn if_set(&self, rule: impl Fn(&str) -> Vec<String>, errors: &mut Errors) {
        if self.is_set() {
            self.must(rule, errors);
        }
    }

    /// A text of a fixed set, which may be left out.
    pub fn one_of(&self, known: &[&str], errors: &mut Errors) {
        if self.is_set() && !known.contains(&self.text()) {
            errors.push(FieldError::not_supported(&self.path, self.text(), known));
        }
    }

    /// A text of a fixed set, which must be there.
    pub fn required_one_of(&self, known: &[&str], errors: &mut Errors) {
        if self.must_be_set(errors) {
            self.one_of(known, errors);
        }
    }

    /// A text of at most so many bytes.
    pub fn at_most(&self, max: usize, errors: &mut Errors) {
        if self.text().len() > max {
            errors.push(FieldError::too_long(&self.path, max));
        }
    }

    /// A number that may be left out and is not below zero.
    pub fn not_negative(&self, errors: &mut Errors) {
        if self.int().is_some_and(|number| number < 0) {
            errors.push(self.invalid(NEGATIVE));
        }
    }

    /// An amount that is not below zero.
    pub fn not_negative_quantity(&self, errors: &mut Errors) {
        match self.text().parse::<onggi_api::Quantity>() {
            Ok(amount) if amount.is_negative() => errors.push(self.invalid(NEGATIVE)),
            _ => {}
        }
    }

    /// A number that may be left out, between two bounds.
    pub fn between(&self, low: i64, high: i64, errors: &mut Errors) {
        if self.int().is_some_and(|number| !(low..=high).contains(&number)) {
            let detail = format!("must be between {low} and {high}, inclusive");
            errors.push(self.invalid(detail));
        }
    }

    /// The field must be what it was.
    pub fn unchanged(&self, old: &Value, errors: &mut Errors) {
        if self.value != old {
            errors.push(self.invalid(IMMUTABLE));
        }
    }

    /// A port number that must be there.
    pub fn port_number(&self, errors: &mut Errors) {
        errors.extend(names::port_number(self.int()).map(|detail| self.invalid(detail)));
    }

    /// A port number, or the name of a port.
    pub fn port_or_name(&self, errors: &mut Errors) {
        if self.value.is_string() {
            self.must(names::port_name, errors);
        } else {
            self.port_number(errors);
        }
    }
}

/// Says which items have a `field` that an earlier item has; items without it are let be.
pub fn duplicates<'a>(items: impl Iterator<Item = At<'a>>, field: &str, errors: &mut Errors) {
    let mut seen = std::collections::HashSet::new();
    for item in items {
        let found = item.child(field);
        if !found.text().is_empty() && !seen.insert(found.text()) {
            errors.push(found.duplicate());
        }
    }
}

/// Whether an address is one, of any family.
pub fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

//! What is wrong with a field, in the words of Kubernetes
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::cell::Cell;
use std::fmt;

use serde_json::Value;

use crate::decimal::Decimal;

thread_local! {
    /// Whether paths are left empty: see [`sought`].
    static UNWRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// What the rules find. Nearly everything that is looked at is right, and nobody reads where: so
/// paths stay empty at first, and the rules run again with them where something was found.
/// They must not decide by the text of a path.
pub fn sought<T>(rules: impl Fn() -> Vec<T>) -> Vec<T> {
    struct Unwritten(bool);
    impl Drop for Unwritten {
        fn drop(&mut self) {
            UNWRITTEN.set(self.0);
        }
    }
    let unwritten = Unwritten(UNWRITTEN.replace(true));
    let found = rules();
    drop(unwritten);
    if found.is_empty() {
        debug_assert!(rules().is_empty(), "a rule decides by the text of a path");
        return found;
    }
    rules()
}

/// The place of a field: `spec.containers[0].name`, `data[key]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldPath(String);

impl FieldPath {
    /// The object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// From a path that is already written out.
    pub fn new(path: impl Into<String>) -> Self {
        if UNWRITTEN.get() { Self::root() } else { Self(path.into()) }
    }

    /// `self.name`.
    pub fn child(&self, name: &str) -> Self {
        if UNWRITTEN.get() {
            return Self::root();
        }
        self.with([if self.0.is_empty() { "" } else { "." }, name, ""])
    }

    /// `self[index]`.
    pub fn index(&self, index: usize) -> Self {
        if UNWRITTEN.get() {
            return Self::root();
        }
        self.with(["[", Decimal::of(index as u64).as_str(), "]"])
    }

    /// `self[key]`, for maps whose keys are free.
    pub fn key(&self, key: &str) -> Self {
        self.with(["[", key, "]"])
    }

    /// Validation makes hundreds of these for a pod: one allocation each, and no formatter.
    fn with(&self, parts: [&str; 3]) -> Self {
        if UNWRITTEN.get() {
            return Self::root();
        }
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut path = String::with_capacity(self.0.len() + length);
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Self(path)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The kinds of field errors; `reason()` is what a `Status` cause carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value that must be there is not.
    Required,
    /// The value is malformed.
    Invalid,
    /// Not one of the values known.
    NotSupported,
    /// It must be unique and is not.
    Duplicate,
    /// Well-formed, and not allowed here.
    Forbidden,
    /// A text that is too long.
    TooLong,
    /// A list that is too long.
    TooMany,
    /// It names something that is not there.
    NotFound,
    /// The JSON type is wrong.
    TypeInvalid,
    /// A fault of ours.
    Internal,
}

impl FieldErrorKind {
    /// The reason in `Status.details.causes`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of fault.
    pub kind: FieldErrorKind,
    /// Where.
    pub path: FieldPath,
    /// The value found, where showing it helps; absent for `Required`, `Forbidden`, `TooLong`.
    pub value: Option<Value>,
    /// How the value looks, where that is not its JSON.
    pub shown: Option<String>,
    /// What would be right.
    pub detail: String,
}

impl FieldError {
    fn new(
        kind: FieldErrorKind,
        path: &FieldPath,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, path: path.clone(), value, shown: None, detail: detail.into() }
    }

    /// A value that must be there is not.
    pub fn required(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, None, detail)
    }

    /// The value is malformed.
    pub fn invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, Some(value.into()), detail)
    }

    /// Not one of the values known, which are listed in the detail.
    pub fn not_supported(path: &FieldPath, value: impl Into<Value>, known: &[&str]) -> Self {
        let list = known.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ");
        let detail = format!("supported values: {list}");
        Self::new(FieldErrorKind::NotSupported, path, Some(value.into()), detail)
    }

    /// It must be unique and is not.
    pub fn duplicate(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, Some(value.into()), "")
    }

    /// Well-formed, and not allowed here.
    pub fn forbidden(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, None, detail)
    }

    /// A text longer than `max` bytes.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::new(FieldErrorKind::TooLong, path, None, detail)
    }

    /// A list longer than `max` items.
    pub fn too_many(path: &FieldPath, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self::new(FieldErrorKind::TooMany, path, Some(actual.into()), detail)
    }

    /// It names something that is not there.
    pub fn not_found(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// The JSON type is wrong.
    pub fn type_invalid(
        path: &FieldPath,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, path, Some(value.into()), detail)
    }

    /// The message without the path: what a `Status` cause carries.
    pub fn message(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            match &self.shown {
                Some(shown) => text.push_str(shown),
                None => text.push_str(&value.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_kubernetes() {
        let path = FieldPath::root().child("spec").child("containers").index(0).child("name");
        assert_eq!(
            FieldError::required(&path, "").to_string(),
            "spec.containers[0].name: Required value"
        );
        assert_eq!(
            FieldError::not_supported(&FieldPath::new("type"), "x", &["A", "B"]).to_string(),
            "type: Unsupported value: \"x\": supported values: \"A\", \"B\""
        );
        let data = FieldPath::new("data").key("k");
        assert_eq!(
            FieldError::invalid(&data, 3, "no").to_string(),
            "data[k]: Invalid value: 3: no"
        );
    }

    #[test]
    fn paths_are_written_only_where_something_is_wrong() {
        let asked = Cell::new(0);
        let look = |wrong: bool| {
            sought(|| {
                asked.set(asked.get() + 1);
                let path = FieldPath::new("spec").child("containers").index(0).key("a");
                if wrong { vec![FieldError::required(&path, "")] } else { Vec::new() }
            })
        };
        assert!(look(false).is_empty());
        let right = asked.replace(0);
        assert_eq!(look(true)[0].to_string(), "spec.containers[0][a]: Required value");
        assert_eq!((right, asked.get()), (if cfg!(debug_assertions) { 2 } else { 1 }, 2));
        assert_eq!(FieldPath::new("later").as_str(), "later");
    }
}

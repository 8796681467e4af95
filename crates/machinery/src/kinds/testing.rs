//! What the tests of the kinds share: objects as YAML, errors as text.

use serde_json::Value;

use crate::resource::Resource;
use crate::schema::{self, FieldValidation};
use crate::validation::Errors;

/// An object from YAML.
pub(crate) fn yaml(text: &str) -> Value {
    crate::yaml::parse(text).unwrap()
}

/// An object on its way to the store: checked against its schema, prepared, defaulted.
#[track_caller]
pub(crate) fn created(resource: &Resource, text: &str) -> Value {
    let mut object = yaml(text);
    admit(resource, &mut object);
    (resource.prepare_create)(&mut object);
    (resource.default)(&mut object);
    // What is stored passes unchanged when it comes back in an update.
    let mut again = object.clone();
    admit(resource, &mut again);
    (resource.default)(&mut again);
    assert_eq!(object, again, "{object:#}\n{again:#}");
    object
}

#[track_caller]
fn admit(resource: &Resource, object: &mut Value) {
    if let Err(problem) = schema::admit(object, &resource.gvk(), FieldValidation::Strict) {
        panic!("{problem}");
    }
}

/// Compares what was found with the beginnings of the texts expected.
#[track_caller]
pub(crate) fn expect(errors: &Errors, expected: &[&str], case: &str) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let fits = texts.len() == expected.len()
        && texts.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(fits, "{case}\nfound: {texts:#?}\nexpected: {expected:#?}");
}

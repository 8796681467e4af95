//! What the tests of the kinds share: objects as YAML, errors as text.

use serde_json::Value;

use crate::resource::Resource;
use crate::validation::Errors;

/// An object from YAML.
pub(crate) fn yaml(text: &str) -> Value {
    crate::yaml::parse(text).unwrap()
}

/// An object as it would be stored: prepared, then defaulted.
pub(crate) fn created(resource: &Resource, text: &str) -> Value {
    let mut object = yaml(text);
    (resource.prepare_create)(&mut object);
    (resource.default)(&mut object);
    let again = {
        let mut again = object.clone();
        (resource.default)(&mut again);
        again
    };
    assert_eq!(object, again, "defaulting is idempotent");
    object
}

/// Compares what was found with the beginnings of the texts expected.
#[track_caller]
pub(crate) fn expect(errors: &Errors, expected: &[&str], case: &str) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let fits = texts.len() == expected.len()
        && texts.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(fits, "{case}\nfound: {texts:#?}\nexpected: {expected:#?}");
}

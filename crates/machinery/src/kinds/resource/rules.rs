//! Rules that several kinds of this group share.

use std::collections::HashSet;

use onggi_api::FieldError;

use crate::admission::environment;
use crate::cel::compile;
use crate::kinds::storage::driver_name;
use crate::validation::{At, Errors, names};

pub(super) const LIST_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const DOMAIN_MAX: usize = 63;
const IDENTIFIER_MAX: usize = 32;
const POOL_MAX: usize = 253;

/// A list of no more than so many items.
pub(super) fn limited(list: &At<'_>, max: usize, errors: &mut Errors) {
    let count = list.items().count();
    if count > max {
        errors.push(FieldError::too_many(&list.path, count, max));
    }
}

/// Items that have a key of their own each.
pub(super) fn unique<'a>(list: &At<'a>, key: impl Fn(&At<'a>) -> &'a str, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for item in list.items() {
        let found = key(&item);
        if !found.is_empty() && !seen.insert(found) {
            errors.push(FieldError::duplicate(&item.path, found));
        }
    }
}

/// What a device must be like.
pub(super) fn selectors(list: &At<'_>, errors: &mut Errors) {
    limited(list, LIST_MAX, errors);
    for selector in list.items() {
        let cel = selector.child("cel");
        if cel.is_set() {
            expression(&cel.child("expression"), errors);
        } else {
            errors.push(cel.required(""));
        }
    }
}

fn expression(expression: &At<'_>, errors: &mut Errors) {
    if expression.text().len() > EXPRESSION_MAX {
        return expression.at_most(EXPRESSION_MAX, errors);
    }
    match compile(expression.text(), &environment::of_devices()) {
        Err(error) => errors.push(expression.invalid(format!("compilation failed: {error}"))),
        Ok(program) => {
            let found = program.ty().text();
            if !matches!(found.as_str(), "bool" | "dyn") {
                errors
                    .push(expression.invalid(format!(
                        "must evaluate to bool or the unknown type, not {found}"
                    )));
            }
        }
    }
}

/// What a driver is told, in its own words.
pub(super) fn configuration(config: &At<'_>, errors: &mut Errors) {
    let opaque = config.child("opaque");
    if !opaque.is_set() {
        return errors.push(opaque.required(""));
    }
    driver_name(&opaque.child("driver"), errors);
    let parameters = opaque.child("parameters");
    if !parameters.is_set() {
        errors.push(parameters.required(""));
    } else if !parameters.value.is_object() {
        let detail = "must be a valid JSON object";
        errors.push(FieldError::invalid(&parameters.path, "<value omitted>", detail));
    } else if parameters.value.to_string().len() > PARAMETERS_MAX {
        errors.push(FieldError::too_long(&parameters.path, PARAMETERS_MAX));
    }
}

/// `domain/identifier`; some names may leave the domain out.
pub(super) fn qualified(name: &str, with_domain: bool) -> Vec<String> {
    let (domain, identifier) = match name.split_once('/') {
        Some((domain, identifier)) => (Some(domain), identifier),
        None => (None, name),
    };
    let mut wrong = Vec::new();
    match domain {
        None if with_domain => wrong.push("must include a domain".to_owned()),
        None => {}
        Some("") => wrong.push("the domain must not be empty".to_owned()),
        Some(domain) => {
            if domain.len() > DOMAIN_MAX {
                wrong.push(format!("the domain may not be more than {DOMAIN_MAX} bytes"));
            }
            wrong.extend(names::dns1123_subdomain(domain));
        }
    }
    if identifier.is_empty() {
        wrong.push("the name must not be empty".to_owned());
    } else {
        if identifier.len() > IDENTIFIER_MAX {
            wrong.push(format!("the name may not be more than {IDENTIFIER_MAX} bytes"));
        }
        wrong.extend(c_identifier(identifier));
    }
    wrong
}

fn c_identifier(text: &str) -> Option<String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let right = text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit());
    (!right).then(|| {
        "a valid C identifier must start with alphabetic character or '_', followed by a string of \
         alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used \
         for validation is '[A-Za-z_][A-Za-z0-9_]*')"
            .to_owned()
    })
}

/// The name of a pool: parts between slashes.
pub(super) fn pool_name(name: &At<'_>, errors: &mut Errors) {
    if !name.must_be_set(errors) {
        return;
    }
    name.at_most(POOL_MAX, errors);
    for part in name.text().split('/') {
        let wrong = names::dns1123_subdomain(part);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&name.path, part, e)));
    }
}

/// A name that must be there and is a label.
pub(super) fn label_name(name: &At<'_>, errors: &mut Errors) {
    if name.must_be_set(errors) {
        name.must(names::dns1123_label, errors);
    }
}

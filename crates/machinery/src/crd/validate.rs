//! What is wrong with a CustomResourceDefinition (`apiextensions/validation/validation.go`).

use onggi_api::FieldError;
use serde_json::Value;

use super::costs;
use super::schema::{Kind, Schema, rules, structure};
use crate::validation::{At, Errors, IMMUTABLE, names, webhook};
use crate::value::{at, bool_at, find, is_set, list_at, str_at};

/// The annotation that groups of Kubernetes itself need.
const APPROVED: &str = "api-approved.kubernetes.io";
const MAX_SELECTABLE: usize = 8;

/// What is wrong with a new definition.
pub fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(object);
    let spec = root.child("spec");
    name(&root, &spec, &mut errors);
    group(&root, &spec, &mut errors);
    let scope = spec.child("scope");
    if scope.must_be_set(&mut errors) {
        scope.one_of(&["Cluster", "Namespaced"], &mut errors);
    }
    versions(&spec, &mut errors);
    for field in ["plural", "singular", "kind", "listKind"] {
        spec.child("names").child(field).must_be_set(&mut errors);
    }
    all_names(&spec.child("names"), &mut errors);
    conversion(&spec.child("conversion"), &mut errors);
    all_names(&root.child("status.acceptedNames"), &mut errors);
    errors
}

/// What is wrong with a change.
pub fn validate_update(object: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(object);
    let spec = root.child("spec");
    let mut fixed = |path: &str| {
        let found = spec.child(path);
        let before = at(old, "spec").clone();
        let before = at(&before, path);
        if found.value != before {
            errors.push(FieldError::invalid(&found.path, found.value.clone(), IMMUTABLE));
        }
    };
    let conditions = list_at(old, "status.conditions");
    let established = find(conditions, "type", super::names::ESTABLISHED)
        .is_some_and(|condition| str_at(condition, "status") == "True");
    if established {
        fixed("scope");
        fixed("names.kind");
    }
    fixed("group");
    fixed("names.plural");
    let versions: Vec<&str> =
        list_at(object, "spec.versions").iter().map(|v| str_at(v, "name")).collect();
    for stored in root.child("status.storedVersions").items() {
        if !versions.contains(&stored.text()) {
            // Kubernetes names the place by the index.
            errors.push(FieldError::invalid(
                &stored.path,
                stored.text(),
                "missing from spec.versions; v1 was previously a storage version, and must remain \
                 in spec.versions until a storage migration ensures no data remains persisted in \
                 v1 and removes v1 from status.storedVersions"
                    .replace("v1", stored.text()),
            ));
        }
    }
    let preserve = spec.child("preserveUnknownFields");
    if preserve.flag() && !bool_at(old, "spec.preserveUnknownFields") {
        errors.push(preserve.invalid(PRESERVE));
    }
    costs::validate_update(object, old, &mut errors);
    errors
}

const PRESERVE: &str = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                        spec.versions[*].schema instead";

fn name(root: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let wanted = format!("{}.{}", spec.child("names.plural").text(), spec.child("group").text());
    let name = root.child("metadata.name");
    if name.text() != wanted {
        errors.push(name.invalid("must be spec.names.plural+\".\"+spec.group"));
    }
}

fn group(root: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let group = spec.child("group");
    if !group.must_be_set(errors) {
        return;
    }
    let problems = names::dns1123_subdomain(group.text());
    if !problems.is_empty() {
        errors.push(group.invalid(problems.join(",")));
    } else if !group.text().contains('.') {
        errors.push(group.invalid("should be a domain with at least one dot"));
    }
    let of = |domain: &str| {
        group.text() == domain
            || group.text().strip_suffix(domain).is_some_and(|r| r.ends_with('.'))
    };
    if !of("k8s.io") && !of("kubernetes.io") {
        return;
    }
    let annotations = root.child("metadata.annotations");
    let path = annotations.path.key(APPROVED);
    let value = annotations.value.get(APPROVED).and_then(Value::as_str).unwrap_or_default();
    if value.is_empty() {
        errors.push(FieldError::required(
            &path,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        ));
    } else if !value.starts_with("unapproved") && !value.contains("://") {
        errors.push(FieldError::invalid(
            &path,
            value,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with \
             either a URL or a reason starting with \"unapproved\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
}

fn all_names(found: &At<'_>, errors: &mut Errors) {
    let label = |text: &str| match names::dns1035_label(text) {
        problems if problems.is_empty() => Vec::new(),
        problems => vec![problems.join(",")],
    };
    let mixed = |text: &str| match names::dns1035_label(&text.to_lowercase()) {
        problems if problems.is_empty() => Vec::new(),
        problems => {
            vec![format!("may have mixed case, but should otherwise match: {}", problems.join(","))]
        }
    };
    found.child("plural").may(label, errors);
    found.child("singular").may(label, errors);
    found.child("kind").may(mixed, errors);
    found.child("listKind").may(mixed, errors);
    for field in ["shortNames", "categories"] {
        found.each(field).for_each(|one| one.must(label, errors));
    }
    let (kind, list) = (found.child("kind"), found.child("listKind"));
    if !kind.text().is_empty() && kind.text() == list.text() {
        errors.push(list.invalid("kind and listKind may not be the same"));
    }
}

// === Versions ===

/// Whether a part is the same in all versions: then it is shown at the top.
pub(super) fn same_in_all(spec: &At<'_>, field: &str) -> bool {
    let all: Vec<&Value> = spec.each("versions").map(|v| at(v.value, field)).collect();
    all.split_first().is_some_and(|(first, rest)| rest.iter().all(|other| other == first))
}

fn versions(spec: &At<'_>, errors: &mut Errors) {
    let versions = spec.child("versions");
    let mut seen = std::collections::HashSet::new();
    let mut unique = true;
    for version in versions.items() {
        let name = version.child("name");
        unique &= seen.insert(name.text());
        let problems = names::dns1035_label(name.text());
        if !problems.is_empty() {
            errors.push(name.invalid(problems.join(",")));
        }
        let warning = version.child("deprecationWarning");
        if warning.is_set() {
            if !version.child("deprecated").flag() {
                errors.push(warning.invalid("can only be set for deprecated versions"));
            }
            if warning.text().is_empty() {
                errors.push(warning.invalid("must not be empty if present"));
            } else if warning.text().len() > 256 {
                errors.push(FieldError::too_long(&warning.path, 256));
            } else if let Some(at) = warning.text().find(char::is_control) {
                errors.push(warning.invalid(format!(
                    "must only contain printable UTF-8 characters; non-printable character found \
                     at index {at}"
                )));
            }
        }
    }
    if !unique {
        errors.push(versions.invalid("must contain unique version names"));
    }
    let storage = versions.items().filter(|version| version.child("storage").flag()).count();
    if storage != 1 {
        errors.push(versions.invalid("must have exactly one version marked as storage version"));
    }
    let mut told = std::collections::HashSet::new();
    let preserves = bool_at(spec.value, "preserveUnknownFields");
    for version in versions.items() {
        for (field, top, check) in [
            ("schema", "validation", schema as fn(&At<'_>, &At<'_>, &mut Errors)),
            ("subresources", "subresources", subresources),
            ("additionalPrinterColumns", "additionalPrinterColumns", columns),
            ("selectableFields", "selectableFields", selectable),
        ] {
            let at_top = same_in_all(spec, field);
            // What stands at the top is checked once.
            if at_top && !told.insert(field) {
                continue;
            }
            let path = if at_top { spec.path.child(top) } else { version.path.child(field) };
            let part = At::new(at(version.value, field), path);
            if field == "schema" && preserves && !is_set(part.value, "openAPIV3Schema") {
                continue;
            }
            check(&part, &version, errors);
        }
    }
}

fn schema(part: &At<'_>, version: &At<'_>, errors: &mut Errors) {
    let schema = part.child("openAPIV3Schema");
    if !schema.is_set() {
        let path = version.path.child("schema").child("openAPIV3Schema");
        errors.push(FieldError::required(&path, ""));
        return;
    }
    let before = errors.len();
    structure::check(&schema, errors);
    if errors.len() == before {
        rules::check(&schema, errors);
    }
}

fn subresources(part: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    let scale = part.child("scale");
    if !scale.is_set() {
        return;
    }
    let plain = |text: &str| {
        text.starts_with('.')
            && !text.contains(['[', ']', '\'', '"', '*', '@'])
            && !text.contains("..")
    };
    for (field, roots, required) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."][..], true),
        ("labelSelectorPath", &[".spec.", ".status."][..], false),
    ] {
        let path = scale.child(field);
        if path.text().is_empty() {
            if required {
                errors.push(path.required(""));
            }
        } else if !plain(path.text()) {
            errors.push(path.invalid("should be a simple json path"));
        } else if !roots.iter().any(|root| path.text().starts_with(root)) {
            let roots: Vec<&str> = roots.iter().map(|root| root.trim_end_matches('.')).collect();
            let wanted = format!("should be a json path under {}", roots.join(" or "));
            errors.push(path.invalid(
                wanted.replace("under .spec or .status", "under either .spec or .status"),
            ));
        }
    }
}

fn columns(part: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] =
        ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for column in part.items() {
        column.child("name").must_be_set(errors);
        let kind = column.child("type");
        if kind.text().is_empty() {
            errors.push(kind.required(format!("must be one of {}", TYPES.join(","))));
        } else if !TYPES.contains(&kind.text()) {
            errors.push(kind.invalid(format!("must be one of {}", TYPES.join(","))));
        }
        let format = column.child("format");
        if !format.text().is_empty() && !FORMATS.contains(&format.text()) {
            errors.push(format.invalid(format!("must be one of {}", FORMATS.join(","))));
        }
        let path = column.child("jsonPath");
        let path = At::new(path.value, column.path.child("JSONPath"));
        if path.text().is_empty() {
            errors.push(path.required(""));
        } else if !path.text().starts_with('.') {
            errors.push(path.invalid("must be a simple json path starting with ."));
        }
    }
}

fn selectable(part: &At<'_>, version: &At<'_>, errors: &mut Errors) {
    let schema = Schema::read(at(version.value, "schema.openAPIV3Schema"));
    let count = part.items().count();
    if count > MAX_SELECTABLE {
        errors.push(FieldError::too_many(&part.path, count, MAX_SELECTABLE));
    }
    let mut seen = std::collections::HashSet::new();
    for field in part.items() {
        let path = field.child("jsonPath");
        let text = path.text();
        if text.is_empty() {
            errors.push(path.required(""));
            continue;
        }
        let Some(plain) = text.strip_prefix('.').filter(|p| !p.contains(['[', ']', '*', '\'']))
        else {
            let end = text.get(1..).and_then(|rest| rest.find(['.', '['])).map(|at| at + 1);
            let first = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
            let why = match text.starts_with('.') {
                true => "is an invalid path: must be a simple json path".to_owned(),
                false => format!("is an invalid path: expected [ or . but got: {first}"),
            };
            errors.push(path.invalid(why));
            continue;
        };
        let known = schema.path(plain);
        if (plain == "metadata" || plain.starts_with("metadata.")) && known.is_some() {
            errors.push(path.invalid("must not point to fields in metadata"));
            continue;
        }
        match known {
            None => {
                errors.push(path.invalid("is an invalid path: does not refer to a valid field"));
            }
            Some(found) if !matches!(found.kind, Kind::String | Kind::Boolean | Kind::Integer) => {
                errors.push(path.invalid(
                    "must point to a field of type string, boolean or integer. Enum string fields \
                     and strings with formats are allowed.",
                ));
            }
            Some(_) => {}
        }
        if !seen.insert(text) {
            errors.push(path.duplicate());
        }
    }
}

// === Conversion ===

fn conversion(conversion: &At<'_>, errors: &mut Errors) {
    if !conversion.is_set() {
        return;
    }
    let strategy = conversion.child("strategy");
    if strategy.must_be_set(errors) {
        strategy.one_of(&["None", "Webhook"], errors);
    }
    let webhook = conversion.child("webhook");
    let client =
        At::new(webhook.child("clientConfig").value, conversion.path.child("webhookClientConfig"));
    let reviews = At::new(
        webhook.child("conversionReviewVersions").value,
        conversion.path.child("conversionReviewVersions"),
    );
    if strategy.text() != "Webhook" {
        if client.is_set() {
            errors.push(FieldError::forbidden(
                &client.path,
                "should not be set when strategy is not set to Webhook",
            ));
        }
        if reviews.items().next().is_some() {
            errors.push(FieldError::forbidden(
                &reviews.path,
                "should not be set when strategy is not set to Webhook",
            ));
        }
        return;
    }
    if !client.is_set() {
        errors.push(FieldError::required(&client.path, "required when strategy is set to Webhook"));
    } else {
        webhook::client_config(&client, errors);
    }
    let versions: Vec<&str> =
        reviews.items().map(|version| version.value.as_str().unwrap_or("")).collect();
    if versions.is_empty() {
        errors.push(reviews.required(""));
    } else if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        errors.push(reviews.invalid("must include at least one of v1, v1beta1"));
    }
}

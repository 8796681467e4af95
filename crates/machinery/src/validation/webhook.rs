//! Where a webhook is: a URL or a Service (`k8s.io/apiserver/pkg/util/webhook`). For admission
//! webhooks and for those that convert custom resources.

use onggi_api::FieldError;

use super::{At, Errors, names};

/// Exactly one of `url` and `service`.
pub fn client_config(config: &At<'_>, errors: &mut Errors) {
    let (url, service) = (config.child("url"), config.child("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => self::url(&url, errors),
        (false, true) => self::service(&service, errors),
        _ => errors.push(config.required("exactly one of url or service is required")),
    }
}

/// `https://host[/path]`.
fn url(url: &At<'_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut wrong = |value: &str, detail: &str| {
        errors.push(FieldError::invalid(&url.path, value, format!("{detail}{FORM}")));
    };
    let (scheme, rest) = url.text().split_once("://").unwrap_or(("", url.text()));
    if scheme != "https" {
        wrong(scheme, "'https' is the only allowed URL scheme");
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or("") };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if host.is_empty() {
        wrong("", "host must be specified");
    }
    if let Some(user) = user {
        wrong(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        wrong(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        wrong(query, "query parameters are not permitted in the URL");
    }
}

fn service(service: &At<'_>, errors: &mut Errors) {
    for (field, detail) in
        [("name", "service name is required"), ("namespace", "service namespace is required")]
    {
        let found = service.child(field);
        if found.text().is_empty() {
            errors.push(found.required(detail));
        }
    }
    let port = service.child("port");
    errors.extend(
        names::port_number(port.int()).map(|e| port.invalid(format!("port is not valid: {e}"))),
    );
    path(&service.child("path"), errors);
}

fn path(path: &At<'_>, errors: &mut Errors) {
    let text = path.text();
    match text {
        "" | "/" => return,
        "//" => return errors.push(path.invalid("segment[0] may not be empty")),
        _ => {}
    }
    if !text.starts_with('/') {
        errors.push(path.invalid("must start with a '/'"));
    }
    let mut rest = text.chars();
    rest.next();
    let rest = rest.as_str();
    let segments = rest.strip_suffix('/').unwrap_or(rest).split('/');
    for (at, segment) in segments.enumerate() {
        if segment.is_empty() {
            errors.push(path.invalid(format!("segment[{at}] may not be empty")));
            continue;
        }
        let wrong = names::dns1123_subdomain(segment);
        errors.extend(wrong.into_iter().map(|e| path.invalid(format!("segment[{at}]: {e}"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{expect, yaml};

    #[test]
    fn right_and_wrong() {
        for (config, expected) in [
            ("{url: 'https://a.b/c'}", &[][..]),
            ("{service: {name: a, namespace: b, port: 443, path: /c/d/}}", &[]),
            ("{}", &["c: Required value: exactly one of url or service is required"]),
            (
                "{url: 'http://u@/x?q=1#f'}",
                &[
                    "c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired",
                    "c.url: Invalid value: \"\": host must be specified",
                    "c.url: Invalid value: \"u\": user information is not permitted",
                    "c.url: Invalid value: \"f\": fragments are not permitted",
                    "c.url: Invalid value: \"q=1\": query parameters are not permitted",
                ],
            ),
            (
                "{service: {port: 0, path: a//B}}",
                &[
                    "c.service.name: Required value: service name is required",
                    "c.service.namespace: Required value: service namespace is required",
                    "c.service.port: Invalid value: 0: port is not valid: must be between 1",
                    "c.service.path: Invalid value: \"a//B\": must start with a '/'",
                    "c.service.path: Invalid value: \"a//B\": segment[0] may not be empty",
                    "c.service.path: Invalid value: \"a//B\": segment[1] may not be empty",
                    "c.service.path: Invalid value: \"a//B\": segment[2]: a lowercase RFC 1123",
                ],
            ),
        ] {
            let object = yaml(config);
            let mut errors = Errors::new();
            let at = At::new(&object, onggi_api::FieldPath::new("c"));
            client_config(&at, &mut errors);
            expect(&errors, expected, config);
        }
    }
}

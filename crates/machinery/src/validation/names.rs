//! How names, keys and ports must look (`k8s.io/apimachinery/pkg/util/validation`). Every rule
//! gives what is wrong with a text, nothing when it is right.

use crate::resource::NameRule;

const DNS_LABEL_MAX: usize = 63;
const DNS_SUBDOMAIN_MAX: usize = 253;

/// A rule of a resource on its name. A prefix (`generateName`) may end in a dash, since something
/// comes behind it.
pub fn by_rule(rule: NameRule, name: &str, is_prefix: bool) -> Vec<String> {
    let masked;
    let name = match name.strip_suffix('-') {
        Some(start) if is_prefix && !start.is_empty() => {
            masked = format!("{start}a");
            &masked
        }
        _ => name,
    };
    match rule {
        NameRule::Dns1123Subdomain => dns1123_subdomain(name),
        NameRule::Dns1123Label => dns1123_label(name),
        NameRule::Dns1035Label => dns1035_label(name),
        NameRule::PathSegment => path_segment(name),
        NameRule::IpAddress => super::addresses::ip_name(name),
    }
}

/// `my-name`.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_LABEL_MAX, "characters");
    if !is_dns1123_label(text) {
        wrong.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
             regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// `example.com`.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    subdomain(text, "characters")
}

fn subdomain(text: &str, unit: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_SUBDOMAIN_MAX, unit);
    if !text.split('.').all(is_dns1123_label) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// `_tcp.example.com`.
pub fn subdomain_with_underscores(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_SUBDOMAIN_MAX, "characters");
    let inner = |label: &str| is_dns1123_label(&label.replacen('_', "a", 1).replace('_', "-"));
    if !text.split('.').all(inner) || text.ends_with('_') || text.contains("_.") {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '_', '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// `*.example.com`.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_SUBDOMAIN_MAX, "characters");
    if !text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_dns1123_label)) {
        wrong.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
             subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
             end with an alphanumeric character (e.g. '*.example.com', regex used for validation \
             is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// `my-name`, not beginning with a digit.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_LABEL_MAX, "characters");
    if !is_dns1123_label(text) || text.starts_with(|c: char| c.is_ascii_digit()) {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character (e.g. \
             'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// Anything that can stand between two slashes of a path.
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|part| text.contains(part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// The key of a label, annotation, taint or finalizer: `example.com/my.name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
        and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
        used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {NAME} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            let said = subdomain(prefix, "bytes");
            wrong.extend(said.iter().map(|e| format!("prefix part {e}")));
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(too_long(name, DNS_LABEL_MAX, "bytes").iter().map(|e| format!("name part {e}")));
    if !is_name_part(name) {
        wrong.push(format!("name part {NAME}"));
    }
    wrong
}

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_LABEL_MAX, "bytes");
    if !text.is_empty() && !is_name_part(text) {
        wrong.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  \
             or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// A key of a ConfigMap or Secret, which may become the name of a file.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, DNS_SUBDOMAIN_MAX, "characters");
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.is_empty() || !text.chars().all(known) {
        wrong.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
             'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
             '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match text {
        "." | ".." => wrong.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// The name of an environment variable: anything printable but `=`.
pub fn env_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !text.chars().all(|c| matches!(c, ' '..='~') && c != '=') {
        wrong.push(
            "a valid environment variable name must consist only of printable ASCII characters \
             other than '='"
                .to_owned(),
        );
    }
    wrong
}

/// The name of an HTTP header.
pub fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Vec::new();
    }
    vec![
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
         'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            .to_owned(),
    ]
}

/// A port number; a missing one is 0.
pub fn port_number(number: Option<i64>) -> Option<String> {
    let valid = (1..=65535).contains(&number.unwrap_or(0));
    (!valid).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

/// The name of a port (`IANA_SVC_NAME`): `http`.
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 15, "characters");
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut rule = |broken: bool, detail: &str| {
        if broken {
            wrong.push(detail.to_owned());
        }
    };
    rule(
        text.is_empty() || !text.chars().all(known),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    rule(
        !text.contains(|c: char| c.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    );
    rule(text.contains("--"), "must not contain consecutive hyphens");
    rule(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    wrong
}

/// Both count bytes; only the newer rules say so.
fn too_long(text: &str, max: usize, unit: &str) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} {unit}")] } else { Vec::new() }
}

fn is_dns1123_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}

fn is_name_part(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong() {
        type Rule = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let rows: &[(Rule, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "1", "a-b"], &["", "-a", "a-", "A", "a.b", &long]),
            (dns1123_subdomain, &["a.b", "1.2", &long], &["", "a..b", ".a", "a_b"]),
            (dns1035_label, &["a1"], &["1a", "", "a-"]),
            (path_segment, &["system:node", "A"], &[".", "..", "a/b", "%"]),
            (qualified_name, &["a", "x.y/A_b.c"], &["", "/a", "a/", "a/b/c", "X/y", "a b", &long]),
            (label_value, &["", "A_b.c"], &["-", "a b", &long]),
            (config_key, &["a", ".x", "A_b-c.d"], &["", ".", "..", "..a", "a/b", "a b"]),
            (env_name, &["A", "a.b-c", "1 x", "!"], &["", "a=b", "é", "a\n"]),
            (port_name, &["http", "a-1"], &["", "1", "A", "a--b", "-a", "abcdefghijklmnop"]),
        ];
        for (rule, right, wrong) in rows {
            for text in *right {
                assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
            }
            for text in *wrong {
                assert!(!rule(text).is_empty(), "{text:?}");
            }
        }
    }

    #[test]
    fn prefixes_may_end_in_a_dash() {
        assert!(by_rule(NameRule::Dns1123Subdomain, "web-", true).is_empty());
        assert!(!by_rule(NameRule::Dns1123Subdomain, "web-", false).is_empty());
        assert!(!by_rule(NameRule::Dns1123Subdomain, "-", true).is_empty());
    }
}

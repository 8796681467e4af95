//! Reading the file (`apiserver/pkg/apis/apiserver/validation`).

use std::collections::BTreeSet;

use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

use super::{Anonymous, Authentication, ClaimRule, Jwt, Mapping, Rule};
use crate::cel::{Declarations, Program, compile};
use crate::fields::{self, Errors, Fields};

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthenticationConfiguration";

/// From YAML or JSON; the error names every field that is wrong.
pub fn read(text: &str) -> Result<Authentication, String> {
    fields::read(text, configuration)
}

fn configuration(value: &Value, errors: &mut Errors) -> Authentication {
    let root = FieldPath::root();
    let fields = Fields::of(value, &root, errors);
    fields.is_a(&VERSIONS, KIND, errors);
    fields.only(&["apiVersion", "kind", "jwt", "anonymous"], errors);
    let path = root.child("jwt");
    let list = fields.list("jwt", errors).iter().enumerate();
    let jwt: Vec<Jwt> = list.map(|(at, value)| issuer(value, &path.index(at), errors)).collect();
    let mut seen = BTreeSet::new();
    for (at, one) in jwt.iter().enumerate() {
        if !one.url.is_empty() && !seen.insert(one.url.as_str()) {
            let path = path.index(at).child("issuer").child("url");
            errors.push(FieldError::duplicate(&path, one.url.as_str()));
        }
    }
    let anonymous = fields.get("anonymous");
    let anonymous = (!anonymous.is_null())
        .then(|| self::anonymous(anonymous, &root.child("anonymous"), errors));
    Authentication { jwt, anonymous }
}

fn anonymous(value: &Value, path: &FieldPath, errors: &mut Errors) -> Anonymous {
    let fields = Fields::of(value, path, errors);
    fields.only(&["enabled", "conditions"], errors);
    let enabled = fields.flag("enabled", errors).unwrap_or(false);
    let conditions = path.child("conditions");
    let list = fields.list("conditions", errors);
    let paths = list.iter().enumerate().map(|(at, value)| {
        let fields = Fields::of(value, &conditions.index(at), errors);
        fields.only(&["path"], errors);
        fields.text("path", errors)
    });
    let paths: Vec<String> = paths.collect();
    if !enabled && !paths.is_empty() {
        let detail = "enabled should be set to true when conditions are defined";
        errors.push(FieldError::invalid(&conditions, paths.clone(), detail));
    }
    Anonymous { enabled, paths }
}

fn issuer(value: &Value, path: &FieldPath, errors: &mut Errors) -> Jwt {
    let fields = Fields::of(value, path, errors);
    let known = ["issuer", "claimValidationRules", "claimMappings", "userValidationRules"];
    fields.only(&known, errors);
    let place = path.child("issuer");
    let issuer = Fields::of(fields.get("issuer"), &place, errors);
    let known = ["url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy"];
    issuer.only(&known, errors);
    let url = issuer.text("url", errors);
    check_url(&url, &place.child("url"), true, errors);
    let discovery_url = issuer.text("discoveryURL", errors);
    check_url(&discovery_url, &place.child("discoveryURL"), false, errors);
    if !url.is_empty() && url.trim_end_matches('/') == discovery_url.trim_end_matches('/') {
        let detail = "discoveryURL must be different from URL";
        let path = place.child("discoveryURL");
        errors.push(FieldError::invalid(&path, discovery_url.as_str(), detail));
    }
    let audiences = issuer.texts("audiences", errors);
    let audience_path = place.child("audiences");
    if audiences.is_empty() {
        let detail = "at least one jwt[*].issuer.audiences is required";
        errors.push(FieldError::required(&audience_path, detail));
    }
    let policy = issuer.text("audienceMatchPolicy", errors);
    if audiences.len() > 1 && policy != "MatchAny" {
        let detail = "audienceMatchPolicy must be MatchAny for multiple audiences";
        errors.push(FieldError::invalid(&place.child("audienceMatchPolicy"), policy, detail));
    }
    let mappings = path.child("claimMappings");
    let mapped = Fields::of(fields.get("claimMappings"), &mappings, errors);
    mapped.only(&["username", "groups", "uid", "extra"], errors);
    let username_path = mappings.child("username");
    let username = mapping(mapped.get("username"), &username_path, true, errors);
    if username.is_none() {
        let detail = "claim or expression is required";
        errors.push(FieldError::required(&username_path, detail));
    }
    let nothing = || Mapping::Claim { name: String::new(), prefix: String::new() };
    let jwt = Jwt {
        url,
        discovery_url,
        authority: issuer.text("certificateAuthority", errors),
        audiences,
        signing_algs: Vec::new(),
        username: username.unwrap_or_else(nothing),
        groups: mapping(mapped.get("groups"), &mappings.child("groups"), true, errors),
        uid: mapping(mapped.get("uid"), &mappings.child("uid"), false, errors),
        extra: extra(&mapped, errors),
        claim_rules: claim_rules(&fields, errors),
        user_rules: user_rules(&fields, errors),
    };
    check_email(&jwt, &username_path.child("expression"), errors);
    jwt
}

fn check_url(url: &str, path: &FieldPath, needed: bool, errors: &mut Errors) {
    if url.is_empty() {
        if needed {
            errors.push(FieldError::required(path, "URL is required"));
        }
        return;
    }
    if !url.starts_with("https://") || url.len() == "https://".len() {
        errors.push(FieldError::invalid(path, url, "URL scheme must be https"));
    }
    if url.contains('?') {
        errors.push(FieldError::invalid(path, url, "URL must not contain a query"));
    }
    if url.contains('#') {
        errors.push(FieldError::invalid(path, url, "URL must not contain a fragment"));
    }
    if url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
        let detail = "URL must not contain a username or password";
        errors.push(FieldError::invalid(path, url, detail));
    }
}

/// A claim or an expression; `prefixed`: with a claim goes a prefix.
fn mapping(
    value: &Value,
    path: &FieldPath,
    prefixed: bool,
    errors: &mut Errors,
) -> Option<Mapping> {
    if value.is_null() {
        return None;
    }
    let fields = Fields::of(value, path, errors);
    let known = ["claim", "prefix", "expression"];
    let some = ["claim", "expression"];
    fields.only(if prefixed { &known } else { &some }, errors);
    let claim = fields.text("claim", errors);
    let text = fields.text("expression", errors);
    let prefix = fields.get("prefix");
    match (claim.is_empty(), text.is_empty()) {
        (true, true) => None,
        (false, false) => {
            let detail = "claim and expression can't both be set";
            errors.push(FieldError::invalid(path, "", detail));
            None
        }
        (false, true) => {
            if prefixed && prefix.is_null() {
                let detail = "prefix is required when claim is set. It can be set to an empty \
                              string to disable prefixing";
                errors.push(FieldError::required(&path.child("prefix"), detail));
            }
            Some(Mapping::Claim { name: claim, prefix: fields.text("prefix", errors) })
        }
        (true, false) => {
            if !prefix.is_null() {
                let detail = "prefix can't be set when expression is set";
                errors.push(FieldError::invalid(&path.child("prefix"), prefix.clone(), detail));
            }
            let program = expression(&text, "claims", &path.child("expression"), errors);
            program.map(Mapping::Expression)
        }
    }
}

fn expression(text: &str, on: &str, path: &FieldPath, errors: &mut Errors) -> Option<Program> {
    match compile(text, &Declarations::new([on])) {
        Ok(program) => Some(program),
        Err(error) => {
            let detail = format!("compilation failed: {error}");
            errors.push(FieldError::invalid(path, text, detail));
            None
        }
    }
}

fn extra(mapped: &Fields<'_>, errors: &mut Errors) -> Vec<(String, Program)> {
    let place = mapped.path.child("extra");
    let mut found: Vec<(String, Program)> = Vec::new();
    for (at, value) in mapped.list("extra", errors).iter().enumerate() {
        let path = place.index(at);
        let fields = Fields::of(value, &path, errors);
        fields.only(&["key", "valueExpression"], errors);
        let (key, text) = (fields.text("key", errors), fields.text("valueExpression", errors));
        let key_path = path.child("key");
        if key.is_empty() {
            errors.push(FieldError::required(&key_path, ""));
        } else if !key.contains('/') {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(&key_path, key.as_str(), detail));
        } else if key.chars().any(char::is_uppercase) {
            errors.push(FieldError::invalid(&key_path, key.as_str(), "key must be lowercase"));
        } else if found.iter().any(|(known, _)| *known == key) {
            errors.push(FieldError::duplicate(&key_path, key.as_str()));
        } else if reserved(&key) {
            let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes \
                          use";
            errors.push(FieldError::invalid(&key_path, key.as_str(), detail));
        }
        let path = path.child("valueExpression");
        if text.is_empty() {
            errors.push(FieldError::required(&path, "valueExpression is required"));
            continue;
        }
        found.extend(expression(&text, "claims", &path, errors).map(|program| (key, program)));
    }
    found
}

fn reserved(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|known| domain == *known || domain.ends_with(&format!(".{known}")))
}

fn claim_rules(fields: &Fields<'_>, errors: &mut Errors) -> Vec<ClaimRule> {
    let place = fields.path.child("claimValidationRules");
    let mut rules = Vec::new();
    for (at, value) in fields.list("claimValidationRules", errors).iter().enumerate() {
        let path = place.index(at);
        let fields = Fields::of(value, &path, errors);
        fields.only(&["claim", "requiredValue", "expression", "message"], errors);
        let claim = fields.text("claim", errors);
        let text = fields.text("expression", errors);
        match (claim.is_empty(), text.is_empty()) {
            (true, true) => {
                errors.push(FieldError::required(&path, "claim or expression is required"));
            }
            (false, false) => {
                let detail = "claim and expression can't both be set";
                errors.push(FieldError::invalid(&path, claim, detail));
            }
            (false, true) => {
                let value = fields.text("requiredValue", errors);
                rules.push(ClaimRule::Required { claim, value });
            }
            (true, false) => {
                let program = expression(&text, "claims", &path.child("expression"), errors);
                let message = fields.text("message", errors);
                rules.extend(program.map(|p| ClaimRule::Expression(Rule { program: p, message })));
            }
        }
    }
    rules
}

fn user_rules(fields: &Fields<'_>, errors: &mut Errors) -> Vec<Rule> {
    let place = fields.path.child("userValidationRules");
    let mut rules = Vec::new();
    for (at, value) in fields.list("userValidationRules", errors).iter().enumerate() {
        let path = place.index(at);
        let fields = Fields::of(value, &path, errors);
        fields.only(&["expression", "message"], errors);
        let text = fields.text("expression", errors);
        let path = path.child("expression");
        if text.is_empty() {
            errors.push(FieldError::required(&path, "expression is required"));
            continue;
        }
        let message = fields.text("message", errors);
        let program = expression(&text, "user", &path, errors);
        rules.extend(program.map(|program| Rule { program, message }));
    }
    rules
}

/// An address counts only where somebody looks whether it was verified.
fn check_email(jwt: &Jwt, path: &FieldPath, errors: &mut Errors) {
    let Mapping::Expression(username) = &jwt.username else { return };
    let extra = jwt.extra.iter().map(|(_, program)| program);
    let rules = jwt.claim_rules.iter().filter_map(|rule| match rule {
        ClaimRule::Expression(rule) => Some(&rule.program),
        ClaimRule::Required { .. } => None,
    });
    let mut all = std::iter::once(username).chain(extra).chain(rules);
    let email = username.text().replace("claims.email_verified", "").contains("claims.email");
    if email && !all.any(|program| program.text().contains("claims.email_verified")) {
        let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                      claimMappings.extra[*].valueExpression or \
                      claimValidationRules[*].expression when claims.email is used in \
                      claimMappings.username.expression";
        errors.push(FieldError::invalid(path, username.text(), detail));
    }
}

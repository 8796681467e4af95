//! From claims to a user (`apiserver/plugin/pkg/authenticator/token/oidc`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ClaimRule, Jwt, Mapping, Rule};
use crate::cel::{Budget, Program, Value as Cel, Variables};

/// A user as the claims have it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The name.
    pub name: String,
    /// May be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Who the claims speak of, where all rules hold; the error is Kubernetes' text. Signature, issuer,
/// audience and times have been checked.
pub fn user(jwt: &Jwt, claims: &Value) -> Result<Claimed, String> {
    let mut user = Claimed {
        name: name(jwt, claims)?,
        groups: groups(jwt, claims)?,
        uid: uid(jwt, claims)?,
        ..Claimed::default()
    };
    for (key, program) in &jwt.extra {
        let found = evaluate(program, "claims", claims).and_then(|value| texts(&value));
        let found = found.map_err(|error| {
            let text = program.text();
            format!("oidc: error evaluating extra claim expression: {text}: {error}")
        })?;
        if !found.is_empty() {
            user.extra.insert(key.clone(), found);
        }
    }
    for rule in &jwt.claim_rules {
        match rule {
            ClaimRule::Required { claim, value } => required(claims, claim, value)?,
            ClaimRule::Expression(rule) => check(rule, "claims", claims)
                .map_err(|e| format!("oidc: error evaluating claim validation expression: {e}"))?,
        }
    }
    let info = json!({
        "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
    });
    for rule in &jwt.user_rules {
        check(rule, "user", &info)
            .map_err(|e| format!("oidc: error evaluating user info validation rule: {e}"))?;
    }
    Ok(user)
}

fn evaluate(program: &Program, on: &str, value: &Value) -> Result<Value, String> {
    let mut variables = Variables::default();
    variables.set(on, Cel::json(value));
    let found = program.evaluate(&variables, &mut Budget::per_call()).map_err(|e| e.message)?;
    found.to_json().map_err(|error| error.message)
}

fn check(rule: &Rule, on: &str, value: &Value) -> Result<(), String> {
    let text = rule.program.text();
    if evaluate(&rule.program, on, value)? == true {
        return Ok(());
    }
    if rule.message.is_empty() {
        return Err(format!("validation expression '{text}' failed"));
    }
    Err(format!("validation expression '{text}' failed: {}", rule.message))
}

fn required(claims: &Value, claim: &str, value: &str) -> Result<(), String> {
    match &claims[claim] {
        Value::Null => Err(format!("oidc: required claim {claim} not present in ID token")),
        Value::String(found) if found == value => Ok(()),
        Value::String(found) => Err(format!(
            "oidc: required claim {claim} value does not match. Got = {found}, want = {value}"
        )),
        _ => Err(format!("oidc: parse claim {claim}: it is no text")),
    }
}

fn name(jwt: &Jwt, claims: &Value) -> Result<String, String> {
    match &jwt.username {
        Mapping::Expression(program) => {
            let why = |e: String| format!("oidc: error evaluating username claim expression: {e}");
            match evaluate(program, "claims", claims).map_err(why)? {
                Value::String(name) => Ok(name),
                _ => Err(why("username claim expression must return a string".into())),
            }
        }
        Mapping::Claim { name: claim, prefix } => {
            let name = claims[claim.as_str()].as_str().ok_or_else(|| {
                format!("oidc: parse username claims {claim:?}: claim not present or no text")
            })?;
            if claim == "email" {
                match &claims["email_verified"] {
                    Value::Null | Value::Bool(true) => {}
                    Value::Bool(false) => return Err("oidc: email not verified".into()),
                    _ => return Err("oidc: parse 'email_verified' claim: it is no bool".into()),
                }
            }
            Ok(format!("{prefix}{name}"))
        }
    }
}

fn groups(jwt: &Jwt, claims: &Value) -> Result<Vec<String>, String> {
    match &jwt.groups {
        None => Ok(Vec::new()),
        Some(Mapping::Expression(program)) => evaluate(program, "claims", claims)
            .and_then(|value| texts(&value))
            .map_err(|e| format!("oidc: error evaluating group claim expression: {e}")),
        Some(Mapping::Claim { name, prefix }) => {
            let found = &claims[name.as_str()];
            if found.is_null() {
                return Ok(Vec::new());
            }
            let found = texts(found).map_err(|e| format!("oidc: parse groups claim {name:?}: {e}"));
            Ok(found?.iter().map(|group| format!("{prefix}{group}")).collect())
        }
    }
}

fn uid(jwt: &Jwt, claims: &Value) -> Result<String, String> {
    match &jwt.uid {
        None => Ok(String::new()),
        Some(Mapping::Claim { name, .. }) => match &claims[name.as_str()] {
            Value::String(uid) => Ok(uid.clone()),
            _ => Err(format!("oidc: parse uid claim {name:?}: claim not present or no text")),
        },
        Some(Mapping::Expression(program)) => {
            let why = |e: String| format!("oidc: error evaluating uid claim expression: {e}");
            match evaluate(program, "claims", claims).map_err(why)? {
                Value::String(uid) => Ok(uid),
                _ => Err(why("uid claim expression must return a string".into())),
            }
        }
    }
}

/// A text or a list of texts; what is empty is nothing.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::String(one) if one.is_empty() => return Ok(Vec::new()),
        Value::String(one) => return Ok(vec![one.clone()]),
        Value::Array(list) => list,
        _ => return Err("expression must return a string or a list of strings".into()),
    };
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| "expression must return a string or a list of strings".to_owned())
    };
    list.iter().map(text).collect()
}

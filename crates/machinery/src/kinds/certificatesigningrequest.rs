//! `certificates.k8s.io/v1 CertificateSigningRequest`. Who asked is written down by the server;
//! who may approve and sign, and the signing itself, are its too.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::FieldError;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{PART_VERBS, status_of};
use crate::resource::{Column, NameRule, Resource, Scope, Subresource};
use crate::table::{self, human_duration, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{
    at, find, i64_at, is_set, items_mut, list_at, map_mut, set, set_default, str_at,
};

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";

/// The row.
pub const RESOURCE: Resource = Resource {
    group: GROUP,
    kind: KIND,
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    scope: Scope::Cluster,
    name: NameRule::PathSegment,
    subresources: &[
        Subresource { name: "approval", kind: (GROUP, "v1", KIND), verbs: PART_VERBS },
        status_of(GROUP, "v1", KIND),
    ],
    fields: &["spec.signerName"],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::text("SignerName"),
        Column::text("Requestor"),
        Column::text("RequestedDuration"),
        Column::text("Condition"),
    ],
    row,
    prepare_create,
    prepare_update,
    validate,
    validate_create,
    validate_update,
    ..Resource::BASE
};

fn row(request: &Value, now: i64) -> Vec<Value> {
    let duration = match i64_at(request, "spec.expirationSeconds") {
        Some(seconds) => human_duration(seconds),
        None => "<none>".to_owned(),
    };
    vec![
        table::name(request),
        table::age(request, now),
        text_or(str_at(request, "spec.signerName"), "<none>").into(),
        str_at(request, "spec.username").into(),
        duration.into(),
        condition_text(request).into(),
    ]
}

/// `Approved,Issued`.
fn condition_text(request: &Value) -> String {
    let has = |kind: &str| has_condition(request, kind);
    let mut text = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        text.push_str(",Failed");
    }
    if is_set(request, "status.certificate") {
        text.push_str(",Issued");
    }
    text
}

/// Whether there is a condition of the type.
pub fn has_condition(request: &Value, kind: &str) -> bool {
    find(list_at(request, "status.conditions"), "type", kind).is_some()
}

/// Who asks is for the server to say, and nothing is approved from the start.
fn prepare_create(request: &mut Value) {
    set(request, "status", json!({}));
    let spec = map_mut(request, "spec");
    for stamped in ["username", "uid", "groups", "extra"] {
        spec.remove(stamped);
    }
}

/// What was asked for stays. A write of the status leaves approval and denial as they are, so that
/// a signer that knows an older state takes neither back.
fn prepare_update(request: &mut Value, old: &Value) {
    set(request, "spec", at(old, "spec").clone());
    for kind in ["Approved", "Denied"] {
        let of = |request: &Value| -> Vec<usize> {
            let all = list_at(request, "status.conditions").iter().enumerate();
            all.filter(|(_, c)| str_at(c, "type") == kind).map(|(at, _)| at).collect()
        };
        let (before, now) = (of(old), of(request));
        if before.len() != now.len() {
            continue;
        }
        for (from, to) in before.into_iter().zip(now) {
            request["status"]["conditions"][to] = old["status"]["conditions"][from].clone();
        }
    }
}

/// A write through `approval` changes the conditions alone.
pub fn prepare_approval(request: &mut Value, old: &Value) {
    let conditions = at(request, "status.conditions").clone();
    let mut status = at(old, "status").as_object().cloned().unwrap_or_default();
    match conditions {
        Value::Null => status.remove("conditions"),
        conditions => status.insert("conditions".to_owned(), conditions),
    };
    set(request, "spec", at(old, "spec").clone());
    set(request, "status", status);
}

/// Gives new conditions the times that a writer left out. `now` is RFC 3339.
pub fn stamp_conditions(request: &mut Value, old: &Value, now: &str) {
    let mut earlier: HashMap<(&str, &str), &str> = HashMap::new();
    for condition in list_at(old, "status.conditions") {
        let key = (str_at(condition, "type"), str_at(condition, "status"));
        earlier.entry(key).or_insert_with(|| str_at(condition, "lastTransitionTime"));
    }
    for condition in items_mut(request, "status.conditions") {
        set_default(condition, "lastUpdateTime", now);
        let same = (str_at(condition, "type"), str_at(condition, "status"));
        let since = earlier.get(&same).copied().unwrap_or_default();
        set_default(condition, "lastTransitionTime", text_or(since, now).to_owned());
    }
}

// === Rules ===

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const SHORTEST: i64 = 600;
/// Of requests in the version that had no signers.
pub const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

fn validate(request: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(request).child("spec");
    let body = spec.child("request");
    errors.extend(check_request(body.text()).err().map(|detail| body.invalid(detail)));
    let usages = spec.child("usages");
    if usages.items().next().is_none() {
        errors.push(usages.required(""));
    }
    let unknown = usages.items().filter(|usage| !USAGES.contains(&usage.text()));
    errors.extend(unknown.map(|u| FieldError::not_supported(&u.path, u.text(), USAGES)));
    let mut seen = HashSet::new();
    errors.extend(usages.items().filter(|u| !seen.insert(u.text())).map(|u| u.duplicate()));
    let signer = spec.child("signerName");
    signer_name(&signer, &mut errors);
    let expiration = spec.child("expirationSeconds");
    if expiration.int().is_some_and(|seconds| seconds < SHORTEST) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(expiration.invalid(detail));
    }
    conditions(&At::root(request).child("status.conditions"), &mut errors);
    errors
}

/// What was signed before there were signers is asked for in the version that had none.
fn validate_create(request: &Value) -> Errors {
    let signer = At::root(request).child("spec.signerName");
    match signer.text() {
        LEGACY_SIGNER => {
            vec![signer.invalid("the legacy signerName is not allowed via this API version")]
        }
        _ => Errors::new(),
    }
}

/// A signed PKCS #10 request in PEM.
fn check_request(base64: &str) -> Result<(), String> {
    const TYPE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let pem = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    let (block, _) = Pem::read(std::io::Cursor::new(&pem)).map_err(|_| TYPE.to_owned())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(TYPE.to_owned());
    }
    let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
    parsed.verify_signature().map_err(|error| format!("x509: {error}"))
}

/// The signer of a kubelet's request; `None` where it is none.
pub fn kubelet_signer(base64: &str, usages: &[&str]) -> Option<&'static str> {
    let pem = STANDARD.decode(base64).ok()?;
    let (block, _) = Pem::read(std::io::Cursor::new(&pem)).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(&block.contents).ok()?;
    let subject = &parsed.certification_request_info.subject;
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok())?;
    let mut groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    if !name.starts_with("system:node:")
        || groups.next() != Some("system:nodes")
        || groups.next().is_some()
    {
        return None;
    }
    let extensions = parsed.requested_extensions().into_iter().flatten();
    let names = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let (mut hosts, mut others) = (0, 0);
    for name in names.flatten() {
        match name {
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) => hosts += 1,
            _ => others += 1,
        }
    }
    let exactly = |purpose: &str| {
        let known = |usage: &&str| {
            *usage == purpose || matches!(*usage, "digital signature" | "key encipherment")
        };
        usages.contains(&purpose)
            && usages.contains(&"digital signature")
            && usages.iter().all(known)
    };
    match (hosts, others) {
        (0, 0) if exactly("client auth") => Some("kubernetes.io/kube-apiserver-client-kubelet"),
        (1.., 0) if exactly("server auth") => Some("kubernetes.io/kubelet-serving"),
        _ => None,
    }
}

/// `example.com/signer-name`.
pub fn signer_name(signer: &At<'_>, errors: &mut Errors) {
    const DOMAIN_MAX: usize = 253;
    const MAX: usize = DOMAIN_MAX + 1 + (DOMAIN_MAX + 63 + 1);
    if !signer.must_be_set(errors) {
        return;
    }
    let [domain, path] = signer.text().split('/').collect::<Vec<_>>()[..] else {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(signer.invalid(detail));
    };
    let mut wrong = |part: &str, detail: String| {
        errors.push(FieldError::invalid(&signer.path, part, detail));
    };
    let first_bad = |part: &str, rule: fn(&str) -> Vec<String>| {
        let bad = part.split('.').map(|label| (label, rule(label))).find(|(_, e)| !e.is_empty());
        let (label, complaints) = bad.unwrap_or_default();
        let text = |e: String| format!("validating label {label:?}: {e}");
        complaints.into_iter().map(text).collect::<Vec<_>>()
    };
    first_bad(domain, names::dns1123_label).into_iter().for_each(|e| wrong(domain, e));
    if domain.split('.').count() < 2 {
        let detail = "should be a domain with at least two segments separated by dots";
        wrong(domain, detail.to_owned());
    }
    first_bad(path, names::dns1123_subdomain).into_iter().for_each(|e| wrong(path, e));
    if domain.len() > DOMAIN_MAX {
        errors.push(FieldError::too_long(&signer.path, DOMAIN_MAX));
    }
    signer.at_most(MAX, errors);
}

fn conditions(conditions: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.child("type"), condition.child("status"));
        kind.must_be_set(errors);
        match kind.text() {
            "Approved" | "Denied" | "Failed" => status.required_one_of(&["True"], errors),
            _ => status.required_one_of(&["False", "True", "Unknown"], errors),
        }
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if seen.contains(other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(kind.invalid(detail));
        }
        if !seen.insert(kind.text()) {
            errors.push(kind.duplicate());
        }
    }
}

/// A change of the object or its status: approval goes through `approval` alone.
fn validate_update(request: &Value, old: &Value) -> Errors {
    let mut errors = conditions_stay(request, old);
    let path = At::root(request).child("status.conditions").path;
    for kind in ["Approved", "Denied"] {
        let (before, now) = (of_type(old, kind), of_type(request, kind));
        if now.len() > before.len() {
            let detail = format!("updates may not add a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, detail));
        } else if now.len() == before.len() && now != before {
            let detail = format!("updates may not modify a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, detail));
        }
    }
    let certificate = At::root(request).child("status.certificate");
    let before = str_at(old, "status.certificate");
    if certificate.text() != before {
        if !before.is_empty() {
            let detail = "updates may not modify existing certificate content";
            errors.push(certificate.forbidden(detail));
        }
        if let Err(detail) = check_certificate(certificate.text()) {
            errors.push(FieldError::invalid(&certificate.path, "<certificate data>", detail));
        }
    }
    errors
}

/// A change through `approval`.
pub fn validate_approval(request: &Value, old: &Value) -> Errors {
    conditions_stay(request, old)
}

fn conditions_stay(request: &Value, old: &Value) -> Errors {
    let path = At::root(request).child("status.conditions").path;
    ["Approved", "Denied", "Failed"]
        .into_iter()
        .filter(|kind| of_type(request, kind).len() < of_type(old, kind).len())
        .map(|kind| {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            FieldError::forbidden(&path, detail)
        })
        .collect()
}

fn of_type<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    list_at(request, "status.conditions").iter().filter(|c| str_at(c, "type") == kind).collect()
}

/// Certificates in PEM, and nothing else.
fn check_certificate(base64: &str) -> Result<(), String> {
    let pem = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    let mut found = false;
    for block in Pem::iter_from_buffer(&pem) {
        let block = block.map_err(|error| error.to_string())?;
        if block.label != "CERTIFICATE" {
            let label = &block.label;
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {label:?}"));
        }
        X509Certificate::from_der(&block.contents)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
        found = true;
    }
    if found || pem.is_empty() {
        return Ok(());
    }
    Err("must contain at least one CERTIFICATE PEM block".to_owned())
}

#[cfg(test)]
mod tests;

//! What is wrong with projected volumes.

use std::collections::HashSet;

use onggi_api::FieldError;

use super::volume::{downward_files, file_path, files, local_path, mode};
use crate::kinds::certificatesigningrequest::signer_name;
use crate::validation::{At, Errors, labels, names};

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const SOURCES: &[&str] = &[
    "secret",
    "configMap",
    "downwardAPI",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
];
const KEY_TYPES: &[&str] =
    &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const CERTIFICATE_SECONDS_MIN: i64 = 3600;
/// The longest life of a certificate, and of one that a signer of Kubernetes makes.
const CERTIFICATE_SECONDS_MAX: i64 = 91 * 86_400;
const KUBERNETES_CERTIFICATE_SECONDS_MAX: i64 = 86_400;

pub(super) fn validate(volume: &At<'_>, errors: &mut Errors) {
    mode(&volume.child("defaultMode"), errors);
    let mut paths = HashSet::new();
    for source in volume.each("sources") {
        for reference in source.present(&["secret", "configMap"]) {
            let name = reference.child("name");
            name.must_be_set(errors);
            files(&reference, errors);
            for item in reference.each("items") {
                unique(&mut paths, item.child("path").text(), name.text(), volume, errors);
            }
        }
        downward_files(&source.child("downwardAPI"), errors);
        for item in source.each("downwardAPI.items") {
            let path = item.child("path").text();
            unique(&mut paths, path, path, volume, errors);
        }
        token(&source.child("serviceAccountToken"), volume, errors);
        let bundle = source.child("clusterTrustBundle");
        if bundle.is_set() {
            trust_bundle(&bundle, errors);
            let path = bundle.child("path").text();
            unique(&mut paths, path, path, volume, errors);
        }
        let certificate = source.child("podCertificate");
        if certificate.is_set() {
            pod_certificate(&certificate, &mut paths, volume, errors);
        }
        let fields = source.value.as_object().into_iter().flatten();
        let set = fields.filter(|(key, value)| !value.is_null() && SOURCES.contains(&key.as_str()));
        if set.count() > 1 {
            errors.push(source.forbidden("may not specify more than 1 volume type per source"));
        }
    }
}

/// Two files cannot have one path; `shown` is what the complaint is about.
fn unique<'a>(
    paths: &mut HashSet<&'a str>,
    path: &'a str,
    shown: &str,
    volume: &At<'_>,
    errors: &mut Errors,
) {
    if !path.is_empty() && !paths.insert(path) {
        errors.push(FieldError::invalid(&volume.path, shown, "conflicting duplicate paths"));
    }
}

fn token(token: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    if !token.is_set() {
        return;
    }
    let seconds = token.child("expirationSeconds");
    match seconds.int().unwrap_or(TOKEN_SECONDS_MIN) {
        ..TOKEN_SECONDS_MIN => {
            errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
        TOKEN_SECONDS_MIN..=TOKEN_SECONDS_MAX => {}
        _ => errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds")),
    }
    // Kubernetes names the volume here, not the source.
    let (path, place) = (token.child("path"), volume.path.child("path"));
    if path.text().is_empty() {
        errors.push(FieldError::required(&place, ""));
    } else {
        let wrong = local_path(path.text()).into_iter();
        errors.extend(wrong.map(|detail| FieldError::invalid(&place, path.text(), detail)));
    }
}

fn trust_bundle(bundle: &At<'_>, errors: &mut Errors) {
    let (name, signer) = (bundle.child("name"), bundle.child("signerName"));
    let selector = bundle.child("labelSelector");
    match (name.is_set(), signer.is_set()) {
        (true, true) => errors.push(bundle.invalid("only one of name and signerName may be used")),
        (true, false) => {
            // `SIGNER:NAME` with the slash of the signer written as a colon, or a name alone.
            let own = name.text().rsplit(':').next().unwrap_or_default();
            name.must(
                |_| {
                    let wrong = names::dns1123_subdomain(own).into_iter();
                    wrong.map(|e| format!("not a valid clustertrustbundlename: {e}")).collect()
                },
                errors,
            );
            if selector.is_set() {
                let detail = "labelSelector must be unset if name is specified";
                errors.push(selector.invalid(detail));
            }
        }
        (false, true) => {
            signer_name(&signer, errors);
            labels::selector(&selector, errors);
        }
        (false, false) => {
            errors.push(bundle.required("either name or signerName must be specified"));
        }
    }
    file_path(&bundle.child("path"), errors);
}

fn pod_certificate<'a>(
    certificate: &At<'a>,
    paths: &mut HashSet<&'a str>,
    volume: &At<'_>,
    errors: &mut Errors,
) {
    let signer = certificate.child("signerName");
    signer_name(&signer, errors);
    let key = certificate.child("keyType");
    if !KEY_TYPES.contains(&key.text()) {
        errors.push(FieldError::not_supported(&key.path, key.text(), KEY_TYPES));
    }
    let seconds = certificate.child("maxExpirationSeconds");
    let domain = signer.text().split('/').next().unwrap_or_default();
    let most = match domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") {
        true => KUBERNETES_CERTIFICATE_SECONDS_MAX,
        false => CERTIFICATE_SECONDS_MAX,
    };
    match seconds.int() {
        Some(..CERTIFICATE_SECONDS_MIN) => errors.push(seconds.invalid(format!(
            "if provided, maxExpirationSeconds must be >= {CERTIFICATE_SECONDS_MIN}"
        ))),
        Some(asked) if asked > most => errors
            .push(seconds.invalid(format!("if provided, maxExpirationSeconds must be <= {most}"))),
        _ => {}
    }
    let files = certificate.present(&["credentialBundlePath", "keyPath", "certificateChainPath"]);
    for file in &files {
        file.must(local_path, errors);
        unique(paths, file.text(), file.text(), volume, errors);
    }
    if files.is_empty() {
        errors.push(certificate.required(
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ));
    }
}

//! The subject of a certificate as its request has it, byte for byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, SigningKey};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

use super::Error;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

fn bad(error: impl std::fmt::Display) -> Error {
    Error::Invalid { what: "certificate request".into(), message: error.to_string() }
}

/// The subject of a request (PKCS #10, PEM), as DER.
pub(super) fn of_request(request: &str) -> Result<Vec<u8>, Error> {
    let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).map_err(bad)?;
    let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(bad)?;
    Ok(parsed.certification_request_info.subject.as_raw().to_vec())
}

/// The certificate with this subject in the place of its own, signed anew; as PEM.
pub(super) fn replace(certificate: &[u8], subject: &[u8], key: &KeyPair) -> Result<String, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(bad)?;
    let (old, signed) = (parsed.tbs_certificate.subject.as_raw(), parsed.tbs_certificate.as_ref());
    if old == subject {
        return Ok(pem(certificate));
    }
    let place = (old.as_ptr() as usize).checked_sub(signed.as_ptr() as usize);
    let begins = content(signed).and_then(|begins| Some((begins, place?)));
    let Some((begins, place)) = begins.filter(|(begins, place)| begins <= place) else {
        return Err(bad("the certificate is not DER"));
    };
    let (before, after) = (signed.get(begins..place), signed.get(place + old.len()..));
    let (Some(before), Some(after)) = (before, after) else {
        return Err(bad("the certificate is not DER"));
    };
    let signed = wrap(SEQUENCE, &[before, subject, after].concat());
    let algorithm = algorithm(certificate, parsed.tbs_certificate.as_ref());
    let algorithm = algorithm.ok_or_else(|| bad("the certificate names no algorithm"))?;
    let signature = key.sign(&signed).map_err(bad)?;
    let signature = wrap(BIT_STRING, &[&[0], signature.as_slice()].concat());
    Ok(pem(&wrap(SEQUENCE, &[&signed, algorithm, &signature].concat())))
}

/// What stands between the signed part and the signature.
fn algorithm<'c>(certificate: &'c [u8], signed: &[u8]) -> Option<&'c [u8]> {
    let at = content(certificate)? + signed.len();
    let rest = certificate.get(at..)?;
    let begins = content(rest)?;
    let length = length(rest)?;
    rest.get(..begins + length)
}

/// Where the content of an element begins.
fn content(der: &[u8]) -> Option<usize> {
    let first = *der.get(1)?;
    Some(if first < 0x80 { 2 } else { 2 + usize::from(first & 0x7f) })
}

/// How long the content of an element is.
fn length(der: &[u8]) -> Option<usize> {
    let first = *der.get(1)?;
    if first < 0x80 {
        return Some(usize::from(first));
    }
    let bytes = der.get(2..content(der)?)?;
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len();
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        der.push(0x80 | bytes.len() as u8);
        der.extend(bytes);
    }
    der.extend(content);
    der
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

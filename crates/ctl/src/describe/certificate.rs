//! Requests for certificates.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_machinery::table::human_duration;
use onggi_machinery::value::{i64_at, list_at, str_at};
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME,
    OID_X509_ORGANIZATIONAL_UNIT, OID_X509_POSTAL_CODE, OID_X509_SERIALNUMBER,
    OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS, Oid,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::storage::pairs;
use super::text::{Text, time};

pub(super) fn request(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Labels", &pairs(object, "metadata.labels"));
    text.field(0, "Annotations", &pairs(object, "metadata.annotations"));
    text.field(0, "CreationTimestamp", &time(object, "metadata.creationTimestamp"));
    text.field(0, "Requesting User", str_at(object, "spec.username"));
    text.some(0, "Signer", str_at(object, "spec.signerName"));
    if let Some(seconds) = i64_at(object, "spec.expirationSeconds") {
        text.field(0, "Requested Duration", &human_duration(seconds));
    }
    text.field(0, "Status", &status(object));
    if let Err(fault) = content(text, str_at(object, "spec.request")) {
        text.field(0, "Subject", &format!("<error: {fault}>"));
    }
}

fn status(object: &Value) -> String {
    let has = |kind: &str| {
        list_at(object, "status.conditions").iter().any(|one| str_at(one, "type") == kind)
    };
    let decision = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if str_at(object, "status.certificate").is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}

/// Who the certificate is to name. `encoded`: PEM in base64.
fn content(text: &mut Text, encoded: &str) -> Result<(), String> {
    let pem = BASE64_STANDARD.decode(encoded).map_err(|e| e.to_string())?;
    let (block, _) = Pem::read(std::io::Cursor::new(&pem)).map_err(|e| e.to_string())?;
    let (_, parsed) =
        X509CertificationRequest::from_der(&block.contents).map_err(|e| e.to_string())?;
    let subject = &parsed.certification_request_info.subject;
    let of = |oid: &Oid<'_>| -> Vec<String> {
        let values = subject.iter_by_oid(oid).filter_map(|value| value.as_str().ok());
        values.map(str::to_owned).collect()
    };
    let common = subject.iter_common_name().filter_map(|name| name.as_str().ok()).last();
    text.line(0, "Subject:");
    text.line(0, &format!("\tCommon Name:\t{}", common.unwrap_or_default()));
    text.line(0, &format!("\tSerial Number:\t{}", of(&OID_X509_SERIALNUMBER).concat()));
    for (name, oid) in [
        ("Organization", OID_X509_ORGANIZATION_NAME),
        ("Organizational Unit", OID_X509_ORGANIZATIONAL_UNIT),
        ("Country", OID_X509_COUNTRY_NAME),
        ("Locality", OID_X509_LOCALITY_NAME),
        ("Province", OID_X509_STATE_OR_PROVINCE_NAME),
        ("StreetAddress", OID_X509_STREET_ADDRESS),
        ("PostalCode", OID_X509_POSTAL_CODE),
    ] {
        several(text, name, &of(&oid));
    }
    let extensions: Vec<_> = parsed.requested_extensions().into_iter().flatten().collect();
    let names: Vec<&GeneralName<'_>> = extensions
        .iter()
        .filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
        .collect();
    let shown: Vec<(usize, String)> = names.into_iter().filter_map(alternative).collect();
    if !shown.is_empty() {
        text.line(0, "Subject Alternative Names:");
    }
    for (place, name) in ["DNS Names", "Email Addresses", "URIs", "IP Addresses"].iter().enumerate()
    {
        let own = shown.iter().filter(|(kind, _)| *kind == place).map(|(_, name)| name.clone());
        several(text, name, &own.collect::<Vec<_>>());
    }
    Ok(())
}

/// An alternative name, with its place in the order of kinds.
fn alternative(name: &GeneralName<'_>) -> Option<(usize, String)> {
    Some(match name {
        GeneralName::DNSName(name) => (0, (*name).to_owned()),
        GeneralName::RFC822Name(name) => (1, (*name).to_owned()),
        GeneralName::URI(name) => (2, (*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            (3, address.to_string())
        }
        _ => return None,
    })
}

fn several(text: &mut Text, name: &str, values: &[String]) {
    if !values.is_empty() {
        text.line(0, &format!("\t{name}:\t{}", values.join("\n\t\t")));
    }
}

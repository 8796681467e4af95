//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who approves and signs
//! requests for certificates must hold that right for their signer, and no certificate makes its
//! holder an administrator.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::Status;
use serde_json::Value;

use super::access::{may_sign, refuse};
use super::{Attributes, Operation, Plugin};
use crate::registry::{Registry, text};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

fn changes(attributes: &Attributes<'_>, subresource: &str) -> bool {
    attributes.operation == Operation::Update
        && attributes.part(GROUP, REQUESTS)
        && attributes.subresource == subresource
}

/// Of the request as it is stored: nobody changes it on the way.
fn signer<'v>(attributes: &Attributes<'v>) -> &'v str {
    attributes.old.map_or("", |old| text(old, "/spec/signerName"))
}

pub(super) struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        changes(attributes, "approval")
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        let signer = signer(attributes);
        if may_sign(registry, attributes, "approve", signer) {
            return Ok(());
        }
        let why = format!("user not permitted to approve requests with signerName {signer:?}");
        refuse(attributes, object, &why)
    }
}

pub(super) struct CertificateSigning;

#[async_trait]
impl Plugin for CertificateSigning {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        changes(attributes, "status")
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        let old = attributes.old.unwrap_or(&Value::Null);
        let same = ["certificate", "conditions"]
            .iter()
            .all(|field| object["status"][*field] == old["status"][*field]);
        let signer = signer(attributes);
        if same || may_sign(registry, attributes, "sign", signer) {
            return Ok(());
        }
        let why = format!("user not permitted to sign requests with signerName {signer:?}");
        refuse(attributes, object, &why)
    }
}

pub(super) struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, GROUP, REQUESTS)
    }

    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        if text(object, "/spec/signerName") != CLIENTS {
            return Ok(());
        }
        // One that cannot be read is refused by the kind's own validation.
        let pem = STANDARD.decode(text(object, "/spec/request")).ok();
        let request = pem
            .and_then(|pem| String::from_utf8(pem).ok())
            .and_then(|pem| rcgen::CertificateSigningRequestParams::from_pem(&pem).ok());
        let Some(request) = request else { return Ok(()) };
        let mut names = request.params.distinguished_name.iter();
        let masters = names.any(|(kind, value)| {
            let value = match value {
                rcgen::DnValue::Utf8String(text) => text.as_str(),
                rcgen::DnValue::PrintableString(text) => text.as_str(),
                _ => "",
            };
            *kind == rcgen::DnType::OrganizationName && value == "system:masters"
        });
        if !masters {
            return Ok(());
        }
        let why = format!("use of {CLIENTS} signer with system:masters group is not allowed");
        refuse(attributes, object, &why)
    }
}

//! Servers that show the very certificate they are to be trusted by, as `openssl req -x509` makes
//! it: it says of itself that it is an authority, which the library takes for no server's.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// What an authority has issued, and the authorities themselves.
#[derive(Debug)]
pub(super) struct SelfSigned {
    /// Decides first.
    pub(super) issued: Arc<WebPkiServerVerifier>,
    /// What is trusted as it is.
    pub(super) trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for SelfSigned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.issued.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verdict {
            // `Other`: the library has no name of its own for an authority in a server's place.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.trusted.contains(certificate) =>
            {
                is_valid_at(certificate, now)?;
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

fn is_valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if at > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if at < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::super::{certificates, server_verifier};
    use super::*;

    #[test]
    fn a_trusted_authority_may_be_the_server_itself() {
        let make = || {
            let mut params = CertificateParams::new(vec!["hook.example".to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(100);
            params.not_after = params.not_before + time::Duration::seconds(100);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let pem = make();
        let verify = |trusted: &str, name: &str, seconds: u64| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let shown = &certificates(&pem).unwrap()[0];
            server_verifier(trusted).unwrap().verify_server_cert(shown, &[], &name, &[], now)
        };
        verify(&pem, "hook.example", 150).unwrap();
        assert!(verify(&make(), "hook.example", 150).is_err(), "another authority");
        assert!(verify(&pem, "other.example", 150).is_err(), "another name");
        assert!(verify(&pem, "hook.example", 250).is_err(), "expired");
        assert!(verify(&pem, "hook.example", 50).is_err(), "not valid yet");
    }
}

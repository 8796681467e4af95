//! The cluster's own certificates: one authority, and what it signs.
//!
//! Keys are ECDSA P-256. An identity is what Kubernetes reads from a client certificate: the common
//! name is the user, each organization a group.

mod subject;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::files::write_atomic;

mod trust;

/// The authority lives this long; leaves are issued anew at each start.
const CA_YEARS: i64 = 20;
const LEAF_DAYS: i64 = 365;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key (PKCS #8).
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    pair: Pair,
}

/// What a client certificate says about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Common name: the user.
    pub user: String,
    /// Organizations: the groups.
    pub groups: Vec<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Not a certificate or key that we can use.
    #[error("{what}: {message}")]
    Invalid {
        /// Which.
        what: String,
        /// What is wrong.
        message: String,
    },
}

fn invalid(what: impl Into<String>) -> impl FnOnce(rcgen::Error) -> Error {
    let what = what.into();
    move |error| Error::Invalid { what, message: error.to_string() }
}

// === impl Authority ===

impl Authority {
    /// A new authority, valid from a day before `now` (clocks differ) for twenty years.
    pub fn generate(name: &str, now: time::OffsetDateTime) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(invalid(name))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::days(365 * CA_YEARS);
        let certificate = params.self_signed(&key).map_err(invalid(name))?.pem();
        Ok(Self { pair: Pair { certificate, key: key.serialize_pem() } })
    }

    /// Reads `NAME.crt` and `NAME.key` in a directory, or makes them where neither is there.
    pub fn open(directory: &Path, name: &str, now: time::OffsetDateTime) -> Result<Self, Error> {
        let certificate = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        if !certificate.exists() && !key.exists() {
            let authority = Self::generate(&format!("onggi-{name}"), now)?;
            write(&key, authority.pair.key.as_bytes(), 0o600)?;
            write(&certificate, authority.pair.certificate.as_bytes(), 0o644)?;
            return Ok(authority);
        }
        let pair = Pair { certificate: read(&certificate)?, key: read(&key)? };
        let what = certificate.display().to_string();
        issuer(&pair, &what)?;
        Ok(Self { pair })
    }

    /// The authority's certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.pair.certificate
    }

    /// A certificate for a server that answers under these names and addresses.
    pub fn issue_server(
        &self,
        name: &str,
        names: &[String],
        addresses: &[IpAddr],
        now: time::OffsetDateTime,
    ) -> Result<Pair, Error> {
        let mut params = leaf(name, None, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            let text = name.as_str().try_into().map_err(invalid(name))?;
            params.subject_alt_names.push(SanType::DnsName(text));
        }
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        self.sign(name, &params)
    }

    /// A certificate for a client, of one group at the most.
    pub fn issue_client(
        &self,
        user: &str,
        group: Option<&str>,
        now: time::OffsetDateTime,
    ) -> Result<Pair, Error> {
        let mut params = leaf(user, group, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, &params)
    }

    /// From a certificate and its key as files of others hold them (PEM).
    pub fn from_pair(pair: Pair) -> Result<Self, Error> {
        issuer(&pair, "the authority's certificate and key")?;
        Ok(Self { pair })
    }

    /// Signs a request (PKCS #10, PEM) for these usages, in Kubernetes' words (`client auth`); valid
    /// from `now` (seconds since 1970) for some seconds.
    pub fn sign_request(
        &self,
        request: &str,
        usages: &[&str],
        seconds: i64,
        now: i64,
    ) -> Result<String, Error> {
        const WHAT: &str = "certificate request";
        let subject = subject::of_request(request)?;
        let mut request =
            CertificateSigningRequestParams::from_pem(request).map_err(invalid(WHAT))?;
        let time = |at: i64| {
            time::OffsetDateTime::from_unix_timestamp(at)
                .map_err(|e| Error::Invalid { what: WHAT.into(), message: e.to_string() })
        };
        let params = &mut request.params;
        // Clocks differ.
        params.not_before = time(now - 300)?;
        params.not_after = time(now + seconds)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages.clear();
        params.extended_key_usages.clear();
        for usage in usages {
            match *usage {
                "digital signature" | "signing" => {
                    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
                }
                "content commitment" => {
                    params.key_usages.push(KeyUsagePurpose::ContentCommitment);
                }
                "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
                "data encipherment" => params.key_usages.push(KeyUsagePurpose::DataEncipherment),
                "key agreement" => params.key_usages.push(KeyUsagePurpose::KeyAgreement),
                "client auth" => {
                    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
                }
                "server auth" => {
                    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
                }
                "code signing" => {
                    params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
                }
                other => {
                    let message = format!("the usage {other:?} cannot be given");
                    return Err(Error::Invalid { what: WHAT.into(), message });
                }
            }
        }
        let issuer = issuer(&self.pair, WHAT)?;
        let signed = request.signed_by(&issuer).map_err(invalid(WHAT))?;
        // rcgen keeps one entry a type: of several organizations it would sign the last.
        let key = KeyPair::from_pem(&self.pair.key).map_err(invalid(WHAT))?;
        subject::replace(signed.der(), &subject, &key)
    }

    fn sign(&self, what: &str, params: &CertificateParams) -> Result<Pair, Error> {
        let issuer = issuer(&self.pair, what)?;
        let key = KeyPair::generate().map_err(invalid(what))?;
        let certificate = params.signed_by(&key, &issuer).map_err(invalid(what))?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// A new private key (P-256, PKCS #8, PEM).
pub fn generate_key() -> Result<String, Error> {
    Ok(KeyPair::generate().map_err(invalid("private key"))?.serialize_pem())
}

/// What a request for a certificate asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Common name: the user.
    pub user: String,
    /// Organizations: the groups.
    pub groups: Vec<String>,
    /// How many names and addresses of a server.
    pub names: usize,
}

/// Reads a request for a certificate (PKCS #10, PEM).
pub fn read_request(request: &str) -> Result<Requested, Error> {
    use x509_parser::extensions::ParsedExtension;
    use x509_parser::prelude::FromDer;
    let bad = |message: String| Error::Invalid { what: "certificate request".into(), message };
    let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(request.as_bytes())
        .map_err(|e| bad(e.to_string()))?;
    let (_, parsed) = x509_parser::certification_request::X509CertificationRequest::from_der(&der)
        .map_err(|e| bad(e.to_string()))?;
    let subject = &parsed.certification_request_info.subject;
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().unwrap_or_default().to_owned()
    };
    let extensions = parsed.requested_extensions().into_iter().flatten();
    let names = extensions
        .map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => names.general_names.len(),
            _ => 0,
        })
        .sum();
    Ok(Requested {
        user: subject.iter_common_name().next().map(text).unwrap_or_default(),
        groups: subject.iter_organization().map(text).collect(),
        names,
    })
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn issuer(pair: &Pair, what: &str) -> Result<Issuer<'static, KeyPair>, Error> {
    let key = KeyPair::from_pem(&pair.key).map_err(invalid(what))?;
    Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(invalid(what))
}

fn leaf(name: &str, group: Option<&str>, now: time::OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(LEAF_DAYS);
    params
}

fn distinguished_name(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    if let Some(group) = group {
        // rcgen keeps one entry a type: a second group would replace the first.
        dn.push(DnType::OrganizationName, group);
    }
    dn
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    write_atomic(path, content, mode).map_err(|source| Error::File { path: path.into(), source })
}

// === TLS ===

impl Pair {
    /// For rustls.
    pub fn to_rustls(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|e| Error::Invalid { what: "private key".into(), message: e.to_string() })?;
        Ok((certificates(&self.certificate)?, key))
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| Error::Invalid { what: "certificate".into(), message: e.to_string() })
}

/// Whether a file of certificates (PEM) holds any.
pub fn has_certificates(pem: &str) -> Result<bool, Error> {
    certificates(pem).map(|all| !all.is_empty())
}

fn roots(ca_pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate).map_err(|e| tls_error(&e))?;
    }
    Ok(roots)
}

fn tls_error(error: &dyn std::fmt::Display) -> Error {
    Error::Invalid { what: "TLS configuration".into(), message: error.to_string() }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Checks that a client's certificate comes from one of these authorities (PEM).
pub fn client_verifier(client_ca: &str) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(client_ca)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| tls_error(&e))
}

/// A server that asks for a client certificate of `client_ca` and lets those without one through to
/// authentication. Speaks HTTP/2 and HTTP/1.1.
pub fn server_config(server: &Pair, client_ca: &str) -> Result<ServerConfig, Error> {
    let verifier = client_verifier(client_ca)?;
    let (chain, key) = server.to_rustls()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| tls_error(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Checks that a server's certificate comes from one of these authorities (PEM), or is one of them.
fn server_verifier(server_ca: &str) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let issued =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(server_ca)?), provider())
            .build()
            .map_err(|e| tls_error(&e))?;
    Ok(Arc::new(trust::SelfSigned { issued, trusted: certificates(server_ca)? }))
}

/// A client that trusts `server_ca` and shows `client`, where it has one.
pub fn client_config(server_ca: &str, client: Option<&Pair>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&e))?
        .dangerous()
        .with_custom_certificate_verifier(server_verifier(server_ca)?);
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some(pair) => {
            let (chain, key) = pair.to_rustls()?;
            builder.with_client_auth_cert(chain, key).map_err(|e| tls_error(&e))
        }
    }
}

/// Reads who holds a client certificate that TLS has verified.
pub fn identity(certificate: &CertificateDer<'_>) -> Result<Identity, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| {
        Error::Invalid { what: "client certificate".into(), message: e.to_string() }
    })?;
    let subject = parsed.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().unwrap_or_default().to_owned()
    };
    let user = subject.iter_common_name().next().map(text).unwrap_or_default();
    let groups = subject.iter_organization().map(text).collect();
    Ok(Identity { user, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> time::OffsetDateTime {
        time::OffsetDateTime::now_utc()
    }

    #[test]
    fn an_authority_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let one = Authority::open(directory.path(), "ca", now()).unwrap();
        let two = Authority::open(directory.path(), "ca", now()).unwrap();
        assert_eq!(one.certificate(), two.certificate());
        std::fs::remove_file(directory.path().join("ca.key")).unwrap();
        let error = Authority::open(directory.path(), "ca", now()).err().unwrap();
        assert!(error.to_string().contains("ca.key"), "{error}");
    }

    #[test]
    fn a_client_certificate_names_user_and_group() {
        let authority = Authority::generate("test", now()).unwrap();
        let pair = authority.issue_client("admin", Some("system:masters"), now()).unwrap();
        let (chain, _) = pair.to_rustls().unwrap();
        let identity = identity(&chain[0]).unwrap();
        assert_eq!(identity.user, "admin");
        assert_eq!(identity.groups, ["system:masters"]);
        let server = authority
            .issue_server("api", &["localhost".into()], &[[127, 0, 0, 1].into()], now())
            .unwrap();
        server_config(&server, authority.certificate()).unwrap();
        client_config(authority.certificate(), Some(&pair)).unwrap();
    }

    #[test]
    fn every_organization_of_a_request_is_signed() {
        let authority = Authority::generate("test", now()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("jo", Some("dev"));
        // To rcgen this is another type than the organization above.
        let organization = DnType::CustomDnType(vec![2, 5, 4, 10]);
        params.distinguished_name.push(organization, "ops");
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(read_request(&request).unwrap().groups, ["dev", "ops"]);
        let seconds = now().unix_timestamp();
        let signed = authority.sign_request(&request, &["client auth"], 3600, seconds).unwrap();
        let certificate = &certificates(&signed).unwrap()[0];
        assert_eq!(identity(certificate).unwrap().groups, ["dev", "ops"]);
        let verifier = client_verifier(authority.certificate()).unwrap();
        let now = rustls::pki_types::UnixTime::now();
        verifier.verify_client_cert(certificate, &[], now).unwrap();
    }

    #[test]
    fn a_request_is_signed_for_its_usages() {
        let authority = Authority::generate("test", now()).unwrap();
        let key = KeyPair::generate().unwrap();
        let request = |names: Vec<String>| {
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name = distinguished_name("jo", Some("dev"));
            params.serialize_request(&key).unwrap().pem().unwrap()
        };
        let plain = request(Vec::new());
        let wanted = read_request(&plain).unwrap();
        assert_eq!((wanted.user.as_str(), wanted.names), ("jo", 0));
        assert_eq!(read_request(&request(vec!["a.example".into()])).unwrap().names, 1);
        let seconds = now().unix_timestamp();
        let usages = ["digital signature", "client auth"];
        let certificate = authority.sign_request(&plain, &usages, 3600, seconds).unwrap();
        let pair = Pair { certificate, key: key.serialize_pem() };
        let (chain, _) = pair.to_rustls().unwrap();
        assert_eq!(identity(&chain[0]).unwrap().groups, ["dev"]);
        let verifier = client_verifier(authority.certificate()).unwrap();
        let verify = |certificate: &CertificateDer<'_>| {
            verifier.verify_client_cert(certificate, &[], rustls::pki_types::UnixTime::now())
        };
        verify(&chain[0]).unwrap();
        let other = authority.sign_request(&plain, &["server auth"], 3600, seconds).unwrap();
        assert!(verify(&certificates(&other).unwrap()[0]).is_err(), "not for clients");
        assert_eq!(identity(&chain[0]).unwrap().user, "jo");
        assert!(authority.sign_request(&plain, &["any"], 3600, seconds).is_err());
        assert!(read_request("nonsense").is_err());
    }
}

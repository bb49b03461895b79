//! Certificates, good and bad, and TLS servers that show them.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    Now,
    Past,
    Future,
}

/// A certificate authority of its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Named otherwise than whom it signs for, who would else be taken to have signed for themselves.
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Key and certificate for `name`, both PEM: for a server that is a process of its own.
    pub fn files(&self, name: &str) -> [String; 2] {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(name, Validity::Now).signed_by(&key, &self.0).expect("a certificate");
        [key.serialize_pem(), certificate.pem()]
    }

    /// A server with a certificate for `name`.
    pub fn server(&self, name: &str, validity: Validity) -> Arc<ServerConfig> {
        self.server_of(name, validity, rustls::ALL_VERSIONS)
    }

    /// One that speaks only these versions of TLS.
    pub fn server_of(&self, name: &str, validity: Validity, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(name, validity).signed_by(&key, &self.0).expect("a certificate");
        server(&certificate, &key, versions)
    }
}

/// A server whose certificate nobody but itself has signed.
pub fn self_signed(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(name, Validity::Now).self_signed(&key).expect("a certificate");
    server(&certificate, &key, rustls::ALL_VERSIONS)
}

fn params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host name");
    match validity {
        Validity::Now => {}
        Validity::Past => params.not_after = date_time_ymd(2020, 1, 1),
        Validity::Future => params.not_before = date_time_ymd(3000, 1, 1),
    }
    params
}

fn server(certificate: &Certificate, key: &KeyPair, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .expect("a usable certificate");
    Arc::new(server)
}

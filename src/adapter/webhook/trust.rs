//! Whom TLS trusts: the operating system's authorities, those of the settings, and for one destination its own beside them. The
//! settings of TLS are made once for each such set.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

use super::WebhookError;

/// Authorities to trust.
#[derive(Clone)]
pub struct Trust {
    roots: RootCertStore,
}

impl Trust {
    /// The operating system's authorities, not a list compiled in: an image brings `ca-certificates`, an enterprise mounts its own or
    /// sets `SSL_CERT_FILE`, and both are renewed without a new release. With them those of `extra`, PEM texts.
    pub fn of_the_system(extra: &[String]) -> Result<Trust, WebhookError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::warn!(%error, "a certificate authority of this machine cannot be read");
        }
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        if ignored > 0 {
            tracing::warn!(ignored, "certificate authorities of this machine are not usable");
        }
        let mut trust = Trust { roots };
        for pem in extra {
            trust = trust.and(pem).map_err(WebhookError::ExtraRoot)?;
        }
        Ok(trust)
    }

    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// These and the authorities of a PEM text.
    pub fn and(&self, pem: &str) -> Result<Trust, AuthorityError> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(AuthorityError::Empty);
        }
        let mut roots = self.roots.clone();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        Ok(Trust { roots })
    }

    /// TLS 1.2 and 1.3, chain, name and dates verified, sessions resumed.
    pub fn connector(self) -> Result<TlsConnector, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(self.roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// A PEM text is not certificates of authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("not readable PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error("not a usable certificate: {0}")]
    Certificate(#[from] rustls::Error),
    #[error("no certificate in it: it begins with -----BEGIN CERTIFICATE-----")]
    Empty,
}

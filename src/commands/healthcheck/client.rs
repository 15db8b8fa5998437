//! The HTTP client of `healthcheck`: which server it trusts, and which certificate it shows.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use url::Url;

use crate::http;

/// Which server is trusted.
#[derive(Debug)]
pub(super) enum TrustedServer {
    /// One whose certificate an authority of the system vouches for.
    BySystem,
    /// One whose certificate one of these authorities vouches for, in PEM.
    ByAuthorities(String),
    /// The one that shows exactly this certificate, whatever name it has.
    Exactly(CertificateDer<'static>),
}

/// A certificate to show, with those that vouch for it, and its key, in PEM.
pub(super) struct ShownCertificate {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealthcheckClientError {
    /// A file holds something else.
    #[error("{flag}: the file holds no {what} in PEM that can be used")]
    Pem { flag: &'static str, what: &'static str },
    /// The TLS library refuses.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] Error),
    /// The HTTP library refuses.
    #[error("cannot set up HTTP: {0}")]
    Http(String),
}

/// A client that asks for a URL of this machine, past any proxy, and follows no redirect.
pub(super) fn client(
    url: &Url,
    trusted: TrustedServer,
    shown: Option<&ShownCertificate>,
    timeout: Duration,
) -> Result<reqwest::Client, HealthcheckClientError> {
    let builder = http::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(timeout);
    let builder = match trusted {
        TrustedServer::Exactly(certificate) => {
            builder.tls_backend_preconfigured(exactly(certificate, shown)?)
        }
        TrustedServer::BySystem if shown.is_none() => {
            builder.tls_backend_preconfigured(http::system_tls([url])?)
        }
        TrustedServer::BySystem => with_identity(builder, shown)?,
        TrustedServer::ByAuthorities(pem) => {
            let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .ok()
                .filter(|authorities| !authorities.is_empty())
                .ok_or(HealthcheckClientError::Pem { flag: "--ca-file", what: "certificate" })?;
            with_identity(builder.tls_certs_only(authorities), shown)?
        }
    };
    builder.build().map_err(|error| HealthcheckClientError::Http(http::cause(&error)))
}

fn with_identity(
    builder: reqwest::ClientBuilder,
    shown: Option<&ShownCertificate>,
) -> Result<reqwest::ClientBuilder, HealthcheckClientError> {
    let Some(shown) = shown else { return Ok(builder) };
    // Both are looked at first, as the error of the library does not say which one is wrong.
    let _ = shown.parse()?;
    let pem = format!("{}\n{}", shown.certificate, shown.key);
    let identity = reqwest::Identity::from_pem(pem.as_bytes())
        .map_err(|_| HealthcheckClientError::Pem { flag: "--key-file", what: "private key" })?;
    Ok(builder.identity(identity))
}

fn exactly(
    certificate: CertificateDer<'static>,
    shown: Option<&ShownCertificate>,
) -> Result<ClientConfig, HealthcheckClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(OneCertificate { certificate, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let (chain, key) = shown.parse()?;
            builder.with_client_auth_cert(chain, key)?
        }
    })
}

impl ShownCertificate {
    fn parse(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HealthcheckClientError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect();
        let chain = chain
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or(HealthcheckClientError::Pem { flag: "--cert-file", what: "certificate" })?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| HealthcheckClientError::Pem { flag: "--key-file", what: "private key" })?;
        Ok((chain, key))
    }
}

/// Accepts one certificate and no other.
#[derive(Debug)]
struct OneCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! The TLS of the web server, made from `tls_server_config`.
//!
//! Go and rustls differ in what they can do; what rustls cannot is refused or reported by name:
//! - Cipher suites with CBC and the curve P-521 do not exist here. They are dropped with a warning;
//!   a list of which nothing is left is an error.
//! - `cipher_suites` chooses among those of TLS 1.2, as in Go; those of TLS 1.3 are always all on.
//! - Keys are RSA of 2048 bits or more, ECDSA with P-256 or P-384, or Ed25519.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys, RootCertStore,
    ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use secrecy::ExposeSecret as _;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::config::{ClientAuth, Pem, Placed, TlsSettings, TlsVersion, WebConfigError};

/// Suites that Go has by these names, and rustls lacks.
const SUITES_OF_GO_ALONE: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// One of these is needed for HTTP/2 over TLS 1.2 (RFC 9113, section 9.2.2).
const SUITES_OF_HTTP_2: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// The text of each file that the configuration names, or why it cannot be read.
pub(super) type FileTexts = BTreeMap<PathBuf, Result<String, String>>;

/// Every file that the settings name.
pub(super) fn files(settings: &TlsSettings) -> impl Iterator<Item = &Path> {
    let pems = [Some(&settings.certificate), Some(&settings.key), settings.client_ca.as_ref()];
    pems.into_iter().flatten().filter_map(|pem| match &pem.value {
        Pem::File(path) => Some(path.as_path()),
        Pem::Inline(_) => None,
    })
}

/// The TLS settings in use, and warnings about them.
pub(super) struct TlsServer {
    pub(super) config: Arc<ServerConfig>,
    pub(super) warnings: Vec<String>,
}

/// Makes a server of the settings.
pub(super) fn server(
    settings: &TlsSettings,
    http2: bool,
    files: &FileTexts,
) -> Result<TlsServer, WebConfigError> {
    let mut warnings = Vec::new();
    let provider = Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(settings, http2, &mut warnings)?,
        kx_groups: curves(settings, &mut warnings)?,
        ..provider::default_provider()
    });
    let certified = certified_key(settings, files, &provider)?;
    let verifier = client_verifier(settings, files, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings))
        .map_err(|error| settings.max_version.place.bad(error.to_string()))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsServer { config: Arc::new(config), warnings })
}

/// The server's own certificate, without those that vouch for it.
pub(super) fn leaf(
    settings: &TlsSettings,
    files: &FileTexts,
) -> Result<CertificateDer<'static>, WebConfigError> {
    let mut chain = certificates(&settings.certificate, files)?;
    Ok(chain.swap_remove(0))
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    let wanted = settings.min_version..=settings.max_version.value;
    all.into_iter().filter(|(version, _)| wanted.contains(version)).map(|(_, version)| version).collect()
}

/// The name by which Go calls a suite.
fn name_in_go(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

fn cipher_suites(
    settings: &TlsSettings,
    http2: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, WebConfigError> {
    let all = provider::ALL_CIPHER_SUITES;
    let Some(first) = settings.cipher_suites.first() else { return Ok(all.to_vec()) };
    let mut wanted = Vec::new();
    for Placed { value, place } in &settings.cipher_suites {
        if all.iter().any(|suite| name_in_go(suite) == *value) {
            wanted.push(value.as_str());
        } else if SUITES_OF_GO_ALONE.contains(&value.as_str()) {
            warnings.push(format!("{place}: {value} is not supported; it is left out"));
        } else {
            let names: Vec<String> = all.iter().map(name_in_go).collect();
            return Err(place.bad(format!("unknown cipher suite; expected one of {}", names.join(", "))));
        }
    }
    let is_tls13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let chosen =
        |suite: &&SupportedCipherSuite| is_tls13(suite) || wanted.contains(&name_in_go(suite).as_str());
    let suites: Vec<SupportedCipherSuite> = all.iter().filter(chosen).copied().collect();
    let only_tls12 = settings.max_version.value == TlsVersion::Tls12;
    if wanted.is_empty() || only_tls12 && suites.iter().all(is_tls13) {
        return Err(first.place.bad("none of these cipher suites is supported"));
    }
    // Go does not start such a server either.
    let may_speak_tls12 = settings.min_version == TlsVersion::Tls12;
    if http2 && may_speak_tls12 && !SUITES_OF_HTTP_2.iter().any(|name| wanted.contains(name)) {
        return Err(first.place.bad(format!(
            "HTTP/2 needs one of {}; add it, or set http_server_config.http2 to false",
            SUITES_OF_HTTP_2.join(" or ")
        )));
    }
    Ok(suites)
}

fn curves(
    settings: &TlsSettings,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, WebConfigError> {
    let Some(first) = settings.curve_preferences.first() else {
        return Ok(provider::default_provider().kx_groups);
    };
    let mut curves: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for Placed { value, place } in &settings.curve_preferences {
        match value.as_str() {
            "X25519" => curves.push(provider::kx_group::X25519),
            "CurveP256" => curves.push(provider::kx_group::SECP256R1),
            "CurveP384" => curves.push(provider::kx_group::SECP384R1),
            "CurveP521" => warnings.push(format!("{place}: CurveP521 is not supported; it is left out")),
            _ => return Err(place.bad("unknown curve; expected X25519, CurveP256 or CurveP384")),
        }
    }
    if curves.is_empty() {
        return Err(first
            .place
            .bad("none of these curves is supported; expected X25519, CurveP256 or CurveP384"));
    }
    Ok(curves)
}

fn text<'a>(pem: &'a Placed<Pem>, files: &'a FileTexts) -> Result<Cow<'a, str>, WebConfigError> {
    match &pem.value {
        Pem::Inline(text) => Ok(Cow::Borrowed(text.expose_secret())),
        Pem::File(path) => match files.get(path) {
            Some(Ok(text)) => Ok(Cow::Borrowed(text)),
            Some(Err(problem)) => Err(pem.place.bad(format!("cannot read {}: {problem}", path.display()))),
            None => Err(pem.place.bad(format!("{} was not read", path.display()))),
        },
    }
}

/// In a message, a file that is named by the configuration.
fn holder(pem: &Pem) -> Cow<'_, str> {
    match pem {
        Pem::Inline(_) => Cow::Borrowed("the text"),
        Pem::File(path) => path.to_string_lossy(),
    }
}

/// At least one.
fn certificates(
    pem: &Placed<Pem>,
    files: &FileTexts,
) -> Result<Vec<CertificateDer<'static>>, WebConfigError> {
    let text = text(pem, files)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let bad = |problem: &str| pem.place.bad(format!("{} {problem}", holder(&pem.value)));
    let certificates = read.map_err(|_| bad("is no valid PEM"))?;
    if certificates.is_empty() {
        return Err(bad("holds no PEM certificate"));
    }
    Ok(certificates)
}

fn certified_key(
    settings: &TlsSettings,
    files: &FileTexts,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, WebConfigError> {
    let chain = certificates(&settings.certificate, files)?;
    let key_text = text(&settings.key, files)?;
    let bad = |problem: &str| settings.key.place.bad(format!("{} {problem}", holder(&settings.key.value)));
    let key = PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => bad("holds no PEM private key, or one that is encrypted"),
        _ => bad("is no valid PEM"),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => bad("is not the key of the certificate"),
        Error::InvalidCertificate(_) => settings
            .certificate
            .place
            .bad(format!("{} holds a certificate that cannot be read", holder(&settings.certificate.value))),
        _ => bad("holds a key that is not supported: use RSA of 2048 bits or more, ECDSA with P-256 or P-384, or Ed25519"),
    })
}

fn client_verifier(
    settings: &TlsSettings,
    files: &FileTexts,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, WebConfigError> {
    let Some(ca) = &settings.client_ca else { return Ok(None) };
    let trusted = certificates(ca, files)?;
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        let holder = holder(&ca.value);
        let bad = |error| ca.place.bad(format!("{holder} holds a certificate that cannot be used: {error}"));
        roots.add(certificate.clone()).map_err(bad)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client_auth.value {
        ClientAuth::None => return Ok(None),
        ClientAuth::IfGiven => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    let by_authority = builder.build().map_err(|error| ca.place.bad(error.to_string()))?;
    let allowed_sans = settings.client_allowed_sans.clone();
    Ok(Some(Arc::new(ClientVerifier { by_authority, trusted, allowed_sans })))
}

/// Verifies certificates of clients as Go does, which goes beyond rustls in two ways: a certificate
/// that is itself in the file of authorities is trusted even if it is marked as an authority (as
/// `openssl req -x509` does), and names can be required.
#[derive(Debug)]
struct ClientVerifier {
    by_authority: Arc<dyn ClientCertVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    /// Empty for any.
    allowed_sans: Vec<String>,
}

impl ClientVerifier {
    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.trusted.contains(certificate) {
            return Ok(false);
        }
        let parsed = parsed(certificate)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds < parsed.validity().not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if seconds > parsed.validity().not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
        if usage.is_some_and(|usage| !usage.value.any && !usage.value.client_auth) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        Ok(true)
    }

    fn has_allowed_name(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        if self.allowed_sans.is_empty() {
            return Ok(true);
        }
        let parsed = parsed(certificate)?;
        let names = parsed.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
        let names = names.map(|names| names.value.general_names.iter()).into_iter().flatten();
        Ok(names.filter_map(san).any(|name| self.allowed_sans.iter().any(|allowed| *allowed == name)))
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(parsed)
}

/// A name as `client_allowed_sans` writes it.
fn san<'a>(name: &GeneralName<'a>) -> Option<Cow<'a, str>> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some(Cow::Borrowed(text))
        }
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_canonical(),
                _ => return None,
            };
            Some(Cow::Owned(address.to_string()))
        }
        _ => None,
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.by_authority.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.by_authority.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.is_trusted_itself(certificate, now)? {
            self.by_authority.verify_client_cert(certificate, intermediates, now)?;
        }
        if !self.has_allowed_name(certificate)? {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
    use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::SupportedKxGroup;
    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, ProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::config::WebConfig;
    use super::*;

    /// A client looks at TLS here, not at who the server is.
    #[derive(Debug)]
    struct AnyServer;

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    type Identity = (CertificateDer<'static>, Vec<u8>);

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn client(
        authority: &CertifiedIssuer<'static, KeyPair>,
        sans: Vec<SanType>,
        years: (i32, i32),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = sans;
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        (params.signed_by(&key, authority).unwrap().der().clone(), key.serialize_der())
    }

    /// The settings of a server with a certificate and these lines.
    fn settings(lines: &str) -> Result<(TlsSettings, Vec<String>), String> {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let inline = |pem: String| pem.trim_end().replace('\n', "\n    ");
        let text = format!(
            "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n{lines}",
            inline(certificate.pem()),
            inline(key.serialize_pem())
        );
        let config = WebConfig::parse(Path::new("web.yml"), &text).map_err(|error| error.to_string())?;
        Ok((config.tls.unwrap(), config.warnings))
    }

    fn made(lines: &str, http2: bool) -> Result<TlsServer, String> {
        let (settings, _) = settings(lines)?;
        server(&settings, http2, &FileTexts::new()).map_err(|error| error.to_string())
    }

    fn with_ca(ca: &str, lines: &str) -> Arc<ServerConfig> {
        let inline = ca.trim_end().replace('\n', "\n    ");
        made(&format!("  client_ca: |\n    {inline}\n{lines}"), false).ok().unwrap().config
    }

    fn client_config(
        versions: &[&'static SupportedProtocolVersion],
        curves: Vec<&'static dyn SupportedKxGroup>,
        identity: Option<Identity>,
    ) -> ClientConfig {
        let provider = CryptoProvider { kx_groups: curves, ..provider::default_provider() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        }
    }

    fn usual(identity: Option<Identity>) -> ClientConfig {
        client_config(rustls::ALL_VERSIONS, provider::default_provider().kx_groups, identity)
    }

    /// Speaks TLS, and returns what was agreed on: version, suite and protocol.
    async fn agreed(
        server: Arc<ServerConfig>,
        client: ClientConfig,
    ) -> Option<(ProtocolVersion, String, Option<Vec<u8>>)> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let serving = async move {
            let mut stream = tokio_rustls::TlsAcceptor::from(server).accept(far).await.ok()?;
            stream.write_all(b"hello").await.ok()?;
            stream.shutdown().await.ok()
        };
        let asking = async move {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, near).await.ok()?;
            let mut text = String::new();
            // With TLS 1.3, a client learns here that its certificate was refused.
            stream.read_to_string(&mut text).await.ok()?;
            let connection = stream.get_ref().1;
            let suite = name_in_go(&connection.negotiated_cipher_suite()?);
            let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
            (text == "hello").then_some((connection.protocol_version()?, suite, protocol))
        };
        tokio::join!(serving, asking).1
    }

    #[tokio::test]
    async fn versions_suites_curves_and_protocols_are_those_that_were_asked_for() {
        let all = || provider::default_provider().kx_groups;
        let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        for (lines, http2, versions, curves, outcome) in [
            ("", true, rustls::ALL_VERSIONS, all(), Some((ProtocolVersion::TLSv1_3, None))),
            (
                "  max_version: TLS12\n",
                true,
                rustls::ALL_VERSIONS,
                all(),
                Some((ProtocolVersion::TLSv1_2, None)),
            ),
            ("  min_version: TLS13\n", true, &[&version::TLS12][..], all(), None),
            ("  max_version: TLS12\n", true, &[&version::TLS13], all(), None),
            (
                "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
                false,
                &[&version::TLS12],
                all(),
                Some((ProtocolVersion::TLSv1_2, Some(suite))),
            ),
            (
                "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
                true,
                &[&version::TLS12],
                all(),
                None,
            ),
            ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", false, &[&version::TLS12], all(), None),
            (
                "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
                false,
                rustls::ALL_VERSIONS,
                all(),
                Some((ProtocolVersion::TLSv1_3, None)),
            ),
            (
                "  curve_preferences: [CurveP384]\n",
                true,
                rustls::ALL_VERSIONS,
                vec![provider::kx_group::X25519],
                None,
            ),
            (
                "  curve_preferences: [CurveP521, CurveP384]\n",
                true,
                rustls::ALL_VERSIONS,
                vec![provider::kx_group::SECP384R1],
                Some((ProtocolVersion::TLSv1_3, None)),
            ),
        ] {
            let server = made(lines, http2).ok().unwrap().config;
            let mut client = client_config(versions, curves, None);
            client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let found = agreed(server, client).await;
            assert_eq!(found.as_ref().map(|found| found.0), outcome.map(|outcome| outcome.0), "{lines}");
            if let Some((_, suite, protocol)) = found {
                let wanted = outcome.unwrap().1.unwrap_or(&suite);
                assert_eq!(
                    (suite.as_str(), protocol.as_deref()),
                    (wanted, Some(if http2 { &b"h2"[..] } else { b"http/1.1" })),
                    "{lines}"
                );
            }
        }
    }

    #[test]
    fn what_rustls_cannot_do_is_said_by_name() {
        for (lines, http2, part) in [
            (
                "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n",
                true,
                "tls_server_config.cipher_suites: unknown",
            ),
            ("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n", false, "none of these cipher suites"),
            ("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n", true, "HTTP/2 needs one of"),
            (
                "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
                false,
                "none of these cipher suites",
            ),
            ("  curve_preferences: [CurveP521]\n", true, "none of these curves"),
            ("  curve_preferences: [CurveP257]\n", true, "unknown curve"),
        ] {
            let error = made(lines, http2).err().unwrap();
            assert!(error.contains(part), "no {part:?}: {error}");
        }
        let lines = "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  \
                     curve_preferences: [CurveP521, X25519]\n";
        let warnings = made(lines, true).ok().unwrap().warnings;
        assert!(
            warnings.len() == 2
                && warnings[0].contains("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported")
                && warnings[1].contains("CurveP521 is not supported"),
            "{warnings:?}"
        );
    }

    #[tokio::test]
    async fn clients_have_to_show_a_certificate_of_the_authority() {
        let (own, stranger) = (authority("own"), authority("stranger"));
        let dns = || vec![SanType::DnsName("scraper".try_into().unwrap())];
        let required = with_ca(&own.pem(), "  client_auth_type: RequireAndVerifyClientCert\n");
        let if_given = with_ca(&own.pem(), "  client_auth_type: VerifyClientCertIfGiven\n");
        for (identity, by_required, by_if_given) in [
            (None, false, true),
            (Some(client(&own, dns(), (2020, 2090))), true, true),
            (Some(client(&own, dns(), (2020, 2021))), false, false),
            (Some(client(&stranger, dns(), (2020, 2090))), false, false),
        ] {
            for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
                let asked = |server: &Arc<ServerConfig>| {
                    let curves = provider::default_provider().kx_groups;
                    agreed(Arc::clone(server), client_config(versions, curves, identity.clone()))
                };
                assert_eq!(asked(&required).await.is_some(), by_required, "{versions:?}");
                assert_eq!(asked(&if_given).await.is_some(), by_if_given, "{versions:?}");
            }
        }
    }

    #[tokio::test]
    async fn names_in_a_client_certificate_can_be_required() {
        let own = authority("own");
        let identities = [
            vec![SanType::DnsName("one".try_into().unwrap()), SanType::DnsName("two".try_into().unwrap())],
            vec![SanType::Rfc822Name("ops@example.com".try_into().unwrap())],
            vec![SanType::IpAddress("10.0.0.1".parse().unwrap())],
            vec![SanType::IpAddress("2001:db8::1".parse().unwrap())],
            vec![SanType::URI("spiffe://example.com/scraper".try_into().unwrap())],
            vec![],
        ]
        .map(|sans| client(&own, sans, (2020, 2090)));
        for (allowed, welcome) in [
            ("two", 0),
            ("ops@example.com", 1),
            ("10.0.0.1", 2),
            ("'2001:db8::1'", 3),
            ("'spiffe://example.com/scraper'", 4),
        ] {
            let lines = format!(
                "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [other, {allowed}]\n"
            );
            let server = with_ca(&own.pem(), &lines);
            for (index, identity) in identities.iter().enumerate() {
                let found = agreed(Arc::clone(&server), usual(Some(identity.clone()))).await;
                assert_eq!(found.is_some(), index == welcome, "{allowed}, {index}");
            }
        }
    }

    /// `openssl req -x509` makes such a certificate for a client.
    #[tokio::test]
    async fn a_certificate_that_is_itself_in_the_file_of_authorities_is_trusted() {
        let made = |years: (i32, i32)| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["scraper".to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
            let certificate = params.self_signed(&key).unwrap();
            (certificate.pem(), (certificate.der().clone(), key.serialize_der()))
        };
        let (good, old, late) = (made((2020, 2090)), made((2020, 2021)), made((2089, 2090)));
        let server = with_ca(
            &format!("{}{}{}", good.0, old.0, late.0),
            "  client_auth_type: RequireAndVerifyClientCert\n",
        );
        assert!(agreed(Arc::clone(&server), usual(Some(good.1))).await.is_some());
        assert!(agreed(Arc::clone(&server), usual(Some(old.1))).await.is_none());
        assert!(agreed(Arc::clone(&server), usual(Some(late.1))).await.is_none());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (mut settings, _) = settings("").unwrap();
        settings.key.value = Pem::Inline(KeyPair::generate().unwrap().serialize_pem().into());
        let error = server(&settings, true, &FileTexts::new()).err().unwrap().to_string();
        assert!(
            error.contains("tls_server_config.key: the text is not the key of the certificate"),
            "{error}"
        );
        settings.key.value = Pem::Inline("nothing".to_owned().into());
        let error = server(&settings, true, &FileTexts::new()).err().unwrap().to_string();
        assert!(error.contains("holds no PEM private key"), "{error}");
    }
}

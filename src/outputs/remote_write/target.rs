//! Where and how history is written: the settings of one target, with the names that Prometheus
//! gives them, and the content of the files that they name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::outputs::push_client::{PushClient, PushClientError, PushHeaders, PushOptions};
use crate::text_file;

/// One database that history is written to.
#[derive(Clone, PartialEq)]
pub struct RemoteWriteTarget {
    /// Its name in metrics, log lines and the ledger. Unique among the targets.
    pub name: String,
    /// The URL that requests are sent to.
    pub url: Url,
    /// The longest time of one request.
    pub timeout: Duration,
    /// Headers of each request beside those of the protocol.
    pub headers: PushHeaders,
    /// Who asks; `None` for nobody in particular.
    pub credentials: Option<TargetCredentials>,
    /// How the connection is secured.
    pub tls: TargetTls,
    /// The proxy to ask through.
    pub proxy: Option<Url>,
}

/// Shows neither the query of the URL nor the proxy, as both may be secret.
impl fmt::Debug for RemoteWriteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWriteTarget")
            .field("name", &self.name)
            .field("url", &self.shown_url())
            .field("timeout", &self.timeout)
            .field("headers", &self.headers)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Who asks, with the file that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetCredentials {
    /// A user with a password.
    Basic {
        /// The name of the user.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// Credentials behind the name of a scheme.
    Authorization {
        /// The scheme, such as `Bearer`.
        scheme: String,
        /// The file with the credentials.
        credentials_file: PathBuf,
    },
}

/// How the connection to a target is secured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetTls {
    /// The file with the only certificate authorities to trust; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// The files with the certificate of this client and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate of the receiver must have, if it is not that of the URL.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// A file that a target names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {}: {reason}", path.display())]
pub struct BadTargetFile {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// The content of the files that a target names.
#[derive(Clone, Default)]
pub struct TargetFiles {
    secret: Option<SecretString>,
    ca_pem: Option<String>,
    identity_pem: Option<SecretString>,
}

impl PartialEq for TargetFiles {
    fn eq(&self, other: &TargetFiles) -> bool {
        let exposed =
            |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        self.ca_pem == other.ca_pem
            && exposed(&self.secret) == exposed(&other.secret)
            && exposed(&self.identity_pem) == exposed(&other.identity_pem)
    }
}

impl RemoteWriteTarget {
    /// A target with the defaults of everything but its URL, named after it.
    #[must_use]
    pub fn of(url: Url) -> RemoteWriteTarget {
        RemoteWriteTarget {
            name: default_name(&url),
            url,
            timeout: Duration::from_secs(30),
            headers: PushHeaders::default(),
            credentials: None,
            tls: TargetTls::default(),
            proxy: None,
        }
    }

    /// The URL as it may be shown: without query, which may be secret.
    #[must_use]
    pub fn shown_url(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }

    /// Reads the files that the target names.
    ///
    /// # Errors
    /// [`BadTargetFile`]: the first that cannot be read, or is empty.
    pub fn read_files(
        &self,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<TargetFiles, BadTargetFile> {
        let text = |path: &Path| {
            let bad = |reason: String| BadTargetFile { path: path.to_owned(), reason };
            let text = read(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => bad("no such file".to_owned()),
                _ => bad(error.to_string()),
            })?;
            if text.trim().is_empty() { Err(bad("it is empty".to_owned())) } else { Ok(text) }
        };
        let secret_file = self.credentials.as_ref().map(|credentials| match credentials {
            TargetCredentials::Basic { password_file: file, .. }
            | TargetCredentials::Authorization { credentials_file: file, .. } => file,
        });
        let secret = secret_file
            .map(|file| {
                let secret = text(file)?.trim().to_owned();
                let reason = "it holds characters that no header can have".to_owned();
                let is_fit = HeaderValue::try_from(&secret).is_ok();
                is_fit.then_some(secret).ok_or(BadTargetFile { path: file.clone(), reason })
            })
            .transpose()?;
        let identity = self.tls.identity.as_ref();
        let identity = identity
            .map(|(certificate, key)| Ok(format!("{}\n{}", text(certificate)?, text(key)?)))
            .transpose()?;
        Ok(TargetFiles {
            secret: secret.map(SecretString::from),
            ca_pem: self.tls.ca_file.as_deref().map(text).transpose()?,
            identity_pem: identity.map(SecretString::from),
        })
    }

    /// Checks what only the HTTP client can: certificates and keys.
    ///
    /// # Errors
    /// [`BadTargetFile`].
    pub fn validate(&self, files: &TargetFiles) -> Result<(), BadTargetFile> {
        let bad = |error: PushClientError| {
            let identity = self.tls.identity.as_ref().map(|(certificate, _)| certificate);
            let path = match error {
                PushClientError::CaFile => self.tls.ca_file.clone(),
                PushClientError::Identity => identity.cloned(),
                PushClientError::Setup(_) => self.tls.ca_file.clone(),
            };
            BadTargetFile { path: path.unwrap_or_default(), reason: error.to_string() }
        };
        self.client(files).map(drop).map_err(bad)
    }

    /// A client with what the files hold.
    pub(super) fn client(&self, files: &TargetFiles) -> Result<PushClient, PushClientError> {
        let options = PushOptions {
            headers: self.all_headers(files),
            ca_pem: files.ca_pem.as_ref().map(|pem| pem.clone().into_bytes()),
            identity_pem: files.identity_pem.clone(),
            proxy: self.proxy.clone(),
            server_name: self.tls.server_name.clone(),
            insecure_skip_verify: self.tls.insecure_skip_verify,
        };
        PushClient::new(&self.url, options)
    }

    fn all_headers(&self, files: &TargetFiles) -> HeaderMap {
        let mut headers = self.headers.to_map();
        let secret = files.secret.as_ref().map(|secret| secret.expose_secret());
        let value = match (&self.credentials, secret) {
            (Some(TargetCredentials::Basic { username, .. }), Some(password)) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            (Some(TargetCredentials::Authorization { scheme, .. }), Some(credentials)) => {
                Some(format!("{scheme} {credentials}"))
            }
            _ => None,
        };
        if let Some(mut value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }
}

/// Host, port and path of a URL: what tells targets apart, without anything secret.
#[must_use]
pub fn default_name(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}

/// A client that follows the files of its target: it is made anew when their content changes.
#[derive(Debug)]
pub(super) struct WatchedClient {
    target: RemoteWriteTarget,
    made: Option<(TargetFiles, PushClient)>,
}

impl fmt::Debug for TargetFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetFiles").finish_non_exhaustive()
    }
}

impl WatchedClient {
    pub(super) fn new(target: RemoteWriteTarget) -> WatchedClient {
        WatchedClient { target, made: None }
    }

    pub(super) const fn target(&self) -> &RemoteWriteTarget {
        &self.target
    }

    /// The client for the next request.
    ///
    /// # Errors
    /// A file cannot be used. That of an earlier content is not used on, as what it holds may have
    /// been withdrawn.
    pub(super) async fn current(&mut self) -> Result<&PushClient, BadTargetFile> {
        let target = self.target.clone();
        let read = crate::task::spawn_blocking(move || {
            let files = target.read_files(text_file::read)?;
            target.validate(&files).map(|()| files)
        });
        let files = read.await?;
        let made = match self.made.take() {
            Some(made) if made.0 == files => made,
            _ => {
                let client = self.target.client(&files).map_err(|error| BadTargetFile {
                    path: PathBuf::from(self.target.shown_url()),
                    reason: error.to_string(),
                })?;
                (files, client)
            }
        };
        Ok(&self.made.insert(made).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> RemoteWriteTarget {
        RemoteWriteTarget::of(Url::parse(url).unwrap())
    }

    #[test]
    fn a_name_is_made_of_what_is_not_secret() {
        assert_eq!(
            target("http://prometheus:9090/api/v1/write?key=hush").name,
            "prometheus:9090/api/v1/write"
        );
        assert_eq!(target("https://db.example.com/").name, "db.example.com");
        let debug = format!("{:?}", target("https://db.example.com/write?key=hush"));
        assert!(debug.contains("https://db.example.com/write\"") && !debug.contains("hush"), "{debug}");
    }

    #[test]
    fn credentials_become_a_header() {
        let mut target = target("https://db.example.com/write");
        let password_file = PathBuf::from("password");
        target.credentials = Some(TargetCredentials::Basic { username: "me".to_owned(), password_file });
        let read = |_: &Path| Ok(" hush\n".to_owned());
        let files = target.read_files(read).unwrap();
        assert_eq!(target.all_headers(&files)[AUTHORIZATION], "Basic bWU6aHVzaA==");
        target.credentials = Some(TargetCredentials::Authorization {
            scheme: "Bearer".to_owned(),
            credentials_file: PathBuf::from("token"),
        });
        assert_eq!(target.all_headers(&files)[AUTHORIZATION], "Bearer hush");
        let shown = format!("{:?} {files:?}", target);
        assert!(!shown.contains("hush"), "{shown}");
        for (content, reason) in
            [(" \n", "it is empty"), ("hu\u{0}sh", "it holds characters that no header can have")]
        {
            let error = target.read_files(|_: &Path| Ok(content.to_owned())).unwrap_err();
            assert_eq!((error.path, error.reason.as_str()), (PathBuf::from("token"), reason));
        }
        let error = target.read_files(|_: &Path| Err(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot use token: no such file");
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let mut target = target("https://db.example.com/write");
        target.tls.ca_file = Some(PathBuf::from("ca.pem"));
        let files = target.read_files(|_: &Path| Ok("nothing".to_owned())).unwrap();
        let error = target.validate(&files).unwrap_err();
        assert_eq!(error.to_string(), "cannot use ca.pem: it has no certificate in PEM form");
    }
}

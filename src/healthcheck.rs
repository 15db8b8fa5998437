//! `healthcheck`: asks a running exporter whether it is ready; for containers without a shell.

use std::time::Duration;

use clap::Args;
use url::Url;

use crate::http;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// What to ask
    ///
    /// /-/ready tells whether each log had its first answer or error, /-/healthy whether the process is up.
    ///
    /// Example: --url=http://127.0.0.1:10460/-/healthy
    #[arg(
        long = "url",
        env = "CRYPTOLENS_HEALTHCHECK_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:10460/-/ready",
        help_heading = "Web"
    )]
    pub url: Url,
}

/// Why the exporter is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// Nobody answered.
    #[error("{url} does not answer: {cause}")]
    Silent {
        /// What was asked.
        url: Url,
        /// Why not.
        cause: String,
    },
    /// It says so itself.
    #[error("{url} answers {status}: {text}")]
    Said {
        /// What was asked.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
}

/// Asks once, within three seconds, past any proxy.
///
/// # Errors
/// [`Unwell`].
pub async fn run(args: HealthcheckArgs) -> Result<(), Unwell> {
    let url = args.url;
    let silent = |error: reqwest::Error| {
        let in_time = format!("no complete answer within {} s", TIMEOUT.as_secs());
        let cause = if error.is_timeout() { in_time } else { http::cause(&error) };
        Unwell::Silent { url: url.clone(), cause }
    };
    let client = http::builder().no_proxy().timeout(TIMEOUT).build().map_err(silent)?;
    let answer = client.get(url.clone()).send().await.map_err(silent)?;
    let status = answer.status();
    let text = answer.text().await.map_err(silent)?;
    if status.is_success() {
        return Ok(());
    }
    Err(Unwell::Said { status: status.as_u16(), text: text.trim().to_owned(), url })
}

//! `healthcheck`: asks a running exporter whether it is ready; for containers without a shell.

use std::time::Duration;

use clap::Args;
use url::Url;

use crate::config::ListenAddress;
use crate::http;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// What to ask
    ///
    /// /-/ready tells whether each log had its first answer or error, /-/healthy whether the process is up.
    ///
    /// Default: /-/ready at --web.listen-address. Example: --url=http://127.0.0.1:10460/-/healthy
    #[arg(long = "url", env = "CRYPTOLENS_HEALTHCHECK_URL", value_name = "URL", help_heading = "Web")]
    pub url: Option<Url>,

    /// Address that the exporter on this machine serves on, as it was told
    ///
    /// Without an address, as in :10460, or with one for all of the machine, it is asked at the loopback address.
    ///
    /// Example: --web.listen-address=localhost:9000
    #[arg(
        long = "web.listen-address",
        env = "CRYPTOLENS_WEB_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        default_value = ":10460",
        help_heading = "Web"
    )]
    pub listen_address: ListenAddress,
}

/// Why the exporter is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// There is nothing to ask.
    #[error("{address} makes no URL; --url takes one")]
    Nowhere {
        /// Where it listens.
        address: ListenAddress,
    },
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
    let url = match args.url {
        Some(url) => url,
        None => readiness(args.listen_address)?,
    };
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

/// The page that tells about readiness.
fn readiness(address: ListenAddress) -> Result<Url, Unwell> {
    Url::parse(&format!("http://{}/-/ready", address.from_here())).map_err(|_| Unwell::Nowhere { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_exporter_was_told_to_listen() {
        for (listening, asked) in [
            (":10460", "http://127.0.0.1:10460/-/ready"),
            ("[::]:9000", "http://[::1]:9000/-/ready"),
            ("localhost:80", "http://127.0.0.1/-/ready"),
        ] {
            assert_eq!(readiness(listening.parse().unwrap()).unwrap().as_str(), asked);
        }
    }
}

//! `healthcheck`: asks a running exporter whether it is ready; for containers without a shell.

use std::time::Duration;

use url::Url;

use super::failure::CommandFailure;
use crate::config::{FlagValues, Sources, SystemEnvironment, table, value};
use crate::http;
use crate::web::ListenAddress;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the exporter is not ready.
#[derive(Debug, thiserror::Error)]
enum HealthcheckError {
    /// There is nothing to ask.
    #[error("{address} makes no URL; --url takes one")]
    Nowhere {
        /// The address that it listens on.
        address: ListenAddress,
    },
    /// Nobody answered.
    #[error("{url} does not answer: {cause}")]
    Silent {
        /// The URL that was asked.
        url: Url,
        /// The reason.
        cause: String,
    },
    /// It answers that it is not ready.
    #[error("{url} answers {status}: {text}")]
    Said {
        /// The URL that was asked.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        text: String,
    },
}

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::without_file(flags, &SystemEnvironment);
    let url: Option<Url> = sources.get(&table::HEALTHCHECK_URL, value::parsed);
    let address = sources.get(&table::HEALTHCHECK_LISTEN_ADDRESS, value::listen_address);
    let address = sources.finish(address)?;
    let url = url.map_or_else(|| readiness(address), Ok).map_err(CommandFailure::failed)?;
    ask(url).await.map_err(CommandFailure::failed)
}

/// Asks once, within three seconds, past any proxy.
async fn ask(url: Url) -> Result<(), HealthcheckError> {
    let silent = |error: reqwest::Error| {
        let in_time = format!("no complete answer within {} s", TIMEOUT.as_secs());
        let cause = if error.is_timeout() { in_time } else { http::cause(&error) };
        HealthcheckError::Silent { url: url.clone(), cause }
    };
    let client = http::builder().no_proxy().timeout(TIMEOUT).build().map_err(silent)?;
    let answer = client.get(url.clone()).send().await.map_err(silent)?;
    let status = answer.status();
    let text = answer.text().await.map_err(silent)?;
    if status.is_success() {
        return Ok(());
    }
    Err(HealthcheckError::Said { status: status.as_u16(), text: text.trim().to_owned(), url })
}

/// The page that says whether the exporter is ready.
fn readiness(address: ListenAddress) -> Result<Url, HealthcheckError> {
    Url::parse(&format!("http://{}/-/ready", address.from_here()))
        .map_err(|_| HealthcheckError::Nowhere { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_exporter_listens() {
        for (listening, asked) in [
            (":10460", "http://127.0.0.1:10460/-/ready"),
            ("[::]:9000", "http://[::1]:9000/-/ready"),
            ("localhost:80", "http://127.0.0.1/-/ready"),
        ] {
            assert_eq!(readiness(listening.parse().unwrap()).unwrap().as_str(), asked);
        }
    }
}

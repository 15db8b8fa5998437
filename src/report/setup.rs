//! From flags, environment and configuration file to a client for one account, by the same rules as `serve`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::args::{AccessArgs, IdentitiesArg, PresentArgs};
use super::error::ReportError;
use super::identity::Identities;
use super::progress::Progress;
use super::source::Source;
use super::text::Paint;
use super::window::Window;
use crate::cli::ServeArgs;
use crate::config::{self, SystemEnvironment};
use crate::cryptolens::{Client, ClientError, ClientOptions, Token};

const BACKOFF: Duration = Duration::from_secs(1);

/// What every report needs.
pub(super) struct Setup {
    client: Client,
    pub(super) account: String,
    pub(super) identities: Identities,
    pub(super) paint: Paint,
    /// Texts for states that the configuration names.
    pub(super) states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub(super) objects_first_code: i64,
}

impl Setup {
    pub(super) fn new(access: &AccessArgs, present: &PresentArgs) -> Result<Setup, ReportError> {
        let serve =
            ServeArgs { config: access.config.clone(), api: access.api.clone(), ..ServeArgs::default() };
        let settings = config::load(&serve, &SystemEnvironment)?;
        let mut stderr = std::io::stderr().lock();
        for warning in &settings.warnings {
            // Nobody reads a closed standard error.
            let _ = writeln!(stderr, "warning: {warning}");
        }
        let account = select(&settings.accounts, access.account.as_deref())?;
        let token = account.token.initial().clone();
        let identities = match present.identities {
            IdentitiesArg::Full => Identities::Full,
            IdentitiesArg::Masked => Identities::masked(&token),
        };
        let ca_pem = settings.api.ca_file.as_deref().map(std::fs::read).transpose();
        let options = ClientOptions {
            url: settings.api.url.clone(),
            timeout: settings.api.timeout,
            ca_pem: ca_pem.map_err(|_| ClientError::CaFile)?,
        };
        let to_terminal = present.output.is_none() && std::io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Setup {
            client: Client::new(&options, Token::fixed(token))?,
            account: account.name.to_string(),
            identities,
            paint: Paint { colour: to_terminal && !unwanted },
            states: settings.states,
            objects_first_code: settings.objects_first_code,
        })
    }

    pub(super) fn source(&self, log: &str, window: Option<Window>, zone: chrono_tz::Tz) -> Source {
        Source { client: self.client.clone(), progress: Progress::new(log, window, zone), backoff: BACKOFF }
    }

    /// Whose report, and on which time.
    pub(super) fn heading(&self, window: &Window) -> String {
        format!("account {}, {window}", self.account)
    }
}

fn select<'a>(
    accounts: &'a [config::Account],
    name: Option<&str>,
) -> Result<&'a config::Account, ReportError> {
    let names = || {
        let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
        names.join(", ")
    };
    match (accounts, name) {
        ([only], None) => Ok(only),
        (_, None) => Err(ReportError::Usage(format!(
            "the configuration file lists several accounts; choose one by --account: {}",
            names()
        ))),
        (_, Some(name)) => accounts.iter().find(|account| account.name.as_str() == name).ok_or_else(|| {
            ReportError::Usage(format!("--account: found {name:?}, expected one of: {}", names()))
        }),
    }
}

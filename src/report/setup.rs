//! From flags, environment and configuration file to a client for one account, by the same rules as `serve`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::args::{AccessArgs, IdentitiesArg, PresentArgs};
use super::error::ReportError;
use super::identity::Identities;
use super::progress::Progress;
use super::source::Source;
use super::text::Screen;
use super::window::Window;
use super::zone::Zone;
use crate::cli::ServeArgs;
use crate::config::{self, Product, SystemEnvironment};
use crate::cryptolens::{Client, Token};

const BACKOFF: Duration = Duration::from_secs(1);

/// What every report needs.
pub(super) struct Setup {
    client: Client,
    stop: CancellationToken,
    pub(super) account: String,
    pub(super) identities: Identities,
    pub(super) screen: Screen,
    /// Texts for states that the configuration names.
    pub(super) states: BTreeMap<u16, String>,
    /// Products that the configuration names.
    pub(super) products: Vec<Product>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub(super) objects_first_code: i64,
}

impl Setup {
    /// `stop` ends readings early.
    pub(super) fn new(
        access: &AccessArgs,
        present: &PresentArgs,
        stop: CancellationToken,
    ) -> Result<Setup, ReportError> {
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
        let options = settings.api.client_options();
        Ok(Setup {
            client: Client::new(&options, Token::fixed(token))?,
            stop,
            account: account.name.to_string(),
            identities,
            screen: screen(present),
            products: account.products.clone(),
            states: settings.states,
            objects_first_code: settings.objects_first_code,
        })
    }

    pub(super) fn source(&self, log: &str, window: Option<Window>, zone: Zone) -> Source {
        Source {
            client: self.client.clone(),
            progress: Progress::new(log, window, zone),
            backoff: BACKOFF,
            stop: self.stop.clone(),
        }
    }

    /// Whose report, and on which time.
    pub(super) fn heading(&self, window: &Window) -> String {
        format!("account {}, {window}", self.account)
    }
}

/// The terminal, if that is where the answer goes. `COLUMNS` says how wide it is wherever that is set.
fn screen(present: &PresentArgs) -> Screen {
    if present.file().is_some() {
        return Screen::default();
    }
    let to_terminal = std::io::stdout().is_terminal();
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let width = told.filter(|columns| *columns > 0).or_else(|| {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        size.map(|(terminal_size::Width(columns), _)| columns)
    });
    Screen { colour: to_terminal && !unwanted, width }
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

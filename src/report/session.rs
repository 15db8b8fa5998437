//! One run of a report, audit or export: the client of its account, and how the answer is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::compared::ReportedTime;
use super::document::{Document, Period};
use super::error::ReportError;
use super::identity::{Identities, IdentityKind};
use super::options::{DocumentOptions, Presentation, ReportAccess, TimeBounds};
use super::progress::Progress;
use super::source::{NewestFirst, RequestCounter, WindowReader};
use super::text::Screen;
use super::window::Window;
use super::zone::Zone;
use crate::cryptolens::{Client, Concurrency, LogKind, Product, Row, RowFilter, Token, server_time};

/// The parts that every report needs.
pub(super) struct ReportSession {
    client: Client,
    concurrency: Concurrency,
    stop: CancellationToken,
    pub(super) account: String,
    pub(super) identities: Identities,
    /// Pseudonyms whatever is shown, to recognise one that is typed.
    pub(super) pseudonyms: Identities,
    pub(super) screen: Screen,
    /// Texts for states that the configuration names.
    pub(super) states: BTreeMap<u16, String>,
    /// Products that the configuration names.
    pub(super) products: Vec<Product>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub(super) objects_first_code: i64,
}

/// The beginning of a report that reads a log from its newest row back.
pub(super) struct Begun<R> {
    pub(super) time: ReportedTime,
    pub(super) source: WindowReader,
    pub(super) newest: NewestFirst<R>,
}

impl ReportSession {
    /// `stop` ends readings early.
    pub(super) fn new(
        access: ReportAccess,
        presentation: &Presentation,
        stop: CancellationToken,
    ) -> Result<ReportSession, ReportError> {
        let pseudonyms = Identities::masked(&access.token);
        let identities = Identities::new(presentation.identities, &access.token);
        Ok(ReportSession {
            client: Client::new(&access.client, Token::fixed(access.token))?,
            concurrency: access.concurrency,
            stop,
            account: access.account,
            identities,
            pseudonyms,
            screen: screen(presentation),
            products: access.products,
            states: access.states,
            objects_first_code: access.objects_first_code,
        })
    }

    /// Now by the server's clock, by which the rows have their times: by a machine that is an hour
    /// ahead, the last two hours would be one.
    pub(super) async fn now(&self, log: LogKind) -> DateTime<Utc> {
        let asked = self.stop.run_until_cancelled(server_time(&self.client, log)).await;
        asked.and_then(|time| DateTime::from_timestamp(time, 0)).unwrap_or_else(Utc::now)
    }

    /// The time that the bounds mean, as a whole, by the server's clock; nobody is asked where they
    /// say when it ends.
    pub(super) async fn time(
        &self,
        log: LogKind,
        bounds: &TimeBounds,
        length: Duration,
    ) -> Result<ReportedTime, ReportError> {
        let is_ended = bounds.calendar.is_none() && bounds.to.is_some();
        let now = if is_ended { Utc::now() } else { self.now(log).await };
        Ok(ReportedTime::new(Window::new(bounds, length, now)?, bounds, now))
    }

    /// Begins to read a log from its newest row back, for the time that the bounds mean by the server's
    /// clock. `oldest` is the time to which the reading goes back for a window. The first page is asked
    /// for with the window by the clock of this machine, while the server is asked for its own.
    pub(super) async fn begin_newest_first<R: Row>(
        &self,
        log: &str,
        (bounds, length): (&TimeBounds, Duration),
        filter: &RowFilter,
        oldest: impl Fn(Window) -> i64,
    ) -> Result<Begun<R>, ReportError> {
        let is_ended = bounds.calendar.is_none() && bounds.to.is_some();
        let here = Utc::now();
        let source =
            |window: Window| self.source(log, Some(Window { from: oldest(window), ..window }), window.zone);
        let expected = Window::new(bounds, length, here);
        if let (false, Ok(window)) = (is_ended, &expected) {
            let source = source(*window);
            let begin = source.begin_newest_first(filter, oldest(*window));
            let (now, newest) = tokio::join!(self.now(R::LOG), begin);
            let time = ReportedTime::new(Window::new(bounds, length, now)?, bounds, now);
            let newest = newest?;
            return Ok(Begun { time, source, newest });
        }
        let time = self.time(R::LOG, bounds, length).await?;
        let source = source(time.window);
        let newest = source.begin_newest_first(filter, oldest(time.window)).await?;
        Ok(Begun { time, source, newest })
    }

    pub(super) fn source(&self, log: &str, window: Option<Window>, zone: Zone) -> WindowReader {
        WindowReader {
            client: self.client.clone(),
            concurrency: self.concurrency,
            progress: Progress::new(log, window, zone),
            requests: RequestCounter::default(),
            stop: self.stop.clone(),
        }
    }

    /// Keys that a name stands for, each as `key-3f2a91bc04d1 of product 3349`.
    pub(super) fn candidates(&self, keys: &[(i64, String)]) -> String {
        let name = |(product, key): &(i64, String)| {
            format!("{} of product {product}", self.pseudonyms.show(IdentityKind::Key, key))
        };
        let names: BTreeSet<String> = keys.iter().map(name).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// A document of this run, without blocks.
    pub(super) fn document(
        &self,
        schema: &'static str,
        title: &'static str,
        period: Period,
        options: &DocumentOptions,
    ) -> Document {
        let mut document = Document::new(schema, title, period);
        document.account.clone_from(&self.account);
        document.identities = self.identities.name();
        document.command.clone_from(&options.command);
        document
    }
}

/// The flag for a product in a command that is printed, with a blank before it. A row without a
/// product has the number 0, which the flag does not take.
pub(super) fn product_flag(product: Option<i64>) -> String {
    product.filter(|product| *product > 0).map(|product| format!(" --product={product}")).unwrap_or_default()
}

/// The terminal, if that is where the answer goes. `COLUMNS` says how wide it is wherever that is
/// set.
fn screen(presentation: &Presentation) -> Screen {
    if presentation.file().is_some() {
        return Screen::default();
    }
    let to_terminal = std::io::stdout().is_terminal();
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let width = columns.filter(|columns| *columns > 0).or_else(|| {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        size.map(|(terminal_size::Width(columns), _)| columns)
    });
    Screen { colour: to_terminal && !unwanted, width }
}

//! `report incident`: is it failing, since when, who is hit, what do they have in common, and what
//! changed before?
//!
//! [`Trail`] holds the requests of the period, `story` what the detector says of them, and `build`
//! makes the document. This file reads: the period itself, the same hours of the two weeks before
//! for what is usual, the changes before the onset, and what explains keys and products.

mod build;
mod story;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::detector::{MinuteCount, UsualTimes};
use super::document::Document;
use super::error::ReportError;
use super::lookup::Lookup;
use super::options::{FailOn, IncidentOptions, ReportAccess};
use super::record::{JudgedRequest, ObjectRecord, SeenRequest};
use super::render::Style;
use super::session::ReportSession;
use super::source::{NewestFirst, ReadingSummary, SLACK, WindowReader};
use super::trail::Trail;
use super::window::{Window, moment};
use crate::cryptolens::{LogKind, RowFilter, state_code};
use crate::text::fit;
use story::Story;

const WEEK: i64 = 7 * 86_400;
const DAY: i64 = 86_400;
/// A longer period has too many requests to be kept, and is one for `report web-api`.
const LONGEST: i64 = 7 * DAY;
/// A period that ended this long ago is read forward from its beginning, in seconds.
const LONG_AGO: i64 = 3600;
/// Minutes of a step by which the failures of the weeks before are counted: by the minute, an
/// incident would seem to begin where by chance nothing failed.
const STEP: usize = 10;
/// How far the clock of the server, or of whoever names a moment, may be ahead, in seconds.
const AHEAD: i64 = 300;

/// Everything that the document is made of.
struct Material {
    trail: Trail,
    /// The product and the key that the report is narrowed to, if it is.
    key: Option<(i64, String)>,
    reading: ReadingSummary,
    usual: Usual,
    story: Story,
    lookup: Lookup,
    changes: Vec<ObjectRecord>,
    /// False once the period is over.
    is_live: bool,
}

/// The same hours of the weeks before.
#[derive(Debug, Clone, Default)]
struct Usual {
    /// One or two of them: those that the log reaches back to.
    weeks: Vec<UsualWeek>,
}

/// Requests of the same hours of a week before, by product.
type UsualWeek = BTreeMap<i64, WeekCount>;

/// Requests of a product in the same hours of a week before.
#[derive(Debug, Clone, Default)]
struct WeekCount {
    requests: MinuteCount,
    /// Failures by [`STEP`].
    failures: Vec<u32>,
}

impl Usual {
    /// The products of a week that count for one of them, or for all.
    fn counts(week: &UsualWeek, product: Option<i64>) -> impl Iterator<Item = &WeekCount> {
        week.iter()
            .filter(move |(id, _)| product.is_none_or(|product| product == **id))
            .map(|(_, count)| count)
    }

    /// The requests of a week.
    fn requests(week: &UsualWeek, product: Option<i64>) -> MinuteCount {
        let counts = Usual::counts(week, product).map(|count| count.requests);
        counts.fold(MinuteCount::default(), MinuteCount::plus)
    }

    /// All requests of a product, or of all of them.
    fn of(&self, product: Option<i64>) -> MinuteCount {
        let weeks = self.weeks.iter().map(|week| Usual::requests(week, product));
        weeks.fold(MinuteCount::default(), MinuteCount::plus)
    }

    /// The failure ratio of the week that had the lower one: the other may have had an incident.
    fn lowest_ratio(&self, product: Option<i64>) -> Option<f64> {
        let ratios = self.weeks.iter().filter_map(|week| Usual::requests(week, product).ratio());
        ratios.min_by(f64::total_cmp)
    }

    /// The same over time, as the detector takes it.
    fn times(&self, product: Option<i64>) -> UsualTimes {
        let failures = |week: &UsualWeek| {
            let mut sums: Vec<u32> = Vec::new();
            for count in Usual::counts(week, product) {
                sums.resize(sums.len().max(count.failures.len()), 0);
                for (sum, failed) in sums.iter_mut().zip(&count.failures) {
                    *sum = sum.saturating_add(*failed);
                }
            }
            sums
        };
        UsualTimes::new((STEP, 0), self.weeks.iter().map(failures)).with_requests(self.of(product))
    }
}

/// Writes the report.
pub(super) async fn incident(
    options: &IncidentOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let shown = &options.document;
    if let Some(odd) = shown.fail_on.iter().find(|condition| **condition != FailOn::Incident) {
        return Err(ReportError::Usage(format!(
            "--fail-on={} has no meaning for the incident report",
            odd.name()
        )));
    }
    let session = ReportSession::new(access, &shown.presentation, stop.clone())?;
    let here = Utc::now();
    let filter = RowFilter { product_id: options.license.product, ..RowFilter::default() };
    let expected = window(options, here).ok();
    let source = session.source("Web API Log", expected, options.bounds.timezone);
    let begin = async {
        // By the clock of this machine, which is seldom an hour off.
        let expected = expected.filter(|window| is_read_back(*window, here))?;
        Some(source.begin_newest_first::<SeenRequest>(&filter, expected.from).await)
    };
    let (now, newest) = tokio::join!(session.now(LogKind::WebApi), begin);
    let window = window(options, now)?;
    let output = super::DocumentOutput::new(shown, session.identities.is_full())?;
    let newest = newest.filter(|_| is_read_back(window, now)).transpose()?;
    let material = read(options, &session, (&source, newest), window, now).await;
    source.progress.done();
    let material = material?;
    let document = build::document(&material, &session, options);
    let style = Style { screen: session.screen, top: shown.top, table: shown.table.as_deref() };
    output.write(&document, style, &stop).await?;
    fails_on(&document, options, &material)
}

/// The period that was asked for.
fn window(options: &IncidentOptions, now: DateTime<Utc>) -> Result<Window, ReportError> {
    let zone = options.bounds.timezone;
    let window = match options.at.as_deref() {
        Some(text) => {
            let (at, now) = (moment("--at", text, zone)?, now.timestamp());
            // An alert prints the moment of Prometheus, whose clock may be ahead.
            if at > now.saturating_add(AHEAD) {
                return Err(ReportError::Usage(format!("--at: {text} is in the future")));
            }
            let at = at.min(now);
            let reach = i64::try_from(options.length.as_secs()).unwrap_or(LONGEST);
            let to = at.saturating_add(reach).min(now);
            Window { from: at.saturating_sub(reach), to: to.max(at.saturating_add(1)), zone }
        }
        None => Window::passed(&options.bounds, options.length, now)?,
    };
    if window.seconds() > LONGEST {
        return Err(ReportError::Usage(format!(
            "report incident looks at 7 days at most, and this is {}; report summary lists the incidents of longer times",
            super::window::span(std::time::Duration::from_secs(window.seconds().unsigned_abs()))
        )));
    }
    Ok(window)
}

async fn read(
    options: &IncidentOptions,
    session: &ReportSession,
    (source, newest): (&WindowReader, Option<NewestFirst<SeenRequest>>),
    window: Window,
    now: DateTime<Utc>,
) -> Result<Material, ReportError> {
    let product = options.license.product;
    let is_live = window.is_live(now);
    let mut filter = RowFilter { product_id: product, ..RowFilter::default() };
    let (mut trail, reading) = read_trail((source, newest), &filter, window, now).await?;
    let mut lookup = Lookup::default();
    lookup.products(source, session).await?;
    if let Some(product) = product.filter(|_| trail.rows().is_empty())
        && lookup.knows_product(product) == Some(false)
    {
        return Err(ReportError::Usage(format!(
            "--product: {product} is known neither to the log of this time nor to GetProducts"
        )));
    }
    let mut key = None;
    if let Some(typed) = options.license.key.as_deref() {
        let (product_id, text) = chosen_key(&trail, (&mut lookup, source), session, (typed, product)).await?;
        trail.keep_key(product_id, &text);
        filter.product_id = Some(product_id);
        filter.key = Some(text.clone());
        key = Some((product_id, text));
    }
    let usual = read_usual(source, &filter, window).await?;
    let at = options.at.as_deref().map(|text| moment("--at", text, window.zone)).transpose()?;
    let story = Story::new(&trail, &usual, at);
    let mut changes = Vec::new();
    if let Some(incident) = &story.chosen {
        let keys: Vec<&str> =
            incident.keys().filter_map(|key| trail.key(key)).map(|seen| seen.key.as_str()).collect();
        if let Some(product) = incident.product.or(product) {
            lookup.licenses(source, product, &keys).await?;
        }
        lookup.companies(source, session.identities.level()).await?;
        // Of the day before the onset.
        let onset = incident.onset();
        let begin = onset.saturating_sub(DAY);
        let is_near = |row: &ObjectRecord| row.created.is_some_and(|time| (begin..=onset).contains(&time));
        changes = lookup.changes(source, begin, onset, is_near).await?;
    }
    Ok(Material { trail, key, reading, usual, story, lookup, changes, is_live })
}

/// True for a period that ended too short a time ago for its beginning to be looked for.
fn is_read_back(window: Window, now: DateTime<Utc>) -> bool {
    window.to.saturating_add(LONG_AGO) >= now.timestamp()
}

/// The requests of the period. One that ends now is read from the newest request back; one of long
/// ago forward from its beginning, so that what came after it is not read.
async fn read_trail(
    (source, newest): (&WindowReader, Option<NewestFirst<SeenRequest>>),
    filter: &RowFilter,
    window: Window,
    now: DateTime<Utc>,
) -> Result<(Trail, ReadingSummary), ReportError> {
    // Rows of a server whose clock is ahead of this one are not to be lost.
    let ahead = if window.is_live(now) { AHEAD } else { 0 };
    let wide = Window { to: window.to.saturating_add(ahead), ..window };
    let mut trail = Trail::new(wide);
    let mut add = |rows: Vec<SeenRequest>| rows.into_iter().for_each(|row| trail.add(row));
    let reading = if is_read_back(window, now) {
        let each = |rows| {
            add(rows);
            None
        };
        let newest = match newest {
            Some(newest) => newest,
            None => source.begin_newest_first(filter, window.from).await?,
        };
        source.newest_first(newest, window.from, each).await?
    } else {
        let start = source.start::<SeenRequest>(filter, window.from).await?;
        let each = |rows| {
            add(rows);
            Ok(())
        };
        source.oldest_first(filter, start, window.to, each).await?
    };
    trail.finish();
    let newest = trail.rows().last_time().unwrap_or(i64::MIN);
    trail.window.to = window.to.max(newest.saturating_add(1));
    Ok((trail, reading))
}

/// The one key that was typed, with its product: one of the rows, else one that the API knows.
async fn chosen_key(
    trail: &Trail,
    (lookup, source): (&mut Lookup, &WindowReader),
    session: &ReportSession,
    (typed, product): (&str, Option<i64>),
) -> Result<(i64, String), ReportError> {
    let is_meant = |key: &str| session.pseudonyms.is_key(typed, key);
    let seen = trail.keys.iter().filter(|seen| is_meant(&seen.key));
    let mut found: Vec<(i64, String)> = seen.map(|seen| (seen.product_id, seen.key.clone())).collect();
    if found.is_empty() {
        found = lookup.find_key(source, product, typed, is_meant).await?;
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(ReportError::Usage(format!(
            "--key: the log of this time has no such key{}",
            lookup.without_key()
        ))),
        several => Err(ReportError::Usage(format!(
            "--key: {} keys end like this: {}",
            several.len(),
            session.candidates(several)
        ))),
    }
}

/// The same hours of the two weeks before.
async fn read_usual(source: &WindowReader, filter: &RowFilter, window: Window) -> Result<Usual, ReportError> {
    let week = |back: i64| Window { from: window.from - back * WEEK, to: window.to - back * WEEK, ..window };
    let (one, two) = tokio::join!(read_week(source, filter, week(1)), read_week(source, filter, week(2)));
    Ok(Usual { weeks: [one?, two?].into_iter().flatten().collect() })
}

/// The requests of one window by product; none where the log does not reach back to it.
async fn read_week(
    source: &WindowReader,
    filter: &RowFilter,
    window: Window,
) -> Result<Option<UsualWeek>, ReportError> {
    let start = source.start::<JudgedRequest>(filter, window.from).await?;
    let mut week = UsualWeek::new();
    let seconds = 60 * i64::try_from(STEP).unwrap_or(1);
    let add = |rows: Vec<JudgedRequest>| {
        for row in rows {
            let (_, outcome) = state_code::classify(row.state);
            let Some(time) = row.time.filter(|time| window.contains(*time)) else { continue };
            let Some(failed) = story::judged(row.state, outcome) else { continue };
            let count = week.entry(row.product_id).or_default();
            count.requests.add(failed);
            if failed {
                let step = usize::try_from((time - window.from) / seconds).unwrap_or(0);
                count.failures.resize(count.failures.len().max(step + 1), 0);
                if let Some(failures) = count.failures.get_mut(step) {
                    *failures = failures.saturating_add(1);
                }
            }
        }
        Ok(())
    };
    let reading = source.oldest_first(filter, start, window.to, add).await?;
    let begins_later = reading.reaches_beginning
        && reading.oldest.is_none_or(|oldest| oldest > window.from.saturating_add(SLACK));
    Ok((!begins_later).then_some(week))
}

/// Exit code 3 where a condition of `--fail-on` holds: any incident that goes on, whichever of them
/// the report is about.
fn fails_on(document: &Document, options: &IncidentOptions, material: &Material) -> Result<(), ReportError> {
    let story = &material.story;
    let Some(ongoing) = story.all.iter().find(|incident| incident.is_ongoing) else { return Ok(()) };
    if !options.document.fail_on.contains(&FailOn::Incident) {
        return Ok(());
    }
    let is_headline = story.chosen.as_ref().is_some_and(|incident| incident.is_ongoing);
    let headline = match ongoing.product {
        _ if is_headline => document.headline.clone(),
        Some(product) => format!("an incident of {} goes on", material.lookup.product_name(product)),
        None => "an incident of all products together goes on".to_owned(),
    };
    Err(ReportError::FailOn {
        condition: FailOn::Incident.name(),
        // A product may be called anything, and this goes to a terminal.
        headline: fit(&headline, usize::MAX).into_owned(),
    })
}

#[cfg(test)]
mod tests;

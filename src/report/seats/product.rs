//! `audit seats` for all keys of a product: who was refused a seat, how often, and who pays for seats
//! that are never used?
//!
//! This file reads: the rows of the product that concern seats, from before the period on as far back
//! as its leases reach, the licenses, and the rows of the one key whose seats are drawn. The document
//! is made by [`super::build`].

use tokio_util::sync::CancellationToken;

use super::build::{SeatAudit, SeatMaterial};
use super::history::{History, STATES, SeatRow};
use super::replay::ProductReplay;
use crate::cryptolens::{LogKind, RowFilter};
use crate::report::compared::{ReportedTime, reported_time};
use crate::report::error::ReportError;
use crate::report::lookup::Lookup;
use crate::report::options::{FailOn, ProductSeatsOptions, ReportAccess};
use crate::report::record::{RequestRecord, SeatRequest};
use crate::report::render::Style;
use crate::report::session::ReportSession;
use crate::report::source::WindowReader;
use crate::report::window::Window;
use crate::text::fit;

/// How often rows of further back are read, because a lease was met that is longer still.
const MOST_READINGS: u32 = 3;

/// Writes the audit.
pub(in crate::report) async fn product_seats(
    options: &ProductSeatsOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let shown = &options.document;
    if let Some(odd) = shown.fail_on.iter().find(|condition| **condition != FailOn::Refusals) {
        return Err(ReportError::Usage(format!("--fail-on={} has no meaning for audit seats", odd.name())));
    }
    let session = ReportSession::new(access, &shown.presentation, stop.clone())?;
    let now = session.now(LogKind::WebApi).await;
    let time = reported_time(&options.bounds, options.length, now)?;
    let output = crate::report::DocumentOutput::new(shown, session.identities.is_full())?;
    let source = session.source("seats", Some(time.window), time.window.zone);
    let material = read(options, &session, &source, time).await;
    source.progress.done();
    let material = material?;
    let audit = SeatAudit::new(&material, &session, options);
    let document = audit.document();
    let style = Style { screen: session.screen, top: shown.top, table: shown.table.as_deref() };
    output.write(&document, style, &stop).await?;
    if audit.refusals() == 0 || shown.fail_on.is_empty() {
        return Ok(());
    }
    let headline = fit(&document.headline, usize::MAX).into_owned();
    Err(ReportError::FailOn { condition: FailOn::Refusals.name(), headline })
}

async fn read(
    options: &ProductSeatsOptions,
    session: &ReportSession,
    source: &WindowReader,
    time: ReportedTime,
) -> Result<SeatMaterial, ReportError> {
    let product = options.product;
    let filter = RowFilter { product_id: Some(product), states: STATES.to_vec(), ..RowFilter::default() };
    let is_wanted =
        |key: &str| options.key.as_deref().is_none_or(|typed| session.pseudonyms.is_key(typed, key));
    let mut lookback = i64::try_from(options.lookback.as_secs()).unwrap_or(i64::MAX);
    let mut readings = 0;
    let (mut replay, reading) = loop {
        let mut replay = ProductReplay::new(time.window);
        let begin = time.window.from.saturating_sub(lookback);
        let start = source.start::<SeatRequest>(&filter, begin).await?;
        let add = |rows: Vec<SeatRequest>| {
            replay.add_page(rows, is_wanted);
            Ok(())
        };
        let reading = source.oldest_first(&filter, start, time.window.to, add).await?;
        readings += 1;
        // A lease that is longer may have begun before the rows that were read.
        let reaches_back = replay.longest_lease > lookback && !reading.reaches_beginning;
        if !reaches_back || readings >= MOST_READINGS {
            break (replay, reading);
        }
        lookback = replay.longest_lease;
    };
    let sha256 = replay.finish();
    let time = ReportedTime { log_begins: reading.log_begins(&time.window), ..time };
    let mut lookup = Lookup::default();
    lookup.products(source, session).await?;
    if replay.keys_seen() == 0 && lookup.knows_product(product) == Some(false) {
        return Err(ReportError::Usage(format!(
            "--product: {product} is known neither to the log of this time nor to GetProducts"
        )));
    }
    if let Some(typed) = options.key.as_deref() {
        one_key(typed, (product, &mut replay), (&mut lookup, source), session).await?;
    }
    let all_known = options.key.is_none() && lookup.all_licenses(source, product).await?;
    let mut keys: Vec<(u64, &str)> = replay.keys.iter().map(|key| (key.refusals, &*key.key)).collect();
    keys.sort_by_key(|(refusals, key)| (std::cmp::Reverse(*refusals), *key));
    let keys: Vec<&str> = keys.into_iter().map(|(_, key)| key).collect();
    if !all_known && !keys.is_empty() {
        lookup.licenses(source, product, &keys).await?;
    }
    lookup.companies(source, session.identities.level()).await?;
    let mut material =
        SeatMaterial { time, replay, sha256, reading, lookback, lookup, all_known, drawn: None };
    let drawn = SeatAudit::new(&material, session, options).key_to_draw();
    if let Some((index, key, limit)) = drawn {
        let history = history(source, &filter, (&key, limit), (material.time.window, lookback)).await?;
        material.drawn = Some((index, history));
    }
    Ok(material)
}

/// Makes sure that the key that was typed is one, and one only.
async fn one_key(
    typed: &str,
    (product, replay): (i64, &mut ProductReplay),
    (lookup, source): (&mut Lookup, &WindowReader),
    session: &ReportSession,
) -> Result<(), ReportError> {
    let named: Vec<(i64, String)> = if replay.keys.is_empty() {
        let is_meant = |key: &str| session.pseudonyms.is_key(typed, key);
        lookup.find_key(source, Some(product), typed, is_meant).await?
    } else {
        replay.keys.iter().map(|seats| (product, seats.key.to_string())).collect()
    };
    match named.as_slice() {
        [] => Err(ReportError::Usage(format!(
            "--key: the log of this time has no such key{}",
            lookup.without_key()
        ))),
        [(_, key)] => {
            if replay.keys.is_empty() {
                replay.add_key(key);
            }
            Ok(())
        }
        several => Err(ReportError::Usage(format!(
            "--key: {} keys end like this: {}",
            several.len(),
            session.candidates(several)
        ))),
    }
}

/// Replays one key once more, for its chart.
async fn history(
    source: &WindowReader,
    filter: &RowFilter,
    (key, limit): (&str, Option<u64>),
    (window, lookback): (Window, i64),
) -> Result<History, ReportError> {
    let filter = RowFilter { key: Some(key.to_owned()), ..filter.clone() };
    let start = source.start::<RequestRecord>(&filter, window.from.saturating_sub(lookback)).await?;
    let mut rows = Vec::new();
    let add = |page: Vec<RequestRecord>| {
        rows.extend(page.iter().filter_map(SeatRow::new));
        Ok(())
    };
    source.oldest_first(&filter, start, window.to, add).await?;
    Ok(History::new(rows, limit, window))
}

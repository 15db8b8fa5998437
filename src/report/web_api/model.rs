//! The report on the Web API Log as a value: what `--format=json` gives, and what every other
//! format draws from.
//!
//! Its members are a contract, described in docs/report-schema.md: a change of meaning raises
//! [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, Timelike as _};
use serde::Serialize;

use super::tally::{QUARTER, WebApiTally, largest_first};
use crate::cryptolens::state_code::{DESCRIBED, classify};
use crate::cryptolens::{EventType, Outcome, Product};
use crate::report::count::{Counts, ShownCounts, of_length, ratio};
use crate::report::document::Moment;
use crate::report::identity::{Identities, IdentityKind};
use crate::report::source::{ReadingSummary, SLACK};
use crate::report::window::{ShownWindow, Window, local};

pub(in crate::report) const SCHEMA: &str = "cryptolens-exporter/report/web-api";
pub(in crate::report) const SCHEMA_VERSION: u32 = 1;

pub(super) const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A key with more than this part of the traffic is listed.
const NOTABLE_SHARE: f64 = 0.01;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct WebApiReport {
    pub(super) schema: &'static str,
    pub(super) schema_version: u32,
    pub(super) account: String,
    pub(super) window: ShownWindow,
    pub(super) filter: ShownFilter,
    /// `masked` or `full`
    pub(super) identities: &'static str,
    pub(super) read: ShownWebApiReading,
    pub(super) total: Total,
    pub(super) previous: Option<Previous>,
    pub(super) days: Vec<WebApiDay>,
    pub(super) hours_of_week: Vec<HourOfWeek>,
    pub(super) event_types: Vec<OfEventType>,
    pub(super) products: Vec<ProductRequests>,
    pub(super) states: Vec<OfState>,
    pub(super) keys: Keys,
    pub(super) machines: Identified,
    pub(super) friendly_names: Identified,
}

/// The filters of the report. An absent member does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(in crate::report) struct ShownFilter {
    pub(in crate::report) product_id: Option<i64>,
    pub(in crate::report) key: Option<String>,
    pub(in crate::report) states: Vec<u16>,
    pub(in crate::report) outcome: Option<&'static str>,
}

impl ShownFilter {
    /// Whether all outcomes of a key can have been seen.
    fn sees_all_outcomes(&self) -> bool {
        self.states.is_empty() && self.outcome.is_none()
    }
}

/// The reading that the report is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct ShownWebApiReading {
    pub(super) rows: u64,
    pub(super) pages: u64,
    pub(super) rows_without_id: u64,
    pub(super) rows_without_time: u64,
    pub(super) rows_met_again: u64,
    /// The oldest time met.
    pub(super) oldest: Option<Moment>,
    /// False where the log has no entry as old as the window, or the window before it, begins.
    pub(super) window_covered: bool,
    pub(super) previous_covered: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Total {
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
    pub(super) success_share: Option<f64>,
    pub(super) failure_share: Option<f64>,
    pub(super) unknown_share: Option<f64>,
}

/// The window of the same length before this one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Previous {
    pub(super) window: ShownWindow,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
    /// requests / previous requests - 1; none where the log doesn't cover the window.
    pub(super) requests_change: Option<f64>,
    /// failure ratio - previous failure ratio, likewise
    pub(super) failure_ratio_change: Option<f64>,
    pub(super) event_types: Vec<OfEventType>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct WebApiDay {
    pub(super) date: NaiveDate,
    /// False where the window holds only a part of the day.
    pub(super) whole: bool,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct HourOfWeek {
    pub(super) weekday: &'static str,
    pub(super) hour: u8,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct OfEventType {
    pub(super) event_type: &'static str,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct ProductRequests {
    pub(super) product_id: i64,
    /// As the configuration names it.
    pub(super) name: Option<String>,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct OfState {
    /// The raw code; none where the rows have none.
    pub(super) state: Option<i64>,
    pub(super) event_type: &'static str,
    pub(super) outcome: &'static str,
    pub(super) description: Option<String>,
    pub(super) requests: u64,
    pub(super) share: Option<f64>,
    pub(super) first_seen: Moment,
    pub(super) last_seen: Moment,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Keys {
    /// Requests that name a key: what the shares are of.
    pub(super) requests: u64,
    pub(super) distinct: u64,
    pub(super) failing: u64,
    pub(super) only_failing: Option<u64>,
    pub(super) above_one_percent: Vec<NotableKey>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct NotableKey {
    pub(super) key: String,
    pub(super) share: f64,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

/// Machines or friendly names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Identified {
    /// Requests that name one.
    pub(super) requests: u64,
    pub(super) distinct: u64,
    pub(super) failing: u64,
    pub(super) only_failing: Option<u64>,
    pub(super) most_failures: Vec<FailingState>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct FailingState {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) counts: ShownCounts,
}

/// The inputs of a report beside the counts.
pub(in crate::report) struct WebApiContext<'a> {
    pub(in crate::report) account: String,
    pub(in crate::report) filter: ShownFilter,
    pub(in crate::report) identities: &'a Identities,
    pub(in crate::report) reading: ReadingSummary,
    /// Texts for states that the configuration names.
    pub(in crate::report) described: &'a BTreeMap<u16, String>,
    /// Products that the configuration names.
    pub(in crate::report) products: &'a [Product],
    /// Longest list of failing names and machines.
    pub(in crate::report) top: usize,
}

impl WebApiReport {
    pub(in crate::report) fn new(tally: &WebApiTally, context: &WebApiContext<'_>) -> WebApiReport {
        let window = tally.window();
        let requests = tally.total.requests();
        let all_outcomes = context.filter.sees_all_outcomes();
        let covered = |window: &Window| {
            let begins = tally.oldest.unwrap_or(i64::MAX);
            !context.reading.whole_log || begins <= window.from.saturating_add(SLACK)
        };
        let identified = |kind, counts: &_| identified(counts, kind, context, all_outcomes);
        WebApiReport {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            account: context.account.clone(),
            window: window.shown(),
            filter: context.filter.clone(),
            identities: context.identities.name(),
            read: ShownWebApiReading {
                rows: context.reading.rows,
                pages: context.reading.pages,
                rows_without_id: context.reading.without_id,
                rows_without_time: tally.without_time,
                rows_met_again: context.reading.duplicates,
                oldest: tally.oldest.map(|at| Moment { at, zone: window.zone }),
                window_covered: covered(window),
                previous_covered: tally.before().map(covered),
            },
            total: Total {
                counts: tally.total.into(),
                success_share: ratio(tally.total.success, requests),
                failure_share: ratio(tally.total.failure, requests),
                unknown_share: ratio(tally.total.unknown, requests),
            },
            previous: tally.before().map(|before| previous(tally, before, covered(before))),
            days: days(tally),
            hours_of_week: hours_of_week(tally),
            event_types: event_types(&tally.event_types),
            products: largest_first(&tally.products, Counts::requests)
                .into_iter()
                .map(|(product_id, counts)| ProductRequests {
                    product_id,
                    name: product_name(product_id, context.products),
                    counts: counts.into(),
                })
                .collect(),
            states: states(tally, context.described),
            keys: keys(tally, context.identities, all_outcomes),
            machines: identified(IdentityKind::Machine, &tally.machines),
            friendly_names: identified(IdentityKind::Name, &tally.names),
        }
    }
}

fn previous(tally: &WebApiTally, before: &Window, covered: bool) -> Previous {
    let counts = tally.previous;
    // A part of a window is nothing to compare a whole one with.
    let compared = |change: Option<f64>| change.filter(|_| covered);
    let grown = ratio(tally.total.requests(), counts.requests()).map(|times| times - 1.0);
    let ratios = tally.total.failure_ratio().zip(counts.failure_ratio());
    Previous {
        window: before.shown(),
        counts: counts.into(),
        requests_change: compared(grown),
        failure_ratio_change: compared(ratios.map(|(now, before)| now - before)),
        event_types: event_types(&tally.previous_event_types),
    }
}

fn days(tally: &WebApiTally) -> Vec<WebApiDay> {
    let window = tally.window();
    let mut days: BTreeMap<NaiveDate, Counts> = window.days().map(|day| (day, Counts::default())).collect();
    for (quarter, counts) in &tally.quarters {
        days.entry(local(quarter * QUARTER, window.zone).date()).or_default().add_all(*counts);
    }
    let cut = |day: NaiveDate, time: i64| {
        let time = local(time, window.zone);
        time.date() == day && time.time() != chrono::NaiveTime::MIN
    };
    days.into_iter()
        .map(|(date, counts)| WebApiDay {
            date,
            whole: !cut(date, window.from) && !cut(date, window.to),
            counts: counts.into(),
        })
        .collect()
}

fn hours_of_week(tally: &WebApiTally) -> Vec<HourOfWeek> {
    let mut hours = [[Counts::default(); 24]; 7];
    for (quarter, counts) in &tally.quarters {
        let time = local(quarter * QUARTER, tally.window().zone);
        let day = usize::try_from(time.weekday().num_days_from_monday()).unwrap_or(0);
        let hour = usize::try_from(time.hour()).unwrap_or(0);
        if let Some(slot) = hours.get_mut(day).and_then(|day| day.get_mut(hour)) {
            slot.add_all(*counts);
        }
    }
    let of_day = |(weekday, counts): (&'static str, [Counts; 24])| {
        (0..).zip(counts).map(move |(hour, counts)| HourOfWeek { weekday, hour, counts: counts.into() })
    };
    WEEKDAYS.into_iter().zip(hours).flat_map(of_day).collect()
}

fn event_types<S: std::hash::BuildHasher>(
    counts: &std::collections::HashMap<EventType, Counts, S>,
) -> Vec<OfEventType> {
    EventType::KNOWN
        .into_iter()
        .chain([EventType::Unknown])
        .filter_map(|event_type| {
            let counts = counts.get(&event_type)?;
            Some(OfEventType { event_type: event_type.name(), counts: (*counts).into() })
        })
        .collect()
}

fn states(tally: &WebApiTally, configured: &BTreeMap<u16, String>) -> Vec<OfState> {
    let zone = tally.window().zone;
    let requests = tally.total.requests();
    largest_first(&tally.states, |state| state.requests)
        .into_iter()
        .map(|(state, counted)| {
            let (event_type, outcome) = classify(state);
            let code = state.and_then(|state| u16::try_from(state).ok());
            OfState {
                state,
                event_type: event_type.name(),
                outcome: outcome.name(),
                description: code.and_then(|code| description(code, configured)),
                requests: counted.requests,
                share: ratio(counted.requests, requests),
                first_seen: Moment { at: counted.seen.first, zone },
                last_seen: Moment { at: counted.seen.last, zone },
            }
        })
        .collect()
}

fn product_name(id: i64, configured: &[Product]) -> Option<String> {
    configured.iter().find(|product| product.id == id).map(|product| product.name.clone())
}

fn description(code: u16, configured: &BTreeMap<u16, String>) -> Option<String> {
    let known = || DESCRIBED.iter().find(|(known, _)| *known == code).map(|(_, text)| (*text).to_owned());
    configured.get(&code).cloned().or_else(known)
}

/// How many fail, and how many fail and never succeed.
fn failing<'a>(counts: impl Iterator<Item = &'a Counts>) -> (u64, u64) {
    counts
        .filter(|counts| counts.failure > 0)
        .fold((0, 0), |(failing, only), counts| (failing + 1, only + u64::from(counts.success == 0)))
}

fn keys(tally: &WebApiTally, identities: &Identities, all_outcomes: bool) -> Keys {
    let requests = tally.keys.values().map(Counts::requests).sum();
    let (failing, only_failing) = failing(tally.keys.values());
    let notable = |(key, counts): (Box<str>, Counts)| {
        let share = ratio(counts.requests(), requests).filter(|share| *share > NOTABLE_SHARE)?;
        Some(NotableKey { key: identities.show(IdentityKind::Key, &key), share, counts: counts.into() })
    };
    Keys {
        requests,
        distinct: of_length(tally.keys.len()),
        failing,
        only_failing: all_outcomes.then_some(only_failing),
        above_one_percent: largest_first(&tally.keys, Counts::requests)
            .into_iter()
            .map_while(notable)
            .collect(),
    }
}

fn identified<S: std::hash::BuildHasher>(
    counts: &std::collections::HashMap<Box<str>, Counts, S>,
    kind: IdentityKind,
    context: &WebApiContext<'_>,
    all_outcomes: bool,
) -> Identified {
    let (failing, only_failing) = failing(counts.values());
    let mut most: Vec<_> = counts.iter().filter(|(_, counts)| counts.failure > 0).collect();
    most.sort_by(|(first_name, first), (second_name, second)| {
        second.failure.cmp(&first.failure).then_with(|| first_name.cmp(second_name))
    });
    Identified {
        requests: counts.values().map(Counts::requests).sum(),
        distinct: of_length(counts.len()),
        failing,
        only_failing: all_outcomes.then_some(only_failing),
        most_failures: most
            .into_iter()
            .take(context.top)
            .map(|(name, counts)| FailingState {
                name: context.identities.show(kind, name),
                counts: (*counts).into(),
            })
            .collect(),
    }
}

/// Failure states by when they were first seen, for the formats that list them.
pub(super) fn failure_states(report: &WebApiReport) -> impl Iterator<Item = &OfState> {
    report.states.iter().filter(|state| state.outcome == Outcome::Failure.name())
}

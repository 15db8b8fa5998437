//! The incidents of a period by the detector, and the one that the report is about.

use std::collections::BTreeSet;

use super::Usual;
use crate::cryptolens::Outcome;
use crate::report::detector::{
    Assessment, Departure, LoneSource, MinuteCount, NO_FREE_SEAT, Sighting, SourcesOfFailures, UsualTimes,
    assess, departures,
};
use crate::report::trail::{Trail, TrailRows, sources};

/// An incident whose last failure is this near to the end of the period goes on, in seconds.
const ENDING: i64 = 600;
/// An incident that begins within these seconds of the period may have begun before it.
const BEGINNING: i64 = 180;

/// An incident of a product, or of all of them together.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    /// None for all products together.
    pub(super) product: Option<i64>,
    pub(super) departure: Departure,
    pub(super) assessment: Assessment,
    /// Unix seconds.
    pub(super) from: i64,
    /// Unix seconds; the end of the period where it goes on.
    pub(super) to: i64,
    /// True if it goes on at the end of the period.
    pub(super) is_ongoing: bool,
    /// True if it may have begun before the period.
    pub(super) is_cut: bool,
}

impl Incident {
    /// Unix seconds.
    pub(super) fn onset(&self) -> i64 {
        self.assessment.onset.map_or(self.from, |onset| onset.time)
    }

    /// The keys seen since the onset, those that are hit first.
    pub(super) fn keys(&self) -> impl Iterator<Item = u32> {
        let hit = self.assessment.hit.iter().map(|hit| hit.key);
        hit.chain(self.assessment.others.iter().copied())
    }

    /// How many keys were seen since the onset.
    pub(super) const fn seen(&self) -> usize {
        self.assessment.hit.len() + self.assessment.others.len()
    }
}

/// The incidents of a period.
#[derive(Debug, Clone)]
pub(super) struct Story {
    /// In order of time.
    pub(super) all: Vec<Incident>,
    /// The one that the report is about.
    pub(super) chosen: Option<Incident>,
    /// Single sources that fail again and again, and are no incident, with their products.
    pub(super) alone: Vec<(i64, LoneSource)>,
}

/// Whether a request failed; none where it is in no ratio.
pub(super) fn judged(state: Option<i64>, outcome: Outcome) -> Option<bool> {
    match outcome {
        _ if state == Some(i64::from(NO_FREE_SEAT)) => None,
        Outcome::Failure => Some(true),
        Outcome::Success => Some(false),
        Outcome::Unknown => None,
    }
}

impl Story {
    /// Looks for incidents. `at` is the moment that is asked about.
    pub(super) fn new(trail: &Trail, usual: &Usual, at: Option<i64>) -> Story {
        let (mut all, mut alone) = (Vec::new(), Vec::new());
        for product in trail.products() {
            let rows = trail.of_product(Some(product));
            let (found, lone) = of_rows(&rows, trail, Some(product), &usual.times(Some(product)));
            all.extend(found);
            alone.extend(lone.into_iter().map(|lone| (product, lone)));
        }
        // All together only where no product explains it.
        let (together, _) = of_rows(&trail.rows(), trail, None, &usual.times(None));
        let is_explained = |incident: &Incident| {
            all.iter().any(|other| other.from < incident.to && incident.from < other.to)
        };
        let together: Vec<Incident> =
            together.into_iter().filter(|incident| !is_explained(incident)).collect();
        all.extend(together);
        all.sort_by_key(|incident| (incident.onset(), incident.product));
        let chosen = chosen(&all, at).cloned();
        Story { all, chosen, alone }
    }
}

/// The incident at the moment that is asked about, else one that goes on, else the latest; of
/// several the clearest.
fn chosen(all: &[Incident], at: Option<i64>) -> Option<&Incident> {
    let rank = |incident: &Incident| {
        let distance = at.map_or(0, |at| (incident.from - at).max(at - incident.to).max(0) / 60);
        (-distance, incident.is_ongoing, if incident.is_ongoing { 0 } else { incident.to / 600 })
    };
    all.iter().max_by(|one, other| {
        let score = || one.departure.score.total_cmp(&other.departure.score);
        rank(one).cmp(&rank(other)).then_with(score)
    })
}

fn of_rows(
    rows: &TrailRows<'_>,
    trail: &Trail,
    product: Option<i64>,
    usual: &UsualTimes,
) -> (Vec<Incident>, Vec<LoneSource>) {
    let minutes = trail.minutes(rows.iter());
    let window = trail.window;
    // Who asks about one key wants to know of it, though it is alone.
    let sources =
        if trail.is_of_one_key { SourcesOfFailures::default() } else { sources(rows.iter(), window) };
    let scan = departures(&minutes, usual, sources, minutes.len());
    let incidents = scan.departures.into_iter().map(|departure| {
        let moment = |minute: usize| window.from + 60 * i64::try_from(minute).unwrap_or(0);
        let (from, end) = (moment(departure.from), moment(departure.to).min(window.to));
        let is_ongoing = window.to - end <= ENDING && !has_recovered(rows.iter(), end, &departure);
        let to = if is_ongoing { window.to } else { end };
        let assessment = assess(rows.iter(), from, to);
        let is_cut = from - window.from < BEGINNING;
        Incident { product, departure, assessment, from, to, is_ongoing, is_cut }
    });
    (incidents.collect(), scan.alone)
}

/// True if enough requests after an interval succeed to say that it is over.
fn has_recovered(rows: impl Iterator<Item = Sighting>, end: i64, departure: &Departure) -> bool {
    /// So many successes in a row do not happen by chance while more than half of all fail.
    const LEAST: u64 = 5;
    let mut after = MinuteCount::default();
    for row in rows.filter(|row| row.time >= end && !row.is_in_no_ratio()) {
        after.add(row.has_failed());
    }
    let inside = departure.count.ratio().unwrap_or(0.0);
    after.all >= LEAST && after.ratio().is_some_and(|ratio| ratio < inside / 4.0)
}

/// The distinct products of several incidents.
pub(super) fn products(incidents: &[Incident]) -> BTreeSet<Option<i64>> {
    incidents.iter().map(|incident| incident.product).collect()
}

//! Makes the document of `report incident` from what was read.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::story::{Incident, products};
use super::{DAY, LONGEST, Material, Story};
use crate::cryptolens::object_name::{UNKNOWN, action, resource_type};
use crate::cryptolens::{Endpoint, LogKind};
use crate::report::compared::{ReportedTime, on_whole_days};
use crate::report::count::of_length;
use crate::report::detector::{
    Attribute, Calmness, HIGH_RATIO, LoneSource, MinuteCount, NamedSource, Threshold, assess, calmness,
    in_common,
};
use crate::report::document::{
    Block, Datum, Document, Evidence, FigureBlock, FigureItem, FindingBlock, FindingItem, Level, LookupState,
    MarkRole, Measure, MethodBlock, Moment, Period, Prose, StepBlock, StepItem, TableBlock, TableColumn,
    TableExtent,
};
use crate::report::identity::IdentityKind;
use crate::report::objects::{changes, plain};
use crate::report::options::{IdentityLevel, IncidentOptions};
use crate::report::record::ObjectRecord;
use crate::report::render::words;
use crate::report::request_chart as chart;
use crate::report::session::{ReportSession, product_flag};
use crate::report::text::counted;
use crate::report::trail::{TrailRows, counts, is_from};
use crate::report::window::{Window, local, rfc3339};
use crate::text::thousands;

const SCHEMA: &str = "cryptolens-exporter/report/incident";
/// "Now" is this long, in seconds.
const NOW: i64 = 600;
/// In a time that is over and longer than this, in seconds, its last minutes come last.
const CLOSED_AND_LONG: i64 = 12 * 3600;
/// How long before the onset a change may explain it, in seconds.
const CHANGED_BEFORE: i64 = 1800;
/// Failures of one of several products, or of some minutes, that are more than one by chance.
const LEAST_FAILURES_TO_DOUBT: u64 = 2;

/// Requests of which a large part fails, though they are no incident.
struct Doubt {
    /// None for all products together.
    product: Option<i64>,
    calmness: Calmness,
    count: MinuteCount,
    /// True for those of the last minutes.
    is_recent: bool,
}

/// The document.
pub(super) fn document(material: &Material, session: &ReportSession, options: &IncidentOptions) -> Document {
    let mut builder = Builder { material, session, options, doubt: None };
    if material.story.chosen.is_none() {
        builder.doubt = builder.doubt();
    }
    builder.document()
}

/// As `5 of 17`, `All 17`, `Both` or `The only`.
fn of_all(some: usize, all: usize) -> String {
    match (some, all) {
        (1, 1) => "The only".to_owned(),
        (2, 2) => "Both".to_owned(),
        (some, all) if some == all => format!("All {all}"),
        (some, all) => format!("{some} of {all}"),
    }
}

struct Builder<'a> {
    material: &'a Material,
    session: &'a ReportSession,
    options: &'a IncidentOptions,
    /// The reason for which nothing can be said, where no incident is found.
    doubt: Option<Doubt>,
}

impl Builder<'_> {
    fn window(&self) -> Window {
        self.material.trail.window
    }

    /// The period, with the part of it that the log covers.
    fn time(&self) -> ReportedTime {
        let window = self.window();
        let log_begins = self.material.reading.log_begins(&window);
        ReportedTime { window, calendar: None, is_live: self.material.is_live, log_begins }
    }

    fn story(&self) -> &Story {
        &self.material.story
    }

    fn level_of_identities(&self) -> IdentityLevel {
        self.session.identities.level()
    }

    fn document(&self) -> Document {
        let window = self.window();
        let label = words::duration(window.seconds());
        let period = Period::new((window.from, window.to), window.zone, label, !self.material.is_live);
        let mut document = self.session.document(SCHEMA, "Incident report", period, &self.options.document);
        document.scope.product_id = self.typed_product();
        document.scope.key = self.typed_key();
        document.level = self.level();
        document.headline = self.headline();
        document.lead = self.lead();
        self.evidence(&mut document);
        document.blocks.push(self.figures());
        document.blocks.extend(self.findings());
        document.blocks.push(self.chart());
        document.blocks.extend(self.customers());
        document.blocks.push(self.products());
        document.blocks.extend(self.incidents());
        document.blocks.extend(self.steps());
        document.blocks.push(self.method());
        document
    }

    fn level(&self) -> Level {
        match &self.story().chosen {
            Some(incident) if incident.is_ongoing && self.material.is_live => Level::Problem,
            Some(_) => Level::Notice,
            None if self.doubt.is_some() || self.time().log_begins.is_some() => Level::Notice,
            None => Level::Fine,
        }
    }

    /// The requests of a product that succeeded or failed, in the period and in its last minutes.
    fn judged(&self, product: Option<i64>) -> (MinuteCount, MinuteCount) {
        let recent = self.window().to - NOW;
        let (mut all, mut now) = (MinuteCount::default(), MinuteCount::default());
        let rows = self.material.trail.of_product(product);
        for row in rows.iter().filter(|row| !row.is_in_no_ratio()) {
            all.add(row.has_failed());
            if row.time >= recent {
                now.add(row.has_failed());
            }
        }
        (all, now)
    }

    /// The single sources that fail alone, of a product.
    fn alone(&self, product: Option<i64>) -> impl Iterator<Item = &(i64, LoneSource)> {
        let is_of = move |(of, _): &&(i64, LoneSource)| product.is_none_or(|product| product == *of);
        self.story().alone.iter().filter(is_of)
    }

    /// The same as [`Builder::judged`] without the failures of sources that fail alone, which say
    /// nothing of anybody else.
    fn judged_of_others(&self, product: Option<i64>) -> (MinuteCount, MinuteCount) {
        let recent = usize::try_from((self.window().seconds() - NOW).max(0) / 60).unwrap_or(0);
        let since = |minute: usize| {
            let failed = self.alone(product).map(|(_, source)| source.failed_since(minute)).sum();
            MinuteCount { failed, all: failed }
        };
        let (all, now) = self.judged(product);
        (all.minus(since(0)), now.minus(since(recent)))
    }

    /// As `; 110 of the 114 failures come from one machine`; empty where no source fails alone.
    fn alone_in_words(&self, failed: u64) -> String {
        let sources: BTreeSet<NamedSource> =
            self.alone(self.subject()).map(|(_, source)| source.source).collect();
        let Some(first) = sources.first() else { return String::new() };
        let by: u64 = self.alone(self.subject()).map(|(_, source)| source.failed_since(0)).sum();
        let by = match by {
            by if by == failed => format!("all {} failures", thousands(i128::from(by))),
            by => format!("{} of the {} failures", thousands(i128::from(by)), thousands(i128::from(failed))),
        };
        match sources.len() {
            1 => format!("; {by} come from {}", first.kind.one()),
            several => format!("; {by} come from {several} sources, each of them alone"),
        }
    }

    /// The verdict on a product without an incident.
    fn calmness(&self, product: Option<i64>, least_failures: u64) -> Calmness {
        let usual = &self.material.usual;
        let (all, _) = self.judged_of_others(product);
        calmness(all, (usual.of(product), usual.weeks.len()), least_failures)
    }

    /// The verdict on the last minutes, by the time before them and the weeks before.
    fn calmness_now(&self, product: Option<i64>) -> Calmness {
        let (all, now) = self.judged_of_others(product);
        let usual = self.material.usual.of(product);
        let before = all.minus(now).plus(usual);
        let weeks = i64::try_from(self.material.usual.weeks.len()).unwrap_or(0);
        let seconds = (self.window().seconds() - NOW).max(0) + weeks * self.window().seconds();
        calmness(now, (before, usize::try_from(seconds / NOW).unwrap_or(0)), LEAST_FAILURES_TO_DOUBT)
    }

    /// The reason for which a time in which no incident is found cannot be called free of one.
    fn doubt(&self) -> Option<Doubt> {
        let subject = self.subject();
        let is_doubtful =
            |calmness: &Calmness| matches!(calmness, Calmness::TooFew | Calmness::NothingToCompare);
        let of = |product: Option<i64>, least_failures: u64| {
            let calmness = Some(self.calmness(product, least_failures)).filter(is_doubtful)?;
            Some(Doubt { product, calmness, count: self.judged(product).0, is_recent: false })
        };
        // The last minutes of a time that is over are like all others.
        let recent = || {
            let calmness = self.material.is_live.then(|| self.calmness_now(subject)).filter(is_doubtful)?;
            Some(Doubt { product: subject, calmness, count: self.judged(subject).1, is_recent: true })
        };
        let of_products = || {
            let products = self.material.trail.products().into_iter().filter(|_| subject.is_none());
            let doubts = products.filter_map(|product| of(Some(product), LEAST_FAILURES_TO_DOUBT));
            doubts.max_by_key(|doubt| doubt.count.failed)
        };
        of(subject, 1).or_else(recent).or_else(of_products)
    }

    fn product(&self, product: Option<i64>) -> String {
        product
            .map_or_else(|| "all products".to_owned(), |product| self.material.lookup.product_name(product))
    }

    /// The product that the report is narrowed to.
    fn typed_product(&self) -> Option<i64> {
        self.options.license.product.or_else(|| self.material.key.as_ref().map(|(product, _)| *product))
    }

    /// The key that the report is narrowed to, as it is shown.
    fn typed_key(&self) -> Option<String> {
        let (_, key) = self.material.key.as_ref()?;
        Some(self.session.identities.show(IdentityKind::Key, key))
    }

    /// The product that the report is about.
    fn subject(&self) -> Option<i64> {
        match &self.story().chosen {
            Some(incident) => incident.product,
            None => self.typed_product(),
        }
    }

    fn rows(&self) -> TrailRows<'_> {
        self.material.trail.of_product(self.subject())
    }

    /// The time of a moment, with its day where that is not the last one of the period.
    fn clock(&self, at: i64) -> String {
        let time = local(at, self.window().zone);
        let last_day = self.window().last_day();
        if time.date() == last_day || at == self.window().to {
            return self.hour(at, last_day);
        }
        time.format("%-d %b %H:%M").to_string()
    }

    /// The hour and minute of a moment of a day, or of its end.
    fn hour(&self, at: i64, day: NaiveDate) -> String {
        let time = local(at, self.window().zone);
        if time.date() > day { "24:00".to_owned() } else { time.format("%H:%M").to_string() }
    }

    /// As `from 16:53 to 17:20 UTC`, where `until` is "to"; with the day before it where both are on
    /// another day than the last one of the period.
    fn between(&self, from: i64, to: i64, until: &str) -> String {
        let zone = self.window().zone;
        let day = local(from, zone).date();
        if day == self.window().last_day() || local(to - 1, zone).date() != day {
            return format!("from {} {until} {} {zone}", self.clock(from), self.clock(to));
        }
        let (begin, end) = (self.hour(from, day), self.hour(to, day));
        format!("on {} from {begin} {until} {end} {zone}", day.format("%-d %b"))
    }

    /// The same to the second.
    fn second(&self, at: i64) -> String {
        chart::second(self.window(), at)
    }

    fn headline(&self) -> String {
        let zone = self.window().zone;
        let Some(incident) = &self.story().chosen else { return self.headline_without_incident() };
        let product = self.product(incident.product);
        let length = words::duration(incident.to - incident.from);
        let is_now = incident.is_ongoing && self.material.is_live;
        let when = match (is_now, incident.is_cut) {
            (true, true) => format!("for at least {length}"),
            (true, false) => format!("since {} {zone}", self.clock(incident.onset())),
            (false, _) if incident.is_ongoing => self.between(incident.onset(), incident.to, "to at least"),
            (false, _) => self.between(incident.onset(), incident.to, "to"),
        };
        let (hit, seen) = (incident.assessment.hit.len(), incident.seen());
        if hit > 0 {
            let verb = match (is_now, hit) {
                (true, 1) => "has been",
                (true, _) => "have been",
                (false, 1) => "was",
                (false, _) => "were",
            };
            let noun = if seen == 1 { "customer" } else { "customers" };
            let of = match incident.product {
                Some(product) => self.material.lookup.customers_of(product, seen),
                None => noun.to_owned(),
            };
            return format!("{} {of} {verb} locked out {when}", of_all(hit, seen));
        }
        let ratio =
            MinuteCount { failed: incident.assessment.failed, all: incident.assessment.requests }.ratio();
        let ratio = ratio.map(words::percent).unwrap_or_default();
        let verb = if is_now { "has failed" } else { "failed" };
        let subject = incident.product.map_or_else(|| "Everything together".to_owned(), |_| product);
        format!("{subject} {verb} far more than usual {when}: {ratio} of requests")
    }

    fn headline_without_incident(&self) -> String {
        let time = self.time();
        // No more than was seen.
        let window = time.covered();
        let (requests, judged) = counts(self.rows().iter());
        let days = on_whole_days(window);
        if let Some(begins) = time.log_begins_after() {
            let when = days
                .map_or_else(|| "this time".to_owned(), |days| format!("requests {days} {}", window.zone));
            return format!("Nothing is known of {when}: the log begins at {}", time.minute(begins));
        }
        if requests == 0 {
            return match days {
                Some(days) => format!("No request {days} {}", window.zone),
                None => format!("No request in {}", words::these(window.seconds())),
            };
        }
        let hours = || format!("from {} to {}", self.clock(window.from), self.clock(window.to));
        let when = format!("{} {}", days.unwrap_or_else(hours), window.zone);
        // The base of a ratio: neither what is no success and no failure, nor a refused seat.
        let part = |count: MinuteCount| {
            let requests = counted(count.all, "request", "requests");
            count.ratio().map(|ratio| format!("{} of {requests} failed", words::percent(ratio)))
        };
        if let Some(doubt) = &self.doubt {
            let of = doubt.product.filter(|_| self.typed_product().is_none());
            let of = of.map(|product| format!(" of {}", self.product(Some(product)))).unwrap_or_default();
            let when =
                if doubt.is_recent { format!("in the last {}", words::spelled_duration(NOW)) } else { when };
            let part = part(doubt.count).unwrap_or_default();
            return match doubt.calmness {
                Calmness::NothingToCompare => {
                    format!("Nothing shows what is usual{of}: {part} {when}")
                }
                _ => format!("Too few requests{of} to judge: {part} {when}"),
            };
        }
        let found = part(judged).unwrap_or_else(|| {
            format!("none of {} succeeded or failed", counted(requests, "request", "requests"))
        });
        let alone = self.alone_in_words(judged.failed);
        let usual = match self.calmness(self.subject(), 1) {
            _ if !alone.is_empty() => alone.as_str(),
            Calmness::NoMoreThanUsual => ", no more than usual at this time",
            _ if judged.ratio().is_some_and(|ratio| ratio >= HIGH_RATIO) => ", as usual at this time",
            _ => "",
        };
        format!("No incident {when}: {found}{usual}")
    }

    fn lead(&self) -> String {
        let subject = self.subject().filter(|product| *product != 0);
        let mut sentences = Vec::new();
        if self.material.is_live {
            sentences.push(format!("Read at {}.", self.second(self.window().to)));
        }
        // An incident of all products together is of no product.
        let affected: BTreeSet<i64> = products(&self.story().all).into_iter().flatten().collect();
        match (subject, self.typed_product(), self.typed_key()) {
            (_, Some(product), Some(key)) => {
                sentences.push(format!("Key {key} of product {product} only."));
            }
            (Some(product), Some(_), None) => sentences.push(format!("Product {product} only.")),
            (Some(product), None, _) => {
                let others: Vec<i64> = self.material.trail.products();
                let others: Vec<i64> = others.into_iter().filter(|id| !affected.contains(id)).collect();
                let is_calm =
                    |product: &i64| self.calmness(Some(*product), LEAST_FAILURES_TO_DOUBT) == Calmness::Calm;
                let rest = match (affected.len(), others.len(), others.iter().all(is_calm)) {
                    (1, 0, _) => String::new(),
                    (1, 1, true) => "; the other product is as usual".to_owned(),
                    (1, others, true) => format!("; the other {others} products are as usual"),
                    (1, 1, false) => "; no incident of the other product is found".to_owned(),
                    (1, others, false) => format!("; no incident of the other {others} products is found"),
                    (affected, ..) => format!("; {affected} products have incidents in this time"),
                };
                sentences.push(format!("Product {product}{rest}."));
            }
            (None, ..) => {}
        }
        sentences.extend(self.time().coverage("the log"));
        sentences.join(" ")
    }

    fn evidence(&self, document: &mut Document) {
        document.read = Evidence {
            looked_up: self.material.lookup.states(),
            ..self.material.trail.evidence(&self.material.reading)
        };
    }

    fn usual(&self, product: Option<i64>) -> Option<f64> {
        self.material.usual.lowest_ratio(product)
    }

    fn figures(&self) -> Block {
        let window = self.window();
        let rows = self.rows();
        let (_, now) = self.judged(self.subject());
        let usual = self.usual(self.subject());
        let usual_note = usual.map(|usual| format!("; usual {}", words::percent(usual))).unwrap_or_default();
        let label = if self.material.is_live { "Failing now" } else { "Failing at the end" };
        let ongoing = self.story().chosen.as_ref().is_some_and(|incident| incident.is_ongoing);
        let mut items = vec![
            FigureItem::new("failure_ratio_now", label, now.ratio().into(), Measure::Ratio)
                .note(format!(
                    "of {} in the last 10 min{usual_note}",
                    counted(now.all, "request", "requests")
                ))
                .bad_if(ongoing),
        ];
        items[0].previous = usual.into();
        let zone = window.zone;
        match &self.story().chosen {
            Some(incident) => {
                let onset = self.second(incident.onset());
                let (label, note) = match (incident.is_ongoing, incident.is_cut) {
                    (true, true) => (
                        "Since at least",
                        format!("{onset} {zone}, no sign of an end; it may have begun before this time"),
                    ),
                    (true, false) => ("Since", format!("{onset} {zone}, no sign of an end")),
                    (false, _) => ("Lasted", format!("{onset} to {} {zone}", self.second(incident.to))),
                };
                let length = incident.to - incident.onset();
                items.push(
                    FigureItem::new("since_seconds", label, Datum::Whole(length), Measure::Duration)
                        .note(note),
                );
                let hit = of_length(incident.assessment.hit.len());
                let note = match hit {
                    0 => format!("of {} seen since; none of them fails every time", incident.seen()),
                    _ => format!("of {} seen since; none has got through", incident.seen()),
                };
                items.push(
                    FigureItem::new("customers_hit", "Customers hit", Datum::count(hit), Measure::Count)
                        .note(note)
                        .bad_if(hit > 0),
                );
                let expected = usual.map(|usual| {
                    #[allow(clippy::cast_precision_loss, reason = "a number of requests")]
                    let expected = usual * incident.assessment.requests as f64;
                    format!("{expected:.0} would be usual")
                });
                let failed = Datum::count(incident.assessment.failed);
                items.push(
                    FigureItem::new("failed", "Requests failed", failed, Measure::Count)
                        .note(expected.unwrap_or_default()),
                );
            }
            None => {
                let (_, judged) = counts(rows.iter());
                // Without an incident nobody counts as hit, unless that cannot be said.
                let hit = self.doubt.as_ref().map(|_| assess(rows.iter(), window.from, window.to).hit.len());
                let note = match hit {
                    None => "nobody counts as hit without an incident",
                    Some(0) => "no key fails every time",
                    Some(_) => "at least 2 failures each and no success since; it may be chance",
                };
                let hit = of_length(hit.unwrap_or(0));
                items.push(
                    FigureItem::new("customers_hit", "Customers hit", Datum::count(hit), Measure::Count)
                        .note(note),
                );
                items.push(
                    FigureItem::new("failed", "Requests failed", Datum::count(judged.failed), Measure::Count)
                        .note(format!("of {}{usual_note}", thousands(i128::from(judged.all)))),
                );
            }
        }
        if !self.material.is_live && window.seconds() > CLOSED_AND_LONG {
            items.rotate_left(1);
        }
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn findings(&self) -> Option<Block> {
        let incident = self.story().chosen.as_ref()?;
        let items = vec![
            self.finding_onset(incident),
            self.finding_who(incident),
            self.finding_common(incident),
            self.finding_changes(incident),
        ];
        let items = items.into_iter().flatten().collect();
        Some(Block::Findings(FindingBlock { id: "findings", title: "What is known".to_owned(), items }))
    }

    fn finding_onset(&self, incident: &Incident) -> Option<FindingItem> {
        let onset = incident.assessment.onset?;
        let trail = &self.material.trail;
        let rows = trail.of_product(incident.product);
        let (_, before) = counts(rows.iter().filter(|row| row.time < onset.time));
        let ratio = |count: MinuteCount| count.ratio().map(|ratio| format!(" ({})", words::percent(ratio)));
        let part = |count: MinuteCount| {
            format!("{} of {}", thousands(i128::from(count.failed)), thousands(i128::from(count.all)))
        };
        let since = MinuteCount { failed: incident.assessment.failed, all: incident.assessment.requests };
        let since_word = if incident.is_ongoing { "since" } else { "during it" };
        let text =
            Prose::default().plain("First failure at ").strong(self.second(onset.time)).plain(format!(
                " (row {}, state {}). Before: {} requests failed{}; {since_word}: {}{}.",
                onset.id,
                onset.state,
                part(before),
                ratio(before).unwrap_or_default(),
                part(since),
                ratio(since).unwrap_or_default(),
            ));
        let threshold =
            Threshold::of_minutes(crate::report::trail::steps(self.window().seconds(), 60)).value();
        let mut facts = vec![
            ("time", Datum::Time(Moment { at: onset.time, zone: self.window().zone })),
            ("row_id", Datum::Whole(onset.id)),
        ];
        facts.push(("product_id", incident.product.map_or(Datum::Nothing, Datum::Whole)));
        let basis = format!(
            "Log-likelihood ratio {:.0}; {threshold:.0} or more is reported.",
            incident.departure.by_ratio
        );
        Some(FindingItem { id: "onset", label: "Since when", text, basis, facts })
    }

    fn finding_who(&self, incident: &Incident) -> Option<FindingItem> {
        let assessment = &incident.assessment;
        let (hit, others) = (assessment.hit.len(), assessment.others.len());
        let text = if hit == 0 {
            Prose::default().strong("No key fails every time").plain(format!(
                ": each of the {} seen since then got through again or failed only once.",
                incident.seen()
            ))
        } else {
            let verb = if hit == 1 { "fails" } else { "fail" };
            let keys = if incident.seen() == 1 { "key" } else { "keys" };
            let mut text = Prose::default()
                .strong(format!("{} {keys} {verb} every time", of_all(hit, incident.seen())))
                .plain(format!(", on {}.", counted(of_length(assessment.machines), "machine", "machines")));
            if others > 0 {
                let who =
                    if others == 1 { "The other one".to_owned() } else { format!("The other {others}") };
                text = text.plain(format!(" {who} got through or failed only once."));
            }
            let failed = thousands(i128::from(assessment.failed));
            let failures = if assessment.failed_of_hit == assessment.failed {
                format!("All {failed}")
            } else {
                format!("{} of the {failed}", thousands(i128::from(assessment.failed_of_hit)))
            };
            let whom = if hit == 1 { "it".to_owned() } else { format!("these {hit}") };
            text.plain(format!(" {failures} failures come from {whom}."))
        };
        let facts =
            vec![("hit", Datum::count(of_length(hit))), ("seen", Datum::count(of_length(incident.seen())))];
        let basis = "Requests include retries: count customers, not requests.".to_owned();
        Some(FindingItem { id: "who", label: "Who", text, basis, facts })
    }

    fn finding_common(&self, incident: &Incident) -> Option<FindingItem> {
        let hit: Vec<u32> = incident.assessment.hit.iter().map(|hit| hit.key).collect();
        if hit.is_empty() {
            return None;
        }
        let attributes = self.attributes(incident, &hit);
        let others = &incident.assessment.others;
        let shared = in_common(&hit, others, &attributes);
        let text = match &shared {
            Some(shared) => {
                let (of_hit, of_others) = (shared.of_hit, shared.of_others);
                let whose = match (of_hit, hit.len()) {
                    (1, 1) => "The key ".to_owned(),
                    (2, 2) => "Both keys ".to_owned(),
                    (some, all) if some == all => format!("All {all} keys "),
                    (some, all) => format!("{some} of the {all} keys "),
                };
                let what = if hit.len() == 1 { &shared.attribute.one } else { &shared.attribute.several };
                let known = if shared.compared < others.len() { " whose license is known" } else { "" };
                let rest = match (of_others, shared.compared) {
                    (0, 1) => format!("; the other one{known} is not."),
                    (0, all) => format!("; none of the other {all}{known} is."),
                    (some, all) => format!("; {some} of the other {all}{known} too."),
                };
                Prose::default().plain(whose).strong(what.clone()).plain(rest)
            }
            None if others.is_empty() => {
                Prose::default().plain("Every key that was seen is hit, so nothing separates them.")
            }
            None => Prose::default().plain("Nothing that was compared sets them apart."),
        };
        let lookup = &self.material.lookup;
        let is_denied = |endpoint| lookup.state(endpoint) == LookupState::Denied;
        let basis = if !lookup.by.is_empty() {
            format!(
                "By {} and the rows. Compared: expiry, block, seats, node-locked or floating, network.",
                lookup.by
            )
        } else {
            let reason = if is_denied(Endpoint::GetKeys) && is_denied(Endpoint::GetKey) {
                ": the token may call neither GetKeys nor GetKey"
            } else {
                ""
            };
            format!("By the rows alone{reason}. Compared: node-locked or floating, network.")
        };
        Some(FindingItem { id: "common", label: "In common", text, basis, facts: Vec::new() })
    }

    /// Everything that some of the keys have.
    fn attributes(&self, incident: &Incident, hit: &[u32]) -> Vec<Attribute> {
        let (trail, lookup) = (&self.material.trail, &self.material.lookup);
        let onset = incident.onset();
        let keys: Vec<u32> = incident.keys().collect();
        let license = |key: u32| {
            let seen = trail.key(key)?;
            lookup.license(seen.product_id, &seen.key)
        };
        let with = |several: &str, one: &str, has: &dyn Fn(u32) -> bool| Attribute {
            several: several.to_owned(),
            one: one.to_owned(),
            keys: keys.iter().copied().filter(|key| has(*key)).collect(),
            known: None,
        };
        // Of a key that no method explains, nothing follows.
        let known: BTreeSet<u32> = keys.iter().copied().filter(|key| license(*key).is_some()).collect();
        let of_license = |several: &str, one: &str, has: &dyn Fn(u32) -> bool| Attribute {
            known: Some(known.clone()),
            ..with(several, one, has)
        };
        let mut attributes = Vec::new();
        if !lookup.by.is_empty() {
            let is_expired =
                |key| license(key).and_then(|license| license.expires).is_some_and(|at| at <= onset);
            attributes.push(of_license("are past their expiry date", "is past its expiry date", &is_expired));
            let is_blocked = |key| license(key).is_some_and(|license| license.is_blocked);
            attributes.push(of_license("are blocked", "is blocked", &is_blocked));
        }
        let flag = |of: fn(&crate::report::trail::SeenKey) -> bool| move |key| trail.key(key).is_some_and(of);
        attributes.push(with("are floating", "is floating", &flag(|seen| seen.is_floating)));
        attributes.push(with(
            "are node-locked",
            "is node-locked",
            &flag(|seen| seen.is_node_locked && !seen.is_floating),
        ));
        let seats: BTreeSet<i64> = hit.iter().filter_map(|key| license(*key)?.max_machines).collect();
        for number in seats {
            let words = match number {
                number if number <= 0 => "without a limit of seats".to_owned(),
                1 => "for 1 seat".to_owned(),
                number => format!("for {number} seats"),
            };
            let has = |key| license(key).and_then(|license| license.max_machines) == Some(number);
            attributes.push(of_license(&format!("are {words}"), &format!("is {words}"), &has));
        }
        let networks: BTreeMap<&str, usize> = hit
            .iter()
            .filter_map(|key| trail.key(*key))
            .flat_map(|seen| seen.networks.iter().map(String::as_str))
            .fold(BTreeMap::new(), |mut count, network| {
                *count.entry(network).or_default() += 1;
                count
            });
        // A network is an address as far as the log has it: shown in full reports only.
        let most = networks.iter().max_by_key(|(network, count)| (**count, std::cmp::Reverse(**network)));
        if let Some((network, _)) = most {
            let shown = match self.level_of_identities() {
                IdentityLevel::Full => format!("the network {network}.0/24"),
                IdentityLevel::Masked | IdentityLevel::Customers => "one network (/24)".to_owned(),
            };
            let has = |key| trail.key(key).is_some_and(|seen| seen.networks.contains(*network));
            attributes.push(with(&format!("are in {shown}"), &format!("is in {shown}"), &has));
        }
        attributes
    }

    fn finding_changes(&self, incident: &Incident) -> Option<FindingItem> {
        let finding =
            |text, basis, facts| FindingItem { id: "changes", label: "Changed before", text, basis, facts };
        let onset = incident.onset();
        let near = self.near_changes(incident);
        let state = self.material.lookup.state(LogKind::Objects.endpoint());
        if state == LookupState::Denied {
            let text = Prose::default().plain("Not known: the token may not call GetObjectLog.");
            return Some(finding(text, String::new(), Vec::new()));
        }
        let of = incident
            .product
            .map_or_else(|| "the account".to_owned(), |product| format!("product {product} or these keys"));
        let recent: Vec<&(i64, &ObjectRecord)> =
            near.iter().filter(|(time, _)| onset - time <= CHANGED_BEFORE).collect();
        let Some((time, row)) = recent.last().copied().copied() else {
            let last = near.last().map(|(time, _)| {
                format!(" The latest one before that was {} earlier.", words::duration(onset - time))
            });
            let text = Prose::default().plain(format!(
                "The Object Log has no change to {of} in the 30 min before.{}",
                last.unwrap_or_default()
            ));
            return Some(finding(text, String::new(), Vec::new()));
        };
        let ago = onset - time;
        let ago =
            if ago < 600 { format!("{ago} s earlier") } else { format!("{} earlier", words::duration(ago)) };
        let mut text = Prose::default().strong(ago).plain(format!(
            ", at {}, {}",
            self.second(time),
            self.change_in_words(row)
        ));
        let fields =
            row.data.as_deref().map(|data| changes(data, &self.session.identities)).unwrap_or_default();
        for (index, change) in fields.iter().take(3).enumerate() {
            text = text.plain(if index == 0 { ": " } else { ", " });
            text = text.code(format!("{} {} → {}", change.field, plain(&change.old), plain(&change.new)));
        }
        if fields.len() > 3 {
            text = text.plain(format!(" and {} more", fields.len() - 3));
        }
        text = text.plain(match near.len() {
            1 => format!(". It is the only change to {of} in 24 h."),
            all => format!(
                ". It is the latest of {all} changes to {of} in 24 h, {} of them in the 30 min before.",
                recent.len()
            ),
        });
        let basis = format!(
            "Object Log row {}. It fits in time; that it is the cause is for you to confirm.",
            row.id
        );
        let facts = vec![
            ("time", Datum::Time(Moment { at: time, zone: self.window().zone })),
            ("row_id", Datum::Whole(row.id)),
        ];
        Some(finding(text, basis, facts))
    }

    /// The verb for an action on an object. One whose action is not known was at least touched.
    fn verb(&self, row: &ObjectRecord) -> &'static str {
        match action(row.resource_action, self.session.objects_first_code) {
            "added" => "added",
            "deleted" => "deleted",
            "updated" => "changed",
            _ => "touched",
        }
    }

    /// As `user 22 changed product 3349`.
    fn change_in_words(&self, row: &ObjectRecord) -> String {
        let first = self.session.objects_first_code;
        let user = row.performed_by_user_id.as_deref();
        let user =
            user.map_or_else(|| "somebody".to_owned(), |user| self.session.identities.user_in_words(user));
        let verb = self.verb(row);
        let resource = match resource_type(row.resource_type, first) {
            UNKNOWN => "an object".to_owned(),
            name => name.replace('_', " "),
        };
        let id = row.affected_object_id.map(|id| format!(" {id}")).unwrap_or_default();
        format!("{user} {verb} {resource}{id}")
    }

    /// Changes of the product or the keys in the day before the onset, in order of time. Where the
    /// incident is of all products, every change may count.
    fn near_changes(&self, incident: &Incident) -> Vec<(i64, &ObjectRecord)> {
        let (trail, lookup) = (&self.material.trail, &self.material.lookup);
        let first = self.session.objects_first_code;
        let hit = incident.assessment.hit.iter().filter_map(|hit| trail.key(hit.key));
        let licenses = hit.filter_map(|seen| lookup.license(seen.product_id, &seen.key));
        let keys: BTreeSet<i64> =
            licenses.flat_map(|license| [Some(license.id), license.global_id]).flatten().collect();
        let is_near = |row: &&ObjectRecord| match (incident.product, resource_type(row.resource_type, first))
        {
            (None, _) => true,
            (Some(product), "product") => row.affected_object_id == Some(product),
            (Some(_), "license_key") => row.affected_object_id.is_some_and(|id| keys.contains(&id)),
            _ => false,
        };
        let mut near: Vec<(i64, &ObjectRecord)> = self
            .material
            .changes
            .iter()
            .filter(is_near)
            .filter_map(|row| Some((row.created?, row)))
            .collect();
        near.sort_by_key(|(time, row)| (*time, row.id));
        near
    }

    fn chart(&self) -> Block {
        let window = self.window();
        let columns = chart::TimeColumns::new(window);
        let rows = self.rows();
        let subject = self.product(self.subject());
        let reading = &self.material.reading;
        let begins = reading.oldest.filter(|_| reading.reaches_beginning);
        let mut block = chart::requests(&columns, rows.iter(), &subject, begins);
        block.alt = match &self.story().chosen {
            Some(incident) => {
                let assessment = &incident.assessment;
                let begin = self.clock(incident.onset());
                let since = if incident.is_ongoing { "From then on" } else { "In the incident" };
                format!(
                    "Column chart of {} requests. The incident begins at {begin}. {since} {} of {} requests fail.",
                    thousands(i128::from(of_length(rows.len()))),
                    thousands(i128::from(assessment.failed)),
                    thousands(i128::from(assessment.requests))
                )
            }
            None => format!(
                "Column chart of {} requests, without an incident that is found.",
                thousands(i128::from(of_length(rows.len())))
            ),
        };
        if let Some(incident) = &self.story().chosen {
            let onset = incident.onset();
            let near = self.near_changes(incident);
            let changed = near.iter().rev().find(|(time, _)| onset - time <= CHANGED_BEFORE);
            if let Some((time, row)) = changed.filter(|(time, _)| window.contains(*time)) {
                let first = self.session.objects_first_code;
                let what = match resource_type(row.resource_type, first) {
                    UNKNOWN => "object".to_owned(),
                    name => name.replace('_', " "),
                };
                let by = row
                    .performed_by_user_id
                    .as_deref()
                    .map(|user| format!(" by {}", self.session.identities.user_in_words(user)));
                let words = format!("{what} {}{}", self.verb(row), by.unwrap_or_default());
                block.marks.push(columns.mark(*time, (MarkRole::Change, &words)));
            }
            if !incident.is_cut {
                block.marks.push(columns.mark(onset, (MarkRole::Onset, "first failure")));
            }
            if !incident.is_ongoing {
                block.marks.push(columns.mark(incident.to, (MarkRole::End, "end")));
            }
            block.shade.push((columns.position(onset), columns.position(incident.to)));
        }
        Block::Chart(block)
    }

    fn customers(&self) -> Option<Block> {
        let incident = self.story().chosen.as_ref()?;
        let (trail, lookup) = (&self.material.trail, &self.material.lookup);
        let level = self.level_of_identities();
        let zone = self.window().zone;
        let day = |at: i64| local(at, zone).format("%Y-%m-%d").to_string();
        let rows = incident.assessment.hit.iter().filter_map(|hit| {
            let seen = trail.key(hit.key)?;
            let license = lookup.license(seen.product_id, &seen.key);
            Some(vec![
                license.and_then(|license| lookup.customer(license, level)).into(),
                Datum::Words(self.session.identities.show(IdentityKind::Key, &seen.key)),
                Datum::count(hit.failed),
                Datum::count(of_length(hit.machines)),
                hit.last_success.map(|at| Moment { at, zone }).into(),
                Datum::Whole(i64::from(hit.state)),
                license.and_then(|license| license.expires).map(day).into(),
            ])
        });
        let rows: Vec<Vec<Datum>> = rows.collect();
        let mut note = match level {
            IdentityLevel::Full => String::new(),
            IdentityLevel::Customers => "Machines, people and addresses are not shown.".to_owned(),
            IdentityLevel::Masked => {
                "Keys are pseudonyms; --identities=customers shows companies and the last group of each key."
                    .to_owned()
            }
        };
        if !lookup.by.is_empty() {
            note = format!("Customer and expiry by {}. {note}", lookup.by);
        }
        let denied = lookup.denied();
        let note = [note.trim(), denied.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        Some(Block::Table(TableBlock {
            id: "customers",
            title: format!("Customers hit ({})", rows.len()),
            columns: vec![
                TableColumn::new("customer", "customer", Measure::Text),
                TableColumn::new("key", "key", Measure::Code),
                TableColumn::new("failed", "failed", Measure::Count).bar(),
                TableColumn::new("machines", "machines", Measure::Count).rank(2),
                TableColumn::new("last_success", "last success", Measure::Time).rank(1),
                TableColumn::new("state", "state", Measure::Code).rank(4),
                TableColumn::new("expires", "expires", Measure::Text).rank(3),
            ],
            rows,
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note,
        }))
    }

    fn products(&self) -> Block {
        let trail = &self.material.trail;
        let affected: BTreeSet<Option<i64>> = products(&self.story().all);
        let mut shown = Vec::new();
        for product in trail.products() {
            let rows = trail.of_product(Some(product));
            let (requests, judged) = counts(rows.iter());
            let (all, bad) = chart::trend(trail, rows.iter());
            let row = vec![
                Datum::Words(self.material.lookup.product_name(product)),
                Datum::Whole(product),
                Datum::count(requests),
                Datum::count(judged.failed),
                judged.ratio().into(),
                self.usual(Some(product)).into(),
                Datum::Trend { all, bad },
            ];
            shown.push((affected.contains(&Some(product)), judged.ratio(), row));
        }
        shown.sort_by(|one, other| {
            let ratio = |row: &(bool, Option<f64>, Vec<Datum>)| row.1.unwrap_or(0.0);
            other.0.cmp(&one.0).then(ratio(other).total_cmp(&ratio(one)))
        });
        let hot = (0..shown.len()).filter(|index| shown.get(*index).is_some_and(|row| row.0)).collect();
        let same = if self.window().seconds() < DAY { "the same hours" } else { "the same days" };
        let note = match self.material.usual.weeks.len() {
            0 => format!(
                "The log does not reach back to {same} of the weeks before, so nothing is known of what is usual."
            ),
            1 => format!("Usual: {same} of the week before."),
            _ => format!("Usual: {same} of the two weeks before, of the week with the lower ratio."),
        };
        Block::Table(TableBlock {
            id: "products",
            title: match self.typed_product() {
                Some(_) => format!("Requests in {}", words::these(self.window().seconds())),
                None => format!("All products in {}", words::these(self.window().seconds())),
            },
            columns: vec![
                TableColumn::new("product", "product", Measure::Text),
                TableColumn::new("product_id", "id", Measure::Code).under(),
                TableColumn::new("requests", "requests", Measure::Count),
                TableColumn::new("failed", "failed", Measure::Count),
                TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio),
                TableColumn::new("usual", "usual", Measure::Ratio).rank(1),
                TableColumn::new("trend", "over time", Measure::Trend),
            ],
            rows: shown.into_iter().map(|(_, _, row)| row).collect(),
            hot,
            omitted: 0,
            extent: TableExtent::Top,
            note,
        })
    }

    /// All incidents of the period, where there are several.
    fn incidents(&self) -> Option<Block> {
        let all = &self.story().all;
        if all.len() < 2 {
            return None;
        }
        let zone = self.window().zone;
        let row = |incident: &Incident| {
            let judged =
                MinuteCount { failed: incident.assessment.failed, all: incident.assessment.requests };
            vec![
                Datum::Time(Moment { at: incident.onset(), zone }),
                Datum::Whole(incident.to - incident.onset()),
                Datum::Words(self.product(incident.product)),
                incident.product.map_or(Datum::Nothing, Datum::Whole),
                Datum::count(judged.failed),
                judged.ratio().into(),
                Datum::count(of_length(incident.assessment.hit.len())),
            ]
        };
        Some(Block::Table(TableBlock {
            id: "incidents",
            title: "Incidents in this time".to_owned(),
            columns: vec![
                TableColumn::new("begin", "began", Measure::Time),
                TableColumn::new("seconds", "lasted", Measure::Duration),
                TableColumn::new("product", "product", Measure::Text),
                TableColumn::new("product_id", "id", Measure::Code).under(),
                TableColumn::new("failed", "failed", Measure::Count).bar(),
                TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio).rank(1),
                TableColumn::new("customers", "customers hit", Measure::Count).rank(2),
            ],
            rows: all.iter().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: "The report is about one of them; --at=TIME chooses another.".to_owned(),
        }))
    }

    /// Where a source fails alone, the customer whose it is.
    fn step_alone(&self) -> Option<Block> {
        let most = |(_, source): &&(i64, LoneSource)| source.failed_since(0);
        let (product, source) = self.alone(self.subject()).max_by_key(most)?;
        let rows = self.material.trail.of_product(Some(*product));
        let mut keys: BTreeMap<u32, u64> = BTreeMap::new();
        for key in rows
            .iter()
            .filter(|row| row.has_failed() && is_from(row, source.source))
            .filter_map(|row| row.key)
        {
            *keys.entry(key).or_default() += 1;
        }
        let (key, _) = keys.into_iter().max_by_key(|(key, failed)| (*failed, std::cmp::Reverse(*key)))?;
        let key = self.session.pseudonyms.show(IdentityKind::Key, &self.material.trail.key(key)?.key);
        let from = rfc3339(self.window().from - DAY, crate::report::zone::Zone::UTC);
        let (product, access) = (product_flag(Some(*product)), &self.options.document.access_flags);
        let items = vec![StepItem {
            text: "What the customer sees who fails most:".to_owned(),
            command: format!("cryptolens-exporter report customer {key} --from={from}{product}{access}"),
        }];
        Some(Block::Steps(StepBlock { id: "next", title: "Next", items }))
    }

    fn steps(&self) -> Option<Block> {
        let Some(incident) = &self.story().chosen else { return self.step_alone() };
        let access = &self.options.document.access_flags;
        let command = |rest: String| format!("cryptolens-exporter {rest}{access}");
        let onset = incident.onset();
        let utc = |at: i64| rfc3339(at, crate::report::zone::Zone::UTC);
        let product = product_flag(incident.product);
        let mut items = Vec::new();
        if incident.is_cut {
            let from = onset - 6 * 3600;
            items.push(StepItem {
                text: "It may have begun before this time. A longer one shows when:".to_owned(),
                command: command(format!(
                    "report incident --from={} --to={}{product}",
                    utc(from),
                    utc(incident.to.min(from.saturating_add(LONGEST)))
                )),
            });
        }
        items.push(StepItem {
            text: "Every change of the hour before, by whom:".to_owned(),
            command: command(format!("report changes --from={} --to={}", utc(onset - 3600), utc(onset + 1))),
        });
        if let Some(seen) = incident.assessment.hit.first().and_then(|hit| self.material.trail.key(hit.key)) {
            // A key is a text of the log, which a shell could take for anything: its pseudonym is
            // not.
            let key = self.session.pseudonyms.show(IdentityKind::Key, &seen.key);
            let product = product_flag(Some(seen.product_id));
            items.push(StepItem {
                text: "What the first customer of the table sees:".to_owned(),
                command: command(format!("report customer {key} --from={}{product}", utc(onset - 86_400))),
            });
        }
        if self.material.is_live && incident.is_ongoing {
            // Asked tomorrow, it still must be no longer than the report takes.
            let from = onset - 3600;
            let begin = if self.window().to - from > LONGEST - DAY {
                "--since=7d".to_owned()
            } else {
                format!("--from={}", utc(from))
            };
            items.push(StepItem {
                text: "Has it ended? Exit code 3 while it lasts:".to_owned(),
                command: command(format!("report incident {begin}{product} --fail-on=incident")),
            });
        }
        Some(Block::Steps(StepBlock { id: "next", title: "Next", items }))
    }

    fn method(&self) -> Block {
        let trail = &self.material.trail;
        let reading = &self.material.reading;
        let rows = trail.rows();
        let (neither, refused) = rows.in_no_ratio();
        let counted_rows = match trail.ids() {
            Some((first, last)) => {
                let neither = (neither > 0).then(|| {
                    let rows = counted(of_length(neither), "row is", "rows are");
                    format!("{rows} neither success nor failure")
                });
                let refused = (refused > 0).then(|| {
                    let rows = counted(of_length(refused), "row found", "rows found");
                    format!("{rows} no free seat (state 2024)")
                });
                let left_out: Vec<String> = neither.into_iter().chain(refused).collect();
                let left_out = match left_out.is_empty() {
                    true => String::new(),
                    false => format!("; {}, and in no ratio", left_out.join(" and ")),
                };
                format!(
                    "{} of the Web API Log, ids {first} to {last}, each once. A failure has third digit 2{left_out}.",
                    counted(of_length(rows.len()), "row", "rows"),
                )
            }
            None => format!(
                "0 of {} rows of the Web API Log that were read are in this time.",
                thousands(i128::from(reading.rows))
            ),
        };
        let by = if self.window().seconds() <= 12 * 3600 {
            "by minute"
        } else {
            "by ten minutes, refined to the minute"
        };
        let mut items = vec![
            ("Counted", counted_rows),
            (
                "Incident",
                format!(
                    "per product, the interval whose failure ratio departs most from the rest of the time, {by}: at least twice \
                     the ratio, 5 failures, and a log-likelihood ratio of {:.0}; and at least twice the failures that {}, so \
                     that a change in the mix of traffic is none. A machine that fails alone is none \
                     either, nor a key or an address of which no second machine fails again.",
                    Threshold::of_minutes(crate::report::trail::steps(self.window().seconds(), 60)).value(),
                    match self.material.usual.weeks.len() {
                        0 => "the time around it and the rest have",
                        1 => "the same time of the week before has",
                        _ => "the same times of the two weeks before have",
                    }
                ),
            ),
            (
                "Onset",
                "the first failure in it of a key that has not succeeded since, within 2 min of the very first failure.".to_owned(),
            ),
            (
                "Hit",
                "a key with at least 2 failures since then and no success. Requests include retries: count customers, not requests."
                    .to_owned(),
            ),
            (
                "In common",
                "what at least 90% of the keys that are hit have, and at most 10% of the others.".to_owned(),
            ),
            (
                "Not known",
                "what the applications showed, rows that the API reveals later, and keys on a local license server.".to_owned(),
            ),
        ];
        let denied = self.material.lookup.denied();
        if !denied.is_empty() {
            items.push(("Not allowed", denied));
        }
        Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
    }
}

//! Makes the document of `report summary` from what was counted.

use std::collections::BTreeMap;

use super::tally::{ColumnCount, ProductTally, RefusedKey, SummaryTally};
use super::{SummarizedIncident, SummaryMaterial};
use crate::report::compared::{ComparedTime, change, is_as_long};
use crate::report::count::{of_length, ratio};
use crate::report::detector::{Calmness, MinuteCount, Threshold, calmness};
use crate::report::document::{
    Block, ChartBlock, ChartLimit, ChartMark, ChartMerge, ChartRatio, ChartSeries, Comparison, Datum,
    Document, FigureBlock, FigureItem, FindingBlock, FindingItem, Level, MarkRole, Measure, MethodBlock,
    Moment, Period, Prose, SeriesRole, StepBlock, StepItem, TableBlock, TableColumn, TableExtent, Tone,
};
use crate::report::lookup::shown_key;
use crate::report::options::{FailOn, IdentityLevel, SummaryOptions};
use crate::report::render::words;
use crate::report::session::{ReportSession, product_flag};
use crate::report::text::{capitalised, capitalised_name, counted, counted_each, times};
use crate::report::trail::steps;
use crate::report::window::{Window, local, rfc3339};
use crate::report::zone::Zone;
use crate::text::thousands;

const SCHEMA: &str = "cryptolens-exporter/report/summary";

/// The report before it is a document.
pub(super) struct Summary<'a> {
    pub(super) material: &'a SummaryMaterial,
    pub(super) session: &'a ReportSession,
    pub(super) options: &'a SummaryOptions,
}

/// How the failures of a time compare with those that an objective allows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ErrorBudget {
    /// The part of requests that may fail.
    allowed_ratio: f64,
    /// Failures that are allowed.
    allowed: f64,
    failed: u64,
    judged: u64,
}

impl ErrorBudget {
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn new(objective: f64, failed: u64, judged: u64) -> ErrorBudget {
        // In tenths of thousandths of a percent, so that 99.9 leaves exactly 0.1.
        let allowed_ratio = ((100.0 - objective) * 1e6).round() / 1e8;
        ErrorBudget { allowed_ratio, allowed: allowed_ratio * judged as f64, failed, judged }
    }

    /// True if more failed than is allowed.
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn is_missed(&self) -> bool {
        // A product of two exact numbers may be off by the last bit.
        self.failed as f64 > self.allowed * (1.0 + 1e-12)
    }

    /// The part of what is allowed that `failed` is; none where nothing is.
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn used(&self, failed: u64) -> Option<f64> {
        (self.allowed > 0.0).then(|| failed as f64 / self.allowed)
    }
}

impl Summary<'_> {
    fn tally(&self) -> &SummaryTally {
        &self.material.count.tally
    }

    fn window(&self) -> Window {
        self.material.time.window
    }

    fn moment(&self, at: i64) -> Moment {
        Moment { at, zone: self.window().zone }
    }

    fn incidents(&self) -> &[SummarizedIncident] {
        &self.material.incidents
    }

    /// Returns the time to compare with, where the log reaches back to it.
    fn before(&self) -> Option<&ComparedTime> {
        self.material.compared.as_ref().filter(|_| self.material.is_covered)
    }

    fn is_per_day(&self) -> bool {
        self.before().is_some_and(|before| !is_as_long(&self.window(), &before.window))
    }

    /// now / before - 1, by day where the times differ in length.
    fn change(&self, now: u64, before: u64) -> Option<f64> {
        let compared = self.before()?;
        change((now, &self.window()), (before, &compared.window))
    }

    /// The same in words; empty where there is nothing to compare with.
    fn change_in_words(&self, now: u64, before: u64) -> String {
        let Some(change) = self.change(now, before) else { return String::new() };
        let change = words::shown(&Datum::Fraction(change), Measure::Change);
        if self.is_per_day() { format!("{change} per day") } else { change }
    }

    /// Failures, and the requests that succeeded or failed.
    fn judged(&self) -> (u64, u64) {
        let counts = self.tally().now.counts;
        (counts.failure, counts.success + counts.failure)
    }

    fn budget(&self) -> Option<ErrorBudget> {
        let (failed, judged) = self.judged();
        let objective = self.options.objective.filter(|_| judged > 0)?;
        Some(ErrorBudget::new(objective, failed, judged))
    }

    /// A number of requests that succeeded or failed; called judged where there are others.
    fn judged_requests(&self, judged: u64, (one, several): (&str, &str)) -> String {
        if self.is_all_judged() {
            counted(judged, one, several)
        } else {
            counted(judged, &format!("judged {one}"), &format!("judged {several}"))
        }
    }

    fn is_all_judged(&self) -> bool {
        self.tally().now.counts.unknown == 0
    }

    /// The log that is read, of which another product's rows are no part.
    fn log(&self) -> &'static str {
        if self.options.product.is_some() { "the log of this product" } else { "the log" }
    }

    fn product(&self, product: Option<i64>) -> String {
        product
            .map_or_else(|| "all products".to_owned(), |product| self.material.lookup.product_name(product))
    }

    /// The first condition of `--fail-on` that holds.
    pub(super) fn failed_condition(&self) -> Option<FailOn> {
        let holds = |condition: &&FailOn| match condition {
            FailOn::Incident => !self.incidents().is_empty(),
            FailOn::Objective => self.budget().is_some_and(|budget| budget.is_missed()),
            FailOn::Refusals => self.tally().now.refusals > 0,
        };
        self.options.document.fail_on.iter().find(holds).copied()
    }

    pub(super) fn document(&self) -> Document {
        let (time, window) = (&self.material.time, self.window());
        let mut period = Period::new((window.from, window.to), window.zone, time.label(), !time.is_live);
        period.compared_with = self.material.compared.as_ref().map(|compared| Comparison {
            from: self.moment(compared.window.from),
            to: self.moment(compared.window.to),
            elapsed_only: compared.is_elapsed_only,
            covered: self.material.is_covered,
        });
        let mut document = self.session.document(SCHEMA, "Summary", period, &self.options.document);
        document.scope.product_id = self.options.product;
        document.level = self.level();
        document.headline = self.headline();
        document.lead = self.lead();
        self.evidence(&mut document);
        document.blocks.push(self.figures());
        document.blocks.extend(self.findings());
        document.blocks.push(self.chart());
        document.blocks.push(self.incident_table());
        document.blocks.push(self.products());
        document.blocks.push(self.seat_limits());
        document.blocks.extend(self.steps());
        document.blocks.push(self.method());
        document
    }

    fn level(&self) -> Level {
        let is_missed = self.budget().map(|budget| budget.is_missed());
        // Without an objective, incidents say whether it was as it should be.
        let is_odd = !self.incidents().is_empty() || self.doubt().is_some();
        let is_partial = self.material.time.log_begins.is_some();
        if is_partial || is_missed.unwrap_or(is_odd) { Level::Notice } else { Level::Fine }
    }

    /// The reason for which a time without an incident cannot be called free of one.
    fn doubt(&self) -> Option<&'static str> {
        let count = |(failed, all): (u64, u64)| MinuteCount { failed, all };
        let before = self.tally().before.counts;
        let usual = self.before().map(|_| count((before.failure, before.success + before.failure)));
        let times = usize::from(usual.is_some());
        // A source that fails alone says nothing of the others.
        let alone = self.material.count.scanned.alone;
        let judged = count(self.judged()).minus(count((alone, alone)));
        match calmness(judged, (usual.unwrap_or_default(), times), 1) {
            _ if !self.incidents().is_empty() => None,
            Calmness::Calm | Calmness::NoMoreThanUsual => None,
            Calmness::TooFew => Some("too few to judge"),
            Calmness::NothingToCompare => Some("and nothing shows what is usual"),
        }
    }

    fn headline(&self) -> String {
        let time = &self.material.time;
        if let Some(begins) = time.log_begins_after() {
            let (time, begins) = (time.subject(), time.minute(begins));
            return format!("Nothing is known of {time}: {} begins at {begins}", self.log());
        }
        let label = capitalised(&time.subject());
        let (failed, judged) = self.judged();
        let Some(failure_ratio) = ratio(failed, judged) else {
            return match self.tally().now.counts.requests() {
                0 => format!("{label}: no request"),
                requests => format!(
                    "{label}: none of {} succeeded or failed",
                    counted(requests, "license request", "license requests")
                ),
            };
        };
        let percent = words::percent(failure_ratio);
        if let Some(budget) = self.budget() {
            let (percent, allowed) = (precisely(failure_ratio, budget), as_typed(budget.allowed_ratio));
            let numbers = format!("{percent} of license requests failed, {allowed} is allowed");
            if self.material.time.calendar.is_none() {
                let verb = if budget.is_missed() { "missed" } else { "met" };
                return format!("The objective was {verb} {}: {numbers}", self.material.time.when());
            }
            let verb = match (budget.is_missed(), self.material.time.is_live) {
                (true, false) => "missed its objective",
                (true, true) => "misses its objective",
                (false, false) => "met its objective",
                (false, true) => "meets its objective",
            };
            return format!("{label} {verb}: {numbers}");
        }
        let of = self.judged_requests(judged, ("license request", "license requests"));
        let incidents = match self.incidents().len() {
            0 => self.doubt().unwrap_or("no incident").to_owned(),
            several => counted(of_length(several), "incident", "incidents"),
        };
        format!("{label}: {percent} of {of} failed, {incidents}")
    }

    fn lead(&self) -> String {
        let mut sentences = Vec::new();
        if self.tally().rows == 0 {
            sentences.push(format!(
                "0 of the {} rows that were read are in this time.",
                thousands(i128::from(self.material.reading.rows))
            ));
        }
        if let Some(product) = self.options.product {
            sentences.push(format!("Product {product} only."));
        }
        sentences.extend(self.material.time.coverage(self.log()));
        if let Some(compared) = &self.material.compared {
            let part = if compared.is_elapsed_only { "the same part of " } else { "" };
            sentences.push(match (self.material.is_covered, self.is_per_day()) {
                (false, _) => {
                    format!("The log does not reach back to {}, so nothing is compared.", compared.label)
                }
                (true, false) => format!("Compared with {part}{}.", compared.label),
                (true, true) => format!(
                    "Compared with {part}{}, counts per day because the times differ in length.",
                    compared.label
                ),
            });
        }
        sentences.join(" ")
    }

    fn evidence(&self, document: &mut Document) {
        let (tally, reading) = (self.tally(), &self.material.reading);
        let read = &mut document.read;
        read.rows = tally.rows;
        read.first_id = tally.ids.map(|(first, _)| first);
        read.last_id = tally.ids.map(|(_, last)| last);
        read.sha256.clone_from(&self.material.count.sha256);
        read.oldest = tally.oldest.map(|at| self.moment(at));
        read.skipped = vec![
            ("without_id", reading.without_id),
            ("without_time", tally.without_time),
            ("met_again", reading.duplicates),
        ];
        read.looked_up = self.material.lookup.states();
    }

    fn figures(&self) -> Block {
        let tally = self.tally();
        let (now, before) = (&tally.now, &tally.before);
        let is_compared = self.before().is_some();
        let figure = |id, label, (now, before): (u64, u64), change: Option<f64>, note: String| {
            let mut item = FigureItem::new(id, label, Datum::count(now), Measure::Count).note(note);
            if is_compared {
                item.previous = Datum::count(before);
            }
            item.change = change;
            item
        };
        // The same machine is active on many days: who is active is not counted by day.
        let plain = |now: u64, before: u64| plain_change(now, before).filter(|_| is_compared);
        let in_words = |change: Option<f64>| {
            change.map(|change| words::shown(&Datum::Fraction(change), Measure::Change)).unwrap_or_default()
        };
        let joined = |notes: &[String]| {
            notes.iter().filter(|note| !note.is_empty()).cloned().collect::<Vec<_>>().join("; ")
        };
        let (requests, requests_before) = (now.counts.requests(), before.counts.requests());
        let (come, gone) = tally.come_and_gone();
        let (come, gone) = (thousands(i128::from(come)), thousands(i128::from(gone)));
        let keys_note = if is_compared { format!("{come} new, {gone} gone quiet") } else { String::new() };
        let customers = counted(of_length(tally.refused.len()), "customer", "customers");
        let refusal_note = if now.refusals > 0 { customers } else { String::new() };
        let keys = (now.active_keys, before.active_keys);
        let machines = (now.active_machines, before.active_machines);
        let refusals = (now.refusals, before.refusals);
        let machine_change = plain(machines.0, machines.1);
        let items = vec![
            figure(
                "requests",
                "Requests",
                (requests, requests_before),
                self.change(requests, requests_before),
                self.change_in_words(requests, requests_before),
            ),
            self.failure_ratio(),
            figure("active_keys", "Active keys", keys, plain(keys.0, keys.1), keys_note),
            figure("active_machines", "Active machines", machines, machine_change, in_words(machine_change)),
            figure(
                "refusals",
                "Times refused a seat",
                refusals,
                self.change(refusals.0, refusals.1),
                joined(&[refusal_note, self.change_in_words(refusals.0, refusals.1)]),
            ),
        ];
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn failure_ratio(&self) -> FigureItem {
        let (now, before) = (self.tally().now.counts, self.tally().before.counts);
        let before = before.failure_ratio().filter(|_| self.before().is_some());
        let budget = self.budget();
        let difference = now.failure_ratio().zip(before).map(|(now, before)| now - before);
        let mut notes: Vec<String> = Vec::new();
        notes.extend(difference.map(|points| words::shown(&Datum::Fraction(points), Measure::Points)));
        notes.extend(budget.map(|budget| format!("{} is allowed", as_typed(budget.allowed_ratio))));
        let (_, judged) = self.judged();
        notes.extend((!self.is_all_judged()).then(|| format!("of {} judged", thousands(judged))));
        let mut item =
            FigureItem::new("failure_ratio", "Failure ratio", now.failure_ratio().into(), Measure::Ratio)
                .note(notes.join("; "))
                .bad_if(budget.is_some_and(|budget| budget.is_missed()));
        if budget.is_some_and(|budget| !budget.is_missed()) {
            item.tone = Tone::Good;
        }
        item.previous = before.into();
        item.change = difference;
        item
    }

    fn findings(&self) -> Option<Block> {
        let items: Vec<FindingItem> =
            [self.finding_incidents(), self.finding_objective(), self.finding_seats()]
                .into_iter()
                .flatten()
                .collect();
        if items.is_empty() {
            return None;
        }
        Some(Block::Findings(FindingBlock { id: "findings", title: "What stands out".to_owned(), items }))
    }

    fn finding_incidents(&self) -> Option<FindingItem> {
        let incidents = self.incidents();
        let largest = incidents.iter().max_by_key(|incident| (incident.failed(), -incident.begin()))?;
        let failed: u64 = incidents.iter().map(SummarizedIncident::failed).sum();
        let seconds: i64 = incidents.iter().map(SummarizedIncident::seconds).sum();
        let (all_failed, _) = self.judged();
        // Of the time before the log begins, nobody knows whether it had incidents.
        let covered = self.material.time.covered();
        let part = |part: i64| u64::try_from(part).unwrap_or(0);
        let (of_failures, of_time) = (
            ratio(failed.min(all_failed), all_failed).unwrap_or(0.0),
            ratio(part(seconds.min(covered.seconds())), part(covered.seconds())).unwrap_or(0.0),
        );
        let is_covered = covered == self.window();
        let mut text = Prose::default()
            .strong(format!(
                "{} caused {} of all failures",
                counted(of_length(incidents.len()), "incident", "incidents"),
                words::percent(of_failures)
            ))
            .plain(format!(
                " in {} of the time{}.",
                words::percent(of_time),
                if is_covered { "" } else { " that the log covers" }
            ));
        let mut by_product: BTreeMap<Option<i64>, usize> = BTreeMap::new();
        for incident in incidents {
            *by_product.entry(incident.found.product).or_default() += 1;
        }
        let most = by_product.iter().max_by_key(|(product, number)| (**number, std::cmp::Reverse(**product)));
        // A report on one product says so above.
        let most = most.filter(|(_, number)| **number > 1 && self.options.product.is_none());
        if let Some((product, number)) = most {
            let product = self.product(*product);
            text = text.plain(match incidents.len() {
                all if all == *number => format!(" All are of {product}."),
                _ => format!(" {} had {number} of them.", capitalised_name(&product)),
            });
        }
        let is_said = self.options.product.is_some() || (by_product.len() == 1 && incidents.len() > 1);
        let begin = local(largest.begin(), self.window().zone);
        let hit = largest.detail.as_ref().map(|detail| detail.assessment.hit.len()).filter(|hit| *hit > 0);
        let locked_out = hit.map(|hit| match hit {
            1 => " and 1 customer was locked out".to_owned(),
            hit => format!(" and {hit} customers were locked out"),
        });
        text = text.plain(format!(
            " {}{} on {}: {} failed{} in {}.",
            if incidents.len() > 1 { "The largest was" } else { "It was" },
            if is_said { String::new() } else { format!(" of {},", self.product(largest.found.product)) },
            begin.format("%-d %B at %H:%M"),
            counted(largest.failed(), "request", "requests"),
            locked_out.unwrap_or_default(),
            // As the table has it.
            words::duration(match minutes(largest) {
                0 => largest.seconds(),
                minutes => minutes * 60,
            })
        ));
        let facts = vec![
            ("incidents", Datum::count(of_length(incidents.len()))),
            ("failed", Datum::count(failed)),
            ("seconds", Datum::Whole(seconds)),
        ];
        let basis = "Refused seats are no part of incidents.".to_owned();
        Some(FindingItem { id: "incidents", label: "Incidents", text, basis, facts })
    }

    fn finding_objective(&self) -> Option<FindingItem> {
        let (budget, objective) = (self.budget()?, self.options.objective?);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of failures")]
        let allowed = budget.allowed.max(0.0).floor() as u64;
        let mut text = Prose::default().plain(format!(
            "At {objective}% success {} allowed {} of {} and had {}",
            self.material.time.in_short(),
            counted(allowed, "failure", "failures"),
            self.judged_requests(budget.judged, ("request", "requests")),
            thousands(i128::from(budget.failed)),
        ));
        let used = budget.used(budget.failed);
        if let Some(used) = used {
            text = text.plain(": ").strong(format!("{:.1}% of the error budget", used * 100.0));
        }
        text = text.plain(".");
        let in_incidents: u64 = self.incidents().iter().map(SummarizedIncident::failed).sum();
        let without = budget.used(budget.failed.saturating_sub(in_incidents));
        if let Some(without) = without.filter(|_| in_incidents > 0) {
            text = text.plain(format!(" Without the incidents it would be {:.1}%.", without * 100.0));
        }
        let facts = vec![
            ("allowed", Datum::count(allowed)),
            ("failed", Datum::count(budget.failed)),
            ("budget_used", used.into()),
        ];
        Some(FindingItem { id: "objective", label: "Objective", text, basis: String::new(), facts })
    }

    /// Keys that were refused a seat, most often first.
    fn refused(&self) -> Vec<(i64, &str, &RefusedKey)> {
        let keys = self.tally().refused.iter();
        let mut refused: Vec<(i64, &str, &RefusedKey)> =
            keys.map(|((product, key), refused)| (*product, &**key, refused)).collect();
        refused.sort_by_key(|(product, key, refused)| (std::cmp::Reverse(refused.times), *product, *key));
        refused
    }

    fn customer(&self, product: i64, key: &str) -> String {
        self.material.lookup.customer_or_key((product, key), &self.session.identities)
    }

    fn finding_seats(&self) -> Option<FindingItem> {
        let all = self.tally().now.refusals;
        let mut most = self.refused();
        let first = most.first()?.2.times;
        // The second one too, if it was refused half as often; and whoever was as often as the last of them.
        let second = most.get(1).map(|(.., second)| second.times).filter(|second| second * 2 >= first);
        most.retain(|(.., key)| key.times >= second.unwrap_or(first));
        let names: Vec<String> = most.iter().map(|(product, key, _)| self.customer(*product, key)).collect();
        let days: Vec<u64> = most.iter().map(|(.., key)| of_length(key.days.len())).collect();
        let text = most_refused(&names, most.iter().map(|(.., key)| key.times).sum(), (all, &days));
        let requests = self.tally().now.refused_requests;
        let basis = format!(
            "{} with retries, which count as failures in the ratio.",
            counted(requests, "request", "requests")
        );
        let facts = vec![("refusals", Datum::count(all)), ("requests", Datum::count(requests))];
        Some(FindingItem { id: "seats", label: "Seats", text, basis, facts })
    }

    fn chart(&self) -> Block {
        let (tally, columns) = (self.tally(), self.tally().chart());
        let oldest = self.material.time.log_begins;
        let values = |of: fn(&ColumnCount) -> u64| -> Vec<Option<u64>> {
            let known = columns.empty(oldest);
            known.iter().zip(&tally.columns).map(|(known, count)| known.map(|_| of(count))).collect()
        };
        let mut stack = vec![
            ChartSeries {
                id: "failed",
                label: "failed",
                role: SeriesRole::Bad,
                values: values(|count| count.failed),
            },
            ChartSeries {
                id: "succeeded",
                label: "succeeded",
                role: SeriesRole::Good,
                values: values(|count| count.succeeded),
            },
        ];
        if tally.now.counts.unknown > 0 {
            let values = values(|count| count.other);
            stack.push(ChartSeries {
                id: "other",
                label: "neither success nor failure",
                role: SeriesRole::Accent,
                values,
            });
        }
        let marks = (1..).zip(self.incidents()).map(|(number, incident): (usize, _)| ChartMark {
            at: columns.position(incident.begin()),
            time: self.moment(incident.begin()),
            role: MarkRole::Onset,
            label: number.to_string(),
        });
        let (failed, _) = self.judged();
        Block::Chart(ChartBlock {
            id: "requests",
            title: format!("Requests {}", columns.name()),
            alt: format!(
                "Column chart of {} requests, of which {} failed, with {}.",
                thousands(i128::from(tally.now.counts.requests())),
                thousands(i128::from(failed)),
                counted(of_length(self.incidents().len()), "incident", "incidents")
            ),
            x: columns.moments(),
            step: columns.step,
            stack,
            limit: None,
            marks: marks.collect(),
            shade: Vec::new(),
            ratio: Some(self.ratio_of_columns()),
            merge: ChartMerge::Sum,
        })
    }

    /// The failure ratio over time, with what the objective allows.
    fn ratio_of_columns(&self) -> ChartRatio {
        let columns = self.tally().columns.iter();
        let allowed = self.options.objective.map(|objective| ErrorBudget::new(objective, 0, 0).allowed_ratio);
        ChartRatio {
            id: "failure_ratio",
            label: "failure ratio",
            values: columns.map(|count| ratio(count.failed, count.failed + count.succeeded)).collect(),
            limit: allowed.map(|value| ChartLimit {
                value,
                label: format!("{}, which the objective allows", as_typed(value)),
            }),
        }
    }

    fn incident_table(&self) -> Block {
        let row = |(number, incident): (i64, &SummarizedIncident)| {
            let detail = incident.detail.as_ref();
            vec![
                Datum::Whole(number),
                Datum::Time(self.moment(incident.begin())),
                Datum::Whole(minutes(incident)),
                Datum::Words(self.product(incident.found.product)),
                incident.found.product.map_or(Datum::Nothing, Datum::Whole),
                Datum::count(incident.failed()),
                ratio(incident.failed(), incident.requests()).into(),
                detail.map_or(Datum::Nothing, |detail| Datum::count(of_length(detail.assessment.hit.len()))),
                detail
                    .and_then(|detail| detail.state)
                    .map_or(Datum::Nothing, |state| Datum::Whole(i64::from(state))),
            ]
        };
        let note = match self.incidents() {
            [] => {
                "In no interval did a product fail far more than on the rest of the day and on other days at that time."
            }
            _ => {
                "Found by the numbers, not by alerts: intervals in which a product failed far more than on the rest of \
                 the day and on other days at that time. Min: how many minutes it lasted. Locked out: keys with at least 2 \
                 failures in it and no success since. Mostly: the most frequent state of the failures."
            }
        };
        Block::Table(TableBlock {
            id: "incidents",
            title: format!("Incidents ({})", self.incidents().len()),
            columns: vec![
                // The marks of the chart have these numbers.
                TableColumn::new("number", "no.", Measure::Code),
                TableColumn::new("begin", "began", Measure::Time),
                TableColumn::new("minutes", "min", Measure::Count),
                TableColumn::new("product", "product", Measure::Text),
                TableColumn::new("product_id", "id", Measure::Code).under(),
                TableColumn::new("failed", "failed", Measure::Count).bar(),
                TableColumn::new("ratio", "ratio", Measure::Ratio).rank(2),
                TableColumn::new("keys", "locked out", Measure::Count).rank(3),
                TableColumn::new("state", "mostly", Measure::Code).rank(4),
            ],
            rows: (1..).zip(self.incidents()).map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: note.to_owned(),
        })
    }

    fn products(&self) -> Block {
        let mut products: Vec<(i64, &ProductTally)> =
            self.tally().products.iter().map(|(id, product)| (*id, product)).collect();
        products.retain(|(_, product)| product.now.requests() > 0 || self.before().is_some());
        products.sort_by_key(|(id, product)| (std::cmp::Reverse(product.now.requests()), *id));
        let row = |(id, product): (i64, &ProductTally)| {
            let (now, before) = (product.now, product.before);
            let difference =
                now.failure_ratio().zip(before.failure_ratio()).map(|(now, before)| now - before);
            let (all, bad) = product.trend.clone();
            vec![
                Datum::Words(self.material.lookup.product_name(id)),
                Datum::Whole(id),
                Datum::count(now.requests()),
                self.change(now.requests(), before.requests()).into(),
                now.failure_ratio().into(),
                difference.filter(|_| self.before().is_some()).into(),
                Datum::count(product.active_keys),
                Datum::Trend { all, bad },
            ]
        };
        let change = if self.is_per_day() { "per day" } else { "change" };
        Block::Table(TableBlock {
            id: "products",
            title: "Products".to_owned(),
            columns: vec![
                TableColumn::new("product", "product", Measure::Text),
                TableColumn::new("product_id", "id", Measure::Code).under(),
                TableColumn::new("requests", "requests", Measure::Count),
                TableColumn::new("change", change, Measure::Change).rank(2),
                TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio),
                TableColumn::new("points", "points", Measure::Points).rank(3),
                TableColumn::new("active_keys", "active keys", Measure::Count).rank(1),
                TableColumn::new("trend", "over time", Measure::Trend),
            ],
            rows: products.into_iter().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: String::new(),
        })
    }

    fn seat_limits(&self) -> Block {
        let lookup = &self.material.lookup;
        let level = self.session.identities.level();
        let row = |(product, key, refused): (i64, &str, &RefusedKey)| {
            let license = lookup.license(product, key);
            let seats = license.and_then(|license| license.max_machines).filter(|seats| *seats > 0);
            vec![
                license.and_then(|license| lookup.customer(license, level)).into(),
                Datum::Words(shown_key(key, &self.session.identities)),
                Datum::Words(lookup.product_name(product)),
                Datum::Whole(product),
                seats.map_or(Datum::Nothing, Datum::Whole),
                Datum::count(refused.times),
                Datum::count(of_length(refused.machines.len())),
                Datum::count(of_length(refused.days.len())),
            ]
        };
        let rows: Vec<Vec<Datum>> = self.refused().into_iter().map(row).collect();
        let denied = lookup.denied();
        let how = match (rows.len(), level) {
            (0, _) => "Nobody was refused a seat.",
            (_, IdentityLevel::Masked) => {
                "A machine is refused once, from its first refusal until it gets a seat or is silent for an hour. Keys are \
                 pseudonyms; --identities=customers shows companies."
            }
            _ => {
                "A machine is refused once, from its first refusal until it gets a seat or is silent for an hour."
            }
        };
        let note = [how, denied.as_str()].into_iter().filter(|text| !text.is_empty());
        let note = note.collect::<Vec<_>>().join(" ");
        Block::Table(TableBlock {
            id: "seat_limits",
            title: format!("Customers who found no free seat ({})", rows.len()),
            columns: vec![
                TableColumn::new("customer", "customer", Measure::Text),
                TableColumn::new("key", "key", Measure::Code).rank(3),
                TableColumn::new("product", "product", Measure::Text).rank(1),
                TableColumn::new("product_id", "id", Measure::Code).under(),
                TableColumn::new("seats", "seats", Measure::Count),
                TableColumn::new("refused", "times refused", Measure::Count).bar(),
                TableColumn::new("machines", "machines", Measure::Count).rank(4),
                TableColumn::new("days", "days", Measure::Count).rank(2),
            ],
            rows,
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note,
        })
    }

    fn steps(&self) -> Option<Block> {
        let access = &self.options.document.access_flags;
        let command = |rest: String| format!("cryptolens-exporter {rest}{access}");
        let mut items = Vec::new();
        let largest = self.incidents().iter().max_by_key(|incident| (incident.failed(), -incident.begin()));
        if let Some(incident) = largest {
            let at = rfc3339(incident.begin(), Zone::UTC);
            let product = product_flag(incident.found.product.or(self.options.product));
            items.push(StepItem {
                text: "The largest incident in detail: who was hit, and what was changed before:".to_owned(),
                command: command(format!("report incident --at={at}{product}")),
            });
        }
        let mut by_product: BTreeMap<i64, u64> = BTreeMap::new();
        for (product, _, refused) in self.refused().into_iter().filter(|(product, ..)| *product > 0) {
            *by_product.entry(product).or_default() += refused.times;
        }
        let most = by_product.iter().max_by_key(|(product, times)| (**times, std::cmp::Reverse(**product)));
        if let Some((product, _)) = most {
            let flags = self.material.time.flags();
            items.push(StepItem {
                text: format!("Seats of {} over time, by customer:", self.product(Some(*product))),
                command: command(format!("audit seats --product={product} {flags}")),
            });
        }
        let steps = StepBlock { id: "next", title: "Next", items };
        (!steps.items.is_empty()).then_some(Block::Steps(steps))
    }

    fn method(&self) -> Block {
        let tally = self.tally();
        let unknown = match tally.now.counts.unknown {
            0 => String::new(),
            unknown => {
                let rows = counted(unknown, "row is", "rows are");
                format!("; {rows} neither success nor failure and in no ratio")
            }
        };
        let counted_rows = match tally.ids.zip(self.material.count.sha256.as_deref()) {
            Some(((first, last), digest)) => format!(
                "{} of the Web API Log, ids {first} to {last}, each once; sha256 of ids and states {}…{}. A failure has third \
                 digit 2{unknown}.",
                counted(tally.rows, "row", "rows"),
                digest.get(..8).unwrap_or_default(),
                digest.get(60..).unwrap_or_default(),
            ),
            None => format!(
                "0 of the {} rows of the Web API Log that were read are in this time.",
                thousands(i128::from(self.material.reading.rows))
            ),
        };
        let threshold = Threshold::of_minutes(steps(self.window().seconds(), 60));
        let mut items = vec![
            ("Counted", counted_rows),
            (
                "Active",
                "a key or machine with a validation, activation, deactivation or data object request that succeeded. GetKey \
                 leaves no row, so a customer whose application only calls GetKey is not seen."
                    .to_owned(),
            ),
            (
                "Incident",
                format!(
                    "per product and day, the interval whose failure ratio departs most from the rest: at least twice the ratio, \
                     5 failures, and a log-likelihood ratio of {:.0}; and at least twice the failures of this time on the same \
                     weekday of up to two weeks around, so that a change in the mix of traffic is none (where there is no such \
                     day, on other days; else by the rest of the time). A machine that fails alone is none either, nor a key or an \
                     address of which no second machine fails again{}; and refused seats (state 2024) are left out.",
                    threshold.value(),
                    match self.material.count.scanned.alone {
                        0 => String::new(),
                        alone => format!(" ({})", counted(alone, "failure", "failures")),
                    }
                ),
            ),
            (
                "Refused",
                "one machine, from its first refusal until it gets a seat or is silent for an hour; retries are not counted."
                    .to_owned(),
            ),
        ];
        if self.is_per_day() {
            items.push((
                "Per day",
                "counts of times that differ in length are divided by their days; a day on which clocks are set is one."
                    .to_owned(),
            ));
        }
        items.push((
            "Not known",
            "what the applications showed, rows that the API reveals later, and keys on a local license server."
                .to_owned(),
        ));
        let denied = self.material.lookup.denied();
        if !denied.is_empty() {
            items.push(("Not allowed", denied));
        }
        Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
    }
}

/// now / before - 1; none where there was nothing before.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
fn plain_change(now: u64, before: u64) -> Option<f64> {
    (before > 0).then(|| now as f64 / before as f64 - 1.0)
}

/// A part that was typed as a percentage, with the digits that it needs: `5%`, `0.1%`.
fn as_typed(part: f64) -> String {
    let percent = (part * 1e8).round() / 1e6;
    format!("{percent}%")
}

/// A failure ratio with as many digits as tell it from what is allowed: one, and four at most.
fn precisely(ratio: f64, budget: ErrorBudget) -> String {
    let with = |digits: usize, part: f64| format!("{:.digits$}%", part * 100.0);
    let differs = |digits: &usize| with(*digits, ratio) != with(*digits, budget.allowed_ratio);
    match (1..=4).find(differs) {
        Some(digits) if digits > 1 => with(digits, ratio),
        _ => words::percent(ratio),
    }
}

/// How long an incident lasted.
fn minutes(incident: &SummarizedIncident) -> i64 {
    (incident.seconds() + 30) / 60
}

/// Who was refused a seat most often: `sum` of `all` times, on some days each.
fn most_refused(names: &[String], sum: u64, (all, days): (u64, &[u64])) -> Prose {
    let verb = if names.len() == 1 { "was" } else { "were" };
    let is_all = sum == all;
    let who = enumerated(names);
    let text = Prose::default().strong(if is_all {
        format!("Only {who} {verb} refused a seat")
    } else {
        format!("{} {verb} refused a seat most often", capitalised_name(&who))
    });
    let together = if names.len() == 1 { "" } else { "together " };
    let how_often =
        if is_all { times(sum) } else { format!("{} of {} times", thousands(sum), thousands(all)) };
    if sum == 1 {
        return text.plain(format!(": {how_often}."));
    }
    text.plain(format!(": {together}{how_often}, on {}.", counted_each(days, ("day", "days"))))
}

/// Up to three names, or two of them and how many more.
fn enumerated(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, third] => format!("{first}, {second} and {third}"),
        [first, second, more @ ..] => format!("{first}, {second} and {} more", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_missed_by_one_failure_more_than_is_allowed() {
        for (objective, failed, judged, is_missed) in [
            (95.0, 50, 1000, false),
            (95.0, 51, 1000, true),
            (99.9, 1, 1000, false),
            (99.9, 2, 1000, true),
            (99.99, 30, 300_000, false),
            (99.99, 31, 300_000, true),
            (100.0, 0, 1000, false),
            (100.0, 1, 1000, true),
            (0.0, 1000, 1000, false),
        ] {
            let budget = ErrorBudget::new(objective, failed, judged);
            assert_eq!(budget.is_missed(), is_missed, "{objective}, {failed} of {judged}");
        }
        let budget = ErrorBudget::new(95.0, 16_188, 284_048);
        assert_eq!(budget.used(16_188).map(|used| (used * 1000.0).round() / 10.0), Some(114.0));
        assert_eq!(ErrorBudget::new(100.0, 1, 10).used(1), None);
    }

    /// "5.0% failed, 5.0% is allowed" says nothing of an objective that was missed.
    #[test]
    fn a_ratio_near_the_objective_has_the_digits_that_tell_them_apart() {
        let shown = |objective: f64, failed: u64| {
            let budget = ErrorBudget::new(objective, failed, 106_673);
            let ratio = ratio(failed, 106_673).unwrap_or_default();
            (precisely(ratio, budget), as_typed(budget.allowed_ratio))
        };
        let expected = |ratio: &str, allowed: &str| (ratio.to_owned(), allowed.to_owned());
        assert_eq!(shown(95.0, 5375), expected("5.04%", "5%"));
        assert_eq!(shown(95.0, 5334), expected("5.0003%", "5%"));
        assert_eq!(shown(95.0, 6000), expected("5.6%", "5%"));
        assert_eq!(shown(99.9, 108), expected("0.101%", "0.1%"));
        assert_eq!(shown(100.0, 0), expected("0.0%", "0%"));
    }

    #[test]
    fn who_was_refused_as_often_as_the_others_is_named_with_them() {
        let shown = |numbers: &[u16], sum: u64, all: u64, days: &[u64]| {
            let names: Vec<String> = numbers.iter().map(|number| format!("customer {number}")).collect();
            most_refused(&names, sum, (all, days)).words()
        };
        for (found, expected) in [
            (
                shown(&[402], 14, 144, &[11]),
                "Customer 402 was refused a seat most often: 14 of 144 times, on 11 days.",
            ),
            (
                shown(&[402, 457], 28, 144, &[11, 12]),
                "Customer 402 and customer 457 were refused a seat most often: together 28 of 144 times, on 11 and 12 days.",
            ),
            (
                shown(&[402, 457, 444], 42, 144, &[7, 7, 7]),
                "Customer 402, customer 457 and customer 444 were refused a seat most often: together 42 of 144 times, on 7 \
                 days each.",
            ),
            (
                shown(&[1, 2, 3, 4], 4, 5, &[1, 1, 1, 1]),
                "Customer 1, customer 2 and 2 more were refused a seat most often: together 4 of 5 times, on 1 day each.",
            ),
            (shown(&[402], 4, 4, &[2]), "Only customer 402 was refused a seat: 4 times, on 2 days."),
            (
                shown(&[1, 2], 3, 3, &[2, 1]),
                "Only customer 1 and customer 2 were refused a seat: together 3 times, on 2 days and 1 day.",
            ),
            (shown(&[402], 1, 1, &[1]), "Only customer 402 was refused a seat: once."),
        ] {
            assert_eq!(found, expected);
        }
    }
}

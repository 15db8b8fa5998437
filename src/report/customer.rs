//! `report customer KEY`: what does this customer see?
//!
//! The requests of one key: the last success, failures by state, machines, seats, and the changes
//! of the key. KEY is a whole key, its pseudonym or its last group. Memory grows with the requests
//! of this key and with the number of distinct keys that are read past.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_util::sync::CancellationToken;

use super::compared::{ReportedTime, reported_time};
use super::count::of_length;
use super::detector::{MinuteCount, NO_FREE_SEAT, Sighting};
use super::document::{
    Block, ChartMark, Datum, Document, Evidence, FigureBlock, FigureItem, FindingBlock, FindingItem, Level,
    LookupState, MarkRole, Measure, MethodBlock, Moment, Period, Prose, StepBlock, StepItem, TableBlock,
    TableColumn, TableExtent,
};
use super::error::ReportError;
use super::identity::IdentityKind;
use super::lookup::Lookup;
use super::objects::{changes, plain};
use super::options::{CustomerOptions, IdentityLevel, ReportAccess};
use super::record::{ObjectRecord, SeenRequest};
use super::render::{Style, words};
use super::request_chart;
use super::session::{ReportSession, product_flag};
use super::source::{ReadingSummary, WindowReader};
use super::text::{capitalised_name, counted};
use super::trail::{SeenKey, Trail, TrailRows, counts};
use super::window::{Window, local, rfc3339};
use super::zone::Zone;
use crate::cryptolens::object_name::{action, resource_type};
use crate::cryptolens::{LicenseKey, LogKind, Outcome, RowFilter, state_code};
use crate::text::thousands;

const SCHEMA: &str = "cryptolens-exporter/report/customer";
/// Failures after the last success from which on a customer counts as locked out.
const LOCKED_OUT: u64 = 2;
/// Failures without a success that ended matter from this long on, in seconds, and from this many on: whoever
/// fails for less tries again, and two or three in a row happen by chance.
const LEAST_LOCKOUT: i64 = 600;
const LEAST_IN_LOCKOUT: u64 = 5;

/// Writes the report.
pub(super) async fn customer(
    options: &CustomerOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let shown = &options.document;
    let session = ReportSession::new(access, &shown.presentation, stop.clone())?;
    let now = session.now(LogKind::WebApi).await;
    let time = reported_time(&options.bounds, options.length, now)?;
    let output = super::DocumentOutput::new(shown, session.identities.is_full())?;
    let source = session.source("Web API Log", Some(time.window), time.window.zone);
    let material = read(options, &session, &source, time).await;
    source.progress.done();
    let report = CustomerReport { material: material?, session: &session, options };
    let document = report.document();
    let style = Style { screen: session.screen, top: shown.top, table: shown.table.as_deref() };
    output.write(&document, style, &stop).await
}

struct CustomerMaterial {
    time: ReportedTime,
    trail: Trail,
    seen: SeenKey,
    reading: ReadingSummary,
    /// Rows of the period of all keys.
    rows_read: u64,
    lookup: Lookup,
    changes: Vec<ObjectRecord>,
}

async fn read(
    options: &CustomerOptions,
    session: &ReportSession,
    source: &WindowReader,
    time: ReportedTime,
) -> Result<CustomerMaterial, ReportError> {
    let window = time.window;
    let filter = RowFilter { product_id: options.product, ..RowFilter::default() };
    let mut trail = Trail::new(window);
    let mut known: HashMap<(i64, String), bool> = HashMap::new();
    let mut rows_read = 0;
    let add = |rows: Vec<SeenRequest>| {
        for row in rows {
            let Some(key) = row.key.as_deref() else { continue };
            rows_read += u64::from(row.time.is_some_and(|time| window.contains(time)));
            // A pseudonym costs a digest, so that each key is judged once.
            let is_meant = match known.get(&(row.product_id, key.to_owned())) {
                Some(is_meant) => *is_meant,
                None => {
                    let is_meant = session.pseudonyms.is_key(&options.key, key);
                    known.insert((row.product_id, key.to_owned()), is_meant);
                    is_meant
                }
            };
            if is_meant {
                trail.add(row);
            }
        }
        None
    };
    let newest = source.begin_newest_first::<SeenRequest>(&filter, window.from).await?;
    let reading = source.newest_first(newest, window.from, add).await?;
    trail.finish();
    let time = ReportedTime { log_begins: reading.log_begins(&window), ..time };
    let mut lookup = Lookup::default();
    lookup.products(source, session).await?;
    let seen = match trail.keys.as_slice() {
        [seen] => seen.clone(),
        [] => unseen(options, session, (source, &mut lookup)).await?,
        several => {
            let several: Vec<(i64, String)> =
                several.iter().map(|seen| (seen.product_id, seen.key.clone())).collect();
            return Err(ambiguous(session, &several));
        }
    };
    lookup.licenses(source, seen.product_id, &[seen.key.as_str()]).await?;
    lookup.companies(source, session.identities.level()).await?;
    let license = lookup.license(seen.product_id, &seen.key);
    let ids: Option<Vec<i64>> =
        license.map(|license| [Some(license.id), license.global_id].into_iter().flatten().collect());
    let changes = match ids {
        Some(ids) => {
            let first = session.objects_first_code;
            // Objects of other kinds have numbers of their own, which may be the same.
            let is_of_license = |row: &ObjectRecord| {
                row.created.is_some_and(|time| window.contains(time))
                    && resource_type(row.resource_type, first) == "license_key"
                    && row.affected_object_id.is_some_and(|id| ids.contains(&id))
            };
            lookup.changes(source, window.from, window.to, is_of_license).await?
        }
        None => Vec::new(),
    };
    Ok(CustomerMaterial { time, trail, seen, reading, rows_read, lookup, changes })
}

/// A key without a request in the period: known to the API, or bad usage.
async fn unseen(
    options: &CustomerOptions,
    session: &ReportSession,
    (source, lookup): (&WindowReader, &mut Lookup),
) -> Result<SeenKey, ReportError> {
    let is_meant = |key: &str| session.pseudonyms.is_key(&options.key, key);
    let found = lookup.find_key(source, options.product, &options.key, is_meant).await?;
    match found.as_slice() {
        [(product_id, key)] => {
            Ok(SeenKey { product_id: *product_id, key: key.clone(), ..SeenKey::default() })
        }
        [] => Err(ReportError::Usage(format!(
            "KEY: the log of this time has no such key{}",
            lookup.without_key()
        ))),
        several => Err(ambiguous(session, several)),
    }
}

fn ambiguous(session: &ReportSession, keys: &[(i64, String)]) -> ReportError {
    ReportError::Usage(format!(
        "KEY: {} keys are called like this: {}; give the pseudonym, or --product",
        keys.len(),
        session.candidates(keys)
    ))
}

struct CustomerReport<'a> {
    material: CustomerMaterial,
    session: &'a ReportSession,
    options: &'a CustomerOptions,
}

/// How the customer stands at the end of the time, by the rows. Unless that is now, nobody knows what
/// came after it.
struct Standing {
    last_success: Option<Sighting>,
    /// Failures after the last success. A refused seat is none, as everywhere else.
    failed_since: u64,
    first_failure_since: Option<i64>,
    /// Requests that found no free seat.
    refused: u64,
}

impl Standing {
    const fn is_locked_out(&self) -> bool {
        self.failed_since >= LOCKED_OUT
    }
}

/// Failures without a success, until one came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lockout {
    failures: u64,
    /// The first failure and the last one, in Unix seconds.
    from: i64,
    to: i64,
    next_success: i64,
}

impl Lockout {
    const fn seconds(&self) -> i64 {
        self.to - self.from
    }
}

/// The lockout of rows in order of time that has the most failures; none where each was short. At night
/// two failures may be hours apart. Failures that no success followed are none, because they have not ended.
fn worst_lockout(rows: impl Iterator<Item = Sighting>) -> Option<Lockout> {
    let (mut worst, mut run): (Option<Lockout>, Option<Lockout>) = (None, None);
    for row in rows {
        if row.has_failed() {
            let (from, failures) = run.map_or((row.time, 0), |run| (run.from, run.failures));
            run = Some(Lockout { failures: failures + 1, from, to: row.time, next_success: row.time });
        } else if row.outcome == Outcome::Success {
            let ended = run.take().map(|run| Lockout { next_success: row.time, ..run });
            let ended =
                ended.filter(|run| run.failures >= LEAST_IN_LOCKOUT && run.seconds() >= LEAST_LOCKOUT);
            let rank = |run: &Lockout| (run.failures, run.seconds());
            let is_worse = |run: &Lockout| worst.as_ref().is_none_or(|worst| rank(run) > rank(worst));
            worst = ended.filter(is_worse).or(worst);
        }
    }
    worst
}

impl CustomerReport<'_> {
    /// True while the time is not over.
    const fn is_live(&self) -> bool {
        self.material.time.is_live
    }

    /// The log that is read, of which another product's rows are no part.
    const fn log(&self) -> &'static str {
        if self.options.product.is_some() { "the log of this product" } else { "the log" }
    }

    fn window(&self) -> Window {
        self.material.trail.window
    }

    fn zone(&self) -> Zone {
        self.window().zone
    }

    fn rows(&self) -> TrailRows<'_> {
        self.material.trail.rows()
    }

    fn license(&self) -> Option<&LicenseKey> {
        self.material.lookup.license(self.material.seen.product_id, &self.material.seen.key)
    }

    fn level_of_identities(&self) -> IdentityLevel {
        self.session.identities.level()
    }

    fn key(&self) -> String {
        self.session.identities.show(IdentityKind::Key, &self.material.seen.key)
    }

    /// The customer as far as the identities name one.
    fn name(&self) -> String {
        let lookup = &self.material.lookup;
        let customer =
            self.license().and_then(|license| lookup.customer(license, self.level_of_identities()));
        customer.map_or_else(|| self.key(), |customer| format!("{customer} ({})", self.key()))
    }

    fn product(&self) -> String {
        self.material.lookup.product_name(self.material.seen.product_id)
    }

    fn moment(&self, at: i64) -> Moment {
        Moment { at, zone: self.zone() }
    }

    fn standing(&self) -> Standing {
        let rows = self.rows();
        let is_success = |row: &Sighting| row.outcome == Outcome::Success;
        let last_success = rows.iter().filter(is_success).last();
        let is_since = |row: &Sighting| {
            last_success.as_ref().is_none_or(|success| (row.time, row.id) > (success.time, success.id))
        };
        let failures = rows.iter().filter(|row| row.has_failed() && is_since(row));
        Standing {
            last_success,
            failed_since: of_length(failures.clone().count()),
            first_failure_since: failures.clone().next().map(|row| row.time),
            refused: of_length(rows.in_no_ratio().1),
        }
    }

    fn document(&self) -> Document {
        let (time, window) = (&self.material.time, self.window());
        let period = Period::new((window.from, window.to), window.zone, time.label(), !self.is_live());
        let mut document = self.session.document(SCHEMA, "Customer report", period, &self.options.document);
        document.scope.product_id = Some(self.material.seen.product_id);
        document.scope.key = Some(self.key());
        let standing = self.standing();
        let (_, judged) = counts(self.rows().iter());
        let is_odd = judged.failed > 0 || standing.refused > 0 || time.log_begins_after().is_some();
        document.level = match (standing.is_locked_out(), is_odd) {
            (true, _) if self.is_live() => Level::Problem,
            (true, _) | (_, true) => Level::Notice,
            (false, false) => Level::Fine,
        };
        document.headline = self.headline(&standing, judged);
        let product = format!("Product {}, {}.", self.material.seen.product_id, self.product());
        document.lead =
            std::iter::once(product).chain(time.coverage(self.log())).collect::<Vec<_>>().join(" ");
        self.evidence(&mut document);
        document.blocks.push(self.figures(&standing, judged));
        document.blocks.push(self.findings(&standing));
        document.blocks.push(self.chart(&standing));
        document.blocks.push(self.states());
        document.blocks.push(self.machines());
        document.blocks.extend(self.changes());
        document.blocks.push(self.steps(&standing));
        document.blocks.push(self.method());
        document
    }

    fn headline(&self, standing: &Standing, judged: MinuteCount) -> String {
        let (product, zone, time) = (self.product(), self.zone(), &self.material.time);
        let when = time.when();
        let clock = |at: i64| time.minute(at);
        if let Some(begins) = time.log_begins_after() {
            let (name, log, begins) = (self.name(), self.log(), clock(begins));
            return format!("Nothing is known of {name} {when}: {log} begins at {begins}");
        }
        let name = capitalised_name(&self.name());
        match (&standing.last_success, standing.failed_since) {
            _ if self.rows().is_empty() => format!("{name} sent no request for {product} {when}"),
            (None, LOCKED_OUT..) => {
                format!(
                    "{name} did not get through to {product} {when}: all {} requests failed",
                    thousands(i128::from(judged.failed))
                )
            }
            (Some(row), failed @ LOCKED_OUT..) => {
                let state = if self.is_live() {
                    format!("is locked out of {product}")
                } else {
                    let end = clock(self.window().to);
                    format!("was locked out of {product} at the end of this time ({end})")
                };
                format!(
                    "{name} {state}: {} failures since the last success, {} {zone}",
                    thousands(i128::from(failed)),
                    clock(row.time)
                )
            }
            (Some(row), _) => format!(
                "{name} got through to {product} at {} {zone}; {} of {} requests failed",
                clock(row.time),
                thousands(i128::from(judged.failed)),
                thousands(i128::from(judged.all))
            ),
            (None, _) if standing.refused > 0 && judged.all == 0 => format!(
                "{name} got no seat of {product} {when}: {} found none free",
                counted(standing.refused, "request", "requests")
            ),
            (None, _) => format!("{name} had no success with {product} {when}"),
        }
    }

    fn evidence(&self, document: &mut Document) {
        document.read = Evidence {
            looked_up: self.material.lookup.states(),
            ..self.material.trail.evidence(&self.material.reading)
        };
    }

    fn figures(&self, standing: &Standing, judged: MinuteCount) -> Block {
        let last = standing.last_success.map(|row| self.moment(row.time));
        let machines: BTreeSet<u32> = self.rows().iter().filter_map(|row| row.machine).collect();
        let mut items = vec![
            FigureItem::new("last_success", "Last success", last.into(), Measure::Time),
            FigureItem::new(
                "failed_since",
                "Failures since",
                Datum::count(standing.failed_since),
                Measure::Count,
            )
            .bad_if(standing.is_locked_out()),
            FigureItem::new("failed", "Requests failed", Datum::count(judged.failed), Measure::Count)
                .note(format!("of {}", thousands(i128::from(judged.all)))),
            FigureItem::new("machines", "Machines", Datum::count(of_length(machines.len())), Measure::Count),
        ];
        let seats = self.license().and_then(|license| license.max_machines);
        let refusals =
            FigureItem::new("refusals", "No free seat", Datum::count(standing.refused), Measure::Count);
        let limit = match seats {
            Some(seats) if seats > 0 => counted(seats.unsigned_abs(), "seat", "seats"),
            Some(_) => "no limit of seats".to_owned(),
            None => String::new(),
        };
        items.push(refusals.note(match (standing.refused, limit.as_str()) {
            (0, _) => limit,
            (_, "") => "requests with retries".to_owned(),
            (_, limit) => format!("requests with retries; {limit}"),
        }));
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn findings(&self, standing: &Standing) -> Block {
        let mut items = Vec::new();
        let finding = |id, label, text: Prose, basis: &str| FindingItem {
            id,
            label,
            text,
            basis: basis.to_owned(),
            facts: Vec::new(),
        };
        let text = match (standing.last_success, standing.first_failure_since) {
            (Some(row), Some(first)) => Prose::default()
                .plain("Last success at ")
                .strong(words::minute(self.moment(row.time)))
                .plain(format!(
                    " (row {}, state {}); the first failure after it came at {}.",
                    row.id,
                    row.state,
                    words::minute(self.moment(first))
                )),
            (Some(row), None) => Prose::default()
                .plain("Last success at ")
                .strong(words::minute(self.moment(row.time)))
                .plain(format!(" (row {}, state {}); nothing failed after it.", row.id, row.state)),
            (None, _) => Prose::default().plain("No success in this time."),
        };
        items.push(finding("last", if self.is_live() { "Now" } else { "At the end" }, text, ""));
        items.extend(self.lockout());
        items.push(finding(
            "license",
            "License",
            self.license_in_words(),
            "GetKey leaves no row in the log.",
        ));
        if self.material.lookup.state(LogKind::Objects.endpoint()) == LookupState::Denied {
            let text = Prose::default().plain("Changes are not known: the token may not call GetObjectLog.");
            items.push(finding("changes", "Changes", text, ""));
        }
        Block::Findings(FindingBlock { id: "findings", title: "What is known".to_owned(), items })
    }

    /// The worst lockout that is over, of which the last success says nothing.
    fn lockout(&self) -> Option<FindingItem> {
        let lockout = worst_lockout(self.rows().iter())?;
        let clock = |at: i64| self.material.time.minute(at);
        let text = Prose::default()
            .strong(format!("{} without a success", counted(lockout.failures, "failure", "failures")))
            .plain(format!(
                " from {} to {}, for {}; the next success came at {}.",
                clock(lockout.from),
                clock(lockout.to),
                words::duration(lockout.seconds()),
                clock(lockout.next_success)
            ));
        let basis = "The most failures in a row before a success, of those with five or more over ten minutes or more.".to_owned();
        let time = |at: i64| Datum::Time(self.moment(at));
        let facts = vec![
            ("failed", Datum::count(lockout.failures)),
            ("from", time(lockout.from)),
            ("to", time(lockout.to)),
            ("next_success", time(lockout.next_success)),
        ];
        Some(FindingItem { id: "locked_out", label: "Locked out", text, basis, facts })
    }

    fn license_in_words(&self) -> Prose {
        let Some(license) = self.license() else {
            let denied = self.material.lookup.denied();
            let text = if denied.is_empty() { "The API does not know this key.".to_owned() } else { denied };
            return Prose::default().plain(text);
        };
        let mut text = Prose::default();
        if license.is_blocked {
            text = text.strong("Blocked").plain(". ");
        }
        text = match license.expires {
            Some(at) if at <= self.window().to => {
                text.strong(format!("Expired on {}", local(at, self.zone()).format("%-d %B %Y"))).plain(". ")
            }
            Some(at) => text.plain(format!("Expires on {}. ", local(at, self.zone()).format("%-d %B %Y"))),
            None => text,
        };
        let seats = match license.max_machines {
            Some(seats) if seats > 0 => counted(seats.unsigned_abs(), "seat", "seats"),
            _ => "No limit of seats".to_owned(),
        };
        let seen = &self.material.seen;
        let kind = match (seen.is_floating, seen.is_node_locked) {
            (true, _) => ", used as a floating license",
            (false, true) => ", bound to machines",
            (false, false) => "",
        };
        text.plain(format!("{seats}{kind}, by {}.", self.material.lookup.by))
    }

    fn chart(&self, standing: &Standing) -> Block {
        let columns = request_chart::TimeColumns::new(self.window());
        let reading = &self.material.reading;
        let begins = reading.oldest.filter(|_| reading.reaches_beginning);
        let mut block = request_chart::requests(&columns, self.rows().iter(), &self.name(), begins);
        block.alt =
            format!("Column chart of {} requests.", thousands(i128::from(of_length(self.rows().len()))));
        if let Some(first) = standing.first_failure_since.filter(|_| standing.is_locked_out()) {
            let label =
                format!("{} first failure without a success since", words::minute(self.moment(first)));
            let at = columns.position(first);
            block.marks.push(ChartMark { at, time: self.moment(first), role: MarkRole::Onset, label });
        }
        Block::Chart(block)
    }

    fn states(&self) -> Block {
        let mut states: BTreeMap<u16, (u64, i64, i64)> = BTreeMap::new();
        for row in self.rows().iter() {
            let entry = states.entry(row.state).or_insert((0, row.time, row.time));
            entry.0 += 1;
            entry.2 = row.time;
        }
        let mut rows: Vec<(u16, (u64, i64, i64))> = states.into_iter().collect();
        let is_failure = |state: u16| state_code::classify(Some(i64::from(state))).1 == Outcome::Failure;
        rows.sort_by_key(|(state, (requests, ..))| (!is_failure(*state), std::cmp::Reverse(*requests)));
        let hot = (0..rows.len())
            .filter(|index| rows.get(*index).is_some_and(|(state, _)| is_failure(*state)))
            .collect();
        let row = |(state, (requests, first, last)): (u16, (u64, i64, i64))| {
            let (event_type, outcome) = state_code::classify(Some(i64::from(state)));
            let text = self.session.states.get(&state).cloned();
            vec![
                Datum::Whole(i64::from(state)),
                Datum::Words(text.unwrap_or_else(|| {
                    format!("{}, {}", event_type.name().replace('_', " "), outcome.name())
                })),
                Datum::count(requests),
                Datum::Time(self.moment(first)),
                Datum::Time(self.moment(last)),
            ]
        };
        Block::Table(TableBlock {
            id: "states",
            title: "Answers by state".to_owned(),
            columns: vec![
                TableColumn::new("state", "state", Measure::Code),
                TableColumn::new("meaning", "meaning", Measure::Text),
                TableColumn::new("requests", "requests", Measure::Count),
                TableColumn::new("first", "first", Measure::Time).rank(2),
                TableColumn::new("last", "last", Measure::Time).rank(1),
            ],
            rows: rows.into_iter().map(row).collect(),
            hot,
            omitted: 0,
            extent: TableExtent::Top,
            note: String::new(),
        })
    }

    fn machines(&self) -> Block {
        #[derive(Default)]
        struct MachineSoFar {
            requests: u64,
            failed: u64,
            refused: u64,
            last_success: Option<i64>,
            last: i64,
        }
        let mut machines: BTreeMap<Option<u32>, MachineSoFar> = BTreeMap::new();
        for row in self.rows().iter() {
            let machine = machines.entry(row.machine).or_default();
            machine.requests += 1;
            machine.failed += u64::from(row.has_failed());
            machine.refused += u64::from(row.state == NO_FREE_SEAT);
            if row.outcome == Outcome::Success {
                machine.last_success = Some(row.time);
            }
            machine.last = row.time;
        }
        let nameless = machines.remove(&None);
        let mut rows: Vec<(u32, MachineSoFar)> =
            machines.into_iter().filter_map(|(number, machine)| Some((number?, machine))).collect();
        rows.sort_by_key(|(number, machine)| (std::cmp::Reverse(machine.failed + machine.refused), *number));
        let row = |(number, machine): (u32, MachineSoFar)| {
            let code = self.material.trail.machine(number).unwrap_or_default();
            vec![
                Datum::Words(self.session.identities.show(IdentityKind::Machine, code)),
                Datum::count(machine.requests),
                Datum::count(machine.failed),
                Datum::count(machine.refused),
                machine.last_success.map(|at| self.moment(at)).into(),
                Datum::Time(self.moment(machine.last)),
            ]
        };
        let level = match self.level_of_identities() {
            IdentityLevel::Full => "",
            IdentityLevel::Masked | IdentityLevel::Customers => {
                "Machines are pseudonyms; --identities=full shows them."
            }
        };
        let nameless = nameless.map(|machine| {
            let failed = match (machine.requests, machine.failed + machine.refused) {
                (_, 0) => String::new(),
                (1, _) => ", which failed".to_owned(),
                (_, failed) => format!(", of which {} failed", thousands(i128::from(failed))),
            };
            let verb = if machine.requests == 1 { "names" } else { "name" };
            let requests = counted(machine.requests, "request", "requests");
            format!("{requests} {verb} no machine{failed}.")
        });
        let note: Vec<&str> = [nameless.as_deref().unwrap_or_default(), level]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        Block::Table(TableBlock {
            id: "machines",
            title: format!("Machines ({})", rows.len()),
            columns: vec![
                TableColumn::new("machine", "machine", Measure::Text),
                TableColumn::new("requests", "requests", Measure::Count).rank(2),
                TableColumn::new("failed", "failed", Measure::Count).bar(),
                TableColumn::new("refused", "no seat", Measure::Count).rank(1),
                TableColumn::new("last_success", "last success", Measure::Time),
                TableColumn::new("last", "last request", Measure::Time).rank(3),
            ],
            rows: rows.into_iter().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: note.join(" "),
        })
    }

    fn changes(&self) -> Option<Block> {
        if self.material.changes.is_empty() {
            return None;
        }
        let first = self.session.objects_first_code;
        let row = |row: &ObjectRecord| {
            let user = row.performed_by_user_id.as_deref().map(|user| self.session.identities.user(user));
            let fields =
                row.data.as_deref().map(|data| changes(data, &self.session.identities)).unwrap_or_default();
            let fields: Vec<String> = fields
                .iter()
                .map(|change| format!("{} {} → {}", change.field, plain(&change.old), plain(&change.new)))
                .collect();
            vec![
                row.created.map(|at| self.moment(at)).into(),
                user.into(),
                Datum::from(action(row.resource_action, first)),
                Datum::Words(resource_type(row.resource_type, first).replace('_', " ")),
                Datum::Words(fields.join(", ")),
            ]
        };
        Some(Block::Table(TableBlock {
            id: "changes",
            title: "Changes of the license".to_owned(),
            columns: vec![
                TableColumn::new("time", "time", Measure::Time),
                TableColumn::new("user", "user", Measure::Text),
                TableColumn::new("action", "action", Measure::Text).rank(1),
                TableColumn::new("resource", "resource", Measure::Text).rank(2),
                TableColumn::new("changes", "changes", Measure::Text),
            ],
            rows: self.material.changes.iter().rev().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: "The Object Log keeps its rows for 30 days at least.".to_owned(),
        }))
    }

    fn steps(&self, standing: &Standing) -> Block {
        let access = &self.options.document.access_flags;
        let product = product_flag(Some(self.material.seen.product_id));
        let utc = |at: i64| rfc3339(at, Zone::UTC);
        // Where there are rows, so that the product is known there.
        let last = self.rows().last_time().unwrap_or(self.window().to - 1);
        let at = standing.first_failure_since.unwrap_or(last);
        let items = vec![StepItem {
            text: "Is it this customer alone?".to_owned(),
            command: format!("cryptolens-exporter report incident --at={}{product}{access}", utc(at)),
        }];
        Block::Steps(StepBlock { id: "next", title: "Next", items })
    }

    fn method(&self) -> Block {
        let rows = of_length(self.rows().len());
        let counted_rows = match self.material.trail.ids() {
            Some((first, last)) => format!(
                "{} of the Web API Log, ids {first} to {last}, of {} of all keys in this time.",
                counted(rows, "row", "rows"),
                thousands(i128::from(self.material.rows_read))
            ),
            None => format!(
                "0 of the {} rows in this time are of this key.",
                thousands(i128::from(self.material.rows_read))
            ),
        };
        let mut items = vec![
            ("Counted", counted_rows),
            (
                "Locked out",
                "2 failures or more and no success since. A request that found no free seat (state 2024) is no failure.".to_owned(),
            ),
            (
                "Not known",
                "what the application showed, calls of GetKey, which leave no row, and a local license server.".to_owned(),
            ),
        ];
        let denied = self.material.lookup.denied();
        if !denied.is_empty() {
            items.push(("Not allowed", denied));
        }
        Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a customer: at which minute, and how each ended.
    fn rows(outcomes: &[(i64, &str)]) -> impl Iterator<Item = Sighting> {
        let row = |(minute, outcome): &(i64, &str)| {
            let (state, outcome) = match *outcome {
                "fails" => (2020, Outcome::Failure),
                "finds no seat" => (NO_FREE_SEAT, Outcome::Failure),
                _ => (2014, Outcome::Success),
            };
            let (time, product_id) = (minute * 60, 3349);
            Sighting { time, id: time, product_id, key: None, machine: None, address: None, state, outcome }
        };
        outcomes.iter().map(row).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_worst_lockout_is_one_that_a_success_ended() {
        let of = |outcomes: &[(i64, &str)]| worst_lockout(rows(outcomes));
        let lockout = |failures, from: i64, to: i64, next_success: i64| {
            Some(Lockout { failures, from: from * 60, to: to * 60, next_success: next_success * 60 })
        };
        let fails = |minutes: &[i64]| minutes.iter().map(|minute| (*minute, "fails")).collect::<Vec<_>>();
        let works = |minute: i64| vec![(minute, "works")];
        for (outcomes, expected) in [
            ([works(0), fails(&[5, 6, 7, 8, 20]), works(60)].concat(), lockout(5, 5, 20, 60)),
            // A refused seat neither begins nor ends one.
            (
                [
                    vec![(0, "finds no seat")],
                    fails(&[5, 6, 7]),
                    vec![(8, "finds no seat")],
                    fails(&[9, 15]),
                    works(16),
                ]
                .concat(),
                lockout(5, 5, 15, 16),
            ),
            // Too short, or too few.
            ([fails(&[5, 6, 7, 8, 14]), works(60)].concat(), None),
            ([fails(&[5, 20, 40, 50]), works(60)].concat(), None),
            ([fails(&[5, 6, 7]), works(60), fails(&[70, 71, 80]), works(90)].concat(), None),
            // It goes on.
            ([works(0), fails(&[5, 6, 7, 8, 90])].concat(), None),
            // The longer one of two with as many, and the shorter one if it has more.
            (
                [fails(&[0, 1, 2, 3, 15]), works(16), fails(&[20, 21, 22, 23, 50]), works(51)].concat(),
                lockout(5, 20, 50, 51),
            ),
            (
                [fails(&[0, 1, 2, 3, 4, 15]), works(16), fails(&[20, 21, 22, 23, 90]), works(91)].concat(),
                lockout(6, 0, 15, 16),
            ),
        ] {
            assert_eq!(of(&outcomes), expected, "{outcomes:?}");
        }
    }
}

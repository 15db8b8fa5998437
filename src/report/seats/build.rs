//! Makes the document of the audit of a product from what was replayed.

use super::chart::seats_over_time;
use super::history::History;
use super::replay::{KeySeats, ProductReplay};
use crate::cryptolens::LicenseKey;
use crate::report::compared::{ReportedTime, days};
use crate::report::count::{of_length, ratio};
use crate::report::document::{
    Block, Datum, Document, FigureBlock, FigureItem, FindingBlock, FindingItem, Level, Measure, MethodBlock,
    Moment, Period, Prose, StepBlock, StepItem, TableBlock, TableColumn, TableExtent,
};
use crate::report::identity::IdentityKind;
use crate::report::lookup::{Lookup, shown_key};
use crate::report::options::{IdentityLevel, ProductSeatsOptions};
use crate::report::render::words;
use crate::report::session::ReportSession;
use crate::report::source::ReadingSummary;
use crate::report::text::{capitalised_name, counted, counted_each, times};
use crate::report::window::Window;
use crate::text::thousands;

const SCHEMA: &str = "cryptolens-exporter/audit/seats";
const DAY: i64 = 86_400;
/// The log of a product, as the lead and the headline call it.
const LOG: &str = "the log of this product";
/// Seats that were not used in fewer days than these may be needed on another day of the week.
const LEAST_DAYS_UNUSED: f64 = 7.0;

/// Everything that the document is made of.
pub(super) struct SeatMaterial {
    pub(super) time: ReportedTime,
    pub(super) replay: ProductReplay,
    pub(super) sha256: Option<String>,
    pub(super) reading: ReadingSummary,
    /// How long before the period the rows were read, in seconds.
    pub(super) lookback: i64,
    pub(super) lookup: Lookup,
    /// True if GetKeys gave all keys of the product.
    pub(super) all_known: bool,
    /// The history of the key that is drawn.
    pub(super) drawn: Option<(usize, History)>,
}

/// The audit before it is a document.
pub(super) struct SeatAudit<'a> {
    material: &'a SeatMaterial,
    session: &'a ReportSession,
    options: &'a ProductSeatsOptions,
    /// Places of the keys, those refused most often first.
    order: Vec<usize>,
}

/// Seats of a product that have no row of a floating license.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SilentSeats {
    keys: u64,
    seats: u64,
}

impl<'a> SeatAudit<'a> {
    pub(super) fn new(
        material: &'a SeatMaterial,
        session: &'a ReportSession,
        options: &'a ProductSeatsOptions,
    ) -> SeatAudit<'a> {
        let mut audit = SeatAudit { material, session, options, order: Vec::new() };
        let mut order: Vec<usize> = (0..material.replay.keys.len()).collect();
        order.sort_by_key(|place| {
            let seats = material.replay.keys.get(*place);
            let rank = seats.map(|seats| {
                let at_limit = audit.limit(seats).map_or(0, |limit| seats.seconds_at(limit));
                (seats.refusals, at_limit, seats.most())
            });
            (std::cmp::Reverse(rank), seats.map(|seats| seats.key.clone()))
        });
        audit.order = order;
        audit
    }

    fn window(&self) -> Window {
        self.material.time.window
    }

    fn moment(&self, at: i64) -> Moment {
        Moment { at, zone: self.window().zone }
    }

    fn keys(&self) -> impl Iterator<Item = &'a KeySeats> {
        let keys = &self.material.replay.keys;
        self.order.iter().filter_map(move |place| keys.get(*place))
    }

    fn license(&self, seats: &KeySeats) -> Option<&'a LicenseKey> {
        self.material.lookup.license(self.options.product, &seats.key)
    }

    /// The number of seats of a key; none where it is not known, or not limited.
    fn limit(&self, seats: &KeySeats) -> Option<u64> {
        let limit = self.license(seats)?.max_machines?;
        u64::try_from(limit).ok().filter(|limit| *limit > 0)
    }

    fn customer(&self, seats: &KeySeats) -> String {
        let key = (self.options.product, &*seats.key);
        self.material.lookup.customer_or_key(key, &self.session.identities)
    }

    /// The customer with the key, as the table shows both.
    fn customer_with_key(&self, seats: &KeySeats) -> String {
        let (customer, key) = (self.customer(seats), shown_key(&seats.key, &self.session.identities));
        if customer == key { key } else { format!("{customer} ({key})") }
    }

    fn product(&self) -> String {
        self.material.lookup.product_name(self.options.product)
    }

    /// Machines that were refused, each once as long as it waits.
    pub(super) fn refusals(&self) -> u64 {
        self.keys().map(|seats| seats.refusals).sum()
    }

    fn refused_keys(&self) -> usize {
        self.keys().filter(|seats| seats.refusals > 0).count()
    }

    /// The key whose seats are drawn, with its limit: the first one that used any.
    pub(super) fn key_to_draw(&self) -> Option<(usize, String, Option<u64>)> {
        let keys = &self.material.replay.keys;
        let place = self
            .order
            .iter()
            .copied()
            .find(|place| keys.get(*place).is_some_and(|seats| seats.most() > 0 || seats.refusals > 0))?;
        let seats = keys.get(place)?;
        Some((place, seats.key.to_string(), self.limit(seats)))
    }

    pub(super) fn document(&self) -> Document {
        let (time, window) = (&self.material.time, self.window());
        let period = Period::new((window.from, window.to), window.zone, time.label(), !time.is_live);
        let mut document = self.session.document(SCHEMA, "Seat audit", period, &self.options.document);
        document.scope.product_id = Some(self.options.product);
        let only = self.keys().next().filter(|_| self.options.key.is_some());
        document.scope.key = only.map(|seats| shown_key(&seats.key, &self.session.identities));
        let is_partial = self.material.time.log_begins.is_some();
        document.level = if is_partial || self.refusals() > 0 { Level::Notice } else { Level::Fine };
        document.headline = self.headline();
        document.lead = self.lead();
        self.evidence(&mut document);
        document.blocks.push(self.figures());
        document.blocks.extend(self.findings());
        document.blocks.push(self.table());
        document.blocks.extend(self.chart());
        document.blocks.extend(self.steps());
        document.blocks.push(self.method());
        document
    }

    fn headline(&self) -> String {
        let when = self.material.time.when();
        if let Some(begins) = self.material.time.log_begins_after() {
            let begins = self.material.time.minute(begins);
            return format!(
                "Nothing is known of seats of {} {when}: {LOG} begins at {begins}",
                self.product()
            );
        }
        let (refusals, refused, keys) = (self.refusals(), self.refused_keys(), self.order.len());
        let times = times(refusals);
        if let Some(seats) = self.keys().next().filter(|_| self.options.key.is_some()) {
            let customer = capitalised_name(&self.customer(seats));
            return match refusals {
                0 => format!("{customer} was never refused a seat {when}"),
                _ => format!("{customer} was refused a seat {times} {when}"),
            };
        }
        let customers = self.material.lookup.customers_of(self.options.product, keys);
        match (keys, refused) {
            (0, _) => format!("No request for a floating seat of {} {when}", self.product()),
            (1, 0) => format!("The one {customers} was not refused a seat {when}"),
            (_, 0) => format!("None of {keys} {customers} was refused a seat {when}"),
            (_, refused) => {
                let verb = if refused == 1 { "was" } else { "were" };
                format!("{refused} of {keys} {customers} {verb} refused a seat {when}, {times}")
            }
        }
    }

    fn lead(&self) -> String {
        let mut sentences = vec![format!("Product {}, {}.", self.options.product, self.product())];
        if self.material.replay.rows == 0 {
            sentences.push(format!(
                "0 of the {} rows that were read are in this time.",
                thousands(i128::from(self.material.reading.rows))
            ));
        }
        sentences.extend(self.material.time.coverage(LOG));
        sentences.join(" ")
    }

    fn evidence(&self, document: &mut Document) {
        let (replay, reading) = (&self.material.replay, &self.material.reading);
        let read = &mut document.read;
        read.rows = replay.rows;
        read.first_id = replay.ids.map(|(first, _)| first);
        read.last_id = replay.ids.map(|(_, last)| last);
        read.sha256.clone_from(&self.material.sha256);
        read.oldest = replay.oldest.map(|at| self.moment(at));
        read.skipped = vec![
            ("without_id", reading.without_id),
            ("without_time", replay.without_time),
            ("without_machine", replay.without_machine),
            ("leases_without_end", replay.leases_without_end),
            ("met_again", reading.duplicates),
        ];
        read.looked_up = self.material.lookup.states();
    }

    /// All seats of the keys whose limit is known.
    fn seats(&self) -> Option<u64> {
        let limits: Vec<u64> = self.keys().filter_map(|seats| self.limit(seats)).collect();
        (!limits.is_empty()).then(|| limits.iter().sum())
    }

    fn figures(&self) -> Block {
        let keys = of_length(self.order.len());
        let seats = self.seats();
        let with_limit = self.keys().filter(|key| self.limit(key).is_some()).count();
        let by = self.material.lookup.by;
        let seats_note = match (with_limit, by) {
            (0, _) if keys == 0 => String::new(),
            (0, "") => "not known".to_owned(),
            (0, by) => format!("without a limit, by {by}"),
            (with_limit, by) => {
                format!("of {}, by {by} today", counted(of_length(with_limit), "key", "keys"))
            }
        };
        let (most, since) = self.material.replay.most();
        let peak_note = match (most, seats.and_then(|seats| ratio(most, seats))) {
            (0, _) => String::new(),
            (_, None) => words::minute(self.moment(since)),
            (_, Some(part)) => {
                format!("{} of all seats, {}", words::percent(part), words::minute(self.moment(since)))
            }
        };
        let at_limit =
            self.keys().filter(|key| self.limit(key).is_some_and(|limit| key.seconds_at(limit) > 0));
        let at_limit = of_length(at_limit.count());
        let at_limit = if with_limit == 0 { Datum::Nothing } else { Datum::count(at_limit) };
        let refused = of_length(self.refused_keys());
        let requests: u64 = self.keys().map(|key| key.requests).sum();
        let gave_up: u64 = self.keys().map(|key| key.gave_up).sum();
        let mut waits: Vec<i64> = self.keys().flat_map(|key| key.waits.iter().copied()).collect();
        let refusal_note = match requests {
            0 => String::new(),
            requests => counted(requests, "request with retries", "requests with retries"),
        };
        let gave_up = match gave_up {
            0 => String::new(),
            1 => "1 time the machine gave up".to_owned(),
            times => format!("{} times the machine gave up", thousands(i128::from(times))),
        };
        let of_customers = format!("of {}", counted(keys, "customer", "customers"));
        // Of one customer, the headline says it.
        let keys_refused = self.options.key.is_none().then(|| {
            FigureItem::new("keys_refused", "Refused", Datum::count(refused), Measure::Count)
                .note(of_customers.clone())
                .bad_if(refused > 0)
        });
        let mut items = vec![
            FigureItem::new("seats", "Seats", seats.map_or(Datum::Nothing, Datum::count), Measure::Count)
                .note(seats_note),
            FigureItem::new("peak", "Most in use", Datum::count(most), Measure::Count).note(peak_note),
            FigureItem::new("keys_at_limit", "At their limit", at_limit, Measure::Count).note(of_customers),
        ];
        items.extend(keys_refused);
        items.extend([
            FigureItem::new("refusals", "Times refused", Datum::count(self.refusals()), Measure::Count)
                .note(refusal_note)
                .bad_if(refused > 0),
            FigureItem::new(
                "wait",
                "Median wait",
                median(&mut waits).map_or(Datum::Nothing, Datum::Whole),
                Measure::Duration,
            )
            .note(gave_up),
        ]);
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn findings(&self) -> Option<Block> {
        let items: Vec<FindingItem> =
            [self.too_few(), self.not_explained(), self.unused()].into_iter().flatten().collect();
        let title = "What stands out".to_owned();
        (!items.is_empty()).then_some(Block::Findings(FindingBlock { id: "findings", title, items }))
    }

    fn too_few(&self) -> Option<FindingItem> {
        let mut refused = self.keys().filter(|seats| seats.refusals > 0);
        let first = refused.next()?;
        let second = refused.next().filter(|second| second.refusals * 3 >= first.refusals);
        let all = self.refusals();
        let (at, column) = match self.material.replay.columns().step {
            DAY => ("on", ("day", "days")),
            step if step < DAY => ("in", ("hour", "hours")),
            _ => ("in", ("month", "months")),
        };
        let (sum, saved) = match second {
            Some(second) => (first.refusals + second.refusals, first.saved_by_one + second.saved_by_one),
            None => (first.refusals, first.saved_by_one),
        };
        let who: Vec<&KeySeats> = std::iter::once(first).chain(second).collect();
        let names: Vec<String> = who.iter().map(|seats| self.customer(seats)).collect();
        let columns: Vec<u64> = who.iter().map(|seats| of_length(seats.refused_columns())).collect();
        let text = Prose::default().strong(capitalised_name(&names.join(" and "))).plain(format!(
            " had {}, {at} {}. With one more seat{}, ",
            part_of_refusals(sum, all),
            counted_each(&columns, column),
            if second.is_some() { " each" } else { "" }
        ));
        let text = text.plain(match saved {
            1 if sum == 1 => "it would not have happened.".to_owned(),
            saved if saved == sum => "none of them would have happened.".to_owned(),
            saved => format!("{} of them would not have happened.", thousands(i128::from(saved))),
        });
        let basis =
            "The extra seat goes to whoever is refused first, and is free again when one of today's seats would be."
                .to_owned();
        let facts = vec![("refusals", Datum::count(sum)), ("saved_by_one", Datum::count(saved))];
        Some(FindingItem { id: "too_few", label: "Too few seats", text, basis, facts })
    }

    fn not_explained(&self) -> Option<FindingItem> {
        let odd: Vec<(&KeySeats, u64)> = self
            .keys()
            .filter_map(|seats| Some((seats, seats.refused_below(self.limit(seats)?))))
            .filter(|(_, refusals)| *refusals > 0)
            .collect();
        let refusals: u64 = odd.iter().map(|(_, refusals)| refusals).sum();
        if odd.is_empty() {
            return None;
        }
        let names: Vec<String> = odd.iter().take(3).map(|(seats, _)| self.customer(seats)).collect();
        let more = odd.len().checked_sub(3).filter(|more| *more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        let text = Prose::default()
            .strong(counted(of_length(odd.len()), "customer", "customers"))
            .plain(format!(
                " ({}{more}) {} refused a seat {} while this history shows free seats. Their limit may have been lower then, or \
                 another rule refused them.",
                names.join(", "),
                if odd.len() == 1 { "was" } else { "were" },
                times(refusals),
            ));
        let basis = "The Object Log has changes of a limit for 30 days at least.".to_owned();
        let facts = vec![("refusals", Datum::count(refusals))];
        Some(FindingItem { id: "not_explained", label: "Not explained", text, basis, facts })
    }

    fn unused(&self) -> Option<FindingItem> {
        if days(&self.material.time.covered()) < LEAST_DAYS_UNUSED {
            return None;
        }
        let with_limit: Vec<(u64, u64)> =
            self.keys().filter_map(|seats| Some((seats.most(), self.limit(seats)?))).collect();
        let half: Vec<&(u64, u64)> =
            with_limit.iter().filter(|(most, limit)| *limit > 1 && most * 2 <= *limit).collect();
        let unused: u64 = half.iter().map(|(most, limit)| limit.saturating_sub(*most)).sum();
        let silent = self.silent();
        if half.is_empty() && silent == SilentSeats::default() {
            return None;
        }
        let mut text = Prose::default();
        if !half.is_empty() {
            text = text
                .plain(format!(
                    "{} never used more than half of their seats; ",
                    counted(of_length(half.len()), "customer", "customers")
                ))
                .strong(counted(unused, "seat", "seats"))
                .plain(" of theirs were never in use.");
        }
        if silent.keys > 0 {
            let blank = if half.is_empty() { "" } else { " " };
            text = text.plain(format!(
                "{blank}{} with {} sent no request for a floating seat: bound to machines, or not used at all.",
                counted(silent.keys, "further key", "further keys"),
                counted(silent.seats, "seat", "seats"),
            ));
        }
        let facts = vec![
            ("keys", Datum::count(of_length(half.len()))),
            ("seats", Datum::count(unused)),
            ("silent_keys", Datum::count(silent.keys)),
            ("silent_seats", Datum::count(silent.seats)),
        ];
        let basis = "Limits are those of today.".to_owned();
        Some(FindingItem { id: "unused", label: "Unused seats", text, basis, facts })
    }

    /// Keys in force that GetKeys lists, and that have no row of a floating license.
    fn silent(&self) -> SilentSeats {
        let mut silent = SilentSeats::default();
        if !self.material.all_known {
            return silent;
        }
        let seen: std::collections::BTreeSet<&str> = self.keys().map(|seats| &*seats.key).collect();
        for license in self.material.lookup.licenses_of(self.options.product) {
            let is_over = license.expires.is_some_and(|expires| expires <= self.window().from);
            let seats = license.max_machines.and_then(|seats| u64::try_from(seats).ok());
            let Some(seats) = seats.filter(|seats| *seats > 0) else { continue };
            if !is_over && !license.is_blocked && !seen.contains(license.key.as_str()) {
                silent.keys += 1;
                silent.seats += seats;
            }
        }
        silent
    }

    fn table(&self) -> Block {
        let level = self.session.identities.level();
        let row = |seats: &KeySeats| {
            let (license, limit) = (self.license(seats), self.limit(seats));
            let customer = license.and_then(|license| self.material.lookup.customer(license, level));
            let at_limit = limit.map(|limit| seats.seconds_at(limit)).filter(|seconds| *seconds > 0);
            let unused = limit.map(|limit| limit.saturating_sub(seats.most()));
            vec![
                customer.into(),
                Datum::Words(shown_key(&seats.key, &self.session.identities)),
                limit.map_or(Datum::Nothing, Datum::count),
                Datum::count(seats.most()),
                unused.map_or(Datum::Nothing, Datum::count),
                at_limit.map_or(Datum::Nothing, Datum::Whole),
                Datum::count(seats.refusals),
                Datum::count(of_length(seats.machines.len())),
                median(&mut seats.waits.clone()).map_or(Datum::Nothing, Datum::Whole),
                Datum::Levels(seats.columns.iter().map(|column| strip_level(*column, limit)).collect()),
            ]
        };
        let rows: Vec<Vec<Datum>> = self.keys().map(row).collect();
        let denied = self.material.lookup.denied();
        let who = match level {
            IdentityLevel::Masked => "Keys are pseudonyms; --identities=customers shows companies.",
            IdentityLevel::Customers => "Machines and people are not shown.",
            IdentityLevel::Full => "",
        };
        // Only a page has the column over time, and so the sentence on its colours.
        let how = "Refused: one machine, from its first refusal until it gets a seat or is silent for an hour. Over time: pale \
                   up to half of the seats, blue above half, orange full, red refused.";
        let explained = if rows.is_empty() { ["", ""] } else { [how, who] };
        let note: Vec<&str> =
            explained.into_iter().chain([denied.as_str()]).filter(|text| !text.is_empty()).collect();
        Block::Table(TableBlock {
            id: "keys",
            title: "Customers by how often they were refused".to_owned(),
            columns: vec![
                TableColumn::new("customer", "customer", Measure::Text),
                TableColumn::new("key", "key", Measure::Code).rank(3).small(),
                TableColumn::new("seats", "seats", Measure::Count),
                TableColumn::new("most", "most used", Measure::Count).rank(1),
                TableColumn::new("unused", "never used", Measure::Count).rank(4),
                TableColumn::new("at_limit", "at the limit", Measure::Duration).rank(2),
                TableColumn::new("refused", "refused", Measure::Count).bar(),
                TableColumn::new("machines", "machines", Measure::Count).rank(6),
                TableColumn::new("wait", "median wait", Measure::Duration).rank(5),
                TableColumn::new("over_time", "over time", Measure::Strip),
            ],
            rows,
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: note.join(" "),
        })
    }

    fn chart(&self) -> Option<Block> {
        let (place, history) = self.material.drawn.as_ref()?;
        let seats = self.material.replay.keys.get(*place)?;
        Some(Block::Chart(seats_over_time(history, &self.customer(seats))))
    }

    fn steps(&self) -> Option<Block> {
        let access = &self.options.document.access_flags;
        let (product, flags) = (self.options.product, self.material.time.flags());
        let command = |rest: String| format!("cryptolens-exporter {rest} {flags}{access}");
        let refused = self.keys().find(|seats| seats.refusals > 0 && !seats.key.is_empty())?;
        // A key is a text of the log, which a shell could take for anything: its pseudonym is not.
        let key = self.session.pseudonyms.show(IdentityKind::Key, &refused.key);
        let items = vec![
            StepItem {
                text: format!(
                    "What {} sees, who was refused a seat {}:",
                    self.customer_with_key(refused),
                    times(refused.refusals)
                ),
                command: command(format!("report customer {key} --product={product}")),
            },
            StepItem {
                text: "Whether a limit was changed in this time:".to_owned(),
                command: command("report changes --resource=license_key".to_owned()),
            },
        ];
        Some(Block::Steps(StepBlock { id: "next", title: "Next", items }))
    }

    fn method(&self) -> Block {
        let replay = &self.material.replay;
        let evidence = match replay.ids.zip(self.material.sha256.as_deref()) {
            Some(((first, last), digest)) => format!(
                "{} of the Web API Log, ids {first} to {last}, states 2014, 2015, 2024 and 6011, and {} before for seats held at \
                 the start. The same time gives the same figures and the same digest: sha256 {}…{}.",
                counted(replay.rows, "row", "rows"),
                words::spelled_duration(self.material.lookback),
                digest.get(..8).unwrap_or_default(),
                digest.get(60..).unwrap_or_default(),
            ),
            None => format!(
                "0 of the {} rows of the Web API Log that were read are in this time.",
                thousands(i128::from(self.material.reading.rows))
            ),
        };
        let odd = replay.without_machine + replay.leases_without_end;
        let mut items = vec![
            ("Evidence", evidence),
            (
                "A seat",
                "is held from an activation until its release or the end of its lease; rows count by time, then id.".to_owned(),
            ),
            (
                "Limit",
                "is the one of today; the Object Log has changes of it for 30 days at least.".to_owned(),
            ),
            (
                "Not seen",
                "keys on a local license server, and applications that hold a lease longer than any that was met (--lookback)."
                    .to_owned(),
            ),
        ];
        if odd > 0 {
            items.push((
                "Not counted",
                format!(
                    "{} without a machine code or of a lease without an end hold no seat here.",
                    counted(odd, "row", "rows")
                ),
            ));
        }
        let denied = self.material.lookup.denied();
        if !denied.is_empty() {
            items.push(("Not allowed", denied));
        }
        Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
    }
}

/// The level of a column in a strip: 0 nothing, 1 up to half, 2 above half, 3 full, 4 refused.
fn strip_level((most, refused): (u32, bool), limit: Option<u64>) -> u8 {
    let most = u64::from(most);
    match (refused, most, limit) {
        (true, ..) => 4,
        (_, 0, _) => 0,
        (_, _, None) => 1,
        (_, most, Some(limit)) if most >= limit => 3,
        (_, most, Some(limit)) if most * 2 > limit => 2,
        _ => 1,
    }
}

/// How many of all refusals some are, after "had".
fn part_of_refusals(sum: u64, all: u64) -> String {
    match (sum, all) {
        (1, 1) => "the only refusal".to_owned(),
        (2, 2) => "both refusals".to_owned(),
        (sum, all) if sum == all => format!("all {} refusals", thousands(all)),
        (sum, all) => format!("{} of the {} refusals", thousands(sum), thousands(all)),
    }
}

/// The middle one of several durations; of two in the middle the shorter.
fn median(waits: &mut [i64]) -> Option<i64> {
    waits.sort_unstable();
    waits.get(waits.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_a_strip_says_how_full_it_was() {
        for (column, limit, expected) in [
            ((0, false), Some(4), 0),
            ((2, false), Some(4), 1),
            ((3, false), Some(4), 2),
            ((4, false), Some(4), 3),
            ((5, false), Some(4), 3),
            ((0, true), Some(4), 4),
            ((9, false), None, 1),
        ] {
            assert_eq!(strip_level(column, limit), expected, "{column:?} of {limit:?}");
        }
    }

    #[test]
    fn a_part_of_the_refusals_is_a_number_of_them_or_all() {
        for (sum, all, expected) in [
            (1, 1, "the only refusal"),
            (2, 2, "both refusals"),
            (13, 13, "all 13 refusals"),
            (18, 1026, "18 of the 1,026 refusals"),
            (1, 2, "1 of the 2 refusals"),
        ] {
            assert_eq!(part_of_refusals(sum, all), expected);
        }
    }

    #[test]
    fn the_median_is_one_of_the_waits() {
        for (mut waits, expected) in
            [(vec![], None), (vec![7], Some(7)), (vec![9, 1], Some(1)), (vec![3, 9, 1], Some(3))]
        {
            assert_eq!(median(&mut waits), expected);
        }
    }
}

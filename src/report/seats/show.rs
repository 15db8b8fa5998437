//! The audit of one key for a spreadsheet, and as a document.

use super::model::{Audit, Holder, Line};
use crate::report::document::{
    Block, Datum, Document, FigureBlock, FigureItem, FindingBlock, FindingItem, Level, Measure, Prose,
    TableBlock, TableColumn, TableExtent,
};
use crate::report::error::ReportError;
use crate::report::log_report::{LogReport, count, method, name_or};
use crate::report::render::words;
use crate::report::spreadsheet::{Cell, maybe_number, number, write};
use crate::report::text::counted;

impl LogReport for Audit {
    const TITLE: &'static str = "Seat audit of one key";

    /// The whole history, a row for each entry.
    fn csv(&self) -> Result<String, ReportError> {
        let header =
            ["time", "action", "machine", "friendly_name", "expires", "overdraft", "used", "free", "over"];
        write(
            &header,
            self.history.iter().map(|line| {
                [
                    Cell::from(line.time.to_string()),
                    line.action.into(),
                    line.machine.clone().into(),
                    line.friendly_name.clone().into(),
                    line.expires.map(|expires| expires.to_string()).into(),
                    // A truth value, which is no text.
                    number(line.overdraft),
                    number(line.used),
                    maybe_number(line.free),
                    maybe_number(line.over),
                ]
            }),
        )
    }

    fn fill(&self, document: &mut Document) {
        let is_tight = self.counts.refusals > 0 || self.overdraft.machines > 0;
        document.level = if is_tight { Level::Notice } else { Level::Fine };
        document.headline = self.headline();
        document.lead = format!("Product {}, key {}. {}", self.product_id, self.key, self.notes());
        document.scope.product_id = Some(self.product_id);
        document.scope.key = Some(self.key.clone());
        document.blocks.push(self.figures());
        if !self.is_empty() {
            document.blocks.push(self.findings());
            document.blocks.push(Block::Chart(self.over_time.clone()));
            document.blocks.push(Block::Table(self.holders()));
            document.blocks.push(Block::Table(self.trail()));
        }
        document.blocks.push(self.method());
    }
}

impl Audit {
    fn headline(&self) -> String {
        if self.is_empty() {
            return "The log holds nothing about seats of this license in this time".to_owned();
        }
        let most = match self.seats.limit {
            Some(limit) => format!("at most {} of {limit} in use", counted(self.used.most, "seat", "seats")),
            None => format!("at most {} in use", counted(self.used.most, "seat", "seats")),
        };
        match self.counts.refusals {
            0 => format!("Nobody was refused a seat; {most}"),
            refusals => format!(
                "{} of {} found no free seat; {most}",
                counted(refusals, "request", "requests"),
                counted(self.refused.machines, "machine", "machines")
            ),
        }
    }

    /// What a reader needs to know to judge the numbers.
    fn notes(&self) -> String {
        let mut notes = Vec::new();
        if self.seats.limit.is_some() && self.seats.source == "GetKey" {
            notes.push(
                "The limit is the one of now; if it was another one in this time, give it as --max-machines."
                    .to_owned(),
            );
        }
        let odd = &self.not_counted;
        for (rows, what) in [
            (self.read.rows_without_id, "without an id, and not counted"),
            (odd.rows_without_time, "without a time, and not counted"),
            (odd.rows_without_machine, "without a machine code, so that nobody knows whose seat it was"),
            (odd.leases_without_end, "of a lease without an end, and holds no seat here"),
            (
                self.refused.with_free_seats,
                "a refusal while seats were free here: the limit may have been another one",
            ),
        ] {
            if rows > 0 {
                notes.push(format!("{} {what}.", counted(rows, "entry was", "entries were")));
            }
        }
        notes.join(" ")
    }

    fn figures(&self) -> Block {
        let (used, counts) = (&self.used, &self.counts);
        let limit = self.seats.limit.map_or(Datum::Nothing, Datum::count);
        let is_limited = self.seats.limit.is_some();
        let limit_note = if is_limited { "by" } else { "not limited, by" };
        let at_limit = self.seconds_at_limit.map_or(Datum::Nothing, Datum::Whole);
        let beyond = self.seconds_over_limit.filter(|seconds| *seconds > 0);
        let beyond =
            beyond.map(|seconds| format!("beyond it for {}", words::duration(seconds))).unwrap_or_default();
        let most_beyond = self.overdraft.most.filter(|most| *most > 0);
        let most_beyond = most_beyond.map(|most| format!(", {most} at a time")).unwrap_or_default();
        let items = vec![
            FigureItem::new("seats", "Seats", limit, Measure::Count)
                .note(format!("{limit_note} {}", self.seats.source)),
            count("peak", "Most in use at once", used.most)
                .note(format!("first at {}", words::shown(&Datum::Time(used.most_since), Measure::Instant))),
            FigureItem::new("at_limit", "At the limit", at_limit, Measure::Duration).note(beyond),
            count("refusals", "Refusals", counts.refusals)
                .note(format!("of {}", counted(self.refused.machines, "machine", "machines")))
                .bad_if(counts.refusals > 0),
            count("overdraft", "Overdraft machines", self.overdraft.machines)
                .note(format!(
                    "{}{most_beyond}",
                    counted(self.overdraft.heartbeats, "heartbeat", "heartbeats")
                ))
                .bad_if(self.overdraft.machines > 0),
        ];
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn findings(&self) -> Block {
        let (used, counts) = (&self.used, &self.counts);
        let item = |id, label, text: String| {
            let (text, basis) = (Prose::default().plain(text), String::new());
            FindingItem { id, label, text, basis, facts: Vec::new() }
        };
        let in_use = format!(
            "{} at the start, {} at the end, {:.2} on average.",
            used.at_start, used.at_end, used.average
        );
        let entries = format!(
            "{}, {}, {}, {}.",
            counted(counts.activations, "activation", "activations"),
            counted(counts.verifications, "verification", "verifications"),
            counted(counts.deactivations, "deactivation", "deactivations"),
            counted(counts.expiries, "expiry", "expiries"),
        );
        let items = vec![item("used", "In use", in_use), item("entries", "Entries", entries)];
        Block::Findings(FindingBlock { id: "findings", title: "What happened".to_owned(), items })
    }

    fn holders(&self) -> TableBlock {
        let row = |holder: &Holder| {
            vec![
                holder.machine.as_str().into(),
                name_or(holder.friendly_name.as_ref(), ""),
                Datum::Time(holder.since),
                Datum::Time(holder.expires),
                if holder.overdraft { "yes" } else { "" }.into(),
            ]
        };
        let columns = vec![
            TableColumn::new("machine", "machine", Measure::Text),
            TableColumn::new("friendly_name", "friendly name", Measure::Text).rank(2),
            TableColumn::new("since", "since", Measure::Instant).rank(1),
            TableColumn::new("expires", "lease ends", Measure::Instant),
            TableColumn::new("overdraft", "overdraft", Measure::Text).rank(3),
        ];
        let rows: Vec<Vec<Datum>> = self.holders.iter().map(row).collect();
        let note = if rows.is_empty() { "Nobody." } else { "" };
        TableBlock::new("holders", "Who holds a seat at the end", columns, rows)
            .extent(TableExtent::Whole)
            .note(note)
    }

    fn trail(&self) -> TableBlock {
        let row = |line: &Line| {
            let beyond = if line.overdraft { " (overdraft)" } else { "" };
            vec![
                Datum::Time(line.time),
                Datum::Words(format!("{}{beyond}", line.action)),
                name_or(line.machine.as_ref(), ""),
                name_or(line.friendly_name.as_ref(), ""),
                Datum::count(line.used),
                line.free.map_or(Datum::Nothing, Datum::count),
                line.over.map_or(Datum::Nothing, Datum::count),
            ]
        };
        let columns = vec![
            TableColumn::new("time", "time", Measure::Instant),
            TableColumn::new("action", "action", Measure::Text),
            TableColumn::new("machine", "machine", Measure::Text),
            TableColumn::new("friendly_name", "friendly name", Measure::Text).rank(3),
            TableColumn::new("used", "used", Measure::Count),
            TableColumn::new("free", "free", Measure::Count).rank(1),
            TableColumn::new("over", "over", Measure::Count).rank(2),
        ];
        TableBlock::new(
            "history",
            "History, without verifications",
            columns,
            self.changes().map(row).collect(),
        )
        .extent(TableExtent::Whole)
        .note("--format=csv has the verifications, too.")
    }

    fn method(&self) -> Block {
        let read = &self.read;
        let seat = "is held from an activation until its release or the end of its lease; entries count by time, then id.";
        let lease = read.longest_lease_seconds.map_or_else(
            || "no lease was met.".to_owned(),
            |seconds| {
                format!(
                    "the longest lease is {}; entries were read from as long before on at least.",
                    words::duration(seconds)
                )
            },
        );
        let names = if self.identities == "masked" {
            "key, machines and names are pseudonyms; --identities=full shows them."
        } else {
            "key, machines and names are as in the log."
        };
        let definitions = [("A seat", seat.to_owned()), ("Leases", lease), ("Names", names.to_owned())];
        method("Web API Log", (read.rows, read.pages, read.rows_met_again), read.oldest, definitions)
    }
}

//! Shows a reconciliation: all counts for programs, the differences for people.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use super::compare::{ComparedCount, CountVerdict, OtherSides};
use crate::report::error::ReportError;
use crate::report::spreadsheet::{self, Cell, maybe, maybe_number, number};
use crate::report::text::{Column, Screen, counted, thousands};

const SCHEMA: &str = "cryptolens-exporter/reconcile";
const SCHEMA_VERSION: u32 = 1;

/// All counts of a run.
#[derive(Debug, Serialize)]
pub(super) struct Reconciliation {
    schema: &'static str,
    schema_version: u32,
    account: String,
    /// The first day, and the day after the last.
    from: NaiveDate,
    to: NaiveDate,
    /// The sides that the log was compared with.
    against: Vec<&'static str>,
    /// How many counts have each verdict.
    verdicts: BTreeMap<&'static str, u64>,
    unexplained: u64,
    counts: Vec<ComparedCount>,
}

impl Reconciliation {
    pub(super) fn new(
        account: String,
        (from, to): (NaiveDate, NaiveDate),
        sides: OtherSides<'_>,
        counts: Vec<ComparedCount>,
    ) -> Reconciliation {
        let mut verdicts = BTreeMap::new();
        let mut unexplained = 0;
        for count in &counts {
            *verdicts.entry(count.verdict.name()).or_default() += 1;
            unexplained += u64::from(count.unexplained);
        }
        Reconciliation {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            account,
            from,
            to,
            against: [("ledger", sides.ledger.is_some()), ("vendor", sides.vendor.is_some())]
                .into_iter()
                .filter_map(|(name, is_compared)| is_compared.then_some(name))
                .collect(),
            verdicts,
            unexplained,
            counts,
        }
    }

    /// The number of counts whose difference has no explanation.
    pub(super) const fn unexplained(&self) -> u64 {
        self.unexplained
    }

    fn is_against(&self, side: &str) -> bool {
        self.against.contains(&side)
    }

    pub(super) fn text(&self, screen: Screen) -> String {
        let title = match (self.is_against("ledger"), self.is_against("vendor")) {
            (true, false) => "The Web API Log and the ledger",
            (true, true) => "The Web API Log, the ledger and the vendor's daily counts",
            _ => "The Web API Log and the vendor's daily counts",
        };
        let mut text = format!(
            "{}\naccount {}, {} to {} UTC (not included)\n",
            screen.strong(title),
            self.account,
            self.from,
            self.to
        );
        let compared: u64 = self.of_verdicts(|verdict| verdict != CountVerdict::NotJudged.name());
        if compared == 0 {
            return text + "\nNo side has a count of these days.\n";
        }
        text.push_str(&format!(
            "\n{} compared, {} equal, {} without an explanation.\n",
            counted(compared, "count", "counts"),
            thousands(self.of_verdicts(|verdict| verdict == CountVerdict::Equal.name())),
            thousands(self.unexplained)
        ));
        let listed: Vec<&ComparedCount> =
            self.counts.iter().filter(|count| count.verdict.is_listed()).collect();
        if !listed.is_empty() {
            text.push_str(&format!("\n{}", self.table(&listed, screen)));
        }
        // Whether one of its counts has no explanation, by verdict.
        let mut verdicts: BTreeMap<CountVerdict, bool> = BTreeMap::new();
        for count in self.counts.iter().filter(|count| count.verdict.needs_words()) {
            *verdicts.entry(count.verdict).or_default() |= count.unexplained;
        }
        if !verdicts.is_empty() {
            text.push('\n');
        }
        for (verdict, is_unexplained) in verdicts.into_iter().rev() {
            let name = verdict.name();
            let number = thousands(self.verdicts.get(name).copied().unwrap_or_default());
            let name = if is_unexplained { screen.bad(name) } else { name.to_owned() };
            text.push_str(&format!("{name} ({number}): {}.\n", verdict.meaning()));
        }
        text
    }

    /// How many counts have one of the verdicts.
    fn of_verdicts(&self, is_meant: impl Fn(&str) -> bool) -> u64 {
        self.verdicts.iter().filter(|(name, _)| is_meant(name)).map(|(_, counts)| counts).sum()
    }

    fn table(&self, listed: &[&ComparedCount], screen: Screen) -> String {
        let (has_ledger, has_vendor) = (self.is_against("ledger"), self.is_against("vendor"));
        let mut columns = vec![Column::Number("product"), Column::Text("day"), Column::Text("count")];
        columns.extend(has_ledger.then_some(Column::Number("ledger")));
        columns.push(Column::Number("log"));
        if has_vendor {
            columns.extend([Column::Number("vendor"), Column::Number("difference")]);
        }
        columns.push(Column::Text("verdict"));
        let row = |count: &&ComparedCount| {
            let mut row =
                vec![count.product.to_string(), count.day.to_string(), count.field.name().to_owned()];
            row.extend(has_ledger.then(|| maybe(count.ledger)));
            row.push(count.log.to_string());
            if has_vendor {
                row.extend([maybe(count.vendor), maybe(count.difference)]);
            }
            row.push(count.verdict.name().to_owned());
            row
        };
        screen.table(&columns, listed.iter().map(row))
    }

    pub(super) fn csv(&self) -> Result<String, ReportError> {
        let header =
            ["account", "product", "day", "field", "ledger", "log", "vendor", "difference", "verdict"];
        let rows = self.counts.iter().map(|count| {
            vec![
                Cell::from(self.account.as_str()),
                number(count.product),
                Cell::from(count.day.to_string()),
                Cell::from(count.field.name()),
                maybe_number(count.ledger),
                number(count.log),
                maybe_number(count.vendor),
                maybe_number(count.difference),
                Cell::from(count.verdict.name()),
            ]
        });
        spreadsheet::write(&header, rows)
    }
}

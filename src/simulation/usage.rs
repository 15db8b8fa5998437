//! The Web API Log, whose rows go into the sets of usage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::BEGINNING;
use super::world::{FollowedLog, WorldEntry, WorldKind};
use crate::cryptolens::{IdentityHash, LogKind, Row, Slot, WebApiRow};
use crate::ledger::inline::InlineLedger;
use crate::ledger::tests::{ACCOUNT, options, usage_sets_in};
use crate::ledger::{LedgerOptions, LedgerView};
use crate::tally::SeriesKey as _;
use crate::tally::label::ProductLabel;
use crate::usage::{UsageDay, UsageMember, UsageOptions, UsageSecret, UsageSet, UsageSubject, UsageWindow};

const DAY: i64 = 86_400;

/// The states of rows: mostly of use, some that fail, a refused seat, and one of administration.
const STATES: [i64; 40] = [
    1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 2010, 2011, 2012, 2013, 2014, 2015, 2016, 2017, 6010,
    6011, 6012, 6013, 6014, 6015, 6016, 6017, 8010, 8011, 8012, 8013, 8014, 8015, 1020, 1021, 2020, 2021,
    2022, 2024, 2025, 3010, 3011, 7010,
];
/// The products of a world. So many times the states are more than the rows of a world.
const PRODUCTS: usize = 4;

/// Each row has a product and a state that no other has, so that the tally says how often it was
/// counted. A machine has up to six keys.
fn identity(entry: &WorldEntry) -> (i64, i64, u64, u64) {
    let product = 1 + i64::try_from(entry.number % PRODUCTS).unwrap();
    let state = STATES[entry.number / PRODUCTS];
    let key = u64::try_from(entry.number).unwrap();
    // Spread over the registers of a sketch and the bytes of an exact set.
    (product, state, ((key + 1) << 30) | key, ((key / 6 + 1) << 29) | (key / 6))
}

/// Gives a row of the Web API Log what it is known by.
pub(super) fn fill<R: Row>(row: &mut R, entry: &WorldEntry) {
    let (Some(Slot::LicenseKey(set_key)), Some(Slot::Machine(set_machine))) =
        (R::slot("key"), R::slot("machineCode"))
    else {
        return;
    };
    let (product, state, key, machine) = identity(entry);
    set_key(row, Some(IdentityHash::new(key)));
    set_machine(row, Some(IdentityHash::new(machine)));
    for (name, value) in [("productId", product), ("state", state)] {
        if let Some(Slot::Int(set)) = R::slot(name) {
            set(row, Some(value));
        }
    }
}

/// The Web API Log.
pub(super) struct WebApiWithUsage {
    entries: Vec<WorldEntry>,
}

impl WebApiWithUsage {
    /// The sets of the rows that are counted, by day, product and subject. Without `has_days`, all
    /// days are one.
    fn sets(
        &self,
        counted: &BTreeMap<i64, u64>,
        has_days: bool,
    ) -> BTreeMap<(i64, i64, UsageSubject), UsageSet> {
        let mut sets = BTreeMap::<(i64, i64, UsageSubject), UsageSet>::new();
        for entry in self.entries.iter().filter(|entry| counted.contains_key(&entry.id)) {
            let day = if has_days { (BEGINNING + entry.time).div_euclid(DAY) } else { 0 };
            let (product, state, key, machine) = identity(entry);
            let mut add = |subject, member| {
                sets.entry((day, product, subject)).or_default().extend(UsageMember::new(member));
            };
            // The definition once more, by the digits.
            match (state / 100, state % 100 / 10) {
                (10 | 20 | 60 | 80, 1) => {
                    add(UsageSubject::ActiveKeys, key);
                    add(UsageSubject::ActiveMachines, machine);
                }
                (_, 2) => add(UsageSubject::FailingKeys, key),
                _ => {}
            }
            if state == 2024 {
                add(UsageSubject::RefusedKeys, key);
            }
        }
        sets
    }
}

/// True where the day of a row depends on when it was read, or by which clock.
fn has_no_days(kind: WorldKind) -> bool {
    kind.is(&[WorldKind::FutureTimes, WorldKind::ClockJumps])
}

impl FollowedLog for WebApiWithUsage {
    type Row = WebApiRow;

    const LOG: LogKind = LogKind::WebApi;

    fn new(_: u64, entries: &[WorldEntry]) -> Self {
        WebApiWithUsage { entries: entries.to_vec() }
    }

    fn options(&self, directory: &Path) -> LedgerOptions {
        let usage = UsageOptions {
            hasher: std::sync::Arc::default(),
            secret: Some(UsageSecret::from_bytes([1; 16])),
            ignored_keys: crate::usage::IgnoredKeys::default(),
        };
        LedgerOptions { usage: Some(usage), ..options(directory) }
    }

    fn counted(&self, view: &LedgerView) -> BTreeMap<i64, u64> {
        let committed = view.committed().unwrap();
        let Some(account) = committed.accounts.get(ACCOUNT) else { return BTreeMap::new() };
        let label = |entry: &WorldEntry| {
            let (product, state, ..) = identity(entry);
            [product.to_string(), state.to_string()]
        };
        let ids: BTreeMap<[String; 2], i64> =
            self.entries.iter().map(|entry| (label(entry), entry.id)).collect();
        let states = account.tally.states.iter().filter(|(_, rows)| **rows > 0);
        states
            .map(|(key, rows)| {
                let labels = key.labels();
                (ids[&[&labels[0], &labels[3]].map(|label| label.to_string())], *rows)
            })
            .collect()
    }

    async fn receive(&mut self, _: InlineLedger) {
        std::future::pending().await
    }

    async fn drain(&mut self, _: &InlineLedger) {}

    /// The sets in the file are those of the rows that are counted in it.
    fn fault_at_start(&self, kind: WorldKind, directory: &Path, view: &LedgerView) -> Option<String> {
        let counted = self.counted(view);
        if !has_no_days(kind) {
            let expected = self.sets(&counted, true);
            let expected: BTreeMap<_, Vec<u8>> =
                expected.into_iter().map(|(key, set)| (key, set.to_bytes())).collect();
            let found = usage_sets_in(directory);
            return (found != expected).then(|| format!("{counted:?} are counted, the sets are {found:?}"));
        }
        let mut found = BTreeMap::<(i64, i64, UsageSubject), UsageSet>::new();
        for ((_, product, subject), bytes) in usage_sets_in(directory) {
            found.entry((0, product, subject)).or_default().merge(&UsageSet::from_bytes(&bytes).unwrap());
        }
        (found != self.sets(&counted, false)).then(|| format!("{counted:?} are counted, and others in sets"))
    }

    /// The gauges are those of the rows, and the windows have moved over midnight.
    fn fault_at_end(&self, kind: WorldKind, view: &LedgerView, sealed_by: i64) -> Option<String> {
        let committed = view.committed().unwrap();
        let usage = committed.usage.as_ref().unwrap();
        let Some(shown) = usage.get(ACCOUNT) else { return Some("usage is not shown".to_owned()) };
        let (today, at_least) = (shown.last_day.before(-1), UsageDay::of(sealed_by));
        if today < at_least || (!kind.is(&[WorldKind::ClockJumps]) && today > at_least) {
            return Some(format!("today is {today:?} after {sealed_by} was sealed"));
        }
        if has_no_days(kind) {
            return None;
        }
        let sets = self.sets(&self.counted(view), true);
        for window in UsageWindow::ALL {
            let (first, last) = window.days(today);
            let days = first.number()..=last.number();
            let of = |product: Option<i64>, wanted: UsageSubject| {
                let mut union = UsageSet::default();
                for ((day, of, subject), set) in &sets {
                    if days.contains(day)
                        && product.is_none_or(|product| product == *of)
                        && *subject == wanted
                    {
                        union.merge(set);
                    }
                }
                union.count()
            };
            let machines = (shown.machines_of_account(window), of(None, UsageSubject::ActiveMachines));
            if machines.0 != machines.1 {
                return Some(format!("{machines:?} machines of {window:?}"));
            }
            for (_, product, subject) in sets.keys().collect::<BTreeSet<_>>() {
                let members = shown.of_product(*subject, ProductLabel::Id(*product), window);
                if members != of(Some(*product), *subject) {
                    return Some(format!("{members} {subject:?} of product {product} in {window:?}"));
                }
            }
        }
        None
    }
}

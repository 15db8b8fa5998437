//! From the state of the ledger to families of points: which label sets are shown, under which
//! names, and summed over what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cryptolens::{LogKind, object_name};
use crate::history::DropReason;
use crate::ingest::LogId;
use crate::ledger::{AccountState, Committed, HistoryLogState, HistoryState, LogState, UsageState};
use crate::metrics::{BirthTime, Family, Point, PointChunk, PointValue};
use crate::tally::label::ProductLabel;
use crate::tally::{AccountTally, LimitedFamily, Products, Shown, TallyDelta, families, label};
use crate::usage::{UsageSubject, UsageWindow};

use super::{CommittedPart, LastPart, PointGroup, SnapshotFamily, Targets};

/// Families by name, with their groups.
type Groups = BTreeMap<&'static str, SnapshotFamily>;

/// The committed part of a state. Chunks that are made here, and not by the tally, are those of
/// `last` as far as they are equal.
pub(super) fn part(committed: &Committed, targets: &Targets, last: Option<&LastPart>) -> CommittedPart {
    let nothing = AccountState::default();
    let mut groups = Groups::new();
    let mut sums: BTreeMap<&'static str, BTreeMap<LimitedFamily, Sum>> = BTreeMap::new();
    let mut most: BTreeMap<LimitedFamily, usize> = LimitedFamily::ALL.iter().map(|of| (*of, 0)).collect();
    for (name, status) in &targets.accounts {
        let account = committed.accounts.get(name).unwrap_or(&nothing);
        let logs: Vec<LogKind> = status.logs.keys().copied().collect();
        let tally = with_logs_at_zero(account, &logs);
        for counted in tally.families() {
            if let Some((limited, sets)) = counted.limited {
                let most = most.entry(limited).or_default();
                *most = sets.max(*most);
            }
            let shared = || counted.chunks.iter().map(|chunk| Arc::clone(chunk)).collect::<Vec<_>>();
            match counted.shown {
                Shown::Rows(log) => {
                    let is_complete = account.logs.get(&log).is_some_and(|log| log.first_poll_complete);
                    if !is_complete || !logs.contains(&log) {
                        continue;
                    }
                    if counted.family.name == families::OBJECT_ENTRIES.name {
                        let points = named_objects(&tally, targets.first_object_code);
                        add(&mut groups, counted.family, Some(name), vec![Arc::new(points)]);
                    } else {
                        add(&mut groups, counted.family, Some(name), shared());
                    }
                }
                Shown::Reading => {
                    let chunks = counted.chunks.iter().map(|chunk| of_logs(chunk, &logs)).collect();
                    add(&mut groups, counted.family, Some(name), chunks);
                }
                Shown::Summed => {
                    let sums = sums.entry(counted.family.name).or_default();
                    for (limited, point) in account.tally.overflow.keyed_points() {
                        sums.entry(*limited).or_default().add(point);
                    }
                }
            }
        }
        let products = known_products(last, name, account)
            .unwrap_or_else(|| vec![Arc::new(product_info(&account.products))]);
        add(&mut groups, &families::PRODUCT_INFO, Some(name), products);
        let of_logs = |value: &dyn Fn(&LogState) -> Option<i64>| -> Vec<Arc<PointChunk>> {
            let state = |log: &LogKind| Some((*log, value(account.logs.get(log)?)?));
            let points = logs.iter().filter_map(state);
            vec![Arc::new(points.map(|(log, value)| gauge(&[log.name()], value)).collect())]
        };
        add(&mut groups, &families::CURSOR, Some(name), of_logs(&|log| Some(log.cursor)));
        add(&mut groups, &families::ORIGIN, Some(name), of_logs(&|log| Some(log.origin.mark)));
        add(&mut groups, &families::LAST_ENTRY, Some(name), of_logs(&|log| log.last_entry));
    }
    if let Some(history) = &committed.history {
        add_history(&mut groups, history, targets);
    }
    if let Some(usage) = &committed.usage {
        add_usage(&mut groups, usage, committed, targets);
    }
    let overflow = sums.remove(families::SERIES_OVERFLOW.name).unwrap_or_default();
    let overflow = LimitedFamily::ALL.iter().map(|limited| {
        let sum = overflow.get(limited).copied().unwrap_or_default();
        counter(&[limited.family().name], sum.value, sum.born.unwrap_or_default())
    });
    let size = |sets: usize| i64::try_from(sets).unwrap_or(i64::MAX);
    let series = most.iter().map(|(limited, sets)| gauge(&[limited.family().name], size(*sets)));
    let limit = |of: &LimitedFamily| gauge(&[of.family().name], size(targets.limits.of(of.class())));
    let resets = counter(&[], committed.resets, BirthTime::UNKNOWN);
    for (family, points) in [
        (&families::SERIES_OVERFLOW, overflow.collect::<Vec<_>>()),
        (&families::SERIES, series.collect()),
        (&families::SERIES_LIMIT, LimitedFamily::ALL.iter().map(limit).collect()),
        (&families::LEDGER_RESETS, vec![resets]),
    ] {
        add(&mut groups, family, None, vec![Arc::new(points)]);
    }
    let mut families: Vec<SnapshotFamily> =
        groups.into_values().filter(|family| !family.groups.is_empty()).collect();
    if let Some(last) = last {
        share_equal(&mut families, &last.part.families);
    }
    CommittedPart { families }
}

/// Adds the state of the history: of the logs that are polled, and of each target.
fn add_history(groups: &mut Groups, history: &HistoryState, targets: &Targets) {
    for (name, status) in &targets.accounts {
        let of_logs = |point: &dyn Fn(&'static str, HistoryLogState) -> Option<Point>| {
            let of_log = |log: &LogKind| {
                let id = LogId { account: Arc::clone(name), log: *log };
                point(log.name(), *history.logs.get(&id)?)
            };
            vec![Arc::new(status.logs.keys().filter_map(of_log).collect::<PointChunk>())]
        };
        let origin = of_logs(&|log, state| Some(gauge(&[log], state.origin?)));
        let sealed_until = of_logs(&|log, state| Some(gauge(&[log], state.sealed_until?)));
        let without_time = of_logs(&|log, state| {
            let born = state.origin.map_or(BirthTime::UNKNOWN, BirthTime::at_seconds);
            Some(counter(&[log], state.without_time, born))
        });
        add(groups, &families::HISTORY_ORIGIN, Some(name), origin);
        add(groups, &families::HISTORY_SEALED_UNTIL, Some(name), sealed_until);
        add(groups, &families::HISTORY_WITHOUT_TIME, Some(name), without_time);
    }
    let (mut sent, mut dropped, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    for (name, target) in &history.targets {
        sent.push(counter(&[name], target.counts.sent, BirthTime::UNKNOWN));
        for reason in DropReason::ALL {
            let samples = target.counts.dropped.get(&reason).copied().unwrap_or_default();
            dropped.push(counter(&[name, reason.name()], samples, BirthTime::UNKNOWN));
        }
        pending.push(gauge(&[name], i64::try_from(target.pending).unwrap_or(i64::MAX)));
    }
    add(groups, &families::HISTORY_SENT, None, vec![Arc::new(sent)]);
    add(groups, &families::HISTORY_DROPPED, None, vec![Arc::new(dropped)]);
    add(groups, &families::HISTORY_PENDING, None, vec![Arc::new(pending)]);
}

/// The active keys and machines of the accounts whose Web API Log is polled. Known products are
/// shown at 0 until somebody uses them.
fn add_usage(groups: &mut Groups, usage: &UsageState, committed: &Committed, targets: &Targets) {
    for (name, status) in &targets.accounts {
        let Some(counts) = usage.get(name).filter(|_| status.logs.contains_key(&LogKind::WebApi)) else {
            continue;
        };
        let known = committed.accounts.get(name).map(|account| &account.products);
        let known =
            known.into_iter().flat_map(|products| products.iter()).map(|(id, _)| ProductLabel::Id(id));
        let products: BTreeSet<ProductLabel> = counts.products().into_iter().chain(known).collect();
        let size = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (family, subject) in [
            (&families::ACTIVE_KEYS, UsageSubject::ActiveKeys),
            (&families::ACTIVE_MACHINES, UsageSubject::ActiveMachines),
            (&families::FAILING_KEYS, UsageSubject::FailingKeys),
            (&families::REFUSED_KEYS, UsageSubject::RefusedKeys),
        ] {
            let points = products.iter().flat_map(|product| {
                let id = product.to_string();
                let point = move |window: &UsageWindow| {
                    gauge(&[&id, window.name()], size(counts.of_product(subject, *product, *window)))
                };
                counts.windows.iter().map(point)
            });
            add(groups, family, Some(name), vec![Arc::new(points.collect())]);
        }
        let machines = counts
            .windows
            .iter()
            .map(|window| gauge(&[window.name()], size(counts.machines_of_account(*window))));
        add(groups, &families::ACCOUNT_MACHINES, Some(name), vec![Arc::new(machines.collect())]);
        let day = gauge(&[], counts.last_day.start());
        add(groups, &families::USAGE_DAY, Some(name), vec![Arc::new(vec![day])]);
        add(groups, &families::USAGE_ORIGIN, Some(name), vec![Arc::new(vec![gauge(&[], counts.origin)])]);
    }
}

/// Counters of the reading itself are shown at 0 from the start, before they are rows of the
/// ledger.
fn with_logs_at_zero(account: &AccountState, logs: &[LogKind]) -> AccountTally {
    let mut tally = (*account.tally).clone();
    for log in logs {
        if account.logs.get(log).is_none_or(|log| !log.first_poll_complete) {
            let mut delta = TallyDelta::default();
            delta.create_at_zero(*log, &Products::default(), &tally);
            tally.apply(&delta, |_| BirthTime::UNKNOWN);
        }
    }
    tally
}

/// The points of the logs that are polled, which are all of them unless a log was taken out of the
/// configuration.
fn of_logs(chunk: &Arc<PointChunk>, logs: &[LogKind]) -> Arc<PointChunk> {
    let is_polled = |point: &Point| {
        point.labels.first().is_some_and(|label| logs.iter().any(|log| log.name() == &**label))
    };
    if chunk.iter().all(is_polled) {
        return Arc::clone(chunk);
    }
    Arc::new(chunk.iter().filter(|point| is_polled(point)).cloned().collect())
}

/// A sum over label sets that share a name.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: u64,
    /// The earliest of the births.
    born: Option<BirthTime>,
}

impl Sum {
    fn add(&mut self, point: &Point) {
        if let PointValue::Counter(value) = point.value {
            self.value += value;
        }
        self.born = Some(self.born.map_or(point.born, |born| born.min(point.born)));
    }
}

/// Raw codes that share a name, because neither has one, share a point.
fn named_objects(tally: &AccountTally, first: i64) -> PointChunk {
    let mut sets: BTreeMap<[&str; 2], Sum> = BTreeMap::new();
    for (key, point) in tally.objects.keyed_points() {
        let names = [
            object_name::resource_type(key.resource.map(i64::from), first),
            object_name::action(key.action.map(i64::from), first),
        ];
        sets.entry(names).or_default().add(point);
    }
    sets.into_iter().map(|(names, sum)| counter(&names, sum.value, sum.born.unwrap_or_default())).collect()
}

/// The chunks of an account whose products are the same as before.
fn known_products(
    last: Option<&LastPart>,
    name: &Arc<str>,
    account: &AccountState,
) -> Option<Vec<Arc<PointChunk>>> {
    let last = last?;
    let before = last.committed.accounts.get(name)?;
    let family =
        last.part.families.iter().find(|family| family.family.name == families::PRODUCT_INFO.name)?;
    let group = family.groups.iter().find(|group| group.account.as_ref() == Some(name))?;
    Arc::ptr_eq(&before.products, &account.products).then(|| group.chunks.clone())
}

/// A product without a name is called by its id, so that a join with this family loses nobody.
fn product_info(products: &Products) -> PointChunk {
    let point = |(id, name): (i64, Option<&Arc<str>>)| {
        let id = id.to_string();
        let name = name
            .filter(|name| !name.is_empty())
            .map_or_else(|| id.as_str().into(), |name| label::clean(name));
        gauge(&[&id, &name], 1)
    };
    products.iter().map(point).collect()
}

fn point(labels: &[&str], value: PointValue, born: BirthTime) -> Point {
    let labels = labels.iter().map(|label| Arc::from(*label)).collect();
    Point { labels, value, born, entry_id: None }
}

fn gauge(labels: &[&str], value: i64) -> Point {
    point(labels, PointValue::Gauge(value), BirthTime::UNKNOWN)
}

fn counter(labels: &[&str], value: u64, born: BirthTime) -> Point {
    point(labels, PointValue::Counter(value), born)
}

fn add(
    groups: &mut Groups,
    family: &'static Family,
    account: Option<&Arc<str>>,
    mut chunks: Vec<Arc<PointChunk>>,
) {
    chunks.retain(|chunk| !chunk.is_empty());
    let entry = groups.entry(family.name).or_insert_with(|| SnapshotFamily { family, groups: Vec::new() });
    if !chunks.is_empty() {
        entry.groups.push(PointGroup { account: account.cloned(), chunks });
    }
}

/// Puts the chunk of an earlier part in place of one that is equal, so that what an output made of
/// it is still good.
fn share_equal(families: &mut [SnapshotFamily], before: &[SnapshotFamily]) {
    for family in families {
        let Ok(old) = before.binary_search_by_key(&family.family.name, |old| old.family.name) else {
            continue;
        };
        let Some(old) = before.get(old) else { continue };
        for group in &mut family.groups {
            let Some(old) = old.groups.iter().find(|old| old.account == group.account) else { continue };
            for (chunk, old) in group.chunks.iter_mut().zip(&old.chunks) {
                if !Arc::ptr_eq(chunk, old) && **chunk == **old {
                    *chunk = Arc::clone(old);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::{ObjectRow, Outcome, Product, Rows, WebApiRow};
    use crate::ingest::{Origin, PageStatistics};
    use crate::snapshot::AccountStatus;
    use crate::tally::{Limits, RowCounter};

    fn log_state(first_poll_complete: bool) -> LogState {
        let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
        LogState {
            origin,
            born: None,
            cursor: 9,
            first_poll_complete,
            last_entry: None,
            last_poll: None,
            sealed_until: None,
        }
    }

    fn products() -> Products {
        let mut products = Products::default();
        products.configure(&[Product { id: 7, name: "Seven".to_owned() }]);
        products
    }

    /// An account that counted these rows of one log, as the ledger has it.
    fn account(log: LogKind, rows: &[Rows], complete: bool) -> AccountState {
        let (mut tally, mut products) = (AccountTally::default(), products());
        for (at, rows) in (1..).zip(rows) {
            let mut delta = TallyDelta::default();
            let mut counter = RowCounter {
                committed: &tally,
                delta: &mut delta,
                products: &mut products,
                new_products: &mut Vec::new(),
                limits: &Limits::default(),
            };
            counter.count(rows, 1000, &mut []);
            counter.note(log, &PageStatistics::default());
            if complete {
                delta.create_at_zero(log, &products, &tally);
            }
            tally.apply(&delta, |_| BirthTime::at_seconds(at));
        }
        let logs = BTreeMap::from([(log, log_state(complete))]);
        AccountState { tally: Arc::new(tally), products: Arc::new(products), logs }
    }

    fn targets(logs: &[LogKind], first_object_code: i64) -> Targets {
        let status = AccountStatus {
            logs: logs.iter().map(|log| (*log, Arc::default())).collect(),
            ..AccountStatus::default()
        };
        let accounts = BTreeMap::from([("default".into(), status)]);
        Targets { accounts, first_object_code, ..Targets::default() }
    }

    fn shown(account: AccountState, targets: &Targets) -> CommittedPart {
        let accounts = BTreeMap::from([("default".into(), account)]);
        part(&Committed { accounts, ..Committed::default() }, targets, None)
    }

    fn values(part: &CommittedPart, family: &Family) -> Vec<(String, u64, i64)> {
        let found = part.families.iter().find(|found| found.family.name == family.name);
        let points = found.into_iter().flat_map(SnapshotFamily::points);
        points
            .map(|(_, point)| {
                let value = match point.value {
                    PointValue::Counter(value) => value,
                    PointValue::Gauge(value) => value.unsigned_abs(),
                    PointValue::Histogram(ref histogram) => histogram.count,
                };
                (point.labels.join(" "), value, point.born.millis() / 1000)
            })
            .collect()
    }

    #[test]
    fn row_families_wait_for_the_first_complete_poll() {
        let failed = WebApiRow { id: 5, product_id: 7, state: Some(2024), ..WebApiRow::default() };
        let rows = [Rows::WebApi(vec![failed])];
        let targets = targets(&[LogKind::WebApi], 0);
        let before = shown(account(LogKind::WebApi, &rows, false), &targets);
        assert_eq!(values(&before, &families::WEB_API_ENTRIES), []);
        let after = shown(account(LogKind::WebApi, &rows, true), &targets);
        let entries = values(&after, &families::WEB_API_ENTRIES);
        assert_eq!(entries.len(), 16, "every pair of the known product");
        assert_eq!(entries.iter().map(|(_, value, _)| value).sum::<u64>(), 1);
        let states = values(&after, &families::WEB_API_STATES);
        assert_eq!(states.len(), 11);
        assert!(states.contains(&("7 activation failure 2024".to_owned(), 1, 1)));
        let newest = after.families.iter().flat_map(SnapshotFamily::points).filter_map(|(_, p)| p.entry_id);
        assert_eq!(newest.collect::<Vec<_>>(), [5, 5], "of the failure, in both families");
        assert_eq!(Outcome::Failure.name(), "failure");
    }

    #[test]
    fn object_codes_are_named_when_shown_and_born_with_the_earliest() {
        let object = |resource, action| ObjectRow {
            id: 1,
            resource_type: resource,
            resource_action: action,
            ..ObjectRow::default()
        };
        let rows = [
            Rows::Objects(vec![object(Some(50), Some(1)), object(Some(3), Some(2))]),
            Rows::Objects(vec![object(None, Some(1)), object(Some(0), Some(0))]),
        ];
        let objects = account(LogKind::Objects, &rows, true);
        let named = |first| {
            values(&shown(objects.clone(), &targets(&[LogKind::Objects], first)), &families::OBJECT_ENTRIES)
        };
        let expected = |sets: &[(&str, u64, i64)]| {
            sets.iter().map(|(set, value, born)| ((*set).to_owned(), *value, *born)).collect::<Vec<_>>()
        };
        assert_eq!(
            named(0),
            expected(&[("license_key updated", 1, 1), ("unknown added", 2, 1), ("unspecified none", 1, 2)])
        );
        assert_eq!(
            named(1),
            expected(&[("issued_license added", 1, 1), ("unknown none", 2, 1), ("unknown unknown", 1, 2)])
        );
    }

    #[test]
    fn counters_of_the_reading_are_shown_at_zero_for_each_log_that_is_polled() {
        let part = shown(AccountState::default(), &targets(&[LogKind::Events], 0));
        let sets = |family| {
            values(&part, family).into_iter().map(|(set, value, _)| (set, value)).collect::<Vec<_>>()
        };
        let expected = ["no_id", "below_floor", "too_large"].map(|reason| (format!("events {reason}"), 0));
        assert_eq!(sets(&families::ROWS_SKIPPED), expected);
        assert_eq!(sets(&families::ROWS_LATE), [("events".to_owned(), 0)]);
        assert_eq!(sets(&families::SERIES_LIMIT).len(), 6);
        let other =
            shown(account(LogKind::WebApi, &[Rows::WebApi(vec![])], true), &targets(&[LogKind::Events], 0));
        assert_eq!(values(&other, &families::ROWS_LATE).len(), 1, "only logs that are polled");
    }

    #[test]
    fn what_did_not_change_is_shared() {
        let rows = [Rows::Objects(vec![ObjectRow { id: 1, ..ObjectRow::default() }])];
        let accounts = BTreeMap::from([(Arc::from("default"), account(LogKind::Objects, &rows, true))]);
        let committed = Arc::new(Committed { accounts, ..Committed::default() });
        let targets = Arc::new(targets(&LogKind::ALL, 0));
        let first = Arc::new(part(&committed, &targets, None));
        let last = LastPart { committed: Arc::clone(&committed), targets, part: Arc::clone(&first) };
        let second = part(&committed, &last.targets, Some(&last));
        let chunks = |part: &CommittedPart| {
            let groups = part.families.iter().flat_map(|family| family.groups.clone());
            groups.flat_map(|group| group.chunks).collect::<Vec<_>>()
        };
        assert!(chunks(&first).len() > 10);
        for (old, new) in chunks(&first).iter().zip(chunks(&second)) {
            assert!(Arc::ptr_eq(old, &new), "{old:?}");
        }
    }
}

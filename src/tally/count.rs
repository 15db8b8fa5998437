//! Counts the rows of one page into a delta: each row once in every family that it belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cryptolens::{EventRow, EventType, LogKind, ObjectRow, Rows, WebApiRow, state_code};
use crate::ingest::PageStatistics;
use crate::metrics::Histogram;

use super::account::{AccountTally, TallyDelta};
use super::families::{self, LimitedFamily};
use super::keys::{
    AgeKey, DataObjectKey, EntryKey, EventKey, EventValueKey, LeaseKey, NoLabels, ObjectKey, SkipKey,
    SkipReason, StateKey, StateLabel,
};
use super::label::{self, OTHER, ProductLabel};
use super::limits::Limits;
use super::observer::{EventLabels, RowObserver, WebApiLabels};
use super::products::Products;
use super::series::{Addition, SeriesKey};

/// One account while a transaction is being put together.
#[derive(Debug)]
pub struct RowCounter<'a> {
    /// The counts in the ledger.
    pub committed: &'a AccountTally,
    /// The increments.
    pub delta: &'a mut TallyDelta,
    /// The known products, including those that this transaction adds.
    pub products: &'a mut Products,
    /// Products that the ledger does not have yet.
    pub new_products: &'a mut Vec<i64>,
    /// The limits of the account.
    pub limits: &'a Limits,
}

impl RowCounter<'_> {
    /// Counts rows that were read at `read_at` (Unix seconds), and shows each to the observers.
    pub fn count(&mut self, rows: &Rows, read_at: i64, observers: &mut [&mut dyn RowObserver]) {
        if !rows.is_empty() {
            *self.delta.counted.entry(rows.log()) += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        }
        match rows {
            Rows::WebApi(rows) => self.web_api(rows, read_at, observers),
            Rows::Events(rows) => rows.iter().for_each(|row| self.event(row, read_at, observers)),
            Rows::Objects(rows) => rows.iter().for_each(|row| self.object(row, read_at, observers)),
        }
    }

    /// Counts what was noticed beside the rows.
    pub fn note(&mut self, log: LogKind, statistics: &PageStatistics) {
        let mut skipped = |reason, rows| {
            if rows > 0 {
                *self.delta.skipped.entry(SkipKey { log, reason }) += rows;
            }
        };
        skipped(SkipReason::NoId, statistics.no_id);
        skipped(SkipReason::BelowFloor, statistics.below_floor);
        skipped(SkipReason::TooLarge, statistics.too_large);
        if statistics.duplicate > 0 {
            *self.delta.duplicate.entry(log) += statistics.duplicate;
        }
        if statistics.late > 0 {
            *self.delta.late.entry(log) += statistics.late;
        }
    }

    /// Counts rows of the Web API Log. Rows with the same product and state are alike in all but
    /// their time, lease and value: a page of 1,000 rows has some 20 such groups, and label sets
    /// are looked up once for each of them. The order in which label sets are met stays that of the
    /// rows, because the limits let in those that come first.
    fn web_api(&mut self, rows: &[WebApiRow], read_at: i64, observers: &mut [&mut dyn RowObserver]) {
        let mut numbers: HashMap<(i64, i64), usize, RandomState> = HashMap::default();
        let mut groups: Vec<WebApiGroup> = Vec::new();
        for row in rows {
            // No state and this number are both no state code.
            let number =
                *numbers.entry((row.product_id, row.state.unwrap_or(i64::MIN))).or_insert_with(|| {
                    groups.push(self.web_api_group(row));
                    groups.len() - 1
                });
            let Some(group) = groups.get_mut(number) else { continue };
            group.rows += 1;
            group.newest = group.newest.max(row.id);
            observers.iter_mut().for_each(|observer| observer.web_api(row, &group.labels, read_at));
            if let Some(age) = age(row.time, read_at) {
                group.ages.observe(families::WEB_API_AGE.bounds(), age);
            }
            if let Some(lease) = row.lease_seconds() {
                if group.leases.count == 0 {
                    let (key, limit) = (LeaseKey(group.entry), self.limit(LimitedFamily::Lease));
                    (_, group.lease_over) = self.delta.lease.admit(key, &self.committed.lease, limit);
                }
                group.leases.observe(families::LEASE.bounds(), lease);
            }
            let is_data_object = group.entry.event_type == EventType::DataObject;
            if let Some(value) = row.do_int_value.filter(|value| *value > 0 && is_data_object) {
                let limit = self.limit(LimitedFamily::DataObject);
                let key = DataObjectKey { product: group.entry.product, state: group.state };
                let (values, over) = self.delta.data_object.admit(key, &self.committed.data_object, limit);
                values.value.observe(families::DO_INT.bounds(), value);
                self.overflow(over || group.is_other(), LimitedFamily::DataObject, 1);
            }
        }
        for group in groups {
            self.end_web_api_group(&group);
        }
    }

    /// Finds the label sets that count rows with this row's product and state.
    fn web_api_group(&mut self, row: &WebApiRow) -> WebApiGroup {
        let (event_type, outcome) = state_code::classify(row.state);
        let entry = EntryKey { product: self.product(row.product_id), event_type, outcome };
        let state = StateLabel::of(row.state);
        let limit = self.limit(LimitedFamily::Entries);
        let (_, entry_over) = self.delta.entries.admit(entry, &self.committed.entries, limit);
        let key = StateKey { entry, state };
        let limit = self.limit(LimitedFamily::States);
        let (_, state_over) = self.delta.states.admit(key, &self.committed.states, limit);
        let labels = WebApiLabels {
            product: entry.product,
            entry: if entry_over { entry.overflow() } else { entry },
            state: if state_over { key.overflow() } else { key },
        };
        WebApiGroup {
            entry,
            state,
            labels,
            entry_over,
            state_over,
            rows: 0,
            newest: i64::MIN,
            ages: Histogram::default(),
            leases: Histogram::default(),
            lease_over: false,
        }
    }

    fn end_web_api_group(&mut self, group: &WebApiGroup) {
        let WebApiGroup { entry, labels, rows, .. } = group;
        let counted = Addition { value: *rows, entry_id: entry.wants_entry_id().then_some(group.newest) };
        self.delta.entries.add(labels.entry, &counted);
        self.overflow(group.entry_over || group.is_other(), LimitedFamily::Entries, *rows);
        self.delta.states.add(labels.state, &counted);
        self.overflow(group.state_over || group.is_other(), LimitedFamily::States, *rows);
        if group.leases.count > 0 {
            let key = LeaseKey(*entry);
            let key = if group.lease_over { key.overflow() } else { key };
            self.delta.lease.entry(key).merge(&group.leases);
            self.overflow(group.lease_over || group.is_other(), LimitedFamily::Lease, group.leases.count);
        }
        if group.ages.count > 0 {
            let key = AgeKey { event_type: entry.event_type, outcome: entry.outcome };
            self.delta.web_api_age.entry(key).merge(&group.ages);
        }
    }

    fn event(&mut self, row: &EventRow, read_at: i64, observers: &mut [&mut dyn RowObserver]) {
        let is_observed = !observers.is_empty();
        let product = self.product(row.product_id);
        let event = label::name(&row.event_name);

        let limit = self.limit(LimitedFamily::Events);
        let key = EventKey { product, event: Arc::clone(&event), feature: label::name(&row.feature_name) };
        let mut observed_event = is_observed.then(|| key.clone());
        let (rows, over) = self.delta.events.admit(key, &self.committed.events, limit);
        rows.value += 1;
        observed_event = observed_event.map(|key| if over { key.overflow() } else { key });
        self.overflow(over || product == ProductLabel::Other, LimitedFamily::Events, 1);

        let mut observed_value = None;
        if let Some(value) = row.value.filter(|value| *value > 0) {
            let (currency, one_too_many) = self.currency(&row.currency);
            let limit = self.limit(LimitedFamily::EventValue);
            let key = EventValueKey { product, event, currency };
            let observed = is_observed.then(|| key.clone());
            let (values, over) = self.delta.event_value.admit(key, &self.committed.event_value, limit);
            values.value.observe(families::EVENT_VALUE.bounds(), value);
            observed_value = observed.map(|key| (if over { key.overflow() } else { key }, value));
            let overflowed = over || one_too_many || product == ProductLabel::Other;
            self.overflow(overflowed, LimitedFamily::EventValue, 1);
        }
        if let Some(event) = &observed_event {
            let value = observed_value.as_ref().map(|(key, value)| (key, *value));
            let labels = EventLabels { event, value };
            observers.iter_mut().for_each(|observer| observer.event(row, &labels, read_at));
        }
        if let Some(age) = age(row.time, read_at) {
            self.delta.event_age.entry(NoLabels).observe(families::EVENT_AGE.bounds(), age);
        }
    }

    fn object(&mut self, row: &ObjectRow, read_at: i64, observers: &mut [&mut dyn RowObserver]) {
        let key = ObjectKey::of(row.resource_type, row.resource_action);
        *self.delta.objects.entry(key) += 1;
        observers.iter_mut().for_each(|observer| observer.object(row, key, read_at));
        if let Some(age) = age(row.created, read_at) {
            self.delta.object_age.entry(NoLabels).observe(families::OBJECT_AGE.bounds(), age);
        }
    }

    fn limit(&self, family: LimitedFamily) -> usize {
        self.limits.of(family.class())
    }

    /// The label of a product id: its own while there is room, and 0 for a number that can't be a
    /// product.
    fn product(&mut self, id: i64) -> ProductLabel {
        if id <= 0 {
            return ProductLabel::Id(0);
        }
        match self.products.admit(id, None, self.limits.products) {
            Some(new) => {
                if new {
                    self.new_products.push(id);
                }
                ProductLabel::Id(id)
            }
            None => ProductLabel::Other,
        }
    }

    /// The label of a currency, and whether the limit put it under `other`.
    fn currency(&self, text: &str) -> (Arc<str>, bool) {
        let currency = label::currency(text);
        if currency == OTHER {
            return (OTHER.into(), false);
        }
        let limit = self.limits.currencies;
        match self.delta.event_value.admit_currency(&currency, &self.committed.event_value, limit) {
            Some(currency) => (currency, false),
            None => (OTHER.into(), true),
        }
    }

    fn overflow(&mut self, overflowed: bool, family: LimitedFamily, rows: u64) {
        if overflowed {
            *self.delta.overflow.entry(family) += rows;
        }
    }
}

/// Rows of a page of the Web API Log with the same product and state.
struct WebApiGroup {
    /// The label set by what the rows say.
    entry: EntryKey,
    state: StateLabel,
    /// The label sets that count the rows, after the limits.
    labels: WebApiLabels,
    entry_over: bool,
    state_over: bool,
    rows: u64,
    /// The highest id.
    newest: i64,
    /// How old the rows were when they were read.
    ages: Histogram,
    /// Of the rows that have one.
    leases: Histogram,
    /// Whether they count in the overflow, as the first of them decides.
    lease_over: bool,
}

impl WebApiGroup {
    /// True if the product is one past the limit.
    fn is_other(&self) -> bool {
        self.entry.product == ProductLabel::Other
    }
}

/// A clock that runs behind the server's makes a row look younger than new: that is 0.
fn age(time: Option<i64>, read_at: i64) -> Option<i64> {
    time.map(|time| read_at.saturating_sub(time).max(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cryptolens::{Outcome, Product};
    use crate::metrics::BirthTime;

    #[derive(Default)]
    struct Account {
        committed: AccountTally,
        delta: TallyDelta,
        products: Products,
        new_products: Vec<i64>,
        limits: Limits,
    }

    impl Account {
        fn count(&mut self, rows: Rows) {
            self.counter().count(&rows, 1_000_000, &mut []);
        }

        fn counter(&mut self) -> RowCounter<'_> {
            RowCounter {
                committed: &self.committed,
                delta: &mut self.delta,
                products: &mut self.products,
                new_products: &mut self.new_products,
                limits: &self.limits,
            }
        }

        fn commit(&mut self) {
            let delta = std::mem::take(&mut self.delta);
            self.committed.apply(&delta, |_| BirthTime::at_seconds(1));
        }
    }

    fn web(product_id: i64, state: i64) -> WebApiRow {
        WebApiRow { id: 1, product_id, time: Some(999_990), state: Some(state), ..WebApiRow::default() }
    }

    fn event(product_id: i64, event_name: &str, value: i64, currency: &str) -> EventRow {
        EventRow {
            id: 1,
            product_id,
            time: Some(999_990),
            event_name: event_name.to_owned(),
            feature_name: String::new(),
            value: Some(value),
            currency: currency.to_owned(),
        }
    }

    #[test]
    fn a_web_api_row_is_counted_in_each_of_its_families() {
        let mut account = Account::default();
        let floating = WebApiRow { floating_expires: Some(999_990 + 600), ..web(7, 2014) };
        let data = WebApiRow { do_int_value: Some(5), ..web(7, 8010) };
        let not_data = WebApiRow { do_int_value: Some(5), ..web(7, 2010) };
        let bare = WebApiRow { id: 3, ..WebApiRow::default() };
        account.count(Rows::WebApi(vec![floating, data, not_data, bare]));

        let entry = |product, event_type, outcome| EntryKey {
            product: ProductLabel::Id(product),
            event_type,
            outcome,
        };
        let activation = entry(7, EventType::Activation, Outcome::Success);
        let tally = &account.delta;
        assert_eq!(tally.entries.get(&activation), Some(&2));
        assert_eq!(tally.entries.get(&entry(7, EventType::DataObject, Outcome::Success)), Some(&1));
        assert_eq!(tally.entries.get(&entry(0, EventType::Unknown, Outcome::Unknown)), Some(&1));
        assert_eq!(
            tally.states.get(&StateKey { entry: activation, state: StateLabel::of(Some(2014)) }),
            Some(&1)
        );
        let lease = tally.lease.get(&LeaseKey(activation)).unwrap();
        assert_eq!((lease.count, lease.sum, lease.buckets[3]), (1, 600, 1));
        let values: Vec<_> = tally.data_object.iter().map(|(_, values)| (values.count, values.sum)).collect();
        assert_eq!(values, [(1, 5)], "only data object requests pass values");
        let ages: u64 = tally.web_api_age.iter().map(|(_, ages)| ages.count).sum();
        assert_eq!(ages, 3, "a row without a time has no age");
    }

    #[test]
    fn a_clock_behind_the_servers_makes_no_negative_age() {
        assert_eq!(age(Some(10), 5), Some(0));
        assert_eq!(age(Some(i64::MAX), i64::MIN), Some(0));
        assert_eq!(age(Some(1), i64::MAX), Some(i64::MAX - 1));
        assert_eq!(age(None, 5), None);
    }

    #[test]
    fn products_past_the_limit_share_a_label() {
        let mut account =
            Account { limits: Limits { products: 2, ..Limits::default() }, ..Account::default() };
        account.products.configure(&[Product { id: 9, name: "configured".to_owned() }]);
        account.count(Rows::WebApi([1, 2, 3, 9, 3, -4].map(|product| web(product, 2010)).to_vec()));
        let rows = |product| {
            let key = EntryKey { product, event_type: EventType::Activation, outcome: Outcome::Success };
            account.delta.entries.get(&key).copied().unwrap_or_default()
        };
        assert_eq!([1, 2, 9, 0].map(|id| rows(ProductLabel::Id(id))), [1, 1, 1, 1]);
        assert_eq!(rows(ProductLabel::Other), 2);
        assert_eq!(account.delta.overflow.get(&LimitedFamily::Entries), Some(&2));
        assert_eq!(account.delta.overflow.get(&LimitedFamily::States), Some(&2));
        assert_eq!(account.delta.overflow.get(&LimitedFamily::Lease), None);
        assert_eq!(account.new_products, [1, 2, 9]);
    }

    #[test]
    fn events_are_counted_by_names_and_valued_by_currency() {
        let mut account =
            Account { limits: Limits { currencies: 1, ..Limits::default() }, ..Account::default() };
        account.count(Rows::Events(vec![
            event(1, "buy", 20, "EUR"),
            event(1, "buy", 30, "EUR"),
            event(1, "buy", 40, "USD"),
            event(1, "buy", 50, " eur "),
            event(1, "buy", 60, "points"),
            event(1, "", 0, "EUR"),
            event(1, "refund", -5, "EUR"),
        ]));
        let mut sums: Vec<_> = account
            .delta
            .event_value
            .iter()
            .map(|(key, values)| (key.currency.to_string(), values.sum))
            .collect();
        sums.sort_unstable();
        assert_eq!(sums, [("EUR".to_owned(), 100), ("other".to_owned(), 100)]);
        assert_eq!(
            account.delta.overflow.get(&LimitedFamily::EventValue),
            Some(&1),
            "points are no currency, not one too many"
        );
        let unnamed =
            EventKey { product: ProductLabel::Id(1), event: "unnamed".into(), feature: "unnamed".into() };
        assert_eq!(account.delta.events.get(&unnamed), Some(&1));
        assert_eq!(account.delta.event_age.get(&NoLabels).map(|ages| ages.count), Some(7));
    }

    #[test]
    fn notes_are_counted_where_there_is_something_to_note() {
        let mut account = Account::default();
        account.counter().note(LogKind::Events, &PageStatistics::default());
        assert!(account.delta.is_empty());
        account.counter().note(
            LogKind::Events,
            &PageStatistics { no_id: 1, below_floor: 2, too_large: 5, duplicate: 3, late: 4 },
        );
        let skipped = |reason| account.delta.skipped.get(&SkipKey { log: LogKind::Events, reason }).copied();
        assert_eq!(skipped(SkipReason::NoId), Some(1));
        assert_eq!(skipped(SkipReason::BelowFloor), Some(2));
        assert_eq!(skipped(SkipReason::TooLarge), Some(5));
        assert_eq!(account.delta.duplicate.get(&LogKind::Events), Some(&3));
        assert_eq!(account.delta.late.get(&LogKind::Events), Some(&4));
        assert!(!account.delta.is_empty());
    }

    #[test]
    fn pre_created_label_sets_take_no_room() {
        let mut account = Account { limits: Limits { sets: 1, ..Limits::default() }, ..Account::default() };
        account.count(Rows::WebApi(vec![
            web(1, 2010),
            web(1, 2020),
            web(1, 3010),
            web(1, 2030),
            web(1, 9930),
        ]));
        // 2010, 2020 and 3010 are exempt in both families; 2030 takes the one place; 9930 is
        // unknown in both.
        let overflow = |family| account.delta.overflow.get(&family).copied();
        assert_eq!(overflow(LimitedFamily::Entries), Some(1));
        assert_eq!(overflow(LimitedFamily::States), Some(1));
    }

    proptest! {
        /// However rows are cut into transactions, and whatever the limits: no row is lost, and no
        /// family outgrows its limit.
        #[test]
        fn limits_lose_no_row(
            rows in prop::collection::vec((0i64..8, 1990i64..2060, 0i64..3), 0..200),
            sets in 1usize..6,
            products in 0usize..4,
            every in 1usize..50,
        ) {
            let limits = Limits { sets, histogram_sets: 2, products, currencies: 1 };
            let mut account = Account { limits, ..Account::default() };
            for page in rows.chunks(every) {
                let page = page.iter().map(|(product, state, lease)| WebApiRow {
                    floating_expires: Some(999_990 + lease),
                    ..web(*product, *state)
                });
                account.count(Rows::WebApi(page.collect()));
                account.commit();
            }
            let tally = &account.committed;
            let all = u64::try_from(rows.len()).unwrap();
            prop_assert_eq!(tally.entries.iter().map(|(_, rows)| rows).sum::<u64>(), all);
            prop_assert_eq!(tally.states.iter().map(|(_, rows)| rows).sum::<u64>(), all);
            let leases: i64 = tally.lease.iter().map(|(_, leases)| leases.sum).sum();
            prop_assert_eq!(leases, rows.iter().map(|(_, _, lease)| lease).sum::<i64>());
            let others = tally.lease.iter().filter(|(key, _)| key.is_exempt()).map(|(_, leases)| leases.count);
            let overflowed = tally.overflow.get(&LimitedFamily::Lease).copied().unwrap_or_default();
            prop_assert_eq!(others.sum::<u64>(), overflowed, "of leases");
            let known = &account.products;
            let limited = tally.entries.iter().filter(|(key, _)| !key.is_exempt()).count();
            prop_assert!(limited <= sets);
            prop_assert_eq!(limited, tally.entries.limited());
            prop_assert!(tally.lease.iter().filter(|(key, _)| !key.is_exempt()).count() <= 2);
            prop_assert!(known.iter().count() <= products);
        }

        /// Rows that are counted as one page count as they do one by one, also where a limit keeps some
        /// out: the label sets that come first are in.
        #[test]
        fn a_page_counts_as_its_rows_one_by_one(
            rows in prop::collection::vec((0i64..5, 1990i64..2060, 0i64..3), 0..60),
            sets in 1usize..6,
            histogram_sets in 1usize..4,
            products in 0usize..4,
        ) {
            let limits = Limits { sets, histogram_sets, products, currencies: 1 };
            let row = |(product, state, lease): &(i64, i64, i64)| WebApiRow {
                floating_expires: Some(999_990 + lease),
                ..web(*product, *state)
            };
            let mut by_row = Account { limits, ..Account::default() };
            rows.iter().for_each(|parts| by_row.count(Rows::WebApi(vec![row(parts)])));
            let mut at_once = Account { limits, ..Account::default() };
            at_once.count(Rows::WebApi(rows.iter().map(row).collect()));
            by_row.commit();
            at_once.commit();
            prop_assert_eq!(by_row.committed, at_once.committed);
        }

        /// Counting in parts and merging equals counting at once.
        #[test]
        fn parts_merge_to_the_whole(
            rows in prop::collection::vec((0i64..4, 1000i64..9000), 0..60),
            cut in 0usize..60,
        ) {
            let row = |(product, state)| WebApiRow {
                floating_expires: Some(999_990 + state % 3),
                ..web(product, state)
            };
            let rows: Vec<_> = rows.into_iter().map(row).collect();
            let (one, two) = rows.split_at(cut.min(rows.len()));
            let mut parts = Account::default();
            for part in [one, two] {
                parts.count(Rows::WebApi(part.to_vec()));
                parts.commit();
            }
            let mut whole = Account::default();
            whole.count(Rows::WebApi(rows));
            whole.commit();
            prop_assert_eq!(parts.committed, whole.committed);
        }
    }
}

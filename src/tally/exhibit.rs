//! Shows tallies: a `Collector` of the `prometheus` crate over plain data, so that a restored histogram is exact.
//!
//! Promises: the row families of a log are absent until its first pass is complete, so that a backfill is one starting
//! value; from then on every known product has its pairs at 0. Label sets come in a fixed order.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::cryptolens::{EventType, LogKind, Outcome, StateCode, object_name, state_code};

use super::account::AccountTally;
use super::catalogue::{self, Family};
use super::exposition::{self, Sample};
use super::keys::{EntryKey, ObjectKey, SkipKey, SkipReason, StateKey, StateLabel};
use super::label::{self, ProductLabel};
use super::limits::{Exempt, LimitedFamily, Limits, lease_exempt};
use super::products::Products;
use super::series::{Key, Series};

/// One account, as it is shown.
#[derive(Debug, Clone)]
pub struct AccountExhibit {
    /// The label `account`.
    pub name: String,
    /// What is in the ledger.
    pub tally: Arc<AccountTally>,
    /// The products known.
    pub products: Arc<Products>,
    /// The logs that are polled; true for those whose first pass is complete.
    pub logs: BTreeMap<LogKind, bool>,
}

impl AccountExhibit {
    fn shows(&self, log: LogKind) -> bool {
        self.logs.get(&log).copied().unwrap_or(false)
    }
}

/// All accounts, as they are shown.
#[derive(Debug)]
pub struct Exhibit {
    accounts: Vec<AccountExhibit>,
    limits: Limits,
    first_object_code: i64,
    descriptions: Vec<Desc>,
}

const SHOWN: [&Family; 17] = [
    &catalogue::WEB_API_ENTRIES,
    &catalogue::WEB_API_STATES,
    &catalogue::LEASE,
    &catalogue::DO_INT,
    &catalogue::WEB_API_AGE,
    &catalogue::EVENT_ENTRIES,
    &catalogue::EVENT_VALUE,
    &catalogue::EVENT_AGE,
    &catalogue::OBJECT_ENTRIES,
    &catalogue::OBJECT_AGE,
    &catalogue::PRODUCT_INFO,
    &catalogue::ROWS_SKIPPED,
    &catalogue::ROWS_DUPLICATE,
    &catalogue::ROWS_LATE,
    &catalogue::SERIES_OVERFLOW,
    &catalogue::SERIES,
    &catalogue::SERIES_LIMIT,
];

impl Exhibit {
    /// `first_object_code` is the number by which the Object Log calls the first resource type and action.
    ///
    /// # Errors
    /// A name in the catalogue is no name for a metric.
    pub fn new(
        accounts: Vec<AccountExhibit>,
        limits: Limits,
        first_object_code: i64,
    ) -> Result<Exhibit, prometheus::Error> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        };
        let descriptions = SHOWN.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Exhibit { accounts, limits, first_object_code, descriptions })
    }

    fn counters<K: Key>(
        &self,
        family: &Family,
        log: LogKind,
        in_advance: impl Fn(&Products) -> Vec<K>,
        series: impl Fn(&AccountTally) -> &Series<K, u64>,
    ) -> Option<MetricFamily> {
        let mut samples = Vec::new();
        for account in self.accounts.iter().filter(|account| account.shows(log)) {
            let mut sets: BTreeMap<K, u64> =
                in_advance(&account.products).into_iter().map(|key| (key, 0)).collect();
            sets.extend(series(&account.tally).iter().map(|(key, value)| (key.clone(), *value)));
            samples.extend(
                sets.into_iter()
                    .map(|(key, value)| exposition::counter(family, &labels(account, &key), value)),
            );
        }
        exposition::family(family, samples)
    }

    fn histograms<K: Key>(
        &self,
        family: &Family,
        log: LogKind,
        series: impl Fn(&AccountTally) -> &Series<K, super::Histogram>,
    ) -> Option<MetricFamily> {
        let mut samples = Vec::new();
        for account in self.accounts.iter().filter(|account| account.shows(log)) {
            let sets: BTreeMap<_, _> = series(&account.tally).iter().collect();
            samples.extend(
                sets.into_iter()
                    .map(|(key, value)| exposition::histogram(family, &labels(account, key), value)),
            );
        }
        exposition::family(family, samples)
    }

    /// Raw codes that share a name, because neither has one, share a sample.
    fn objects(&self) -> Option<MetricFamily> {
        let family = &catalogue::OBJECT_ENTRIES;
        let mut samples = Vec::new();
        for account in self.accounts.iter().filter(|account| account.shows(LogKind::Objects)) {
            let mut sets: BTreeMap<[&str; 2], u64> = BTreeMap::new();
            for (ObjectKey { resource, action }, rows) in account.tally.objects.iter() {
                let first = self.first_object_code;
                let names = [
                    object_name::resource_type(resource.map(i64::from), first),
                    object_name::action(action.map(i64::from), first),
                ];
                *sets.entry(names).or_default() += rows;
            }
            samples.extend(sets.into_iter().map(|([resource, action], rows)| {
                exposition::counter(family, &[account.name.as_str(), resource, action], rows)
            }));
        }
        exposition::family(family, samples)
    }

    /// A product without a name is called by its id, so that a join with this family loses nobody.
    fn products(&self) -> Option<MetricFamily> {
        let family = &catalogue::PRODUCT_INFO;
        let of_account = |account: &AccountExhibit| -> Vec<Sample> {
            let sample = |(id, name): (i64, Option<&Arc<str>>)| {
                let id = id.to_string();
                let name = name
                    .filter(|name| !name.is_empty())
                    .map_or_else(|| id.as_str().into(), |name| label::clean(name));
                exposition::gauge(family, &[account.name.as_str(), &id, &name], 1.0)
            };
            account.products.iter().map(sample).collect()
        };
        exposition::family(family, self.accounts.iter().flat_map(of_account).collect())
    }

    /// Counters of the reading itself: shown for every log that is polled, from the start.
    fn notes<K: Key>(
        &self,
        family: &Family,
        keys: impl Fn(LogKind) -> Vec<K>,
        series: impl Fn(&AccountTally) -> &Series<K, u64>,
    ) -> Option<MetricFamily> {
        let mut samples = Vec::new();
        for account in &self.accounts {
            for key in account.logs.keys().flat_map(|log| keys(*log)) {
                let value = series(&account.tally).get(&key).copied().unwrap_or_default();
                samples.push(exposition::counter(family, &labels(account, &key), value));
            }
        }
        exposition::family(family, samples)
    }

    fn overflow(&self) -> Option<MetricFamily> {
        let family = &catalogue::SERIES_OVERFLOW;
        let sample = |limited: LimitedFamily| {
            let of =
                |account: &AccountExhibit| account.tally.overflow.get(&limited).copied().unwrap_or_default();
            exposition::counter(family, &[limited.family().name], self.accounts.iter().map(of).sum())
        };
        exposition::family(family, LimitedFamily::ALL.map(sample).to_vec())
    }

    /// Of the account that has most: the one that will be the first to overflow.
    fn series(&self) -> Option<MetricFamily> {
        fn limited<K: Key, V: super::Value>(series: &Series<K, V>, exempt: impl Fn(&K) -> bool) -> usize {
            series.iter().filter(|(key, _)| !exempt(key)).count()
        }
        let family = &catalogue::SERIES;
        let sample = |of: LimitedFamily| {
            let sets = |account: &AccountExhibit| {
                let (tally, products) = (&account.tally, &account.products);
                match of {
                    LimitedFamily::Entries => limited(&tally.entries, |key| key.exempt(products)),
                    LimitedFamily::States => limited(&tally.states, |key| key.exempt(products)),
                    LimitedFamily::Lease => limited(&tally.lease, lease_exempt),
                    LimitedFamily::DataObject => limited(&tally.data_object, |key| key.exempt(products)),
                    LimitedFamily::Events => limited(&tally.events, |key| key.exempt(products)),
                    LimitedFamily::EventValue => limited(&tally.event_value, |key| key.exempt(products)),
                }
            };
            let most = self.accounts.iter().map(sets).max().unwrap_or_default();
            exposition::gauge(
                family,
                &[of.family().name],
                exposition::float(i128::try_from(most).unwrap_or_default()),
            )
        };
        exposition::family(family, LimitedFamily::ALL.map(sample).to_vec())
    }

    fn series_limit(&self) -> Option<MetricFamily> {
        let family = &catalogue::SERIES_LIMIT;
        let sample = |of: LimitedFamily| {
            let limit = i128::try_from(self.limits.of(of)).unwrap_or_default();
            exposition::gauge(family, &[of.family().name], exposition::float(limit))
        };
        exposition::family(family, LimitedFamily::ALL.map(sample).to_vec())
    }
}

impl Collector for Exhibit {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        use LogKind::{Events, Objects, WebApi};
        let skips = |log| SkipReason::ALL.map(|reason| SkipKey { log, reason }).to_vec();
        let families = [
            self.counters(&catalogue::WEB_API_ENTRIES, WebApi, entries_in_advance, |tally| &tally.entries),
            self.counters(&catalogue::WEB_API_STATES, WebApi, states_in_advance, |tally| &tally.states),
            self.histograms(&catalogue::LEASE, WebApi, |tally| &tally.lease),
            self.histograms(&catalogue::DO_INT, WebApi, |tally| &tally.data_object),
            self.histograms(&catalogue::WEB_API_AGE, WebApi, |tally| &tally.web_api_age),
            self.counters(&catalogue::EVENT_ENTRIES, Events, |_| Vec::new(), |tally| &tally.events),
            self.histograms(&catalogue::EVENT_VALUE, Events, |tally| &tally.event_value),
            self.histograms(&catalogue::EVENT_AGE, Events, |tally| &tally.event_age),
            self.objects(),
            self.histograms(&catalogue::OBJECT_AGE, Objects, |tally| &tally.object_age),
            self.products(),
            self.notes(&catalogue::ROWS_SKIPPED, skips, |tally| &tally.skipped),
            self.notes(&catalogue::ROWS_DUPLICATE, |log| vec![log], |tally| &tally.duplicate),
            self.notes(&catalogue::ROWS_LATE, |log| vec![log], |tally| &tally.late),
            self.overflow(),
            self.series(),
            self.series_limit(),
        ];
        families.into_iter().flatten().collect()
    }
}

fn labels<K: Key>(account: &AccountExhibit, key: &K) -> Vec<String> {
    std::iter::once(account.name.clone()).chain(key.labels()).collect()
}

fn entries_in_advance(products: &Products) -> Vec<EntryKey> {
    let of_product = |(id, _)| {
        EventType::KNOWN.into_iter().flat_map(move |event_type| {
            [Outcome::Success, Outcome::Failure].map(|outcome| EntryKey {
                product: ProductLabel::Id(id),
                event_type,
                outcome,
            })
        })
    };
    products.iter().flat_map(of_product).collect()
}

fn states_in_advance(products: &Products) -> Vec<StateKey> {
    let described = || state_code::DESCRIBED.iter().filter_map(|(code, _)| StateCode::new(i64::from(*code)));
    let of_product = |(id, _)| {
        described().map(move |code| {
            let (event_type, outcome) = code.classify();
            let entry = EntryKey { product: ProductLabel::Id(id), event_type, outcome };
            StateKey { entry, state: StateLabel::Code(code) }
        })
    };
    products.iter().flat_map(of_product).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::Product;

    fn exhibit(logs: &[(LogKind, bool)], tally: AccountTally, first_object_code: i64) -> Vec<MetricFamily> {
        let mut products = Products::default();
        products.configure(&[Product { id: 7, name: "Seven".to_owned() }]);
        let account = AccountExhibit {
            name: "default".to_owned(),
            tally: Arc::new(tally),
            products: Arc::new(products),
            logs: logs.iter().copied().collect(),
        };
        Exhibit::new(vec![account], Limits::default(), first_object_code).unwrap().collect()
    }

    fn values(families: &[MetricFamily], name: &str) -> Vec<(String, f64)> {
        let family = families.iter().find(|family| family.name() == name);
        let samples = family.map(MetricFamily::get_metric).unwrap_or_default();
        samples
            .iter()
            .map(|sample| {
                let labels: Vec<_> = sample.get_label().iter().skip(1).map(|pair| pair.value()).collect();
                let value = match family.map(MetricFamily::get_field_type) {
                    Some(prometheus::proto::MetricType::GAUGE) => sample.get_gauge().get_value(),
                    _ => sample.get_counter().get_value(),
                };
                (labels.join(" "), value)
            })
            .collect()
    }

    #[test]
    fn row_families_wait_for_the_first_complete_pass() {
        let mut tally = AccountTally::default();
        *tally.entries.entry(entries_in_advance_of(7)[3]) = 5;
        let shown = |complete| exhibit(&[(LogKind::WebApi, complete)], tally.clone(), 0);
        let names =
            |families: &[MetricFamily]| families.iter().map(|f| f.name().to_owned()).collect::<Vec<_>>();
        assert!(!names(&shown(false)).contains(&catalogue::WEB_API_ENTRIES.name.to_owned()));
        let entries = values(&shown(true), catalogue::WEB_API_ENTRIES.name);
        assert_eq!(entries.len(), 16, "every pair of the known product");
        assert_eq!(entries.iter().map(|(_, value)| value).sum::<f64>(), 5.0);
        let states = values(&shown(true), catalogue::WEB_API_STATES.name);
        assert_eq!(states.len(), 11);
        assert!(states.contains(&("7 activation failure 2024".to_owned(), 0.0)));
    }

    fn entries_in_advance_of(id: i64) -> Vec<EntryKey> {
        let mut products = Products::default();
        products.configure(&[Product { id, name: "any".to_owned() }]);
        entries_in_advance(&products)
    }

    #[test]
    fn object_codes_are_named_when_shown() {
        let mut tally = AccountTally::default();
        *tally.objects.entry(ObjectKey::of(Some(3), Some(2))) = 1;
        *tally.objects.entry(ObjectKey::of(Some(0), Some(0))) = 2;
        *tally.objects.entry(ObjectKey::of(Some(50), Some(1))) = 4;
        *tally.objects.entry(ObjectKey::of(None, Some(1))) = 8;
        let shown = |first| {
            values(
                &exhibit(&[(LogKind::Objects, true)], tally.clone(), first),
                catalogue::OBJECT_ENTRIES.name,
            )
        };
        let expect = |sets: &[(&str, f64)]| {
            sets.iter().map(|(set, value)| ((*set).to_owned(), *value)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(0),
            expect(&[("license_key updated", 1.0), ("unknown added", 12.0), ("unspecified none", 2.0)])
        );
        assert_eq!(
            shown(1),
            expect(&[("issued_license added", 1.0), ("unknown none", 12.0), ("unknown unknown", 2.0)])
        );
    }

    #[test]
    fn notes_are_shown_at_zero_for_each_log_polled() {
        let families = exhibit(&[(LogKind::Events, false)], AccountTally::default(), 0);
        let expected = vec![
            ("events no_id".to_owned(), 0.0),
            ("events below_floor".to_owned(), 0.0),
            ("events too_large".to_owned(), 0.0),
        ];
        assert_eq!(values(&families, catalogue::ROWS_SKIPPED.name), expected);
        assert_eq!(values(&families, catalogue::ROWS_LATE.name), [("events".to_owned(), 0.0)]);
        let limits = families.iter().find(|family| family.name() == catalogue::SERIES_LIMIT.name).unwrap();
        assert_eq!(limits.get_metric().len(), 6);
    }

    #[test]
    fn everything_collected_is_described() {
        let mut tally = AccountTally::default();
        tally.event_age.entry(super::super::keys::NoLabels).observe(catalogue::EVENT_AGE.bounds(), 7);
        let collected = exhibit(&LogKind::ALL.map(|log| (log, true)), tally, 0);
        assert!(collected.iter().all(|family| SHOWN.iter().any(|shown| shown.name == family.name())));
        let ages = collected.iter().find(|family| family.name() == catalogue::EVENT_AGE.name).unwrap();
        let ages = ages.get_metric()[0].get_histogram();
        let cumulative: Vec<_> = ages.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        assert_eq!(cumulative, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!((ages.get_sample_count(), ages.get_sample_sum()), (1, 7.0));
    }
}

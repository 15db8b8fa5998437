//! Failure spikes: a product whose activations fail (2020) in numbers for a while.
//!
//! Somebody lets the product refuse expired licenses, and a minute or two later every machine of
//! these is locked out, until the change is taken back. A few come each week at times that follow
//! from the seed; more can be started at run time, with as many failures as are asked for.

use super::background::pick_user;
use std::sync::Arc;

use super::{DAY, Draft, Span, objects, rhythm};
use crate::catalogue::{Catalogue, PRODUCTS};
use crate::random::{Random, hash_of};
use crate::row::Fields;

const FAILED_ACTIVATION: u16 = 2020;
const SPIKES_PER_WEEK: u64 = 3;
/// Failures that a spike adds, as a multiple of the whole log's mean rate.
const SPIKE_INTENSITY: f64 = 1.0;

/// How long after the end of a spike its customers stay away, in seconds: nobody knows yet that it
/// is over.
const AWAY: i64 = 120;

/// Failures a minute of a spike that is started at run time.
const FEWEST_PER_MINUTE: f64 = 6.0;
/// Failures that such a spike adds at most, as a multiple of the whole log's mean rate: half of the
/// ids that each second keeps for added rows.
const MOST_INTENSITY: f64 = 8.0;

/// When activations of a product fail; `product` is an index of the catalogue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpikeSpan {
    pub(crate) product: usize,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl SpikeSpan {
    /// When the change was made that the spike follows from: one to three minutes before it.
    pub(crate) fn changed(self) -> i64 {
        let hash = hash_of(&[0xc4a6, self.from as u64]);
        self.from - 60 - (hash % 120) as i64
    }

    /// Lets a request fail that is one of an expired license while the spike lasts. False if it does
    /// not happen at all: one that is not an activation says nothing of being locked out.
    pub(crate) fn lets_happen(self, time: i64, fields: &mut Fields, catalogue: &Catalogue) -> bool {
        let Fields::WebApi(fields) = fields else { return true };
        let is_meant = (self.from..self.to + AWAY).contains(&time)
            && catalogue.key(fields.key).product == self.product
            && catalogue.is_expired(fields.key)
            && fields.state / 10 % 10 == 1;
        if !is_meant {
            return true;
        }
        let is_activation = fields.state / 1000 == 2;
        fields.state = FAILED_ACTIVATION;
        fields.lease = 0;
        is_activation && time < self.to
    }

    /// The changes of the Object Log that the spike follows from and ends with.
    pub(crate) fn changes(self) -> [Draft; 2] {
        let product = PRODUCTS[self.product].id;
        [(self.changed(), true, 22), (self.to, false, 18)].map(|(time, blocks, user)| Draft {
            time,
            fields: Fields::Object(Arc::new(objects::blocks_expired_licenses(product, blocks, user))),
        })
    }
}

/// The changes of the planned spikes in a span.
pub(super) fn changes(span: Span, seed: u64) -> impl Iterator<Item = Draft> {
    let is_in = move |draft: &Draft| (span.from..span.to).contains(&draft.time);
    planned(seed, week_of(span.from)).flat_map(SpikeSpan::changes).filter(is_in)
}

/// The week's planned spikes: on working days, in working hours, 20 to 40 minutes each.
fn planned(seed: u64, week: i64) -> impl Iterator<Item = SpikeSpan> {
    (0..SPIKES_PER_WEEK).map(move |number| {
        let mut random = Random::for_stream(&[seed, 0x5b1e, week as u64, number]);
        let day = monday_of(week) + random.between(0, 5) * DAY;
        let from = day + random.between(7 * 3600, 17 * 3600);
        let product = random.weighted(PRODUCTS.iter().map(|product| product.popularity));
        SpikeSpan { product, from, to: from + random.between(1200, 2400) }
    })
}

/// The planned spikes that begin in a time.
pub(crate) fn planned_spikes(seed: u64, from: i64, to: i64) -> Vec<SpikeSpan> {
    let spikes = (week_of(from)..=week_of(to)).flat_map(|week| planned(seed, week));
    spikes.filter(|spike| (from..to).contains(&spike.from)).collect()
}

/// Weeks are counted from the first Monday of the Unix clock, 1970-01-05.
fn week_of(time: i64) -> i64 {
    (time - 4 * DAY).div_euclid(7 * DAY)
}

fn monday_of(week: i64) -> i64 {
    week * 7 * DAY + 4 * DAY
}

pub(super) fn draft(
    span: Span,
    seed: u64,
    catalogue: &Catalogue,
    random: &mut Random,
    drafts: &mut Vec<Draft>,
) {
    for spike in planned(seed, week_of(span.from)) {
        drafts.retain_mut(|draft| spike.lets_happen(draft.time, &mut draft.fields, catalogue));
        let hit = Span { from: span.from.max(spike.from), to: span.to.min(spike.to), ..span };
        if hit.from < hit.to {
            drafts.extend(failures(hit, spike.product, catalogue, random));
        }
    }
}

/// The rows of a spike that is started at run time: as many as it takes for this part of the
/// product's requests to fail, but [`FEWEST_PER_MINUTE`] at least, so that it shows at night too,
/// and no more than ids are kept for.
pub(crate) fn spike_drafts(
    spike: SpikeSpan,
    failure_share: f64,
    rows_per_minute: f64,
    catalogue: &Catalogue,
    random: &mut Random,
) -> Vec<Draft> {
    let usual = rows_per_minute * Catalogue::share_of(spike.product) * rhythm::weight(spike.from);
    // A share of 1 would take infinitely many.
    let wanted = (usual * failure_share / (1.0 - failure_share)).min(rows_per_minute * MOST_INTENSITY);
    let added = wanted.max(FEWEST_PER_MINUTE);
    let span = Span { from: spike.from, to: spike.to, rows_per_second: added / 60.0 };
    let mut drafts: Vec<Draft> = failures(span, spike.product, catalogue, random).collect();
    drafts.sort_by_key(|draft| draft.time);
    drafts
}

fn failures(
    span: Span,
    product: usize,
    catalogue: &Catalogue,
    random: &mut Random,
) -> impl Iterator<Item = Draft> {
    let mean = span.rows_per_second * SPIKE_INTENSITY * (span.to - span.from) as f64;
    (0..random.poisson(mean)).map(move |_| {
        let mut fields = pick_user(catalogue, product, random);
        if !catalogue.is_expired(fields.key) {
            fields = catalogue.expired_instead(fields);
        }
        fields.state = FAILED_ACTIVATION;
        Draft { time: span.moment(random), fields: Fields::WebApi(fields) }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Generator, Plan};
    use super::*;
    use crate::log::Log;
    use crate::row::Row;

    #[test]
    fn spikes_come_a_few_times_a_week_in_working_hours() {
        for week in 2900..2920 {
            for spike in planned(1, week) {
                assert_eq!(week_of(spike.from), week);
                assert_eq!(week_of(spike.to), week);
                assert!((1200..2400).contains(&(spike.to - spike.from)));
                assert!((7..18).contains(&(spike.from.rem_euclid(DAY) / 3600)));
            }
        }
    }

    /// The whole story of a planned spike: who is locked out, who is not, and the change before it.
    #[test]
    fn a_planned_spike_locks_out_the_expired_licenses_of_its_product() {
        let catalogue = Arc::new(Catalogue::new(1, 12.0));
        for spike in planned_spikes(1, monday_of(2920), monday_of(2922)) {
            let rows = |log: Log| {
                let start = spike.from - 3600;
                let plan = Plan {
                    seed: 1,
                    start,
                    first_id: 1,
                    rows_per_minute: 12.0,
                    late_fraction: 0.0,
                    late_max: 0,
                };
                let mut rows = Vec::new();
                Generator::new(log, plan, Arc::clone(&catalogue)).advance(spike.to + 3600, &mut rows);
                rows
            };
            let mut of_expired = BTreeMap::new();
            let mut others = 0;
            for row in rows(Log::WebApi).iter().filter(|row| (spike.from..spike.to).contains(&row.time)) {
                let Fields::WebApi(fields) = row.fields else { continue };
                if catalogue.key(fields.key).product != spike.product {
                    continue;
                }
                let has_succeeded = fields.state / 10 % 10 == 1;
                if catalogue.is_expired(fields.key) {
                    assert!(!has_succeeded, "{spike:?}: {fields:?}");
                    *of_expired.entry(fields.key).or_insert(0) +=
                        usize::from(fields.state == FAILED_ACTIVATION);
                } else {
                    others += usize::from(has_succeeded);
                }
            }
            let expired = catalogue.keys_of(spike.product).filter(|key| catalogue.is_expired(*key)).count();
            assert_eq!(of_expired.len(), expired, "{spike:?}");
            assert!(of_expired.values().all(|failures| *failures >= 2), "{spike:?}: {of_expired:?}");
            assert!(others >= 2, "{spike:?}: {others}");
            // Not those of another spike.
            let is_of_it = |row: &&Row| match &row.fields {
                Fields::Object(change) => {
                    change.data.contains("BlockExpired")
                        && change.affected == PRODUCTS[spike.product].id
                        && (spike.changed()..=spike.to).contains(&row.time)
                }
                _ => false,
            };
            let changes: Vec<i64> = rows(Log::Objects).iter().filter(is_of_it).map(|row| row.time).collect();
            assert_eq!(changes, [spike.changed(), spike.to]);
            assert!((60..180).contains(&(spike.from - spike.changed())));
        }
    }

    #[test]
    fn a_started_spike_keeps_its_share_and_its_time() {
        let catalogue = Catalogue::new(1, 60.0);
        let noon = 1_767_571_200 + 12 * 3600;
        let spike = SpikeSpan { product: 0, from: noon, to: noon + 600 };
        let drafts = spike_drafts(spike, 0.5, 60.0, &catalogue, &mut Random::for_stream(&[1]));
        let usual = 10.0 * 60.0 * Catalogue::share_of(0) * rhythm::weight(noon);
        assert!((0.7..1.3).contains(&(drafts.len() as f64 / usual)), "{} against {usual}", drafts.len());
        assert!(drafts.iter().all(|draft| (noon..noon + 600).contains(&draft.time)));
        let all = spike_drafts(spike, 1.0, 60.0, &catalogue, &mut Random::for_stream(&[1]));
        assert!((4000..5600).contains(&all.len()), "{}", all.len());
        let quiet = spike_drafts(spike, 0.5, 0.0, &catalogue, &mut Random::for_stream(&[1]));
        assert!(quiet.len() > 30, "{}", quiet.len());
    }

    #[test]
    fn a_spike_is_much_busier_than_ordinary_failures() {
        let catalogue = Catalogue::new(1, 12.0);
        let spike = planned(1, 2920).next().unwrap();
        let span = Span { from: spike.from, to: spike.to, rows_per_second: 0.2 };
        let mut drafts = Vec::new();
        draft(span, 1, &catalogue, &mut Random::for_stream(&[1]), &mut drafts);
        let minutes = (spike.to - spike.from) as f64 / 60.0;
        assert!(drafts.len() as f64 / minutes > 8.0);
    }
}

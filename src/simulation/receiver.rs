//! Receivers of history that are slow, break off, and get the same twice; one of them is out of
//! order for long stretches. Like the real ones they keep the first value of a stamp.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::history::{HistoryFamily, HistoryOptions, HistorySeries, Outbox, SampleCounts, minute_of};
use crate::ledger::HistoryState;
use crate::ledger::inline::InlineLedger;

/// The names of the targets.
const TARGETS: [&str; 2] = ["receiver", "bad"];
/// How often an answer gets lost.
const LOST: f64 = 0.3;

/// The settings of history in every world.
pub(super) fn options() -> HistoryOptions {
    HistoryOptions {
        targets: TARGETS.map(Arc::from).to_vec(),
        // Some rows of a world are days old.
        window: Duration::from_secs(6 * 3600),
        outbox_limit: 10_000_000,
        first_object_code: 0,
    }
}

/// A receiver for each target.
pub(super) struct Receivers([Receiver; 2]);

impl Receivers {
    pub(super) fn new(seed: u64) -> Receivers {
        let receiver = |target: &'static str, is_bad, seed| Receiver {
            target: target.into(),
            is_bad,
            random: ChaCha8Rng::seed_from_u64(seed),
            samples: BTreeMap::new(),
            chunks: BTreeMap::new(),
            fault: None,
        };
        let [good, bad] = TARGETS;
        Receivers([receiver(good, false, seed), receiver(bad, true, seed.wrapping_add(1))])
    }

    /// Take samples until the process is killed.
    pub(super) async fn receive(&mut self, ledger: InlineLedger) {
        let [good, bad] = &mut self.0;
        tokio::join!(good.receive(ledger.clone()), bad.receive(ledger));
    }

    /// Take all that waits.
    pub(super) async fn drain(&mut self, ledger: &InlineLedger) {
        for receiver in &mut self.0 {
            while receiver.take_some(ledger, 3000, LOST).await {}
        }
    }

    /// A fault, if any: every counted row must be in the samples of its minute once, at each of
    /// them. `minutes` has the minute of each row, where it is known.
    pub(super) fn fault(
        &self,
        counted: &BTreeMap<i64, u64>,
        minutes: &BTreeMap<i64, i64>,
        state: &HistoryState,
    ) -> Option<String> {
        self.0.iter().find_map(|receiver| {
            let fault = receiver.fault(counted, minutes, state)?;
            Some(format!("target {}: {fault}", receiver.target))
        })
    }
}

struct Receiver {
    target: Arc<str>,
    is_bad: bool,
    random: ChaCha8Rng,
    samples: BTreeMap<(Arc<HistorySeries>, i64), i64>,
    /// The chunk that has the samples of a stamp. Each row of these worlds has a series of its own,
    /// so two values show as two chunks.
    chunks: BTreeMap<i64, i64>,
    /// The first stamp that got two values.
    fault: Option<String>,
}

impl Receiver {
    async fn receive(&mut self, ledger: InlineLedger) {
        loop {
            let is_out_of_order = self.is_bad && self.random.random_bool(0.3);
            let pause = if is_out_of_order { 600_000..7_200_000 } else { 100..60_000 };
            tokio::time::sleep(Duration::from_millis(self.random.random_range(pause))).await;
            self.take_some(&ledger, 60, if self.is_bad { 0.8 } else { LOST }).await;
        }
    }

    async fn take_some(&mut self, ledger: &InlineLedger, most: usize, lost: f64) -> bool {
        let at_most = self.random.random_range(1..most);
        let target = Arc::clone(&self.target);
        let Ok(batch) = ledger.oldest(&target, at_most).await else { return false };
        for (before, sample) in batch.samples.iter().enumerate() {
            let chunk = batch.position_after(before + 1).unwrap().chunk;
            let first = *self.chunks.entry(sample.stamp).or_insert(chunk);
            if first != chunk {
                let stamp = sample.stamp;
                self.fault.get_or_insert(format!("stamp {stamp} was written twice, in {first} and {chunk}"));
            }
            let key = (Arc::clone(&sample.series), sample.stamp);
            let first = *self.samples.entry(key).or_insert(sample.value);
            if first != sample.value {
                let (series, stamp) = (&sample.series, sample.stamp);
                self.fault.get_or_insert(format!("{series:?} has {first} and {} at {stamp}", sample.value));
            }
        }
        // The answer gets lost, or the receiver took a part only.
        if self.random.random_bool(lost) {
            return true;
        }
        let taken = self.random.random_range(0..=batch.samples.len());
        if let Some(until) = batch.position_after(taken) {
            let _ = ledger.acknowledge(&target, until, SampleCounts::default()).await;
        }
        !batch.samples.is_empty()
    }

    fn fault(
        &self,
        counted: &BTreeMap<i64, u64>,
        minutes: &BTreeMap<i64, i64>,
        state: &HistoryState,
    ) -> Option<String> {
        if let Some(fault) = &self.fault {
            return Some(fault.clone());
        }
        let mut received: BTreeMap<i64, u64> = BTreeMap::new();
        let mut covered = Vec::new();
        for ((series, stamp), value) in &self.samples {
            if series.family == HistoryFamily::Covered {
                covered.push(minute_of(stamp / 1000));
                continue;
            }
            let id = series.values[1].parse().unwrap();
            *received.entry(id).or_default() += u64::try_from(*value).unwrap();
            let minute = minute_of(stamp / 1000);
            if minutes.get(&id).is_some_and(|expected| *expected != minute) {
                return Some(format!("row {id} is in the history at {minute}, not at {}", minutes[&id]));
            }
        }
        if received != *counted {
            return Some(format!("counted {counted:?}, but the history has {received:?}"));
        }
        let log = state.logs.values().next().unwrap();
        let (origin, sealed) = (log.origin.unwrap(), log.sealed_until.unwrap());
        let first = covered.first().copied().unwrap_or(sealed);
        if first < origin {
            return Some(format!("{first} is covered, and history begins at {origin}"));
        }
        let expected: Vec<i64> = (first..sealed).step_by(60).collect();
        (covered != expected).then(|| format!("covered {covered:?}, not each minute in {first}..{sealed}"))
    }
}

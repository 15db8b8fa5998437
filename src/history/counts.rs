//! Counts the rows of one log by the minute in which they happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cryptolens::{EventRow, LogKind, ObjectRow, Row, WebApiRow, object_name};
use crate::tally::{
    EntryKey, EventKey, EventLabels, EventValueKey, ObjectKey, RowObserver, SeriesKey, StateKey,
    WebApiLabels, filed_under,
};

use super::minutes::{Cell, CountsByMinute};
use super::packed::{PackedSamples, SampleToPack, UnreadableSamples};
use super::series::{HistoryFamily, HistorySample, HistorySeries};
use super::{MINUTE, minute_of};

/// The stamp of what was known when a minute was sealed, in milliseconds after its start. Never the edge
/// itself: Prometheus 2 counts a sample on it in both minutes, and 3 in one.
const SEALED: i64 = 1;
/// The stamp of the first batch of late rows.
const FIRST_LATE: i64 = 2;
/// The stamp of the last batch of late rows; more of them go to the next minute.
const LAST_LATE: i64 = 59_000;

/// The value of [`HistoryFamily::Covered`].
const COVERED_SECONDS: i64 = MINUTE;

/// Where the history of a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryStart {
    /// The first minute that is known as a whole, in Unix seconds.
    pub origin: i64,
    /// True if every row that is counted belongs to the history: its ledger had it from the start. Rows
    /// from before the origin are then late ones. False if history was turned on later: rows from before
    /// the origin are in no sample, because `backfill` supplies them.
    pub whole: bool,
}

/// A row's label set in one family of history.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum CellKey {
    Entry(EntryKey),
    State(StateKey),
    Event(EventKey),
    EventValue(EventValueKey),
    Object(ObjectKey),
    Covered,
}

impl CellKey {
    fn family(&self) -> HistoryFamily {
        match self {
            CellKey::Entry(_) => HistoryFamily::WebApiEntries,
            CellKey::State(_) => HistoryFamily::WebApiStates,
            CellKey::Event(_) => HistoryFamily::EventEntries,
            CellKey::EventValue(_) => HistoryFamily::EventValue,
            CellKey::Object(_) => HistoryFamily::ObjectEntries,
            CellKey::Covered => HistoryFamily::Covered,
        }
    }
}

/// The label sets that were met, by number.
#[derive(Debug, Clone)]
struct SeriesTable {
    account: Arc<str>,
    log: LogKind,
    first_object_code: i64,
    series: Vec<Arc<HistorySeries>>,
    by_key: HashMap<CellKey, usize, RandomState>,
    /// Several keys may share their labels: codes of the Object Log that have no name.
    by_series: HashMap<Arc<HistorySeries>, usize, RandomState>,
}

impl SeriesTable {
    fn number(&mut self, key: CellKey) -> usize {
        if let Some(number) = self.by_key.get(&key) {
            return *number;
        }
        let first = self.first_object_code;
        let values = match &key {
            CellKey::Entry(key) => key.labels(),
            CellKey::State(key) => key.labels(),
            CellKey::Event(key) => key.labels(),
            CellKey::EventValue(key) => key.labels(),
            CellKey::Object(key) => vec![
                object_name::resource_type(key.resource.map(i64::from), first).into(),
                object_name::action(key.action.map(i64::from), first).into(),
            ],
            CellKey::Covered => vec![self.log.name().into()],
        };
        let account = Arc::clone(&self.account);
        let series = HistorySeries { family: key.family(), account, values: values.into() };
        let number = self.number_of(Arc::new(series));
        self.by_key.insert(key, number);
        number
    }

    fn sample(&self, number: usize, stamp: i64, value: i64) -> Option<SampleToPack<'_>> {
        Some(SampleToPack { number, series: self.series.get(number)?, stamp, value })
    }

    fn number_of(&mut self, series: Arc<HistorySeries>) -> usize {
        let SeriesTable { series: all, by_series, .. } = self;
        *by_series.entry(series).or_insert_with_key(|series| {
            all.push(Arc::clone(series));
            all.len() - 1
        })
    }
}

/// A sample that is not written down yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NumberedSample {
    stamp: i64,
    series: usize,
    value: i64,
}

/// The samples that came of the rows since the last batch.
#[derive(Debug, Clone)]
pub struct SampleBatch<'a> {
    table: &'a SeriesTable,
    /// Sorted by stamp.
    samples: Vec<NumberedSample>,
}

impl SampleBatch<'_> {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The samples, sorted by stamp.
    pub fn samples(&self) -> impl Iterator<Item = HistorySample> {
        self.parts(&self.samples).map(|SampleToPack { series, stamp, value, .. }| HistorySample {
            series: Arc::clone(series),
            stamp,
            value,
        })
    }

    /// The samples, packed into chunks of at most `most`, sorted by stamp over all of them.
    pub fn packed(&self, most: usize) -> impl Iterator<Item = PackedSamples> {
        self.samples.chunks(most.max(1)).map(|samples| PackedSamples::pack(self.parts(samples)))
    }

    fn parts<'a>(&'a self, samples: &'a [NumberedSample]) -> impl Iterator<Item = SampleToPack<'a>> {
        samples.iter().filter_map(|sample| self.table.sample(sample.series, sample.stamp, sample.value))
    }
}

/// How many batches of late rows the minutes of a log had, so that each gets a stamp of its own.
///
/// Numbers of old minutes are forgotten, or a ledger would grow without end. A clock that jumps makes
/// recent minutes look old, so what is forgotten still counts: of all forgotten minutes the highest number
/// is kept, and no minute from before the last of them begins below it. It is kept as a row of its own
/// at a time that is no minute: one second after the start of the last one.
#[derive(Debug, Clone, Default)]
struct LateBatches {
    by_minute: BTreeMap<i64, i64>,
    forgotten: Option<ForgottenBatches>,
    changed: BTreeSet<i64>,
    removed: BTreeSet<i64>,
}

/// The last minute of those whose numbers were forgotten, and the highest number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ForgottenBatches {
    last_minute: i64,
    most: i64,
}

/// Changes of the numbers of batches of late rows, by key: the minute, or the one key of all
/// forgotten minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LateChanges {
    /// Keys with their new numbers.
    pub kept: Vec<(i64, i64)>,
    /// Keys that are no longer there.
    pub removed: Vec<i64>,
}

impl LateBatches {
    /// The key of what is forgotten, relative to the last minute.
    const FORGOTTEN: i64 = 1;

    fn restore(rows: BTreeMap<i64, i64>) -> LateBatches {
        let mut batches = LateBatches::default();
        for (key, number) in rows {
            if minute_of(key) == key {
                batches.by_minute.insert(key, number);
            } else {
                batches.add_forgotten(minute_of(key), number);
            }
        }
        batches
    }

    /// The next free stamp for late rows of a minute.
    fn next_stamp(&mut self, minute: i64) -> i64 {
        let mut minute = minute;
        loop {
            let forgotten = self.forgotten.filter(|forgotten| minute <= forgotten.last_minute);
            let before = forgotten.map_or(0, |forgotten| forgotten.most);
            let batches = self.by_minute.entry(minute).or_insert(before);
            *batches = before.max(*batches);
            let stamp = FIRST_LATE + *batches;
            if stamp <= LAST_LATE {
                *batches += 1;
                self.changed.insert(minute);
                return minute.saturating_mul(1000).saturating_add(stamp);
            }
            minute = minute.saturating_add(MINUTE);
        }
    }

    fn forget_before(&mut self, minute: i64) {
        let kept = self.by_minute.split_off(&minute);
        for (minute, number) in std::mem::replace(&mut self.by_minute, kept) {
            self.changed.remove(&minute);
            self.removed.insert(minute);
            self.add_forgotten(minute, number);
        }
    }

    fn add_forgotten(&mut self, minute: i64, number: i64) {
        let before = self.forgotten.unwrap_or(ForgottenBatches { last_minute: minute, most: number });
        let last_minute = before.last_minute.max(minute);
        if last_minute != before.last_minute {
            self.removed.insert(before.last_minute + Self::FORGOTTEN);
        }
        self.changed.insert(last_minute + Self::FORGOTTEN);
        self.forgotten = Some(ForgottenBatches { last_minute, most: before.most.max(number) });
    }

    fn take_changes(&mut self) -> LateChanges {
        let (changed, removed) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.removed));
        let forgotten =
            self.forgotten.map(|forgotten| (forgotten.last_minute + Self::FORGOTTEN, forgotten.most));
        let number = |key: i64| {
            let of_forgotten = forgotten.filter(|(forgotten, _)| *forgotten == key).map(|(_, most)| most);
            Some((key, of_forgotten.or_else(|| self.by_minute.get(&key).copied())?))
        };
        let kept: Vec<(i64, i64)> = changed.into_iter().filter_map(number).collect();
        let removed = removed.into_iter().filter(|key| number(*key).is_none()).collect();
        LateChanges { kept, removed }
    }
}

/// The rows of one log by the minute in which they happened, as far as they are not handed out.
///
/// The live lane and `backfill` use it alike: count rows through [`RowObserver`], seal minutes, and take
/// the batch of samples that this made. All late rows of one batch and minute share a stamp.
#[derive(Debug, Clone)]
pub struct MinuteCounts {
    table: SeriesTable,
    start: Option<HistoryStart>,
    /// Minutes that start before it are sealed.
    sealed_until: i64,
    /// Minutes before it get no sample that says that they were read.
    cover_from: i64,
    /// Rows that have no usable time.
    without_time: u64,
    /// Minutes that are not sealed.
    open: CountsByMinute,
    /// The late rows of this batch.
    late: CountsByMinute,
    late_batches: LateBatches,
    /// The samples of this batch.
    sealed: Vec<NumberedSample>,
}

impl MinuteCounts {
    /// No counts yet. Rows are in no sample until the history [begins](Self::begin).
    pub fn new(account: Arc<str>, log: LogKind, first_object_code: i64) -> MinuteCounts {
        MinuteCounts {
            table: SeriesTable {
                account,
                log,
                first_object_code,
                series: Vec::new(),
                by_key: HashMap::default(),
                by_series: HashMap::default(),
            },
            start: None,
            sealed_until: i64::MIN,
            cover_from: i64::MIN,
            without_time: 0,
            open: CountsByMinute::default(),
            late: CountsByMinute::default(),
            late_batches: LateBatches::default(),
            sealed: Vec::new(),
        }
    }

    /// The history begins here, and minutes before `sealed_until` (Unix seconds) are sealed already; the
    /// origin is never later than that.
    pub fn begin(&mut self, start: HistoryStart, sealed_until: i64) {
        self.start = Some(start);
        self.sealed_until = self.sealed_until.max(sealed_until).max(start.origin);
    }

    /// Takes back the counts of minutes that are not sealed, as [`MinuteCounts::open`] packed them, the
    /// numbers of batches of late rows as [`LateChanges`] named them, and the number of rows without a time.
    ///
    /// # Errors
    /// [`UnreadableSamples`] for bytes that are no packed samples.
    pub fn restore(
        &mut self,
        open: &[u8],
        late_batches: BTreeMap<i64, i64>,
        without_time: u64,
    ) -> Result<(), UnreadableSamples> {
        for HistorySample { series, stamp, value } in PackedSamples::unpack(&self.table.account, open)? {
            let number = self.table.number_of(series);
            self.open.add(minute_of(stamp.div_euclid(1000)), number, value);
        }
        (self.late_batches, self.without_time) = (LateBatches::restore(late_batches), without_time);
        Ok(())
    }

    /// Minutes before `from` (Unix seconds) get no sample that says that they were read: no target would
    /// take it.
    pub fn cover_from(&mut self, from: i64) {
        self.cover_from = from;
    }

    /// Where the history begins; `None` before it does.
    pub fn start(&self) -> Option<HistoryStart> {
        self.start
    }

    /// Minutes that start before it are sealed.
    pub fn sealed_until(&self) -> i64 {
        self.sealed_until
    }

    /// Rows that were counted and have no usable time.
    pub fn without_time(&self) -> u64 {
        self.without_time
    }

    /// The counts of the minutes that are not sealed, to be kept.
    pub fn open(&mut self) -> PackedSamples {
        let table = &self.table;
        PackedSamples::pack(self.open.iter().flat_map(|(minute, cells)| {
            let stamp = sealed_stamp(minute);
            cells.iter().filter_map(move |(number, value)| table.sample(*number, stamp, *value))
        }))
    }

    /// Adds what is known of a day that is over, beside the rows: `day` is its start, in Unix seconds. A
    /// late value is added to what was known at first.
    pub fn add_of_day(
        &mut self,
        family: HistoryFamily,
        values: &[Arc<str>],
        day: i64,
        value: i64,
        is_late: bool,
    ) {
        let Some(start) = self.start else { return };
        if !start.whole && day < start.origin {
            return;
        }
        let account = Arc::clone(&self.table.account);
        let series = self.table.number_of(Arc::new(HistorySeries { family, account, values: values.into() }));
        if is_late {
            self.late.add(day, series, value);
        } else {
            self.sealed.push(NumberedSample { stamp: sealed_stamp(day), series, value });
        }
    }

    /// Ends a batch: hands out its samples, and how the numbers of batches of late rows changed. Those of
    /// minutes before `forget_before` (Unix seconds) are forgotten but for the highest of them.
    pub fn take_batch(&mut self, forget_before: i64) -> (SampleBatch<'_>, LateChanges) {
        for (minute, cells) in self.late.take_before(i64::MAX) {
            let stamp = self.late_batches.next_stamp(minute);
            self.sealed.extend(samples_of(stamp, cells));
        }
        let mut samples = std::mem::take(&mut self.sealed);
        // Sealed minutes are sorted already, which this sort makes use of: while a backlog is read
        // there are some 40,000 of them and no late rows.
        samples.sort();
        self.late_batches.forget_before(minute_of(forget_before));
        (SampleBatch { table: &self.table, samples }, self.late_batches.take_changes())
    }

    /// The minute that a row is filed under, and the counts that it belongs to; `None` if it is in no
    /// sample.
    fn filed(&mut self, time: Option<i64>, read_at: i64) -> Option<(i64, &mut CountsByMinute)> {
        let Some(time) = filed_under(time, read_at) else {
            self.without_time += 1;
            return None;
        };
        let start = self.start?;
        let minute = minute_of(time);
        if !start.whole && minute < start.origin {
            return None;
        }
        #[cfg(test)]
        if crate::ingest::flaw::OF_THE_LEDGER.get() == Some(crate::ingest::flaw::Flaw::LateMarkMissing) {
            return Some((minute, &mut self.open));
        }
        Some((minute, if minute < self.sealed_until { &mut self.late } else { &mut self.open }))
    }
}

/// The stamp of what was known of a minute (Unix seconds) when it was sealed, in Unix milliseconds.
pub const fn sealed_stamp(minute: i64) -> i64 {
    minute.saturating_mul(1000).saturating_add(SEALED)
}

fn samples_of(stamp: i64, cells: Vec<Cell>) -> impl Iterator<Item = NumberedSample> {
    cells.into_iter().map(move |(series, value)| NumberedSample { stamp, series, value })
}

impl RowObserver for MinuteCounts {
    fn web_api(&mut self, row: &WebApiRow, labels: &WebApiLabels, read_at: i64) {
        let entry = self.table.number(CellKey::Entry(labels.entry));
        let state = self.table.number(CellKey::State(labels.state));
        if let Some((minute, counts)) = self.filed(row.time(), read_at) {
            counts.add(minute, entry, 1);
            counts.add(minute, state, 1);
        }
    }

    fn event(&mut self, row: &EventRow, labels: &EventLabels<'_>, read_at: i64) {
        let event = self.table.number(CellKey::Event(labels.event.clone()));
        let value =
            labels.value.map(|(key, value)| (self.table.number(CellKey::EventValue(key.clone())), value));
        if let Some((minute, counts)) = self.filed(row.time(), read_at) {
            counts.add(minute, event, 1);
            if let Some((series, value)) = value {
                counts.add(minute, series, value);
            }
        }
    }

    fn object(&mut self, row: &ObjectRow, labels: ObjectKey, read_at: i64) {
        let object = self.table.number(CellKey::Object(labels));
        if let Some((minute, counts)) = self.filed(row.time(), read_at) {
            counts.add(minute, object, 1);
        }
    }

    fn seal(&mut self, log: LogKind, until: i64) {
        let until = minute_of(until);
        let Some(start) = self.start.filter(|_| log == self.table.log && until > self.sealed_until) else {
            return;
        };
        let series = self.table.number(CellKey::Covered);
        let mut next = self.sealed_until.max(start.origin).max(minute_of(self.cover_from));
        let sealed = &mut self.sealed;
        let mut cover = |sealed: &mut Vec<NumberedSample>, until: i64| {
            while next < until {
                sealed.push(NumberedSample { stamp: sealed_stamp(next), series, value: COVERED_SECONDS });
                next += MINUTE;
            }
        };
        for (minute, cells) in self.open.take_before(until) {
            cover(sealed, minute);
            sealed.extend(samples_of(sealed_stamp(minute), cells));
        }
        cover(sealed, until);
        self.sealed_until = until;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEGIN: i64 = 1_700_000_040;

    fn counts(start: HistoryStart) -> MinuteCounts {
        let mut counts = MinuteCounts::new("default".into(), LogKind::Objects, 0);
        counts.begin(start, start.origin);
        counts
    }

    fn row(counts: &mut MinuteCounts, time: Option<i64>, action: i64, read_at: i64) {
        let row = ObjectRow { created: time, ..ObjectRow::with_id(1) };
        counts.object(&row, ObjectKey::of(Some(1), Some(action)), read_at);
    }

    /// Stamps after a time, with their values, without those of coverage.
    fn batch(counts: &mut MinuteCounts, after: i64) -> Vec<(i64, i64)> {
        let (batch, _) = counts.take_batch(i64::MIN);
        let samples = batch.samples().filter(|sample| sample.series.family != HistoryFamily::Covered);
        samples.map(|sample| (sample.stamp - after * 1000, sample.value)).collect()
    }

    #[test]
    fn a_sealed_minute_has_one_stamp_and_each_batch_of_late_rows_another() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: true });
        row(&mut counts, Some(BEGIN + 59), 1, BEGIN + 60);
        row(&mut counts, Some(BEGIN), 1, BEGIN + 60);
        row(&mut counts, Some(BEGIN + 60), 1, BEGIN + 60);
        assert_eq!(batch(&mut counts, BEGIN), []);
        counts.seal(LogKind::Objects, BEGIN + 60);
        assert_eq!(batch(&mut counts, BEGIN), [(1, 2)]);
        row(&mut counts, Some(BEGIN + 7), 1, BEGIN + 90);
        row(&mut counts, Some(BEGIN + 8), 1, BEGIN + 90);
        assert_eq!(batch(&mut counts, BEGIN), [(2, 2)]);
        row(&mut counts, Some(BEGIN + 9), 1, BEGIN + 99);
        assert_eq!(batch(&mut counts, BEGIN), [(3, 1)]);
        counts.seal(LogKind::Objects, BEGIN);
        assert_eq!(counts.sealed_until(), BEGIN + 60, "it never falls");
        counts.seal(LogKind::Objects, BEGIN + 120);
        assert_eq!(batch(&mut counts, BEGIN + 60), [(1, 1)]);
    }

    #[test]
    fn late_batches_beyond_the_minute_take_the_stamps_of_the_next() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: true });
        counts.seal(LogKind::Objects, BEGIN + 60);
        counts.restore(&[], BTreeMap::from([(BEGIN, 58_998)]), 0).unwrap();
        let mut stamps = Vec::new();
        for _ in 0..3 {
            row(&mut counts, Some(BEGIN), 1, BEGIN + 70);
            stamps.extend(batch(&mut counts, BEGIN));
        }
        assert_eq!(stamps, [(59_000, 1), (60_002, 1), (60_003, 1)]);
    }

    #[test]
    fn rows_without_a_time_are_in_no_minute_and_those_of_the_future_in_that_of_reading() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: true });
        row(&mut counts, None, 1, BEGIN + 5);
        row(&mut counts, Some(BEGIN + 5 + 600), 1, BEGIN + 5);
        row(&mut counts, Some(BEGIN + 5 + 601), 1, BEGIN + 5);
        counts.seal(LogKind::Objects, BEGIN + 3600);
        assert_eq!(batch(&mut counts, BEGIN), [(1, 1), (600_001, 1)]);
        assert_eq!(counts.without_time(), 1);
    }

    #[test]
    fn history_that_was_turned_on_later_has_no_rows_from_before() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: false });
        row(&mut counts, Some(BEGIN - 1), 1, BEGIN + 5);
        row(&mut counts, Some(BEGIN), 1, BEGIN + 5);
        counts.seal(LogKind::Objects, BEGIN + 60);
        assert_eq!(batch(&mut counts, BEGIN), [(1, 1)]);
        let mut whole = self::counts(HistoryStart { origin: BEGIN, whole: true });
        row(&mut whole, Some(BEGIN - 1), 1, BEGIN + 5);
        assert_eq!(batch(&mut whole, BEGIN - 60), [(2, 1)], "a late row");
    }

    #[test]
    fn no_minute_is_said_to_be_read_that_no_target_takes() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: true });
        counts.cover_from(BEGIN + 125);
        counts.seal(LogKind::Objects, BEGIN + 240);
        let (batch, _) = counts.take_batch(i64::MIN);
        let stamps: Vec<i64> = batch.samples().map(|sample| sample.stamp - BEGIN * 1000).collect();
        assert_eq!(stamps, [120_001, 180_001]);
    }

    #[test]
    fn codes_that_share_a_name_share_a_series() {
        let mut counts = counts(HistoryStart { origin: BEGIN, whole: true });
        row(&mut counts, Some(BEGIN), 77, BEGIN);
        row(&mut counts, Some(BEGIN), 78, BEGIN);
        counts.seal(LogKind::Objects, BEGIN + 60);
        assert_eq!(batch(&mut counts, BEGIN), [(1, 2)]);
    }

    #[test]
    fn a_day_has_one_value_when_it_is_sealed_and_late_ones_are_added() {
        const DAY: i64 = 1_700_006_400;
        let mut counts = counts(HistoryStart { origin: DAY, whole: false });
        let values = [Arc::from("7"), Arc::from("1d")];
        let add = |counts: &mut MinuteCounts, day, value, is_late| {
            counts.add_of_day(HistoryFamily::ActiveKeys, &values, day, value, is_late);
        };
        add(&mut counts, DAY, 5, false);
        add(&mut counts, DAY - 86_400, 9, false);
        assert_eq!(batch(&mut counts, DAY), [(1, 5)], "nothing from before the history began");
        add(&mut counts, DAY, 1, true);
        add(&mut counts, DAY, 2, true);
        assert_eq!(batch(&mut counts, DAY), [(2, 3)]);
        add(&mut counts, DAY, 1, true);
        assert_eq!(batch(&mut counts, DAY), [(3, 1)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A row with a time, relative to now, and an action.
        Row(i64, i64),
        /// Time goes by.
        Wait(i64),
        /// The clock jumps by so many days.
        Jump(i64),
        /// Minutes before a time, relative to now, are sealed.
        Seal(i64),
        /// The transaction ends.
        Batch,
        /// The process ends, and another goes on with what is kept.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (-4000..700_i64, 0..5_i64).prop_map(|(time, action)| Step::Row(time, action)),
            2 => (0..400_i64).prop_map(Step::Wait),
            1 => (-90..90_i64).prop_map(Step::Jump),
            2 => (-4000..100_i64).prop_map(Step::Seal),
            2 => Just(Step::Batch),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// Every row is in exactly one sample of its own minute, and no stamp has two values, however far
        /// the clock jumps.
        #[test]
        fn each_row_is_in_one_sample_of_its_minute(steps in prop::collection::vec(step(), 1..120)) {
            const KEPT: i64 = 30 * 86_400;
            let start = HistoryStart { origin: BEGIN, whole: true };
            let mut counts = counts(start);
            // The clock is right again in the end, and so is the time of most rows all along.
            let (mut right, mut jumped) = (BEGIN + 3600, 0);
            let (mut truth, mut samples, mut kept_late) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            let mut expected = BTreeSet::new();
            let end = [Step::Jump(0), Step::Wait(5000), Step::Seal(0), Step::Batch];
            for step in steps.into_iter().chain(end) {
                let now = right + jumped;
                match step {
                    Step::Row(time, action) => {
                        let own = right + time;
                        row(&mut counts, Some(own), action, now);
                        let minute = minute_of(if own > now + 600 { now } else { own });
                        *truth.entry((minute, object_name::action(Some(action), 0))).or_insert(0) += 1;
                    }
                    Step::Wait(seconds) => right += seconds,
                    Step::Jump(days) => jumped = days * 86_400,
                    Step::Seal(time) => {
                        // Coverage of all the days that the clock jumped would make the test slow.
                        let (from, sealed) = (minute_of(now - 20_000), counts.sealed_until());
                        counts.cover_from(from);
                        counts.seal(LogKind::Objects, now + time);
                        expected.extend((sealed.max(from)..counts.sealed_until()).step_by(60));
                    }
                    Step::Batch | Step::Restart => {
                        let (batch, changes) = counts.take_batch(now - KEPT);
                        for sample in batch.samples() {
                            let before = samples.insert((Arc::clone(&sample.series), sample.stamp), sample.value);
                            prop_assert_eq!(before, None, "{:?}", sample);
                        }
                        changes.removed.iter().for_each(|key| { kept_late.remove(key); });
                        kept_late.extend(changes.kept);
                        prop_assert!(kept_late.values().all(|batches| *batches > 0));
                    }
                }
                if matches!(step, Step::Restart) {
                    let kept = (counts.open().bytes, kept_late.clone(), counts.sealed_until());
                    counts = self::counts(start);
                    counts.begin(start, kept.2);
                    counts.restore(&kept.0, kept.1, 0).unwrap();
                }
            }
            let mut sums = BTreeMap::new();
            let mut covered = BTreeSet::new();
            for ((series, stamp), value) in samples {
                let minute = minute_of(stamp / 1000);
                match series.family {
                    HistoryFamily::Covered => prop_assert!(covered.insert(minute), "{}", minute),
                    _ => *sums.entry((minute, series.values[1].to_string())).or_insert(0) += value,
                }
            }
            let truth: BTreeMap<_, i64> =
                truth.into_iter().map(|((minute, action), rows)| ((minute, action.to_owned()), rows)).collect();
            prop_assert_eq!(sums, truth);
            prop_assert_eq!(covered, expected, "each minute once");
        }
    }
}

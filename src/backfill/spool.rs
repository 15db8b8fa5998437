//! Sorts samples that do not fit into memory: runs of bounded length are sorted and written to
//! temporary files, then merged.
//!
//! Promises: samples of one series and stamp become one, whose value is their sum; memory holds one
//! run and a buffer for each file. The files have no name, and go with the process.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use crate::history::{HistorySample, HistorySeries};

/// The most samples of a run: 24 bytes each in memory.
const RUN: usize = 1_000_000;
/// The bytes of a sample in a file.
const RECORD: usize = 24;

/// The order of the samples that come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpoolOrder {
    /// By time: oldest first, as targets want them.
    Time,
    /// By family and series, and by time within each: as a file of OpenMetrics has them.
    Series,
}

/// A sample with the number of its series. The derived order is that of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SpooledSample {
    major: i64,
    minor: i64,
    value: i64,
}

/// Takes samples in any order.
#[derive(Debug)]
pub(super) struct Spool {
    order: SpoolOrder,
    series: Vec<Arc<HistorySeries>>,
    numbers: HashMap<Arc<HistorySeries>, u64>,
    run: Vec<SpooledSample>,
    files: Vec<File>,
    most: usize,
}

impl Spool {
    pub(super) fn new(order: SpoolOrder) -> Spool {
        Spool {
            order,
            series: Vec::new(),
            numbers: HashMap::new(),
            run: Vec::new(),
            files: Vec::new(),
            most: RUN,
        }
    }

    /// Takes a sample.
    pub(super) fn push(&mut self, sample: HistorySample) -> io::Result<()> {
        let number = self.number(sample.series);
        let (major, minor) = match self.order {
            SpoolOrder::Time => (sample.stamp, number),
            SpoolOrder::Series => (number, sample.stamp),
        };
        self.run.push(SpooledSample { major, minor, value: sample.value });
        if self.run.len() >= self.most { self.write_run() } else { Ok(()) }
    }

    /// The number of a series: its family in front, so that families do not mix.
    fn number(&mut self, series: Arc<HistorySeries>) -> i64 {
        let Spool { series: all, numbers, .. } = self;
        let family = u64::try_from(
            crate::history::HistoryFamily::ALL
                .iter()
                .position(|family| *family == series.family)
                .unwrap_or_default(),
        );
        let place = *numbers.entry(series).or_insert_with_key(|series| {
            all.push(Arc::clone(series));
            u64::try_from(all.len() - 1).unwrap_or(u64::MAX)
        });
        i64::try_from((family.unwrap_or_default() << 40) | place).unwrap_or(i64::MAX)
    }

    /// Sorts what is in memory, and adds up what is the same.
    fn sorted_run(&mut self) -> Vec<SpooledSample> {
        let mut run = std::mem::take(&mut self.run);
        run.sort_unstable();
        run.dedup_by(|later, first| {
            let same = (later.major, later.minor) == (first.major, first.minor);
            if same {
                first.value = first.value.saturating_add(later.value);
            }
            same
        });
        run
    }

    fn write_run(&mut self) -> io::Result<()> {
        let run = self.sorted_run();
        let mut file = BufWriter::new(tempfile::tempfile()?);
        for SpooledSample { major, minor, value } in &run {
            for number in [major, minor, value] {
                file.write_all(&number.to_le_bytes())?;
            }
        }
        self.files.push(file.into_inner()?);
        // Its memory is used again.
        self.run = run;
        self.run.clear();
        Ok(())
    }

    /// All samples, sorted.
    pub(super) fn sorted(mut self) -> io::Result<SortedSamples> {
        let mut runs = vec![SortedRun::Memory(self.sorted_run().into_iter())];
        for mut file in std::mem::take(&mut self.files) {
            file.seek(SeekFrom::Start(0))?;
            runs.push(SortedRun::File(BufReader::with_capacity(1 << 16, file)));
        }
        let mut heads = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|sample| Reverse((sample, number))));
        }
        Ok(SortedSamples { order: self.order, series: self.series, runs, heads })
    }
}

#[derive(Debug)]
enum SortedRun {
    Memory(std::vec::IntoIter<SpooledSample>),
    File(BufReader<File>),
}

impl SortedRun {
    fn next(&mut self) -> io::Result<Option<SpooledSample>> {
        let file = match self {
            SortedRun::Memory(samples) => return Ok(samples.next()),
            SortedRun::File(file) => file,
        };
        let mut bytes = [0; RECORD];
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut numbers = bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        let mut number = || numbers.next().unwrap_or_default();
        Ok(Some(SpooledSample { major: number(), minor: number(), value: number() }))
    }
}

/// The samples of a spool, in their order.
#[derive(Debug)]
pub(super) struct SortedSamples {
    order: SpoolOrder,
    series: Vec<Arc<HistorySeries>>,
    runs: Vec<SortedRun>,
    heads: BinaryHeap<Reverse<(SpooledSample, usize)>>,
}

impl SortedSamples {
    /// The next sample; `None` behind the last.
    pub(super) fn next(&mut self) -> io::Result<Option<HistorySample>> {
        let Some(mut sample) = self.pop()? else { return Ok(None) };
        while let Some(Reverse((next, _))) = self.heads.peek()
            && (next.major, next.minor) == (sample.major, sample.minor)
        {
            let Some(same) = self.pop()? else { break };
            sample.value = sample.value.saturating_add(same.value);
        }
        let (stamp, number) = match self.order {
            SpoolOrder::Time => (sample.major, sample.minor),
            SpoolOrder::Series => (sample.minor, sample.major),
        };
        let place = usize::try_from(number & ((1 << 40) - 1)).unwrap_or(usize::MAX);
        let Some(series) = self.series.get(place) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a temporary file was changed"));
        };
        Ok(Some(HistorySample { series: Arc::clone(series), stamp, value: sample.value }))
    }

    fn pop(&mut self) -> io::Result<Option<SpooledSample>> {
        let Some(Reverse((sample, number))) = self.heads.pop() else { return Ok(None) };
        if let Some(run) = self.runs.get_mut(number)
            && let Some(next) = run.next()?
        {
            self.heads.push(Reverse((next, number)));
        }
        Ok(Some(sample))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::history::HistoryFamily;

    fn series(number: usize) -> Arc<HistorySeries> {
        let family = HistoryFamily::ALL[number % HistoryFamily::ALL.len()];
        let values = Arc::from([Arc::from(number.to_string())]);
        Arc::new(HistorySeries { family, account: "default".into(), values })
    }

    proptest! {
        #[test]
        fn samples_come_out_sorted_and_added_up(
            samples in proptest::collection::vec((0_usize..9, 0_i64..20, 1_i64..100), 0..200),
            by_time: bool,
        ) {
            let order = if by_time { SpoolOrder::Time } else { SpoolOrder::Series };
            let mut spool = Spool { most: 7, ..Spool::new(order) };
            let mut expected: BTreeMap<(usize, i64), i64> = BTreeMap::new();
            for (number, stamp, value) in samples {
                *expected.entry((number, stamp)).or_default() += value;
                spool.push(HistorySample { series: series(number), stamp, value }).unwrap();
            }
            let mut sorted = spool.sorted().unwrap();
            let mut found = Vec::new();
            while let Some(sample) = sorted.next().unwrap() {
                found.push(sample);
            }
            match order {
                SpoolOrder::Time => prop_assert!(found.is_sorted_by_key(|sample| sample.stamp)),
                SpoolOrder::Series => {
                    prop_assert!(found.is_sorted_by_key(|sample| sample.series.family));
                    let runs = found.chunk_by(|one, next| one.series == next.series);
                    let mut seen = Vec::new();
                    for run in runs {
                        prop_assert!(run.is_sorted_by_key(|sample| sample.stamp));
                        prop_assert!(!seen.contains(&run[0].series), "a series is in one place");
                        seen.push(Arc::clone(&run[0].series));
                    }
                }
            }
            let all: BTreeMap<(usize, i64), i64> = found
                .iter()
                .map(|sample| ((sample.series.values[0].parse().unwrap(), sample.stamp), sample.value))
                .collect();
            prop_assert_eq!(all.len(), found.len());
            prop_assert_eq!(all, expected);
        }
    }
}

//! One pass over a log, from floor to end: which page to ask for next, which of its rows are new, and how far the
//! floor may move. Pure: it knows neither network nor ledger nor clock.
//!
//! Promises: an id above the origin is handed over at most once, and exactly once if it becomes visible within the
//! overlap of the rows around it. Rows that are revealed later cannot be seen by any cursor.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cryptolens::{Counted, Row};

use super::arrange::Arranged;
use super::batch::{Batch, PageStatistics};
use super::position::Position;

/// Inside a long pass, rows this much older than the newest are not kept in the window, in seconds.
const LONG_PASS_REACH: i64 = 3600;

/// Rule 2 holds only for pages that arrive this soon after the pass began: what was visible then can be much older
/// than what is visible now.
const LONG_PASS_TRUST: Duration = Duration::from_secs(15 * 60);

/// How far the server's clock may be ahead of ours, in seconds, for a row to tell that the end is reached.
const SKEW: i64 = 60;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampPair {
    /// Local time in Unix seconds; may jump.
    pub unix: i64,
    /// Time since some fixed moment; never goes back.
    pub monotonic: Duration,
}

/// What is remembered from pass to pass, as long as the process lives.
#[derive(Debug, Clone, Default)]
pub struct SessionState {
    /// When a row was last added, or when the process started, on the monotonic clock.
    last_added: Duration,
    /// Rows without an id by the id of the row before. They can't be told apart, so that a number that doesn't grow is
    /// taken for the same rows read again.
    without_id: BTreeMap<i64, u64>,
}

impl TimestampPair {
    /// Now.
    pub fn now() -> TimestampPair {
        static START: std::sync::LazyLock<tokio::time::Instant> =
            std::sync::LazyLock::new(tokio::time::Instant::now);
        TimestampPair { unix: chrono::Utc::now().timestamp(), monotonic: START.elapsed() }
    }
}

impl SessionState {
    /// Of a process that starts now.
    pub fn new(now: TimestampPair) -> SessionState {
        SessionState { last_added: now.monotonic, without_id: BTreeMap::new() }
    }

    /// How many of a page's rows without an id, each given by the id of the row before, are new.
    fn meet(&mut self, page: impl Iterator<Item = i64>) -> u64 {
        let mut listed = BTreeMap::<i64, u64>::new();
        page.for_each(|before| *listed.entry(before).or_default() += 1);
        let mut new = 0;
        for (before, rows) in listed {
            let met = self.without_id.entry(before).or_default();
            new += rows.saturating_sub(*met);
            *met = rows.max(*met);
        }
        new
    }
}

/// What a page came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// To be written down; `None` if nothing changed.
    pub record: Option<Batch>,
    /// True if this page ended the pass.
    pub complete: bool,
    /// Rows without an id that were not met before.
    pub malformed: u64,
}

/// A pass under way.
#[derive(Debug, Clone)]
pub struct Poll {
    began: TimestampPair,
    overlap: Duration,
    /// The clock of the cursor before the first request.
    clock_before: i64,
    /// The cursor before the first request.
    cursor_before: i64,
    asked: i64,
    /// New rows so far.
    added: u64,
    /// Whether the end of a complete pass must be written down even if nothing else changed.
    first: bool,
}

impl Poll {
    /// Begins at the floor, with a request that is made `now`; `first` if no pass over this log was ever complete.
    pub fn begin(position: &Position, overlap: Duration, first: bool, now: TimestampPair) -> Poll {
        Poll {
            began: now,
            overlap,
            clock_before: position.newest_clock(),
            cursor_before: position.cursor(),
            asked: position.floor(),
            added: 0,
            first,
        }
    }

    /// The id after which to ask next.
    pub fn asks_after(&self) -> i64 {
        self.asked
    }

    /// When its first request was made.
    pub fn began(&self) -> TimestampPair {
        self.began
    }

    /// New rows so far.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Takes the answer to the page asked for.
    pub fn take<R: Counted>(
        &mut self,
        position: &mut Position,
        memory: &mut SessionState,
        page: Arranged<R>,
        now: TimestampPair,
    ) -> Step {
        let no_id = memory.meet(page.without_id.iter().map(|before| before.unwrap_or(self.asked)));
        let mut statistics = PageStatistics { no_id, duplicate: page.repeated, ..PageStatistics::default() };
        let floor_before = position.floor();
        let highest = page.rows.last().map(Row::id).filter(|id| *id > self.asked);
        let newest = page.rows.iter().filter_map(Row::time).max();
        let mut counted = Vec::new();
        let mut fresh = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let id = row.id();
            if id <= floor_before {
                statistics.below_floor += 1;
            } else if position.is_counted(id) {
                // At or below what was asked for, it was in an earlier page of this pass; above, it is the overlap.
                statistics.duplicate += u64::from(id <= self.asked);
            } else {
                statistics.late += u64::from(id < self.cursor_before);
                let stamp = row.time().map_or(now.unix, |time| time.min(now.unix));
                position.count(id, stamp);
                counted.push(id);
                fresh.push(row);
            }
        }
        if !fresh.is_empty() {
            self.added += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
            memory.last_added = now.monotonic;
        }
        self.asked = highest.unwrap_or(self.asked);
        let complete = highest.is_none() || (!page.full && self.is_live(newest, now));
        if complete {
            self.raise_floor_at_end(position, memory);
        } else {
            self.raise_floor_inside(position, now);
        }
        if position.floor() != floor_before {
            memory.without_id = memory.without_id.split_off(&position.floor());
        }
        let changed =
            !fresh.is_empty() || statistics != PageStatistics::default() || position.floor() != floor_before;
        let newest_entry = fresh.iter().filter_map(Row::time).filter(|time| *time <= now.unix).max();
        let record = (changed || (complete && self.first)).then(|| Batch {
            rows: R::wrap(fresh),
            read_at: now.unix,
            statistics,
            floor: position.floor(),
            cursor: position.cursor(),
            watermark: position.newest_clock(),
            counted,
            newest_entry,
            poll_end: complete.then_some(now.unix),
            more_follows: page.full && !complete,
        });
        Step { record, complete, malformed: no_id }
    }

    /// True if the pass has read all that was counted before, and up to rows that did not exist when it began. A log that
    /// is never quiet gives no empty page, and a pass over it would go on for ever. To end here is as good: rule 1 goes by
    /// rows that were there before the pass, all of which it has read; rule 3 asks that it added nothing; and the next
    /// pass begins at the floor, wherever this one ended.
    fn is_live(&self, newest: Option<i64>, now: TimestampPair) -> bool {
        let happened_since =
            newest.is_some_and(|time| time > self.began.unix && time <= now.unix.saturating_add(SKEW));
        happened_since && self.asked >= self.cursor_before
    }

    /// Rule 2: catching up needs little memory. A row at or below the new floor is older than the newest by more than
    /// the overlap and the time since the pass began: it was visible before this pass, which has read up to there.
    fn raise_floor_inside(&self, position: &mut Position, now: TimestampPair) {
        // The monotonic clock of a machine that was suspended stands still.
        let by_calendar = u64::try_from(now.unix.saturating_sub(self.began.unix)).unwrap_or(0);
        let took = now.monotonic.saturating_sub(self.began.monotonic).max(Duration::from_secs(by_calendar));
        if took <= LONG_PASS_TRUST {
            let reach = LONG_PASS_REACH.max(seconds(self.overlap + LONG_PASS_TRUST));
            position.raise_floor_below(position.newest_clock().saturating_sub(reach), self.asked);
        }
    }

    /// Rules 1 and 3.
    fn raise_floor_at_end(&self, position: &mut Position, memory: &SessionState) {
        let quiet = self.began.monotonic.saturating_sub(memory.last_added);
        if self.added == 0 && quiet >= self.overlap {
            position.raise_floor_to(position.cursor());
        } else {
            let mark = self.clock_before.saturating_sub(seconds(self.overlap));
            position.raise_floor_below(mark, position.cursor());
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::{EventRow, Page};
    use crate::ingest::arrange;

    /// A log whose rows become visible as time goes by, read by passes.
    struct Reader {
        rows: Vec<(i64, i64)>,
        limit: u16,
        overlap: Duration,
        position: Position,
        memory: SessionState,
        complete: bool,
    }

    fn at(second: i64) -> TimestampPair {
        TimestampPair { unix: second, monotonic: Duration::from_secs(u64::try_from(second).unwrap()) }
    }

    impl Reader {
        fn of(rows: impl IntoIterator<Item = (i64, i64)>, limit: u16, overlap: u64) -> Reader {
            Reader {
                rows: rows.into_iter().collect(),
                limit,
                overlap: Duration::from_secs(overlap),
                position: Position::at_origin(0),
                memory: SessionState::new(at(0)),
                complete: false,
            }
        }

        /// One pass, each request of which takes `latency` seconds. Returns requests, records and rows.
        fn pass(&mut self, began: i64, latency: i64) -> (u32, Vec<Batch>, usize) {
            let mut pass = Poll::begin(&self.position, self.overlap, !self.complete, at(began));
            let (mut requests, mut records, mut rows) = (0, Vec::new(), 0);
            let mut now = began;
            loop {
                requests += 1;
                now += latency;
                let after = pass.asks_after();
                let visible = self.rows.iter().filter(|(id, time)| *id > after && *time <= now);
                let page = visible
                    .take(self.limit.into())
                    .map(|(id, time)| EventRow { time: Some(*time), ..EventRow::with_id(*id) });
                let page = arrange(Page { rows: page.collect(), without_id: vec![] }, self.limit).unwrap();
                let step = pass.take(&mut self.position, &mut self.memory, page, at(now));
                if let Some(record) = step.record {
                    rows += record.rows.len();
                    records.push(record);
                }
                if step.complete {
                    self.complete = true;
                    return (requests, records, rows);
                }
            }
        }
    }

    #[test]
    fn an_idle_log_costs_one_request_per_poll_and_no_write() {
        let mut reader = Reader::of((1..=250).map(|id| (id, 1000)), 100, 60);
        assert_eq!(reader.pass(1000, 0).0, 4, "three pages and the empty one");
        let mut costs = Vec::new();
        for poll in 1..=8 {
            let (requests, records, rows) = reader.pass(1000 + poll * 15, 0);
            costs.push((requests, records.len(), rows));
        }
        // The last row was added at 1000, so the pass that begins at 1060 raises the floor to the cursor.
        assert_eq!(costs[..4], [(4, 0, 0), (4, 0, 0), (4, 0, 0), (4, 1, 0)]);
        assert_eq!(costs[4..], [(1, 0, 0); 4]);
    }

    #[test]
    fn a_dense_minute_is_not_read_again_after_the_overlap() {
        // 20 rows a second, for ever: what is read again is bounded by the overlap.
        let mut reader = Reader::of((1..=20_000).map(|id| (id, id / 20)), 100, 60);
        for poll in 1..60 {
            let (requests, _, _) = reader.pass(poll * 15, 0);
            let bound = (60 + 2 * 15) * 20 / 100 + 2;
            assert!(requests <= bound, "{requests} requests at poll {poll}");
            assert!(reader.position.window().len() <= (60 + 3 * 15) * 20, "poll {poll}");
        }
    }

    #[test]
    fn catching_up_keeps_a_small_window() {
        let mut reader = Reader::of((1..=50_000).map(|id| (id, id * 60)), 1000, 60);
        let (_, records, rows) = reader.pass(50_000 * 60, 0);
        assert_eq!(rows, 50_000);
        assert!(records.iter().all(|record| record.cursor - record.floor <= 1000 + 60));
        assert!(records.last().unwrap().poll_end.is_some());
        let followed = records.iter().filter(|record| record.more_follows).count();
        assert_eq!(
            followed, 50,
            "each full page may share a transaction with the next, and the last step with none"
        );
        assert_eq!(records.len(), 51);
    }

    #[test]
    fn an_overlap_is_never_shorter_than_it_was_given() {
        let given = [(1000, 1), (1001, 2), (1999, 2), (2000, 2)];
        assert!(given.iter().all(|(millis, whole)| seconds(Duration::from_millis(*millis)) == *whole));
    }

    #[test]
    fn a_pass_that_takes_long_keeps_what_may_still_come() {
        let mut reader = Reader::of((1..=100).map(|id| (id, id * 3600)), 10, 60);
        let (_, records, _) = reader.pass(1_000_000, 200);
        // Pages up to 15 minutes after the pass began move the floor, later ones don't.
        let floors: Vec<_> = records.iter().map(|record| record.floor).collect();
        assert_eq!(floors, [8, 18, 28, 38, 38, 38, 38, 38, 38, 38, 38]);
    }

    #[test]
    fn the_pass_after_a_long_one_reads_what_showed_up_late() {
        let mut reader = Reader::of((1..=100).map(|id| (id * 2, id * 3600)), 10, 60);
        reader.pass(1_000_000, 200);
        let floor = reader.position.floor();
        assert!(reader.position.window().len() > 50, "the window is long");
        // Not promised, so long after its neighbours, but there when the pass comes by.
        reader.rows.push((151, 151 * 1800));
        reader.rows.sort_unstable();
        let (requests, records, rows) = reader.pass(1_010_000, 0);
        assert_eq!((requests, rows), (8, 1));
        let below_floor: u64 = records.iter().map(|record| record.statistics.below_floor).sum();
        assert_eq!(below_floor, 0, "what is above the floor that was asked after is not below it");
        assert!(reader.position.floor() > floor);
    }

    #[test]
    fn a_pass_over_a_log_that_is_never_quiet_ends() {
        // 12 rows a second, and a second for each request: no page is ever empty.
        let mut reader = Reader::of((1..=60_000).map(|id| (id, id / 12)), 5000, 60);
        let (requests, _, mut rows) = reader.pass(100, 1);
        assert!(requests <= 20, "{requests} requests, and {rows} rows of 1200");
        for poll in 1..200 {
            let (requests, records, new) = reader.pass(100 + poll * 15, 1);
            rows += new;
            assert!(requests <= 20, "{requests} requests at poll {poll}");
            assert!(records.last().unwrap().poll_end.is_some());
            assert!(reader.position.window().len() <= 100 * 12, "poll {poll}");
        }
        assert_eq!(i64::try_from(rows).unwrap(), reader.position.cursor());
    }

    #[test]
    fn a_backlog_is_read_to_its_end_whatever_its_times_say() {
        // Full pages with times of right now and of a far future.
        let mut reader = Reader::of((1..=95).map(|id| (id, id % 3 * 503)), 10, 60);
        let (requests, _, rows) = reader.pass(1000, 10);
        assert_eq!((requests, rows), (10, 95), "nine full pages, and one that is short and of now");
        let mut pass = Poll::begin(&reader.position, reader.overlap, false, at(2000));
        let rows = vec![EventRow { time: Some(1 << 40), ..EventRow::with_id(96) }];
        let page = arrange(Page { rows, without_id: vec![] }, 10).unwrap();
        assert!(!pass.take(&mut reader.position, &mut reader.memory, page, at(2001)).complete);
    }

    #[test]
    fn a_page_with_nothing_further_ends_the_pass() {
        let mut reader = Reader::of([(1, 10), (2, 20)], 10, 60);
        let mut pass = Poll::begin(&reader.position, reader.overlap, true, at(1000));
        // A server that takes the id to start after for one to start at.
        let pages: [(&[i64], bool); 2] = [(&[1, 2], false), (&[2], true)];
        for (ids, complete) in pages {
            let rows = ids.iter().map(|id| EventRow::with_id(*id)).collect();
            let page = arrange(Page { rows, without_id: vec![] }, 10).unwrap();
            let step = pass.take(&mut reader.position, &mut reader.memory, page, at(1000));
            assert_eq!(step.complete, complete, "{ids:?}");
        }
        assert_eq!((pass.added(), pass.asks_after()), (2, 2));
    }

    #[test]
    fn the_first_complete_pass_is_written_down_even_if_nothing_was_there() {
        let mut reader = Reader::of([], 10, 60);
        let (_, records, _) = reader.pass(100, 0);
        assert_eq!(records.iter().map(|record| record.poll_end).collect::<Vec<_>>(), [Some(100)]);
        assert_eq!(reader.pass(115, 0).1, []);
    }

    #[test]
    fn notes_tell_duplicates_late_rows_and_rows_below_the_floor() {
        let mut reader = Reader::of((1..=4).map(|id| (id * 10, 0)), 10, 60);
        reader.pass(1000, 0);
        reader.pass(1060, 0);
        assert_eq!(reader.position.floor(), 40);
        let take = |reader: &mut Reader, pass: &mut Poll, ids: &[i64], without_id: &[Option<i64>]| {
            let rows = ids.iter().map(|id| EventRow::with_id(*id)).collect();
            let page = arrange(Page { rows, without_id: without_id.to_vec() }, 10).unwrap();
            pass.take(&mut reader.position, &mut reader.memory, page, at(2000))
                .record
                .map(|record| record.statistics)
        };
        let mut pass = Poll::begin(&reader.position, reader.overlap, false, at(2000));
        let first = take(&mut reader, &mut pass, &[30, 50, 60, 60], &[Some(60), None]);
        assert_eq!(first, Some(PageStatistics { no_id: 2, below_floor: 1, duplicate: 1, late: 0 }));
        let again = take(&mut reader, &mut pass, &[50, 70], &[]);
        assert_eq!(again, Some(PageStatistics { duplicate: 1, ..PageStatistics::default() }));
        assert_eq!(take(&mut reader, &mut pass, &[], &[]), None);

        let mut pass = Poll::begin(&reader.position, reader.overlap, false, at(2001));
        let late = take(&mut reader, &mut pass, &[50, 55, 60, 70], &[None, Some(60)]);
        assert_eq!(
            late,
            Some(PageStatistics { late: 1, ..PageStatistics::default() }),
            "the rows without an id are the same as before"
        );
    }

    #[test]
    fn a_time_in_the_future_does_not_spoil_the_clock() {
        let mut reader = Reader::of([(1, 10)], 10, 60);
        let mut pass = Poll::begin(&reader.position, reader.overlap, true, at(100));
        let rows = vec![
            EventRow { time: Some(1 << 40), ..EventRow::with_id(1) },
            EventRow { time: Some(90), ..EventRow::with_id(2) },
            EventRow::with_id(3),
        ];
        let page = arrange(Page { rows, without_id: vec![] }, 10).unwrap();
        let record = pass.take(&mut reader.position, &mut reader.memory, page, at(100)).record.unwrap();
        assert_eq!((record.counted, record.watermark), (vec![1, 2, 3], 100));
        assert_eq!(record.newest_entry, Some(90));
    }
}

//! One poll of a log, from the floor to its end: where to ask next, which rows of the answer are
//! new, and how far the floor may follow. Pure: it knows neither network nor ledger nor clock.
//!
//! Promises: an id above the origin is handed over at most once, and exactly once if it becomes
//! visible, in every replica that answers, at most an overlap after the first row with a higher id
//! did. Rows that are revealed later than that cannot be seen by any cursor. Where a poll ends
//! decides nothing about the floor, so ending early loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cryptolens::{CountedRow, Row};
use crate::reader::{Batch, Exchange, TimestampPair};

use super::finality::Witnesses;
use super::position::{NEVER, Position};
use super::update::{LogUpdate, PageStatistics, RowsWithoutId};

/// Rows without an id are remembered one by one up to this many; a log that is full of them is
/// counted by what the newest of them show.
const MOST_WITHOUT_ID: usize = 10_000;

/// More than this many pages of counted rows are not read again before any of them can become
/// final.
const PAGES_READ_AGAIN: u64 = 2;

/// A poll that has lasted this long may be a long one.
const SHORT_POLL: Duration = Duration::from_secs(5);

/// Inside a poll, a minute is sealed when the rows have come this far past it.
const SEALED_BEHIND_SECONDS: i64 = 60 * 60;

/// The state of a log that is kept in memory from poll to poll.
#[derive(Debug, Clone)]
pub struct SessionState {
    overlap: Duration,
    witnesses: Witnesses,
    without_id: RowsWithoutId,
    /// Rows of the largest page so far: a server may cap pages below the Limit that is asked for.
    largest_page: usize,
    /// When the floor moved last, or could not though it was tried.
    floor_tried: Duration,
    /// When an answer was received last.
    answered: Option<Duration>,
    /// A position that the API refuses to be asked after.
    refused: Option<i64>,
    /// Rows that cannot be read: by the id before each, its own. Nothing readable lies in between.
    unreadable: BTreeMap<i64, i64>,
    /// Minutes that start before this time are sealed; `None` if minutes are not sealed.
    sealed_until: Option<i64>,
    #[cfg(test)]
    pub(crate) flaw: Option<super::flaw::Flaw>,
}

impl SessionState {
    /// Of a process that starts now.
    pub fn new(overlap: Duration, now: Duration) -> SessionState {
        SessionState {
            overlap,
            witnesses: Witnesses::new(overlap),
            without_id: RowsWithoutId::new(),
            largest_page: 0,
            floor_tried: now,
            answered: None,
            refused: None,
            unreadable: BTreeMap::new(),
            sealed_until: None,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Minutes that start before this time (Unix seconds) are sealed already; `None` if minutes are
    /// not sealed at all.
    pub fn sealed_until(&mut self, sealed_until: Option<i64>) {
        self.sealed_until = sealed_until;
    }

    /// Continues with the state of the ledger: its cursor was shown by an answer before now. The
    /// ids that answers have shown in this process stay valid, whatever happened to the ledger.
    pub fn resume(&mut self, position: &Position, without_id: RowsWithoutId, now: Duration) {
        self.without_id = without_id;
        self.witnesses.add(now, position.cursor());
        // After a failed commit the rest of a backlog may be as long as it was.
        self.answered = None;
    }

    /// Records an answer that showed `id` and is no page of a poll.
    pub fn saw(&mut self, id: i64, received: Duration) {
        self.witnesses.add(received, id);
    }

    /// The API refuses to be asked after this position: polls begin with the oldest row instead,
    /// for as long as the floor is there.
    pub fn refuse(&mut self, position: i64) {
        self.refused = Some(position);
    }

    /// True if no answer came for an overlap before `sent`, or none at all.
    fn is_far_behind(&self, sent: Duration) -> bool {
        self.answered.is_none_or(|last| last + self.overlap < sent)
    }

    /// How many of a page's rows without an id, each given by the id of the row before, are new.
    fn meet_without_id(&mut self, page: impl Iterator<Item = i64>) -> u64 {
        let mut listed = RowsWithoutId::new();
        page.for_each(|before| *listed.entry(before).or_default() += 1);
        let mut new = 0;
        for (before, rows) in listed {
            let met = self.without_id.entry(before).or_default();
            new += rows.saturating_sub(*met);
            *met = rows.max(*met);
        }
        while self.without_id.len() > MOST_WITHOUT_ID {
            self.without_id.pop_first();
        }
        new
    }

    /// A poll that takes no longer than this is not worth the question for the newest id, which
    /// takes up to some dozen requests. Without an overlap everything is final at first reading
    /// anyway.
    fn short_poll(&self) -> Duration {
        if self.overlap.is_zero() { Duration::MAX / 4 } else { (self.overlap / 10).min(SHORT_POLL) }
    }

    /// As [`PAGES_READ_AGAIN`] counts them; before the first page it is not known how large one is.
    fn page_size(&self, limit: u16) -> u64 {
        let largest = if self.largest_page == 0 { usize::from(limit) } else { self.largest_page };
        u64::try_from(largest).unwrap_or(u64::MAX)
    }
}

/// How a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageOrigin {
    /// The id that it was asked after.
    pub asked: i64,
    /// True if it was asked for before the poll came to that id.
    pub is_guess: bool,
}

/// The result of taking a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PollStep {
    /// The update for the ledger; `None` if nothing changed.
    pub update: Option<LogUpdate>,
    /// True if this page ended the poll.
    pub complete: bool,
    /// True if it ended the poll by showing nothing after the position.
    pub nothing_new: bool,
    /// Rows without an id that were not met before.
    pub malformed: u64,
    /// True if the newest id of the log should be asked for: an overlap later, everything up to it
    /// is final at first reading.
    pub ask_newest: bool,
}

/// A poll under way.
#[derive(Debug, Clone)]
pub struct Poll {
    /// When the first request that was answered was sent: failed tries before it saw nothing.
    began: Option<TimestampPair>,
    limit: u16,
    /// The cursor before the first request.
    cursor_before: i64,
    /// The position: the id to ask after next.
    at: i64,
    /// New rows so far.
    added: u64,
    /// True if the end of the poll must be stored even if nothing else changed.
    first: bool,
    /// True if the log was not read for so long that many rows may have come.
    far_behind: bool,
    /// The newest id of the log as far as this poll asked for it.
    newest: Option<i64>,
}

impl Poll {
    /// Begins at the floor; `limit` is the largest page that is asked for, and `first` is true if
    /// no poll of this log was ever complete.
    pub fn begin(position: &Position, limit: u16, first: bool) -> Poll {
        Poll {
            began: None,
            limit,
            cursor_before: position.cursor(),
            at: position.floor(),
            added: 0,
            first,
            far_behind: false,
            newest: None,
        }
    }

    /// When the first request that was answered was sent; `None` before.
    pub fn began(&self) -> Option<TimestampPair> {
        self.began
    }

    /// True if the log was not read for so long that many rows may have come: several pages may be
    /// asked for at the same time.
    pub fn is_far_behind(&self, session: &SessionState, now: Duration) -> bool {
        if self.began.is_some() { self.far_behind } else { session.is_far_behind(now) }
    }

    /// New rows so far.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Records the newest id of the log, received at `received`.
    pub fn newest(&mut self, session: &mut SessionState, newest: i64, received: Duration) {
        session.saw(newest, received);
        self.newest = self.newest.max(Some(newest));
    }

    /// The id after which to ask next, with a request that is sent at `now`.
    pub fn asks_after(&mut self, position: &mut Position, session: &mut SessionState, now: Duration) -> i64 {
        let (floor, cursor) = (position.floor(), position.cursor());
        let settled = session.witnesses.settled(now);
        if self.at > floor {
            // Back: the rows below can become final now.
            let reached = settled.is_some_and(|id| id >= self.at);
            let stands_still = now.saturating_sub(session.floor_tried) >= session.overlap * 2
                && settled.is_some_and(|id| id > floor);
            if reached || stands_still {
                self.at = floor;
                session.floor_tried = now;
            }
        }
        // Forward: nothing between here and the cursor can become final now.
        let beyond = settled.is_none_or(|id| self.at >= id);
        if beyond
            && self.at < cursor
            && position.seen().count_above(self.at) > PAGES_READ_AGAIN * session.page_size(self.limit)
        {
            self.at = cursor;
        }
        while let Some(unreadable) = session.unreadable.get(&self.at) {
            if self.at <= position.floor() {
                position.raise_floor_to(*unreadable);
            }
            self.at = *unreadable;
        }
        if session.refused == Some(self.at) { 0 } else { self.at }
    }

    /// Takes the answer to the request that was made after `asked`, at the position.
    pub fn take<R: CountedRow>(
        &mut self,
        position: &mut Position,
        session: &mut SessionState,
        asked: i64,
        page: Batch<R>,
        exchange: Exchange,
    ) -> PollStep {
        self.take_page(position, session, PageOrigin { asked, is_guess: false }, page, exchange)
    }

    /// Takes a page. One that was asked for on a guess, below the position, never ends the poll.
    pub fn take_page<R: CountedRow>(
        &mut self,
        position: &mut Position,
        session: &mut SessionState,
        PageOrigin { asked, is_guess }: PageOrigin,
        page: Batch<R>,
        exchange: Exchange,
    ) -> PollStep {
        let now = exchange.received;
        if self.began.is_none() {
            let sent = exchange.sent.monotonic;
            self.began = Some(exchange.sent);
            self.far_behind = session.is_far_behind(sent);
        }
        session.answered = Some(now.monotonic);
        session.largest_page = session.largest_page.max(page.listed);
        let full = page.full || page.listed >= session.largest_page.max(1);

        // As for rows with an id: what lies below the floor was met before. A guessed page may
        // begin there, and so does a poll whose floor the API refuses to be asked after.
        let is_above = page.rows.first().is_some_and(|row| row.id() > position.floor());
        let first = if is_above { asked.max(position.floor()) } else { asked };
        let without_id = page.without_id.iter().map(|before| before.unwrap_or(first));
        let no_id = session.meet_without_id(without_id.filter(|before| *before >= position.floor()));
        let mut statistics = PageStatistics { no_id, duplicate: page.repeated, ..PageStatistics::default() };
        let floor_before = position.floor();
        let ids: Vec<i64> = page.rows.iter().map(Row::id).collect();
        #[cfg(test)]
        let times: Vec<Option<i64>> = page.rows.iter().map(Row::time).collect();
        let highest = ids.last().copied().filter(|id| *id > asked);
        let end = highest.filter(|id| !is_guess || *id > self.at);
        let mut fresh = Vec::with_capacity(page.rows.len());
        let mut counted = Vec::new();
        let mut event_time = NEVER;
        for (row, unseen) in page.rows.into_iter().zip(position.unseen(&ids)) {
            let id = row.id();
            if !unseen {
                // A known row that was asked for belongs to the overlap.
                let unasked = u64::from(id <= asked);
                let known =
                    if id <= floor_before { &mut statistics.below_floor } else { &mut statistics.duplicate };
                *known += unasked;
                continue;
            }
            statistics.late += u64::from(id < self.cursor_before);
            event_time = event_time.max(row.time().map_or(now.unix, |time| time.min(now.unix)));
            counted.push(id);
            fresh.push(row);
        }
        position.count(&counted, event_time);
        self.added += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        if let Some(shown) = highest {
            #[cfg(test)]
            let now = match session.flaw {
                Some(super::flaw::Flaw::WitnessBySending) => exchange.sent,
                _ => now,
            };
            session.witnesses.add(now.monotonic, shown);
        }

        let settled = final_id(session, floor_before, asked, &ids, exchange);
        #[cfg(test)]
        let settled = {
            let (floor, overlap) = (floor_before, i64::try_from(session.overlap.as_secs()).unwrap_or(0));
            let page = super::flaw::PageIds { floor, asked, ids: &ids, times: &times, overlap };
            let wrong = session.flaw.and_then(|flaw| flaw.final_id(&session.witnesses, &page, exchange));
            wrong.unwrap_or(settled)
        };
        if let Some(floor) = settled {
            position.raise_floor_to(floor);
        }
        if position.floor() != floor_before {
            session.floor_tried = now.monotonic;
            session.without_id = session.without_id.split_off(&position.floor());
            session.unreadable = session.unreadable.split_off(&position.floor());
        }
        // Pages of strands are used after pages that were sent later than they were, by far less
        // than an overlap.
        session.witnesses.forget_before(exchange.sent.monotonic.saturating_sub(session.overlap));

        self.at = end.unwrap_or(self.at);
        let complete = !is_guess && (highest.is_none() || (!full && self.at > self.cursor_before));
        #[cfg(test)]
        if complete && let Some(flaw) = session.flaw {
            flaw.at_end(position, highest.is_none());
        }
        // Also where rows above the position were counted that this answer lacks.
        let nothing_new = !is_guess && highest.is_none();
        let newest_reached = self.newest.is_none_or(|newest| newest <= self.at);
        let lasts = self.began.is_some_and(|began| now.monotonic >= began.monotonic + session.short_poll());
        let seal_until = self.seal_until(session, complete, position.watermark(), &fresh);
        let newest_entry = fresh.iter().filter_map(Row::time).filter(|time| *time <= now.unix).max();
        let changed =
            !fresh.is_empty() || statistics != PageStatistics::default() || position.floor() != floor_before;
        let seals_quiet_log = complete && seal_until.is_some();
        let update = (changed || (complete && self.first) || seals_quiet_log).then(|| LogUpdate {
            rows: R::wrap(fresh),
            read_at: now.unix,
            statistics,
            floor: position.floor(),
            cursor: position.cursor(),
            watermark: position.watermark(),
            counted,
            without_id: (no_id > 0 || !session.without_id.is_empty()).then(|| session.without_id.clone()),
            newest_entry,
            poll_end: complete.then_some(now.unix),
            seal_until,
            more_follows: full && !complete,
        });
        PollStep {
            update,
            complete,
            nothing_new,
            malformed: no_id,
            ask_newest: self.far_behind && lasts && full && !complete && newest_reached,
        }
    }

    /// The time (Unix seconds, a whole minute) before which every minute has been read, if it is
    /// later than what is sealed already.
    ///
    /// A complete poll has read everything that was visible when it began, and a row is visible at
    /// most an overlap after it happened, or comes late. A poll that lasts seals what lies an hour
    /// behind the rows that it has come to. The median of their times decides, beside the
    /// watermark: a single row with a time of today would otherwise make a month of rows late.
    fn seal_until<R: Row>(
        &self,
        session: &mut SessionState,
        complete: bool,
        watermark: i64,
        fresh: &[R],
    ) -> Option<i64> {
        let sealed_until = session.sealed_until?;
        #[cfg(test)]
        let complete = complete && session.flaw != Some(super::flaw::Flaw::SealedByRowTimes);
        let until = if complete {
            let overlap = i64::try_from(session.overlap.as_secs()).unwrap_or(i64::MAX);
            self.began?.unix.saturating_sub(overlap)
        } else {
            let mut times: Vec<i64> = fresh.iter().filter_map(Row::time).collect();
            times.sort_unstable();
            watermark.min(*times.get(times.len() / 2)?).saturating_sub(SEALED_BEHIND_SECONDS)
        };
        let until = until.saturating_sub(until.rem_euclid(60));
        if until <= sealed_until {
            return None;
        }
        session.sealed_until = Some(until);
        Some(until)
    }

    /// Goes on behind a row that cannot be read: the API has shown nothing between the position and
    /// its id for longer than an overlap.
    pub fn skip_unreadable<R: CountedRow>(
        &mut self,
        position: &mut Position,
        session: &mut SessionState,
        id: i64,
        now: TimestampPair,
    ) -> Option<LogUpdate> {
        if id > self.at {
            session.unreadable.insert(self.at, id);
            self.at = id;
        }
        session.witnesses.add(now.monotonic, id);
        if position.is_settled(id) {
            return None;
        }
        // The id counts as met, so that a restart does not count it as skipped again.
        position.count(&[id], NEVER);
        Some(LogUpdate {
            rows: R::wrap(Vec::new()),
            read_at: now.unix,
            statistics: PageStatistics { too_large: 1, ..PageStatistics::default() },
            floor: position.floor(),
            cursor: position.cursor(),
            watermark: position.watermark(),
            counted: vec![id],
            without_id: None,
            newest_entry: None,
            poll_end: None,
            seal_until: None,
            more_follows: false,
        })
    }
}

/// The id up to which the log is final by this page, if that can be said of any: the page must
/// begin at or below the floor, and its rows must have been shown an overlap before it was asked
/// for. The id itself may have been seen in one replica only, so it is final only if this page has
/// it too.
fn final_id(session: &SessionState, floor: i64, asked: i64, ids: &[i64], exchange: Exchange) -> Option<i64> {
    if asked > floor {
        return None;
    }
    let settled = session.witnesses.settled(exchange.sent.monotonic)?;
    ids.iter().rev().find(|id| **id <= settled).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::{EventRow, Page};
    use crate::reader::{Direction, Disorder, arrange};

    /// A log whose rows become visible as time goes by, whatever their own times are, read by
    /// polls.
    struct Reader {
        /// Id, event time, and when it becomes visible.
        rows: Vec<(i64, i64, i64)>,
        limit: u16,
        position: Position,
        session: SessionState,
        complete: bool,
        now: i64,
    }

    fn at(second: i64) -> TimestampPair {
        TimestampPair { unix: second, monotonic: Duration::from_secs(second.unsigned_abs()) }
    }

    /// The cost and the result of a poll.
    #[derive(Debug, Default, PartialEq)]
    struct Cost {
        requests: usize,
        batches: usize,
        rows: usize,
    }

    impl Reader {
        fn of(rows: impl IntoIterator<Item = (i64, i64)>, limit: u16, overlap: u64) -> Reader {
            let visible = |(id, time)| (id, time, time);
            Reader {
                rows: rows.into_iter().map(visible).collect(),
                limit,
                position: Position::at_origin(0),
                session: SessionState::new(Duration::from_secs(overlap), Duration::ZERO),
                complete: false,
                now: 0,
            }
        }

        /// The page that the API shows to a request that is sent now.
        fn page(&self, after: i64) -> Batch<EventRow> {
            let visible = self.rows.iter().filter(|(id, _, visible)| *id > after && *visible <= self.now);
            let rows = visible.take(self.limit.into());
            let rows = rows.map(|(id, time, _)| EventRow { time: Some(*time), ..EventRow::with_id(*id) });
            let page = Page { rows: rows.collect(), without_id: vec![] };
            arrange(page, self.limit, Direction::OldestFirst, Disorder::SortShort).unwrap()
        }

        /// A poll that begins at a second, whose requests take `latency` seconds each; the newest
        /// id is answered where a poll asks for it.
        fn poll_from(&mut self, began: i64, latency: i64) -> (Cost, Vec<LogUpdate>) {
            self.now = began;
            let mut poll = Poll::begin(&self.position, self.limit, !self.complete);
            let (mut cost, mut batches) = (Cost::default(), Vec::new());
            loop {
                let sent = at(self.now);
                let after = poll.asks_after(&mut self.position, &mut self.session, sent.monotonic);
                let page = self.page(after);
                self.now += latency;
                let exchange = Exchange { sent, received: at(self.now) };
                let step = poll.take(&mut self.position, &mut self.session, after, page, exchange);
                cost.requests += 1;
                cost.batches += usize::from(step.update.is_some());
                cost.rows += step.update.as_ref().map_or(0, |batch| batch.rows.len());
                batches.extend(step.update);
                if step.ask_newest {
                    let visible = self.rows.iter().filter(|(_, _, visible)| *visible <= self.now);
                    let newest = visible.map(|(id, _, _)| *id).max().unwrap();
                    poll.newest(&mut self.session, newest, at(self.now).monotonic);
                }
                if step.complete {
                    self.complete = true;
                    return (cost, batches);
                }
            }
        }

        fn poll(&mut self, began: i64) -> Cost {
            self.poll_from(began, 0).0
        }
    }

    #[test]
    fn an_idle_log_costs_one_request_per_poll_and_no_write() {
        let mut reader = Reader::of((1..=250).map(|id| (id, 900)), 100, 60);
        assert_eq!(reader.poll(1000), Cost { requests: 3, batches: 3, rows: 250 });
        assert_eq!(reader.poll(1015), Cost { requests: 1, batches: 0, rows: 0 }, "nothing can be final yet");
        reader.poll(1060);
        let last = reader.poll(1075);
        assert_eq!(reader.position.floor(), 250, "the overlap has passed: {last:?}");
        for poll in 6..12 {
            assert_eq!(reader.poll(1000 + poll * 15), Cost { requests: 1, batches: 0, rows: 0 });
        }
        assert!(reader.position.seen().is_empty());
    }

    #[test]
    fn a_burst_is_not_read_again_at_every_poll_of_its_overlap() {
        // 20 rows a second, for ever, and a page holds 100: 3 pages of news a poll.
        let mut reader = Reader::of((1..=20_000).map(|id| (id, id / 20)), 100, 60);
        let costs: Vec<usize> = (1..60).map(|poll| reader.poll(poll * 15).requests).collect();
        let requests: usize = costs.iter().sum();
        assert!(requests <= 59 * 9, "{costs:?}");
        assert!(costs.iter().all(|cost| *cost <= 14), "{costs:?}");
        assert!(reader.position.seen().len() <= 20 * (60 + 3 * 15), "{}", reader.position.seen().len());
    }

    #[test]
    fn a_stalled_log_writer_that_writes_its_backlog_out_of_order_loses_nothing() {
        // Ten minutes of rows become visible within 4 seconds, every second one 4 s after its
        // neighbours.
        let mut reader = Reader::of((1..=50).map(|id| (id, id)), 100, 60);
        reader.poll(60);
        reader.rows.extend((51..=100).map(|id| (id, id * 12 - 550, if id % 2 == 0 { 700 } else { 704 })));
        let mut counted = 50;
        for poll in 0..20 {
            counted += reader.poll(700 + poll * 15).rows;
        }
        assert_eq!(counted, 100);
    }

    #[test]
    fn an_empty_or_a_lagging_answer_moves_no_floor() {
        let mut reader = Reader::of((1..=10).map(|id| (id, 5)), 100, 60);
        assert_eq!(reader.poll(10).rows, 10);
        // Row 11 is in no replica yet; row 12 is, and an overlap later the first replica that lags
        // answers.
        reader.rows.push((12, 100, 100));
        assert_eq!(reader.poll(100).rows, 1);
        let whole = std::mem::take(&mut reader.rows);
        for poll in 0..10 {
            reader.poll(160 + poll * 15);
        }
        assert_eq!(reader.position.floor(), 10);
        reader.rows = whole;
        reader.rows.insert(10, (11, 100, 155));
        assert_eq!(reader.poll(400).rows, 1, "row 11 came 55 s after row 12");
    }

    #[test]
    fn a_long_first_poll_is_read_once_but_for_the_first_overlap_and_keeps_few_ids() {
        let mut reader = Reader::of((1..=200_000).map(|id| (id, 5)), 1000, 60);
        let (cost, batches) = reader.poll_from(1_000_000, 1);
        assert_eq!(cost.rows, 200_000);
        assert!(cost.requests <= 200 + 68, "{} requests", cost.requests);
        assert!(reader.position.seen().len() <= 68_000, "{}", reader.position.seen().len());
        assert_eq!(reader.position.floor(), 200_000, "all of it was final at first reading");
        assert!(batches.iter().filter(|batch| batch.more_follows).count() >= 190);
    }

    #[test]
    fn a_restart_reads_again_from_the_floor_once_that_can_be_final() {
        let mut reader = Reader::of((1..=10).map(|id| (id, 5)), 100, 60);
        reader.poll(10);
        reader.rows.insert(5, (11, 20, 20));
        reader.rows.sort_unstable();
        reader.session = SessionState::new(Duration::from_secs(60), at(30).monotonic);
        reader.session.resume(&reader.position, RowsWithoutId::new(), at(30).monotonic);
        assert_eq!(reader.poll(30).rows, 1);
        assert_eq!(reader.poll(89).rows, 0);
        assert_eq!(reader.position.floor(), 0, "the cursor was shown 59 s ago");
        reader.poll(90);
        assert_eq!(reader.position.floor(), 11);
    }

    #[test]
    fn a_server_that_caps_pages_lower_than_asked_for_is_read_to_its_end() {
        let mut reader = Reader::of((1..=95).map(|id| (id, 5)), 10, 60);
        // The server caps at 10 what the poller asks for with 100.
        let mut poll = Poll::begin(&reader.position, 100, true);
        let mut rows = 0;
        reader.now = 10;
        loop {
            let after = poll.asks_after(&mut reader.position, &mut reader.session, at(10).monotonic);
            let page = Batch { full: false, ..reader.page(after) };
            let exchange = Exchange { sent: at(10), received: at(10) };
            let step = poll.take(&mut reader.position, &mut reader.session, after, page, exchange);
            rows += step.update.map_or(0, |batch| batch.rows.len());
            if step.complete {
                break;
            }
        }
        assert_eq!(rows, 95);
    }

    #[test]
    fn a_position_that_the_api_refuses_is_gone_round_by_the_oldest_row() {
        let mut reader = Reader::of((1..=10).map(|id| (id, 5)), 100, 60);
        reader.poll(10);
        // Retention took what was counted, and the API knows id 10 no more.
        reader.rows = vec![(11, 20, 20), (12, 20, 20)];
        let floor = reader.position.floor();
        reader.session.refuse(floor);
        let cost = reader.poll(30);
        assert_eq!(cost.rows, 2);
        for poll in 0..8 {
            assert_eq!(reader.poll(45 + poll * 15).rows, 0);
        }
        assert_eq!(reader.position.floor(), 12, "and reading goes on behind it");
    }

    #[test]
    fn the_watermark_takes_no_time_of_the_future() {
        let mut reader = Reader::of([(1, 500), (2, 90)], 10, 60);
        reader.rows = vec![(1, 500, 0), (2, 90, 0)];
        let (_, batches) = reader.poll_from(100, 0);
        let batch = batches.first().unwrap();
        assert_eq!((batch.counted.clone(), batch.watermark), (vec![1, 2], 100));
        assert_eq!(batch.newest_entry, Some(90));
    }

    #[test]
    fn an_unreadable_row_is_skipped_once_and_polls_go_on_behind_it() {
        let mut reader = Reader::of([(1, 5), (2, 5), (4, 5)], 1, 60);
        let mut poll = Poll::begin(&reader.position, 1, true);
        reader.now = 10;
        let exchange = |second| Exchange { sent: at(second), received: at(second) };
        let mut step = |reader: &mut Reader, second: i64| {
            let after = poll.asks_after(&mut reader.position, &mut reader.session, at(second).monotonic);
            let page = reader.page(after);
            let step = poll.take(&mut reader.position, &mut reader.session, after, page, exchange(second));
            (after, step.update.map_or(0, |batch| batch.rows.len()))
        };
        assert_eq!((step(&mut reader, 10), step(&mut reader, 10)), ((0, 1), (1, 1)));
        let mut skipping = poll.clone();
        let skip = |reader: &mut Reader, poll: &mut Poll, second| {
            poll.skip_unreadable::<EventRow>(&mut reader.position, &mut reader.session, 3, at(second))
        };
        let batch = skip(&mut reader, &mut skipping, 100).unwrap();
        assert_eq!((batch.statistics.too_large, batch.counted), (1, vec![3]));
        assert_eq!(skip(&mut reader, &mut poll, 100), None, "it is counted as skipped once");
        // Each poll goes round it, and the floor passes it.
        for second in [100, 170, 240, 310] {
            assert!(reader.poll(second).requests <= 4);
        }
        assert_eq!(reader.position.floor(), 4);
    }
}

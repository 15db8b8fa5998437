//! One pass over a log, from floor to end: which page to ask for next, which of its rows are new, and how far the
//! floor may move. Pure: it knows neither network nor ledger nor clock.
//!
//! Promises: an id above the origin is handed over at most once, and exactly once if it becomes visible within the
//! overlap of the rows around it. Rows that are revealed later cannot be seen by any cursor.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cryptolens::Row;

use super::arrange::Arranged;
use super::position::Position;
use super::record::{Notes, Record};

/// Inside a long pass, rows this much older than the newest are not kept in the window.
const LONG_PASS_REACH: i64 = 3600;

/// Rule 2 holds only for pages that arrive this soon after the pass began: what was visible then can be much older
/// than what is visible now.
const LONG_PASS_TRUST: Duration = Duration::from_secs(15 * 60);

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Local time in Unix seconds; may jump.
    pub unix: i64,
    /// Time since some fixed moment; never goes back.
    pub monotonic: Duration,
}

/// What is remembered from pass to pass, as long as the process lives.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// When a row was last added, or when the process started, on the monotonic clock.
    last_added: Duration,
    /// Rows without an id by the id that was asked after. They can't be told apart, so that a number that doesn't
    /// grow is taken for the same rows read again.
    without_id: BTreeMap<i64, u64>,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        static START: std::sync::LazyLock<tokio::time::Instant> =
            std::sync::LazyLock::new(tokio::time::Instant::now);
        Moment { unix: chrono::Utc::now().timestamp(), monotonic: START.elapsed() }
    }
}

impl Memory {
    /// Of a process that starts now.
    pub fn new(now: Moment) -> Memory {
        Memory { last_added: now.monotonic, without_id: BTreeMap::new() }
    }
}

/// What a page came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// To be written down; `None` if nothing changed.
    pub record: Option<Record>,
    /// True if this page ended the pass.
    pub complete: bool,
}

/// A pass under way.
#[derive(Debug, Clone)]
pub struct Pass {
    began: Moment,
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

impl Pass {
    /// Begins at the floor; `first` if no pass over this log was ever complete.
    pub fn begin(position: &Position, overlap: Duration, first: bool, now: Moment) -> Pass {
        Pass {
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

    /// New rows so far.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Takes the answer to the page asked for.
    pub fn take<R: Row>(
        &mut self,
        position: &mut Position,
        memory: &mut Memory,
        page: Arranged<R>,
        now: Moment,
    ) -> Step {
        let met = memory.without_id.insert(self.asked, page.without_id).unwrap_or(0);
        let no_id = page.without_id.saturating_sub(met);
        let mut notes = Notes { no_id, duplicate: page.repeated, ..Notes::default() };
        let floor_before = position.floor();
        let highest = page.rows.last().map(Row::id).filter(|id| *id > self.asked);
        let mut counted = Vec::new();
        let mut fresh = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let id = row.id();
            if id <= floor_before {
                notes.below_floor += 1;
            } else if position.is_counted(id) {
                // At or below what was asked for, it was in an earlier page of this pass; above, it is the overlap.
                notes.duplicate += u64::from(id <= self.asked);
            } else {
                notes.late += u64::from(id < self.cursor_before);
                let stamp = row.time().map_or(now.unix, |time| time.min(now.unix));
                position.count(id, stamp);
                counted.push((id, stamp));
                fresh.push(row);
            }
        }
        if !fresh.is_empty() {
            self.added += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
            memory.last_added = now.monotonic;
        }
        match highest {
            Some(highest) => {
                self.asked = highest;
                self.raise_floor_inside(position, now);
            }
            None => self.raise_floor_at_end(position, memory),
        }
        if position.floor() != floor_before {
            memory.without_id = memory.without_id.split_off(&position.floor());
        }
        let complete = highest.is_none();
        let changed = !fresh.is_empty() || notes != Notes::default() || position.floor() != floor_before;
        let record = (changed || (complete && self.first)).then(|| Record {
            rows: R::wrap(fresh),
            read_at: now.unix,
            notes,
            floor: position.floor(),
            floor_clock: position.floor_clock(),
            cursor: position.cursor(),
            counted,
            pass_end: complete.then_some(now.unix),
        });
        Step { record, complete }
    }

    /// Rule 2: catching up needs little memory.
    fn raise_floor_inside(&self, position: &mut Position, now: Moment) {
        if now.monotonic.saturating_sub(self.began.monotonic) <= LONG_PASS_TRUST {
            let reach = LONG_PASS_REACH.max(seconds(self.overlap));
            position.raise_floor_below(position.newest_clock().saturating_sub(reach));
        }
    }

    /// Rules 1 and 3.
    fn raise_floor_at_end(&self, position: &mut Position, memory: &Memory) {
        let quiet = self.began.monotonic.saturating_sub(memory.last_added);
        if self.added == 0 && quiet >= self.overlap {
            position.raise_floor_to(position.cursor());
        } else {
            position.raise_floor_below(self.clock_before.saturating_sub(seconds(self.overlap)));
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

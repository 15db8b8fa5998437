//! Where counting or reading starts: one search by id that serves the three logs with documented
//! parameters only.
//!
//! The API cannot be asked for the first row after a time. A probe therefore asks for the rows
//! after a guessed id and looks at their times: the search gallops from the oldest row in doubling
//! steps, bisects, and walks up the last pages. It takes at most [`MOST_REQUESTS`] requests.
//!
//! Promises: [`find`] returns an id only if there is a reason to believe that it is old. Where it
//! cannot decide (a row without a time, an id that the API refuses, no request left) it returns a
//! lower id, so that too many rows are counted rather than too few.
//!
//! Times of the Web API Log and the Object Log are the server's and follow the ids. Those of the
//! Events Log are given by applications: single rows and whole batches may be days older, or hours
//! ahead, than their neighbours. A probe of the Events Log therefore judges a whole page by the
//! latest time on it that is not in the future, and the search looks at pages below the found id:
//! at each of the next [`CLOSE_PAGES`] pages, then at growing distances. One that shows a time that
//! is not old moves the search below it. Its limit: a stretch of rows can be missed if it is
//! shorter than about a third of an old batch of more than [`CLOSE_PAGES`] pages behind it.

use crate::cryptolens::{ApiError, LogKind, Page, Row, TimeSource};

/// The most requests of one search. A log whose ids reach 2^40 takes about 40 requests to find a
/// place in and 40 to confirm it.
const MOST_REQUESTS: u32 = 130;

/// The first step of the gallop, in ids.
const FIRST_STEP: i64 = 1024;

/// Ids above 2^53 are no ids: programs that read JSON numbers as floating point cannot tell them
/// apart.
const LARGEST_ID: i64 = 1 << 53;

/// Pages that are read upwards in a row before the search gallops again. A busy log gets new rows
/// for as long as anybody looks; those of the last moments count.
const MOST_CLIMBS: u32 = 16;

/// How often the search gallops again from where the walk upwards got to. More than once is needed
/// only where the API refused ids or showed an empty list in between.
const MOST_ROUNDS: u32 = 3;

/// The most pages without any plausible time that a search skips, to judge them by the next one.
const MOST_LOOKS_PAST: u32 = 16;

/// Pages below the found place that are all looked at before the distances grow.
const CLOSE_PAGES: usize = 8;

/// How much of a page an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Two rows, which show whether an answer descends or ascends.
    Two,
    /// As many rows as a page holds.
    Page,
}

impl Extent {
    /// The `Limit` to ask for.
    pub(crate) const fn limit(self, log: LogKind) -> u16 {
        match self {
            Extent::Two => 2,
            Extent::Page => log.max_limit(),
        }
    }
}

/// A row as far as the search looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbeRow {
    /// Its id.
    pub(crate) id: i64,
    /// Its time in Unix seconds, if it has one.
    pub(crate) time: Option<i64>,
}

/// The answer of a log to a question for the rows after an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeAnswer {
    /// At least one row, in ascending order of ids.
    Rows(Vec<ProbeRow>),
    /// An explicit empty list.
    Empty,
    /// A list whose rows all have ids at or below the one that was asked after.
    NothingFurther,
    /// A list in which no row has a readable id. The log is not empty.
    Unreadable,
    /// The API does not accept the id ("the input parameters were incorrect").
    Refused,
}

impl ProbeAnswer {
    /// The answer that a page gives to the question for rows after `after`.
    pub(crate) fn of<R: Row>(page: &Page<R>, after: i64) -> ProbeAnswer {
        if page.listed() == 0 {
            return ProbeAnswer::Empty;
        }
        let ids = page.rows.iter().filter(|row| row.id() <= LARGEST_ID);
        let mut rows: Vec<ProbeRow> = ids.map(|row| ProbeRow { id: row.id(), time: row.time() }).collect();
        if rows.is_empty() {
            return ProbeAnswer::Unreadable;
        }
        rows.retain(|row| row.id > after);
        rows.sort_unstable_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        if rows.is_empty() { ProbeAnswer::NothingFurther } else { ProbeAnswer::Rows(rows) }
    }
}

/// Asks the log. The implementation makes further tries where they may succeed; an error ends the
/// search.
pub(crate) trait Probe {
    /// The rows with an id above `after`, the lowest first; 0 asks from the beginning.
    fn page_after(
        &mut self,
        after: i64,
        extent: Extent,
    ) -> impl Future<Output = Result<ProbeAnswer, ApiError>> + Send;

    /// The row that is the newest by the server's order (`OrderBy`); the search checks it.
    fn newest(&mut self) -> impl Future<Output = Result<ProbeAnswer, ApiError>> + Send;

    /// Called after an answer that says the log is empty. `true` asks once more after the wait;
    /// `false` believes it.
    fn pause_for_overlap(&mut self) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// The current time in Unix seconds. A later time is not plausible.
    fn now(&self) -> i64;
}

/// The definition of an old row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Every row that is there.
    Now,
    /// Rows with a time below this, in Unix seconds.
    Time(i64),
}

/// The id at or below which rows are old: 0 if none is.
///
/// # Errors
/// The probe's own.
pub(crate) async fn find<P: Probe + Send>(probe: &mut P, log: LogKind, mark: Mark) -> Result<i64, ApiError> {
    let mut search = Search::new(probe, log, mark);
    if log.can_be_read_newest_first()
        && mark == Mark::Now
        && let Some(newest) = search.newest_first(0).await?
    {
        return Ok(newest);
    }
    if search.is_empty().await? {
        return Ok(0);
    }
    let lo = search.forward(0).await?;
    if log.times() == TimeSource::Application && search.mark != Mark::Now {
        return search.confirm_below(lo).await;
    }
    Ok(lo)
}

/// The newest id above `from` (the id of a row, or 0); none if the log shows no row there. An empty
/// answer is believed after two questions without a wait.
///
/// # Errors
/// The probe's own.
pub(crate) async fn newest_id<P: Probe + Send>(
    probe: &mut P,
    log: LogKind,
    from: i64,
) -> Result<Option<i64>, ApiError> {
    let mut search = Search::new(probe, log, Mark::Now);
    if log.can_be_read_newest_first()
        && let Some(newest) = search.newest_first(from).await?
    {
        return Ok(Some(newest));
    }
    let newest = search.forward(from).await?;
    Ok((newest > from).then_some(newest))
}

/// The judgement of the rows after an id by the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Every row that was read is old; `last` is the id of the last of them that has a plausible
    /// time.
    Before { last: i64 },
    /// Some row is not old. `prefix` is the id of the last old row before it, where there is one.
    NotBefore { prefix: Option<i64> },
    /// There is no row, as far as this answer tells.
    End,
    /// The API refused the id.
    Refused,
}

/// The result of a look below the found place.
struct Look {
    shows_recent: bool,
    /// The last old row, if all are old.
    old: Option<i64>,
    /// The last id on the page.
    reached: i64,
    /// From the first id on the page to the last.
    span: i64,
    /// Rows that were judged.
    rows: usize,
}

struct Search<'p, P> {
    probe: &'p mut P,
    mark: Mark,
    /// How much of a page a guess reads.
    extent: Extent,
    asked: u32,
    looks_past: u32,
    /// The id of the oldest row, once it is known; below it there is nothing to look at.
    oldest: i64,
    /// From the first id to the last of the page that was read most recently; at least 1.
    width: i64,
    /// Rows on the largest page that was read.
    largest_page: usize,
    /// The first rows of the log, which showed that it is not empty, until they are judged.
    beginning: Option<ProbeAnswer>,
}

impl<'p, P: Probe + Send> Search<'p, P> {
    fn new(probe: &'p mut P, log: LogKind, mark: Mark) -> Search<'p, P> {
        let extent = if log.times() == TimeSource::Application && mark != Mark::Now {
            Extent::Page
        } else {
            Extent::Two
        };
        Search {
            probe,
            mark,
            extent,
            asked: 0,
            looks_past: 0,
            oldest: 0,
            width: 1,
            largest_page: 1,
            beginning: None,
        }
    }

    const fn is_spent(&self) -> bool {
        self.asked >= MOST_REQUESTS
    }

    async fn ask(&mut self, after: i64, extent: Extent) -> Result<ProbeAnswer, ApiError> {
        if (after, extent) == (0, Extent::Two)
            && let Some(beginning) = self.beginning.take()
        {
            return Ok(beginning);
        }
        self.asked += 1;
        let answer = self.probe.page_after(after, extent).await?;
        if let ProbeAnswer::Rows(rows) = &answer
            && let [first, .., last] = rows.as_slice()
        {
            if extent == Extent::Page {
                self.width = last.id.saturating_sub(first.id).max(1);
                self.largest_page = self.largest_page.max(rows.len());
            }
            if after == 0 {
                self.oldest = first.id;
            }
        }
        Ok(answer)
    }

    /// The newest row by the server's own order, if it is above `from` and nothing is after it.
    async fn newest_first(&mut self, from: i64) -> Result<Option<i64>, ApiError> {
        self.asked += 1;
        let ProbeAnswer::Rows(rows) = self.probe.newest().await? else { return Ok(None) };
        let Some(newest) = rows.last().map(|row| row.id).filter(|id| *id > from) else { return Ok(None) };
        // A server that ignores the order shows the oldest row. One empty answer may be that of a
        // replica that lags.
        for _ in 0..2 {
            match self.ask(newest, Extent::Two).await? {
                ProbeAnswer::Empty | ProbeAnswer::NothingFurther => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(newest))
    }

    /// True if the log answers that it is empty, and again after an overlap if the caller waits.
    async fn is_empty(&mut self) -> Result<bool, ApiError> {
        let started = self.probe.now();
        let beginning = self.ask(0, Extent::Two).await?;
        if beginning != ProbeAnswer::Empty {
            self.beginning = Some(beginning);
            return Ok(false);
        }
        if !self.probe.pause_for_overlap().await? {
            return Ok(true);
        }
        if self.mark == Mark::Now {
            // Rows that came while the search waited are not old.
            self.mark = Mark::Time(started);
        }
        Ok(self.ask(0, Extent::Two).await? == ProbeAnswer::Empty)
    }

    /// The last id of the old rows above `lo`, which is old itself, as if times followed ids.
    async fn forward(&mut self, mut lo: i64) -> Result<i64, ApiError> {
        match self.judge(lo, self.extent).await? {
            Verdict::Before { last } => lo = last,
            Verdict::NotBefore { prefix } => return Ok(prefix.unwrap_or(lo)),
            // One empty answer may be that of a replica that lags.
            Verdict::End => match self.judge(lo, self.extent).await? {
                Verdict::Before { last } => lo = last,
                Verdict::NotBefore { prefix } => return Ok(prefix.unwrap_or(lo)),
                Verdict::End | Verdict::Refused => return Ok(lo),
            },
            Verdict::Refused => {}
        }
        for _ in 0..MOST_ROUNDS {
            let (galloped, hi) = self.gallop(lo).await?;
            let bisected = self.bisect(galloped, hi).await?;
            let (climbed, settled) = self.climb(bisected).await?;
            lo = climbed;
            if settled {
                break;
            }
        }
        Ok(lo)
    }

    /// Doubles its steps until a row is not old, or there is none. Returns the last old id and
    /// where no old row was seen.
    async fn gallop(&mut self, mut lo: i64) -> Result<(i64, i64), ApiError> {
        let mut step = FIRST_STEP;
        loop {
            let x = lo.saturating_add(step);
            if x >= LARGEST_ID || self.is_spent() {
                return Ok((lo, LARGEST_ID.max(lo)));
            }
            match self.judge(x, self.extent).await? {
                Verdict::Before { last } => lo = last,
                Verdict::NotBefore { .. } | Verdict::End | Verdict::Refused => return Ok((lo, x)),
            }
            step = step.saturating_mul(2);
        }
    }

    /// Narrows down the last old row between `lo` (old) and `hi` (no old row seen after it). Where
    /// whole pages are read, a page is near enough: the walk upwards finds the rest.
    async fn bisect(&mut self, mut lo: i64, mut hi: i64) -> Result<i64, ApiError> {
        let mut enough = 1;
        while hi.saturating_sub(lo) > enough && !self.is_spent() {
            let middle = lo + (hi - lo) / 2;
            match self.judge(middle, self.extent).await? {
                Verdict::Before { last } => {
                    lo = last;
                    if self.extent == Extent::Page {
                        enough = self.width;
                    }
                }
                Verdict::NotBefore { .. } | Verdict::End | Verdict::Refused => hi = middle,
            }
        }
        Ok(lo)
    }

    /// Walks up page by page from an old id. True if it came to a row that is not old, or to the
    /// end of the log.
    async fn climb(&mut self, mut lo: i64) -> Result<(i64, bool), ApiError> {
        let mut ends = 0;
        for _ in 0..MOST_CLIMBS {
            if self.is_spent() {
                return Ok((lo, true));
            }
            match self.judge(lo, Extent::Page).await? {
                Verdict::Before { last } if last > lo => {
                    lo = last;
                    ends = 0;
                }
                Verdict::Before { .. } | Verdict::Refused => return Ok((lo, true)),
                Verdict::NotBefore { prefix } => return Ok((prefix.unwrap_or(lo), true)),
                // One empty answer may be that of a replica that lags.
                Verdict::End if ends == 0 => ends = 1,
                Verdict::End => return Ok((lo, true)),
            }
        }
        Ok((lo, false))
    }

    /// Looks at pages below the found id, which may be too high where times do not follow ids, and
    /// continues below each page that shows a time that is not old.
    async fn confirm_below(&mut self, mut lo: i64) -> Result<i64, ApiError> {
        while let Some(hi) = self.recent_below(lo).await? {
            // From here on only the pages below are believed.
            let floor = self.old_below(hi).await?;
            let bisected = self.bisect(floor, hi).await?;
            lo = if self.is_spent() { floor } else { self.climb(bisected).await?.0 };
        }
        Ok(lo)
    }

    /// An id below `lo` after which a page shows a time that is not old: each of the nearest pages
    /// is looked at, then those at 12, 16, 24, 32 ... page widths.
    async fn recent_below(&mut self, lo: i64) -> Result<Option<i64>, ApiError> {
        let (mut upto, mut width) = (lo, self.width);
        let (mut looks, mut rows) = (0, 0);
        while looks < 2 * CLOSE_PAGES && rows < CLOSE_PAGES * self.largest_page {
            if self.is_spent() || upto <= self.oldest {
                return Ok(None);
            }
            let from = self.not_below_oldest(upto.saturating_sub(width));
            looks += 1;
            let look = self.look(from, upto).await?;
            if look.shows_recent {
                return Ok(Some(from));
            }
            if look.reached < upto && look.span < width {
                // Ids lie closer together than they do above: the page ended before the rows that
                // were looked at.
                width = look.span.max(1);
                continue;
            }
            if 2 * look.rows < self.largest_page {
                width = width.saturating_mul(2);
            }
            rows += look.rows;
            upto = from;
        }
        let mut distance = lo.saturating_sub(upto);
        for is_odd in [true, false].into_iter().cycle() {
            if self.is_spent() || upto <= self.oldest {
                break;
            }
            distance = if is_odd { distance / 2 * 3 } else { distance / 3 * 4 }.max(distance + 1);
            upto = self.not_below_oldest(lo.saturating_sub(distance));
            if self.look(upto, lo).await?.shows_recent {
                return Ok(Some(upto));
            }
        }
        Ok(None)
    }

    /// An old id below `hi`, looked for at doubling distances; 0 if there is none.
    async fn old_below(&mut self, hi: i64) -> Result<i64, ApiError> {
        let mut distance = self.width;
        while hi.saturating_sub(distance) > self.oldest && !self.is_spent() {
            if let Some(old) = self.look(hi - distance, hi).await?.old {
                return Ok(old);
            }
            distance = distance.saturating_mul(2);
        }
        Ok(0)
    }

    /// The oldest row is asked for by 0: a server may refuse ids that are gone.
    const fn not_below_oldest(&self, id: i64) -> i64 {
        if id < self.oldest { 0 } else { id }
    }

    /// Reads the page after an id and judges its rows up to `upto`.
    async fn look(&mut self, after: i64, upto: i64) -> Result<Look, ApiError> {
        let nothing = Look { shows_recent: false, old: None, reached: upto, span: self.width, rows: 0 };
        let ProbeAnswer::Rows(rows) = self.ask(after, Extent::Page).await? else { return Ok(nothing) };
        let reached = rows.last().map_or(upto, |row| row.id);
        let below: Vec<ProbeRow> = rows.into_iter().filter(|row| row.id <= upto).collect();
        let verdict = self.verdict(&below);
        Ok(Look {
            shows_recent: matches!(verdict, Some(Verdict::NotBefore { .. })),
            old: match verdict {
                Some(Verdict::Before { last }) => Some(last),
                _ => None,
            },
            reached,
            span: self.width,
            rows: below.len(),
        })
    }

    /// Asks for the rows after an id and judges them.
    async fn judge(&mut self, after: i64, extent: Extent) -> Result<Verdict, ApiError> {
        let (mut from, mut extent) = (after, extent);
        loop {
            let rows = match self.ask(from, extent).await? {
                ProbeAnswer::Rows(rows) => rows,
                ProbeAnswer::Unreadable if extent == Extent::Two => {
                    extent = Extent::Page;
                    continue;
                }
                ProbeAnswer::Unreadable if self.mark == Mark::Now => {
                    return Ok(Verdict::Before { last: from });
                }
                ProbeAnswer::Empty | ProbeAnswer::NothingFurther if from == after => return Ok(Verdict::End),
                ProbeAnswer::Refused if from == after => return Ok(Verdict::Refused),
                // No row, or none whose time says anything.
                _ => return Ok(Verdict::NotBefore { prefix: None }),
            };
            match (self.verdict(&rows), rows.last()) {
                (Some(Verdict::NotBefore { prefix: Some(last) }), _) if extent == Extent::Two => {
                    // Where times follow ids, the first row shows that the rows below it are old.
                    return Ok(Verdict::Before { last });
                }
                (None, Some(last)) if self.looks_past < MOST_LOOKS_PAST && !self.is_spent() => {
                    self.looks_past += 1;
                    from = last.id;
                }
                (verdict, _) => return Ok(verdict.unwrap_or(Verdict::NotBefore { prefix: None })),
            }
        }
    }

    /// Judges rows by the latest of their plausible times; `None` where no time is plausible.
    fn verdict(&self, rows: &[ProbeRow]) -> Option<Verdict> {
        let Mark::Time(mark) = self.mark else {
            return rows.last().map(|row| Verdict::Before { last: row.id });
        };
        let now = self.probe.now();
        let plausible =
            rows.iter().filter_map(|row| row.time.filter(|time| *time <= now).map(|time| (row.id, time)));
        let mut prefix = None;
        for (id, time) in plausible {
            if time >= mark {
                return Some(Verdict::NotBefore { prefix });
            }
            prefix = Some(id);
        }
        prefix.map(|last| Verdict::Before { last })
    }
}

#[cfg(test)]
mod tests;

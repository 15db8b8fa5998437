//! Which pages of a log to ask for at the same time while far behind, and in which order they may
//! be used. Pure and synchronous: it knows neither network nor clock nor rows. Decisions go in
//! (answers, failures), questions come out.
//!
//! The policy. The page behind the position is always asked for first. A *guess* is a question
//! after a place where no page is known to end; it starts about [`STRAND`] pages ahead. From its
//! answer a *strand* goes on exactly, each question after the last row of the page before, so that
//! only the starts of strands are guesses. A strand that reaches the start of the next one is
//! closed. Where the log ends is known from its newest row, from the time at which the reading
//! ends, or not at all; then no guess goes farther beyond the highest known row than pages were
//! read so far.
//!
//! Promises: a page is handed over only if the place that it was asked after is at or below the
//! position, so that no row between the two can be missed; at most as many questions as allowed are
//! under way, one of which belongs to the position, and one more right after the number was halved;
//! a place whose guess failed is not guessed again; memory is bounded by about ten pages for each
//! question that may be under way.
//!
//! *Places* rise in the direction of reading: they are ids, or negated ids where the newest row is
//! read first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::allowance::{Allowance, QuestionFailure};

/// The place before the first row, where that is no id.
pub(super) const BEGINNING: i64 = i64::MIN / 4;

/// The length of a strand, in pages. Longer ones waste less at their ends and take longer to close.
const STRAND: i64 = 6;

/// Pages kept and under way below a place, for each question that may be under way, before no
/// question is asked after that place.
const AHEAD: usize = 8;

/// Kept pages beyond this many for each question are dropped, the farthest first.
const MOST_KEPT: usize = AHEAD + 2;

/// A guess aims this much short of the end of a page, in hundredths of a page: the strand below it
/// then ends inside the guessed page more often than just before it.
const SHORT: i64 = 12;

/// A closed gap is divided if it is this much longer than a strand, in hundredths of a page. With
/// 150, a month of days and nights took 4 % more requests.
const DIVIDE_BEYOND: i64 = 300;

/// The least rest of the log that is worth a guess, in hundredths of a page.
const LEAST_REST: i64 = 125;

/// The least gap that is halved where a question is left over, in hundredths of a page. Each new
/// start costs about half a page, so that halving a gap of two saves no time that is worth it.
const LEAST_HALVED: i64 = 300;

/// Where a page above a gap takes this many times as many ids as one below it, or as few, the rate
/// changes at once somewhere in the gap; nobody knows where.
const STEP: i64 = 10;

/// Pages next below a place that tell how many ids a page takes there.
const MEASURED: usize = 4;

/// Guesses fail this often in a row before no more are made: some servers may refuse ids that do
/// not exist.
const MOST_FAILURES: u32 = 8;

/// The newest row is asked for again near the one that is known only if this many rounds of pages
/// were read since: a log that was read within seconds has hardly grown.
const ROUNDS_TO_ASK_NEWEST: usize = 8;

/// A question to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// The page after a place.
    After(i64),
    /// The newest row.
    Newest,
}

/// The rows of a page as far as the policy looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageOutline {
    /// The place of the first row.
    pub(super) first: i64,
    /// The place of the last row.
    pub(super) last: i64,
    /// The number of list elements.
    pub(super) listed: usize,
    /// How far the event time of the first row is from where the reading ends, and that of the last
    /// row, in seconds; below 0 behind it. `None` where it ends with the log.
    pub(super) left: Option<(i64, i64)>,
}

/// Knowledge of the end of the log before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// The log can be asked for its newest row.
    Askable,
    /// No row is behind this place.
    At(i64),
    /// Nothing.
    Unknown,
}

/// A page that waits for the position to reach it.
#[derive(Debug)]
struct KeptPage<P> {
    outline: PageOutline,
    page: P,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    /// Rises with each question.
    number: u64,
    /// The place of the last row of the page as it was recognised before the page was read.
    peeked: Option<i64>,
    kind: FlightKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlightKind {
    Position,
    /// After the last row of a page.
    Strand,
    /// After a place that may be no row's.
    Guess,
}

/// A part of the log that no page covers: from the end of what a strand has read to the next start.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: i64,
    /// The start of the next strand; `None` in the last gap.
    to: Option<i64>,
    /// True if the page after `from` is under way.
    is_asked: bool,
    /// Pages kept and under way below it.
    below: usize,
}

/// The state of one reading. `P` is a page with its rows.
#[derive(Debug)]
pub(super) struct Strands<P> {
    allowance: Allowance,
    position: i64,
    /// By the place that each was asked after. Each reaches beyond the position.
    pages: BTreeMap<i64, KeptPage<P>>,
    /// By the place that each asks after.
    flights: BTreeMap<i64, Flight>,
    asks_newest: bool,
    newest_under_way: bool,
    newest: Option<i64>,
    pages_since_newest: usize,
    /// The last pages that were handed over, the latest last.
    read: VecDeque<PageOutline>,
    pages_got: usize,
    highest: i64,
    /// A guess after this place showed nothing.
    empty_after: Option<i64>,
    largest_page: usize,
    /// Guesses that failed since the last one that did not.
    failures: u32,
    /// Places that are not guessed again.
    failed: BTreeSet<i64>,
    #[cfg(test)]
    pub(super) flaw: Option<StrandFlaw>,
}

/// Wrong rules, for tests only: a test that none of them can fail is worth nothing.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrandFlaw {
    /// A page beyond a gap is used before the gap is read.
    BridgesGaps,
    /// The empty answer to a guess ends the reading.
    GuessEnds,
    /// The rest of a strand counts as read when its first page is.
    SkipsStrand,
}

impl<P> Strands<P> {
    /// A reading that begins behind `position`, with at most `most` questions under way.
    pub(super) fn new(position: i64, most: usize, end: LogEnd) -> Strands<P> {
        Strands {
            allowance: Allowance::new(most),
            position,
            pages: BTreeMap::new(),
            flights: BTreeMap::new(),
            asks_newest: end == LogEnd::Askable,
            newest_under_way: false,
            newest: if let LogEnd::At(place) = end { Some(place) } else { None },
            pages_since_newest: 0,
            read: VecDeque::new(),
            pages_got: 0,
            highest: BEGINNING,
            empty_after: None,
            largest_page: 1,
            failures: 0,
            failed: BTreeSet::new(),
            #[cfg(test)]
            flaw: None,
        }
    }

    /// The place behind which the next page is wanted.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Questions under way.
    pub(super) fn under_way(&self) -> usize {
        self.flights.len() + usize::from(self.newest_under_way)
    }

    /// Pages that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.pages.len()
    }

    /// The next question to send, which counts as under way from now on; `None` if nothing more is
    /// to be asked at the moment.
    pub(super) fn next(&mut self) -> Option<Question> {
        let reach = self.reach();
        if !self.is_served(reach) {
            return Some(self.send(reach, FlightKind::Position));
        }
        if self.under_way() >= self.allowance.now() {
            return None;
        }
        if self.wants_newest() {
            self.newest_under_way = true;
            self.pages_since_newest = 0;
            self.allowance.next_number();
            return Some(Question::Newest);
        }
        let (place, kind) = self.ahead()?;
        Some(self.send(place, kind))
    }

    fn send(&mut self, place: i64, kind: FlightKind) -> Question {
        let number = self.allowance.next_number();
        self.flights.insert(place, Flight { number, peeked: None, kind });
        Question::After(place)
    }

    /// Where the position will be once all kept pages that lead on from it are handed over.
    fn reach(&self) -> i64 {
        let mut reach = self.position;
        for (asked, kept) in &self.pages {
            if *asked > reach {
                break;
            }
            reach = reach.max(kept.outline.last);
        }
        reach
    }

    /// True if the page behind this place is under way, as far as that can be known.
    fn is_served(&self, reach: i64) -> bool {
        if self.flights.contains_key(&reach) {
            return true;
        }
        let Some(span) = self.span(reach) else { return false };
        let near = reach.saturating_sub(span / 2);
        self.flights.range(near..reach).any(|(_, flight)| flight.peeked.is_none())
    }

    fn wants_newest(&self) -> bool {
        if !self.asks_newest || self.newest_under_way {
            return false;
        }
        let Some(newest) = self.newest else {
            return self.pages_since_newest == 0 && self.allowance.last_number() <= 1;
        };
        let is_near = self
            .span(self.position)
            .is_some_and(|span| newest.saturating_sub(self.position) < span.saturating_mul(3) / 2);
        is_near && self.pages_since_newest >= ROUNDS_TO_ASK_NEWEST * self.allowance.most()
    }

    /// A place to ask after beside the position.
    fn ahead(&self) -> Option<(i64, FlightKind)> {
        if self.failures >= MOST_FAILURES || self.allowance.now() < 2 {
            return None;
        }
        self.span(self.position)?;
        let gaps = self.gaps();
        let within = gaps.iter().filter(|gap| gap.below < AHEAD * self.allowance.now());
        let mut longest = None;
        for gap in within {
            let Some(span) = self.span_within(gap) else { continue };
            let end = gap.to.or_else(|| self.end(gap.from, span));
            // A strand goes on, unless nothing is behind it.
            if !gap.is_asked && end.is_some_and(|end| gap.from < end) && self.may_guess(gap.from) {
                return Some((gap.from, FlightKind::Strand));
            }
            let Some(end) = end else { continue };
            let pages = end.saturating_sub(gap.from).saturating_mul(100) / span;
            let ahead = match gap.to {
                Some(_) if pages >= 100 * STRAND + DIVIDE_BEYOND => {
                    let parts = round(pages, STRAND).max(1);
                    Some(round(pages, parts))
                }
                None if pages >= LEAST_REST => {
                    let share = (pages + 100 * self.allowed_wide() - 1) / (100 * self.allowed_wide());
                    Some(STRAND.min(share).min((pages - 40) / 100).max(1))
                }
                _ => None,
            };
            let place = ahead.map(|ahead| at(gap.from, span, ahead));
            if let Some(place) = place.filter(|place| self.is_good_guess(gap, end, *place)) {
                return Some((place, FlightKind::Guess));
            }
            if pages >= LEAST_HALVED && longest.is_none_or(|(longest, _)| pages > longest) {
                let middle = at(gap.from, span, round(pages, 2).max(1));
                if self.is_good_guess(gap, end, middle) {
                    longest = Some((pages, middle));
                }
            }
        }
        longest.map(|(_, middle)| (middle, FlightKind::Guess))
    }

    fn allowed_wide(&self) -> i64 {
        i64::try_from(self.allowance.now()).unwrap_or(i64::MAX)
    }

    fn is_good_guess(&self, gap: &Gap, end: i64, place: i64) -> bool {
        place > gap.from && place < end && self.may_guess(place)
    }

    fn may_guess(&self, place: i64) -> bool {
        !self.failed.contains(&place)
            && !self.flights.contains_key(&place)
            && !self.pages.contains_key(&place)
    }

    /// The gaps that no page covers, upwards from the position.
    fn gaps(&self) -> Vec<Gap> {
        let reach = self.reach();
        let near = self.span(reach).map_or(0, |span| span / 2);
        let mut starts: Vec<(i64, Option<i64>)> = Vec::with_capacity(self.pages.len() + self.flights.len());
        starts.extend(self.pages.iter().map(|(asked, kept)| (*asked, Some(kept.outline.last))));
        starts.extend(self.flights.iter().map(|(asked, flight)| (*asked, flight.peeked)));
        starts.sort_unstable();
        let mut gaps = Vec::new();
        let mut gap = Gap { from: self.position, to: None, is_asked: false, below: 0 };
        for (asked, last) in starts {
            if asked > gap.from {
                gaps.push(Gap { to: Some(asked), ..gap });
                gap = Gap { from: asked, to: None, is_asked: false, below: gap.below };
            }
            match last {
                Some(last) if last > gap.from => gap = Gap { from: last, is_asked: false, ..gap },
                None => {
                    let serves = gap.from == reach && asked >= gap.from.saturating_sub(near);
                    gap.is_asked |= asked == gap.from || serves;
                }
                Some(_) => {}
            }
            gap.below += 1;
        }
        gaps.push(gap);
        gaps
    }

    /// How many ids a full page takes at a place: the mean of the known pages next below.
    fn span(&self, place: i64) -> Option<i64> {
        mean_span(self.full_pages_below(place))
    }

    /// How many ids a full page takes in a gap. The rate of rows is taken to go evenly from that of
    /// the pages next below to that of those next above.
    fn span_within(&self, gap: &Gap) -> Option<i64> {
        let below = self.span(gap.from)?;
        let above = gap.to.and_then(|to| {
            let kept = self.pages.range(to..).map(|(_, kept)| &kept.outline);
            mean_span(kept.filter(|outline| self.tells_span(outline)).take(MEASURED))
        });
        let is_step = |above: i64| above.max(below) / above.min(below) >= STEP;
        let Some(above) = above.filter(|above| !is_step(*above)) else { return Some(below) };
        // The mean of two rates is the harmonic mean of their spans.
        let (below, above) = (i128::from(below), i128::from(above));
        i64::try_from(2 * below * above / (below + above)).ok()
    }

    fn full_pages_below(&self, place: i64) -> impl Iterator<Item = &PageOutline> {
        let kept = self.pages.range(..place).rev().map(|(_, kept)| &kept.outline);
        kept.chain(self.read.iter().rev()).filter(|outline| self.tells_span(outline)).take(MEASURED)
    }

    /// True for a full page of at least two rows. A server may cap pages below the Limit that is
    /// asked for.
    fn tells_span(&self, outline: &PageOutline) -> bool {
        outline.listed >= self.largest_page && outline.listed > 1
    }

    /// Where the log, or the part of it that is wanted, is thought to end.
    fn end(&self, from: i64, span: i64) -> Option<i64> {
        let newest = self.newest.filter(|newest| *newest >= self.highest);
        let empty = self.empty_after.filter(|empty| *empty >= self.highest);
        let farthest = match newest {
            Some(newest) => newest,
            // Nothing is known of the end.
            None => {
                let pages = i64::try_from(self.pages_got).unwrap_or(i64::MAX);
                self.highest.saturating_add(span.saturating_mul(pages))
            }
        };
        let by_time = self.end_by_time(from, span);
        let ends = [Some(farthest), empty, by_time];
        ends.into_iter().flatten().min()
    }

    /// Where the time is reached at which the reading ends, if time goes on as on the pages next
    /// below.
    fn end_by_time(&self, from: i64, span: i64) -> Option<i64> {
        let passed = self.pages.iter().find(|(_, kept)| kept.outline.left.is_some_and(|(_, left)| left < 0));
        if let Some((asked, _)) = passed {
            return Some(*asked);
        }
        let (mut seconds, mut pages, mut nearest) = (0_i64, 0_i64, None);
        for outline in self.full_pages_below(from) {
            let (first, last) = outline.left?;
            seconds = seconds.saturating_add(first.saturating_sub(last));
            pages += 1;
            nearest = nearest.or(Some((outline.last, last)));
        }
        let (last, left) = nearest?;
        let per_page = seconds.checked_div(pages)?.max(1);
        Some(last.saturating_add(span.saturating_mul(left.max(0)) / per_page))
    }

    /// Takes the answer to the question for the newest row; `None` if it failed or showed none.
    pub(super) fn newest_is(&mut self, newest: Option<i64>) {
        self.newest_under_way = false;
        // A server that ignores the order shows the oldest row.
        match newest.filter(|newest| *newest >= self.highest) {
            Some(newest) => self.newest = self.newest.max(Some(newest)),
            None => self.asks_newest &= newest.is_none_or(|newest| newest > self.position),
        }
    }

    /// The last row of a page that is under way, before the page is read.
    pub(super) fn peeked(&mut self, asked: i64, last: i64) {
        if let Some(flight) = self.flights.get_mut(&asked)
            && last > asked
        {
            flight.peeked = Some(last);
        }
    }

    /// Takes a page that is not the one behind the position, asked for `took` milliseconds ago.
    pub(super) fn keep(&mut self, asked: i64, outline: PageOutline, page: P, took: u64) {
        if self.flights.get(&asked).is_some_and(|flight| flight.kind == FlightKind::Guess) {
            self.failures = 0;
        }
        self.landed(asked, Some(took));
        self.measure(&outline);
        if outline.last <= self.position || outline.last <= asked {
            return;
        }
        self.pages.insert(asked, KeptPage { outline, page });
        while self.pages.len() + self.flights.len() > MOST_KEPT * self.allowance.now()
            && self.pages.last_key_value().is_some_and(|(asked, _)| *asked > self.position)
        {
            self.pages.pop_last();
        }
    }

    /// A guess was answered with nothing.
    pub(super) fn showed_nothing(&mut self, asked: i64, took: u64) {
        self.landed(asked, Some(took));
        self.failed.insert(asked);
        if asked >= self.highest {
            self.empty_after = Some(self.empty_after.map_or(asked, |empty| empty.min(asked)));
        }
    }

    /// A guess got no answer. True if it says something new about throttling.
    pub(super) fn failed(&mut self, asked: i64, failure: QuestionFailure) -> bool {
        let number = self.landed(asked, None);
        if failure == QuestionFailure::Other {
            self.failures += 1;
            self.failed.insert(asked);
        }
        self.allowance.failed(number, failure)
    }

    /// The page behind the position, which was asked for `took` milliseconds ago, is read; it goes
    /// on behind its last row.
    pub(super) fn read_position(&mut self, outline: Option<PageOutline>, took: u64) {
        self.landed(self.position, Some(took));
        if let Some(outline) = outline {
            self.measure(&outline);
            self.advance(outline);
        }
    }

    /// The question for the page behind the position failed. True if it says something new about
    /// throttling.
    pub(super) fn position_failed(&mut self, failure: QuestionFailure) -> bool {
        let number = self.landed(self.position, None);
        self.allowance.failed(number, failure)
    }

    /// The next page that is there already, with the place that it was asked after.
    pub(super) fn take(&mut self) -> Option<(i64, P)> {
        #[cfg(test)]
        if self.flaw == Some(StrandFlaw::BridgesGaps)
            && let Some((asked, kept)) = self.pages.pop_first()
        {
            self.advance(kept.outline);
            return Some((asked, kept.page));
        }
        let usable = self.pages.range(..=self.position).max_by_key(|(_, kept)| kept.outline.last);
        let asked = usable.map(|(asked, _)| *asked)?;
        let kept = self.pages.remove(&asked)?;
        self.advance(kept.outline);
        #[cfg(test)]
        if self.flaw == Some(StrandFlaw::SkipsStrand)
            && let Some(next) = self.pages.keys().next()
        {
            self.position = *next;
        }
        Some((asked, kept.page))
    }

    /// Goes on behind another position than that of the page handed over last, which must not be
    /// below it.
    pub(super) fn go_to(&mut self, position: i64) {
        if position > self.position {
            self.position = position;
            self.forget_below();
        }
    }

    fn advance(&mut self, outline: PageOutline) {
        self.position = self.position.max(outline.last);
        self.read.push_back(outline);
        if self.read.len() > MEASURED {
            self.read.pop_front();
        }
        self.forget_below();
    }

    fn forget_below(&mut self) {
        let position = self.position;
        self.pages.retain(|_, kept| kept.outline.last > position);
        self.failed = self.failed.split_off(&position);
    }

    fn measure(&mut self, outline: &PageOutline) {
        self.largest_page = self.largest_page.max(outline.listed);
        self.highest = self.highest.max(outline.last);
        self.pages_got += 1;
        self.pages_since_newest += 1;
    }

    /// A question ended. Returns its number.
    fn landed(&mut self, asked: i64, took: Option<u64>) -> u64 {
        let flight = self.flights.remove(&asked);
        let number = flight.map_or(self.allowance.last_number(), |flight| flight.number);
        if let Some(took) = took {
            let is_ahead = flight.is_some_and(|flight| flight.kind != FlightKind::Position);
            self.allowance.answered(number, took, is_ahead);
        }
        number
    }
}

impl PageOutline {
    /// The ids that a page of as many rows takes.
    fn span(&self) -> i64 {
        let rows = i64::try_from(self.listed).unwrap_or(i64::MAX).max(2);
        let between = self.last.saturating_sub(self.first);
        between.saturating_add(between / (rows - 1)).max(1)
    }
}

/// The mean of the ids that these pages take, at least 1; `None` without any.
fn mean_span<'a>(outlines: impl Iterator<Item = &'a PageOutline>) -> Option<i64> {
    let (mut ids, mut pages) = (0_i64, 0_i64);
    for outline in outlines {
        ids = ids.saturating_add(outline.span());
        pages += 1;
    }
    (pages > 0).then(|| (ids / pages).max(1))
}

/// The place that is so many pages ahead, less [`SHORT`].
fn at(from: i64, span: i64, pages: i64) -> i64 {
    from.saturating_add(span.saturating_mul(100 * pages - SHORT) / 100)
}

/// Hundredths divided by a number of parts, as a rounded whole number.
fn round(hundredths: i64, parts: i64) -> i64 {
    (hundredths + 50 * parts) / (100 * parts)
}

#[cfg(test)]
mod tests;

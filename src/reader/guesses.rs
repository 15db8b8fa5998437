//! The requests for several pages of a log that are under way at the same time, and the pages that
//! came before they were wanted. [`super::strands`] decides what is asked for; this module sends it
//! and hands the answers back.
//!
//! Promises: only an answer to a request at the position is an error or ends a reading; what went
//! wrong with any other request costs that request. Whatever is under way is given up when this is
//! dropped.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::allowance::QuestionFailure;
use super::batch::{Batch, Direction, Disorder, ReadPage};
use super::clock::TimestampPair;
use super::fetch::{Fetched, PeekedRow, fetch};
use super::source::PageSource;
use super::strands::{LogEnd, PageOutline, Question, Strands};
use crate::cryptolens::{ApiError, PageQuery, Row};
use crate::task::join;

/// The requests under way, and the pages kept, of one reading.
pub(super) struct Guesses<R> {
    strands: Strands<ReadPage<R>>,
    direction: Direction,
    flights: JoinSet<(Question, Fetched<R>)>,
    peeks: mpsc::UnboundedReceiver<(i64, PeekedRow)>,
    peeked: mpsc::UnboundedSender<(i64, PeekedRow)>,
}

/// Something that happened to a request under way.
pub(super) enum Arrival<R> {
    /// The last row of a page, as it looks before the page is read.
    Peeked(i64, PeekedRow),
    /// The end of a request.
    Ended(Question, Fetched<R>),
}

/// The end of a request, by what the request was for.
pub(super) enum Landing<R> {
    /// It was the request for the page behind the position.
    Position(Result<ReadPage<R>, ApiError>),
    /// It was another one.
    Guess {
        /// The highest id that it showed.
        shown: Option<i64>,
        /// The error for which the whole reading must wait, as the server asks for it.
        wait: Option<ApiError>,
    },
    /// It was the question for the newest row.
    Newest(Option<i64>),
}

/// How requests are sent.
pub(super) struct Sender<'a, S> {
    pub(super) source: &'a S,
    pub(super) limit: u16,
    pub(super) disorder: Disorder,
    pub(super) clock: fn() -> TimestampPair,
}

impl<R: Row> Guesses<R> {
    /// A reading that begins behind `position`, with at most `most` requests under way.
    pub(super) fn begin(position: i64, direction: Direction, most: usize) -> Guesses<R> {
        let end = match direction {
            Direction::OldestFirst if R::LOG.can_be_read_newest_first() => LogEnd::Askable,
            Direction::OldestFirst => LogEnd::Unknown,
            // No row has an id below 1.
            Direction::NewestFirst => LogEnd::At(direction.place(1)),
        };
        let strands = Strands::new(direction.place(position), most, end);
        let (peeked, peeks) = mpsc::unbounded_channel();
        Guesses { strands, direction, flights: JoinSet::new(), peeks, peeked }
    }

    #[cfg(test)]
    pub(super) fn with_flaw(mut self, flaw: Option<super::strands::StrandFlaw>) -> Guesses<R> {
        self.strands.flaw = flaw;
        self
    }

    /// True if it can go on behind this position: one below has to be read anew.
    pub(super) fn leads_to(&self, position: i64) -> bool {
        self.direction.place(position) >= self.strands.position()
    }

    /// Goes on behind this position.
    pub(super) fn go_to(&mut self, position: i64) {
        self.strands.go_to(self.direction.place(position));
    }

    /// The next page, if it is there already.
    pub(super) fn take(&mut self) -> Option<ReadPage<R>> {
        let position = self.strands.position();
        let (asked, mut page) = self.strands.take()?;
        if asked != position {
            // Entries before the first row stand behind a row on the page that came this far, too.
            page.batch.without_id.retain(Option::is_some);
        }
        Some(page)
    }

    /// Sends what is to be asked for now. Returns the number of requests.
    pub(super) fn send<S: PageSource>(&mut self, sender: &Sender<'_, S>) -> usize {
        let mut sent = 0;
        while let Some(question) = self.strands.next() {
            let query = match question {
                Question::After(place) => {
                    self.direction.query(self.direction.position_at(place), sender.limit)
                }
                Question::Newest => PageQuery::before(None, 1),
            };
            let peeked = self.peeked.clone();
            let peek = move |row| {
                if let Question::After(place) = question {
                    // The receiver may be gone.
                    let _ = peeked.send((place, row));
                }
            };
            let fetched = fetch(sender.source.clone(), query, sender.disorder, sender.clock, peek);
            self.flights.spawn(async move { (question, fetched.await) });
            sent += 1;
        }
        sent
    }

    /// An arrival that is there already, without waiting.
    pub(super) async fn arrived(&mut self) -> Option<Arrival<R>> {
        if let Ok((place, row)) = self.peeks.try_recv() {
            return Some(Arrival::Peeked(place, row));
        }
        let ended = self.flights.try_join_next()?;
        let (question, fetched) = join(std::future::ready(ended)).await;
        Some(Arrival::Ended(question, fetched))
    }

    /// Waits for the next thing that happens. Something must be under way.
    pub(super) async fn next(&mut self) -> Arrival<R> {
        tokio::select! {
            biased;
            Some((place, row)) = self.peeks.recv() => Arrival::Peeked(place, row),
            Some(ended) = self.flights.join_next() => {
                let (question, fetched) = join(std::future::ready(ended)).await;
                Arrival::Ended(question, fetched)
            }
        }
    }

    /// Takes note of the last row of a page that is under way.
    pub(super) fn peek(&mut self, place: i64, row: PeekedRow) {
        self.strands.peeked(place, self.direction.place(row.id));
    }

    /// Takes the end of a request. `left` says how far a time is from where the reading ends.
    pub(super) fn land(
        &mut self,
        question: Question,
        fetched: Fetched<R>,
        left: impl Fn(&R) -> Option<i64>,
    ) -> Landing<R> {
        let Fetched { result, took, exchange, .. } = fetched;
        let took = milliseconds(took);
        let Question::After(place) = question else {
            let newest = result.ok().and_then(|batch| batch.rows.iter().map(Row::id).max());
            self.strands.newest_is(newest);
            return Landing::Newest(newest);
        };
        let asked = self.direction.position_at(place);
        let outline = result.as_ref().ok().and_then(|batch| self.outline(batch, &left));
        if place == self.strands.position() {
            return match result {
                Ok(batch) => {
                    // A page that leads nowhere ends the reading or is an error: its owner decides.
                    self.strands.read_position(outline.filter(|outline| outline.last > place), took);
                    Landing::Position(Ok(ReadPage { batch, exchange, asked, is_guess: false }))
                }
                Err(error) => {
                    let is_news = self.strands.position_failed(QuestionFailure::of(&error));
                    match error {
                        // It was sent before the wait that the server asked for.
                        ApiError::RateLimited { .. } if !is_news => {
                            Landing::Guess { shown: None, wait: None }
                        }
                        error => Landing::Position(Err(error)),
                    }
                }
            };
        }
        match (result, outline) {
            (Ok(batch), Some(outline)) if outline.last > place => {
                let shown = batch.rows.iter().map(Row::id).max();
                self.strands.keep(place, outline, ReadPage { batch, exchange, asked, is_guess: true }, took);
                Landing::Guess { shown, wait: None }
            }
            #[cfg(test)]
            (Ok(batch), _) if self.strands.flaw == Some(super::strands::StrandFlaw::GuessEnds) => {
                Landing::Position(Ok(ReadPage { batch, exchange, asked, is_guess: false }))
            }
            (Ok(_), _) => {
                self.strands.showed_nothing(place, took);
                Landing::Guess { shown: None, wait: None }
            }
            (Err(error), _) => {
                let failure = QuestionFailure::of(&error);
                let is_news = self.strands.failed(place, failure);
                let must_wait = is_news && failure == QuestionFailure::Throttled { asks_to_wait: true };
                Landing::Guess { shown: None, wait: must_wait.then_some(error) }
            }
        }
    }

    fn outline(&self, batch: &Batch<R>, left: impl Fn(&R) -> Option<i64>) -> Option<PageOutline> {
        let (first, last) = (batch.rows.first()?, batch.rows.last()?);
        Some(PageOutline {
            first: self.direction.place(first.id()),
            last: self.direction.place(last.id()),
            listed: batch.listed,
            left: left(first).zip(left(last)),
        })
    }
}

impl QuestionFailure {
    fn of(error: &ApiError) -> QuestionFailure {
        match error {
            ApiError::RateLimited { retry_after } => {
                QuestionFailure::Throttled { asks_to_wait: retry_after.is_some() }
            }
            ApiError::Timeout => QuestionFailure::Throttled { asks_to_wait: false },
            _ => QuestionFailure::Other,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

//! How many questions for pages of one log may be under way at the same time: fewer when the server
//! shows that it has too much to do, one more after a long time without such a sign. Pure and
//! synchronous: it knows neither pages nor places nor the clock.
//!
//! Promises: the number is at least 1 and never above the one that was asked for; it is halved once
//! for all questions that were sent before, however many of them are refused.

/// Rounds of answers without a sign of throttling before one more question may be under way.
const ROUNDS_TO_GROW: usize = 50;

/// Answers that take this many times as long as they did are a sign that the server has too much to
/// do ...
const SLOWER: u64 = 3;

/// ... if they take this many milliseconds longer.
const SLOWER_BY: u64 = 100;

/// Why a question got no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuestionFailure {
    /// The server asked for fewer requests, or did not answer in time.
    Throttled {
        /// It said for how long nothing is to be asked.
        asks_to_wait: bool,
    },
    /// Anything else.
    Other,
}

/// The number of questions that may be under way, and the numbers of those that were sent.
#[derive(Debug)]
pub(super) struct Allowance {
    most: usize,
    now: usize,
    /// The number of the last question; numbers rise by one.
    sent: u64,
    /// Answers to questions with lower numbers say nothing about the number that is allowed now.
    reduced_at: u64,
    /// Questions with lower numbers were sent before the last wait that the server asked for.
    waited_at: u64,
    answers_since_event: usize,
    pace: Pace,
}

impl Allowance {
    /// At first as many as are allowed at all.
    pub(super) fn new(most: usize) -> Allowance {
        Allowance {
            most: most.max(1),
            now: most.max(1),
            sent: 0,
            reduced_at: 0,
            waited_at: 0,
            answers_since_event: 0,
            pace: Pace::default(),
        }
    }

    /// The most questions that may ever be under way.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The questions that may be under way now.
    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// The number of a question that is sent now.
    pub(super) fn next_number(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// The number of the question that was sent last.
    pub(super) fn last_number(&self) -> u64 {
        self.sent
    }

    /// A question was answered after so many milliseconds. The time of a question at the position
    /// does not count: that one is also asked where no other is under way.
    pub(super) fn answered(&mut self, number: u64, took: u64, is_ahead: bool) {
        if number <= self.reduced_at {
            return;
        }
        if is_ahead && self.pace.is_slower(took, self.now) {
            self.reduce(number);
            return;
        }
        self.answers_since_event += 1;
        if self.answers_since_event >= ROUNDS_TO_GROW * self.now && self.now < self.most {
            self.now += 1;
            self.answers_since_event = 0;
        }
    }

    /// A question failed. True if that says something new about throttling: not for what was sent
    /// before the last time, which is before the wait if this asks for one, else before the number
    /// of questions was reduced.
    pub(super) fn failed(&mut self, number: u64, failure: QuestionFailure) -> bool {
        let QuestionFailure::Throttled { asks_to_wait } = failure else { return false };
        let reduces = self.reduce(number);
        if !asks_to_wait {
            return reduces;
        }
        let is_first = number > self.waited_at;
        if is_first {
            self.waited_at = self.sent;
        }
        is_first
    }

    /// Halves the number of questions, once for all that were sent before. True if it did.
    fn reduce(&mut self, number: u64) -> bool {
        let is_new = number > self.reduced_at;
        if is_new {
            self.now = (self.now / 2).max(1);
            self.reduced_at = self.sent;
            self.answers_since_event = 0;
        }
        is_new
    }
}

/// How long answers take.
#[derive(Debug, Default)]
struct Pace {
    /// The mean of the fastest round so far, in milliseconds.
    fastest: Option<u64>,
    sum: u64,
    answers: u64,
}

impl Pace {
    /// Takes the milliseconds of one answer. True if the answers of a whole round were much slower
    /// than they have been.
    fn is_slower(&mut self, took: u64, round: usize) -> bool {
        self.sum = self.sum.saturating_add(took);
        self.answers += 1;
        let round = u64::try_from(round).unwrap_or(u64::MAX).max(4);
        if self.answers < round {
            return false;
        }
        let mean = self.sum / self.answers;
        (self.sum, self.answers) = (0, 0);
        let fastest = self.fastest.map_or(mean, |fastest| fastest.min(mean));
        self.fastest = Some(fastest);
        mean > fastest.saturating_mul(SLOWER) && mean > fastest.saturating_add(SLOWER_BY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_DOWN: QuestionFailure = QuestionFailure::Throttled { asks_to_wait: false };

    fn sent(allowance: &mut Allowance, questions: usize) -> Vec<u64> {
        (0..questions).map(|_| allowance.next_number()).collect()
    }

    #[test]
    fn is_halved_once_for_all_that_was_sent_before() {
        let mut allowance = Allowance::new(8);
        for number in sent(&mut allowance, 8) {
            allowance.failed(number, SLOW_DOWN);
        }
        assert_eq!(allowance.now(), 4);
        for _ in 0..5 {
            let number = allowance.next_number();
            assert!(allowance.failed(number, SLOW_DOWN));
        }
        assert_eq!(allowance.now(), 1, "never below one");
        let number = allowance.next_number();
        assert!(!allowance.failed(number, QuestionFailure::Other));
    }

    #[test]
    fn grows_by_one_in_fifty_rounds_and_not_above_the_most() {
        let mut allowance = Allowance::new(4);
        let number = allowance.next_number();
        allowance.failed(number, SLOW_DOWN);
        for expected in [3, 4, 4] {
            for _ in 0..ROUNDS_TO_GROW * allowance.now() {
                let number = allowance.next_number();
                allowance.answered(number, 100, true);
            }
            assert_eq!(allowance.now(), expected);
        }
    }

    #[test]
    fn answers_that_become_slow_halve_it_unless_they_are_the_positions() {
        for (is_ahead, expected) in [(true, 4), (false, 8)] {
            let mut allowance = Allowance::new(8);
            for (took, answers) in [(50, 8), (200, 8)] {
                for number in sent(&mut allowance, answers) {
                    allowance.answered(number, took, is_ahead);
                }
            }
            assert_eq!(allowance.now(), expected);
        }
    }
}

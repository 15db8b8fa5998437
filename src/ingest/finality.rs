//! Up to which id a log is final: no row that is promised to be counted can still show up at or
//! below it. Pure: it knows neither network nor ledger, only the times of answers and the ids that
//! they showed.
//!
//! A **witness** (T, h) says that an answer received at T showed id h. So h was visible at T, and
//! every row below h that comes at most an overlap after it is visible from T + overlap on. A page
//! whose request was *sent* at S, with T + overlap <= S, therefore shows all of them. Neither the
//! times of rows nor the calendar decide: a row's time is not the moment when it becomes visible.
//!
//! Promises: memory is bounded (a few dozen witnesses, however long the overlap); an id that is
//! called final for S stays so for every later S.

use std::collections::VecDeque;
use std::time::Duration;

/// Witnesses of the last overlap are merged so that about this many are kept.
const KEPT_PER_OVERLAP: u32 = 30;

/// Witnesses closer together than this are always merged.
const FINEST: Duration = Duration::from_secs(1);

/// Answers that came close together: the last moment, and the highest id that any of them showed.
/// Both err on the safe side: the row was visible no later than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Witness {
    first: Duration,
    last: Duration,
    highest: i64,
}

/// The ids that the answers of one log have shown, and when, since the process started.
#[derive(Debug, Clone)]
pub(super) struct Witnesses {
    overlap: Duration,
    /// Ascending by time.
    recent: VecDeque<Witness>,
    /// The witnesses that are so old that they were final for every request sent since, merged into
    /// one.
    old: Option<Witness>,
}

impl Witnesses {
    /// None yet.
    pub(super) fn new(overlap: Duration) -> Witnesses {
        Witnesses { overlap, recent: VecDeque::new(), old: None }
    }

    /// Records an answer that was received at `received` (monotonic) and showed `id`.
    pub(super) fn add(&mut self, received: Duration, id: i64) {
        let width = (self.overlap / KEPT_PER_OVERLAP).max(FINEST);
        match self.recent.back_mut() {
            Some(newest) if received < newest.first.saturating_add(width) => {
                newest.last = newest.last.max(received);
                newest.highest = newest.highest.max(id);
            }
            _ => self.recent.push_back(Witness { first: received, last: received, highest: id }),
        }
    }

    /// The highest id that was shown at least an overlap before a request was sent at `sent`
    /// (monotonic): every row *below* it that is promised is visible to that request.
    pub(super) fn settled(&self, sent: Duration) -> Option<i64> {
        let is_old = |witness: &&Witness| witness.last.saturating_add(self.overlap) <= sent;
        self.old.iter().chain(&self.recent).filter(is_old).map(|witness| witness.highest).max()
    }

    /// Merges the witnesses that no request sent at `sent` or later can tell apart.
    pub(super) fn forget_before(&mut self, sent: Duration) {
        while let Some(oldest) = self.recent.front()
            && oldest.last.saturating_add(self.overlap) <= sent
        {
            let old = self.old.get_or_insert(*oldest);
            old.last = old.last.max(oldest.last);
            old.highest = old.highest.max(oldest.highest);
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_shown_counts_an_overlap_later_and_not_before() {
        let mut witnesses = Witnesses::new(at(60));
        witnesses.add(at(100), 7);
        assert_eq!(witnesses.settled(at(159)), None);
        assert_eq!(witnesses.settled(at(160)), Some(7));
        witnesses.add(at(130), 3);
        assert_eq!(witnesses.settled(at(190)), Some(7), "an answer that shows less takes nothing back");
    }

    #[test]
    fn answers_that_come_close_together_count_from_the_last_on() {
        let mut witnesses = Witnesses::new(at(60));
        witnesses.add(at(100), 7);
        witnesses.add(at(101), 9);
        assert_eq!(witnesses.settled(at(160)), None, "merged, so the later time counts for both");
        assert_eq!(witnesses.settled(at(161)), Some(9));
    }

    #[test]
    fn an_overlap_of_a_day_keeps_few_witnesses() {
        let mut witnesses = Witnesses::new(at(86_400));
        for second in 0..400_000 {
            witnesses.add(at(second), i64::try_from(second).unwrap());
            witnesses.forget_before(at(second));
        }
        assert!(witnesses.recent.len() <= 32, "{}", witnesses.recent.len());
    }

    #[test]
    fn without_an_overlap_every_earlier_answer_counts() {
        let mut witnesses = Witnesses::new(Duration::ZERO);
        witnesses.add(at(5), 4);
        assert_eq!((witnesses.settled(at(5)), witnesses.settled(at(4))), (Some(4), None));
    }

    proptest! {
        /// Never more than the definition says, and merging costs at most its own width.
        #[test]
        fn is_never_more_than_the_answers_say(
            overlap in 0u64..200,
            answers in prop::collection::vec((0u64..30, 0i64..100), 1..40),
            ahead in 0u64..300,
        ) {
            let mut witnesses = Witnesses::new(at(overlap));
            let (mut now, mut shown) = (0, Vec::new());
            for (later, id) in answers {
                now += later;
                witnesses.add(at(now), id);
                shown.push((now, id));
                witnesses.forget_before(at(now));
                let best = |sent: u64| {
                    shown.iter().filter(|(time, _)| time + overlap <= sent).map(|(_, id)| *id).max()
                };
                let sent = now + ahead;
                prop_assert!(witnesses.settled(at(sent)) <= best(sent));
                let width = (overlap / u64::from(KEPT_PER_OVERLAP)).max(1) + 1;
                prop_assert!(witnesses.settled(at(sent + width)) >= best(sent));
            }
        }
    }
}

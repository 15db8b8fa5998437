//! Decides whether a machine was refused a seat.
//!
//! A machine that finds no free seat asks again and again: 746 requests of a month were 26 refusals.
//! It is refused once, from its first refusal until it gets a seat or is silent for an hour.

use std::collections::HashMap;
use std::hash::Hash;

/// Who does not ask for so long, in seconds, has given up.
const SILENCE: i64 = 3600;

/// One machine that waits for a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct SeatRefusal {
    /// Its first request, in Unix seconds.
    pub(in crate::report) begin: i64,
    /// Its latest one.
    pub(in crate::report) last: i64,
}

/// The meaning of a request that found no free seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum SeatDenial {
    /// The machine waits already.
    Again,
    /// A refusal begins. The machine may have given up another one before.
    Begins { gave_up: Option<SeatRefusal> },
}

/// The machines that wait, by whatever names them. Requests come in the order of time.
#[derive(Debug, Clone)]
pub(in crate::report) struct RefusalTracker<M> {
    waiting: HashMap<M, SeatRefusal>,
}

impl<M: Eq + Hash + Clone> RefusalTracker<M> {
    /// Nobody waits.
    pub(in crate::report) fn new() -> RefusalTracker<M> {
        RefusalTracker { waiting: HashMap::new() }
    }

    /// A machine finds no free seat.
    pub(in crate::report) fn refused(&mut self, machine: &M, time: i64) -> SeatDenial {
        match self.waiting.get_mut(machine) {
            Some(waiting) if time.saturating_sub(waiting.last) <= SILENCE => {
                waiting.last = waiting.last.max(time);
                SeatDenial::Again
            }
            _ => {
                let begun = SeatRefusal { begin: time, last: time };
                SeatDenial::Begins { gave_up: self.waiting.insert(machine.clone(), begun) }
            }
        }
    }

    /// A machine gets a seat: the refusal that this ends, unless it had given up before.
    pub(in crate::report) fn seated(&mut self, machine: &M, time: i64) -> Option<SeatRefusal> {
        let waiting = self.waiting.get(machine).copied()?;
        if time.saturating_sub(waiting.last) > SILENCE {
            return None;
        }
        self.waiting.remove(machine);
        Some(waiting)
    }

    /// The machines that have given up at this time, which wait no longer, in the order in which
    /// they came.
    pub(in crate::report) fn given_up(&mut self, time: i64) -> Vec<(M, SeatRefusal)> {
        let is_silent = |waiting: &SeatRefusal| time.saturating_sub(waiting.last) > SILENCE;
        let mut silent: Vec<(M, SeatRefusal)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| is_silent(waiting))
            .map(|(machine, waiting)| (machine.clone(), *waiting))
            .collect();
        self.waiting.retain(|_, waiting| !is_silent(waiting));
        silent.sort_by_key(|(_, waiting)| (waiting.begin, waiting.last));
        silent
    }

    /// How many wait, with those who have given up and were not taken yet.
    pub(in crate::report) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retries_are_one_refusal_until_a_seat_or_an_hour_of_silence() {
        let mut tracker = RefusalTracker::new();
        let begins = SeatDenial::Begins { gave_up: None };
        assert_eq!(tracker.refused(&1, 0), begins, "the first request");
        assert_eq!(tracker.refused(&1, 30), SeatDenial::Again);
        assert_eq!(
            tracker.refused(&1, 30 + SILENCE),
            SeatDenial::Again,
            "an hour is not longer than an hour"
        );
        assert_eq!(tracker.refused(&2, 40), begins, "another machine");
        let waited = tracker.seated(&1, 4000);
        assert_eq!(waited, Some(SeatRefusal { begin: 0, last: 30 + SILENCE }));
        assert_eq!(tracker.seated(&1, 4001), None, "it waits no longer");
        assert_eq!(tracker.refused(&1, 4100), begins, "a new one");
        assert_eq!(tracker.seated(&2, 41 + SILENCE), None, "it had given up");
        assert_eq!(tracker.given_up(41 + SILENCE), [(2, SeatRefusal { begin: 40, last: 40 })]);
        assert_eq!((tracker.given_up(41 + SILENCE), tracker.len()), (Vec::new(), 1));
        let gave_up = Some(SeatRefusal { begin: 4100, last: 4100 });
        assert_eq!(tracker.refused(&1, 4101 + SILENCE), SeatDenial::Begins { gave_up }, "after silence");
    }

    proptest! {
        /// Counted again by hand: a refusal begins at each request that no other one of the machine,
        /// since it had a seat, is at most an hour before.
        #[test]
        fn refusals_begin_where_the_definition_says(
            steps in proptest::collection::vec((0_i64..4000, 0_u8..3, 0_u8..4), 0..60),
        ) {
            let (mut tracker, mut time) = (RefusalTracker::new(), 0);
            let mut past: Vec<(i64, u8, bool)> = Vec::new();
            for (wait, machine, kind) in steps {
                time += wait;
                let is_seat = kind == 0;
                if is_seat {
                    tracker.seated(&machine, time);
                } else {
                    let before = past.iter().rev().find(|(_, other, _)| *other == machine);
                    let goes_on = before.is_some_and(|(at, _, was_seat)| !was_seat && time - at <= SILENCE);
                    prop_assert_eq!(tracker.refused(&machine, time) == SeatDenial::Again, goes_on);
                }
                past.push((time, machine, is_seat));
            }
        }
    }
}

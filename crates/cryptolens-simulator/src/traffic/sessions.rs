//! Floating sessions: the machines that take a seat on a day, and those that are turned away.
//!
//! The day of a key is simulated in time order with the key's seats, so the states 2014, 2015, 2024
//! and 6011 are consistent: never more seats are held than the license has, except by overdraft. No
//! seat is held over midnight UTC (sessions start after 01:00, and the longest lease is an hour),
//! so each day stands alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::rhythm::is_weekend;
use super::{DAY, Draft, Span};
use crate::catalogue::{Catalogue, PRODUCTS, Policy, WEEKEND_ATTENDANCE};
use crate::random::Random;
use crate::row::{Fields, WebApiFields};

const FLOATING_ACTIVATION: u16 = 2014;
const FLOATING_OVERDRAFT: u16 = 2015;
pub(crate) const NO_FREE_SEAT: u16 = 2024;
const FLOATING_RELEASE: u16 = 6011;

const EARLIEST_START: i64 = 3600;
const LATEST_START: i64 = 22 * 3600;
/// With the longest lease, seats are given back before the next day's first session.
const LATEST_END: i64 = DAY - 60;
const LONGEST_SESSION: i64 = 10 * 3600;
/// How often a machine that finds no seat asks again before it gives up.
const MOST_RETRIES: u32 = 5;

/// One seat held by one machine, or one refusal. Seconds are counted from the day's midnight.
#[derive(Debug, Clone, Copy)]
struct Session {
    start: u32,
    end: u32,
    key: u32,
    machine: u32,
    /// Seconds between heartbeats.
    interval: u32,
    lease: u32,
    state: u16,
    /// Whether the seat is given back at the end, or left to expire.
    released: bool,
}

impl Session {
    fn last_heartbeat(&self) -> u32 {
        let beats = self.end.saturating_sub(self.start + 1) / self.interval.max(1);
        self.start + beats * self.interval
    }

    fn held_until(&self) -> u32 {
        if self.released { self.end } else { self.last_heartbeat() + self.lease }
    }
}

/// A machine that is about to ask for a seat; ordered by time, then machine.
type Attempt = (i64, u32, i64, u32);

#[derive(Debug)]
pub(super) struct Sessions {
    seed: u64,
    catalogue: Arc<Catalogue>,
    /// The day that is being written, in days of the Unix clock, and its sessions by their start.
    day: i64,
    sessions: Vec<Session>,
}

impl Sessions {
    pub(super) fn new(seed: u64, catalogue: Arc<Catalogue>) -> Self {
        Self { seed, catalogue, day: i64::MIN, sessions: Vec::new() }
    }

    /// Adds the rows that floating sessions write in the span, which lies within a day.
    pub(super) fn draft(&mut self, span: Span, drafts: &mut Vec<Draft>) {
        let day = span.from.div_euclid(DAY);
        if self.day != day {
            self.day = day;
            self.sessions = self.sessions_of(day);
        }
        let (from, to) = (span.from - day * DAY, span.to - day * DAY);
        let over = |session: &Session| i64::from(session.start) < from - LONGEST_SESSION;
        let first = self.sessions.partition_point(over);
        for session in self.sessions[first..].iter().take_while(|session| i64::from(session.start) < to) {
            draft_session(session, day * DAY, from, to, drafts);
        }
    }

    fn sessions_of(&self, day: i64) -> Vec<Session> {
        let mut sessions = Vec::new();
        for (index, product) in PRODUCTS.iter().enumerate() {
            if let Policy::Floating { lease, overdraft, .. } = product.policy {
                for key in self.catalogue.keys_of(index) {
                    self.add_sessions_of_key(day, key, lease, overdraft, &mut sessions);
                }
            }
        }
        sessions.sort_by_key(|session| (session.start, session.machine));
        sessions
    }

    fn add_sessions_of_key(
        &self,
        day: i64,
        key_index: u32,
        lease: u32,
        overdraft: u32,
        sessions: &mut Vec<Session>,
    ) {
        let key = self.catalogue.key(key_index);
        let mut random = Random::for_stream(&[self.seed, 0x5ea7, u64::from(key_index), day as u64]);
        let quiet = if is_weekend(day) { WEEKEND_ATTENDANCE } else { 1.0 };
        let attendance = self.catalogue.attendance(key.product) * quiet;
        let mut attempts: BinaryHeap<Reverse<Attempt>> = BinaryHeap::new();
        for machine in key.machines.clone() {
            if random.chance(attendance) {
                let (start, end) = working_hours(key.shift, &mut random);
                attempts.push(Reverse((start, machine, end, 0)));
            }
        }
        let mut held: Vec<u32> = Vec::new();
        while let Some(Reverse((start, machine, end, tries))) = attempts.pop() {
            held.retain(|until| i64::from(*until) > start);
            let taken = held.len() as u32;
            let state = if taken < key.seats {
                FLOATING_ACTIVATION
            } else if taken < key.seats + overdraft {
                FLOATING_OVERDRAFT
            } else {
                NO_FREE_SEAT
            };
            let refused = state == NO_FREE_SEAT;
            let interval = lease / 2 - random.below(u64::from(lease / 20)) as u32;
            let released = !refused && random.chance(0.65);
            let session = Session {
                start: start as u32,
                end: end as u32,
                key: key_index,
                machine,
                interval,
                lease,
                state,
                released,
            };
            sessions.push(session);
            if refused {
                let again = start + random.between(60, 900);
                if tries < MOST_RETRIES && again + 1800 < end {
                    attempts.push(Reverse((again, machine, end, tries + 1)));
                }
            } else {
                held.push(session.held_until());
            }
        }
    }
}

/// The start and the end of a working day: most begin in the morning, some later, and last from
/// half an hour to nine hours.
fn working_hours(shift: i64, random: &mut Random) -> (i64, i64) {
    let begin = if random.chance(0.75) {
        7 * 3600 + random.between(0, 2 * 3600) + random.between(0, 2 * 3600)
    } else {
        random.between(12 * 3600, 18 * 3600)
    };
    let length = 1800 + random.between(0, 15_300) + random.between(0, 15_300);
    let start = (begin + shift).clamp(EARLIEST_START, LATEST_START);
    (start, (start + length.min(LONGEST_SESSION)).min(LATEST_END))
}

fn draft_session(session: &Session, midnight: i64, from: i64, to: i64, drafts: &mut Vec<Draft>) {
    let mut push = |second: i64, state: u16, lease: u32| {
        let fields = WebApiFields {
            state,
            key: session.key,
            machine: session.machine,
            lease,
            data_object_value: 0,
            data_object_id: 0,
        };
        drafts.push(Draft { time: midnight + second, fields: Fields::WebApi(fields) });
    };
    let (start, end) = (i64::from(session.start), i64::from(session.end));
    if session.state == NO_FREE_SEAT {
        if start >= from {
            push(start, NO_FREE_SEAT, 0);
        }
        return;
    }
    let interval = i64::from(session.interval.max(1));
    let first_beat = ((from - start).max(0) + interval - 1) / interval;
    let mut second = start + first_beat * interval;
    while second < end.min(to) {
        push(second, session.state, session.lease);
        second += interval;
    }
    if session.released && (from..to).contains(&end) {
        push(end, FLOATING_RELEASE, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const MONDAY: i64 = 1_767_571_200;

    fn rows_of_a_day(seed: u64) -> (Arc<Catalogue>, Vec<Draft>) {
        let catalogue = Arc::new(Catalogue::new(seed, 60.0));
        let mut sessions = Sessions::new(seed, Arc::clone(&catalogue));
        let mut drafts = Vec::new();
        for hour in 0..24 {
            let from = MONDAY + hour * 3600;
            sessions.draft(Span { from, to: from + 3600, rows_per_second: 1.0 }, &mut drafts);
        }
        drafts.sort_by_key(|draft| draft.time);
        (catalogue, drafts)
    }

    fn web_api(draft: &Draft) -> WebApiFields {
        match draft.fields {
            Fields::WebApi(fields) => fields,
            _ => panic!("a session writes the Web API Log"),
        }
    }

    #[test]
    fn a_day_shows_every_kind_of_seat_request() {
        let (_, drafts) = rows_of_a_day(1);
        for state in [FLOATING_ACTIVATION, FLOATING_OVERDRAFT, NO_FREE_SEAT, FLOATING_RELEASE] {
            assert!(drafts.iter().any(|draft| web_api(draft).state == state), "{state}");
        }
    }

    #[test]
    fn seats_are_never_oversold_but_by_overdraft() {
        let (catalogue, drafts) = rows_of_a_day(2);
        let mut seats: HashMap<u32, HashMap<u32, (i64, u16)>> = HashMap::new();
        for draft in &drafts {
            let fields = web_api(draft);
            let held = seats.entry(fields.key).or_default();
            held.retain(|_, (until, _)| *until > draft.time);
            match fields.state {
                FLOATING_RELEASE => drop(held.remove(&fields.machine)),
                NO_FREE_SEAT => {}
                state => drop(held.insert(fields.machine, (draft.time + i64::from(fields.lease), state))),
            }
            let key = catalogue.key(fields.key);
            let extra = match catalogue.product_of(key).policy {
                Policy::Floating { overdraft, .. } => overdraft,
                Policy::NodeLocked => 0,
            };
            assert!(held.len() as u32 <= key.seats + extra, "at {}", draft.time);
        }
    }

    #[test]
    fn no_seat_is_held_at_midnight_plus_an_hour() {
        let (_, drafts) = rows_of_a_day(3);
        let latest = drafts.iter().map(|draft| draft.time + i64::from(web_api(draft).lease)).max().unwrap();
        assert!(latest < MONDAY + DAY + 3600);
        assert!(drafts.iter().all(|draft| draft.time >= MONDAY + 3600));
    }

    #[test]
    fn spans_of_any_length_have_the_same_rows() {
        let catalogue = Arc::new(Catalogue::new(1, 12.0));
        let count = |length: i64| {
            let mut sessions = Sessions::new(1, Arc::clone(&catalogue));
            let mut drafts = Vec::new();
            for from in (MONDAY..MONDAY + DAY).step_by(length as usize) {
                sessions.draft(Span { from, to: from + length, rows_per_second: 1.0 }, &mut drafts);
            }
            drafts.len()
        };
        assert_eq!(count(3600), count(60));
        assert_eq!(count(3600), count(10));
    }
}

//! Traffic that looks like a real vendor's, generated forward in time.
//!
//! A log is written in steps of a fixed length. The rows of a step follow from the seed and the
//! steps before it, so the log of a seed, start and rate is the same in every process, however
//! often somebody looks. The ids of a second follow from the second: generated rows take the lower
//! half of them, rows that are added at run time the upper half. A row with a higher id has a time
//! that is not earlier; only its `visible_at` may be.

mod background;
mod events;
mod objects;
mod rhythm;
mod sessions;
mod spikes;

use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::log::Log;
use crate::random::{Random, hash_of, unit_of};
use crate::row::{Fields, Row};
pub(crate) use sessions::NO_FREE_SEAT;
use sessions::Sessions;
pub(crate) use spikes::{SpikeSpan, planned_spikes, spike_drafts};

pub(crate) const DAY: i64 = 86_400;
/// Lengths of a step, in seconds. Each divides a day.
const STEPS: [i64; 8] = [3600, 1800, 1200, 600, 300, 120, 60, 30];
const SHORTEST_STEP: i64 = 10;
/// The rows of a step, unless it is the shortest one. They are in memory before anybody sees the
/// first.
const ROWS_PER_STEP: f64 = 3000.0;

/// A row before it has an id.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) time: i64,
    pub(crate) fields: Fields,
}

/// The seed and the measures of a log; see [`super::Options`] for their meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) start: i64,
    pub(crate) first_id: i64,
    pub(crate) rows_per_minute: f64,
    pub(crate) late_fraction: f64,
    pub(crate) late_max: i64,
}

impl Plan {
    fn rows_per_second(&self) -> f64 {
        self.rows_per_minute / 60.0
    }

    /// The number of ids that each second has: room for sixteen times the mean rate in the lower
    /// half, so that a busy second never lacks ids.
    fn ids_per_second(&self) -> i64 {
        let ids = (self.rows_per_second() * 32.0).max(32.0) as u64;
        ids.next_power_of_two() as i64
    }

    pub(crate) fn first_id_of_second(&self, time: i64) -> i64 {
        self.first_id + (time - self.start) * self.ids_per_second()
    }

    pub(crate) fn second_of_id(&self, id: i64) -> i64 {
        self.start.saturating_add(id.saturating_sub(self.first_id).div_euclid(self.ids_per_second()))
    }

    /// The first of the ids that a second keeps for rows that are added at run time.
    pub(crate) fn first_added_id(&self, time: i64) -> i64 {
        self.first_id_of_second(time) + self.ids_per_second() / 2
    }

    fn step(&self) -> i64 {
        let fits = |step: &i64| *step as f64 * self.rows_per_second() <= ROWS_PER_STEP;
        STEPS.into_iter().find(fits).unwrap_or(SHORTEST_STEP)
    }
}

/// Writes a log.
#[derive(Debug)]
pub(crate) struct Generator {
    log: Log,
    plan: Plan,
    /// The end of what has been generated.
    end: i64,
    catalogue: Arc<Catalogue>,
    sessions: Sessions,
}

impl Generator {
    pub(crate) fn new(log: Log, plan: Plan, catalogue: Arc<Catalogue>) -> Self {
        Self {
            log,
            plan,
            end: plan.start.div_euclid(plan.step()) * plan.step(),
            sessions: Sessions::new(plan.seed, Arc::clone(&catalogue)),
            catalogue,
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether the rows up to and including this time are generated.
    pub(crate) fn has_reached(&self, time: i64) -> bool {
        self.end > time
    }

    /// Appends the rows up to and including this time, and some more, in id order.
    pub(crate) fn advance(&mut self, time: i64, rows: &mut Vec<Row>) {
        while !self.has_reached(time) {
            self.step(rows);
        }
    }

    fn step(&mut self, rows: &mut Vec<Row>) {
        let (from, to) = (self.end, self.end + self.plan.step());
        self.end = to;
        let mut drafts = Vec::new();
        // The number of the step since the start of the Unix clock.
        let number = from.div_euclid(self.plan.step());
        let mut random = Random::for_stream(&[self.plan.seed, self.log as u64, number as u64]);
        let span = Span { from, to, rows_per_second: self.plan.rows_per_second() };
        match self.log {
            Log::WebApi => {
                self.sessions.draft(span, &mut drafts);
                background::draft(span, &self.catalogue, &mut random, &mut drafts);
                spikes::draft(span, self.plan.seed, &self.catalogue, &mut random, &mut drafts);
            }
            Log::Events => events::draft(span, &self.catalogue, &mut random, &mut drafts),
            Log::Objects => objects::draft(span, self.plan.seed, &self.catalogue, &mut random, &mut drafts),
        }
        drafts.retain(|draft| draft.time >= self.plan.start);
        drafts.sort_by_key(|draft| draft.time);
        self.number(&drafts, &mut random, rows);
    }

    /// Gives sorted drafts their ids, with gaps, and decides which of them show up late.
    fn number(&self, drafts: &[Draft], random: &mut Random, rows: &mut Vec<Row>) {
        let room = self.plan.ids_per_second() / 2;
        for second in drafts.chunk_by(|left, right| left.time == right.time) {
            // One id is the least distance; a second with more rows than ids would lose the excess.
            let stride = (room / second.len() as i64).max(1);
            for (position, draft) in second.iter().enumerate().take(room as usize) {
                let offset = position as i64 * stride + random.between(0, stride);
                let id = self.plan.first_id_of_second(draft.time) + offset;
                rows.push(Row {
                    id,
                    time: draft.time,
                    visible_at: self.visible_at(id, draft.time),
                    fields: draft.fields.clone(),
                });
            }
        }
    }

    fn visible_at(&self, id: i64, time: i64) -> i64 {
        let hash = hash_of(&[self.plan.seed, 0x1a7e, self.log as u64, id as u64]);
        if self.plan.late_max <= 0 || unit_of(hash) >= self.plan.late_fraction {
            return time;
        }
        time + 1 + (hash_of(&[hash]) % self.plan.late_max as u64) as i64
    }
}

/// A span of time to fill, and the mean rate of the log.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
    rows_per_second: f64,
}

impl Span {
    /// A random time in the span.
    fn moment(self, random: &mut Random) -> i64 {
        random.between(self.from, self.to)
    }

    /// The number of rows that fall into the span at this time of the week, for a share of the log.
    fn count(self, share: f64, random: &mut Random) -> u64 {
        let seconds = (self.to - self.from) as f64;
        let middle = self.from + (self.to - self.from) / 2;
        random.poisson(self.rows_per_second * share * seconds * rhythm::weight(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_225_600;

    fn generator(log: Log, rows_per_minute: f64) -> Generator {
        let plan =
            Plan { seed: 1, start: START, first_id: 1000, rows_per_minute, late_fraction: 0.0, late_max: 0 };
        Generator::new(log, plan, Arc::new(Catalogue::new(1, rows_per_minute)))
    }

    fn rows(generator: &mut Generator, seconds: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        generator.advance(START + seconds - 1, &mut rows);
        rows
    }

    #[test]
    fn ids_rise_with_gaps_and_times_never_fall() {
        for log in [Log::WebApi, Log::Events, Log::Objects] {
            let rows = rows(&mut generator(log, 120.0), DAY);
            assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].time <= pair[1].time));
            assert!(rows.windows(2).any(|pair| pair[1].id - pair[0].id > 1));
        }
    }

    #[test]
    fn ids_belong_to_their_second() {
        let mut generator = generator(Log::WebApi, 600.0);
        let rows = rows(&mut generator, 10 * 3600);
        assert!(rows.iter().all(|row| generator.plan.second_of_id(row.id) == row.time));
    }

    #[test]
    fn many_small_advances_write_the_same_log_as_a_large_one() {
        let ids = |pause: usize| {
            let mut generator = generator(Log::WebApi, 60.0);
            let mut rows = Vec::new();
            for time in (START..=START + 2 * DAY).step_by(pause) {
                generator.advance(time, &mut rows);
            }
            generator.advance(START + 2 * DAY, &mut rows);
            rows.iter().map(|row| (row.id, row.time)).collect::<Vec<_>>()
        };
        assert!(ids(7) == ids(86_400));
    }

    #[test]
    fn the_rate_is_what_was_asked_for() {
        for (log, rate, days) in
            [(Log::WebApi, 1.0, 28), (Log::WebApi, 12.0, 7), (Log::WebApi, 30.0, 7), (Log::Events, 12.0, 7)]
        {
            let count = rows(&mut generator(log, rate), days * DAY).len() as f64;
            let measured = count / (days as f64 * 1440.0);
            assert!((measured / rate - 1.0).abs() < 0.2, "{log:?}: {measured} for {rate}");
        }
    }

    #[test]
    fn a_high_rate_loses_no_row_for_lack_of_ids() {
        let noon = START + 12 * 3600;
        let plan = Plan { start: noon, ..*generator(Log::WebApi, 6000.0).plan() };
        let mut generator = Generator::new(Log::WebApi, plan, Arc::new(Catalogue::new(1, 6000.0)));
        let mut rows = Vec::new();
        generator.advance(noon + 60, &mut rows);
        let busiest = rows.chunk_by(|left, right| left.time == right.time).map(<[Row]>::len).max().unwrap();
        assert!((busiest as i64) < generator.plan.ids_per_second() / 4, "{busiest}");
    }

    #[test]
    fn nights_and_weekends_are_quiet() {
        let rows = rows(&mut generator(Log::WebApi, 60.0), 7 * DAY);
        // 2026-01-01 is a Thursday.
        let on_day = |day: i64| rows.iter().filter(|row| (row.time - START) / DAY == day).count();
        assert!(on_day(2) * 2 < on_day(1), "{} on Saturday, {} on Friday", on_day(2), on_day(1));
        let at_hour = |hour: i64| rows.iter().filter(|row| (row.time - START) % DAY / 3600 == hour).count();
        assert!(at_hour(2) * 3 < at_hour(11));
    }

    #[test]
    fn late_rows_keep_their_time_and_hide_for_a_while() {
        let plan = Plan {
            seed: 1,
            start: START,
            first_id: 1,
            rows_per_minute: 60.0,
            late_fraction: 0.1,
            late_max: 50,
        };
        let mut generator = Generator::new(Log::WebApi, plan, Arc::new(Catalogue::new(1, 60.0)));
        let rows = rows(&mut generator, DAY);
        let late: Vec<i64> =
            rows.iter().map(|row| row.visible_at - row.time).filter(|delay| *delay > 0).collect();
        let fraction = late.len() as f64 / rows.len() as f64;
        assert!((0.08..0.12).contains(&fraction), "{fraction}");
        assert!(late.iter().all(|delay| (1..=50).contains(delay)));
    }
}

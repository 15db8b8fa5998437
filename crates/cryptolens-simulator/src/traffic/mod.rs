//! Traffic that looks like a real vendor's, as a pure function of seed and time.
//!
//! Time is cut into UTC blocks. A block's rows follow from the seed and the block's number alone, so any part of the
//! history can be made when it is asked for, in any order, in any process, and comes out the same. Ids belong to the
//! second of their row, so id, time and block are computed from each other without an index. A row with a larger
//! position has a larger id and a time that is not earlier; only its `visible_at` may lie behind.

mod background;
mod events;
mod objects;
mod rhythm;
mod sessions;
mod spikes;

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::random::{Random, hash_of, unit_of};
use super::row::{Fields, Row};
use crate::Log;
use sessions::Sessions;
pub(super) use spikes::{Spike, spike_drafts};

pub(super) const DAY: i64 = 86_400;
/// A block holds about this many rows or fewer, unless it has only [`SHORTEST_BLOCK`] seconds.
const ROWS_PER_BLOCK: f64 = 3000.0;
/// Lengths that divide a day and keep whole seconds together.
const BLOCK_LENGTHS: [i64; 8] = [3600, 1800, 1200, 600, 300, 120, 60, 30];
const SHORTEST_BLOCK: i64 = 10;

/// A row before it has an id.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) time: i64,
    pub(super) fields: Fields,
}

/// Where rows lie in time and among ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) start: i64,
    pub(super) first_id: i64,
    /// Ids that belong to each second. Generated rows take the lower half, rows added at run time the upper half.
    pub(super) ids_per_second: i64,
    pub(super) block_seconds: i64,
}

impl Geometry {
    fn new(start: i64, first_id: i64, rows_per_second: f64) -> Self {
        // Room for sixteen times the mean rate in the lower half, so that a busy second never lacks ids.
        let ids = (rows_per_second * 32.0).max(32.0) as u64;
        let block =
            BLOCK_LENGTHS.into_iter().find(|length| *length as f64 * rows_per_second <= ROWS_PER_BLOCK);
        Self {
            start,
            first_id,
            ids_per_second: ids.next_power_of_two() as i64,
            block_seconds: block.unwrap_or(SHORTEST_BLOCK),
        }
    }

    pub(super) fn block_of_time(&self, time: i64) -> i64 {
        time.div_euclid(self.block_seconds)
    }

    pub(super) fn block_of_id(&self, id: i64) -> i64 {
        let second = id.saturating_sub(self.first_id).div_euclid(self.ids_per_second);
        self.block_of_time(self.start.saturating_add(second))
    }

    pub(super) fn first_id_of_second(&self, time: i64) -> i64 {
        self.first_id + (time - self.start) * self.ids_per_second
    }

    /// The first of the ids that a second keeps for rows that are added at run time.
    pub(super) fn first_added_id(&self, time: i64) -> i64 {
        self.first_id_of_second(time) + self.ids_per_second / 2
    }
}

/// What to generate; see [`super::Options`] for what the numbers mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) start: i64,
    pub(super) first_id: i64,
    pub(super) rows_per_minute: f64,
    pub(super) late_fraction: f64,
    pub(super) late_max: i64,
}

/// The generated rows of one log.
#[derive(Debug)]
pub(super) struct Generator {
    log: Log,
    plan: Plan,
    geometry: Geometry,
    catalogue: Arc<Catalogue>,
    sessions: Sessions,
}

impl Generator {
    pub(super) fn new(log: Log, plan: Plan, catalogue: Arc<Catalogue>) -> Self {
        Self {
            log,
            plan,
            geometry: Geometry::new(plan.start, plan.first_id, plan.rows_per_minute / 60.0),
            sessions: Sessions::new(plan.seed, Arc::clone(&catalogue)),
            catalogue,
        }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The rows of one block, in id order.
    pub(super) fn block(&self, block: i64) -> Vec<Row> {
        let from = block * self.geometry.block_seconds;
        let to = from + self.geometry.block_seconds;
        if to <= self.plan.start {
            return Vec::new();
        }
        let mut drafts = Vec::new();
        let mut random = Random::for_stream(&[self.plan.seed, self.log as u64, block as u64]);
        let span = Span { from, to, rows_per_second: self.plan.rows_per_minute / 60.0 };
        match self.log {
            Log::WebApi => {
                self.sessions.draft(span, &mut drafts);
                background::draft(span, &self.catalogue, &mut random, &mut drafts);
                spikes::draft(span, self.plan.seed, &self.catalogue, &mut random, &mut drafts);
            }
            Log::Events => events::draft(span, &self.catalogue, &mut random, &mut drafts),
            Log::Objects => objects::draft(span, &mut random, &mut drafts),
        }
        drafts.retain(|draft| draft.time >= self.plan.start);
        drafts.sort_by_key(|draft| draft.time);
        self.number(drafts, &mut random)
    }

    /// Gives sorted drafts their ids, with gaps, and decides which of them show up late.
    fn number(&self, drafts: Vec<Draft>, random: &mut Random) -> Vec<Row> {
        let mut rows = Vec::with_capacity(drafts.len());
        for second in drafts.chunk_by(|left, right| left.time == right.time) {
            let room = self.geometry.ids_per_second / 2;
            // One id is the least distance; a second with more rows than ids would lose the excess.
            let stride = (room / second.len() as i64).max(1);
            for (position, draft) in second.iter().enumerate().take(room as usize) {
                let offset = position as i64 * stride + random.between(0, stride);
                let id = self.geometry.first_id_of_second(draft.time) + offset;
                rows.push(Row {
                    id,
                    time: draft.time,
                    visible_at: self.visible_at(id, draft.time),
                    fields: draft.fields.clone(),
                });
            }
        }
        rows
    }

    fn visible_at(&self, id: i64, time: i64) -> i64 {
        let hash = hash_of(&[self.plan.seed, 0x1a7e, self.log as u64, id as u64]);
        if self.plan.late_max <= 0 || unit_of(hash) >= self.plan.late_fraction {
            return time;
        }
        time + 1 + (hash_of(&[hash]) % self.plan.late_max as u64) as i64
    }
}

/// A stretch of time to fill, and the log's mean rate.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
    rows_per_second: f64,
}

impl Span {
    /// A random moment in the span.
    fn moment(self, random: &mut Random) -> i64 {
        random.between(self.from, self.to)
    }

    /// How many rows of this share of the log fall into the span, at this time of the week.
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

    fn rows(generator: &Generator, seconds: i64) -> Vec<Row> {
        let geometry = generator.geometry();
        (geometry.block_of_time(START)..geometry.block_of_time(START + seconds))
            .flat_map(|block| generator.block(block))
            .collect()
    }

    #[test]
    fn ids_rise_with_gaps_and_times_never_fall() {
        for log in [Log::WebApi, Log::Events, Log::Objects] {
            let rows = rows(&generator(log, 120.0), DAY);
            assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].time <= pair[1].time));
            assert!(rows.windows(2).any(|pair| pair[1].id - pair[0].id > 1));
        }
    }

    #[test]
    fn id_time_and_block_agree() {
        let generator = generator(Log::WebApi, 600.0);
        let block = generator.geometry().block_of_time(START + 10 * 3600);
        let rows = generator.block(block);
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| generator.geometry().block_of_id(row.id) == block));
    }

    #[test]
    fn the_rate_is_what_was_asked_for() {
        for (log, rate, days) in
            [(Log::WebApi, 1.0, 28), (Log::WebApi, 12.0, 7), (Log::WebApi, 30.0, 7), (Log::Events, 12.0, 7)]
        {
            let count = rows(&generator(log, rate), days * DAY).len() as f64;
            let measured = count / (days as f64 * 1440.0);
            assert!((measured / rate - 1.0).abs() < 0.2, "{log:?}: {measured} for {rate}");
        }
    }

    #[test]
    fn a_high_rate_loses_no_row_for_lack_of_ids() {
        let generator = generator(Log::WebApi, 6000.0);
        let noon = generator.geometry().block_of_time(START + 12 * 3600);
        let rows = generator.block(noon);
        let busiest = rows.chunk_by(|left, right| left.time == right.time).map(<[Row]>::len).max().unwrap();
        assert!((busiest as i64) < generator.geometry().ids_per_second / 4, "{busiest}");
    }

    #[test]
    fn nights_and_weekends_are_quiet() {
        let rows = rows(&generator(Log::WebApi, 60.0), 7 * DAY);
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
        let generator = Generator::new(Log::WebApi, plan, Arc::new(Catalogue::new(1, 60.0)));
        let rows = rows(&generator, DAY);
        let late: Vec<i64> =
            rows.iter().map(|row| row.visible_at - row.time).filter(|delay| *delay > 0).collect();
        let fraction = late.len() as f64 / rows.len() as f64;
        assert!((0.08..0.12).contains(&fraction), "{fraction}");
        assert!(late.iter().all(|delay| (1..=50).contains(delay)));
    }
}

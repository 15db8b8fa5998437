//! The detector against the simulator's own plan of incidents.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cryptolens_simulator::{Log, Options, PlannedIncident, Simulator};
use serde::Deserialize;

use super::*;
use crate::report::zone::Zone;

/// Monday, 5 January 2026, 00:00 UTC.
const MONDAY: i64 = 1_767_571_200;
const HOUR: i64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SimulatedRow {
    id: i64,
    product_id: i64,
    key: String,
    ip: String,
    time: i64,
    state: i64,
    machine_code: Option<String>,
}

/// A week of simulated traffic, and its plan.
struct SimulatedWeek {
    rows: Vec<SeenRequest>,
    plan: Vec<PlannedIncident>,
}

impl SimulatedWeek {
    fn new(seed: u64) -> SimulatedWeek {
        let options = Options {
            start: MONDAY - DAY,
            requests_per_minute: 12.0,
            late_fraction: 0.0,
            ..Options::new(seed)
        };
        let simulator = Simulator::new(options);
        simulator.freeze(Some(MONDAY + WEEK));
        let lines = simulator.rows_as_lines(Log::WebApi);
        let row = |line: &str| {
            let row: SimulatedRow = serde_json::from_str(line).unwrap();
            SeenRequest {
                id: row.id,
                product_id: row.product_id,
                key: Some(row.key),
                ip: Some(row.ip),
                time: Some(row.time),
                state: Some(row.state),
                machine_code: row.machine_code,
            }
        };
        let plan = simulator.planned_incidents(MONDAY, MONDAY + WEEK);
        SimulatedWeek { rows: lines.lines().map(row).collect(), plan }
    }

    /// The same week for every test.
    fn of_seed_1() -> &'static SimulatedWeek {
        static WEEK_1: OnceLock<SimulatedWeek> = OnceLock::new();
        WEEK_1.get_or_init(|| SimulatedWeek::new(1))
    }

    fn story(&self, from: i64, to: i64, at: Option<i64>) -> Story {
        self.trail_and_story(from, to, at).1
    }

    fn trail_and_story(&self, from: i64, to: i64, at: Option<i64>) -> (Trail, Story) {
        let mut trail = Trail::new(Window { from, to, zone: Zone::UTC });
        let is_in = |row: &&SeenRequest| row.time.is_some_and(|time| (from..to).contains(&time));
        self.rows.iter().filter(is_in).for_each(|row| trail.add(row.clone()));
        trail.finish();
        let story = Story::new(&trail, &Usual::default(), at);
        (trail, story)
    }

    /// True if no planned incident is in these hours, or ends shortly before them.
    fn is_quiet(&self, from: i64, to: i64) -> bool {
        self.plan.iter().all(|planned| planned.to < from || planned.from >= to)
    }
}

#[test]
fn every_planned_incident_is_found_and_quiet_hours_stay_silent() {
    for seed in [1, 2] {
        let other;
        let week = if seed == 1 {
            SimulatedWeek::of_seed_1()
        } else {
            other = SimulatedWeek::new(seed);
            &other
        };
        assert_eq!(week.plan.len(), 3, "seed {seed}");
        for planned in &week.plan {
            // The hours around it, and a period that ends while it goes on.
            for (from, to) in [
                (planned.from - 2 * HOUR, planned.to + 2 * HOUR),
                (planned.from - HOUR - 917, planned.from + 900),
            ] {
                let (trail, story) = week.trail_and_story(from, to, Some(planned.from));
                let found = story.chosen.unwrap_or_else(|| panic!("seed {seed}: {planned:?} is not found"));
                assert_eq!(found.product, Some(planned.product_id), "seed {seed}: {planned:?}");
                let off = found.onset() - planned.from;
                assert!(off.abs() <= 120, "seed {seed}: {planned:?}: the onset is off by {off} s");
                assert_eq!(found.is_ongoing, to < planned.to, "seed {seed}: {planned:?}");
                let hit = found.assessment.hit.iter().filter_map(|hit| trail.key(hit.key));
                let hit: BTreeSet<&str> = hit.map(|seen| seen.key.as_str()).collect();
                let locked_out = planned.keys.iter().filter(|key| hit.contains(key.as_str())).count();
                assert_eq!(locked_out, planned.keys.len(), "seed {seed}: {planned:?}: {hit:?}");
                assert!(hit.len() <= locked_out + 1, "seed {seed}: {planned:?}: {hit:?}");
            }
        }
        let mut quiet = 0;
        for from in (MONDAY..MONDAY + WEEK).step_by(7200) {
            if week.is_quiet(from, from + 2 * HOUR) {
                quiet += 1;
                let found = week.story(from, from + 2 * HOUR, None).all;
                assert!(found.is_empty(), "seed {seed}, {from}: {found:?}");
            }
        }
        assert!(quiet > 70, "{quiet}");
    }
}

#[test]
fn a_quiet_day_is_silent_though_requests_fade_at_night_and_failures_do_not() {
    let week = SimulatedWeek::of_seed_1();
    let days = (0..7).map(|day| MONDAY + day * DAY).filter(|day| week.is_quiet(*day, day + DAY));
    let mut quiet = 0;
    for day in days {
        quiet += 1;
        let found = week.story(day, day + DAY, None).all;
        assert!(found.is_empty(), "{day}: {found:?}");
    }
    assert!(quiet >= 3, "{quiet}");
}

/// The requests of a machine that tries again and again, in order of time.
fn retries(from: i64, to: i64, every: i64, state: i64) -> Vec<SeenRequest> {
    let times = (from..to).step_by(usize::try_from(every).unwrap());
    let retry = |(number, time): (i64, i64)| SeenRequest {
        id: 1_000_000_000_000 + number,
        product_id: 3349,
        key: Some("A-KEY".to_owned()),
        time: Some(time),
        state: Some(state),
        machine_code: Some("one".to_owned()),
        ip: Some("198.18.250.0".to_owned()),
    };
    (0..).zip(times).map(retry).collect()
}

impl SimulatedWeek {
    /// Some hours of the week, with requests of somebody else.
    fn with(&self, (from, to): (i64, i64), more: &[SeenRequest]) -> SimulatedWeek {
        let is_in = |row: &&SeenRequest| row.time.is_some_and(|time| (from..to).contains(&time));
        let mut rows: Vec<SeenRequest> = self.rows.iter().filter(is_in).cloned().collect();
        rows.extend_from_slice(more);
        SimulatedWeek { rows, plan: self.plan.clone() }
    }
}

/// Whether it finds no free seat or its key has expired, by day and by night, fast and slow.
#[test]
fn one_retrying_machine_is_no_incident_of_its_product() {
    let week = SimulatedWeek::of_seed_1();
    for begin in [MONDAY + 6 * DAY + 2 * HOUR, MONDAY + 6 * DAY + 11 * HOUR] {
        let hours = (begin, begin + 2 * HOUR);
        assert!(week.is_quiet(hours.0, hours.1));
        for (state, every) in [(2024, 30), (2020, 5), (2020, 30), (2020, 90), (2030, 20), (2022, 10)] {
            for (from, to) in [hours, (begin + HOUR, hours.1), (begin + 1800, begin + 3600)] {
                let world = week.with(hours, &retries(from, to, every, state));
                let story = world.story(hours.0, hours.1, None);
                assert!(story.all.is_empty(), "{state} every {every} s from {from}: {:?}", story.all);
            }
        }
    }
}

/// A machine that retries before, beside and after a planned incident hides none, and does not move
/// its onset.
#[test]
fn every_planned_incident_beside_a_retrying_machine_is_found() {
    let week = SimulatedWeek::of_seed_1();
    for planned in &week.plan {
        let hours = (planned.from - 2 * HOUR, planned.to + 2 * HOUR);
        for (from, to, every) in [
            (hours.0, hours.1, 30),
            (hours.0 + HOUR, hours.1, 7),
            (planned.from + 600, hours.1, 20),
            (hours.0, planned.from + 300, 20),
        ] {
            let mut more = retries(from, to, every, 2020);
            more.iter_mut().for_each(|row| row.product_id = planned.product_id);
            let story = week.with(hours, &more).story(hours.0, hours.1, Some(planned.from));
            let found = story.chosen.unwrap_or_else(|| panic!("{planned:?} is not found, every {every} s"));
            assert_eq!(found.product, Some(planned.product_id), "{planned:?}");
            let off = found.onset() - planned.from;
            assert!(off.abs() <= 120, "{planned:?}, every {every} s: the onset is off by {off} s");
        }
    }
}

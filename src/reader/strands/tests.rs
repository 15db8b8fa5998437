//! The policy in simulated time, against worlds: how long a reading takes and how many requests it
//! makes, each as a share of one request after the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const THROTTLED: QuestionFailure = QuestionFailure::Throttled { asks_to_wait: false };

/// A small generator (splitmix64), so that a world is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ids {
    /// Each id is a row.
    Uniform,
    /// 1 to 40 ids from row to row.
    RandomGaps,
    /// Ids are given out evenly in time; days and nights are equally long, and rows come 20 times
    /// as often by day.
    DaysAndNights,
    /// As often as 100 to 1, for stretches of 1 to 20 pages.
    Bursts,
    /// Ids are given out evenly in time; a working day is some nine pages, the night one of them, and
    /// a weekend four. The traffic of the simulator looks so.
    Month,
}

/// Mean ids from one row to the next on a working day, by its hour.
const BY_HOUR: [i64; 24] =
    [130, 130, 130, 130, 130, 130, 40, 22, 16, 13, 12, 11, 12, 13, 13, 14, 15, 18, 22, 30, 60, 130, 130, 130];

struct World {
    ids: Vec<i64>,
    limit: usize,
    latency: (u64, u64),
    end: LogEnd,
    /// Refuses to be asked after ids that do not exist.
    refuses: bool,
    /// Answers 429 if more than this many are under way.
    most_under_way: usize,
}

impl World {
    fn new(ids: Ids, rows: usize, limit: usize, seed: u64) -> World {
        let mut random = Random(seed);
        let mut all = Vec::with_capacity(rows);
        let (mut id, mut left, mut wide) = (1000_i64, 0_u64, false);
        for row in 0..rows {
            if left == 0 {
                left = (1 + random.below(20)) * limit as u64;
                wide = !wide;
            }
            left -= 1;
            id += match ids {
                Ids::Uniform => 1,
                Ids::RandomGaps => 1 + random.below(40) as i64,
                Ids::DaysAndNights => {
                    let is_day = row % (limit * 294 / 10) < limit * 28;
                    1 + random.below(if is_day { 4 } else { 80 }) as i64
                }
                Ids::Bursts => 1 + random.below(if wide { 200 } else { 2 }) as i64,
                Ids::Month => {
                    // Ids of an hour, so that a working day has nine pages.
                    let hour = id / (limit as i64 * 9);
                    let is_weekend = hour / 24 % 7 >= 5;
                    let mean = BY_HOUR[hour as usize % 24] * if is_weekend { 4 } else { 1 };
                    1 + random.below(2 * mean as u64 - 1) as i64
                }
            };
            all.push(id);
        }
        World {
            ids: all,
            limit,
            latency: (80, 120),
            end: LogEnd::Askable,
            refuses: false,
            most_under_way: usize::MAX,
        }
    }

    fn page(&self, after: i64) -> &[i64] {
        let from = self.ids.partition_point(|id| *id <= after);
        &self.ids[from..(from + self.limit).min(self.ids.len())]
    }

    /// One request after the other: milliseconds and requests.
    fn sequential(&self) -> (u64, u64) {
        let requests = self.ids.len() as u64 / self.limit as u64 + 1;
        (requests * (self.latency.0 + self.latency.1) / 2, requests)
    }
}

#[derive(Debug)]
struct Reading {
    read: Vec<i64>,
    milliseconds: u64,
    requests: u64,
    refusals: u64,
    most_under_way: usize,
    most_kept: usize,
}

/// Reads a world with so many questions under way.
fn read(world: &World, concurrency: usize, seed: u64, flaw: Option<StrandFlaw>) -> Reading {
    let mut random = Random(seed);
    let mut strands: Strands<Vec<i64>> = Strands::new(0, concurrency, world.end);
    strands.flaw = flaw;
    let mut events = BinaryHeap::new();
    let mut reading = Reading {
        read: Vec::new(),
        milliseconds: 0,
        requests: 0,
        refusals: 0,
        most_under_way: 0,
        most_kept: 0,
    };
    let (mut now, mut number, mut under_way) = (0_u64, 0_u64, 0_usize);
    let mut questions: BTreeMap<u64, (Question, u64, bool)> = BTreeMap::new();
    let mut last = 0;
    let mut take = |page: &[i64], read: &mut Vec<i64>| {
        read.extend(page.iter().filter(|id| **id > last));
        last = last.max(page.last().copied().unwrap_or(0));
    };
    loop {
        // As the reader does: it asks after each page that it hands over.
        let kept = strands.take();
        if let Some((_, page)) = &kept {
            take(page, &mut reading.read);
        }
        while let Some(question) = strands.next() {
            reading.requests += 1;
            under_way += 1;
            let is_refused = under_way > world.most_under_way;
            let took = world.latency.0 + random.below(world.latency.1 - world.latency.0 + 1);
            number += 1;
            questions.insert(number, (question, took, is_refused));
            events.push(Reverse((now + took, number)));
        }
        if kept.is_some() {
            continue;
        }
        reading.most_under_way = reading.most_under_way.max(under_way);
        reading.most_kept = reading.most_kept.max(strands.kept());
        assert!(reading.requests < 1_000_000, "it never ends");
        let Reverse((at, number)) = events.pop().expect("nothing is under way, and the log is not read");
        (now, under_way) = (at, under_way - 1);
        let (question, took, is_refused) = questions.remove(&number).unwrap();
        let Question::After(asked) = question else {
            strands.newest_is(world.ids.last().copied());
            continue;
        };
        let is_position = asked == strands.position();
        if is_refused {
            reading.refusals += 1;
            if is_position {
                strands.position_failed(THROTTLED);
            } else {
                strands.failed(asked, THROTTLED);
            }
            continue;
        }
        if world.refuses && asked != 0 && world.ids.binary_search(&asked).is_err() {
            strands.failed(asked, QuestionFailure::Other);
            continue;
        }
        let page = world.page(asked);
        let outline = page.first().map(|first| PageOutline {
            first: *first,
            last: *page.last().unwrap(),
            listed: page.len(),
            left: None,
        });
        match outline {
            _ if is_position => {
                strands.read_position(outline, took);
                take(page, &mut reading.read);
                if page.len() < world.limit {
                    break;
                }
            }
            Some(outline) => strands.keep(asked, outline, page.to_vec(), took),
            None => {
                strands.showed_nothing(asked, took);
                if flaw == Some(StrandFlaw::GuessEnds) {
                    break;
                }
            }
        }
    }
    reading.milliseconds = now;
    reading
}

/// The shares of time and requests, in percent: the mean over seeds, and the worst.
fn shares(concurrency: usize, world: impl Fn(u64) -> World) -> (u64, u64, u64, u64) {
    const SEEDS: u64 = 10;
    let (mut times, mut requests) = (Vec::new(), Vec::new());
    for seed in 0..SEEDS {
        let world = world(seed);
        let reading = read(&world, concurrency, seed + 77, None);
        assert_eq!(reading.read, world.ids, "each row once and in order");
        assert!(reading.most_under_way <= concurrency, "{} under way", reading.most_under_way);
        assert!(reading.most_kept <= MOST_KEPT * concurrency, "{} kept", reading.most_kept);
        let (time, asked) = world.sequential();
        times.push(reading.milliseconds * 100 / time);
        requests.push(reading.requests * 100 / asked);
    }
    let mean = |shares: &[u64]| shares.iter().sum::<u64>() / SEEDS;
    let worst = |shares: &[u64]| shares.iter().max().copied().unwrap();
    (mean(&times), worst(&times), mean(&requests), worst(&requests))
}

#[test]
fn time_and_requests_are_as_wanted_in_each_world() {
    // In percent of one request after the other.
    for (concurrency, ids, limit, most_time, most_requests) in [
        (4, Ids::Uniform, 1000, 30, 120),
        (8, Ids::Uniform, 1000, 16, 120),
        (4, Ids::RandomGaps, 1000, 30, 120),
        (8, Ids::RandomGaps, 1000, 16, 120),
        (8, Ids::RandomGaps, 100, 16, 120),
        (8, Ids::DaysAndNights, 1000, 17, 120),
        (8, Ids::Bursts, 1000, 18, 135),
        (4, Ids::Month, 1000, 30, 120),
        (8, Ids::Month, 1000, 17, 120),
    ] {
        // Four weeks.
        let pages = if ids == Ids::Month { 200 } else { 300 };
        let world = |seed| World::new(ids, pages * limit, limit, seed);
        let (time, worst_time, requests, worst_requests) = shares(concurrency, world);
        println!(
            "{concurrency} {ids:?} {limit}: time {time} (worst {worst_time}), requests {requests} (worst {worst_requests})"
        );
        assert!(time <= most_time, "{concurrency} {ids:?}: time {time} %");
        assert!(requests <= most_requests, "{concurrency} {ids:?}: requests {requests} %");
    }
}

#[test]
fn a_log_of_five_pages_takes_three_rounds() {
    for seed in 0..20 {
        let mut world = World::new(Ids::RandomGaps, 4500, 1000, seed);
        world.latency = (100, 100);
        for concurrency in [4, 8] {
            let reading = read(&world, concurrency, seed, None);
            assert_eq!(reading.read, world.ids);
            assert!(reading.milliseconds <= 300, "{reading:?}");
        }
    }
}

#[test]
fn without_the_newest_row_the_window_grows_with_what_was_read() {
    let world = |seed| World { end: LogEnd::Unknown, ..World::new(Ids::RandomGaps, 30_000, 100, seed) };
    let (time, _, requests, _) = shares(8, world);
    println!("newest unknown: time {time}, requests {requests}");
    assert!(time <= 20 && requests <= 120, "time {time} %, requests {requests} %");
}

#[test]
fn a_server_that_refuses_ids_is_left_alone_after_a_few_guesses() {
    for seed in 0..10 {
        let world = World { refuses: true, ..World::new(Ids::RandomGaps, 100_000, 1000, seed) };
        let reading = read(&world, 8, seed, None);
        assert_eq!(reading.read, world.ids);
        let (_, requests) = world.sequential();
        // One place in twenty is a row's by chance, and then eight more guesses may fail.
        assert!(reading.requests <= requests + 100, "{} requests", reading.requests);
    }
}

#[test]
fn a_server_that_throttles_is_asked_by_fewer_at_a_time() {
    for seed in 0..10 {
        let world = World { most_under_way: 2, ..World::new(Ids::RandomGaps, 300_000, 1000, seed) };
        let reading = read(&world, 8, seed, None);
        assert_eq!(reading.read, world.ids);
        println!("throttled: {} refusals of {}", reading.refusals, reading.requests);
        assert!(reading.refusals <= 20, "{} refusals", reading.refusals);
    }
}

#[test]
fn one_at_a_time_is_one_after_the_other() {
    let mut world = World::new(Ids::RandomGaps, 10_500, 1000, 3);
    world.end = LogEnd::Unknown;
    let reading = read(&world, 1, 3, None);
    assert_eq!((reading.requests, reading.read.len()), (11, 10_500));
}

#[test]
fn each_wrong_rule_loses_rows_in_some_world() {
    for flaw in [StrandFlaw::BridgesGaps, StrandFlaw::GuessEnds, StrandFlaw::SkipsStrand] {
        let caught = (0..50).any(|seed| {
            let world = World { end: LogEnd::Unknown, ..World::new(Ids::Bursts, 60_000, 1000, seed) };
            read(&world, 8, seed, Some(flaw)).read != world.ids
        });
        assert!(caught, "{flaw:?}");
    }
}

#[test]
fn a_wait_that_is_asked_for_is_news_also_where_the_number_was_reduced_before() {
    const ASKS: QuestionFailure = QuestionFailure::Throttled { asks_to_wait: true };
    let mut strands: Strands<()> = Strands::new(0, 8, LogEnd::At(1000));
    assert_eq!(strands.next(), Some(Question::After(0)));
    strands.read_position(Some(PageOutline { first: 1, last: 10, listed: 10, left: None }), 100);
    while strands.next().is_some() {}
    let guesses: Vec<i64> = strands.flights.keys().copied().filter(|asked| *asked != 10).collect();
    assert!(guesses.len() > 1, "{guesses:?}");
    assert!(strands.failed(guesses[0], THROTTLED), "it reduces the number");
    assert!(strands.position_failed(ASKS), "sent before that, but nothing was waited for yet");
    assert!(!strands.failed(guesses[1], ASKS), "sent before the wait");
}

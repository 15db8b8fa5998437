//! A whole reading with several requests under way, against a log with gaps and uneven density on a
//! server that fails now and then, must hand over what one request after the other does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::*;
use crate::cryptolens::{Answered, Concurrency, DecodeFault, Page, Slot, TransportFault, WebApiRow};
use crate::reader::strands::StrandFlaw;
use crate::reader::{Limit, LogReader, Pause, ReadAhead, RetryPolicy};

const LIMIT: u16 = 10;
/// Event time of the first row.
const FIRST: i64 = 1_700_000_000;

/// A log, and how its server behaves.
#[derive(Debug, Clone)]
struct World {
    ids: Vec<i64>,
    /// Those of the ids that cannot be read.
    nameless: BTreeSet<i64>,
    /// Rows that become visible only while the log is read, each after so many requests.
    late: Vec<(usize, i64)>,
    /// How often a request fails, in percent.
    failing: u32,
    /// How often an answer is empty though there are rows, in percent.
    empty: u32,
    /// A server's own largest page.
    cap: usize,
    /// Ids that are no row's are refused with a wait of minutes.
    refuses_others: bool,
    seed: u64,
}

#[derive(Clone)]
struct Server {
    world: Arc<Mutex<(World, ChaCha8Rng, usize)>>,
}

impl PageSource for Server {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        let sent = Instant::now();
        let (wait, failure, ids, without_id) = {
            let (world, random, requests) = &mut *self.world.lock().unwrap();
            *requests += 1;
            let shown = world.late.extract_if(.., |(after, _)| *after <= *requests);
            world.ids.extend(shown.map(|(_, id)| id));
            world.ids.sort_unstable();
            let errors = [
                ApiError::Timeout,
                ApiError::RateLimited { retry_after: None },
                ApiError::Decode(DecodeFault::NotJson),
                ApiError::BadRequest { status: Some(404) },
                ApiError::Transport { cause: "reset".to_owned(), fault: TransportFault::Connection },
            ];
            let failure = random.random_ratio(world.failing, 100).then(|| {
                let which = random.random_range(0..errors.len());
                errors[which].clone()
            });
            let is_other =
                query.starting_after > 0 && world.ids.binary_search(&query.starting_after).is_err();
            let refusal = ApiError::RateLimited { retry_after: Some(Duration::from_secs(120)) };
            let failure = failure.or_else(|| (world.refuses_others && is_other).then_some(refusal));
            let limit = usize::from(query.limit).min(world.cap);
            let empty = world.empty > 0 && random.random_ratio(world.empty, 100) && query.starting_after > 0;
            let mut ids: Vec<i64> = match query.newest_first {
                _ if empty => Vec::new(),
                true => {
                    let below = |id: &&i64| query.ending_before.is_none_or(|end| **id < end);
                    world.ids.iter().rev().filter(below).take(limit).copied().collect()
                }
                false => {
                    world.ids.iter().filter(|id| **id > query.starting_after).take(limit).copied().collect()
                }
            };
            ids.dedup();
            let mut without_id = Vec::new();
            let mut before = None;
            for id in &ids {
                if world.nameless.contains(id) {
                    without_id.push(before);
                } else {
                    before = Some(*id);
                }
            }
            ids.retain(|id| !world.nameless.contains(id));
            (random.random_range(50..150), failure, ids, without_id)
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(last) = ids.last() {
            peek(row(*last));
        }
        tokio::task::yield_now().await;
        let value = Page { rows: ids.into_iter().map(row).collect(), without_id };
        Ok(Answered { value, server_time: None, sent, received: Instant::now() })
    }
}

fn row<R: Row>(id: i64) -> R {
    let mut row = R::with_id(id);
    if let Some(Slot::Int(set)) = R::slot("time") {
        set(&mut row, Some(FIRST + id));
    }
    row
}

/// Tries for ever, soon; gives up where the server asks for a wait.
struct Patient;

impl RetryPolicy for Patient {
    fn request_begins(&mut self) {}

    fn request_ended(&mut self, _: Duration, _: Option<&ApiError>) {}

    fn guess_ended(&mut self, _: Duration, _: Option<&ApiError>) {}

    async fn wait(&mut self, error: ApiError, _: Pause) -> Result<(), ApiError> {
        if matches!(error, ApiError::RateLimited { retry_after: Some(_) }) {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

/// Reads the log to its end. Returns the ids in the order in which they came, how many requests
/// were made, how long it took, and how many rows without an id were met.
fn read(
    world: &World,
    direction: Direction,
    concurrency: u8,
    flaw: Option<StrandFlaw>,
) -> (Vec<i64>, usize, Duration, usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let random = ChaCha8Rng::seed_from_u64(world.seed);
        let server = Server { world: Arc::new(Mutex::new((world.clone(), random, 0))) };
        let limit = Limit::new(LIMIT);
        let mut reader =
            LogReader::<_, WebApiRow, _>::new(server.clone(), Patient, direction, Disorder::Refuse, limit)
                .with_concurrency(Concurrency::new(concurrency).unwrap());
        reader.flaw = flaw;
        let (mut position, mut ids) = (0, Vec::new());
        // By the row before, as a poll counts them.
        let mut nameless: BTreeMap<i64, usize> = BTreeMap::new();
        loop {
            let page = reader.page(position, ReadAhead::Guesses { until: None }).await.unwrap();
            let mut behind: BTreeMap<i64, usize> = BTreeMap::new();
            for before in &page.batch.without_id {
                *behind.entry(before.unwrap_or(page.asked)).or_default() += 1;
            }
            for (id, rows) in behind {
                let met = nameless.entry(id).or_default();
                *met = rows.max(*met);
            }
            let is_new = |id: &i64| direction.is_beyond(*id, position);
            let new: Vec<i64> = page.batch.rows.iter().map(Row::id).filter(is_new).collect();
            if let Some(last) = new.last() {
                position = *last;
            } else if !page.is_guess {
                // The end of the log, or rows without an id behind its last one.
                break;
            }
            ids.extend(new);
        }
        let requests = server.world.lock().unwrap().2;
        (ids, requests, began.elapsed(), nameless.into_values().sum())
    })
}

fn world() -> impl Strategy<Value = World> {
    let gap = prop_oneof![12 => 1..3_i64, 3 => 1..60_i64, 1 => 1..20_000_i64];
    (
        prop::collection::vec(gap, 1..700),
        prop::collection::vec((1..60_usize, 1..10_000_i64), 0..20),
        prop_oneof![Just(0_u32), Just(5), Just(30)],
        prop_oneof![3 => Just(1000_usize), 1 => 1..10_usize],
        any::<u64>(),
        prop_oneof![Just(0_u32), Just(10)],
    )
        .prop_map(|(gaps, late, failing, cap, seed, nameless)| {
            let mut id = 0;
            let ids: Vec<i64> = gaps
                .into_iter()
                .map(|gap| {
                    id += gap;
                    id
                })
                .collect();
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            // A page of which no id can be read ends a reading.
            let mut nameless: BTreeSet<i64> =
                ids.iter().copied().filter(|_| random.random_ratio(nameless, 100)).collect();
            nameless.retain(|id| cap >= 10 && id % 2 == 0 && !ids.contains(&(id - 2)));
            // A late row would come between a row and what stands behind it.
            let is_late = |id: i64| nameless.is_empty() && !ids.contains(&id);
            let late = late.into_iter().filter(|(_, id)| is_late(*id)).collect();
            World { ids, nameless, late, failing, empty: 0, cap, refuses_others: false, seed }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rows that are there from the beginning come exactly once and in order, whatever comes late
    /// between them, in both directions.
    #[test]
    fn a_reading_with_guesses_has_what_one_after_the_other_has(
        world in world(),
        concurrency in 2..9_u8,
        newest_first in any::<bool>(),
    ) {
        let direction = if newest_first { Direction::NewestFirst } else { Direction::OldestFirst };
        let (read, _, _, nameless) = read(&world, direction, concurrency, None);
        prop_assert_eq!(nameless, world.nameless.len());
        let mut expected = world.ids.clone();
        expected.retain(|id| !world.nameless.contains(id));
        if newest_first {
            expected.reverse();
        }
        let late: Vec<i64> = world.late.iter().map(|(_, id)| *id).collect();
        let from_the_beginning: Vec<i64> = read.iter().copied().filter(|id| !late.contains(id)).collect();
        prop_assert_eq!(from_the_beginning, expected);
        let mut once = read.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), read.len());
    }
}

fn even(rows: i64) -> World {
    World {
        ids: (1..=rows).collect(),
        nameless: BTreeSet::new(),
        late: Vec::new(),
        failing: 0,
        empty: 0,
        cap: 1000,
        refuses_others: false,
        seed: 7,
    }
}

#[test]
fn eight_requests_at_a_time_are_about_eight_times_as_fast() {
    for direction in [Direction::OldestFirst, Direction::NewestFirst] {
        let world = even(2000);
        let (one, one_requests, one_took, _) = read(&world, direction, 1, None);
        let (eight, requests, took, _) = read(&world, direction, 8, None);
        assert_eq!(one, eight);
        let (time, asked) = (took.as_millis() * 100 / one_took.as_millis(), requests * 100 / one_requests);
        assert!(time <= 16 && asked <= 120, "{direction:?}: {time} % of the time, {asked} % of the requests");
    }
}

#[test]
fn the_waits_that_guesses_are_asked_for_end_no_reading() {
    for direction in [Direction::OldestFirst, Direction::NewestFirst] {
        let ids: Vec<i64> = (1..=1500).map(|row| row * 1000).collect();
        let world = World { ids: ids.clone(), refuses_others: true, ..even(0) };
        let mut read = read(&world, direction, 8, None).0;
        read.sort_unstable();
        assert_eq!(read, ids);
    }
}

#[test]
fn each_wrong_rule_loses_rows() {
    for flaw in [StrandFlaw::BridgesGaps, StrandFlaw::GuessEnds] {
        let caught = (0..50).any(|seed| {
            let world = World { seed, failing: 5, empty: 2, ..even(1500) };
            read(&world, Direction::OldestFirst, 8, Some(flaw)).0 != world.ids
        });
        assert!(caught, "{flaw:?}");
    }
}

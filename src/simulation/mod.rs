//! Deterministic simulation, for tests only: one seed is one world, in which the real poller, tally
//! and ledger run on a simulated clock against simulated replicas. A kill drops the poller's
//! futures at a random await, and the ledger is opened again from its file.
//!
//! It proves in each world: a row that becomes visible within the promise is counted exactly once,
//! every other row above the origin at most once, and the floor reaches the cursor once the log is
//! quiet. The samples that a receiver of history got add up to the same rows, each in its own
//! minute, and no stamp got two values. Where usage is on, the sets in the file are after each kill
//! those of the rows that are counted. Every row that was counted or is promised is in one file of
//! the archive, once, also where the process ends between two steps of writing a range, where the
//! disk is full, and where the ledger begins anew or is restored. It proves that it can prove it:
//! with each rule of [`Flaw`] and of [`ArchiveFlaw`] it finds a world that fails.
//!
//! `cargo test` takes some hundred worlds, and more of them in a release build. As many as one
//! likes: `SIMULATION_SECONDS=3600 cargo test --release --lib simulation::every_world --
//! --nocapture`; a failing seed is printed and replays alone with `SIMULATION_SEED=...`.

mod history;
mod receiver;
mod usage;
mod world;

use std::cell::RefCell;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::archive::ArchiveFlaw;
use crate::backoff::SEEDED;
use crate::ingest::flaw::{Flaw, OF_THE_LEDGER};
use crate::reader::TimestampPair;
use crate::task::inline::IS_INLINE;
use history::EventsWithHistory;
use usage::WebApiWithUsage;
use world::{FollowedLog, World, WorldKind, WorldOutcome};

/// Unix seconds at which each world begins: some minutes before midnight, so that days end in it.
pub(crate) const BEGINNING: i64 = 1_700_005_520;

/// The state that one world shares with the code under test.
struct Simulated {
    began: Instant,
    /// Local time minus true time, in seconds.
    skew: i64,
}

thread_local! {
    static SIMULATED: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// The clock of the machine that the exporter runs on.
fn local_clock() -> TimestampPair {
    SIMULATED.with_borrow(|simulated| {
        let simulated = simulated.as_ref().unwrap();
        let monotonic = simulated.began.elapsed();
        let since = i64::try_from(monotonic.as_secs()).unwrap();
        TimestampPair { unix: BEGINNING + since + simulated.skew, monotonic }
    })
}

/// Time since the world began.
fn elapsed() -> Duration {
    SIMULATED.with_borrow(|simulated| simulated.as_ref().unwrap().began.elapsed())
}

fn set_skew(skew: i64) {
    SIMULATED.with_borrow_mut(|simulated| simulated.as_mut().unwrap().skew = skew);
}

/// A rule that looks right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrongRule {
    /// Of counting, of history, or of usage.
    Counting(Flaw),
    /// Of the archive.
    Archiving(ArchiveFlaw),
}

impl WrongRule {
    /// Worlds in which it can be found.
    fn kinds(self) -> &'static [WorldKind] {
        match self {
            WrongRule::Counting(flaw) => WorldKind::that_show(flaw),
            WrongRule::Archiving(flaw) => WorldKind::that_show_archive(flaw),
        }
    }

    /// The rule, if it is one of counting.
    fn of_counting(self) -> Option<Flaw> {
        match self {
            WrongRule::Counting(flaw) => Some(flaw),
            WrongRule::Archiving(_) => None,
        }
    }
}

/// Runs one world.
fn run<L: FollowedLog>(kind: WorldKind, seed: u64, wrong: Option<WrongRule>) -> WorldOutcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        SEEDED.set(Some(ChaCha8Rng::seed_from_u64(random.random())));
        SIMULATED.set(Some(Simulated { began: Instant::now(), skew: 0 }));
        OF_THE_LEDGER.set(wrong.and_then(WrongRule::of_counting));
        IS_INLINE.set(true);
        let outcome = World::new(kind, random).run::<L>(wrong).await;
        IS_INLINE.set(false);
        OF_THE_LEDGER.set(None);
        SIMULATED.set(None);
        SEEDED.set(None);
        outcome
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// The kind of world that a seed stands for.
fn kind_of(seed: u64) -> WorldKind {
    WorldKind::ALL[usize::try_from(seed).unwrap() % WorldKind::ALL.len()]
}

/// Worlds of each kind where the environment names none. A world takes 0.2 s without optimisation.
const WORLDS: u64 = if cfg!(debug_assertions) { 4 } else { 20 };

#[test]
fn every_world_is_counted_exactly_once() {
    run_worlds::<EventsWithHistory>(WORLDS);
}

#[test]
fn in_every_world_the_sets_of_usage_are_those_of_the_rows_that_are_counted() {
    run_worlds::<WebApiWithUsage>(WORLDS / 2);
}

/// Runs so many worlds of each kind, or what the environment says.
fn run_worlds<L: FollowedLog>(by_default: u64) {
    let seconds = number("SIMULATION_SECONDS");
    let (first, seeds) = match number("SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => {
            let all = by_default * u64::try_from(WorldKind::ALL.len()).unwrap();
            let seeds =
                number("SIMULATION_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX / 2 } else { all });
            (number("SIMULATION_FIRST").unwrap_or(0), seeds)
        }
    };
    let began = std::time::Instant::now();
    let (mut worlds, mut rows, mut kills) = (0_u64, 0_u64, 0_u64);
    for seed in first..first + seeds {
        let kind = kind_of(seed);
        let outcome = run::<L>(kind, seed, None);
        assert!(outcome.fault.is_none(), "SIMULATION_SEED={seed} ({kind:?}): {}", outcome.fault.unwrap());
        (worlds, rows, kills) = (worlds + 1, rows + outcome.rows, kills + outcome.kills);
        if seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds) {
            break;
        }
    }
    println!("{worlds} worlds from seed {first} on, {rows} rows, {kills} kills: each row exactly once");
}

#[test]
fn one_seed_is_one_world() {
    for seed in 0..u64::try_from(WorldKind::ALL.len()).unwrap() {
        let run = || run::<EventsWithHistory>(kind_of(seed), seed, None);
        let (one, other) = (run(), run());
        assert_eq!((one.requests, one.rows, one.kills), (other.requests, other.rows, other.kills), "{seed}");
    }
}

/// A test that no wrong rule can fail is worth nothing.
#[test]
fn each_wrong_rule_is_found() {
    let counting = Flaw::ALL.map(WrongRule::Counting);
    for wrong in counting.into_iter().chain(ArchiveFlaw::ALL.map(WrongRule::Archiving)) {
        let run = match wrong {
            WrongRule::Counting(Flaw::UsageAfterCommit) => run::<WebApiWithUsage>,
            _ => run::<EventsWithHistory>,
        };
        let kinds = wrong.kinds();
        // Where few worlds show a rule, the search begins shortly before one that does.
        let first = match wrong {
            WrongRule::Counting(Flaw::NewestIsFinal) => 490,
            WrongRule::Counting(Flaw::GuessByUse) => 230,
            _ => 0,
        };
        let found = (first..first + 10_000_u64).find(|seed| {
            let kind = kinds[usize::try_from(*seed).unwrap() % kinds.len()];
            run(kind, *seed, Some(wrong)).fault.is_some()
        });
        println!("{wrong:?}: found in world {found:?} of {kinds:?}");
        assert!(found.is_some(), "{wrong:?} is not found in 10,000 worlds of {kinds:?}");
    }
}

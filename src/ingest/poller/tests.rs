//! The poller on a clock that only waits move, against a scripted source and store.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::cryptolens::{Answered, EventRow, LogKind, Page, Product, Row, Slot, Token};
use crate::ingest::{LogUpdate, LogView, PageStatistics, RowsWithoutId};
use crate::reader::PageSource;

/// Local time at which each test begins, in Unix seconds.
const START: i64 = 1_700_000_000;
const INTERVAL: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);

/// The calendar goes with the clock of the test, whenever that began.
fn clock() -> TimestampPair {
    thread_local! {
        static BEGAN: Instant = Instant::now();
    }
    let monotonic = BEGAN.with(Instant::elapsed);
    TimestampPair { unix: START + i64::try_from(monotonic.as_secs()).unwrap(), monotonic }
}

type Answer = Result<Vec<(i64, i64)>, ApiError>;

/// A log, and the faults of its server.
#[derive(Default)]
struct World {
    /// Ids and times of the rows that are visible.
    rows: Vec<(i64, i64)>,
    /// Rows that become visible at a moment of the calendar.
    hidden: Vec<(i64, (i64, i64))>,
    /// Answers that come before those from the rows; each with the id that is peeked in place of
    /// the last one.
    scripted: VecDeque<(Answer, Option<i64>)>,
    /// The id that is peeked once in place of that of the last row.
    peeked: Option<i64>,
    /// For how long nothing is answered but this.
    outage: Option<(Duration, ApiError)>,
    /// A row whose answer is above the body cap.
    oversized: Option<i64>,
    /// Ids that the API refuses to be asked after are those below its oldest row.
    refuses_gone: bool,
    /// Rows without an id at the end of each page that is not empty.
    malformed: usize,
    /// When each request was made, after which id, and its limit.
    requests: Vec<(Duration, i64, u16)>,
    /// How long a request takes.
    latency: Duration,
    /// Requests above this many at a time are answered with 429; 0 for no bound.
    most_under_way: usize,
    under_way: usize,
    /// The most requests that were under way at a time.
    peak_under_way: usize,
    refused: usize,
    // The store's.
    opened: Option<LogCheckpoint>,
    epoch: u64,
    failing_commits: usize,
    closed: bool,
    kept: Vec<i64>,
    statistics: Vec<PageStatistics>,
}

#[derive(Clone)]
struct Fake {
    world: Arc<Mutex<World>>,
    token: Token,
    generation: tokio::sync::watch::Sender<u64>,
}

impl Fake {
    fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// The requests since the last look: time, position and limit.
    fn requests(&self) -> Vec<(Duration, i64, u16)> {
        self.world(|world| std::mem::take(&mut world.requests))
    }
}

fn page_of<R: Row>(rows: &[(i64, i64)], malformed: usize) -> Page<R> {
    let row = |(id, time): &(i64, i64)| {
        let mut row = R::with_id(*id);
        if let Some(Slot::Int(set)) = R::slot("time") {
            set(&mut row, Some(*time));
        }
        row
    };
    let before = rows.last().map(|(id, _)| *id);
    let without_id = vec![before; if before.is_some() { malformed } else { 0 }];
    Page { rows: rows.iter().map(row).collect(), without_id }
}

impl PageSource for Fake {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        let sent = Instant::now();
        let TimestampPair { unix, monotonic: now } = clock();
        let latency = self.world(|world| {
            world.requests.push((now, query.starting_after, query.limit));
            world.under_way += 1;
            world.peak_under_way = world.peak_under_way.max(world.under_way);
            world.latency
        });
        let is_refused =
            self.world(|world| world.most_under_way > 0 && world.under_way > world.most_under_way);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let (answer, peeked, malformed) = self.world(|world| {
            world.under_way -= 1;
            if is_refused {
                world.refused += 1;
                return (Err(ApiError::RateLimited { retry_after: None }), None, 0);
            }
            let shown = world.hidden.extract_if(.., |(visible_at, _)| *visible_at <= unix);
            world.rows.extend(shown.map(|(_, row)| row));
            world.rows.sort_unstable();
            if let Some((until, error)) = &world.outage
                && now < *until
            {
                return (Err(error.clone()), None, 0);
            }
            if let Some((answer, peeked)) = world.scripted.pop_front() {
                return (answer, peeked, 0);
            }
            let oldest = world.rows.first().map_or(0, |(id, _)| *id);
            if world.refuses_gone && query.starting_after > 0 && query.starting_after < oldest {
                return (Err(ApiError::BadRequest { status: None }), None, 0);
            }
            let after = world.rows.partition_point(|(id, _)| *id <= query.starting_after);
            let rows: Vec<_> = world.rows.iter().skip(after).take(query.limit.into()).copied().collect();
            if rows.iter().any(|(id, _)| world.oversized == Some(*id)) {
                return (Err(ApiError::Decode(DecodeFault::TooLarge)), None, 0);
            }
            (Ok(rows), world.peeked.take(), world.malformed)
        });
        let rows = answer?;
        if let Some(last) = peeked.or(rows.last().map(|(id, _)| *id)) {
            peek(R::with_id(last));
        }
        // The receiver of the peeked row runs before the page is read as a whole.
        tokio::task::yield_now().await;
        let value = page_of(&rows, malformed);
        Ok(Answered { value, server_time: None, sent, received: Instant::now() })
    }
}

impl Source for Fake {
    async fn products(&self) -> Result<Vec<Product>, ApiError> {
        Ok(Vec::new())
    }

    fn token(&self) -> Token {
        self.token.clone()
    }
}

impl CheckpointStore for Fake {
    async fn open(&self, _: &LogId) -> Result<Option<LogCheckpoint>, CheckpointError> {
        Ok(self.world(|world| {
            world.epoch += 1;
            world.opened.clone().map(|opened| LogCheckpoint { epoch: world.epoch, ..opened })
        }))
        .and_then(|opened| {
            if self.world(|world| world.closed) { Err(CheckpointError::Closed) } else { Ok(opened) }
        })
    }

    async fn begin(&self, log: &LogId, origin: Origin) -> Result<LogCheckpoint, CheckpointError> {
        self.world(|world| {
            let position = crate::ingest::Position::at_origin(origin.id);
            world.opened = Some(LogCheckpoint {
                position,
                origin,
                without_id: RowsWithoutId::new(),
                first_poll_complete: false,
                last_poll: None,
                sealed_until: None,
                epoch: 0,
            });
        });
        self.open(log).await.map(Option::unwrap)
    }

    async fn submit(
        &self,
        _: &LogId,
        epoch: u64,
        record: LogUpdate,
    ) -> Result<PendingCommit, CheckpointError> {
        let outcome = self.world(|world| {
            if world.failing_commits > 0 {
                world.failing_commits -= 1;
                world.epoch += 1;
            }
            if epoch != world.epoch {
                return Err(CheckpointError::Failed);
            }
            let opened = world.opened.as_mut().unwrap();
            for id in &record.counted {
                assert!(!world.kept.contains(id), "row {id} is counted twice");
            }
            opened.position.count(&record.counted, record.watermark);
            world.kept.extend(&record.counted);
            if let Some(without_id) = record.without_id {
                opened.without_id = without_id;
            }
            opened.position.raise_floor_to(record.floor);
            opened.first_poll_complete |= record.poll_end.is_some();
            world.statistics.push(record.statistics);
            Ok(())
        });
        let (reply, answer) = tokio::sync::oneshot::channel();
        reply.send(outcome).unwrap();
        Ok(PendingCommit(answer))
    }

    fn generation(&self) -> tokio::sync::watch::Receiver<u64> {
        self.generation.subscribe()
    }

    async fn products(&self, _: &Arc<str>, _: Vec<Product>) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// A poller at work on the Events Log, whose largest page has 100 rows.
struct Running {
    fake: Fake,
    status: Arc<LogStatus>,
    api: Arc<ApiStatus>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<Stopped>,
}

impl Running {
    fn start(world: World) -> Running {
        Running::with_token(world, Token::fixed("token".to_owned().into()))
    }

    fn with_token(world: World, token: Token) -> Running {
        Running::with(world, token, Concurrency::ONE)
    }

    /// With so many requests under way while far behind.
    fn with_concurrency(world: World, requests: u8) -> Running {
        let token = Token::fixed("token".to_owned().into());
        Running::with(world, token, Concurrency::new(requests).unwrap())
    }

    fn with(world: World, token: Token, concurrency: Concurrency) -> Running {
        clock();
        let fake = Fake {
            world: Arc::new(Mutex::new(world)),
            token,
            generation: tokio::sync::watch::Sender::new(0),
        };
        let (status, api, cancel) = (Arc::default(), Arc::default(), CancellationToken::new());
        let settings = PollerSettings {
            id: LogId { account: "default".into(), log: LogKind::Events },
            interval: INTERVAL,
            overlap: MINUTE,
            since: Since::All,
            concurrency,
        };
        let poller = Poller::<_, _, EventRow>::new(
            settings,
            fake.clone(),
            fake.clone(),
            Arc::clone(&status),
            Arc::clone(&api),
            cancel.clone(),
        );
        let task = tokio::spawn(poller.simulated(clock, 100, None).run());
        Running { fake, status, api, cancel, task }
    }

    async fn after(&self, wait: Duration) -> LogView {
        tokio::time::sleep(wait).await;
        self.status.view()
    }

    fn kept(&self) -> Vec<i64> {
        let mut kept = self.fake.world(|world| world.kept.clone());
        kept.sort_unstable();
        kept
    }

    async fn stop(self) {
        self.cancel.cancel();
        assert_eq!(self.task.await.unwrap(), Stopped::Cancelled);
    }
}

/// So many rows, all of them old.
fn old(rows: i64) -> Vec<(i64, i64)> {
    (1..=rows).map(|id| (id, START - 100_000 + id)).collect()
}

fn all(rows: i64) -> Vec<i64> {
    (1..=rows).collect()
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_page_by_page_and_an_idle_log_costs_one_request_per_poll() {
    let running = Running::start(World { rows: old(250), ..World::default() });
    let view = running.after(Duration::from_secs(1)).await;
    assert_eq!(running.kept(), all(250));
    assert!(view.up && !view.catching_up && view.last_poll == Some(START));
    let asked: Vec<_> = running.fake.requests().into_iter().map(|(_, after, _)| after).collect();
    assert_eq!(asked, [0, 100, 200]);
    // Until the overlap has passed, the rows above the floor are read again; then a poll is one
    // request.
    running.after(5 * MINUTE).await;
    running.fake.requests();
    running.after(10 * INTERVAL).await;
    let mut polls = running.fake.requests();
    // Now and then whether the row at the cursor is still there.
    let checks = polls.extract_if(.., |(_, after, _)| *after == 249).count();
    assert!(checks <= 1, "{checks} questions for the row at the cursor");
    assert_eq!(polls.len(), 10, "{polls:?}");
    assert!(polls.windows(2).all(|pair| pair[1].0 - pair[0].0 == INTERVAL));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_guess_that_was_wrong_costs_a_request_and_no_row() {
    let mut rows = old(250);
    let page = rows[..100].to_vec();
    let second = rows[100..200].to_vec();
    // The second page seems to end elsewhere than it does, so a page is asked for ahead that does
    // not come next.
    let scripted = VecDeque::from([(Ok(page), None), (Ok(second), Some(120))]);
    rows.push((251, START));
    let running = Running::start(World { rows, scripted, ..World::default() });
    running.after(Duration::from_secs(1)).await;
    assert_eq!(running.kept(), all(251));
    let asked: Vec<_> = running.fake.requests().into_iter().map(|(_, after, _)| after).collect();
    assert_eq!(asked, [0, 100, 120, 200, 251]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_error_nothing_that_was_asked_ahead_is_used() {
    let rows = old(250);
    let disorder: Vec<_> = rows[100..200].iter().rev().copied().collect();
    let scripted = VecDeque::from([(Ok(rows[..100].to_vec()), None), (Ok(disorder), Some(200))]);
    let running = Running::start(World { rows, scripted, ..World::default() });
    running.after(MINUTE).await;
    assert_eq!(running.kept(), all(250));
    assert_eq!(running.api.view()[&R_ENDPOINT].results["decode"], 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_by_several_requests_at_a_time_and_news_by_one() {
    let latency = Duration::from_millis(100);
    let running = Running::with_concurrency(World { rows: old(20_000), latency, ..World::default() }, 8);
    running.after(Duration::from_secs(10)).await;
    assert!(running.kept() == all(20_000));
    let (peak, requests) = running.fake.world(|world| (world.peak_under_way, world.requests.len()));
    assert!(peak == 8 && requests <= 260, "{requests} requests for 200 pages, {peak} at a time");
    let backlog_took = running.fake.requests().last().unwrap().0;
    assert!(backlog_took < latency * 201 / 4, "one after the other takes 20 s: {backlog_took:?}");
    // Caught up, and after the overlap.
    running.after(3 * MINUTE).await;
    running.fake.world(|world| {
        world.peak_under_way = 0;
        world.rows.extend((20_001..=21_000).map(|id| (id, START + 180)));
    });
    running.after(MINUTE).await;
    assert!(running.kept() == all(21_000));
    assert_eq!(running.fake.world(|world| world.peak_under_way), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_many_overlaps_is_read_with_few_requests() {
    // Eight pages in five seconds: five overlaps long.
    const PAGES: i64 = 480;
    let latency = Duration::from_secs(5);
    let running = Running::with_concurrency(World { rows: old(PAGES * 100), latency, ..World::default() }, 8);
    running.after(15 * MINUTE).await;
    assert!(running.kept() == all(PAGES * 100));
    // Pages of the first overlap are read again.
    let requests = running.fake.requests().len();
    assert!(requests <= 700, "{requests} requests for {PAGES} pages");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_429_above_two_at_a_time_is_read_with_few_of_them() {
    let latency = Duration::from_millis(100);
    let world = World { rows: old(20_000), latency, most_under_way: 2, ..World::default() };
    let running = Running::with_concurrency(world, 8);
    running.after(10 * MINUTE).await;
    assert!(running.kept() == all(20_000));
    let refused = running.fake.world(|world| world.refused);
    assert!((1..=30).contains(&refused), "{refused} refusals for 200 pages");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_throttling_server_asks_for_holds_for_guesses_too() {
    let latency = Duration::from_millis(100);
    let running = Running::with_concurrency(World { rows: old(5000), latency, ..World::default() }, 8);
    tokio::time::sleep(Duration::from_millis(350)).await;
    running.fake.world(|world| {
        let limited = ApiError::RateLimited { retry_after: Some(Duration::from_secs(30)) };
        world.scripted = std::iter::repeat_n((Err(limited), None), 8).collect();
    });
    running.after(2 * MINUTE).await;
    assert!(running.kept() == all(5000));
    let requests = running.fake.requests();
    let longest = requests.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(longest >= Duration::from_secs(29), "no request for {longest:?} at the most");
    running.stop().await;
}

const R_ENDPOINT: crate::cryptolens::Endpoint = LogKind::Events.endpoint();

#[tokio::test(start_paused = true)]
async fn a_backlog_after_an_outage_is_shown_as_one() {
    let running = Running::start(World { rows: old(10), ..World::default() });
    assert!(!running.after(2 * MINUTE).await.catching_up);

    // Within one poll: the requests of an hour fail, then there is an hour of rows.
    let up_again = clock().monotonic + 60 * MINUTE;
    running.fake.world(|world| {
        world.outage = Some((up_again, ApiError::Timeout));
        world.rows.extend((11..=500).map(|id| (id, START + id)));
    });
    assert!(!running.after(59 * MINUTE).await.up);
    let mut seen = Vec::new();
    for _ in 0..4 * 60 {
        let view = running.after(Duration::from_secs(1)).await;
        seen.push(view.catching_up);
    }
    assert_eq!(running.kept(), all(500));
    let shown = seen.iter().filter(|shown| **shown).count();
    assert!((60..=90).contains(&shown), "every scrape must see it, also one a minute: {shown} s");
    assert_eq!(seen.last(), Some(&false), "it is over");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_log_is_not_behind_after_an_outage() {
    let running = Running::start(World { rows: old(10), ..World::default() });
    running.after(5 * MINUTE).await;
    let up_again = clock().monotonic + 60 * MINUTE;
    running.fake.world(|world| world.outage = Some((up_again, ApiError::Timeout)));
    for _ in 0..65 * 6 {
        assert!(!running.after(Duration::from_secs(10)).await.catching_up);
    }
    assert!(running.status.view().up);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_fill_the_window() {
    let running = Running::start(World { rows: old(10), ..World::default() });
    running.after(MINUTE).await;
    let up_again = clock().monotonic + 60 * MINUTE;
    running.fake.world(|world| {
        world.outage = Some((up_again, ApiError::Timeout));
        world.rows.extend((11..=3000).map(|id| (id, START - 90_000 + id * 10)));
    });
    running.after(63 * MINUTE).await;
    assert_eq!(running.kept(), all(3000));
    let seen = running.fake.world(|world| world.opened.as_ref().unwrap().position.seen().len());
    assert!(seen < 1000, "{seen} seen ids");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_log_is_opened_again_when_its_ledger_began_anew() {
    let running = Running::start(World { rows: old(10), ..World::default() });
    running.after(10 * MINUTE).await;
    let opened = running.fake.world(|world| {
        // The ledger after a file was moved aside.
        (world.opened, world.kept) = (None, Vec::new());
        world.epoch
    });
    running.fake.generation.send_modify(|generation| *generation += 1);
    running.after(MINUTE).await;
    assert!(running.fake.world(|world| world.epoch) > opened, "it was not opened again");
    assert_eq!(running.kept(), all(10), "and counts from its beginning");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_read_again_from_the_floor() {
    let running = Running::start(World { rows: old(350), failing_commits: 2, ..World::default() });
    let view = running.after(MINUTE).await;
    assert_eq!(running.kept(), all(350));
    assert_eq!((view.current_error, view.up), (None, true));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_is_noticed_within_a_page() {
    let running = Running::start(World { rows: old(5000), failing_commits: usize::MAX, ..World::default() });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(running.status.view().current_error, Some(LastError::Ledger));
    let requests = running.fake.requests().len();
    assert!(requests <= 4, "{requests} requests for pages that can't be kept");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_may_be_too_large_is_halved_down_to_one_row_and_grows_again() {
    let failures = |error: ApiError, count| std::iter::repeat_n((Err(error), None), count);
    let scripted = failures(ApiError::Timeout, 14).collect();
    let running = Running::start(World { rows: old(7), scripted, ..World::default() });
    running.after(20 * MINUTE).await;
    assert_eq!(running.kept(), all(7));
    let limits: Vec<_> = running.fake.requests().into_iter().map(|(_, _, limit)| limit).collect();
    assert_eq!(limits[..14], [100, 100, 50, 50, 25, 25, 12, 12, 6, 6, 3, 3, 1, 1]);
    let mut grown = limits[14..].to_vec();
    grown.dedup();
    grown.retain(|limit| *limit != 2);
    assert_eq!(grown[..7], [1, 4, 8, 16, 32, 64, 100], "a question for the newest id has a limit of 2");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_in_disorder_is_asked_for_again_as_it_was() {
    let descending: Vec<_> = old(7).into_iter().rev().collect();
    let scripted = std::iter::repeat_n((Ok(descending), None), 6).collect();
    let running = Running::start(World { rows: old(7), scripted, ..World::default() });
    running.after(10 * MINUTE).await;
    assert_eq!(running.kept(), all(7));
    let requests = running.fake.requests();
    assert!(requests.iter().all(|(_, _, limit)| [100, 2].contains(limit)), "a page of one row has no order");
    assert_eq!(requests[1].1, 1, "without a cursor the order may be another");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_page_that_leads_nowhere_is_an_error_and_not_the_end() {
    let rows = old(100);
    let scripted = std::iter::repeat_n((Ok(rows.clone()), None), 4).collect();
    let running = Running::start(World { rows, scripted, ..World::default() });
    let view = running.after(Duration::from_millis(1)).await;
    assert_eq!(view.current_error, Some(LastError::Api("decode")), "the same page again and again");
    assert!(view.catching_up && view.last_poll.is_none());
    running.after(10 * MINUTE).await;
    assert_eq!(running.kept(), all(100));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_server_asks_for_is_kept_up_to_fifteen_minutes() {
    let limited = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        (Err(ApiError::RateLimited { retry_after }), None)
    };
    let scripted = VecDeque::from([limited(120), limited(7200)]);
    let running = Running::start(World { rows: old(3), scripted, ..World::default() });
    running.after(30 * MINUTE).await;
    let requests = running.fake.requests();
    let waits: Vec<_> = requests.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs()).collect();
    assert_eq!(waits[..2], [120, 900]);
    assert_eq!(running.kept(), all(3));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_tried_every_five_minutes() {
    let outage = Some((Duration::from_secs(3600), ApiError::Auth));
    let running = Running::start(World { rows: old(3), outage, ..World::default() });
    assert!(!running.after(59 * MINUTE).await.up);
    let requests = running.fake.requests();
    assert_eq!(requests.len(), 12);
    assert!(requests.windows(2).all(|pair| pair[1].0 - pair[0].0 == 5 * MINUTE));
    running.after(2 * MINUTE).await;
    assert_eq!(running.kept(), all(3));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_tried_again_within_a_minute() {
    let outage = Some((Duration::from_secs(1800), ApiError::Api));
    let running = Running::start(World { rows: old(3), outage, ..World::default() });
    running.after(29 * MINUTE).await;
    let requests = running.fake.requests();
    assert!(requests.windows(2).all(|pair| pair[1].0 - pair[0].0 <= MINUTE));
    assert!(requests.len() < 150, "{} requests in half an hour", requests.len());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rows_without_an_id_are_counted_once_however_often_they_are_read() {
    let rows = (1..=5).map(|id| (id, START - 10 + id)).collect();
    let running = Running::start(World { rows, malformed: 2, ..World::default() });
    for id in 6..30 {
        running.after(INTERVAL).await;
        // The log goes on, and the two move on with its end.
        running.fake.world(|world| {
            world.malformed = 0;
            world.rows.push((id, START + id * 15));
        });
    }
    let no_id: u64 =
        running.fake.world(|world| world.statistics.iter().map(|statistics| statistics.no_id).sum());
    assert_eq!(no_id, 2);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_itself_only_when_the_ledger_is_gone() {
    let running = Running::start(World { rows: old(3), ..World::default() });
    running.after(MINUTE).await;
    // A commit that fails has the log opened again.
    running.fake.world(|world| {
        world.closed = true;
        world.failing_commits = 1;
        world.rows.push((4, START));
    });
    running.after(MINUTE).await;
    assert_eq!(running.task.await.unwrap(), Stopped::LedgerClosed);
}

fn skipped_as_too_large(fake: &Fake) -> u64 {
    fake.world(|world| world.statistics.iter().map(|statistics| statistics.too_large).sum())
}

#[tokio::test(start_paused = true)]
async fn a_row_above_the_body_cap_is_skipped_visibly_and_the_poll_goes_on_behind_it() {
    let running = Running::start(World { rows: old(300), oversized: Some(150), ..World::default() });
    running.after(MINUTE).await;
    assert_eq!(running.kept(), all(149), "not before an overlap has passed");
    assert_eq!(skipped_as_too_large(&running.fake), 0);
    running.after(20 * MINUTE).await;
    let expected: Vec<i64> = (1..=300).collect();
    assert_eq!(running.kept(), expected, "the id of the skipped row counts as met");
    assert_eq!(skipped_as_too_large(&running.fake), 1);
    running.fake.requests();
    running.after(4 * INTERVAL).await;
    let requests = running.fake.requests().len();
    assert!(requests <= 5, "{requests} requests in four polls: the floor went past it");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_gone_and_refused_stops_no_log() {
    let running = Running::start(World { rows: old(10), ..World::default() });
    running.after(3 * MINUTE).await;
    running.fake.world(|world| {
        world.refuses_gone = true;
        world.rows = (20..=25).map(|id| (id, START)).collect();
    });
    running.after(3 * MINUTE).await;
    assert_eq!(running.kept().len(), 16);
    running.fake.world(|world| world.rows.push((26, START)));
    running.after(MINUTE).await;
    assert_eq!(running.kept().len(), 17);
    running.fake.requests();
    running.after(4 * INTERVAL).await;
    assert!(running.fake.requests().len() <= 5, "one request a poll, as ever");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_newest_id_is_below_the_cursor_is_shown_and_counts_nothing_twice() {
    let rows = (1000..=1010).map(|id| (id, START - 10)).collect();
    let running = Running::start(World { rows, ..World::default() });
    assert_eq!(running.after(3 * MINUTE).await.newest_id, Some(1010));
    // The account was made anew, or the token is another account's.
    running.fake.world(|world| world.rows = (1..=7).map(|id| (id, START)).collect());
    let view = running.after(10 * MINUTE).await;
    assert_eq!((view.newest_id, view.up), (Some(7), true));
    assert_eq!(running.kept().len(), 11);
    // An empty log is the effect of retention, and the id that was shown last stays.
    running.fake.world(|world| world.rows.clear());
    assert_eq!(running.after(10 * MINUTE).await.newest_id, Some(7));
    running.fake.world(|world| world.rows = vec![(1011, START)]);
    assert_eq!(running.after(MINUTE).await.newest_id, Some(1011));
    assert_eq!(running.kept().len(), 12);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_replaced_right_after_rows_were_counted_is_noticed() {
    let rows: Vec<_> = (1000..=1010).map(|id| (id, START - 10)).collect();
    let running = Running::start(World { rows, ..World::default() });
    running.after(3 * MINUTE).await;
    running.fake.world(|world| world.rows.push((1011, START + 170)));
    running.after(Duration::from_secs(20)).await;
    // The floor is below the cursor still, and stays there.
    running.fake.world(|world| world.rows = (1..=7).map(|id| (id, START)).collect());
    let view = running.after(12 * MINUTE).await;
    assert_eq!((view.newest_id, running.kept().len()), (Some(7), 12));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn catching_up_is_shown_only_while_old_rows_are_counted() {
    let outage = Some((Duration::from_secs(120), ApiError::Timeout));
    let running = Running::start(World { rows: old(10), outage, ..World::default() });
    assert!(!running.after(MINUTE).await.catching_up, "not before the first answer");
    running.after(5 * MINUTE).await;
    // The token is refused in the middle of a backlog.
    let now = clock().unix;
    running.fake.world(|world| {
        world.outage = Some((clock().monotonic + 20 * MINUTE, ApiError::Timeout));
        world.rows.extend((11..=400).map(|id| (id, now - 3600)));
    });
    running.after(19 * MINUTE).await;
    running.fake.world(|world| {
        let page = |from: i64| (from..from + 100).map(|id| (id, now - 3600)).collect::<Vec<_>>();
        world.outage = None;
        world.scripted = VecDeque::from([(Ok(page(11)), None), (Err(ApiError::Auth), None)]);
    });
    let mut shown = Vec::new();
    for _ in 0..20 * 60 {
        let view = running.after(Duration::from_secs(1)).await;
        shown.push((view.catching_up, view.current_error));
    }
    let refused = |error: &Option<LastError>| *error == Some(LastError::Api("auth"));
    assert!(shown.iter().any(|(_, error)| refused(error)));
    assert!(shown.iter().all(|(catching_up, error)| !(*catching_up && refused(error))));
    assert!(shown.iter().any(|(catching_up, _)| *catching_up));
    assert_eq!(running.kept(), all(400));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_answers_that_were_too_large_by_accident_make_no_row_be_skipped() {
    let too_large = || (Err(ApiError::Decode(DecodeFault::TooLarge)), None);
    let timeouts = std::iter::repeat_with(|| (Err(ApiError::Timeout), None));
    let mut scripted: VecDeque<_> = timeouts.take(40).collect();
    scripted.insert(20, too_large());
    scripted.push_back(too_large());
    let running = Running::start(World { rows: old(300), scripted, ..World::default() });
    running.after(60 * MINUTE).await;
    assert_eq!((running.kept(), skipped_as_too_large(&running.fake)), (all(300), 0));
    running.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Cut bodies, timeouts, 502, error pages, for hours and at any limit, and now and then an
    /// answer that is too large by accident: no row is ever given up.
    #[test]
    fn a_flaky_proxy_never_makes_a_row_be_skipped(
        errors in prop::collection::vec((0usize..7, any::<bool>()), 10..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let of = |which: usize| match which {
                0 => ApiError::Timeout,
                1 => ApiError::Decode(DecodeFault::NotJson),
                2 => ApiError::Server { status: Some(502), retry_after: None, html: true },
                3 => ApiError::Decode(DecodeFault::Html),
                4 => ApiError::Decode(DecodeFault::Empty),
                5 => ApiError::Api,
                _ => ApiError::Decode(DecodeFault::NoList),
            };
            let rows = old(300);
            let mut scripted = VecDeque::new();
            for (which, accident) in errors {
                scripted.push_back((Err(of(which)), None));
                if accident && scripted.len() % 50 == 0 {
                    scripted.push_back((Err(ApiError::Decode(DecodeFault::TooLarge)), None));
                }
            }
            let running = Running::start(World { rows, scripted, ..World::default() });
            running.after(Duration::from_secs(3 * 3600)).await;
            assert_eq!(running.kept(), all(300));
            assert_eq!(skipped_as_too_large(&running.fake), 0);
            running.stop().await;
        });
    }
}

#[derive(Debug, Clone)]
enum Mishap {
    Error(ApiError),
    WrongPeek(i64),
    Outage(u64),
    FailingCommit,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let error = prop_oneof![
        Just(ApiError::Timeout),
        Just(ApiError::Decode(DecodeFault::Order)),
        Just(ApiError::Decode(DecodeFault::NotJson)),
        Just(ApiError::RateLimited { retry_after: Some(Duration::from_secs(30)) }),
    ];
    prop_oneof![
        3 => error.prop_map(Mishap::Error),
        1 => (0i64..400).prop_map(Mishap::WrongPeek),
        1 => (60u64..7200).prop_map(Mishap::Outage),
        2 => Just(Mishap::FailingCommit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A backlog of some pages, then live rows up to the overlap late, and all that goes wrong at
    /// any moment: the book refuses a row that it has (above), and here it must have each.
    #[test]
    fn whatever_goes_wrong_each_row_is_kept_once(
        backlog in 0i64..450,
        live in prop::collection::vec((1i64..4, prop_oneof![9 => 0i64..20, 1 => Just(900)], 0i64..=60), 0..120),
        mishaps in prop::collection::vec((0u64..400, mishap()), 0..25),
        concurrency in 1u8..9,
        latency in 0u64..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World { rows: old(backlog), ..World::default() };
            let (mut id, mut time) = (backlog, clock().unix);
            for (gap, later, delay) in live {
                id += gap;
                time += later;
                world.hidden.push((time + delay, (id, time)));
            }
            let promised: Vec<i64> = world.rows.iter().chain(world.hidden.iter().map(|(_, row)| row)).map(|(id, _)| *id).collect();
            world.latency = Duration::from_millis(latency);
            let running = Running::with_concurrency(world, concurrency);
            for (wait, mishap) in mishaps {
                running.after(Duration::from_secs(wait)).await;
                let now = clock().monotonic;
                running.fake.world(|world| match mishap {
                    Mishap::Error(error) => world.scripted.push_back((Err(error), None)),
                    Mishap::WrongPeek(id) => world.peeked = Some(id),
                    Mishap::Outage(seconds) => world.outage = Some((now + Duration::from_secs(seconds), ApiError::Timeout)),
                    Mishap::FailingCommit => world.failing_commits += 1,
                });
            }
            let left = (time - clock().unix).max(0) + 4 * 3600;
            running.after(Duration::from_secs(left.unsigned_abs())).await;
            assert_eq!(running.kept(), promised);
            let view = running.status.view();
            assert!(view.up && !view.catching_up && view.current_error.is_none(), "{view:?}");
            running.stop().await;
        });
    }
}

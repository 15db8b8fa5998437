use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;

/// A log that answers as the API does, and counts the requests.
struct Log {
    rows: Vec<ProbeRow>,
    page: usize,
    requests: u32,
    pauses: u32,
    ignores_order: bool,
    largest_parameter: i64,
    /// Refuses every id that no row has.
    refuses_gaps: bool,
    /// Answers to these requests are empty lists.
    empty: Vec<u32>,
    /// Rows with these ids cannot be read.
    unreadable: Vec<i64>,
}

impl Log {
    fn of(rows: impl IntoIterator<Item = (i64, Option<i64>)>) -> Log {
        Log {
            rows: rows.into_iter().map(|(id, time)| ProbeRow { id, time }).collect(),
            page: 100,
            requests: 0,
            pauses: 0,
            ignores_order: false,
            largest_parameter: i64::MAX,
            refuses_gaps: false,
            empty: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    fn answer(&self, rows: &[ProbeRow]) -> ProbeAnswer {
        let readable = rows.iter().filter(|row| !self.unreadable.contains(&row.id)).copied();
        let readable: Vec<ProbeRow> = readable.collect();
        match (rows.is_empty() || self.empty.contains(&self.requests), readable.is_empty()) {
            (true, _) => ProbeAnswer::Empty,
            (false, true) => ProbeAnswer::Unreadable,
            (false, false) => ProbeAnswer::Rows(readable),
        }
    }

    fn find(&mut self, log: LogKind, mark: Mark) -> i64 {
        block_on(find(self, log, mark))
    }
}

impl Probe for Log {
    async fn page_after(&mut self, after: i64, extent: Extent) -> Result<ProbeAnswer, ApiError> {
        self.requests += 1;
        let is_gap = after > 0 && self.rows.binary_search_by_key(&after, |row| row.id).is_err();
        if after > self.largest_parameter || (self.refuses_gaps && is_gap) {
            return Ok(ProbeAnswer::Refused);
        }
        let from = self.rows.partition_point(|row| row.id <= after);
        let count = if extent == Extent::Two { 2 } else { self.page };
        let rows = &self.rows[from..];
        Ok(self.answer(&rows[..count.min(rows.len())]))
    }

    async fn newest(&mut self) -> Result<ProbeAnswer, ApiError> {
        self.requests += 1;
        let row = if self.ignores_order { self.rows.first() } else { self.rows.last() };
        Ok(self.answer(row.map_or(&[], std::slice::from_ref)))
    }

    async fn pause_for_overlap(&mut self) -> Result<bool, ApiError> {
        self.pauses += 1;
        Ok(true)
    }

    fn now(&self) -> i64 {
        NOW
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, ApiError>>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future).unwrap()
}

/// Rows with ids from 1 on that are a second apart, the last of them now.
fn steady(count: i64) -> Vec<(i64, Option<i64>)> {
    (1..=count).map(|id| (id, Some(NOW - count + id))).collect()
}

#[test]
fn a_log_is_believed_to_be_empty_after_two_answers_an_overlap_apart() {
    let mut log = Log::of([]);
    assert_eq!(log.find(LogKind::Events, Mark::Now), 0);
    assert_eq!((log.requests, log.pauses), (2, 1));
}

/// `--since=now` with first answers that are empty counted the whole log.
#[test]
fn first_answers_that_are_empty_do_not_make_the_origin_zero() {
    for kind in LogKind::ALL {
        // Of the Web API Log, the first question is that for the newest row.
        let first = if kind == LogKind::WebApi { vec![1, 2] } else { vec![1] };
        for empty in [first, vec![2], vec![3], vec![20]] {
            let mut log = Log { empty, ..Log::of((1..=5000).map(|id| (id, Some(NOW - 6000 + id)))) };
            let origin = log.find(kind, Mark::Now);
            assert_eq!(origin, 5000, "{kind}: {:?}", log.empty);
        }
    }
}

#[test]
fn a_row_that_comes_while_an_empty_log_is_asked_again_is_not_old() {
    let mut log = Log { empty: vec![1, 2], ..Log::of([(7, Some(NOW))]) };
    assert_eq!(log.find(LogKind::WebApi, Mark::Now), 0);
}

#[test]
fn a_list_of_rows_without_readable_ids_is_not_empty() {
    let rows = (1..=300).map(|id| (id, Some(NOW - 400)));
    let mut log = Log { unreadable: vec![1, 2, 3], ..Log::of(rows.clone()) };
    assert_eq!(log.find(LogKind::Events, Mark::Now), 300);
    assert_eq!(log.pauses, 0);
    let mut log = Log { unreadable: (1..=300).collect(), ..Log::of(rows) };
    assert_eq!(log.find(LogKind::Events, Mark::Time(NOW)), 0);
    assert_eq!(log.pauses, 0);
}

#[test]
fn now_takes_three_requests_where_the_order_is_honoured() {
    let mut log = Log::of([(5, Some(1)), (1 << 40, Some(2))]);
    assert_eq!(log.find(LogKind::WebApi, Mark::Now), 1 << 40);
    assert_eq!(log.requests, 3);
}

#[test]
fn a_row_without_time_is_judged_by_the_next() {
    let rows = [(1, Some(10)), (2, None), (3, Some(12)), (4, None), (5, Some(30)), (6, None)];
    for log in [LogKind::Events, LogKind::Objects] {
        assert_eq!(Log::of(rows).find(log, Mark::Time(20)), 3);
        assert_eq!(Log::of(rows).find(log, Mark::Time(99)), 5);
    }
}

#[test]
fn a_long_log_takes_few_requests() {
    for kind in [LogKind::Events, LogKind::Objects] {
        for mark in [1, 50_000, 999_999] {
            let mut log = Log::of((1..=1_000_000).map(|id| (id * 3, Some(id))));
            assert_eq!(log.find(kind, Mark::Time(mark)), (mark - 1) * 3);
            assert!(log.requests <= 75, "{kind}: {} requests", log.requests);
        }
    }
}

/// `serve --since=14d` on a log whose every tenth row was sent days late counted 1,772 of 2,625.
#[test]
fn every_tenth_event_that_is_days_late_moves_the_origin_no_later() {
    let mut first_late_differs = 0;
    for late in 0..10 {
        let rows = (1..=10_000).map(|id| {
            let time = NOW - (10_000 - id) * 60;
            (id, Some(if id % 10 == late { time - 5 * 86_400 } else { time }))
        });
        let mut log = Log::of(rows);
        let origin = log.find(LogKind::Events, Mark::Time(NOW - 2_625 * 60));
        // Rows that were late by themselves may follow at once.
        assert!((7_374..=7_375).contains(&origin), "{origin}");
        first_late_differs += u32::from(origin != 7_374);
    }
    assert_eq!(first_late_differs, 1);
}

#[test]
fn a_batch_of_300_old_events_moves_the_origin_no_later() {
    for begins in 4_000..4_400 {
        let rows = (1..=9_000).map(|id| {
            let late = if (begins..begins + 300).contains(&id) { 40 * 86_400 } else { 0 };
            (id, Some(NOW - (9_000 - id) * 60 - late))
        });
        let mut log = Log::of(rows);
        // Row 4,200 is the first that is not old.
        let origin = log.find(LogKind::Events, Mark::Time(NOW - 4_800 * 60));
        let expected = if begins <= 4_200 { begins + 299 } else { 4_199 };
        assert_eq!(origin, expected.max(4_199), "a batch from {begins}");
        assert!(log.requests <= MOST_REQUESTS);
    }
}

#[test]
fn a_batch_of_250_events_that_are_nine_hours_ahead_moves_the_origin_no_later() {
    for begins in (1..9_000).step_by(37) {
        let rows = (1..=9_000).map(|id| {
            let ahead = if (begins..begins + 250).contains(&id) { 9 * 3_600 } else { 0 };
            (id, Some(NOW - (9_000 - id) * 60 + ahead))
        });
        let mut log = Log::of(rows);
        let origin = log.find(LogKind::Events, Mark::Time(NOW - 4_800 * 60));
        // Rows that are nine hours ahead may put the origin so much earlier: 540 rows.
        assert!((4_199 - 540..=4_199).contains(&origin), "a batch from {begins}: {origin}");
    }
}

#[test]
fn events_of_the_future_are_read_past() {
    let rows = (1..=9_000).map(|id| {
        let ahead = if (3_000..3_250).contains(&id) { 900 * 86_400 } else { 0 };
        (id, Some(NOW - (9_000 - id) * 60 + ahead))
    });
    assert_eq!(Log::of(rows).find(LogKind::Events, Mark::Time(NOW - 4_800 * 60)), 4_199);
}

#[test]
fn a_busy_log_does_not_hold_up_the_search() {
    struct Busy(i64);
    impl Probe for Busy {
        async fn page_after(&mut self, after: i64, _: Extent) -> Result<ProbeAnswer, ApiError> {
            self.0 += 1;
            let id = if after >= 1000 + self.0 { return Ok(ProbeAnswer::Empty) } else { after.max(1000) + 1 };
            Ok(ProbeAnswer::Rows(vec![ProbeRow { id, time: Some(self.0) }]))
        }

        async fn newest(&mut self) -> Result<ProbeAnswer, ApiError> {
            Ok(ProbeAnswer::Rows(vec![ProbeRow { id: 1000 + self.0, time: None }]))
        }

        async fn pause_for_overlap(&mut self) -> Result<bool, ApiError> {
            Ok(true)
        }

        fn now(&self) -> i64 {
            NOW
        }
    }
    let mut busy = Busy(0);
    assert!(block_on(find(&mut busy, LogKind::WebApi, Mark::Now)) > 1000);
    assert!(busy.0 <= i64::from(MOST_REQUESTS), "{}", busy.0);
}

#[test]
fn the_newest_id_is_found_from_any_known_id() {
    for kind in LogKind::ALL {
        for from in [0, 1, 4_998, 4_999] {
            let mut log = Log { ignores_order: true, ..Log::of(steady(5_000)) };
            assert_eq!(block_on(newest_id(&mut log, kind, from)), Some(5_000), "{kind} from {from}");
        }
        for from in [5_000, 1 << 40] {
            let mut log = Log::of(steady(5_000));
            assert_eq!(block_on(newest_id(&mut log, kind, from)), None, "{kind} from {from}");
            assert!(log.requests <= 4);
        }
    }
}

/// A server that refuses ids that no row has leaves nothing but pages to go on from.
#[test]
fn ids_that_are_refused_move_the_origin_no_later() {
    for kind in LogKind::ALL {
        let rows: Vec<_> = (1..=900).map(|id| (id * 7, Some(NOW - 900 + id))).collect();
        let mut log = Log { refuses_gaps: true, ..Log::of(rows.clone()) };
        assert_eq!(log.find(kind, Mark::Time(NOW - 100)), 799 * 7, "{kind}");
        // Retention takes what is old, and what was registered with an old time, out of the middle
        // too.
        let kept = rows.iter().copied().filter(|(id, _)| *id > 1_000 && !(3_000..3_900).contains(id));
        let mut log = Log { refuses_gaps: true, ..Log::of(kept) };
        assert_eq!(log.find(kind, Mark::Time(NOW - 100)), 799 * 7, "{kind}");
        assert!(log.requests <= MOST_REQUESTS);
    }
}

fn is_old(mark: Mark, time: i64) -> bool {
    match mark {
        Mark::Now => true,
        Mark::Time(mark) => time < mark,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Ties, gaps, empty logs, ids past 2^31, a server that ignores the order, refuses large ids or
    /// caps pages.
    #[test]
    fn equals_brute_force(
        gaps in prop::collection::vec((1i64..50, 0i64..3), 0..600),
        first in prop_oneof![0i64..5, 3_000_000_000i64..3_000_000_100, Just(1i64 << 51)],
        scale in prop_oneof![Just(1i64), Just(1_000_003), Just(1 << 30)],
        mark in prop_oneof![Just(Mark::Now), (0i64..800).prop_map(Mark::Time)],
        page in prop_oneof![Just(100usize), 3usize..30],
        ignores_order in any::<bool>(),
        tight in any::<bool>(),
        kind in prop::sample::select(LogKind::ALL.to_vec()),
    ) {
        let mut rows = Vec::new();
        let (mut id, mut time) = (first, 0);
        for (gap, later) in gaps {
            id += gap * scale;
            time += later;
            rows.push((id, Some(time)));
        }
        let last = rows.last().map_or(0, |(id, _)| *id);
        let old = rows.iter().rfind(|(_, time)| is_old(mark, time.unwrap()));
        let expected = old.map_or(0, |(id, _)| *id);
        let largest_parameter = if tight { last } else { i64::MAX };
        let mut log = Log { ignores_order, largest_parameter, page, ..Log::of(rows) };
        prop_assert_eq!(log.find(kind, mark), expected);
        prop_assert!(log.requests <= MOST_REQUESTS, "{} requests", log.requests);
    }

    /// No event that was registered in time and has a time of its own is lost, whatever batches lie
    /// around it: of up to 8 pages anywhere, and larger ones where at least as many rows lie
    /// between them.
    #[test]
    fn batches_move_the_origin_no_later(
        gaps in prop::collection::vec(1i64..50, 3000),
        old_batches in prop::collection::vec((0usize..3000, 1usize..700, 1i64..100_000), 0..3),
        ahead in prop::collection::vec((0usize..3000, 1usize..300, 1i64..1_000_000), 0..3),
        large in prop::option::of((0usize..1000, 900usize..1400)),
        late_every in prop_oneof![Just(usize::MAX), 2usize..20],
        mark in 0usize..3000,
        first in prop_oneof![Just(1i64), Just(3_000_000_000)],
    ) {
        let mut id = first;
        let mut times = Vec::new();
        for (index, gap) in gaps.iter().enumerate() {
            id += gap;
            let time = NOW - 30_000 + 10 * i64::try_from(index).unwrap();
            times.push((id, time, time));
        }
        let mark = times[mark].1;
        let mut total = 0;
        for (from, length, late) in &old_batches {
            // Two that touch are one.
            total += length;
            if total <= 700 {
                times.iter_mut().skip(*from).take(*length).for_each(|row| row.2 = row.1 - late);
            }
        }
        if let (Some((from, length)), true) = (large, old_batches.is_empty()) {
            let boundary = times.partition_point(|row| row.1 < mark);
            times.iter_mut().skip(boundary + length + from).take(length).for_each(|row| row.2 = 1);
        }
        for (from, length, early) in ahead {
            times.iter_mut().skip(from).take(length).for_each(|row| row.2 = row.2.max(row.1 + early));
        }
        for row in times.iter_mut().skip(late_every).step_by(late_every) {
            row.2 -= 50_000;
        }
        // A time in the future says nothing.
        let kept = times.iter().find(|row| (mark..=NOW).contains(&row.2) && row.1 >= mark);
        let mut log = Log::of(times.iter().map(|(id, _, time)| (*id, Some(*time))));
        let origin = log.find(LogKind::Events, Mark::Time(mark));
        if let Some((id, ..)) = kept {
            prop_assert!(origin < *id, "{origin} is not before {id}");
        }
        prop_assert!(log.requests <= MOST_REQUESTS, "{} requests", log.requests);
    }
}

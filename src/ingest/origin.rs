//! Where counting starts: one search that serves the three logs with documented parameters only.

use crate::cryptolens::LogKind;

/// The first row after an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its id.
    pub id: i64,
    /// Its time in Unix seconds, or, where it has none, that of the row after it.
    pub time: Option<i64>,
}

/// What is after an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A row.
    Row(Head),
    /// Nothing: an explicit empty list.
    Nothing,
    /// The API takes no such id ("the input parameters were incorrect").
    Refused,
}

/// Asks the log. Errors other than [`Found::Refused`] are retried inside; what is left is a reason to give up.
pub(super) trait Probe {
    /// Why it gave up.
    type Error;

    /// The first row with an id above `after`; 0 asks from the beginning.
    fn first_after(&mut self, after: i64) -> impl Future<Output = Result<Found, Self::Error>> + Send;

    /// The row that the server says is the newest; the caller makes sure.
    fn newest(&mut self) -> impl Future<Output = Result<Found, Self::Error>> + Send;
}

/// What counts as old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Every row that is there.
    Now,
    /// Rows with a time below this, in Unix seconds.
    Time(i64),
}

impl Mark {
    /// A row without any time is not old: better to count too much than to lose it.
    fn is_before(self, head: Head) -> bool {
        match self {
            Mark::Now => true,
            Mark::Time(mark) => head.time.is_some_and(|time| time < mark),
        }
    }
}

const FIRST_STEP: i64 = 1024;

/// A busy log gets new rows for as long as one looks; those of the last moments count, then.
const MOST_CONFIRMATIONS: u32 = 16;

/// The id at or below which rows are old: 0 if none is. At most about 130 requests.
///
/// # Errors
/// The probe's own.
pub(super) async fn find<P: Probe + Send>(probe: &mut P, log: LogKind, mark: Mark) -> Result<i64, P::Error> {
    let mut lo = None;
    if log == LogKind::WebApi
        && mark == Mark::Now
        && let Found::Row(newest) = probe.newest().await?
    {
        if probe.first_after(newest.id).await? == Found::Nothing {
            return Ok(newest.id);
        }
        // The server ignored the order, or a row came in between.
        lo = Some(newest);
    }
    let lo = match lo {
        Some(lo) => lo,
        None => match oldest(probe).await? {
            Some(oldest) if mark.is_before(oldest) => oldest,
            _ => return Ok(0),
        },
    };
    let (lo, hi) = gallop(probe, mark, lo.id).await?;
    let lo = bisect(probe, mark, lo, hi).await?;
    confirm(probe, mark, lo).await
}

/// An empty log is believed only when told twice.
async fn oldest<P: Probe>(probe: &mut P) -> Result<Option<Head>, P::Error> {
    for _ in 0..2 {
        if let Found::Row(head) = probe.first_after(0).await? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Doubles its steps until a row is not old, or there is none.
async fn gallop<P: Probe>(probe: &mut P, mark: Mark, mut lo: i64) -> Result<(i64, i64), P::Error> {
    let mut step = FIRST_STEP;
    loop {
        let x = lo.saturating_add(step);
        match probe.first_after(x).await? {
            Found::Row(head) if mark.is_before(head) && head.id > lo => lo = head.id,
            _ => return Ok((lo, x)),
        }
        step = step.saturating_mul(2);
    }
}

/// Narrows down the last old row between `lo` (old) and `hi` (nothing old after it).
async fn bisect<P: Probe>(probe: &mut P, mark: Mark, mut lo: i64, mut hi: i64) -> Result<i64, P::Error> {
    while hi.saturating_sub(lo) > 1 {
        let middle = lo + (hi - lo) / 2;
        match probe.first_after(middle).await? {
            Found::Row(head) if mark.is_before(head) && head.id > lo => lo = head.id,
            _ => hi = middle,
        }
    }
    Ok(lo)
}

async fn confirm<P: Probe>(probe: &mut P, mark: Mark, mut lo: i64) -> Result<i64, P::Error> {
    for _ in 0..MOST_CONFIRMATIONS {
        match probe.first_after(lo).await? {
            Found::Row(head) if mark.is_before(head) && head.id > lo => lo = head.id,
            _ => break,
        }
    }
    Ok(lo)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    struct Log {
        rows: Vec<(i64, Option<i64>)>,
        requests: u32,
        ignores_order: bool,
        largest_parameter: i64,
    }

    impl Log {
        fn of(rows: Vec<(i64, Option<i64>)>) -> Log {
            Log { rows, requests: 0, ignores_order: false, largest_parameter: i64::MAX }
        }

        fn found(&self, at: usize) -> Found {
            self.rows.get(at).map_or(Found::Nothing, |(id, time)| {
                let time = time.or_else(|| self.rows.get(at + 1).and_then(|(_, time)| *time));
                Found::Row(Head { id: *id, time })
            })
        }
    }

    impl Probe for Log {
        type Error = Infallible;

        async fn first_after(&mut self, after: i64) -> Result<Found, Infallible> {
            self.requests += 1;
            if after > self.largest_parameter {
                return Ok(Found::Refused);
            }
            Ok(self.found(self.rows.partition_point(|(id, _)| *id <= after)))
        }

        async fn newest(&mut self) -> Result<Found, Infallible> {
            self.requests += 1;
            let last = self.rows.len().wrapping_sub(1);
            Ok(self.found(if self.ignores_order { 0 } else { last }))
        }
    }

    fn search(log: &mut Log, kind: LogKind, mark: Mark) -> i64 {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(find(log, kind, mark))
            .unwrap()
    }

    #[test]
    fn an_empty_log_is_told_twice() {
        let mut log = Log::of(Vec::new());
        assert_eq!(search(&mut log, LogKind::Events, Mark::Now), 0);
        assert_eq!(log.requests, 2);
    }

    #[test]
    fn now_takes_two_requests_where_the_order_is_honoured() {
        let mut log = Log::of(vec![(5, Some(1)), (1 << 40, Some(2))]);
        assert_eq!(search(&mut log, LogKind::WebApi, Mark::Now), 1 << 40);
        assert_eq!(log.requests, 2);
    }

    #[test]
    fn a_row_without_time_is_judged_by_the_next() {
        let rows = vec![(1, Some(10)), (2, None), (3, Some(12)), (4, None), (5, Some(30)), (6, None)];
        assert_eq!(search(&mut Log::of(rows.clone()), LogKind::Events, Mark::Time(20)), 3);
        assert_eq!(search(&mut Log::of(rows), LogKind::Events, Mark::Time(99)), 5);
    }

    #[test]
    fn a_long_log_takes_few_requests() {
        for mark in [1, 50_000, 99_999] {
            let mut log = Log::of((1..=100_000).map(|id| (id * 3, Some(id))).collect());
            assert_eq!(search(&mut log, LogKind::Events, Mark::Time(mark)), (mark - 1) * 3);
            assert!(log.requests <= 60, "{} requests", log.requests);
        }
    }

    #[test]
    fn a_busy_log_does_not_hold_up_the_search() {
        struct Busy(i64);
        impl Probe for Busy {
            type Error = Infallible;

            async fn first_after(&mut self, after: i64) -> Result<Found, Infallible> {
                self.0 += 1;
                let id = if after >= 1000 + self.0 { return Ok(Found::Nothing) } else { after.max(1000) + 1 };
                Ok(Found::Row(Head { id, time: Some(self.0) }))
            }

            async fn newest(&mut self) -> Result<Found, Infallible> {
                Ok(Found::Row(Head { id: 1000 + self.0, time: None }))
            }
        }
        let mut busy = Busy(0);
        let find = find(&mut busy, LogKind::WebApi, Mark::Now);
        let origin = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(find).unwrap();
        assert!(origin > 1000 && busy.0 < 130);
    }

    proptest! {
        /// Ties, gaps, empty logs, ids past 2^31, a server that ignores the order or refuses large ids.
        #[test]
        fn equals_brute_force(
            gaps in prop::collection::vec((1i64..50, 0i64..3), 0..60),
            first in prop_oneof![0i64..5, 3_000_000_000i64..3_000_000_100, Just(i64::MAX / 4)],
            scale in prop_oneof![Just(1i64), Just(1_000_003), Just(1 << 40)],
            mark in prop_oneof![Just(Mark::Now), (0i64..80).prop_map(Mark::Time)],
            ignores_order in any::<bool>(),
            tight in any::<bool>(),
            kind in prop_oneof![Just(LogKind::WebApi), Just(LogKind::Events)],
        ) {
            let mut rows = Vec::new();
            let (mut id, mut time) = (first, 0);
            for (gap, later) in gaps {
                id += gap * scale;
                time += later;
                rows.push((id, Some(time)));
            }
            let last = rows.last().map_or(0, |(id, _)| *id);
            let largest_parameter = if tight { last } else { i64::MAX };
            let mut old = rows.iter().filter(|(_, time)| match mark {
                Mark::Now => true,
                Mark::Time(mark) => time.is_some_and(|time| time < mark),
            });
            let expected = old.next_back().map_or(0, |(id, _)| *id);
            let mut log = Log { rows, requests: 0, ignores_order, largest_parameter };
            prop_assert_eq!(search(&mut log, kind, mark), expected);
            prop_assert!(log.requests <= 130, "{} requests", log.requests);
        }
    }
}

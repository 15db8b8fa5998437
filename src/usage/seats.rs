//! Floating seats in use, from the rows of the Web API Log, in memory only.
//!
//! A seat is the row with the highest time and id of a product, license key and machine: an
//! activation or a heartbeat takes it until its lease ends, a deactivation gives it back. Rows may
//! arrive in any order and more than once. A row is kept until its lease has ended and the longest
//! lease that is known has passed since its time: until then a row that comes later and happened
//! earlier could still be in force, and must not take a seat that was given back.
//!
//! Promises: seats are judged at the start of the last complete poll, so that an outage of the API
//! does not empty them. They are unknown rather than too few: until the rows before the start are
//! read, beyond [`MOST_SEATS`], and when the last poll is too long ago. Nothing identifies a key or
//! a machine: rows bring hashes, which are hashed once more with a random secret of the process.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use secrecy::ExposeSecret as _;
use siphasher::sip::SipHasher24;

use crate::cryptolens::{HashedKind, IdentityHash, IdentityHasher, WebApiRow, state_code};
use crate::ingest::{NamedLicense, SeatKeeper};
use crate::tally::{AccountTally, families};

/// The most rows that are kept for one account, some 8 MB.
const MOST_SEATS: usize = 100_000;
/// Seats are shown for this long after the last complete poll, or for two intervals if they are
/// longer.
const SHOWN_FOR: Duration = Duration::from_secs(5 * 60);

/// The longest lease that an account may have, in seconds, if no lease is known, or none above a
/// day is.
const A_DAY: i64 = 86_400;
/// The same if longer ones were counted.
const A_MONTH: i64 = 31 * A_DAY;

/// The longest lease that was ever counted, in seconds, or somewhat more: the end of the bucket
/// that it is in. Without any it may be a day, and beyond the last bucket a month.
pub fn longest_lease(tally: &AccountTally) -> i64 {
    let bounds = families::LEASE.bounds();
    let mut longest: Option<f64> = None;
    for (_, leases) in tally.lease.iter() {
        let in_buckets: u64 = leases.buckets.iter().sum();
        if leases.count > in_buckets {
            return A_MONTH;
        }
        let seen = bounds.iter().zip(leases.buckets).filter(|(_, count)| *count > 0);
        let last = seen.map(|(bound, _)| *bound).next_back();
        longest = longest.into_iter().chain(last).reduce(f64::max);
    }
    // All bounds are whole numbers of up to a day.
    #[allow(clippy::cast_possible_truncation)]
    let seconds = longest.map_or(A_DAY, |bound| bound as i64);
    seconds
}

/// The seats of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeatCount {
    /// Seats in use, those of the overdraft included.
    pub used: u64,
    /// Those of the overdraft.
    pub overdraft: u64,
}

/// The seats of a named license.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenseInUse {
    /// The value of the label `license`.
    pub name: Arc<str>,
    /// Its product.
    pub product_id: i64,
    /// Seats in use.
    pub used: u64,
    /// The number of seats that it allows; `None` if they are not limited, or not known.
    pub limit: Option<u64>,
}

/// The seats of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeatsInUse {
    /// By product: those of which this process has seen seats.
    pub products: BTreeMap<i64, SeatCount>,
    /// The named licenses.
    pub licenses: Vec<LicenseInUse>,
}

/// The newest row of a seat.
#[derive(Debug, Clone, Copy)]
struct NewestRow {
    time: i64,
    id: i64,
    /// The end of the lease; the time of the row if it gives the seat back.
    held_until: i64,
    product_id: i64,
    /// Stands for the product and the license key.
    license: u64,
    is_overdraft: bool,
}

/// From this time on a row can be forgotten.
const fn kept_until(time: i64, held_until: i64, longest_lease: i64) -> i64 {
    let late = time.saturating_add(longest_lease);
    if held_until > late { held_until } else { late }
}

/// Knowledge of the leases that were taken before this process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EarlierLeases {
    Unknown,
    /// There are too many rows. From this time on none of them is in force any more.
    OverAt(i64),
    Known,
}

struct SeatsState {
    licenses: Vec<NamedLicense>,
    interval: Duration,
    rows: HashMap<u64, NewestRow, RandomState>,
    products: BTreeSet<i64>,
    /// The longest lease of a row.
    longest_seen: i64,
    /// The longest lease that earlier processes may have seen.
    longest_expected: i64,
    earlier: EarlierLeases,
    is_overfull: bool,
    /// Rows were forgotten as of this time.
    pruned_at: i64,
    /// When the last complete poll began, and when it was complete.
    last_poll: Option<(i64, Instant)>,
    judged: Option<SeatsInUse>,
    limits: BTreeMap<Arc<str>, u64>,
}

/// The floating seats of one account. Shared between its poller and those who show them.
pub struct FloatingSeats {
    account: Arc<str>,
    hasher: Arc<dyn IdentityHasher>,
    secret: [u8; 16],
    state: Mutex<SeatsState>,
}

impl fmt::Debug for FloatingSeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloatingSeats").field("account", &self.account).finish_non_exhaustive()
    }
}

impl FloatingSeats {
    /// Nothing is known yet. `hasher` is the one that hashes the rows.
    pub fn new(account: Arc<str>, hasher: Arc<dyn IdentityHasher>) -> FloatingSeats {
        let state = SeatsState {
            licenses: Vec::new(),
            interval: Duration::ZERO,
            rows: HashMap::default(),
            products: BTreeSet::new(),
            longest_seen: 0,
            longest_expected: 0,
            earlier: EarlierLeases::Unknown,
            is_overfull: false,
            pruned_at: i64::MIN,
            last_poll: None,
            judged: None,
            limits: BTreeMap::new(),
        };
        FloatingSeats { account, hasher, secret: rand::random(), state: Mutex::new(state) }
    }

    /// Takes the named licenses and the interval of polls. New licenses are shown from the next
    /// complete poll on.
    pub fn configure(&self, licenses: Vec<NamedLicense>, interval: Duration) {
        let mut state = self.state();
        let kept: BTreeSet<Arc<str>> = licenses
            .iter()
            .filter(|license| state.licenses.contains(license))
            .map(|license| Arc::clone(&license.name))
            .collect();
        state.limits.retain(|name, _| kept.contains(name));
        (state.licenses, state.interval) = (licenses, interval);
    }

    /// Earlier processes may have seen leases of up to so many seconds.
    pub fn expect_lease(&self, seconds: i64) {
        let mut state = self.state();
        state.longest_expected = state.longest_expected.max(seconds);
    }

    /// The seats as of the last complete poll; `None` if they are not known at `now`.
    pub fn in_use(&self, now: Instant) -> Option<SeatsInUse> {
        let state = self.state();
        let (_, complete) = state.last_poll?;
        let shown_for = SHOWN_FOR.max(state.interval.saturating_mul(2));
        if now.saturating_duration_since(complete) > shown_for {
            return None;
        }
        let mut judged = state.judged.clone()?;
        for license in &mut judged.licenses {
            license.limit = state.limits.get(&license.name).copied();
        }
        Some(judged)
    }

    fn state(&self) -> MutexGuard<'_, SeatsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, parts: &[u64]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        parts.iter().for_each(|part| hasher.write_u64(*part));
        hasher.finish()
    }

    fn license(&self, product_id: i64, key: IdentityHash) -> u64 {
        self.hash(&[product_id.cast_unsigned(), key.get()])
    }

    /// The seat of a row and what the row says about it; `None` for rows that say nothing, or can be
    /// forgotten at `now`.
    fn read(&self, row: &WebApiRow, longest_lease: i64, now: i64) -> Option<(u64, NewestRow)> {
        let (key, machine, time) = (row.license_key?, row.machine?, row.time?);
        let held_until = match row.state? {
            state_code::SEAT_TAKEN | state_code::SEAT_OVERDRAFT => time + row.lease_seconds()?,
            state_code::SEAT_RETURNED => time,
            _ => return None,
        };
        // Before anything is hashed: of a backlog, nearly all rows are over.
        if kept_until(time, held_until, longest_lease) <= now {
            return None;
        }
        let license = self.license(row.product_id, key);
        let newest = NewestRow {
            time,
            id: row.id,
            held_until,
            product_id: row.product_id,
            license,
            is_overdraft: row.state == Some(state_code::SEAT_OVERDRAFT),
        };
        Some((self.hash(&[license, machine.get()]), newest))
    }

    /// Counts the seats as of the start of the last complete poll, if enough is known.
    fn judge(&self, state: &mut SeatsState) {
        let Some((at, _)) = state.last_poll else { return };
        if let EarlierLeases::OverAt(time) = state.earlier
            && at >= time
        {
            state.earlier = EarlierLeases::Known;
        }
        if state.is_overfull || state.earlier != EarlierLeases::Known {
            state.judged = None;
            return;
        }
        let nobody = state.products.iter().map(|product| (*product, SeatCount::default()));
        let mut products: BTreeMap<i64, SeatCount> = nobody.collect();
        let license = |license: &NamedLicense| {
            let key = self.hasher.hash(HashedKind::LicenseKey, license.key.expose_secret());
            key.map(|key| self.license(license.product_id, key))
        };
        let named: Vec<Option<u64>> = state.licenses.iter().map(license).collect();
        let mut used = vec![0_u64; named.len()];
        for row in state.rows.values().filter(|row| row.held_until > at) {
            let product = products.entry(row.product_id).or_default();
            product.used += 1;
            product.overdraft += u64::from(row.is_overdraft);
            for (used, license) in used.iter_mut().zip(&named) {
                *used += u64::from(*license == Some(row.license));
            }
        }
        let licenses = state.licenses.iter().zip(used).map(|(license, used)| LicenseInUse {
            name: Arc::clone(&license.name),
            product_id: license.product_id,
            used,
            limit: None,
        });
        state.judged = Some(SeatsInUse { products, licenses: licenses.collect() });
    }
}

impl SeatsState {
    const fn longest_lease(&self) -> i64 {
        if self.longest_seen > self.longest_expected { self.longest_seen } else { self.longest_expected }
    }

    /// Forgets the rows that do not matter any more.
    fn prune(&mut self, now: i64) {
        let longest = self.longest_lease();
        self.rows.retain(|_, row| kept_until(row.time, row.held_until, longest) > now);
        self.pruned_at = self.pruned_at.max(now);
    }

    fn take(&mut self, seat: u64, row: NewestRow) {
        match self.rows.entry(seat) {
            Entry::Vacant(vacant) => {
                vacant.insert(row);
                self.products.insert(row.product_id);
            }
            Entry::Occupied(mut known) => {
                if (row.time, row.id) > (known.get().time, known.get().id) {
                    known.insert(row);
                }
            }
        }
    }
}

impl SeatKeeper for FloatingSeats {
    fn rows(&self, rows: &[WebApiRow], now: i64) {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.is_overfull {
            return;
        }
        let lease = rows.iter().filter_map(WebApiRow::lease_seconds).max().unwrap_or_default();
        state.longest_seen = state.longest_seen.max(lease);
        let longest = state.longest_lease();
        for row in rows {
            let Some((seat, row)) = self.read(row, longest, now) else { continue };
            state.take(seat, row);
            if state.rows.len() <= MOST_SEATS {
                continue;
            }
            // Once for each poll: it looks at every row.
            if state.pruned_at < now {
                state.prune(now);
            }
            if state.rows.len() > MOST_SEATS {
                state.is_overfull = true;
                (state.rows, state.judged) = (HashMap::default(), None);
                tracing::error!(
                    account = %self.account,
                    most = MOST_SEATS,
                    "more machines hold floating seats than are kept: floating seats are not shown any more; turn usage.seats off"
                );
                return;
            }
        }
    }

    fn poll_complete(&self, began: i64) {
        let mut state = self.state();
        state.prune(began);
        state.last_poll = Some((began, Instant::now()));
        self.judge(&mut state);
    }

    fn longest_lease(&self) -> i64 {
        self.state().longest_lease()
    }

    fn read_back(&self, began: i64, is_whole: bool) {
        let mut state = self.state();
        // The expected lease is a bound, and may be far above the real one.
        let lease = if state.longest_seen > 0 { state.longest_seen } else { state.longest_expected };
        state.earlier = match is_whole {
            true => EarlierLeases::Known,
            false => EarlierLeases::OverAt(began.saturating_add(lease)),
        };
        self.judge(&mut state);
    }

    fn is_read_back(&self) -> bool {
        self.state().earlier != EarlierLeases::Unknown
    }

    fn limit(&self, license: &NamedLicense, seats: Option<u64>) {
        let mut state = self.state();
        // The configuration may have changed meanwhile.
        if !state.licenses.contains(license) {
            return;
        }
        match seats {
            Some(seats) => state.limits.insert(Arc::clone(&license.name), seats),
            None => state.limits.remove(&license.name),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::usage::{UsageHasher, UsageSecret};

    const NOON: i64 = 1_700_000_000;
    const HOUR: i64 = 3600;

    /// A hasher whose secret is always the same: with another one for each run, two of the 100,000
    /// machines of a test share a hash of 40 bits in 1 of 220 runs.
    fn hasher() -> Arc<UsageHasher> {
        let hasher = UsageHasher::default();
        hasher.secret_or(UsageSecret::from_bytes([1; 16]));
        Arc::new(hasher)
    }

    fn seats() -> (FloatingSeats, Arc<UsageHasher>) {
        let hasher = hasher();
        (FloatingSeats::new("default".into(), Arc::clone(&hasher) as _), hasher)
    }

    fn row(
        hasher: &UsageHasher,
        (id, time): (i64, i64),
        state: i64,
        lease: i64,
        who: (&str, &str),
    ) -> WebApiRow {
        let lease = (state != state_code::SEAT_RETURNED).then_some(time + lease);
        WebApiRow {
            id,
            product_id: 7,
            time: Some(time),
            state: Some(state),
            floating_expires: lease,
            license_key: hasher.hash(HashedKind::LicenseKey, who.0),
            machine: hasher.hash(HashedKind::Machine, who.1),
            ..WebApiRow::default()
        }
    }

    fn used(seats: &FloatingSeats) -> Option<u64> {
        let in_use = seats.in_use(Instant::now())?;
        Some(in_use.products.values().map(|product| product.used).sum())
    }

    #[test]
    fn a_seat_is_held_until_its_lease_ends_or_it_is_given_back() {
        let (seats, hasher) = seats();
        seats.read_back(NOON, true);
        assert_eq!(seats.in_use(Instant::now()), None, "no poll is complete");
        let rows = [
            row(&hasher, (1, NOON), 2014, 600, ("A", "one")),
            row(&hasher, (2, NOON + 10), 2014, 600, ("A", "two")),
            row(&hasher, (3, NOON + 10), 2015, 600, ("B", "one")),
            row(&hasher, (4, NOON + 20), 6011, 0, ("A", "two")),
            // The same machine, as the vendor writes it in lists.
            row(&hasher, (5, NOON + 30), 2014, 600, ("A", "floating:ONE")),
            row(&hasher, (6, NOON + 30), 2024, 600, ("A", "refused")),
            WebApiRow { license_key: None, ..row(&hasher, (7, NOON), 2014, 600, ("A", "x")) },
            WebApiRow { floating_expires: None, ..row(&hasher, (8, NOON), 2014, 600, ("A", "y")) },
        ];
        let expected = |used, overdraft| BTreeMap::from([(7, SeatCount { used, overdraft })]);
        for rows in [rows.to_vec(), rows.iter().rev().cloned().collect()] {
            seats.rows(&rows, NOON);
            seats.poll_complete(NOON + 60);
            assert_eq!(seats.in_use(Instant::now()).unwrap().products, expected(2, 1));
        }
        seats.poll_complete(NOON + 610);
        assert_eq!(seats.in_use(Instant::now()).unwrap().products, expected(1, 0), "until 630");
        seats.poll_complete(NOON + 630);
        assert_eq!(seats.in_use(Instant::now()).unwrap().products, expected(0, 0), "a known product shows 0");
    }

    /// Kept to the end of their leases only, these would count a seat.
    #[test]
    fn a_seat_given_back_is_not_taken_again_by_a_late_row() {
        let (seats, hasher) = seats();
        seats.read_back(NOON, true);
        seats.rows(&[row(&hasher, (2, NOON + 60), 6011, 0, ("A", "one"))], NOON);
        seats.expect_lease(2 * HOUR);
        seats.poll_complete(NOON + HOUR);
        seats.rows(&[row(&hasher, (1, NOON), 2014, 2 * HOUR, ("A", "one"))], NOON + HOUR);
        seats.poll_complete(NOON + HOUR + 60);
        assert_eq!(used(&seats), Some(0));
        // A shorter lease after a longer one.
        seats.rows(&[row(&hasher, (4, NOON + HOUR + 10), 2014, 60, ("A", "two"))], NOON + HOUR);
        seats.poll_complete(NOON + HOUR + 90);
        seats.rows(&[row(&hasher, (3, NOON + HOUR), 2014, 2 * HOUR, ("A", "two"))], NOON + HOUR);
        seats.poll_complete(NOON + HOUR + 120);
        assert_eq!(used(&seats), Some(0));
    }

    #[test]
    fn seats_are_unknown_until_the_rows_before_the_start_are_read() {
        let (seats, hasher) = seats();
        seats.rows(&[row(&hasher, (1, NOON), 2014, 600, ("A", "one"))], NOON);
        seats.poll_complete(NOON + 60);
        assert_eq!(used(&seats), None);
        assert!(!seats.is_read_back());
        seats.read_back(NOON, false);
        assert!(seats.is_read_back());
        seats.poll_complete(NOON + 599);
        assert_eq!(used(&seats), None, "too many rows: leases of before may be in force");
        seats.rows(&[row(&hasher, (2, NOON + 590), 2014, 600, ("A", "one"))], NOON + 580);
        seats.poll_complete(NOON + 600);
        assert_eq!(used(&seats), Some(1));
    }

    #[test]
    fn seats_are_unknown_some_minutes_after_the_last_poll() {
        let (seats, _) = seats();
        seats.read_back(NOON, true);
        seats.poll_complete(NOON);
        let after = |seconds| seats.in_use(Instant::now() + Duration::from_secs(seconds)).is_some();
        assert!(after(298) && !after(302));
        seats.configure(Vec::new(), Duration::from_secs(600));
        assert!(after(1198) && !after(1202), "two intervals");
    }

    #[test]
    fn beyond_the_bound_seats_are_unknown() {
        let (seats, hasher) = seats();
        seats.read_back(NOON, true);
        let many = |first: i64, count: i64, time: i64| {
            let machine = |id: i64| row(&hasher, (id, time), 2014, 600, ("A", &id.to_string()));
            (first..first + count).map(machine).collect::<Vec<_>>()
        };
        let most = i64::try_from(MOST_SEATS).unwrap();
        seats.rows(&many(0, most, NOON), NOON);
        seats.poll_complete(NOON + 1);
        assert_eq!(used(&seats), Some(100_000));
        // Those of before are over, and make room.
        seats.rows(&many(most, 10, NOON + 700), NOON + 700);
        seats.poll_complete(NOON + 701);
        assert_eq!(used(&seats), Some(10));
        seats.rows(&many(2 * most, most, NOON + 702), NOON + 702);
        seats.poll_complete(NOON + 703);
        assert_eq!(used(&seats), None);
        assert!(seats.state().rows.is_empty(), "the memory is free");
        seats.poll_complete(NOON + 9000);
        assert_eq!(used(&seats), None, "until a restart");
    }

    #[test]
    fn a_named_license_shows_its_seats_and_its_limit() {
        let (seats, hasher) = seats();
        let license = |name: &str, key: &str| NamedLicense {
            name: name.into(),
            product_id: 7,
            key: key.to_owned().into(),
        };
        let licenses = vec![license("big", "A"), license("small", "C")];
        seats.configure(licenses.clone(), Duration::from_secs(15));
        seats.read_back(NOON, true);
        seats.rows(
            &[
                row(&hasher, (1, NOON), 2014, 600, ("A", "one")),
                row(&hasher, (2, NOON), 2014, 600, ("A", "two")),
                row(&hasher, (3, NOON), 2014, 600, ("B", "one")),
                WebApiRow { product_id: 8, ..row(&hasher, (4, NOON), 2014, 600, ("A", "one")) },
            ],
            NOON,
        );
        seats.poll_complete(NOON + 1);
        seats.limit(&license("big", "A"), Some(5));
        seats.limit(&license("big", "another key"), Some(9));
        let shown = || {
            let licenses = seats.in_use(Instant::now()).unwrap().licenses;
            licenses
                .iter()
                .map(|license| (license.name.to_string(), license.used, license.limit))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(), [("big".to_owned(), 2, Some(5)), ("small".to_owned(), 0, None)]);
        seats.limit(&licenses[0], None);
        assert_eq!(shown()[0].2, None);
        seats.limit(&licenses[0], Some(5));
        seats.configure(vec![license("big", "B")], Duration::from_secs(15));
        seats.poll_complete(NOON + 2);
        assert_eq!(shown(), [("big".to_owned(), 1, None)], "another key has another limit");
        let debug = format!("{seats:?} {licenses:?}");
        assert!(!debug.contains("\"A\""), "{debug}");
    }

    #[test]
    fn the_longest_lease_is_the_end_of_its_bucket() {
        use crate::tally::{Limits, Products, RowCounter, TallyDelta};
        let hasher = hasher();
        let of = |leases: &[i64]| {
            let rows =
                leases.iter().map(|lease| row(&hasher, (1, NOON), 2014, *lease, ("A", "one"))).collect();
            let (mut tally, mut delta) = (AccountTally::default(), TallyDelta::default());
            let mut counter = RowCounter {
                committed: &tally,
                delta: &mut delta,
                products: &mut Products::default(),
                new_products: &mut Vec::new(),
                limits: &Limits::default(),
            };
            counter.count(&crate::cryptolens::Rows::WebApi(rows), NOON, &mut []);
            tally.apply(&delta, |_| crate::metrics::BirthTime::UNKNOWN);
            longest_lease(&tally)
        };
        assert_eq!(of(&[]), A_DAY);
        assert_eq!(of(&[250, 300, 60]), 300);
        assert_eq!(of(&[301]), 600);
        assert_eq!(of(&[60, A_DAY]), A_DAY);
        assert_eq!(of(&[60, A_DAY + 1]), A_MONTH);
    }

    /// A row of a random log, and when it can be read.
    #[derive(Debug, Clone)]
    struct LateRow {
        row: (i64, i64, i64, u8),
        visible: i64,
    }

    /// Leases of the licenses; a license has always the same.
    const LEASES: [i64; 3] = [300, HOUR, 2 * HOUR];

    fn late_rows() -> impl Strategy<Value = Vec<LateRow>> {
        let one = (0..8 * HOUR, 0..5_i64, 0_u8..9, prop_oneof![2 => 0..60_i64, 1 => 0..2 * HOUR]);
        prop::collection::vec(one, 1..80).prop_map(|rows| {
            let mut late: Vec<LateRow> = rows
                .into_iter()
                .enumerate()
                .map(|(id, (time, kind, machine, late))| LateRow {
                    row: (
                        i64::try_from(id).unwrap(),
                        NOON + time,
                        if kind == 0 { 6011 } else { 2014 },
                        machine,
                    ),
                    visible: NOON + time + late,
                })
                .collect();
            late.sort_by_key(|row| row.visible);
            late
        })
    }

    fn real(hasher: &UsageHasher, LateRow { row: (id, time, state, machine), .. }: &LateRow) -> WebApiRow {
        let (key, machine) = (usize::from(machine % 3), machine.to_string());
        row(hasher, (*id, *time), *state, LEASES[key], (&key.to_string(), &machine))
    }

    /// The seats at a time, by all rows that are visible then.
    fn truth(rows: &[LateRow], at: i64) -> u64 {
        let mut newest: BTreeMap<u8, (i64, i64, i64)> = BTreeMap::new();
        for LateRow { row: (id, time, state, machine), .. } in rows.iter().filter(|row| row.visible <= at) {
            let until = if *state == 6011 { *time } else { time + LEASES[usize::from(machine % 3)] };
            let row = (*time, *id, until);
            let known = newest.entry(*machine).or_insert(row);
            *known = row.max(*known);
        }
        u64::try_from(newest.values().filter(|(.., until)| *until > at).count()).unwrap()
    }

    proptest! {
        /// Rows up to two hours late and in disorder, and a process that starts in between: at each
        /// poll the seats are those of all rows that were visible.
        #[test]
        fn seats_are_those_of_all_visible_rows(
            rows in late_rows(),
            every in 60..1800_i64,
            restart in 0..8 * HOUR,
        ) {
            let (mut seats, hasher) = seats();
            seats.read_back(NOON, true);
            seats.expect_lease(2 * HOUR);
            let (mut last, mut has_restarted) = (NOON - 1, false);
            for at in (NOON..NOON + 11 * HOUR).step_by(usize::try_from(every).unwrap()) {
                if !has_restarted && at >= NOON + restart {
                    has_restarted = true;
                    // The poller goes on behind what it has counted. The rows before that are read
                    // backwards, by their ids, for one longest lease.
                    seats = FloatingSeats::new("default".into(), Arc::clone(&hasher) as _);
                    seats.expect_lease(2 * HOUR);
                    let in_reach = |row: &&LateRow| row.visible <= at && row.row.1 > at - 2 * HOUR - 60;
                    let mut back: Vec<&LateRow> = rows.iter().filter(in_reach).collect();
                    back.sort_by_key(|row| std::cmp::Reverse(row.row.0));
                    for page in back.chunks(7) {
                        let page: Vec<WebApiRow> = page.iter().map(|row| real(&hasher, row)).collect();
                        seats.rows(&page, at);
                    }
                    seats.read_back(at, true);
                }
                let mut page: Vec<&LateRow> =
                    rows.iter().filter(|row| (last + 1..=at).contains(&row.visible)).collect();
                page.sort_by_key(|row| row.row.0);
                for page in page.chunks(5) {
                    let page: Vec<WebApiRow> = page.iter().map(|row| real(&hasher, row)).collect();
                    seats.rows(&page, at);
                }
                seats.poll_complete(at);
                last = at;
                prop_assert_eq!(used(&seats), Some(truth(&rows, at)), "at {}", at - NOON);
            }
        }
    }
}

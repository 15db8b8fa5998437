//! Sets by day, and the windows of complete days that are counted.
//!
//! A day is one of UTC. `today` is the day of the first minute that is not sealed, so that all
//! windows move in the commit that seals 23:59. Sets of today and of the 30 days before are kept;
//! late rows are added to any of them. A row of a minute after midnight that arrives before that
//! commit waits in the set of its day, which is not counted yet.

use std::collections::BTreeMap;

use super::member::UsageMember;
use super::set::UsageSet;
use crate::cryptolens::{Outcome, state_code};
use crate::tally::label::ProductLabel;

/// The seconds of a day.
const SECONDS: i64 = 86_400;
/// The complete days that are kept beside today.
const KEPT_DAYS: i64 = 30;

/// A day of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDay(i64);

impl UsageDay {
    /// The day of a time in Unix seconds.
    pub const fn of(time: i64) -> UsageDay {
        UsageDay(time.div_euclid(SECONDS))
    }

    /// Its first second, in Unix seconds.
    pub const fn start(self) -> i64 {
        self.0.saturating_mul(SECONDS)
    }

    /// The day with this number, counted from 1970-01-01.
    pub const fn from_number(number: i64) -> UsageDay {
        UsageDay(number)
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day so many days before.
    pub const fn before(self, days: i64) -> UsageDay {
        UsageDay(self.0.saturating_sub(days))
    }
}

/// The kind of the members of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageSubject {
    /// License keys with a request that succeeded.
    ActiveKeys,
    /// Machines with a request that succeeded.
    ActiveMachines,
    /// License keys with a request that failed.
    FailingKeys,
    /// License keys that found no free seat.
    RefusedKeys,
}

impl UsageSubject {
    /// The sets of license keys that a row with this state belongs to.
    pub fn of_key(state: Option<i64>) -> impl Iterator<Item = UsageSubject> {
        let (_, outcome) = state_code::classify(state);
        let subjects = [
            state_code::shows_use(state).then_some(UsageSubject::ActiveKeys),
            (outcome == Outcome::Failure).then_some(UsageSubject::FailingKeys),
            (state == Some(state_code::NO_FREE_SEAT)).then_some(UsageSubject::RefusedKeys),
        ];
        subjects.into_iter().flatten()
    }

    /// The set of machines that a row with this state belongs to.
    pub fn of_machine(state: Option<i64>) -> Option<UsageSubject> {
        state_code::shows_use(state).then_some(UsageSubject::ActiveMachines)
    }
}

/// The days that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageWindow {
    /// Today so far.
    Today,
    /// The last complete day.
    LastDay,
    /// The last 7 complete days.
    Week,
    /// The last 30 complete days.
    Month,
}

impl UsageWindow {
    /// All windows.
    pub const ALL: [UsageWindow; 4] =
        [UsageWindow::Today, UsageWindow::LastDay, UsageWindow::Week, UsageWindow::Month];

    /// The value of the label `window`.
    pub const fn name(self) -> &'static str {
        match self {
            UsageWindow::Today => "today",
            UsageWindow::LastDay => "1d",
            UsageWindow::Week => "7d",
            UsageWindow::Month => "30d",
        }
    }

    /// True if it has one day.
    pub const fn is_one_day(self) -> bool {
        matches!(self, UsageWindow::Today | UsageWindow::LastDay)
    }

    /// The first and the last day, if this is `today`.
    pub const fn days(self, today: UsageDay) -> (UsageDay, UsageDay) {
        match self {
            UsageWindow::Today => (today, today),
            UsageWindow::LastDay => (today.before(1), today.before(1)),
            UsageWindow::Week => (today.before(7), today.before(1)),
            UsageWindow::Month => (today.before(KEPT_DAYS), today.before(1)),
        }
    }
}

/// The key of a set.
pub type UsageSetKey = (UsageDay, ProductLabel, UsageSubject);

/// The sets of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDays {
    /// Every row from this time on was read, in Unix seconds.
    origin: i64,
    today: UsageDay,
    sets: BTreeMap<UsageSetKey, UsageSet>,
}

impl UsageDays {
    /// No sets yet. Rows count from `origin` on, and all minutes before `sealed_until` are sealed,
    /// both in Unix seconds.
    pub const fn new(origin: i64, sealed_until: i64) -> UsageDays {
        UsageDays { origin, today: UsageDay::of(sealed_until), sets: BTreeMap::new() }
    }

    /// The days as they were written down.
    pub const fn restore(origin: i64, today: UsageDay, sets: BTreeMap<UsageSetKey, UsageSet>) -> UsageDays {
        UsageDays { origin, today, sets }
    }

    /// Every row from this time on was read, in Unix seconds.
    pub const fn origin(&self) -> i64 {
        self.origin
    }

    /// Every row from an earlier time on was read. Returns true if it was not known.
    pub fn know_from(&mut self, time: i64) -> bool {
        let is_news = time < self.origin;
        self.origin = self.origin.min(time);
        is_news
    }

    /// One set; `None` if nothing was seen.
    pub fn get(&self, key: &UsageSetKey) -> Option<&UsageSet> {
        self.sets.get(key)
    }

    /// True if a window begins at the origin or later: a part of it would look like few.
    pub const fn covers(&self, window: UsageWindow) -> bool {
        window.days(self.today).0.start() >= self.origin
    }

    /// The day that the window `today` means.
    pub const fn today(&self) -> UsageDay {
        self.today
    }

    /// Adds a member that was seen at a time, in Unix seconds. Returns true if a set changes: not
    /// for one that is known, and not for a day that is no longer kept.
    pub fn add(
        &mut self,
        time: i64,
        product: ProductLabel,
        subject: UsageSubject,
        member: UsageMember,
    ) -> bool {
        let day = UsageDay::of(time);
        day >= self.oldest_kept() && self.sets.entry((day, product, subject)).or_default().insert(member)
    }

    /// Every minute before `until` (Unix seconds) is sealed. Returns the keys of the sets that are
    /// no longer kept.
    pub fn seal(&mut self, until: i64) -> Vec<UsageSetKey> {
        self.today = self.today.max(UsageDay::of(until));
        self.forget_before(self.oldest_kept())
    }

    /// Forgets the days that would not be kept if `now` (Unix seconds) were today, although nothing was
    /// sealed since. Returns the keys of their sets; if there are any, less is known.
    pub fn expire(&mut self, now: i64) -> Vec<UsageSetKey> {
        let oldest = UsageDay::of(now).before(KEPT_DAYS);
        let gone = self.forget_before(oldest);
        if !gone.is_empty() {
            self.origin = self.origin.max(oldest.start());
        }
        gone
    }

    fn forget_before(&mut self, oldest: UsageDay) -> Vec<UsageSetKey> {
        let mut gone = Vec::new();
        while let Some(entry) = self.sets.first_entry().filter(|entry| entry.key().0 < oldest) {
            gone.push(entry.remove_entry().0);
        }
        gone
    }

    const fn oldest_kept(&self) -> UsageDay {
        self.today.before(KEPT_DAYS)
    }

    /// The members of a product in a window; `None` if the window begins before the origin.
    pub fn count(&self, product: ProductLabel, subject: UsageSubject, window: UsageWindow) -> Option<u64> {
        self.union(subject, window, |of| of == product)
    }

    /// The members of all products in a window: one that uses two products is counted once.
    pub fn count_of_account(&self, subject: UsageSubject, window: UsageWindow) -> Option<u64> {
        self.union(subject, window, |_| true)
    }

    fn union(
        &self,
        subject: UsageSubject,
        window: UsageWindow,
        is_counted: impl Fn(ProductLabel) -> bool,
    ) -> Option<u64> {
        let (first, last) = window.days(self.today);
        self.covers(window).then(|| self.size(subject, first, last, is_counted))
    }

    /// The members of some products in the days from the first to the last.
    pub(super) fn size(
        &self,
        subject: UsageSubject,
        first: UsageDay,
        last: UsageDay,
        is_counted: impl Fn(ProductLabel) -> bool,
    ) -> u64 {
        let mut union = UsageSet::default();
        for ((_, product, of), set) in self.sets_of(first, last) {
            if *of == subject && is_counted(*product) {
                union.merge(set);
            }
        }
        union.count()
    }

    /// The sets of the days from the first to the last.
    pub(super) fn sets_of(
        &self,
        first: UsageDay,
        last: UsageDay,
    ) -> impl Iterator<Item = (&UsageSetKey, &UsageSet)> {
        let least = (first, ProductLabel::Id(i64::MIN), UsageSubject::ActiveKeys);
        self.sets.range(least..).take_while(move |((day, ..), _)| *day <= last)
    }

    /// The sets with their keys, in order.
    pub fn sets(&self) -> impl Iterator<Item = (&UsageSetKey, &UsageSet)> {
        self.sets.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60;
    /// A midnight.
    const MIDNIGHT: i64 = 20_000 * SECONDS;
    const PRODUCT: ProductLabel = ProductLabel::Id(7);

    fn member(number: u64) -> UsageMember {
        UsageMember::new(number).unwrap()
    }

    fn add(days: &mut UsageDays, time: i64, number: u64) -> bool {
        days.add(time, PRODUCT, UsageSubject::ActiveKeys, member(number))
    }

    fn counts(days: &UsageDays) -> [Option<u64>; 4] {
        UsageWindow::ALL.map(|window| days.count(PRODUCT, UsageSubject::ActiveKeys, window))
    }

    #[test]
    fn all_windows_move_when_the_last_minute_of_a_day_is_sealed() {
        let mut days = UsageDays::new(0, MIDNIGHT - 5 * MINUTE);
        add(&mut days, MIDNIGHT - 10, 1);
        // At 00:00:30, before 23:59 is sealed, a row of the new day arrives.
        add(&mut days, MIDNIGHT + 30, 2);
        assert_eq!(counts(&days), [Some(1), Some(0), Some(0), Some(0)]);
        assert_eq!(days.seal(MIDNIGHT - MINUTE), []);
        assert_eq!(
            (days.today(), counts(&days)),
            (UsageDay::of(MIDNIGHT - 1), [Some(1), Some(0), Some(0), Some(0)])
        );
        // At 00:02 it is sealed.
        days.seal(MIDNIGHT);
        assert_eq!(
            (days.today(), counts(&days)),
            (UsageDay::of(MIDNIGHT), [Some(1), Some(1), Some(1), Some(1)])
        );
        // A row of yesterday that comes after that.
        assert!(add(&mut days, MIDNIGHT - 1, 3) && !add(&mut days, MIDNIGHT - 1, 3));
        assert_eq!(counts(&days), [Some(1), Some(2), Some(2), Some(2)]);
        days.seal(MIDNIGHT - MINUTE);
        assert_eq!(days.today(), UsageDay::of(MIDNIGHT), "today never goes back");
    }

    #[test]
    fn no_poll_for_three_days_moves_the_windows_by_three_days() {
        let mut days = UsageDays::new(0, MIDNIGHT);
        add(&mut days, MIDNIGHT, 1);
        days.seal(MIDNIGHT + 3 * SECONDS);
        assert_eq!(counts(&days), [Some(0), Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn a_window_is_absent_until_the_origin_covers_it() {
        let mut days = UsageDays::new(MIDNIGHT + 1, MIDNIGHT + MINUTE);
        add(&mut days, MIDNIGHT + 5, 1);
        assert_eq!(counts(&days), [None; 4]);
        for (after, known) in [(1, 1), (2, 2), (7, 2), (8, 3), (30, 3), (31, 4)] {
            days.seal(MIDNIGHT + after * SECONDS);
            let counts = counts(&days);
            let expected = std::array::from_fn(|place| (place < known).then_some(0));
            assert_eq!(counts, expected, "after {after} days");
        }
        let days = UsageDays::new(MIDNIGHT, MIDNIGHT);
        assert_eq!(
            counts(&days),
            [Some(0), None, None, None],
            "a day that begins with the origin is covered"
        );
    }

    #[test]
    fn the_sets_of_a_day_are_gone_31_days_later() {
        let mut days = UsageDays::new(0, MIDNIGHT);
        add(&mut days, MIDNIGHT, 1);
        assert_eq!(days.seal(MIDNIGHT + 30 * SECONDS), []);
        assert_eq!(counts(&days)[3], Some(1));
        let gone = days.seal(MIDNIGHT + 31 * SECONDS);
        assert_eq!(gone, [(UsageDay::of(MIDNIGHT), PRODUCT, UsageSubject::ActiveKeys)]);
        assert_eq!((days.sets().count(), counts(&days)[3]), (0, Some(0)));
        assert!(!add(&mut days, MIDNIGHT, 2), "a row of a day that is gone");
        assert_eq!(days.sets().count(), 0);
    }

    #[test]
    fn a_state_says_which_sets_a_row_belongs_to() {
        use UsageSubject::{ActiveKeys, ActiveMachines, FailingKeys, RefusedKeys};
        let subjects =
            |state| (UsageSubject::of_key(state).collect::<Vec<_>>(), UsageSubject::of_machine(state));
        assert_eq!(subjects(Some(2014)), (vec![ActiveKeys], Some(ActiveMachines)));
        assert_eq!(subjects(Some(2020)), (vec![FailingKeys], None));
        assert_eq!(subjects(Some(2024)), (vec![FailingKeys, RefusedKeys], None));
        for state in [Some(3010), Some(9010), Some(2030), None] {
            assert_eq!(subjects(state), (Vec::new(), None), "{state:?}");
        }
    }

    #[test]
    fn a_machine_that_uses_two_products_is_one_machine_of_the_account() {
        let mut days = UsageDays::new(0, MIDNIGHT);
        let machines = UsageSubject::ActiveMachines;
        for (product, number) in [(7, 1), (8, 1), (8, 2)] {
            days.add(MIDNIGHT, ProductLabel::Id(product), machines, member(number));
        }
        add(&mut days, MIDNIGHT, 9);
        assert_eq!(days.count(ProductLabel::Id(8), machines, UsageWindow::Today), Some(2));
        assert_eq!(days.count_of_account(machines, UsageWindow::Today), Some(2));
        assert_eq!(days.count(ProductLabel::Id(8), UsageSubject::RefusedKeys, UsageWindow::Today), Some(0));
    }

    proptest! {
        /// Two replicas that read the same rows in other orders, with seals in between, have the
        /// same sets.
        #[test]
        fn the_sets_do_not_depend_on_the_order_of_rows(
            rows in prop::collection::vec((-40 * SECONDS..SECONDS, 0_u64..50), 0..60),
            seals in prop::collection::vec((any::<prop::sample::Index>(), 0..6000_i64), 0..4),
        ) {
            let replica = |rows: &mut dyn Iterator<Item = &(i64, u64)>, seals: &[(usize, i64)]| {
                let mut days = UsageDays::new(0, MIDNIGHT - 6000 * MINUTE);
                for (place, (time, number)) in rows.enumerate() {
                    for (_, minutes) in seals.iter().filter(|(at, _)| *at == place) {
                        days.seal(MIDNIGHT - minutes * MINUTE);
                    }
                    add(&mut days, MIDNIGHT + time, *number);
                }
                days.seal(MIDNIGHT + SECONDS);
                days
            };
            let seals: Vec<(usize, i64)> =
                seals.iter().map(|(at, minutes)| (at.index(rows.len().max(1)), *minutes)).collect();
            let one = replica(&mut rows.iter(), &seals);
            let other = replica(&mut rows.iter().rev(), &[]);
            prop_assert_eq!(one, other);
        }
    }
}

//! Follows the counting of the Web API Log of one account, and has the counts of its windows ready.
//!
//! The count of 30 days is the size of a union of 30 sets. It would take too long to make that union
//! at each commit, so those of the windows behind today are kept, and a late row is added to them
//! too. They are made anew when the day changes. As long as nobody looks, which is so in the first
//! poll of a log, neither unions nor counts are made.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::days::{UsageDay, UsageDays, UsageSetKey, UsageSubject, UsageWindow};
use super::hasher::IgnoredKeys;
use super::member::{UsageMember, UsageSecret};
use super::set::UsageSet;
use crate::cryptolens::{EventRow, IdentityHash, LogKind, ObjectRow, WebApiRow};
use crate::tally::label::ProductLabel;
use crate::tally::{EventLabels, ObjectKey, RowObserver, WebApiLabels, filed_under};

/// A set that is counted: of one product, or of the whole account.
type CountedSet = (UsageSubject, Option<ProductLabel>);

/// The counts of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageCounts {
    /// The last complete day.
    pub last_day: UsageDay,
    /// Every row from this time on was read, in Unix seconds.
    pub origin: i64,
    /// The windows that begin at the origin or later.
    pub windows: Vec<UsageWindow>,
    counts: BTreeMap<(CountedSet, UsageWindow), u64>,
}

impl UsageCounts {
    /// The first day of the longest window.
    pub const fn oldest_day(&self) -> UsageDay {
        UsageWindow::Month.days(self.last_day.before(-1)).0
    }

    /// The products that have a count.
    pub fn products(&self) -> BTreeSet<ProductLabel> {
        self.counts.keys().filter_map(|((_, product), _)| *product).collect()
    }

    /// The members of a product; 0 where none was seen, also for a window that is not covered.
    pub fn of_product(&self, subject: UsageSubject, product: ProductLabel, window: UsageWindow) -> u64 {
        self.counts.get(&((subject, Some(product)), window)).copied().unwrap_or_default()
    }

    /// The machines of the whole account: one that uses two products is counted once.
    pub fn machines_of_account(&self, window: UsageWindow) -> u64 {
        self.counts.get(&((UsageSubject::ActiveMachines, None), window)).copied().unwrap_or_default()
    }
}

/// Changes since the last write to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageChanges {
    /// Origin and today, if one of them changed.
    pub start: Option<(i64, UsageDay)>,
    /// The bytes of the sets that changed.
    pub sets: Vec<(UsageSetKey, Vec<u8>)>,
    /// The sets that are no longer kept.
    pub gone: Vec<UsageSetKey>,
}

/// A sample of the history for a day that is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageSample {
    /// The day that the window ends with.
    pub day: UsageDay,
    /// Keys or machines that are active.
    pub subject: UsageSubject,
    /// The product; `None` for the whole account.
    pub product: Option<ProductLabel>,
    /// A window of complete days.
    pub window: UsageWindow,
    /// The number to add.
    pub value: u64,
    /// True if it comes on top of what was known when the day was sealed.
    pub is_late: bool,
}

/// Samples that are kept for the history between two commits.
#[derive(Debug, Clone, Default)]
struct UsageForHistory {
    samples: Vec<UsageSample>,
    /// The counts of complete days before late rows changed them.
    before: BTreeMap<(UsageDay, CountedSet), u64>,
}

/// Counts the distinct keys and machines of one account.
#[derive(Debug, Clone)]
pub struct UsageTracker {
    days: UsageDays,
    ignored: Arc<HashSet<UsageMember>>,
    is_start_saved: bool,
    changed: BTreeSet<UsageSetKey>,
    gone: Vec<UsageSetKey>,
    /// The union of each window that is no day of one product; `None` before they are made.
    unions: Option<BTreeMap<(CountedSet, UsageWindow), UsageSet>>,
    counts: BTreeMap<(CountedSet, UsageWindow), u64>,
    /// Counts that are out of date.
    stale: BTreeSet<(CountedSet, UsageWindow)>,
    /// `None` while there is no history, and in the first poll of a log.
    history: Option<UsageForHistory>,
}

/// True for those that the history has.
const fn is_active(subject: UsageSubject) -> bool {
    matches!(subject, UsageSubject::ActiveKeys | UsageSubject::ActiveMachines)
}

/// The members that are left out.
pub fn ignored_members(keys: &IgnoredKeys, secret: &UsageSecret) -> Arc<HashSet<UsageMember>> {
    Arc::new(keys.members(secret).collect())
}

impl UsageTracker {
    /// Follows an account from the days that are known. `is_saved` is true if they are written down.
    pub fn new(days: UsageDays, ignored: Arc<HashSet<UsageMember>>, is_saved: bool) -> UsageTracker {
        UsageTracker {
            days,
            ignored,
            is_start_saved: is_saved,
            changed: BTreeSet::new(),
            gone: Vec::new(),
            unions: None,
            counts: BTreeMap::new(),
            stale: BTreeSet::new(),
            history: None,
        }
    }

    /// From now on the history gets what is known of days: with `is_first`, of all complete days that are
    /// kept, else of those that are sealed from now on.
    pub fn follow_for_history(&mut self, is_first: bool) {
        if self.history.is_some() {
            return;
        }
        self.history = Some(UsageForHistory::default());
        if is_first {
            let (oldest, _) = UsageWindow::Month.days(self.days.today());
            self.sample_days(oldest, self.days.today(), i64::MAX);
        }
    }

    /// Takes samples of the days from one on that were complete before another, of the windows that begin
    /// before `not_from` (Unix seconds).
    fn sample_days(&mut self, from: UsageDay, until: UsageDay, not_from: i64) {
        const WINDOWS: [UsageWindow; 3] = [UsageWindow::LastDay, UsageWindow::Week, UsageWindow::Month];
        if self.history.is_none() {
            return;
        }
        let (oldest, _) = UsageWindow::Month.days(self.days.today());
        let mut samples = Vec::new();
        let mut day = from.max(oldest);
        while day < until {
            let next = day.before(-1);
            for window in WINDOWS {
                let (first, last) = window.days(next);
                // Sets of days before those that are kept are gone.
                let is_known = (self.days.origin()..not_from).contains(&first.start());
                if !is_known || first < oldest {
                    continue;
                }
                for ((subject, product), value) in self.active_sizes(first, last) {
                    samples.push(UsageSample { day, subject, product, window, value, is_late: false });
                }
            }
            day = next;
        }
        if let Some(history) = &mut self.history {
            history.samples.extend(samples);
        }
    }

    /// The active keys and machines of the days from the first to the last, where there are any.
    fn active_sizes(&self, first: UsageDay, last: UsageDay) -> BTreeMap<CountedSet, u64> {
        let mut unions: BTreeMap<CountedSet, UsageSet> = BTreeMap::new();
        for ((_, product, subject), set) in self.days.sets_of(first, last) {
            if is_active(*subject) {
                unions.entry((*subject, Some(*product))).or_default().merge(set);
            }
            if *subject == UsageSubject::ActiveMachines {
                unions.entry((*subject, None)).or_default().merge(set);
            }
        }
        unions.into_iter().map(|(counted, union)| (counted, union.count())).collect()
    }

    fn size_of_day(&self, day: UsageDay, (subject, product): CountedSet) -> u64 {
        self.days.size(subject, day, day, |of| product.is_none_or(|product| product == of))
    }

    /// The samples since the last call.
    pub fn take_samples(&mut self) -> Vec<UsageSample> {
        let Some(history) = &mut self.history else { return Vec::new() };
        let UsageForHistory { mut samples, before } = std::mem::take(history);
        for ((day, counted), before) in before {
            let value = self.size_of_day(day, counted).saturating_sub(before);
            if value > 0 {
                let (subject, product) = counted;
                let window = UsageWindow::LastDay;
                samples.push(UsageSample { day, subject, product, window, value, is_late: true });
            }
        }
        samples
    }

    /// Notes the counts of a complete day before it changes.
    fn note_before(&mut self, day: UsageDay, product: ProductLabel, subject: UsageSubject) {
        let is_late = day < self.days.today() && day.start() >= self.days.origin();
        if self.history.is_none() || !is_late || !is_active(subject) {
            return;
        }
        let of_account = (subject == UsageSubject::ActiveMachines).then_some((subject, None));
        for counted in std::iter::once((subject, Some(product))).chain(of_account) {
            let is_known = |history: &UsageForHistory| history.before.contains_key(&(day, counted));
            if self.history.as_ref().is_some_and(is_known) {
                continue;
            }
            let size = self.size_of_day(day, counted);
            if let Some(history) = &mut self.history {
                history.before.insert((day, counted), size);
            }
        }
    }

    /// The days.
    pub const fn days(&self) -> &UsageDays {
        &self.days
    }

    /// Takes rows of a day that can be in no window any more for gone, before the first poll is
    /// complete: `read_at` is the time (Unix seconds) when the rows that follow were read. A log of
    /// years would else make and delete sets for each day.
    pub fn skip_before(&mut self, read_at: i64) {
        self.seal_until(UsageDay::of(read_at).before(1).start());
    }

    /// Takes a row, once or more often.
    pub fn take(&mut self, row: &WebApiRow, product: ProductLabel, read_at: i64) {
        let Some(time) = filed_under(row.time, read_at) else { return };
        let member = |hash: Option<IdentityHash>| UsageMember::new(hash?.get());
        let key = member(row.license_key);
        if key.is_some_and(|key| self.ignored.contains(&key)) {
            return;
        }
        if let Some(key) = key {
            for subject in UsageSubject::of_key(row.state) {
                self.add(time, product, subject, key);
            }
        }
        if let (Some(subject), Some(machine)) = (UsageSubject::of_machine(row.state), member(row.machine)) {
            self.add(time, product, subject, machine);
        }
    }

    /// Every row from an earlier time on was taken. The history gets the complete days that are known by
    /// that: late rows come on top of what it has.
    pub fn know_from(&mut self, time: i64) {
        let before = self.days.origin();
        if self.days.know_from(time) {
            self.is_start_saved = false;
            let (oldest, _) = UsageWindow::Month.days(self.days.today());
            self.sample_days(oldest, self.days.today(), before);
        }
    }

    /// Forgets the days that are no longer kept at `now` (Unix seconds), for a log that nobody reads, so
    /// that nothing seals. What is left is known from the first day on that is kept.
    pub fn expire(&mut self, now: i64) {
        let gone = self.days.expire(now);
        if gone.is_empty() {
            return;
        }
        (self.is_start_saved, self.unions) = (false, None);
        self.note_gone(gone);
    }

    fn note_gone(&mut self, gone: Vec<UsageSetKey>) {
        for key in gone {
            self.changed.remove(&key);
            self.gone.push(key);
        }
    }

    fn seal_until(&mut self, until: i64) {
        let before = self.days.today();
        // Before sets of the oldest days are gone, which the windows of the day may have.
        self.sample_days(before, before.max(UsageDay::of(until)), i64::MAX);
        let gone = self.days.seal(until);
        if self.days.today() != before {
            self.is_start_saved = false;
            self.unions = None;
        }
        self.note_gone(gone);
    }

    fn add(&mut self, time: i64, product: ProductLabel, subject: UsageSubject, member: UsageMember) {
        let day = UsageDay::of(time);
        self.note_before(day, product, subject);
        if !self.days.add(time, product, subject, member) {
            return;
        }
        self.changed.insert((day, product, subject));
        let Some(unions) = &mut self.unions else { return };
        for window in UsageWindow::ALL {
            let (first, last) = window.days(self.days.today());
            if !(first..=last).contains(&day) {
                continue;
            }
            let mut of_set = |set: CountedSet| {
                if set.1.is_none() || !window.is_one_day() {
                    unions.entry((set, window)).or_default().insert(member);
                }
                self.stale.insert((set, window));
            };
            of_set((subject, Some(product)));
            if subject == UsageSubject::ActiveMachines {
                of_set((subject, None));
            }
        }
    }

    fn make_unions(&mut self) {
        let mut unions: BTreeMap<(CountedSet, UsageWindow), UsageSet> = BTreeMap::new();
        self.counts.clear();
        self.stale.clear();
        let today = self.days.today();
        for ((day, product, subject), set) in self.days.sets() {
            for window in UsageWindow::ALL {
                let (first, last) = window.days(today);
                if !(first..=last).contains(day) {
                    continue;
                }
                let mut of_set = |counted: CountedSet| {
                    if counted.1.is_none() || !window.is_one_day() {
                        unions.entry((counted, window)).or_default().merge(set);
                    }
                    self.stale.insert((counted, window));
                };
                of_set((*subject, Some(*product)));
                if *subject == UsageSubject::ActiveMachines {
                    of_set((*subject, None));
                }
            }
        }
        self.unions = Some(unions);
    }

    /// The counts as of now.
    pub fn counts(&mut self) -> UsageCounts {
        if self.unions.is_none() {
            self.make_unions();
        }
        let today = self.days.today();
        for stale in std::mem::take(&mut self.stale) {
            let ((subject, product), window) = stale;
            let union = self.unions.as_ref().and_then(|unions| unions.get(&stale));
            // A window of one day of one product is a set that is kept.
            let set = match product {
                Some(product) if window.is_one_day() => {
                    self.days.get(&(window.days(today).0, product, subject))
                }
                _ => union,
            };
            self.counts.insert(stale, set.map_or(0, UsageSet::count));
        }
        let windows = UsageWindow::ALL.into_iter().filter(|window| self.days.covers(*window));
        UsageCounts {
            last_day: today.before(1),
            origin: self.days.origin(),
            windows: windows.collect(),
            counts: self.counts.clone(),
        }
    }

    /// True if sets are gone that are still written down.
    pub const fn has_forgotten(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Takes the changes to write to the ledger.
    pub fn take_changes(&mut self) -> UsageChanges {
        let start = (!self.is_start_saved).then(|| (self.days.origin(), self.days.today()));
        self.is_start_saved = true;
        let changed = std::mem::take(&mut self.changed);
        let sets = changed.into_iter().filter_map(|key| Some((key, self.days.get(&key)?.to_bytes())));
        UsageChanges { start, sets: sets.collect(), gone: std::mem::take(&mut self.gone) }
    }
}

impl RowObserver for UsageTracker {
    fn web_api(&mut self, row: &WebApiRow, labels: &WebApiLabels, read_at: i64) {
        self.take(row, labels.product, read_at);
    }

    fn event(&mut self, _: &EventRow, _: &EventLabels<'_>, _: i64) {}

    fn object(&mut self, _: &ObjectRow, _: ObjectKey, _: i64) {}

    fn seal(&mut self, log: LogKind, until: i64) {
        if log == LogKind::WebApi {
            self.seal_until(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cryptolens::Rows;
    use crate::tally::{AccountTally, Limits, Products, RowCounter, TallyDelta};

    const DAY: i64 = 86_400;
    const MIDNIGHT: i64 = 20_000 * DAY;

    fn tracker() -> UsageTracker {
        UsageTracker::new(UsageDays::new(0, MIDNIGHT), Arc::default(), false)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Row { product: i64, subject: UsageSubject, time: i64, member: u64 },
        Seal(i64),
        Look,
    }

    impl Step {
        /// Takes the step. True if somebody looks.
        fn looks(self, tracker: &mut UsageTracker) -> bool {
            match self {
                Step::Row { product, subject, time, member } => {
                    let member = UsageMember::new(member).unwrap();
                    tracker.add(MIDNIGHT + time, ProductLabel::Id(product), subject, member);
                }
                Step::Seal(until) => tracker.seal(LogKind::WebApi, MIDNIGHT + until),
                Step::Look => return true,
            }
            false
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let subject = prop_oneof![
            Just(UsageSubject::ActiveKeys),
            Just(UsageSubject::ActiveMachines),
            Just(UsageSubject::RefusedKeys),
        ];
        prop_oneof![
            20 => (1_i64..3, subject, -40 * DAY..2 * DAY, 0_u64..1500).prop_map(|(product, subject, time, member)| {
                Step::Row { product, subject, time, member: member << 28 | member }
            }),
            1 => (-DAY..3 * DAY).prop_map(Step::Seal),
            2 => Just(Step::Look),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// The counts are those of the days, whenever and how often somebody looks.
        #[test]
        fn the_counts_are_those_of_the_days(steps in prop::collection::vec(step(), 1..120)) {
            let mut tracker = tracker();
            for step in steps {
                if !step.looks(&mut tracker) {
                    continue;
                }
                let counts = tracker.counts();
                for window in UsageWindow::ALL {
                    for product in [1, 2].map(ProductLabel::Id) {
                        for subject in [UsageSubject::ActiveKeys, UsageSubject::ActiveMachines, UsageSubject::RefusedKeys] {
                            let expected = tracker.days().count(product, subject, window);
                            prop_assert_eq!(Some(counts.of_product(subject, product, window)), expected);
                        }
                    }
                    let expected = tracker.days().count_of_account(UsageSubject::ActiveMachines, window);
                    prop_assert_eq!(Some(counts.machines_of_account(window)), expected);
                }
            }
        }

        /// Whatever is written down, step by step, is what the days hold.
        #[test]
        fn the_changes_add_up_to_the_days(steps in prop::collection::vec(step(), 1..120)) {
            let (mut tracker, mut written, mut today) = (tracker(), BTreeMap::new(), None);
            let mut save = |tracker: &mut UsageTracker| {
                let changes = tracker.take_changes();
                written.extend(changes.sets);
                changes.gone.iter().for_each(|key| {
                    written.remove(key);
                });
                today = changes.start.or(today);
                written.clone()
            };
            for step in steps {
                if step.looks(&mut tracker) {
                    save(&mut tracker);
                }
            }
            let written = save(&mut tracker);
            let expected: BTreeMap<UsageSetKey, Vec<u8>> =
                tracker.days().sets().map(|(key, set)| (*key, set.to_bytes())).collect();
            prop_assert_eq!(written, expected);
            prop_assert_eq!(today, Some((0, tracker.days().today())));
        }
    }

    #[test]
    fn rows_without_a_time_of_ignored_keys_and_of_other_logs_are_in_no_set() {
        let secret = UsageSecret::from_bytes([1; 16]);
        let ignored = ignored_members(&IgnoredKeys::from_text("TEST"), &secret);
        let mut tracker = UsageTracker::new(UsageDays::new(0, MIDNIGHT), ignored, false);
        let hash = |member: Option<UsageMember>| member.map(|member| IdentityHash::new(member.get()));
        let mut observe = |key: &str, time: Option<i64>, state: i64| {
            let row = WebApiRow {
                id: 1,
                product_id: 7,
                time,
                state: Some(state),
                license_key: hash(secret.license_key(key)),
                machine: hash(secret.machine(key)),
                ..WebApiRow::default()
            };
            let mut counter = RowCounter {
                committed: &AccountTally::default(),
                delta: &mut TallyDelta::default(),
                products: &mut Products::default(),
                new_products: &mut Vec::new(),
                limits: &Limits::default(),
            };
            counter.count(&Rows::WebApi(vec![row]), MIDNIGHT + 100, &mut [&mut tracker]);
        };
        observe("A", Some(MIDNIGHT + 50), 2014);
        observe("B", None, 2014);
        observe("TEST", Some(MIDNIGHT + 50), 2014);
        // More than ten minutes in the future: the day it was read.
        observe("C", Some(MIDNIGHT + 9 * DAY), 2024);
        tracker.seal(LogKind::Events, MIDNIGHT + 5 * DAY);
        let counts = tracker.counts();
        let today = |subject| counts.of_product(subject, ProductLabel::Id(7), UsageWindow::Today);
        assert_eq!(today(UsageSubject::ActiveKeys), 1);
        assert_eq!(today(UsageSubject::ActiveMachines), 1);
        assert_eq!((today(UsageSubject::FailingKeys), today(UsageSubject::RefusedKeys)), (1, 1));
        assert_eq!(counts.machines_of_account(UsageWindow::Today), 1);
        assert_eq!(counts.last_day.start(), MIDNIGHT - DAY);
    }

    #[test]
    fn the_history_gets_each_day_once_and_late_rows_on_top() {
        let mut tracker =
            UsageTracker::new(UsageDays::new(MIDNIGHT - 2 * DAY, MIDNIGHT), Arc::default(), false);
        let add = |tracker: &mut UsageTracker, time: i64, number: u64| {
            let member = UsageMember::new(number).unwrap();
            for subject in [UsageSubject::ActiveMachines, UsageSubject::FailingKeys] {
                tracker.add(time, ProductLabel::Id(7), subject, member);
            }
        };
        let samples = |tracker: &mut UsageTracker| {
            let samples = tracker.take_samples().into_iter();
            let of_product = samples.filter(|sample| sample.product.is_some());
            of_product
                .map(|sample| {
                    let days = (sample.day.start() - MIDNIGHT) / DAY;
                    (days, sample.window.name(), sample.value, sample.is_late)
                })
                .collect::<Vec<_>>()
        };
        add(&mut tracker, MIDNIGHT - 1, 1);
        assert_eq!(samples(&mut tracker), [], "the first poll is not complete");
        tracker.follow_for_history(true);
        assert_eq!(samples(&mut tracker), [(-1, "1d", 1, false)]);
        tracker.follow_for_history(true);
        add(&mut tracker, MIDNIGHT + 5, 2);
        add(&mut tracker, MIDNIGHT - 1, 1);
        assert_eq!(samples(&mut tracker), [], "nothing new");
        add(&mut tracker, MIDNIGHT - 1, 3);
        add(&mut tracker, MIDNIGHT - 2, 4);
        assert_eq!(samples(&mut tracker), [(-1, "1d", 2, true)]);
        tracker.seal(LogKind::WebApi, MIDNIGHT + DAY);
        assert_eq!(samples(&mut tracker), [(0, "1d", 1, false)], "7 days are not known");
        add(&mut tracker, MIDNIGHT - 3 * DAY, 5);
        assert_eq!(samples(&mut tracker), [], "a day that is not known as a whole");
        add(&mut tracker, MIDNIGHT + 4 * DAY + 7, 1);
        tracker.seal(LogKind::WebApi, MIDNIGHT + 6 * DAY);
        assert_eq!(samples(&mut tracker), [(4, "1d", 1, false), (4, "7d", 4, false), (5, "7d", 4, false)]);
    }

    #[test]
    fn days_before_the_last_31_are_not_begun_in_a_first_poll() {
        let mut tracker = UsageTracker::new(UsageDays::new(0, MIDNIGHT - 400 * DAY), Arc::default(), false);
        tracker.skip_before(MIDNIGHT + 5);
        let member = UsageMember::new(1).unwrap();
        for days in [400, 32, 31, 1, 0] {
            tracker.add(MIDNIGHT - days * DAY, ProductLabel::Id(7), UsageSubject::ActiveKeys, member);
        }
        let days: Vec<i64> =
            tracker.days().sets().map(|((day, ..), _)| (MIDNIGHT - day.start()) / DAY).collect();
        assert_eq!(days, [31, 1, 0]);
        tracker.seal(LogKind::WebApi, MIDNIGHT);
        assert_eq!(
            tracker.counts().of_product(UsageSubject::ActiveKeys, ProductLabel::Id(7), UsageWindow::Month),
            1
        );
    }
}

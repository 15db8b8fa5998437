//! The label sets of each family as keys that are cheap to hash, their form in the ledger and in
//! the outputs, and which of them are created at 0 in advance.
//!
//! A key decides by its labels alone whether a limit counts it, so that a series can keep count.

use std::sync::Arc;

use crate::cryptolens::{EventType, LogKind, Outcome, StateCode, state_code};

use super::label::{OTHER, ProductLabel};
use super::products::Products;
use super::series::SeriesKey;

/// Product, method and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// `product_id`
    pub product: ProductLabel,
    /// `event_type`
    pub event_type: EventType,
    /// `outcome`
    pub outcome: Outcome,
}

/// The label `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateLabel {
    /// A code that is shown raw.
    Code(StateCode),
    /// A number outside the range, no state at all, or one past the limit.
    Other,
}

impl StateLabel {
    /// The label of a raw state.
    pub fn of(raw: Option<i64>) -> StateLabel {
        raw.and_then(StateCode::new).map_or(StateLabel::Other, StateLabel::Code)
    }

    fn text(self) -> Arc<str> {
        match self {
            StateLabel::Code(code) => code.get().to_string().into(),
            StateLabel::Other => OTHER.into(),
        }
    }

    fn parse(text: &str) -> Option<StateLabel> {
        if text == OTHER {
            return Some(StateLabel::Other);
        }
        text.parse().ok().and_then(StateCode::new).map(StateLabel::Code)
    }
}

/// Product, method, outcome and state code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateKey {
    /// The first three labels.
    pub entry: EntryKey,
    /// `state`
    pub state: StateLabel,
}

/// Product and state code of a data object request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataObjectKey {
    /// `product_id`
    pub product: ProductLabel,
    /// `state`
    pub state: StateLabel,
}

/// Method and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgeKey {
    /// `event_type`
    pub event_type: EventType,
    /// `outcome`
    pub outcome: Outcome,
}

/// Product, event and feature.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// `product_id`
    pub product: ProductLabel,
    /// `event_name`
    pub event: Arc<str>,
    /// `feature_name`
    pub feature: Arc<str>,
}

/// Product, event and currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventValueKey {
    /// `product_id`
    pub product: ProductLabel,
    /// `event_name`
    pub event: Arc<str>,
    /// `currency`
    pub currency: Arc<str>,
}

/// Resource type and action, as raw codes: which name a code has is decided when it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Of the resource type; `None` for what can't be a code.
    pub resource: Option<u8>,
    /// Of the action, likewise.
    pub action: Option<u8>,
}

/// The only label set of a family without labels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoLabels;

/// Why a row was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// It has no id that could be read.
    NoId,
    /// Its id is at or below the floor: the API sent what was not asked for.
    BelowFloor,
    /// An answer that holds it is larger than what is read, also if it is the only row.
    TooLarge,
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [SkipReason; 3] = [SkipReason::NoId, SkipReason::BelowFloor, SkipReason::TooLarge];

    /// The value of the label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            SkipReason::NoId => "no_id",
            SkipReason::BelowFloor => "below_floor",
            SkipReason::TooLarge => "too_large",
        }
    }
}

/// Log and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SkipKey {
    /// `log`
    pub log: LogKind,
    /// `reason`
    pub reason: SkipReason,
}

fn parts<const N: usize>(labels: &[Arc<str>]) -> Option<&[Arc<str>; N]> {
    labels.try_into().ok()
}

impl SeriesKey for EntryKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.product.text(), self.event_type.name().into(), self.outcome.name().into()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [product, event_type, outcome] = parts(labels)?;
        Some(EntryKey {
            product: ProductLabel::parse(product)?,
            event_type: EventType::from_name(event_type)?,
            outcome: Outcome::from_name(outcome)?,
        })
    }

    fn overflow(&self) -> Self {
        EntryKey { product: ProductLabel::Other, ..*self }
    }

    fn is_exempt(&self) -> bool {
        let is_pair = self.event_type != EventType::Unknown && self.outcome != Outcome::Unknown;
        self.product == ProductLabel::Other || (is_pair && self.product.is_product())
    }

    fn wants_entry_id(&self) -> bool {
        self.outcome == Outcome::Failure
    }
}

impl EntryKey {
    /// Each pair of method and outcome of every known product.
    pub(super) fn in_advance(_: LogKind, products: &Products) -> Vec<EntryKey> {
        let of_product = |(id, _)| {
            EventType::KNOWN.into_iter().flat_map(move |event_type| {
                [Outcome::Success, Outcome::Failure].map(|outcome| EntryKey {
                    product: ProductLabel::Id(id),
                    event_type,
                    outcome,
                })
            })
        };
        products.iter().flat_map(of_product).collect()
    }
}

impl SeriesKey for StateKey {
    fn labels(&self) -> Vec<Arc<str>> {
        let mut labels = self.entry.labels();
        labels.push(self.state.text());
        labels
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let (state, entry) = labels.split_last()?;
        Some(StateKey { entry: EntryKey::from_labels(entry)?, state: StateLabel::parse(state)? })
    }

    fn overflow(&self) -> Self {
        StateKey { entry: self.entry.overflow(), state: StateLabel::Other }
    }

    fn is_exempt(&self) -> bool {
        let is_described = match self.state {
            StateLabel::Code(code) => state_code::DESCRIBED.iter().any(|(known, _)| *known == code.get()),
            StateLabel::Other => false,
        };
        let is_overflow = self.entry.product == ProductLabel::Other && self.state == StateLabel::Other;
        is_overflow || (is_described && self.entry.product.is_product())
    }

    fn wants_entry_id(&self) -> bool {
        self.entry.wants_entry_id()
    }
}

impl StateKey {
    /// Each described state of every known product.
    pub(super) fn in_advance(_: LogKind, products: &Products) -> Vec<StateKey> {
        let described =
            || state_code::DESCRIBED.iter().filter_map(|(code, _)| StateCode::new(i64::from(*code)));
        let of_product = |(id, _)| {
            described().map(move |code| {
                let (event_type, outcome) = code.classify();
                let entry = EntryKey { product: ProductLabel::Id(id), event_type, outcome };
                StateKey { entry, state: StateLabel::Code(code) }
            })
        };
        products.iter().flat_map(of_product).collect()
    }
}

/// As [`EntryKey`], of the histogram of leases, which has no label set in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseKey(pub EntryKey);

impl SeriesKey for LeaseKey {
    fn labels(&self) -> Vec<Arc<str>> {
        self.0.labels()
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        EntryKey::from_labels(labels).map(LeaseKey)
    }

    fn overflow(&self) -> Self {
        LeaseKey(self.0.overflow())
    }

    fn is_exempt(&self) -> bool {
        self.0.product == ProductLabel::Other
    }
}

impl SeriesKey for DataObjectKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.product.text(), self.state.text()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [product, state] = parts(labels)?;
        Some(DataObjectKey { product: ProductLabel::parse(product)?, state: StateLabel::parse(state)? })
    }

    fn overflow(&self) -> Self {
        DataObjectKey { product: ProductLabel::Other, state: StateLabel::Other }
    }

    fn is_exempt(&self) -> bool {
        self.product == ProductLabel::Other && self.state == StateLabel::Other
    }
}

impl SeriesKey for AgeKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.event_type.name().into(), self.outcome.name().into()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [event_type, outcome] = parts(labels)?;
        Some(AgeKey { event_type: EventType::from_name(event_type)?, outcome: Outcome::from_name(outcome)? })
    }
}

impl SeriesKey for EventKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.product.text(), Arc::clone(&self.event), Arc::clone(&self.feature)]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [product, event, feature] = parts(labels)?;
        Some(EventKey {
            product: ProductLabel::parse(product)?,
            event: Arc::clone(event),
            feature: Arc::clone(feature),
        })
    }

    fn overflow(&self) -> Self {
        EventKey { product: ProductLabel::Other, event: OTHER.into(), feature: OTHER.into() }
    }

    fn is_exempt(&self) -> bool {
        self.product == ProductLabel::Other && &*self.event == OTHER && &*self.feature == OTHER
    }
}

impl SeriesKey for EventValueKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.product.text(), Arc::clone(&self.event), Arc::clone(&self.currency)]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [product, event, currency] = parts(labels)?;
        Some(EventValueKey {
            product: ProductLabel::parse(product)?,
            event: Arc::clone(event),
            currency: Arc::clone(currency),
        })
    }

    /// The overflow keeps the currency: a sum of euros and yen means nothing.
    fn overflow(&self) -> Self {
        EventValueKey { product: ProductLabel::Other, event: OTHER.into(), currency: self.currency.clone() }
    }

    fn is_exempt(&self) -> bool {
        self.product == ProductLabel::Other && &*self.event == OTHER
    }

    fn currency(&self) -> Option<&Arc<str>> {
        (&*self.currency != OTHER).then_some(&self.currency)
    }
}

impl ObjectKey {
    /// The key of a row's raw codes. A number outside 0 to 99 can't be a code of an enum of seven.
    pub fn of(resource: Option<i64>, action: Option<i64>) -> ObjectKey {
        let code = |raw: Option<i64>| raw.and_then(|raw| u8::try_from(raw).ok()).filter(|code| *code < 100);
        ObjectKey { resource: code(resource), action: code(action) }
    }
}

const NO_CODE: &str = "none";

impl SeriesKey for ObjectKey {
    fn labels(&self) -> Vec<Arc<str>> {
        let text = |code: Option<u8>| code.map_or_else(|| NO_CODE.into(), |code| code.to_string().into());
        vec![text(self.resource), text(self.action)]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [resource, action] = parts(labels)?;
        let code = |text: &str| if text == NO_CODE { Some(None) } else { text.parse().ok().map(Some) };
        Some(ObjectKey { resource: code(resource)?, action: code(action)? })
    }
}

impl SeriesKey for NoLabels {
    fn labels(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        labels.is_empty().then_some(NoLabels)
    }
}

impl SeriesKey for LogKind {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.name().into()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [log] = parts(labels)?;
        LogKind::from_name(log)
    }

    fn log(&self) -> Option<LogKind> {
        Some(*self)
    }
}

impl SeriesKey for SkipKey {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.log.name().into(), self.reason.name().into()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [log, reason] = parts(labels)?;
        let reason = SkipReason::ALL.into_iter().find(|known| known.name() == &**reason)?;
        Some(SkipKey { log: LogKind::from_name(log)?, reason })
    }

    fn log(&self) -> Option<LogKind> {
        Some(self.log)
    }
}

impl SkipKey {
    /// Each reason.
    pub(super) fn in_advance(log: LogKind, _: &Products) -> Vec<SkipKey> {
        SkipReason::ALL.map(|reason| SkipKey { log, reason }).to_vec()
    }
}

/// The label set of a family that has one for each log.
pub(super) fn log_in_advance(log: LogKind, _: &Products) -> Vec<LogKind> {
    vec![log]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<K: SeriesKey + std::fmt::Debug>(key: K) {
        assert_eq!(K::from_labels(&key.labels()), Some(key.clone()));
        assert_eq!(K::from_labels(&key.overflow().labels()), Some(key.overflow()));
        assert_eq!(key.overflow().overflow(), key.overflow(), "an overflow goes nowhere else");
        assert!(key == key.overflow() || key.overflow().is_exempt(), "an overflow needs no room");
        let mut longer = key.labels();
        longer.push("one too many".into());
        assert_eq!(K::from_labels(&longer), None);
    }

    #[test]
    fn every_key_survives_the_ledger() {
        let entry = EntryKey {
            product: ProductLabel::Id(3349),
            event_type: EventType::Activation,
            outcome: Outcome::Failure,
        };
        survives(entry);
        survives(LeaseKey(entry));
        survives(StateKey { entry, state: StateLabel::of(Some(2024)) });
        survives(StateKey { entry, state: StateLabel::of(None) });
        survives(DataObjectKey { product: ProductLabel::Id(0), state: StateLabel::of(Some(8010)) });
        survives(AgeKey { event_type: EventType::Unknown, outcome: Outcome::Unknown });
        survives(EventKey { product: ProductLabel::Other, event: "a\"b".into(), feature: "ü".into() });
        survives(EventValueKey { product: ProductLabel::Id(1), event: "buy".into(), currency: "EUR".into() });
        survives(ObjectKey::of(Some(6), Some(3)));
        survives(ObjectKey::of(None, Some(-1)));
        survives(NoLabels);
        for log in LogKind::ALL {
            survives(log);
            for reason in SkipReason::ALL {
                survives(SkipKey { log, reason });
            }
        }
    }

    #[test]
    fn label_sets_that_were_counted_stay_as_they_are() {
        // As an earlier rule let them pass: an invisible character kept, a joiner replaced.
        for (event, feature) in [("a\u{2065}b", "\u{3164}"), ("می\u{fffd}خواهم", "👩\u{fffd}💻")] {
            survives(EventKey { product: ProductLabel::Id(1), event: event.into(), feature: feature.into() });
            survives(EventValueKey {
                product: ProductLabel::Id(1),
                event: event.into(),
                currency: "EUR".into(),
            });
        }
    }

    #[test]
    fn labels_of_another_version_are_refused() {
        fn from<K: SeriesKey>(labels: &[&str]) -> Option<K> {
            K::from_labels(&labels.iter().map(|label| Arc::from(*label)).collect::<Vec<_>>())
        }
        assert_eq!(from::<EntryKey>(&["1", "teleport", "success"]), None);
        assert_eq!(from::<EntryKey>(&["one", "activation", "success"]), None);
        assert_eq!(from::<StateKey>(&["1", "activation", "success", "99999"]), None);
        assert_eq!(from::<StateKey>(&[]), None);
        assert_eq!(from::<ObjectKey>(&["300", "1"]), None);
    }

    #[test]
    fn what_cannot_be_a_code_is_none() {
        for odd in [None, Some(-1), Some(100), Some(i64::MAX)] {
            assert_eq!(ObjectKey::of(odd, Some(2)), ObjectKey { resource: None, action: Some(2) });
        }
        assert_eq!(ObjectKey::of(Some(99), None), ObjectKey { resource: Some(99), action: None });
    }
}
